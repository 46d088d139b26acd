package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/pacs/availability"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/retention"
)

// openNotices prepares telling devices what is available. jobs is asked when
// something is to be told: it is there by then.
func (n *Node) openNotices(ctx context.Context, jobs func() *river.Client[pgx.Tx], workers *river.Workers, registry prometheus.Registerer) (err error) {
	told := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tasvir_availability_notices_total", Help: "Notices of what is available in a study, by outcome: told or failed.",
	}, []string{"outcome"})
	registry.MustRegister(told)
	n.notices, err = availability.Open(ctx, availability.Options{
		Index: n.Index, AETitle: n.flags.AET, Device: n.Access.Remote, Dial: n.dial, Steps: n.performed,
		Enqueue: func(ctx context.Context, tx pgx.Tx, id int64) error {
			return availability.Enqueue(ctx, jobs(), tx, id)
		},
		Told: func(ok bool) {
			outcome := "told"
			if !ok {
				outcome = "failed"
			}
			told.WithLabelValues(outcome).Inc()
		},
		Log: n.log.With("part", "availability"),
	})
	river.AddWorker(workers, &availability.Worker{Notices: n.notices})
	return err
}

// performed are the performed procedure steps that have made images of a study.
func (n *Node) performed(ctx context.Context, studyUID string) (list []availability.Step, err error) {
	steps, err := n.steps.OfStudy(ctx, studyUID)
	for _, s := range steps {
		list = append(list, availability.Step{SOPClassUID: dicom.ModalityPerformedProcedureStepSOPClass, SOPInstanceUID: s.SOPInstanceUID, Instances: s.Instances})
	}
	return list, err
}

// touching has devices told of what retention does with a study.
func (n *Node) touching(ctx context.Context, tx pgx.Tx, studyID int64, action retention.Action) error {
	if action == retention.DeleteAll {
		return n.notices.Deleted(ctx, tx, studyID)
	}
	return n.notices.Changed(ctx, tx, studyID)
}
