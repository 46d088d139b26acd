package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/conformance"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
	"github.com/tasvir-pacs/tasvir/worklist/ups"
)

// stated is what the presentation context tables of a statement say.
type stated struct {
	syntaxes map[string][]string // by SOP class
	roles    map[string]string
	extended map[string]bool
	refused  []string
}

func (s *stated) takes(class, syntax string) bool { return slices.Contains(s.syntaxes[class], syntax) }

// readStatement reads the tables as who buys a device does.
func readStatement(t *testing.T, text string) *stated {
	t.Helper()
	s := &stated{syntaxes: map[string][]string{}, roles: map[string]string{}, extended: map[string]bool{}}
	sets := make(map[string][]string)
	set, section := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			section = strings.TrimLeft(line, "# ")
			continue
		}
		if found := regexp.MustCompile(`^Set ([A-Z]),`).FindStringSubmatch(line); found != nil {
			set = "set " + found[1]
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) < 2 || dicom.ValidUID(cells[1]) != nil {
			continue
		}
		switch {
		case strings.HasPrefix(section, "2.4.1"):
			sets[set] = append(sets[set], cells[1])
		case strings.HasPrefix(section, "2.4.2"):
			s.syntaxes[cells[1]], s.roles[cells[1]], s.extended[cells[1]] = sets[cells[2]], cells[3], cells[5] != "none"
		case strings.HasPrefix(section, "10.1"):
			s.refused = append(s.refused, cells[1])
		}
	}
	return s
}

// Every SOP class of the standard is proposed to a running archive in every
// transfer syntax: it accepts what the statement's tables say and nothing else,
// gives the roles that they say, and refuses what is stated as not supported.
func TestConformanceStatementIsTrue(t *testing.T) {
	a := startArchive(t, nil)
	a.tasvir("", "facility", "add", "URGUT", "Urgut hospital")
	a.tasvir("", "device", "add", "BUYER", "URGUT", "--service", strings.Join(names(access.Services), ","))
	eventually(t, "the buyer is known", func() bool { return a.echo("BUYER") == nil })
	s := readStatement(t, a.tasvir("", "conformance"))
	var classes []string
	for _, list := range [][]dicom.SOPClass{dicom.ServiceSOPClasses, dicom.StorageSOPClasses} {
		for _, c := range list {
			classes = append(classes, c.UID)
		}
	}
	if len(s.syntaxes)+len(s.refused) != len(classes) || len(s.syntaxes) < 200 || len(s.refused) < 50 {
		t.Fatalf("of %d classes %d are stated as accepted and %d as refused", len(classes), len(s.syntaxes), len(s.refused))
	}
	for _, uid := range s.refused {
		if s.syntaxes[uid] != nil {
			t.Errorf("%s is stated both ways", dicom.SOPClassName(uid))
		}
	}
	dial := func(d dimse.Dialer) *dimse.Client {
		t.Helper()
		d.CallingAE, d.CalledAE = "BUYER", "TASVIR"
		client, err := dimse.Dial(t.Context(), a.dicom, d)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	var kinds []dimse.Kind
	for _, class := range classes {
		for _, ts := range dicom.TransferSyntaxes {
			kinds = append(kinds, dimse.Kind{SOPClassUID: class, TransferSyntaxUID: ts.UID})
		}
	}
	n := 0
	for _, group := range dimse.GroupContexts(kinds) {
		client := dial(dimse.Dialer{Contexts: group.Contexts})
		accepted := make(map[byte]bool)
		for _, pc := range client.Contexts() {
			accepted[pc.ID] = true
		}
		for _, pc := range group.Contexts {
			if want := s.takes(pc.AbstractSyntax, pc.TransferSyntaxes[0]); accepted[pc.ID] != want {
				t.Errorf("%s in %s: accepted %v, stated %v", dicom.SOPClassName(pc.AbstractSyntax), pc.TransferSyntaxes[0], accepted[pc.ID], want)
			}
			n++
		}
		_ = client.Release(t.Context())
	}
	if n != len(classes)*len(dicom.TransferSyntaxes) {
		t.Errorf("%d contexts proposed", n)
	}

	// Roles and extended negotiation.
	for chunk := range slices.Chunk(classes, 60) {
		d := dimse.Dialer{}
		for i, class := range chunk {
			d.Contexts = append(d.Contexts, ul.ProposedContext{ID: byte(2*i + 1), AbstractSyntax: class, TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}})
			d.Roles = append(d.Roles, ul.Role{SOPClassUID: class, SCU: true, SCP: true})
			d.Extended = append(d.Extended, ul.ExtendedNegotiation{SOPClassUID: class, Info: []byte{1, 1, 1, 1, 1, 1}})
		}
		client := dial(d)
		for _, class := range chunk {
			if s.syntaxes[class] == nil {
				continue
			}
			role := "none answered"
			for _, r := range client.Peer().Roles {
				if r.SOPClassUID == class {
					role = map[bool]string{true: "SCU"}[r.SCU]
					if r.SCP {
						role = strings.TrimPrefix(role+", SCP", ", ")
					}
				}
			}
			if role != s.roles[class] || (client.Extended(class) != nil) != s.extended[class] {
				t.Errorf("%s: role %q, stated %q; extended negotiation answered %v, stated %v", dicom.SOPClassName(class), role, s.roles[class], client.Extended(class), s.extended[class])
			}
		}
		_ = client.Release(t.Context())
	}
	a.stop()
}

