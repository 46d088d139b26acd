package archive

import (
	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs/associations"
	"github.com/tasvir-pacs/tasvir/pacs/commitment"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/patients"
	"github.com/tasvir-pacs/tasvir/pacs/patrol"
	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
	"github.com/tasvir-pacs/tasvir/pacs/retention"
)

// API answers requests about what the archive keeps.
type API struct {
	Index *index.Index
	// Files opens what is kept as it was received; nil: no versions.
	Files Files
	// Patients, when nil, can't be corrected.
	Patients *patients.Patients
	// Closing, when set, is closed when the server is about to end: who waits
	// for a change is answered.
	Closing <-chan struct{}
	// Quarantine is what could not be indexed.
	Quarantine *quarantine.Quarantine
	// Patrol verifies what is kept.
	Patrol *patrol.Patrol
	// Associations, when set, is the log of who talked to the archive.
	Associations *associations.Log
	// Commitments, when set, are the requests for storage commitment.
	Commitments *commitment.Commitments
	// Retention, when set, has routes for policies and legal holds.
	Retention *retention.Retention
	// Forwarding, when set, has routes for rules, targets and the queue.
	Forwarding *forward.Forwarding
}

// Register adds the routes to /api.
func (a *API) Register(r gin.IRouter) {
	(&feed{index: a.Index, closing: a.Closing}).register(r)
	(&rejected{index: a.Index}).register(r)
	if a.Files != nil {
		(&versions{index: a.Index, files: a.Files}).register(r)
	}
	if a.Quarantine != nil {
		(&ward{quarantine: a.Quarantine}).register(r)
	}
	if a.Patrol != nil {
		(&verification{index: a.Index, patrol: a.Patrol}).register(r)
	}
	if a.Patients != nil {
		(&people{a.Patients}).register(r)
	}
	if a.Associations != nil {
		(&talk{a.Associations}).register(r)
	}
	if a.Commitments != nil {
		(&promises{a.Commitments}).register(r)
	}
	if a.Retention != nil {
		(&keeping{a.Retention}).register(r)
	}
	if a.Forwarding != nil {
		(&sending{a.Forwarding}).register(r)
	}
}
