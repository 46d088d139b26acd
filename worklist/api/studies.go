package api

import (
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/report"
)

type (
	patientJSON struct {
		Name      string `json:"name"`
		NameOther string `json:"name_other,omitempty"`
		ID        string `json:"id"`
		Issuer    string `json:"issuer,omitempty"`
		PINFL     string `json:"pinfl,omitempty"`
		Sex       string `json:"sex"`
		BirthDate string `json:"birth_date"`
		Age       *int   `json:"age,omitempty"`
	}
	facilityJSON struct {
		Code string `json:"code"`
		Name string `json:"name"`
	}
	badgeJSON struct {
		ID       string      `json:"id"`
		Version  int         `json:"version"`
		Kind     report.Kind `json:"kind"`
		SignedAt time.Time   `json:"signed_at"`
		SignedBy string      `json:"signed_by"`
	}
	studyJSON struct {
		StudyUID           string       `json:"study_uid"`
		Patient            patientJSON  `json:"patient"`
		Description        string       `json:"description"`
		Modalities         []string     `json:"modalities"`
		BodyPart           string       `json:"body_part,omitempty"`
		Date               string       `json:"date"`
		Time               string       `json:"time,omitempty"`
		Accession          string       `json:"accession,omitempty"`
		ReferringPhysician string       `json:"referring_physician,omitempty"`
		Question           string       `json:"question,omitempty"`
		Facility           facilityJSON `json:"facility"`
		SeriesCount        int          `json:"series_count"`
		InstanceCount      int          `json:"instance_count"`
		Bytes              int64        `json:"bytes"`
		ReceivedAt         time.Time    `json:"received_at"`
		Complete           bool         `json:"complete"`
		Report             *badgeJSON   `json:"report,omitempty"`
		TaskID             string       `json:"task_id,omitempty"`
		Order              *askedJSON   `json:"order,omitempty"`
	}
	// askedJSON is what the order of a study asks.
	askedJSON struct {
		ID         string            `json:"id"`
		Priority   worklist.Priority `json:"priority"`
		Reason     string            `json:"reason,omitempty"`
		Question   string            `json:"question,omitempty"`
		Department string            `json:"department,omitempty"`
		Physician  string            `json:"physician,omitempty"`
	}
	seriesJSON struct {
		SeriesUID         string `json:"series_uid"`
		Number            *int   `json:"number,omitempty"`
		Modality          string `json:"modality"`
		Description       string `json:"description,omitempty"`
		BodyPart          string `json:"body_part,omitempty"`
		InstanceCount     int    `json:"instance_count"`
		HasPixels         bool   `json:"has_pixels"`
		MiddleInstanceUID string `json:"middle_instance_uid,omitempty"`
	}
	studyDetailJSON struct {
		studyJSON
		Series  []seriesJSON  `json:"series"`
		Priors  []studyJSON   `json:"priors"`
		Reports []versionJSON `json:"reports"`
	}
)

func patientOf(s pacs.Study) patientJSON {
	p := patientJSON{
		Name:      pacs.DisplayName(s.Patient.Name),
		ID:        s.Patient.PatientID,
		Issuer:    s.Patient.Issuer,
		PINFL:     s.Patient.PINFL,
		Sex:       s.Patient.Sex,
		BirthDate: s.Patient.BirthDate,
	}
	if other := pacs.OtherScript(p.Name); other != p.Name {
		p.NameOther = other
	}
	if age, known := pacs.AgeAt(s.Patient.BirthDate, s.Date, time.Now()); known {
		p.Age = &age
	}
	return p
}

func studyOf(s pacs.Study) studyJSON {
	clock, _, _ := strings.Cut(s.Time, ".")
	out := studyJSON{
		StudyUID:           s.StudyInstanceUID,
		Patient:            patientOf(s),
		Description:        s.Description,
		Modalities:         s.Modalities,
		BodyPart:           strings.Join(s.BodyParts, ", "),
		Date:               s.Date,
		Time:               clock,
		Accession:          s.AccessionNumber,
		ReferringPhysician: pacs.DisplayName(s.ReferringPhysician),
		Question:           s.Question,
		Facility:           facilityJSON{s.Facility.Code, s.Facility.Name},
		SeriesCount:        s.SeriesCount,
		InstanceCount:      s.InstanceCount,
		Bytes:              s.Bytes,
		ReceivedAt:         s.ReceivedAt,
		Complete:           !s.CompletedAt.IsZero(),
	}
	if out.Modalities == nil {
		out.Modalities = []string{}
	}
	return out
}

// asked adds what the order of a study asks. The order's question stands where
// the data set has none.
func (s *studyJSON) asked(r worklist.Request) {
	s.Order = &askedJSON{r.Order, r.Priority, r.Reason, r.Question, r.Department, pacs.DisplayName(r.Physician)}
	if s.Question == "" {
		s.Question = r.Text()
	}
}

