package connectivity

import "fmt"

// Stage is one of the steps, in the order in which they are made.
type Stage string

const (
	Resolve   Stage = "resolve"
	Connect   Stage = "connect"
	TLS       Stage = "tls"
	Associate Stage = "associate"
	Echo      Stage = "echo"
	Trial     Stage = "trial"
)

// Code is what came of a step. Codes are stable: the client has words for each.
type Code string

const (
	OK Code = "ok"

	NoAddress   Code = "no_address"   // none was given
	NoSuchHost  Code = "no_such_host" // the name is not in the DNS
	NameService Code = "name_service" // the DNS does not answer

	Refused       Code = "refused"        // nothing listens at the port
	NoRoute       Code = "no_route"       // the network does not lead there
	Timeout       Code = "timeout"        // no answer to the connection
	ConnectFailed Code = "connect_failed" // another failure, in Detail

	PeerNotTLS             Code = "peer_not_tls"            // we speak TLS, the peer does not
	CertificateNotTrusted  Code = "certificate_not_trusted" // by no authority we know
	CertificateName        Code = "certificate_name"        // of another host
	CertificateExpired     Code = "certificate_expired"     // or not valid yet
	CertificateOther       Code = "certificate_other"       // not the one bound to the AE title
	OurCertificateRefused  Code = "our_certificate_refused" // the peer does not take ours, or wants one
	TLSFailed              Code = "tls_failed"              // another failure, in Detail
	PeerWantsTLS           Code = "peer_wants_tls"          // we speak plainly, the peer TLS
	CalledAETitle          Code = "called_ae_title"         // the peer has another AE title
	CallingAETitle         Code = "calling_ae_title"        // the peer does not know ours
	Limit                  Code = "limit"                   // the peer has no association free
	Rejected               Code = "rejected"                // for another reason, in Detail
	Silent                 Code = "silent"                  // connected, and no answer
	Closed                 Code = "closed"                  // the peer closed without a word
	Aborted                Code = "aborted"                 // the peer aborted
	NotDICOM               Code = "not_dicom"               // something else answers there
	VerificationNotTaken   Code = "verification_not_taken"  // an association, but no C-ECHO
	EchoFailed             Code = "echo_failed"             // C-ECHO answered with an error
	StorageNotTaken        Code = "storage_not_taken"       // no storage class at all
	TransferSyntaxNotTaken Code = "transfer_syntax_refused" // one that the device is said to take
	Cancelled              Code = "cancelled"               // the test was ended from outside
)

// explanations are the codes in English: what is wrong and what to do.
var explanations = map[Code]string{
	OK:                     "as it should be",
	NoAddress:              "it has no address; give it a host and a port",
	NoSuchHost:             "no machine has this name; check the host name, or write the IP address",
	NameService:            "the name server does not answer; write the IP address, or have the network checked",
	Refused:                "nothing listens at this port; check the port, and that the DICOM service runs",
	NoRoute:                "the network does not lead to this address; check the address and the route (VPN)",
	Timeout:                "no answer to the connection; the machine is off, or a firewall drops it",
	ConnectFailed:          "can't connect",
	PeerNotTLS:             "it does not speak TLS at this port; switch TLS off for it, or give its TLS port",
	CertificateNotTrusted:  "its certificate comes from no authority that the archive trusts; add the authority, or bind the certificate by its fingerprint",
	CertificateName:        "its certificate is for another name; give that name as the TLS server name",
	CertificateExpired:     "its certificate has expired or is not valid yet; have it renewed, or check the clocks",
	CertificateOther:       "it has another certificate than the one bound to its AE title; if it was renewed, change the binding",
	OurCertificateRefused:  "it does not take the archive's certificate; have it trust the archive's authority",
	TLSFailed:              "TLS can't be agreed on",
	PeerWantsTLS:           "it speaks TLS only at this port; switch TLS on for it, or give its plain port",
	CalledAETitle:          "it has another AE title; check the spelling, upper and lower case differ",
	CallingAETitle:         "it does not know the archive's AE title; have it registered there",
	Limit:                  "it takes no more associations just now; try again, or raise its limit",
	Rejected:               "it refuses the association",
	Silent:                 "it is connected and says nothing; perhaps another service listens at this port",
	Closed:                 "it closed the connection without a word; perhaps it knows neither our address nor our AE title",
	Aborted:                "it ended the association",
	NotDICOM:               "what listens at this port does not speak DICOM; check the port",
	VerificationNotTaken:   "it takes an association but not verification (C-ECHO)",
	EchoFailed:             "it answered C-ECHO with an error",
	StorageNotTaken:        "it takes no images (no storage class was accepted)",
	TransferSyntaxNotTaken: "it does not take a transfer syntax that it is said to take; correct the list",
	Cancelled:              "the test was ended",
}

// Step is one step and what came of it.
type Step struct {
	Stage Stage
	Code  Code
	// Warning says that the step did not go well and the test went on, because
	// not every AE has to do this.
	Warning bool
	// Detail is what there is to add, in English: addresses found, the words of
	// an error, UIDs.
	Detail string
	// Took is how long the step lasted, in seconds.
	Took float64
}

// OK reports whether the step went as it should.
func (s Step) OK() bool { return s.Code == OK }

// Explain says in English what came of the step and what to do about it.
func (s Step) Explain() string {
	said := explanations[s.Code]
	if said == "" {
		said = string(s.Code)
	}
	if s.Detail != "" {
		return fmt.Sprintf("%s (%s)", said, s.Detail)
	}
	return said
}
