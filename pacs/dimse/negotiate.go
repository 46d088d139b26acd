package dimse

import (
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// SOPClasses says which abstract syntaxes a Server takes besides verification.
// The zero value takes all standard storage classes.
type SOPClasses struct {
	// AcceptUnknown also takes storage classes that are not in PS3.4: a
	// vendor's private ones and those of a later edition. It takes every UID
	// that is not a known service.
	AcceptUnknown bool
	// Only, when not empty, replaces the standard storage classes.
	Only []string

	related []string // of one association, see with
}

// accepts says whether instances of this SOP class are taken.
func (s SOPClasses) accepts(uid string) bool {
	switch {
	case slices.Contains(s.Only, uid), slices.Contains(s.related, uid):
		return true
	case dicom.IsStorageSOPClass(uid):
		return len(s.Only) == 0
	}
	return s.AcceptUnknown && dicom.ValidUID(uid) == nil && !isService(uid)
}

// policy is how the server negotiates an admitted request.
func (s *Server) policy(rq *ul.AssociateRequest, info *AssociationInfo, admission Admission) ul.AcceptorPolicy {
	classes := s.SOPClasses.with(rq)
	// In these classes the requestor is to receive, not to send.
	receives := make(map[string]bool)
	for _, r := range rq.User.Roles {
		if r.SCP && !r.SCU {
			receives[r.SOPClassUID] = true
		}
	}
	return ul.AcceptorPolicy{
		Choose: func(abstract string, proposed []string) (string, ul.Result) {
			switch {
			case s.service(abstract) != nil && admission.May != nil && !admission.May(abstract):
				return "", ul.UserRejection
			case s.service(abstract) != nil:
				return chooseForIdentifiers(proposed)
			case s.Store == nil && abstract != dicom.VerificationSOPClass && !(receives[abstract] && s.gets()):
				return "", ul.AbstractSyntaxNotSupported
			}
			return classes.choose(abstract, proposed, receives[abstract])
		},
		Role: func(sopClass string, scu, scp bool) (bool, bool) {
			if svc := s.service(sopClass); svc != nil {
				return scu, scp && svc.PeerSCP
			}
			return scu && (s.Store != nil || sopClass == dicom.VerificationSOPClass), scp && s.gets() && sopClass != dicom.VerificationSOPClass && classes.accepts(sopClass)
		},
		Extended: func(sopClass string, proposed []byte) []byte {
			if svc := s.service(sopClass); svc != nil {
				return svc.negotiate(info, sopClass, proposed)
			}
			return classes.storageExtended(sopClass, proposed)
		},
		AsyncWindow: s.AsyncWindow, Identity: admission.Identity,
	}
}

// chooseForIdentifiers picks the transfer syntax of a service's context, whose
// data sets are read and written here.
func chooseForIdentifiers(proposed []string) (string, ul.Result) {
	for _, ts := range []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian} {
		if slices.Contains(proposed, ts) {
			return ts, ul.Acceptance
		}
	}
	return "", ul.TransferSyntaxesNotSupported
}

// with also accepts the classes that a requestor says are special cases of
// accepted ones: SOP class common extended negotiation, PS3.7 Annex D.3.3.6 and
// PS3.4 section B.3.1.4.
func (s SOPClasses) with(rq *ul.AssociateRequest) SOPClasses {
	if len(rq.User.CommonExtended) == 0 {
		return s
	}
	proposed := make(map[string]bool, len(rq.Contexts))
	for _, c := range rq.Contexts {
		proposed[c.AbstractSyntax] = true
	}
	general := s.accepts
	for _, x := range rq.User.CommonExtended {
		if !proposed[x.SOPClassUID] || dicom.ValidUID(x.SOPClassUID) != nil || isService(x.SOPClassUID) {
			continue
		}
		if slices.ContainsFunc(x.RelatedGeneral, general) {
			s.related = append(s.related, x.SOPClassUID)
			proposed[x.SOPClassUID] = false // decided
		}
	}
	return s
}

// Under DICOM's own root only one branch holds storage classes, and in it some
// query/retrieve classes. PS3.6 Table A-1.
const (
	dicomRoot     = "1.2.840.10008."
	storageBranch = "1.2.840.10008.5.1.4.1.1."
)

var servicesAmongStorage = []string{
	"1.2.840.10008.5.1.4.1.1.200.4", "1.2.840.10008.5.1.4.1.1.200.5", "1.2.840.10008.5.1.4.1.1.200.6", // protocol FIND, MOVE, GET
	"1.2.840.10008.5.1.4.1.1.201.2", "1.2.840.10008.5.1.4.1.1.201.3", "1.2.840.10008.5.1.4.1.1.201.4", // inventory FIND, MOVE, GET
	"1.2.840.10008.5.1.4.1.1.201.5", "1.2.840.10008.5.1.4.1.1.201.6", // inventory creation, repository query
}

// isService says whether the class, which is not among the storage classes, is
// or may be one of a service.
func isService(uid string) bool {
	return strings.HasPrefix(uid, dicomRoot) && !strings.HasPrefix(uid, storageBranch) || slices.Contains(servicesAmongStorage, uid)
}

// choose decides one proposed presentation context. receives says that the
// requestor is to receive in it, as in C-GET.
func (s SOPClasses) choose(abstract string, transferSyntaxes []string, receives bool) (string, ul.Result) {
	encoding := storageEncoding
	switch {
	case abstract == dicom.VerificationSOPClass:
		// No data set is ever sent; the default transfer syntax will do.
		encoding = func(uid string) ul.Encoding { return min(storageEncoding(uid), ul.ExplicitLittleEndian) }
	case !s.accepts(abstract):
		return "", ul.AbstractSyntaxNotSupported
	}
	choose := ul.ChooseTransferSyntax
	if receives {
		choose = ul.ChooseToSend
	}
	ts, ok := choose(transferSyntaxes, encoding)
	if !ok {
		return "", ul.TransferSyntaxesNotSupported
	}
	return ts, ul.Acceptance
}

// gePrivate is an implicit little endian data set with big endian pixel words:
// taken when nothing else is offered.
const gePrivate = "1.2.840.113619.5.2"

// storageEncoding classes the transfer syntaxes in which stored objects can be
// kept. Those that only refer to pixel data elsewhere, or belong to other
// media, are not.
func storageEncoding(uid string) ul.Encoding {
	ts, ok := dicom.LookupTransferSyntax(uid)
	switch {
	case !ok:
		return ul.NotTaken
	case uid == dicom.ImplicitVRLittleEndian:
		return ul.ImplicitLittleEndian
	case uid == dicom.ExplicitVRLittleEndian:
		return ul.ExplicitLittleEndian
	case uid == dicom.ExplicitVRBigEndian || uid == gePrivate:
		return ul.ExplicitBigEndian
	case uid == dicom.DeflatedExplicitVRLittleEndian:
		return ul.Deflated
	case ts.Encapsulated && ts.Lossy:
		return ul.Lossy
	case ts.Encapsulated:
		return ul.Lossless
	}
	return ul.NotTaken
}

// storageExtended answers extended negotiation of storage classes: level 2
// (full), unspecified signature support, no coercion. PS3.4 Table B.3-1.
func (s SOPClasses) storageExtended(sopClass string, _ []byte) []byte {
	if sopClass == dicom.VerificationSOPClass || !s.accepts(sopClass) {
		return nil
	}
	return []byte{2, 0, 0, 0, 0, 0}
}