// present adds reports, what was ordered and, for those who may read tasks, task
// ids to studies.
func (a *API) present(c *gin.Context, studies []pacs.Study) ([]studyJSON, map[int64][]report.Version, error) {
	ids := make([]int64, len(studies))
	for i, s := range studies {
		ids[i] = s.ID
	}
	var versions map[int64][]report.Version
	var err error
	if web.Identity(c).Can(access.ReportRead) {
		if versions, err = a.Reports.OfStudies(c.Request.Context(), ids); err != nil {
			return nil, nil, err
		}
	}
	var tasks map[int64]string
	if web.Identity(c).Can(access.TaskRead) {
		if tasks, err = a.Worklist.TaskIDs(c.Request.Context(), ids); err != nil {
			return nil, nil, err
		}
	}
	requests, err := a.Worklist.RequestsOf(c.Request.Context(), ids)
	if err != nil {
		return nil, nil, err
	}
	out := make([]studyJSON, len(studies))
	for i, s := range studies {
		out[i] = studyOf(s)
		if request, ordered := requests[s.ID]; ordered {
			out[i].asked(request)
		}
		out[i].TaskID = tasks[s.ID]
		if all := versions[s.ID]; len(all) > 0 {
			last := all[len(all)-1]
			out[i].Report = &badgeJSON{last.ReportID, last.Version, last.Kind, last.SignedAt, last.SignedBy}
		}
	}
	return out, versions, nil
}

func (a *API) listStudies(c *gin.Context) {
	f := pacs.StudyFilter{
		Text:     c.Query("q"),
		Facility: c.Query("facility"),
		Date:     pacs.DateRange{From: c.Query("from"), To: c.Query("to")},
		Page:     pacs.Page{Limit: limit(c, 50), After: c.Query("after")},
	}
	if m := c.Query("modality"); m != "" {
		f.Modalities = []string{m}
	}
	if sort := c.Query("sort"); sort != "date" {
		f.Sort = pacs.StudyOrder(sort)
	}
	studies, next, err := a.Index.Studies(c.Request.Context(), scope(c), f)
	if err != nil {
		web.Problem(c, err)
		return
	}
	out, _, err := a.present(c, studies)
	answer(c, ok, struct {
		Studies []studyJSON `json:"studies"`
		Next    string      `json:"next,omitempty"`
	}{out, next}, err)
}

// maxPriors is how many earlier studies of a patient are listed.
const maxPriors = 100

func (a *API) getStudy(c *gin.Context) {
	out, err := a.studyDetail(c)
	answer(c, ok, out, err)
}

func (a *API) studyDetail(c *gin.Context) (*studyDetailJSON, error) {
	study, err := a.Index.Study(c.Request.Context(), scope(c), c.Param("study"))
	if err != nil {
		return nil, err
	}
	series, _, err := a.Index.Series(c.Request.Context(), scope(c), pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{study.StudyInstanceUID}}})
	if err != nil {
		return nil, err
	}
	if err := a.recordView(c, viewedStudy, studyObject(study.StudyInstanceUID), study.Facility.ID); err != nil {
		return nil, err
	}
	middle, err := a.Index.MiddleInstances(c.Request.Context(), scope(c), study.ID)
	if err != nil {
		return nil, err
	}
	priors, _, err := a.Index.Studies(c.Request.Context(), scope(c), pacs.StudyFilter{
		PatientRowID: study.Patient.ID, ExcludeStudyInstanceUID: study.StudyInstanceUID, Page: pacs.Page{Limit: maxPriors},
	})
	if err != nil {
		return nil, err
	}
	all, versions, err := a.present(c, append([]pacs.Study{study}, priors...))
	if err != nil {
		return nil, err
	}
	out := &studyDetailJSON{studyJSON: all[0], Series: []seriesJSON{}, Priors: all[1:], Reports: []versionJSON{}}
	for _, s := range series {
		out.Series = append(out.Series, seriesJSON{
			SeriesUID: s.SeriesInstanceUID, Number: s.Number, Modality: s.Modality, Description: s.Description,
			BodyPart: s.BodyPart, InstanceCount: s.InstanceCount, HasPixels: s.HasPixels, MiddleInstanceUID: middle[s.ID],
		})
	}
	signed := versions[study.ID]
	if len(signed) > 0 {
		last := signed[len(signed)-1]
		if err := a.recordView(c, viewedReport, reportObject(last.ReportID, last.Version), study.Facility.ID); err != nil {
			return nil, err
		}
	}
	for i := len(signed) - 1; i >= 0; i-- {
		out.Reports = append(out.Reports, versionOf(signed[i], web.Identity(c).Can(access.DeliveryRead)))
	}
	return out, nil
}
