package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/associations"
)

// AssociationFlags bound the association log.
type AssociationFlags struct {
	KeepAssociations time.Duration `name:"keep-associations" default:"2160h" env:"TASVIR_KEEP_ASSOCIATIONS" help:"How long the log of DICOM associations goes back (${default}, 90 days)."`
}

// openAssociations opens the association log and has it written.
func (n *Node) openAssociations(ctx context.Context, registry prometheus.Registerer) (err error) {
	if n.flags.KeepAssociations < time.Hour {
		return pacs.Errorf(pacs.Invalid, "--keep-associations %s is too short; use 1h or more", n.flags.KeepAssociations)
	}
	n.talk, err = associations.Open(ctx, n.Index, associations.Options{Keep: n.flags.KeepAssociations, Log: n.log.With("part", "associations")})
	if err != nil {
		return err
	}
	registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tasvir_association_log_dropped_total", Help: "Entries of the association log that were lost: the database took none for too long, or too many strangers knocked.",
	}, func() float64 { return float64(n.talk.Dropped()) }))
	n.spawn(&n.work, "the association log", n.talk.Run)
	return nil
}
