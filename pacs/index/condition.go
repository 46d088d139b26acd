package index

import (
	"fmt"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// conditions gathers the WHERE clause of a query and its arguments. It is the
// one place where match keys become SQL, for QIDO-RS, C-FIND and the client's
// lists alike; values only ever travel as arguments.
type conditions struct {
	clauses []string
	args    []any
}

// arg adds an argument and returns its placeholder.
func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return fmt.Sprintf("$%d", len(c.args))
}

// add appends a clause; each %s is replaced by the placeholder of a value.
func (c *conditions) add(clause string, values ...any) {
	placeholders := make([]any, len(values))
	for i, v := range values {
		placeholders[i] = c.arg(v)
	}
	c.clauses = append(c.clauses, fmt.Sprintf(clause, placeholders...))
}

func (c *conditions) where() string {
	if len(c.clauses) == 0 {
		return "true"
	}
	return strings.Join(c.clauses, " AND ")
}

// scope limits to the facilities in sight. column is that of the facility.
func (c *conditions) scope(s pacs.Scope, column string) {
	if s.All {
		return
	}
	ids := s.FacilityIDs
	if ids == nil {
		ids = []int64{}
	}
	c.add(column+" = ANY(%s)", ids)
}

// text matches a text attribute: single value or wild card matching, PS3.4
// C.2.2.2.1 and C.2.2.2.4. Universal matching adds nothing.
func (c *conditions) text(column, key string) {
	switch {
	case key == "" || strings.Trim(key, "*") == "":
	case strings.ContainsAny(key, "*?"):
		c.add(column+" LIKE %s", likePattern(key))
	default:
		c.add(column+" = %s", key)
	}
}

// likePattern turns DICOM wild cards into those of LIKE.
func likePattern(key string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`, `?`, `_`).Replace(key)
}

// personName matches a name. Exact spelling matches regardless of case
// (PS3.4 C.2.2.2.1.1 permits it); fuzzy also across scripts and apostrophes.
func (c *conditions) personName(key string, fuzzy bool) {
	if key == "" || strings.Trim(key, "*^ ") == "" {
		return
	}
	exact := "p.name ILIKE " + c.arg(likePattern(key))
	if !fuzzy {
		c.clauses = append(c.clauses, exact)
		return
	}
	c.clauses = append(c.clauses, "("+exact+" OR "+c.folded("p.name_fold", key)+")")
}

// folded matches every word of text somewhere in a folded column.
func (c *conditions) folded(column, text string) string {
	words := strings.Fields(pacs.Fold(strings.NewReplacer("*", " ", "?", " ").Replace(text)))
	if len(words) == 0 {
		return "false"
	}
	clauses := make([]string, len(words))
	for i, w := range words {
		clauses[i] = column + " LIKE " + c.arg("%"+likePattern(w)+"%")
	}
	return "(" + strings.Join(clauses, " AND ") + ")"
}

// dateRange matches DICOM dates or times, whose text sorts like time does.
func (c *conditions) dateRange(column string, r pacs.DateRange) {
	if r.From != "" {
		c.add(column+" >= %s", r.From)
	}
	if r.To != "" {
		// "235959" must include 235959.123.
		c.add(column+" <= %s", r.To+"~")
	}
	if !r.Empty() {
		c.clauses = append(c.clauses, column+" <> ''")
	}
}

func (c *conditions) oneOf(column string, values []string) {
	switch len(values) {
	case 0:
	case 1:
		c.add(column+" = %s", values[0])
	default:
		c.add(column+" = ANY(%s)", values)
	}
}

// study adds the keys of a study filter over the aliases s (study),
// p (patient) and f (facility).
func (c *conditions) study(f pacs.StudyFilter) {
	c.oneOf("s.study_uid", f.StudyInstanceUIDs)
	c.text("p.patient_id", f.PatientID)
	c.text("p.issuer", f.Issuer)
	c.personName(f.PatientName, f.Fuzzy)
	c.dateRange("p.birth_date", f.BirthDate)
	c.text("p.sex", f.Sex)
	c.text("p.pinfl", f.PINFL)
	c.text("s.accession_number", f.AccessionNumber)
	c.text("s.study_id", f.StudyID)
	c.text("s.description", f.Description)
	c.text("s.referring_physician", f.Referring)
	c.dateRange("s.study_date", f.Date)
	c.dateRange("s.study_time", f.Time)
	if len(f.Modalities) > 0 {
		c.add("s.modalities && %s::text[]", f.Modalities)
	}
	c.text("f.code", f.Facility)
	if text := strings.TrimSpace(f.Text); text != "" {
		prefix := likePattern(strings.NewReplacer("*", "", "?", "").Replace(text)) + "%"
		c.clauses = append(c.clauses, fmt.Sprintf("(%s OR p.patient_id LIKE %s OR s.accession_number LIKE %[2]s OR p.pinfl = %s)",
			c.folded("p.name_fold", text), c.arg(prefix), c.arg(text)))
	}
	if f.PatientRowID != 0 {
		c.add(`(s.patient_row = %s OR s.patient_row IN (
			SELECT linked.id FROM patient linked JOIN patient self ON self.pinfl = linked.pinfl
			WHERE self.id = %s AND linked.pinfl <> ''))`, f.PatientRowID, f.PatientRowID)
	}
	if f.ExcludeStudyInstanceUID != "" {
		c.add("s.study_uid <> %s", f.ExcludeStudyInstanceUID)
	}
}

// series adds the keys of a series filter over the alias e.
func (c *conditions) series(f pacs.SeriesFilter) {
	c.study(f.Study)
	c.oneOf("e.series_uid", f.SeriesInstanceUIDs)
	c.text("e.modality", f.Modality)
	if f.Number != nil {
		c.add("e.number = %s", *f.Number)
	}
	c.text("e.description", f.Description)
	c.text("e.body_part", f.BodyPart)
}

// instance adds the keys of an instance filter over the alias i.
func (c *conditions) instance(f pacs.InstanceFilter) {
	c.series(f.Series)
	c.oneOf("i.sop_uid", f.SOPInstanceUIDs)
	c.oneOf("i.sop_class", f.SOPClassUIDs)
	if f.Number != nil {
		c.add("i.number = %s", *f.Number)
	}
}
