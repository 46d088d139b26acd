package api

import (
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

type (
	demographicsJSON struct {
		Name      string `json:"name"`
		PatientID string `json:"patient_id"`
		Issuer    string `json:"issuer"`
		BirthDate string `json:"birth_date"`
		Sex       string `json:"sex"`
		PINFL     string `json:"pinfl"`
	}
	codeJSON struct {
		Value   string `json:"value"`
		Scheme  string `json:"scheme"`
		Meaning string `json:"meaning"`
	}
	procedureJSON struct {
		ID          string    `json:"id"`
		Description string    `json:"description"`
		Code        *codeJSON `json:"code,omitempty"`
	}
	stepJSON struct {
		ID          string       `json:"id"`
		State       orders.State `json:"state,omitempty"`
		Performed   bool         `json:"performed"`
		Modality    string       `json:"modality"`
		Stations    []string     `json:"stations"`
		Start       string       `json:"start"`
		Description string       `json:"description"`
		Code        *codeJSON    `json:"code,omitempty"`
		Physician   string       `json:"physician"`
		Location    string       `json:"location"`
		Medication  string       `json:"medication"`
	}
	// entryJSON is what is entered.
	entryJSON struct {
		Revision   int               `json:"revision,omitempty"`
		Patient    demographicsJSON  `json:"patient"`
		Accession  string            `json:"accession"`
		Placer     string            `json:"placer"`
		Filler     string            `json:"filler"`
		Physician  string            `json:"physician"`
		Department string            `json:"department"`
		Reason     string            `json:"reason"`
		Question   string            `json:"question"`
		Priority   worklist.Priority `json:"priority"`
		Procedure  procedureJSON     `json:"procedure"`
		Steps      []stepJSON        `json:"steps"`
		StudyUID   string            `json:"study_uid"`
	}
	newOrderJSON struct {
		Facility string `json:"facility"`
		entryJSON
	}
	orderStudyJSON struct {
		StudyUID   string   `json:"study_uid"`
		Instances  int      `json:"instances"`
		Modalities []string `json:"modalities"`
		Complete   bool     `json:"complete"`
	}
	orderJSON struct {
		ID       string         `json:"id"`
		State    orders.State   `json:"state"`
		Moves    []orders.State `json:"moves"`
		Facility facilityJSON   `json:"facility"`
		entryJSON
		CreatedBy string           `json:"created_by"`
		CreatedAt time.Time        `json:"created_at"`
		UpdatedAt time.Time        `json:"updated_at"`
		Studies   []orderStudyJSON `json:"studies"`
	}
	orderEventJSON struct {
		At   time.Time `json:"at"`
		Who  string    `json:"who"`
		What string    `json:"what"`
		Why  string    `json:"why,omitempty"`
	}
	orderDetailJSON struct {
		orderJSON
		History []orderEventJSON `json:"history"`
	}
)

const viewedOrder = "order.view"

func codeOf(c orders.Code) *codeJSON {
	if c == (orders.Code{}) {
		return nil
	}
	return &codeJSON{c.Value, c.Scheme, c.Meaning}
}

func (c *codeJSON) code() orders.Code {
	if c == nil {
		return orders.Code{}
	}
	return orders.Code{Value: c.Value, Scheme: c.Scheme, Meaning: c.Meaning}
}

// startForm is the wall clock's time, without a zone.
const startForm = "2006-01-02T15:04:05"

func orderOf(o orders.Order) orderJSON {
	p := o.Patient
	out := orderJSON{
		ID: o.ID, State: o.State, Moves: append([]orders.State{}, orders.Moves[o.State]...), Facility: facilityJSON{o.Facility.Code, o.Facility.Name},
		entryJSON: entryJSON{
			Revision: o.Revision, Patient: demographicsJSON{p.Name, p.PatientID, p.Issuer, p.BirthDate, p.Sex, p.PINFL},
			Accession: o.Accession, Placer: o.Placer, Filler: o.Filler, Physician: o.Physician, Department: o.Department,
			Reason: o.Reason, Question: o.Question, Priority: o.Priority, StudyUID: o.StudyUID,
			Procedure: procedureJSON{o.Procedure.ID, o.Procedure.Description, codeOf(o.Procedure.Code)},
		},
		CreatedBy: o.CreatedBy, CreatedAt: o.CreatedAt.UTC(), UpdatedAt: o.UpdatedAt.UTC(), Studies: make([]orderStudyJSON, len(o.Studies)),
	}
	for _, s := range o.Steps {
		out.Steps = append(out.Steps, stepJSON{
			ID: s.ID, State: s.State, Performed: s.Performed, Modality: s.Modality, Stations: append([]string{}, s.Stations...), Start: s.Start.Format(startForm),
			Description: s.Description, Code: codeOf(s.Code), Physician: s.Physician, Location: s.Location, Medication: s.Medication,
		})
	}
	for i, s := range o.Studies {
		out.Studies[i] = orderStudyJSON{s.StudyUID, s.Instances, append([]string{}, s.Modalities...), s.Complete}
	}
	return out
}

func (e entryJSON) order() (orders.Order, error) {
	p := e.Patient
	o := orders.Order{
		Revision:  e.Revision,
		Patient:   pacs.Patient{Name: p.Name, PatientID: p.PatientID, Issuer: p.Issuer, BirthDate: p.BirthDate, Sex: p.Sex, PINFL: p.PINFL},
		Accession: e.Accession, Placer: e.Placer, Filler: e.Filler, Physician: e.Physician, Department: e.Department,
		Reason: e.Reason, Question: e.Question, Priority: e.Priority, StudyUID: e.StudyUID,
		Procedure: orders.Procedure{ID: e.Procedure.ID, Description: e.Procedure.Description, Code: e.Procedure.Code.code()},
	}
	for _, s := range e.Steps {
		start, err := startOf(s.Start)
		if err != nil {
			return o, err
		}
		o.Steps = append(o.Steps, orders.Step{
			ID: s.ID, Modality: s.Modality, Stations: s.Stations, Start: start,
			Description: s.Description, Code: s.Code.code(), Physician: s.Physician, Location: s.Location, Medication: s.Medication,
		})
	}
	return o, nil
}

// startOf reads a time of the wall clock, with or without seconds.
func startOf(text string) (time.Time, error) {
	for _, form := range []string{startForm, "2006-01-02T15:04"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, pacs.Errorf(pacs.Invalid, "%q is no time; write 2026-11-22T09:30, by the clock of the facility and without a zone", text).WithReason("order", "")
}

func (a *API) listOrders(c *gin.Context) {
	f := orders.Filter{
		From: c.Query("from"), To: c.Query("to"), Modality: c.Query("modality"), Station: c.Query("station"), State: orders.State(c.Query("state")),
		Priority: worklist.Priority(c.Query("priority")), Facility: c.Query("facility"), Text: c.Query("q"), Limit: limit(c, 100), After: c.Query("after"),
	}
	if day := c.Query("day"); day != "" {
		f.From, f.To = day, day
	}
	list, next, err := a.Orders.List(c.Request.Context(), scope(c), f)
	out := make([]orderJSON, len(list))
	for i, o := range list {
		out[i] = orderOf(o)
	}
	answer(c, ok, struct {
		Orders []orderJSON `json:"orders"`
		Next   string      `json:"next,omitempty"`
	}{out, next}, err)
}

func (a *API) addOrder(c *gin.Context) {
	var in newOrderJSON
	err := web.Body(c, &in)
	var o orders.Order
	if err == nil {
		o, err = in.order()
	}
	status := ok
	if err == nil {
		o.Facility.Code = in.Facility
		var isNew bool
		if o, isNew, err = a.Orders.Create(c.Request.Context(), web.Identity(c), o); isNew {
			status = created
		}
	}
	answer(c, status, orderOf(o), err)
}

func (a *API) getOrder(c *gin.Context) {
	out, err := a.orderDetail(c)
	answer(c, ok, out, err)
}

func (a *API) orderDetail(c *gin.Context) (*orderDetailJSON, error) {
	o, err := a.Orders.Get(c.Request.Context(), scope(c), c.Param("order"))
	if err != nil {
		return nil, err
	}
	if err := a.recordView(c, viewedOrder, orders.Object(o.ID), o.Facility.ID); err != nil {
		return nil, err
	}
	history, err := a.Orders.History(c.Request.Context(), o.ID)
	if err != nil {
		return nil, err
	}
	out := &orderDetailJSON{orderOf(o), make([]orderEventJSON, len(history))}
	for i, e := range history {
		out.History[i] = orderEventJSON{e.At.UTC(), e.Who, e.What, e.Why}
	}
	return out, nil
}

func (a *API) updateOrder(c *gin.Context) {
	var in entryJSON
	err := web.Body(c, &in)
	var o orders.Order
	if err == nil {
		o, err = in.order()
	}
	if err == nil {
		o.ID = c.Param("order")
		o, err = a.Orders.Update(c.Request.Context(), web.Identity(c), o)
	}
	answer(c, ok, orderOf(o), err)
}

func (a *API) moveOrder(c *gin.Context) {
	var in struct {
		State    orders.State `json:"state"`
		Revision int          `json:"revision"`
		Why      string       `json:"why"`
	}
	err := web.Body(c, &in)
	var o orders.Order
	if err == nil {
		o, err = a.Orders.Move(c.Request.Context(), web.Identity(c), c.Param("order"), in.Revision, in.State, in.Why)
	}
	answer(c, ok, orderOf(o), err)
}

type knownPatientJSON struct {
	Facility facilityJSON     `json:"facility"`
	Patient  demographicsJSON `json:"patient"`
}

func (a *API) orderPatients(c *gin.Context) {
	known, err := a.Orders.Patients(c.Request.Context(), scope(c), c.Query("q"), c.Query("facility"))
	out := make([]knownPatientJSON, len(known))
	for i, k := range known {
		p := k.Patient
		out[i] = knownPatientJSON{facilityJSON{k.Facility.Code, k.Facility.Name}, demographicsJSON{p.Name, p.PatientID, p.Issuer, p.BirthDate, p.Sex, p.PINFL}}
	}
	answer(c, ok, gin.H{"patients": out}, err)
}

type stationJSON struct {
	AETitle     string `json:"ae_title"`
	Facility    string `json:"facility"`
	Description string `json:"description"`
}

func (a *API) orderStations(c *gin.Context) {
	devices, err := a.Orders.Stations(c.Request.Context(), scope(c), c.Query("facility"))
	out := make([]stationJSON, len(devices))
	for i, d := range devices {
		out[i] = stationJSON{d.AETitle, d.FacilityCode, d.Description}
	}
	answer(c, ok, gin.H{"stations": out}, err)
}
