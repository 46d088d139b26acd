package archive

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/patients"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// people are the routes of patients.
type people struct{ patients *patients.Patients }

func (p *people) register(r gin.IRouter) {
	admin := r.Group("/admin", web.Require(access.AdminPatients))
	admin.GET("/patients", web.Handle(p.find))
	admin.GET("/patients/:patient", web.Handle(p.get))
	admin.POST("/patients/:patient/correct", web.Handle(p.correct))
	admin.POST("/patients/:patient/merge", web.Handle(p.merge))
	admin.POST("/patients/:patient/split", web.Handle(p.split))
	admin.POST("/studies/:study/move", web.Handle(p.move))
	admin.POST("/patient-operations/:operation/undo", web.Handle(p.undo))
}

type facilityNameJSON struct {
	Code string `json:"code"`
	Name string `json:"name"`
}

type demographicsJSON struct {
	Name      *string `json:"name,omitempty"`
	PatientID *string `json:"patient_id,omitempty"`
	Issuer    *string `json:"issuer,omitempty"`
	BirthDate *string `json:"birth_date,omitempty"`
	Sex       *string `json:"sex,omitempty"`
	PINFL     *string `json:"pinfl,omitempty"`
}

func demographicsOf(f patients.Face) *demographicsJSON {
	return &demographicsJSON{&f.Name, &f.PatientID, &f.Issuer, &f.BirthDate, &f.Sex, &f.PINFL}
}

type patientRecordJSON struct {
	ID           string            `json:"id"`
	Revision     int               `json:"revision"`
	Facility     facilityNameJSON  `json:"facility"`
	Demographics *demographicsJSON `json:"demographics"`
	SharedID     bool              `json:"shared_id"`
	Corrected    bool              `json:"corrected"`
	Studies      int               `json:"studies"`
}

func patientRecords(list []index.PatientRecord) []patientRecordJSON {
	out := make([]patientRecordJSON, len(list))
	for i, p := range list {
		out[i] = patientRecordJSON{
			ID: rowText(p.ID), Revision: p.Revision, Facility: facilityNameJSON{p.Facility.Code, p.Facility.Name},
			Demographics: demographicsOf(patients.Face{Issuer: p.Issuer, PatientID: p.PatientID, Name: p.Name, Sex: p.Sex, BirthDate: p.BirthDate, PINFL: p.PINFL}),
			SharedID:     p.Shared, Corrected: p.Amended, Studies: p.Studies,
		}
	}
	return out
}

type patientStudyJSON struct {
	StudyUID    string   `json:"study_uid"`
	Date        string   `json:"date"`
	Description string   `json:"description"`
	Modalities  []string `json:"modalities"`
	Accession   string   `json:"accession,omitempty"`
	Instances   int      `json:"instances"`
	Moved       bool     `json:"moved"`
}

type patientOperationJSON struct {
	ID       string            `json:"id"`
	Kind     string            `json:"kind"`
	At       time.Time         `json:"at"`
	Who      string            `json:"who"`
	Why      string            `json:"why"`
	Before   *demographicsJSON `json:"before,omitempty"`
	After    *demographicsJSON `json:"after,omitempty"`
	Other    string            `json:"other,omitempty"`
	Studies  []string          `json:"studies,omitempty"`
	Undoes   string            `json:"undoes,omitempty"`
	UndoneBy string            `json:"undone_by,omitempty"`
	Undoable bool              `json:"undoable"`
}

type patientDetailJSON struct {
	Patient  patientRecordJSON      `json:"patient"`
	Received *demographicsJSON      `json:"received,omitempty"`
	Studies  []patientStudyJSON     `json:"studies"`
	Linked   []patientRecordJSON    `json:"linked"`
	History  []patientOperationJSON `json:"history"`
}

