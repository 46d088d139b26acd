package queryretrieve

import (
	"context"
	"errors"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/matching"
)

// Pages of a query: the first is short, so that answers begin soon.
const (
	firstPage = 100
	pageSize  = 1000
)

// find answers a C-FIND. PS3.4 C.4.1.3.
func (p *Provider) find(ctx context.Context, rq *dimse.Request, out *dimse.Matches) dimse.Status {
	caller := p.Caller(rq.Association)
	if !caller.Query {
		return dimse.Statusf(dimse.NotAuthorized, "%s may not query here", rq.Association.CallingAE)
	}
	rq.DataSet.SetFallbackCharset(caller.Charset)
	q, err := models[rq.AbstractSyntax].parseQuery(rq.DataSet, options{
		relational: negotiated(rq.Extended, 0), dateTime: negotiated(rq.Extended, 1), fuzzy: negotiated(rq.Extended, 2),
		Options: matching.Options{Empty: negotiated(rq.Extended, 5), Multiple: negotiated(rq.Extended, 6)},
	})
	if err != nil {
		return p.status(err, dimse.FindOutOfResources)
	}
	out.OptionalKeysIgnored = q.ignored
	send := func(m *match) error { return out.Send(caller.spelled(q.render(m, p.AETitle), q.charset)) }
	err = p.search(ctx, caller.Scope, q, send)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		if pacs.CodeOf(err) == pacs.Internal && !errors.Is(err, dimse.ErrCancelled) {
			p.logger().Error("query failed", "association", rq.Association.ID, "level", q.level.String(), "error", err)
		}
		return p.status(err, dimse.FindOutOfResources)
	}
	return dimse.Status{Code: dimse.Success}
}

// search calls send for everything that matches, page by page, until it returns
// an error.
func (p *Provider) search(ctx context.Context, scope pacs.Scope, q *query, send func(*match) error) error {
	page := pacs.Page{Limit: firstPage}
	for {
		var next string
		var err error
		switch q.level {
		case patientLevel:
			next, err = p.patients(ctx, scope, q, page, send)
		case studyLevel:
			next, err = p.studies(ctx, scope, q, page, send)
		case seriesLevel:
			next, err = p.series(ctx, scope, q, page, send)
		default:
			next, err = p.instances(ctx, scope, q, page, send)
		}
		if err != nil || next == "" {
			return err
		}
		page = pacs.Page{Limit: pageSize, After: next}
	}
}

func (p *Provider) patients(ctx context.Context, scope pacs.Scope, q *query, page pacs.Page, send func(*match) error) (string, error) {
	f := q.filter.Series.Study
	f.Page, f.Availability = page, slices.Contains(q.wanted, dicom.TagInstanceAvailability)
	rows, next, err := p.Index.PatientsWithStudies(ctx, scope, f)
	if err != nil {
		return "", err
	}
	for i := range rows {
		if err := send(&match{patient: &rows[i]}); err != nil {
			return "", err
		}
	}
	return next, nil
}

func (p *Provider) studies(ctx context.Context, scope pacs.Scope, q *query, page pacs.Page, send func(*match) error) (string, error) {
	f := q.filter.Series.Study
	f.Page, f.Availability = page, slices.Contains(q.wanted, dicom.TagInstanceAvailability)
	rows, next, err := p.Index.Studies(ctx, scope, f)
	if err != nil {
		return "", err
	}
	for i := range rows {
		if err := send(&match{study: &rows[i]}); err != nil {
			return "", err
		}
	}
	return next, nil
}

func (p *Provider) series(ctx context.Context, scope pacs.Scope, q *query, page pacs.Page, send func(*match) error) (string, error) {
	f := q.filter.Series
	f.Page, f.Availability = page, slices.Contains(q.wanted, dicom.TagInstanceAvailability)
	rows, next, err := p.Index.Series(ctx, scope, f)
	if err != nil {
		return "", err
	}
	a := above{p: p, scope: scope, study: map[string]*pacs.Study{}}
	if a.wantStudy, _ = q.needs(); a.wantStudy {
		uids := make([]string, len(rows))
		for i := range rows {
			uids[i] = rows[i].StudyInstanceUID
		}
		if err := a.fetchStudies(ctx, uids); err != nil {
			return "", err
		}
	}
	for i := range rows {
		if err := send(&match{study: a.studyOf(rows[i].StudyInstanceUID), series: &rows[i]}); err != nil {
			return "", err
		}
	}
	return next, nil
}

