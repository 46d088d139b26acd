package index

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

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

// maxKey is the longest match key in bytes: several times the longest text
// that a row holds of what can be asked for.
const maxKey = 8 << 10

// matchable says whether any row can have the value. PostgreSQL refuses NUL
// and what is not UTF-8; no row has it either.
func matchable(key string) bool {
	return len(key) <= maxKey && utf8.ValidString(key) && !strings.Contains(key, "\x00")
}

// nothing makes the conditions match no row.
func (c *conditions) nothing() { c.clauses = append(c.clauses, "false") }

// text matches a text attribute: single value or wild card matching, PS3.4
// C.2.2.2.1 and C.2.2.2.4. Universal matching adds nothing.
func (c *conditions) text(column, key string) {
	switch {
	case key == "" || strings.Trim(key, "*") == "":
	case !matchable(key):
		c.nothing()
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

// names says where names are: with the patient p, or beside the study s.
type names struct{ start, parts, fold string }

var (
	ofPatient = names{start: "lower(p.name) LIKE lower(%s)", parts: "p.name ILIKE %s", fold: "p.name_fold"}
	ofStudy   = names{start: "s.patient_name LIKE lower(%s)", parts: "s.patient_name LIKE lower(%s)", fold: "s.patient_fold"}
)

// universal says that a key for names asks for nothing in particular.
func universal(key string) bool { return strings.Trim(key, "*^ ") == "" }

// personName matches a name. Exact spelling matches regardless of case
// (PS3.4 C.2.2.2.1.1 permits it); fuzzy also across scripts and apostrophes.
func (c *conditions) personName(of names, key string, fuzzy bool) {
	if universal(key) {
		return
	}
	if !matchable(key) {
		c.nothing()
		return
	}
	exact := of.start // found by its beginning
	if strings.HasPrefix(key, "*") || strings.HasPrefix(key, "?") {
		exact = of.parts
	}
	exact = fmt.Sprintf(exact, c.arg(likePattern(key)))
	if !fuzzy {
		c.clauses = append(c.clauses, exact)
		return
	}
	c.clauses = append(c.clauses, "("+exact+" OR "+c.folded(of.fold, key)+")")
}

// maxWords is more than any name has.
const maxWords = 16

// folded matches every word of text somewhere in a folded column; one or two
// letters match where a word begins. (They have no trigram but that one: looked
// for anywhere, they'd take a look at every name.)
func (c *conditions) folded(column, text string) string {
	words := strings.Fields(pacs.Fold(strings.NewReplacer("*", " ", "?", " ").Replace(text)))
	if len(words) == 0 || len(words) > maxWords {
		return "false"
	}
	clauses := make([]string, len(words))
	for i, w := range words {
		w := likePattern(w)
		if utf8.RuneCountInString(w) < 3 {
			clauses[i] = "(" + column + " LIKE " + c.arg(w+"%") + " OR " + column + " LIKE " + c.arg("% "+w+"%") + ")"
			continue
		}
		clauses[i] = column + " LIKE " + c.arg("%"+w+"%")
	}
	return "(" + strings.Join(clauses, " AND ") + ")"
}

// dateRange matches DICOM dates, whose text sorts like time does.
func (c *conditions) dateRange(column string, r pacs.DateRange) {
	if r.Empty() {
		return
	}
	if !matchable(r.From) || !matchable(r.To) {
		c.nothing()
		return
	}
	if r.From != "" {
		c.add(column+" >= %s", r.From)
	}
	if r.To != "" {
		// "2026" must include 20261231, and "235959" 235959.123.
		c.add(column+" <= %s", r.To+"~")
	}
	c.clauses = append(c.clauses, column+" <> ''")
}

// timeRange matches DICOM times, which may be cut short (PS3.5 Table 6.2-1):
// 10, 1000 and 100000.000 are the same time. As text they sort like decimal
// fractions do, so the zeros at the end of the lower bound go.
func (c *conditions) timeRange(column string, r pacs.DateRange) {
	if from := strings.TrimRight(r.From, "0."); from != "" || r.From == "" {
		r.From = from
	} else {
		r.From = "0"
	}
	c.dateRange(column, r)
}

// dateLen is the length of a date without its time.
const dateLen = 8

func day(moment string) string { return moment[:min(dateLen, len(moment))] }

// moments matches date and time together. Behind the date's eight digits the time
// sorts as in timeRange. A study without time is one of its whole day's first
// moment.
func (c *conditions) moments(alias string, r pacs.DateRange) {
	if len(r.From) > dateLen {
		r.From = r.From[:dateLen] + strings.TrimRight(r.From[dateLen:], "0.")
	}
	c.dateRange("("+alias+".study_date || "+alias+".study_time)", r)
}

// oneOf matches any of the values; none given matches everything.
func (c *conditions) oneOf(column string, values []string) {
	if len(values) == 0 {
		return
	}
	possible := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return !matchable(v) })
	switch len(possible) {
	case 0:
		c.nothing()
	case 1:
		c.add(column+" = %s", possible[0])
	default:
		c.add(column+" = ANY(%s)", possible)
	}
}

