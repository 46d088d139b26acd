package forward

import (
	"context"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/condition"
)

// Subject is what a condition is about: a study, or one series of it.
type Subject struct {
	Study   pacs.Study
	Senders []string // AE titles, or who sent by DICOMweb
	Series  *Series  // nil at study level
	Now     time.Time
}

// Series is a series with who has sent it.
type Series struct {
	pacs.Series
	Senders []string
}

// Conditions are those of forwarding rules. At study level the variables of a
// series are empty.
var Conditions = condition.NewLanguage(
	Subject{
		Study: condition.TrialStudy, Senders: []string{"CT1"}, Now: time.Now(),
		Series: &Series{pacs.Series{Modality: "CT", Description: "Axial 1 mm", BodyPart: "HEAD", InstanceCount: 250}, []string{"CT1"}},
	},
	append(condition.StudyVariables(func(s Subject) (pacs.Study, time.Time) { return s.Study, s.Now }),
		condition.Variable[Subject]{Name: "study.senders", Type: cel.ListType(cel.StringType), Of: func(s Subject) any { return s.Senders }},
		ofSeries("series.modality", cel.StringType, func(e Series) any { return e.Modality }),
		ofSeries("series.description", cel.StringType, func(e Series) any { return e.Description }),
		ofSeries("series.body_part", cel.StringType, func(e Series) any { return e.BodyPart }),
		ofSeries("series.instances", cel.IntType, func(e Series) any { return int64(e.InstanceCount) }),
		ofSeries("series.senders", cel.ListType(cel.StringType), func(e Series) any { return e.Senders }),
	))

func ofSeries(name string, kind *cel.Type, value func(Series) any) condition.Variable[Subject] {
	return condition.Variable[Subject]{Name: name, Type: kind, Of: func(s Subject) any {
		if s.Series == nil {
			return value(Series{Senders: []string{}})
		}
		return value(*s.Series)
	}}
}

// described is a study with its series and who has sent them.
type described struct {
	study   pacs.Study
	series  []Series
	senders []string
}

// system is the scope in which rules are looked at and items are sent.
var system = pacs.System("forwarding")

// describe reads of studies what conditions may ask. Studies that are not there
// any more are left out.
func (f *Forwarding) describe(ctx context.Context, ids []int64) ([]described, error) {
	studies, err := f.o.Index.StudiesByID(ctx, system, ids)
	if err != nil {
		return nil, err
	}
	rows, err := f.pool.Query(ctx, `
		SELECT e.study_row, e.id, e.series_uid, e.modality, e.number, e.description, e.body_part, e.instance_count,
			(SELECT coalesce(array_agg(DISTINCT i.sender), '{}') FROM instance i WHERE i.study_row = e.study_row AND i.series_row = e.id AND i.current)
		FROM series e WHERE e.study_row = ANY($1) ORDER BY e.id`, ids)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Series, err error) {
		return e, row.Scan(&e.StudyID, &e.ID, &e.SeriesInstanceUID, &e.Modality, &e.Number, &e.Description, &e.BodyPart, &e.InstanceCount, &e.Senders)
	})
	if err != nil {
		return nil, err
	}
	var list []described
	for _, id := range ids {
		study, ok := studies[id]
		if !ok {
			continue
		}
		d := described{study: study, senders: []string{}}
		for _, e := range all {
			if e.StudyID != id || e.InstanceCount == 0 {
				continue
			}
			d.series = append(d.series, e)
			for _, s := range e.Senders {
				if !slices.Contains(d.senders, s) {
					d.senders = append(d.senders, s)
				}
			}
		}
		list = append(list, d)
	}
	return list, nil
}

// matches are the series for which a rule's condition holds; "" stands for the
// whole study.
func (r *Rule) matches(d described, now time.Time) ([]string, error) {
	if len(r.Facilities) > 0 && !slices.Contains(r.Facilities, d.study.Facility.Code) {
		return nil, nil
	}
	c, err := Conditions.Compile(r.Condition)
	if err != nil {
		return nil, err
	}
	subject := Subject{Study: d.study, Senders: d.senders, Now: now}
	if r.Level == StudyLevel {
		if held, err := c.Holds(subject); err != nil || !held {
			return nil, err
		}
		return []string{""}, nil
	}
	var list []string
	for i := range d.series {
		subject.Series = &d.series[i]
		held, err := c.Holds(subject)
		if err != nil {
			return nil, err
		}
		if held {
			list = append(list, d.series[i].SeriesInstanceUID)
		}
	}
	return list, nil
}
