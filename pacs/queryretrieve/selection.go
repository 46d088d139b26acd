package queryretrieve

import (
	"context"
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/matching"
)

// selection is what a retrieval is about: counted first, for the counters and the
// presentation contexts, and read again page by page when it is sent, so that a
// study of any size takes the same memory.
type selection struct {
	p      *Provider
	scope  pacs.Scope
	filter pacs.InstanceFilter
	total  int
	kinds  map[dimse.Kind]int // instances by SOP class and kept transfer syntax
	only   []pacs.Instance    // all of them, when one page holds them
}

// parseRetrieval understands the identifier of a C-MOVE or C-GET: a level and its
// unique key, whose values may be a list for UIDs. The keys of the levels above
// are taken too, and not needed: a UID says what it means without them. PS3.4
// C.4.2.1.4 and C.4.2.2.1.
func (m model) parseRetrieval(ds *dicom.Dataset) (level, pacs.InstanceFilter, error) {
	var f pacs.InstanceFilter
	at, err := m.levelOf(ds)
	if err != nil {
		return at, f, err
	}
	for l := patientLevel; l <= at; l++ {
		tag := uniqueKeys[l]
		e, ok := ds.Get(tag)
		var values []string
		if ok {
			values = matching.Given(ds, e)
		}
		if len(values) == 0 {
			if l == at {
				return at, f, bad(tag, "%s level needs %s", at, dicom.Keyword(tag))
			}
			continue
		}
		if l == patientLevel && slices.ContainsFunc(values, hasWildcard) {
			return at, f, bad(tag, "%s takes no wild cards", dicom.Keyword(tag))
		}
		if err := keys[tag].set(&f, values); err != nil {
			return at, f, bad(tag, "%s %v", dicom.Keyword(tag), err)
		}
	}
	return at, f, nil
}

func hasWildcard(s string) bool {
	for _, r := range s {
		if r == '*' || r == '?' {
			return true
		}
	}
	return false
}

// choose counts what matches.
func (p *Provider) choose(ctx context.Context, scope pacs.Scope, f pacs.InstanceFilter) (*selection, error) {
	s := &selection{p: p, scope: scope, filter: f, kinds: make(map[dimse.Kind]int)}
	pages := 0
	err := s.pages(ctx, func(rows []pacs.Instance) error {
		if pages++; pages == 1 {
			s.only = rows
		} else {
			s.only = nil
		}
		s.total += len(rows)
		for i := range rows {
			s.kinds[dimse.Kind{SOPClassUID: rows[i].SOPClassUID, TransferSyntaxUID: rows[i].TransferSyntaxUID}]++
		}
		return nil
	})
	return s, err
}

// pages calls each with page after page.
func (s *selection) pages(ctx context.Context, each func([]pacs.Instance) error) error {
	if s.only != nil {
		return each(s.only)
	}
	f := s.filter
	for f.Limit = pageSize; ; {
		rows, next, err := s.p.Index.Instances(ctx, s.scope, f)
		if err != nil {
			return err
		}
		if err := each(rows); err != nil {
			return err
		}
		if f.After = next; next == "" {
			return nil
		}
	}
}
