package dicomweb

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Rejecting (IHE RAD TF-2 4.66, Image Object Change Management). Nothing is
// deleted by it: the archive writes a rejection note, a Key Object Selection,
// and takes it in like one that a device or another archive sends. What it names
// is not shown from then on, until another note takes it back.
//
//	POST   …/reject/113001^DCM   with the code of the reason, or its value alone
//	DELETE …                     the same; ?reason= with the code, 113001 without
//	POST   …/reject/REJECTION_REVOKED   takes it back
//
// The standard has no such transactions; the first is spelled as dcm4chee does.

// Rejections is what rejecting needs beyond storing.
type Rejections interface {
	// Rejected returns a study in scope, also one of which nothing is shown, and
	// its instances that are hidden. NotFound when there is no such study.
	Rejected(ctx context.Context, scope pacs.Scope, studyUID string) (pacs.Study, []pacs.RejectedInstance, error)
}

// Rejecting says of a request who may do what is about to be done, and records
// that they do. why is their own words, "" for none.
type Rejecting func(c *gin.Context, study pacs.Study, object string, reason pacs.RejectionReason, why string) error

// rejectByCode is POST …/reject/CODE.
func (s *service) rejectByCode(r *request) error {
	code, scheme, given := strings.Cut(r.Param("code"), "^")
	if !given {
		scheme = "DCM"
		if pacs.RejectionReason(code) == pacs.RejectionRevoked {
			scheme = pacs.RevocationScheme
		}
	}
	reason, ok := pacs.RejectionTitle(code, scheme)
	if !ok {
		return unknownReason(r.Param("code"))
	}
	return s.reject(r, reason)
}

// remove is DELETE: rejecting, for want of a reason for quality.
func (s *service) remove(r *request) error {
	code := r.DefaultQuery("reason", string(pacs.RejectedForQuality))
	reason, ok := pacs.RejectionTitle(strings.TrimSuffix(code, "^DCM"), "DCM")
	if !ok {
		return unknownReason(code)
	}
	return s.reject(r, reason)
}

func unknownReason(code string) error {
	return pacs.Errorf(pacs.Invalid, "%s is no reason for rejecting. There are 113001 (quality), 113037 (patient safety), 113038 (incorrect modality worklist entry), 113039 (data retention policy expired) and, to take a rejection back, %s.",
		clip(code), pacs.RejectionRevoked)
}

// maxWhy is the longest reason in words, in characters.
const maxWhy = 1000

func (s *service) reject(r *request, reason pacs.RejectionReason) error {
	ctx := r.Request.Context()
	why := strings.TrimSpace(r.Query("why"))
	if len([]rune(why)) > maxWhy {
		return pacs.Errorf(pacs.Invalid, "The parameter why has more than %d characters.", maxWhy)
	}
	study, hidden, err := s.Rejections.Rejected(ctx, r.scope, r.study)
	if err != nil {
		return err
	}
	named, err := s.named(r, reason, hidden)
	if err != nil {
		return err
	}
	if len(named) == 0 {
		if reason == pacs.RejectionRevoked {
			return pacs.Errorf(pacs.NotFound, "Nothing of that is rejected.")
		}
		return pacs.Errorf(pacs.NotFound, "There is no such study, series or instance.")
	}
	object := strings.TrimPrefix(instanceURL("", r.study, r.series, r.instance), "/")
	object = strings.TrimSuffix(strings.TrimSuffix(object, "/instances/"), "/series/")
	if err := s.Rejecting(r.Context, study, object, reason, why); err != nil {
		return err
	}
	note := rejectionNote(study, named, reason, why, time.Now())
	file := dicom.AppendFileMeta(nil, dicom.FileMeta{
		SOPClassUID: keyObjects, SOPInstanceUID: note.String(dicom.TagSOPInstanceUID), TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
	})
	if file, err = dicom.AppendDataset(file, note, dicom.ExplicitVRLittleEndian); err != nil {
		return err
	}
	receipt, err := s.Receiver.Receive(ctx, pacs.Incoming{
		Data: bytes.NewReader(file), Channel: pacs.ChannelSTOW, Facility: study.Facility.Code, Sender: r.sender, Remote: r.Request.RemoteAddr,
		StudyInstanceUID: r.study,
	})
	if err != nil {
		return err
	}
	if receipt.Unfit != "" {
		return pacs.Errorf(pacs.Internal, "The rejection note could not be made.")
	}
	// It is durable, and takes effect when it is published, which is at once
	// unless the database is down.
	r.Header("Cache-Control", "no-store")
	r.Status(http.StatusNoContent)
	r.Writer.WriteHeaderNow()
	return nil
}

// namedInstance is one that a note names.
type namedInstance struct{ series, class, uid string }

// named are the instances of the address that a note is to name: those that are
// shown, or those that are hidden when it takes rejections back.
func (s *service) named(r *request, reason pacs.RejectionReason, hidden []pacs.RejectedInstance) ([]namedInstance, error) {
	var list []namedInstance
	if reason == pacs.RejectionRevoked {
		for _, i := range hidden {
			if (r.series == "" || r.series == i.SeriesInstanceUID) && (r.instance == "" || r.instance == i.SOPInstanceUID) && i.SOPClassUID != keyObjects {
				list = append(list, namedInstance{i.SeriesInstanceUID, i.SOPClassUID, i.SOPInstanceUID})
			}
		}
		return list, nil
	}
	f := r.filter()
	f.Page = pacs.Page{Limit: pageSize}
	for {
		rows, next, err := s.Index.Instances(r.Request.Context(), r.scope, f)
		if err != nil {
			return nil, err
		}
		for _, i := range rows {
			list = append(list, namedInstance{i.SeriesInstanceUID, i.SOPClassUID, i.SOPInstanceUID})
		}
		if f.After = next; next == "" {
			return list, nil
		}
	}
}