// number matches an integer attribute.
func (c *conditions) number(column string, n *int) {
	switch {
	case n == nil:
	case *n < math.MinInt32 || *n > math.MaxInt32:
		c.nothing()
	default:
		c.add(column+" = %s", *n)
	}
}

// patient adds the keys that are about the patient, over the alias p, apart
// from the free text.
func (c *conditions) patient(f pacs.StudyFilter) {
	c.personName(ofPatient, f.PatientName, f.Fuzzy)
	c.numbered(f)
}

// numbered adds those that are not about the name.
func (c *conditions) numbered(f pacs.StudyFilter) {
	c.text("p.patient_id", f.PatientID)
	c.text("p.issuer", f.Issuer)
	c.dateRange("p.birth_date", f.BirthDate)
	c.text("p.sex", f.Sex)
	c.without("p", patientEmpty, f.Without)
	c.text("p.pinfl", f.PINFL)
	if f.PINFL != "" {
		c.clauses = append(c.clauses, "p.pinfl <> ''") // what its index is made for
	}
	if f.PatientRowID != 0 {
		c.add(`p.id IN (
			SELECT %s::bigint
			UNION ALL
			SELECT linked.id FROM patient linked JOIN patient self ON self.pinfl = linked.pinfl
			WHERE self.id = %s AND linked.pinfl <> '')`, f.PatientRowID, f.PatientRowID)
	}
}

// undeleted hides what a retention policy has deleted (delete.go).
const undeleted = "s.deleted_at IS NULL"

// study adds the other keys of a study filter, over the alias s, apart from the
// facility and the free text. Studies that were deleted match none.
func (c *conditions) study(f pacs.StudyFilter) {
	c.listed(f)
	c.unlisted("s", f)
}

// listed adds what the indexes of lists hold, unlisted what only the row does.
func (c *conditions) listed(f pacs.StudyFilter) {
	c.clauses = append(c.clauses, undeleted)
	c.dates(f)
	c.modalities(f)
}

// dates limits a list to the days that are asked for.
func (c *conditions) dates(f pacs.StudyFilter) {
	c.dateRange("s.study_date", f.Date)
	c.dateRange("s.study_date", pacs.DateRange{From: day(f.Moment.From), To: day(f.Moment.To)})
}

// modalities matches studies that have series of any of the modalities asked for,
// or of each; none given matches everything.
func (c *conditions) modalities(f pacs.StudyFilter) {
	possible := slices.DeleteFunc(slices.Clone(f.Modalities), func(v string) bool { return !matchable(v) })
	switch {
	case len(f.Modalities) == 0:
	case !f.AllModalities:
		c.add("s.modalities && %s::text[]", possible)
	case len(possible) < len(f.Modalities):
		c.nothing()
	default:
		c.add("s.modalities @> %s::text[]", possible)
	}
}

