package dicomweb

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// maxRows is how many matches one answer holds at most, by level, and how many
// it holds when the client sets no limit. Clients that know no paging ask for
// the instances of a series or study; the larger numbers are for them.
var maxRows = map[level]int{studyLevel: 1000, seriesLevel: 5000, imageLevel: 10_000}

// searchStudies is Search for Studies, PS3.18 10.6.
func (s *service) searchStudies(r *request) error {
	return search(s, r, studyLevel, func(q *query, page pacs.Page) ([]dataset, string, error) {
		f := q.filter.Series.Study
		f.Page, f.Availability = page, true
		rows, next, err := s.Index.Studies(r.Request.Context(), r.scope, f)
		service := s.serviceURL(r.Request)
		out := make([]dataset, len(rows))
		for i := range rows {
			d := dataset{}
			putStudy(d, &rows[i], q.include)
			out[i] = finish(d, studyURL(service, rows[i].StudyInstanceUID))
		}
		return out, next, err
	})
}

// searchSeries is Search for Series, of a study or of all.
func (s *service) searchSeries(r *request) error {
	return search(s, r, seriesLevel, func(q *query, page pacs.Page) ([]dataset, string, error) {
		f := q.filter.Series
		f.Page, f.Availability = page, true
		rows, next, err := s.Index.Series(r.Request.Context(), r.scope, f)
		if err != nil {
			return nil, "", err
		}
		// Where the address names no study its attributes belong to the match
		// (10.6.3.3.2), otherwise only what includefield asks for.
		studies := map[string]*pacs.Study{}
		if r.study == "" || q.include.reaches(studyLevel) {
			uids := make([]string, len(rows))
			for i := range rows {
				uids[i] = rows[i].StudyInstanceUID
			}
			if studies, err = s.studiesOf(r, uids); err != nil {
				return nil, "", err
			}
		}
		service := s.serviceURL(r.Request)
		out := make([]dataset, len(rows))
		for i := range rows {
			d := dataset{}
			if st := studies[rows[i].StudyInstanceUID]; st != nil {
				putStudy(d, st, q.include)
			}
			putSeries(d, &rows[i], q.include)
			out[i] = finish(d, seriesURL(service, rows[i].StudyInstanceUID, rows[i].SeriesInstanceUID))
		}
		return out, next, nil
	})
}

// searchInstances is Search for Instances, of a series, a study or all.
func (s *service) searchInstances(r *request) error {
	return search(s, r, imageLevel, func(q *query, page pacs.Page) ([]dataset, string, error) {
		f := q.filter
		f.Page = page
		rows, next, err := s.Index.Instances(r.Request.Context(), r.scope, f)
		if err != nil {
			return nil, "", err
		}
		studies, series := map[string]*pacs.Study{}, map[seriesKey]*pacs.Series{}
		if r.study == "" || q.include.reaches(studyLevel) {
			uids := make([]string, len(rows))
			for i := range rows {
				uids[i] = rows[i].StudyInstanceUID
			}
			if studies, err = s.studiesOf(r, uids); err != nil {
				return nil, "", err
			}
		}
		if r.series == "" || q.include.reaches(seriesLevel) {
			if series, err = s.seriesOf(r, rows); err != nil {
				return nil, "", err
			}
		}
		service := s.serviceURL(r.Request)
		out := make([]dataset, len(rows))
		for i := range rows {
			row := &rows[i]
			d := dataset{}
			if st := studies[row.StudyInstanceUID]; st != nil {
				putStudy(d, st, q.include)
			}
			if se := series[seriesKey{row.StudyInstanceUID, row.SeriesInstanceUID}]; se != nil {
				putSeries(d, se, q.include)
			}
			putInstance(d, row, q.include)
			out[i] = finish(d, instanceURL(service, row.StudyInstanceUID, row.SeriesInstanceUID, row.SOPInstanceUID))
		}
		return out, next, s.addExtras(r, q, rows, out)
	})
}