func patientDetail(d *patients.Detail) patientDetailJSON {
	out := patientDetailJSON{
		Patient: patientRecords([]index.PatientRecord{d.PatientRecord})[0],
		Studies: make([]patientStudyJSON, len(d.List)),
		Linked:  patientRecords(d.Linked),
		History: make([]patientOperationJSON, len(d.History)),
	}
	if d.Received != nil {
		out.Received = demographicsOf(*d.Received)
	}
	for i, s := range d.List {
		out.Studies[i] = patientStudyJSON{s.StudyInstanceUID, s.Date, s.Description, s.Modalities, s.AccessionNumber, s.InstanceCount, s.Moved}
		if s.Modalities == nil {
			out.Studies[i].Modalities = []string{}
		}
	}
	for i, o := range d.History {
		h := patientOperationJSON{
			ID: rowText(o.ID), Kind: o.Kind, At: o.At.UTC(), Who: o.Who, Why: o.Why, Other: rowText(o.Other), Studies: o.Studies,
			Undoes: rowText(o.Undoes), UndoneBy: rowText(o.UndoneBy), Undoable: o.Undoable,
		}
		if o.Before != nil {
			h.Before = demographicsOf(*o.Before)
		}
		if o.After != nil {
			h.After = demographicsOf(*o.After)
		}
		out.History[i] = h
	}
	return out
}

func (p *people) find(c *gin.Context) error {
	page := pacs.Page{Limit: queryNumber(c, "limit", 50, 1, 200), After: c.Query("after")}
	list, next, err := p.patients.Find(c.Request.Context(), web.Identity(c).Scope, c.Query("q"), c.Query("facility"), page)
	if err != nil {
		return err
	}
	answer := gin.H{"patients": patientRecords(list)}
	if next != "" {
		answer["next"] = next
	}
	c.JSON(http.StatusOK, answer)
	return nil
}

// patientRow reads the number of a patient's row; 0, which nobody has, for
// what is none.
func patientRow(text string) int64 {
	row, err := strconv.ParseInt(text, 10, 64)
	if err != nil || row < 0 {
		return 0
	}
	return row
}

func (p *people) get(c *gin.Context) error {
	d, err := p.patients.Get(c.Request.Context(), web.Identity(c).Scope, patientRow(c.Param("patient")))
	return show(c, d, err)
}

// show answers with a patient.
func show(c *gin.Context, d *patients.Detail, err error) error {
	if err == nil {
		c.JSON(http.StatusOK, patientDetail(d))
	}
	return err
}

func (p *people) correct(c *gin.Context) error {
	var in struct {
		Demographics demographicsJSON `json:"demographics"`
		Why          string           `json:"why"`
		Revision     int              `json:"revision"`
	}
	if err := web.Body(c, &in); err != nil {
		return err
	}
	d, err := p.patients.Correct(c.Request.Context(), web.Identity(c), patientRow(c.Param("patient")), in.Revision, patients.Demographics(in.Demographics), in.Why)
	return show(c, d, err)
}

func (p *people) merge(c *gin.Context) error {
	var in struct {
		Into     string `json:"into"`
		Why      string `json:"why"`
		Revision int    `json:"revision"`
	}
	if err := web.Body(c, &in); err != nil {
		return err
	}
	d, err := p.patients.Merge(c.Request.Context(), web.Identity(c), patientRow(c.Param("patient")), patientRow(in.Into), in.Revision, in.Why)
	return show(c, d, err)
}

func (p *people) split(c *gin.Context) error {
	var in struct {
		Studies      []string         `json:"studies"`
		Demographics demographicsJSON `json:"demographics"`
		Why          string           `json:"why"`
		Revision     int              `json:"revision"`
	}
	if err := web.Body(c, &in); err != nil {
		return err
	}
	d, err := p.patients.Split(c.Request.Context(), web.Identity(c), patientRow(c.Param("patient")), in.Revision, in.Studies, patients.Demographics(in.Demographics), in.Why)
	return show(c, d, err)
}

func (p *people) move(c *gin.Context) error {
	var in struct {
		Patient string `json:"patient"`
		Why     string `json:"why"`
	}
	if err := web.Body(c, &in); err != nil {
		return err
	}
	d, err := p.patients.Move(c.Request.Context(), web.Identity(c), c.Param("study"), patientRow(in.Patient), in.Why)
	return show(c, d, err)
}

func (p *people) undo(c *gin.Context) error {
	var in struct {
		Why string `json:"why"`
	}
	if err := web.Body(c, &in); err != nil {
		return err
	}
	d, err := p.patients.Undo(c.Request.Context(), web.Identity(c), patientRow(c.Param("operation")), in.Why)
	return show(c, d, err)
}