func (c *conditions) unlisted(alias string, f pacs.StudyFilter) {
	c.clauses = append(c.clauses, "NOT "+alias+".hidden") // all of it is rejected
	c.oneOf(alias+".study_uid", f.StudyInstanceUIDs)
	c.text(alias+".accession_number", f.AccessionNumber)
	if strings.Trim(f.AccessionNumber, "*") != "" {
		c.clauses = append(c.clauses, alias+".accession_number <> ''") // what its index is made for
	}
	c.text(alias+".study_id", f.StudyID)
	c.text(alias+".description", f.Description)
	c.text(alias+".referring_physician", f.Referring)
	c.timeRange(alias+".study_time", f.Time)
	c.moments(alias, f.Moment)
	c.attributes(alias+".attributes", f.Attributes)
	c.without(alias, studyEmpty, f.Without)
	if f.ExcludeStudyInstanceUID != "" && matchable(f.ExcludeStudyInstanceUID) {
		c.add(alias+".study_uid <> %s", f.ExcludeStudyInstanceUID)
	}
}

// words is what people type, made fit for looking: part of a name in any
// script, the beginning of a patient ID or accession number, or a national
// number. "" finds everything.
func words(text string) string {
	text = strings.TrimSpace(text)
	if strings.Trim(text, "*? ") == "" {
		return ""
	}
	return text
}

// beginning is the LIKE pattern of what begins with a typed text.
func beginning(text string) string {
	return likePattern(strings.NewReplacer("*", "", "?", "").Replace(text)) + "%"
}

// textPatient adds what a typed text says of the patient p.
func (c *conditions) textPatient(text string) {
	if !matchable(text) {
		c.nothing()
		return
	}
	c.clauses = append(c.clauses, fmt.Sprintf("(%s OR %s)", c.folded(ofPatient.fold, text), c.textNumber(text)))
}

// textNumber is what a typed text may say of the patient p but the name.
func (c *conditions) textNumber(text string) string {
	return fmt.Sprintf("p.patient_id LIKE %s OR p.pinfl <> '' AND p.pinfl = %s", c.arg(beginning(text)), c.arg(text))
}

// textStudy adds what a typed text says of the study s itself.
func (c *conditions) textStudy(text string) {
	if !matchable(text) {
		c.nothing()
		return
	}
	c.add("s.accession_number <> '' AND s.accession_number LIKE %s", beginning(text))
}

// series adds the keys of a series filter over the aliases of a study and
// e (series).
func (c *conditions) series(f pacs.SeriesFilter) {
	c.study(f.Study)
	c.patient(f.Study)
	c.text("f.code", f.Study.Facility)
	if text := words(f.Study.Text); text != "" {
		var p, s conditions
		p.args = c.args
		p.textPatient(text)
		s.args = p.args
		s.textStudy(text)
		c.args = s.args
		c.clauses = append(c.clauses, "("+p.where()+" OR "+s.where()+")")
	}
	c.oneOf("e.series_uid", f.SeriesInstanceUIDs)
	c.text("e.modality", f.Modality)
	c.oneOf("e.modality", f.Modalities)
	c.attributes("e.attributes", f.Attributes)
	c.number("e.number", f.Number)
	c.text("e.description", f.Description)
	c.text("e.body_part", f.BodyPart)
	c.without("e", seriesEmpty, f.Without)
}

// instance adds the keys of an instance filter over the alias i.
func (c *conditions) instance(f pacs.InstanceFilter) {
	c.series(f.Series)
	c.oneOf("i.sop_uid", f.SOPInstanceUIDs)
	c.oneOf("i.sop_class", f.SOPClassUIDs)
	c.number("i.number", f.Number)
	c.attributes("i.attributes", f.Attributes)
	c.without("i", instanceEmpty, f.Without)
}