// studiesOf fetches the studies with these UIDs, which may repeat.
func (s *service) studiesOf(r *request, uids []string) (map[string]*pacs.Study, error) {
	found := map[string]*pacs.Study{}
	f := pacs.StudyFilter{StudyInstanceUIDs: distinct(uids), Page: pacs.Page{Limit: pageSize}}
	for len(f.StudyInstanceUIDs) > 0 {
		rows, next, err := s.Index.Studies(r.Request.Context(), r.scope, f)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			found[rows[i].StudyInstanceUID] = &rows[i]
		}
		if next == "" {
			break
		}
		f.After = next
	}
	return found, nil
}

// seriesKey is what identifies a series: some devices use a Series Instance
// UID again in another study.
type seriesKey struct{ study, series string }

func (s *service) seriesOf(r *request, instances []pacs.Instance) (map[seriesKey]*pacs.Series, error) {
	studies, series := make([]string, len(instances)), make([]string, len(instances))
	for i := range instances {
		studies[i], series[i] = instances[i].StudyInstanceUID, instances[i].SeriesInstanceUID
	}
	found := map[seriesKey]*pacs.Series{}
	f := pacs.SeriesFilter{
		Study:              pacs.StudyFilter{StudyInstanceUIDs: distinct(studies)},
		SeriesInstanceUIDs: distinct(series),
		Page:               pacs.Page{Limit: pageSize},
	}
	for len(f.SeriesInstanceUIDs) > 0 {
		rows, next, err := s.Index.Series(r.Request.Context(), r.scope, f)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			found[seriesKey{rows[i].StudyInstanceUID, rows[i].SeriesInstanceUID}] = &rows[i]
		}
		if next == "" {
			break
		}
		f.After = next
	}
	return found, nil
}

func distinct(list []string) []string {
	seen := make(map[string]bool, len(list))
	var out []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// search answers one search: it understands the query, collects pages from
// fetch up to the limit, and sends them with warnings and a link to the rest.
func search(s *service, r *request, at level, fetch func(*query, pacs.Page) ([]dataset, string, error)) error {
	form, err := negotiateModel(r.Request)
	if err != nil {
		return err
	}
	q, nothing, err := parseQuery(r, at)
	if err != nil {
		return err
	}
	q.beyondIndex(at)
	limit := q.limit
	if limit < 0 || limit > maxRows[at] {
		if limit > maxRows[at] {
			q.warn("The limit was reduced to " + strconv.Itoa(maxRows[at]) + ", the most that one answer holds.")
		}
		limit = maxRows[at]
	}
	page := pacs.Page{Offset: q.offset, After: q.after}
	matches := []dataset{}
	next := ""
	for !nothing && len(matches) < limit {
		page.Limit = min(limit-len(matches), pageSize)
		rows, cursor, err := fetch(&q, page)
		if err != nil {
			return err
		}
		matches = append(matches, rows...)
		if next = cursor; next == "" {
			break
		}
		page.After, page.Offset = next, 0
	}
	if next != "" {
		q.warn("There are additional results that can be requested.")
		r.Writer.Header().Add("Link", "<"+s.nextURL(r.Request, next)+`>; rel="next"`)
	}
	body, err := json.Marshal(matches)
	if err != nil {
		return err
	}
	// 299 is for warnings that concern a person: RFC 7234 5.5, PS3.18 8.3.4.
	for _, w := range q.warnings {
		r.Writer.Header().Add("Warning", "299 "+s.serviceURL(r.Request)+` "`+headerText(w)+`"`)
	}
	s.jsonHead(r, form.media, "")
	return s.sendModels(r, form, body)
}

// headerText makes a text fit for a quoted string in a header: a parameter's
// name in it comes from the client.
func headerText(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7E || c == '"' || c == '\\' {
			return '?'
		}
		return c
	}, s)
}

// nextURL is the address of the following page: the same query with a cursor.
func (s *service) nextURL(r *http.Request, cursor string) string {
	values, _ := url.ParseQuery(r.URL.RawQuery)
	values.Del("offset")
	values.Set("after", cursor)
	_, path, _ := strings.Cut(r.URL.Path, s.Base)
	return s.serviceURL(r) + path + "?" + values.Encode()
}