// What the statement is made of is what serve makes: each service of the server
// is in it, with operations that it has handlers for, and each of its settings.
func TestConformanceSource(t *testing.T) {
	source, err := (&ConformanceCmd{AET: "HOSPITAL", MaxAssociations: 7}).source()
	if err != nil {
		t.Fatal(err)
	}
	offered, _ := source.Offers()
	by := make(map[string]dimse.Offer)
	for _, o := range offered {
		by[o.SOPClassUID] = o
	}
	for _, svc := range source.Server.Services {
		for _, class := range svc.SOPClasses {
			if len(by[class].Operations) == 0 && !slices.Contains(source.Sends, class) {
				t.Errorf("%s is served and not stated", class)
			}
		}
	}
	for class, want := range map[string][]dimse.Field{
		dicom.VerificationSOPClass:                   {dimse.CEchoRQ},
		dicom.CTImageStorage:                         {dimse.CStoreRQ},
		dicom.StudyRootFindSOPClass:                  {dimse.CFindRQ},
		dicom.PatientRootMoveSOPClass:                {dimse.CMoveRQ},
		dicom.StudyRootGetSOPClass:                   {dimse.CGetRQ},
		dicom.ModalityPerformedProcedureStepSOPClass: {dimse.NSetRQ, dimse.NCreateRQ},
		"1.2.840.10008.3.1.2.3.4":                    {dimse.NGetRQ},
		ups.PushSOPClass:                             {dimse.NGetRQ, dimse.NActionRQ, dimse.NCreateRQ},
		ups.PullSOPClass:                             {dimse.CFindRQ, dimse.NGetRQ, dimse.NSetRQ, dimse.NActionRQ},
		ups.EventSOPClass:                            nil,
	} {
		if got := by[class].Operations; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", class, got, want)
		}
	}
	var b strings.Builder
	if err := source.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"`HOSPITAL`", "| Associations accepted at a time | 7 |", "| `--dicom-tls-profile` | `TASVIR_DICOM_TLS_PROFILE` | bcp195 |",
		"| PatientID | (0010,0020) | PATIENT | unique key | single value, wild card | Yes |",
		"| StudyDate | (0008,0020) | STUDY | - | single value, range | Yes |",
		"| SOPInstanceUID | (0008,0018) | IMAGE | unique key | single value, list of UID | Yes |",
		"| ScheduledProcedureStepStartTime | (0040,0003) | ScheduledProcedureStepSequence | single value, range | value |",
		"| InputReadinessState | (0040,4041) | value | Yes | R | Yes |", "| C304 | failure | the step has not met the final state requirements |", "- N-EVENT-REPORT as performer",
		"| `/dicom-web/studies/:study/metadata` |", "verifies: user name and passcode, JSON web token.", "A700H refused: out of resources | out of resources; unavailable |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("without %q", want)
		}
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if strings.Contains(line, "${") || strings.Contains(line, "%!") || strings.Contains(line, "| ? ") {
			t.Errorf("unfinished: %s", line)
		}
	}
	for _, want := range []string{"| N-CREATE: what is available, to devices that are registered to be told | Instance Availability Notification | ", "### 3.7 Instance availability notification", "UNAVAILABLE", "0111H"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	private := func(accept bool) bool {
		source, err := (&ConformanceCmd{AET: "A", AcceptUnknownSOPClasses: accept}).source()
		return err == nil && len(source.Server.Offer("1.2.826.0.1.3680043.10.999.1").Operations) > 0
	}
	if private(false) || !private(true) {
		t.Error("private classes are not stated as they are set")
	}
	// Whatever else is taken: a service that is not there is no storage class.
	anything, err := (&ConformanceCmd{AET: "A", AcceptUnknownSOPClasses: true}).source()
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range dicom.ServiceSOPClasses {
		if o := anything.Server.Offer(class.UID); slices.Contains(o.Operations, dimse.CStoreRQ) {
			t.Errorf("%s is taken for a storage class", class.Name)
		}
	}
	if err := (&ConformanceCmd{AET: "MUCH TOO LONG A TITLE"}).run(&b); err == nil {
		t.Error("an AE title that is none was taken")
	}
	if !slices.Contains(source.Routes, conformance.Route{Method: "GET", Path: "/dicom-web/studies/:study/rendered"}) {
		t.Errorf("routes %v", source.Routes)
	}
}
