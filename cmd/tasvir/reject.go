package main

import (
	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// rejecting lets who may reject do so, and writes it to the audit trail before
// it is done.
func (n *Node) rejecting(c *gin.Context, study pacs.Study, object string, reason pacs.RejectionReason, why string) error {
	who := web.Identity(c)
	if who == nil || !who.Can(access.StudyReject) {
		return pacs.Errorf(pacs.Forbidden, "Rejecting images needs the permission %s.", access.StudyReject)
	}
	action := "study.reject"
	if reason == pacs.RejectionRevoked {
		action = "study.restore"
	}
	because := string(reason) + " " + reason.Meaning()
	if why != "" {
		because += ": " + why
	}
	return n.Access.Note(c.Request.Context(), who.Event(action, object, study.Facility.ID).Because(because))
}
