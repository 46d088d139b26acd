package queryretrieve

import (
	"context"
	"io"
	"log/slog"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// Index answers queries within a scope: what lies outside is not there. Pages are
// as in dicomweb.Index.
type Index interface {
	PatientsWithStudies(ctx context.Context, scope pacs.Scope, f pacs.StudyFilter) (rows []index.PatientMatch, next string, err error)
	Studies(ctx context.Context, scope pacs.Scope, f pacs.StudyFilter) (rows []pacs.Study, next string, err error)
	Series(ctx context.Context, scope pacs.Scope, f pacs.SeriesFilter) (rows []pacs.Series, next string, err error)
	Instances(ctx context.Context, scope pacs.Scope, f pacs.InstanceFilter) (rows []pacs.Instance, next string, err error)
}

// Caller is what an application entity may ask for and how it is answered.
type Caller struct {
	// Scope is what it sees.
	Scope pacs.Scope
	// Query and Retrieve allow C-FIND, and C-MOVE and C-GET.
	Query, Retrieve bool
	// Charset is the fallback for the text of its identifiers, "" for none.
	Charset string
	// AnswerCharset is the character set that it is answered in, whatever it asks
	// in: a defined term. "" leaves it to the request.
	AnswerCharset string
}

// Provider is the query/retrieve SCP of PS3.4 Annex C.
type Provider struct {
	Index Index
	Files Files
	// AETitle is the Retrieve AE Title of answers: ours.
	AETitle string
	// Transcoder gives instances to peers that don't take them as they are kept. nil
	// does that without the codecs in C.
	Transcoder Transcoder
	// Destinations are where C-MOVE may send to; nil leaves C-MOVE out.
	Destinations Destinations
	// Caller says who has opened an association.
	Caller func(*dimse.AssociationInfo) Caller
	Log    *slog.Logger
}

// model is an information model: the levels it has, from the top. PS3.4 C.6.
type model struct {
	name   string
	levels []level
}

var (
	patientRoot      = model{"patient root", []level{patientLevel, studyLevel, seriesLevel, imageLevel}}
	studyRoot        = model{"study root", []level{studyLevel, seriesLevel, imageLevel}}
	patientStudyOnly = model{"patient/study only", []level{patientLevel, studyLevel}}
)

// models are the SOP classes served. PS3.4 Tables C.6.1.3-1, C.6.2.3-1 and the
// retired C.6.3.
var models = map[string]model{
	dicom.PatientRootFindSOPClass: patientRoot, dicom.PatientRootMoveSOPClass: patientRoot, dicom.PatientRootGetSOPClass: patientRoot,
	dicom.StudyRootFindSOPClass: studyRoot, dicom.StudyRootMoveSOPClass: studyRoot, dicom.StudyRootGetSOPClass: studyRoot,
	dicom.PatientStudyOnlyFindSOPClass: patientStudyOnly, dicom.PatientStudyOnlyMoveSOPClass: patientStudyOnly, dicom.PatientStudyOnlyGetSOPClass: patientStudyOnly,
}

// Services are what the provider does, for a dimse.Server.
func (p *Provider) Services() []dimse.Service {
	var list []dimse.Service
	for _, class := range []string{dicom.PatientRootFindSOPClass, dicom.StudyRootFindSOPClass, dicom.PatientStudyOnlyFindSOPClass} {
		list = append(list, dimse.Service{SOPClasses: []string{class}, Extended: findExtended, Find: p.find})
	}
	for _, class := range []string{dicom.PatientRootGetSOPClass, dicom.StudyRootGetSOPClass, dicom.PatientStudyOnlyGetSOPClass} {
		list = append(list, dimse.Service{SOPClasses: []string{class}, Extended: retrieveExtended, Get: p.get})
	}
	if p.Destinations == nil {
		return list
	}
	for _, class := range []string{dicom.PatientRootMoveSOPClass, dicom.StudyRootMoveSOPClass, dicom.PatientStudyOnlyMoveSOPClass} {
		list = append(list, dimse.Service{SOPClasses: []string{class}, Extended: retrieveExtended, Move: p.move})
	}
	return list
}

// retrieveExtended answers extended negotiation of C-MOVE and C-GET: relational
// retrieval is done, multi-frame conversion is not. PS3.4 Tables C.5.2-1 and
// C.5.3-1.
func retrieveExtended(_ *dimse.AssociationInfo, _ string, proposed []byte) []byte {
	answer := make([]byte, min(len(proposed), 2))
	if len(answer) > 0 {
		answer[0] = min(proposed[0], 1)
	}
	return answer
}

// findExtended answers extended negotiation of C-FIND: relational queries,
// combined date-time matching, fuzzy matching of names and matching of empty and of
// multiple values are done for who asks, time zone adjustment and multi-frame
// conversion are not. PS3.4 Table C.5.1-1.
func findExtended(_ *dimse.AssociationInfo, _ string, proposed []byte) []byte {
	supported := [...]byte{1, 1, 1, 0, 0, 1, 1}
	answer := make([]byte, min(len(proposed), len(supported)))
	for i := range answer {
		answer[i] = min(proposed[i], supported[i])
	}
	return answer
}

// negotiated reads what extended negotiation agreed on.
func negotiated(extended []byte, n int) bool { return len(extended) > n && extended[n] == 1 }

func (p *Provider) logger() *slog.Logger {
	if p.Log != nil {
		return p.Log
	}
	return slog.New(slog.DiscardHandler)
}

// Files reads instances as they are served: with the demographics of their
// Amendment.
type Files interface {
	// Instance prepares a whole instance for being read.
	Instance(ctx context.Context, i pacs.Instance) (pacs.File, error)
	// Open streams length bytes of what is kept at loc, from offset. Reading ends
	// with io.EOF only when every byte was delivered. The caller closes the reader.
	Open(ctx context.Context, loc pacs.Location, offset, length int64) (io.ReadCloser, error)
}

// Transcoder gives instances in other transfer syntaxes than they are kept in:
// transcode.Transcoder.
type Transcoder interface {
	// Transcode opens the data set of an instance that is kept as file in the
	// transfer syntax among those taken that suits it best, without loss. Unsupported
	// when it can be given in none.
	Transcode(ctx context.Context, i pacs.Instance, file pacs.File, taken []string) (transferSyntax string, dataset io.ReadCloser, err error)
}
