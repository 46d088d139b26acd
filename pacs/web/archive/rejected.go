package archive

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/patients"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// rejected answers which instances are kept and not shown, and why.
type rejected struct{ index *index.Index }

func (v *rejected) register(r gin.IRouter) {
	r.GET("/admin/rejected", web.Require(access.StudyReject), web.Handle(v.studies))
	r.GET("/admin/studies/:study/rejected", web.Require(access.StudyReject), web.Handle(v.list))
}

// rejectedStudyJSON says of whom a study is that the other lists don't show.
type rejectedStudyJSON struct {
	StudyUID    string           `json:"study_uid"`
	Facility    facilityNameJSON `json:"facility"`
	Patient     demographicsJSON `json:"patient"`
	Date        string           `json:"date"`
	Description string           `json:"description"`
	Accession   string           `json:"accession,omitempty"`
	Shown       int              `json:"shown"` // instances
}

func rejectedStudyOf(s pacs.Study) rejectedStudyJSON {
	return rejectedStudyJSON{
		StudyUID: s.StudyInstanceUID, Facility: facilityNameJSON{s.Facility.Code, s.Facility.Name},
		Patient: *demographicsOf(patients.Face{
			Issuer: s.Patient.Issuer, PatientID: s.Patient.PatientID, Name: s.Patient.Name, Sex: s.Patient.Sex, BirthDate: s.Patient.BirthDate, PINFL: s.Patient.PINFL,
		}),
		Date: s.Date, Description: s.Description, Accession: s.AccessionNumber, Shown: s.InstanceCount,
	}
}

type rejectedJSON struct {
	SeriesUID         string    `json:"series_uid"`
	Modality          string    `json:"modality"`
	SeriesDescription string    `json:"series_description"`
	SOPUID            string    `json:"sop_uid"`
	SOPClass          string    `json:"sop_class"`
	Number            int       `json:"number,omitempty"`
	Version           int       `json:"version"`
	Reason            string    `json:"reason"`  // code of the note's title
	Meaning           string    `json:"meaning"` // of the code
	NoteUID           string    `json:"note_uid"`
	NotedAt           time.Time `json:"noted_at"`
	Sender            string    `json:"sender"` // of the note
}

func (v *rejected) list(c *gin.Context) error {
	study, found, err := v.index.Rejected(c.Request.Context(), web.Identity(c).Scope, c.Param("study"))
	if err != nil {
		return err
	}
	list := []rejectedJSON{}
	for _, i := range found {
		list = append(list, rejectedJSON{
			SeriesUID: i.SeriesInstanceUID, Modality: i.Modality, SeriesDescription: i.SeriesDescription,
			SOPUID: i.SOPInstanceUID, SOPClass: i.SOPClassUID, Number: i.Number, Version: i.Version,
			Reason: string(i.Reason), Meaning: i.Reason.Meaning(), NoteUID: i.NoteUID, NotedAt: i.NotedAt, Sender: i.Sender,
		})
	}
	c.JSON(http.StatusOK, gin.H{"study": rejectedStudyOf(study), "instances": list})
	return nil
}

// studies are those of which something is hidden: nothing else leads to a study
// of which nothing is shown.
func (v *rejected) studies(c *gin.Context) error {
	found, next, err := v.index.RejectedStudies(c.Request.Context(), web.Identity(c).Scope, pacs.Page{Limit: queryNumber(c, "limit", 50, 1, 200), After: c.Query("after")})
	if err != nil {
		return err
	}
	type entry struct {
		rejectedStudyJSON
		Rejected int       `json:"rejected"` // instances
		NotedAt  time.Time `json:"noted_at"` // when the last note came
	}
	list := []entry{}
	for _, s := range found {
		list = append(list, entry{rejectedStudyOf(s.Study), s.Rejected, s.NotedAt.UTC()})
	}
	answer := gin.H{"studies": list}
	if next != "" {
		answer["next"] = next
	}
	c.JSON(http.StatusOK, answer)
	return nil
}