func (p *Provider) instances(ctx context.Context, scope pacs.Scope, q *query, page pacs.Page, send func(*match) error) (string, error) {
	f := q.filter
	f.Page = page
	rows, next, err := p.Index.Instances(ctx, scope, f)
	if err != nil {
		return "", err
	}
	studies, series := make([]string, len(rows)), make([]string, len(rows))
	for i := range rows {
		studies[i], series[i] = rows[i].StudyInstanceUID, rows[i].SeriesInstanceUID
	}
	a := above{p: p, scope: scope, study: map[string]*pacs.Study{}, series: map[seriesKey]*pacs.Series{}}
	var wantSeries bool
	if a.wantStudy, wantSeries = q.needs(); a.wantStudy {
		if err := a.fetchStudies(ctx, studies); err != nil {
			return "", err
		}
	}
	if wantSeries {
		if err := a.fetchSeries(ctx, studies, series); err != nil {
			return "", err
		}
	}
	for i := range rows {
		m := &match{study: a.studyOf(studies[i]), instance: &rows[i]}
		if m.series = a.series[seriesKey{studies[i], series[i]}]; m.series == nil {
			m.series = &pacs.Series{StudyInstanceUID: studies[i], SeriesInstanceUID: series[i]}
		}
		if err := send(m); err != nil {
			return "", err
		}
	}
	return next, nil
}

// above are the rows of the levels above a page's.
type above struct {
	p         *Provider
	scope     pacs.Scope
	wantStudy bool
	study     map[string]*pacs.Study
	series    map[seriesKey]*pacs.Series
}

// seriesKey is what identifies a series: some devices use a Series Instance UID
// again in another study.
type seriesKey struct{ study, series string }

// studyOf is the study's row, or one that knows its UID only.
func (a *above) studyOf(uid string) *pacs.Study {
	if s := a.study[uid]; s != nil {
		return s
	}
	return &pacs.Study{StudyInstanceUID: uid}
}

func (a *above) fetchStudies(ctx context.Context, uids []string) error {
	f := pacs.StudyFilter{StudyInstanceUIDs: distinct(uids), Page: pacs.Page{Limit: pageSize}}
	for len(f.StudyInstanceUIDs) > 0 {
		rows, next, err := a.p.Index.Studies(ctx, a.scope, f)
		if err != nil {
			return err
		}
		for i := range rows {
			a.study[rows[i].StudyInstanceUID] = &rows[i]
		}
		if f.After = next; next == "" {
			break
		}
	}
	return nil
}

func (a *above) fetchSeries(ctx context.Context, studies, series []string) error {
	f := pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: distinct(studies)}, SeriesInstanceUIDs: distinct(series), Page: pacs.Page{Limit: pageSize}}
	for len(f.SeriesInstanceUIDs) > 0 {
		rows, next, err := a.p.Index.Series(ctx, a.scope, f)
		if err != nil {
			return err
		}
		for i := range rows {
			a.series[seriesKey{rows[i].StudyInstanceUID, rows[i].SeriesInstanceUID}] = &rows[i]
		}
		if f.After = next; next == "" {
			break
		}
	}
	return nil
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

// spelled puts an answer into a character set that the caller can show: the one
// that is registered for it, in which names are transliterated if they must be;
// else the one that it asked in, if that has all characters; else UTF-8.
func (c Caller) spelled(ds *dicom.Dataset, asked []string) *dicom.Dataset {
	if dicom.CanSpell(c.AnswerCharset) {
		out, _ := ds.Spell(c.AnswerCharset, pacs.InASCII)
		return out
	}
	for _, term := range asked {
		if term == "" || !dicom.CanSpell(term) {
			continue
		}
		if out, whole := ds.Spell(term, nil); whole {
			return out
		}
	}
	return ds
}