// keyObjects is the SOP class of Key Object Selection Documents.
const keyObjects = "1.2.840.10008.5.1.4.1.1.88.59"

// rejectionNote makes a Key Object Selection Document (PS3.3 A.35.4, PS3.16 TID
// 2010) whose title is the reason.
func rejectionNote(study pacs.Study, named []namedInstance, reason pacs.RejectionReason, why string, at time.Time) *dicom.Dataset {
	scheme := "DCM"
	if reason == pacs.RejectionRevoked {
		scheme = pacs.RevocationScheme
	}
	code := func(value, scheme, meaning string) *dicom.Dataset {
		return new(dicom.Dataset).SetString(dicom.TagCodeValue, dicom.SH, value).
			SetString(dicom.TagCodingSchemeDesignator, dicom.SH, scheme).SetString(dicom.TagCodeMeaning, dicom.LO, meaning)
	}
	reference := func(i namedInstance) *dicom.Dataset {
		return new(dicom.Dataset).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, i.class).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, i.uid)
	}
	var content []*dicom.Dataset
	if why != "" {
		content = append(content, new(dicom.Dataset).
			SetString(dicom.TagRelationshipType, dicom.CS, "CONTAINS").SetString(dicom.TagValueType, dicom.CS, "TEXT").
			SetSequence(dicom.TagConceptNameCodeSequence, code("113012", "DCM", "Key Object Description")).SetString(dicom.TagTextValue, dicom.UT, why))
	}
	bySeries := map[string][]*dicom.Dataset{}
	var order []string
	for _, i := range named {
		if bySeries[i.series] == nil {
			order = append(order, i.series)
		}
		bySeries[i.series] = append(bySeries[i.series], reference(i))
		content = append(content, new(dicom.Dataset).
			SetString(dicom.TagRelationshipType, dicom.CS, "CONTAINS").SetString(dicom.TagValueType, dicom.CS, "COMPOSITE").
			SetSequence(dicom.TagReferencedSOPSequence, reference(i)))
	}
	slices.Sort(order)
	var series []*dicom.Dataset
	for _, uid := range order {
		series = append(series, new(dicom.Dataset).SetString(dicom.TagSeriesInstanceUID, dicom.UI, uid).SetSequence(dicom.TagReferencedSOPSequence, bySeries[uid]...))
	}
	date, clock := at.UTC().Format("20060102"), at.UTC().Format("150405.000000")
	ds := new(dicom.Dataset)
	ds.SetString(dicom.TagSpecificCharacterSet, dicom.CS, "ISO_IR 192")
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, keyObjects).SetString(dicom.TagSOPInstanceUID, dicom.UI, dicom.NewUID())
	ds.SetString(dicom.TagStudyDate, dicom.DA, study.Date).SetString(dicom.TagStudyTime, dicom.TM, study.Time)
	ds.SetString(dicom.TagContentDate, dicom.DA, date).SetString(dicom.TagContentTime, dicom.TM, clock).SetString(dicom.TagTimezoneOffsetFromUTC, dicom.SH, "+0000")
	ds.SetString(dicom.TagAccessionNumber, dicom.SH, study.AccessionNumber).SetString(dicom.TagModality, dicom.CS, "KO")
	ds.SetString(dicom.TagManufacturer, dicom.LO, "Tasvir").SetString(dicom.TagReferringPhysicianName, dicom.PN, study.ReferringPhysician)
	ds.SetSequence(dicom.TagReferencedPerformedProcedureStepSequence)
	p := study.Patient
	ds.SetString(dicom.TagPatientName, dicom.PN, p.Name).SetString(dicom.TagPatientID, dicom.LO, p.PatientID)
	if p.Issuer != study.Facility.Code {
		ds.SetString(dicom.TagIssuerOfPatientID, dicom.LO, p.Issuer)
	}
	ds.SetString(dicom.TagPatientBirthDate, dicom.DA, p.BirthDate).SetString(dicom.TagPatientSex, dicom.CS, p.Sex)
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, study.StudyInstanceUID).SetString(dicom.TagSeriesInstanceUID, dicom.UI, dicom.NewUID())
	ds.SetString(dicom.TagStudyID, dicom.SH, study.StudyID).SetInts(dicom.TagSeriesNumber, dicom.IS, 9900).SetInts(dicom.TagInstanceNumber, dicom.IS, 1)
	ds.SetString(dicom.TagValueType, dicom.CS, "CONTAINER")
	ds.SetSequence(dicom.TagConceptNameCodeSequence, code(string(reason), scheme, reason.Meaning()))
	ds.SetString(dicom.TagContinuityOfContent, dicom.CS, "SEPARATE")
	ds.SetSequence(dicom.TagCurrentRequestedProcedureEvidenceSequence, new(dicom.Dataset).
		SetSequence(dicom.TagReferencedSeriesSequence, series...).SetString(dicom.TagStudyInstanceUID, dicom.UI, study.StudyInstanceUID))
	ds.SetSequence(dicom.TagContentTemplateSequence, new(dicom.Dataset).
		SetString(dicom.TagMappingResource, dicom.CS, "DCMR").SetString(dicom.TagTemplateIdentifier, dicom.CS, "2010"))
	return ds.SetSequence(dicom.TagContentSequence, content...)
}
