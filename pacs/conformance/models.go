package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/availability"
	"github.com/tasvir-pacs/tasvir/pacs/commitment"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/queryretrieve"
)

// models is what single SOP classes have of their own: PS3.2 A.4.2.x.4.
func (s *Source) models(p *page, offered []dimse.Offer) {
	p.heading(2, "3 SOP specific conformance")
	p.heading(3, "3.1 Verification")
	p.text("C-ECHO is answered to every admitted device.")
	if slices.ContainsFunc(offered, stores) {
		p.heading(3, "3.2 Storage")
		p.text("Objects are kept whole, with all their elements, private ones among them, in the transfer syntax in which they came (level 2, full). Success is answered when the object is safe on disk, or in storage and index where the settings say so. What can't be indexed is kept in quarantine. Corrections that staff make to demographics are applied to what is given out, not to what is kept.")
		var rows [][]string
		for _, o := range s.StoreOutcomes {
			rows = append(rows, []string{o.Code.String(), o.When})
		}
		p.table([]string{"Status", "When"}, rows)
	}
	s.queryRetrieve(p, offered)
	s.worklist(p, offered)
	s.procedureStep(p, offered)
	for _, o := range offered {
		if o.SOPClassUID != dicom.StorageCommitmentPushModelSOPClass {
			continue
		}
		instances, open := commitment.Bounds()
		p.heading(3, "3.6 Storage commitment")
		p.text("Push model. A request names at most %d instances, and %d requests of a device may wait for their answer. An instance is committed when what is stored of it was read back and is what was received. The answer is an N-EVENT-REPORT over the same association while it lasts, else over a new one to the device's registered address, with this archive as SCP. It is repeated for days where the device can't be reached.", instances, open)
	}
	for _, u := range s.Uses {
		if slices.Contains(u.SOPClasses, dicom.InstanceAvailabilityNotificationSOPClass) {
			p.heading(3, "3.7 Instance availability notification")
			p.text("Devices that are registered to be told are told of the studies they may see: when a study is complete, again when late images have completed it anew, and when its instances are moved or deleted. Instance Availability (0008,0056) is ONLINE, NEARLINE in the cold store, or UNAVAILABLE where the pixel data or the whole instance were deleted. One notification is about at most one performed procedure step and names at most %d instances; its SOP Instance UID follows from its content, so that a notification repeated because its answer was lost has the same, and status %s counts as success. Optional attributes are not sent. It is repeated for %d hours where the device can't be reached.",
				availability.MaxInstances, dimse.DuplicateInstance, int(availability.Patience.Hours()))
		}
	}
	for i := range s.Server.Services {
		svc := &s.Server.Services[i]
		for _, uid := range svc.SOPClasses {
			p.item("%s: a request's data set has at most %d bytes", name(uid), svc.LongestDataSet())
		}
	}
	p.end()
}

// queryRetrieve is the query/retrieve service.
func (s *Source) queryRetrieve(p *page, offered []dimse.Offer) {
	var models [][]string
	for _, o := range offered {
		if levels := queryretrieve.Levels(o.SOPClassUID); levels != nil {
			models = append(models, []string{name(o.SOPClassUID), strings.Join(levels, ", "), extended(o)})
		}
	}
	if models == nil {
		return
	}
	p.heading(3, "3.3 Query/Retrieve")
	p.table([]string{"SOP class", "Levels", "Extended negotiation"}, models)
	p.text("An attribute is known at its level and those below. Universal matching is done for every attribute. Person names are matched without regard to case. A key of a lower level than that of the query is ignored; status FF01H says so. Answers are within what the calling device may see.")
	var rows [][]string
	for _, k := range queryretrieve.Keys() {
		unique := ""
		if k.Unique {
			unique = "unique key"
		}
		rows = append(rows, []string{dicom.Keyword(k.Tag), tag(k.Tag), k.Level, unique, strings.Join(k.Matching, ", "), yes(k.Returned)})
	}
	p.table([]string{"Attribute", "Tag", "Level", "Kind", "Matching", "Returned"}, rows)
	p.text("C-MOVE and C-GET send an instance as it is kept where the receiver takes its transfer syntax, else uncompressed. C-MOVE sends to registered destinations; one that is not known is %s.", dimse.MoveDestinationUnknown.Of(dimse.CMoveRQ))
	p.text("Rules send studies, series or a patient's earlier studies to registered destinations by C-STORE in the same way. An instance counts as sent when it is answered with success or a warning; one that is refused with A9xxH, CxxxH, 0117H, 0118H, 0119H or 0122H is not tried again, others are for as long as the rule says. A rejection note follows the instances that it rejects.")
	p.text("Instances that a rejection note names (a Key Object Selection with a title of PS3.16 CID 7011, IHE RAD TF-2 4.66), and the note, are kept and neither found nor sent by a retrieval.")
}

// worklist is the modality worklist and the performed procedure step.
func (s *Source) worklist(p *page, offered []dimse.Offer) {
	has := func(uid string) bool {
		return slices.ContainsFunc(offered, func(o dimse.Offer) bool { return o.SOPClassUID == uid })
	}
	if has(dicom.ModalityWorklistFindSOPClass) {
		p.heading(3, "3.4 Modality worklist")
		p.text("Where both Scheduled Procedure Step Start Date and Time are ranges they are the two ends of one. An attribute that is not listed is ignored; status FF01H says so.")
		var rows [][]string
		for _, a := range s.Worklist {
			rows = append(rows, []string{dicom.Keyword(a.Tag), tag(a.Tag), a.Where, a.Matching, a.Return})
		}
		p.table([]string{"Attribute", "Tag", "Within", "Matching", "Returned"}, rows)
	}
	if has(dicom.ModalityPerformedProcedureStepSOPClass) {
		p.heading(3, "3.5 Modality performed procedure step")
		for _, d := range s.Steps {
			names := make([]string, 0, len(d.Tags))
			for _, t := range d.Tags {
				names = append(names, attribute(t))
			}
			p.item("%s: %s", d.What, strings.Join(names, ", "))
		}
		p.end()
	}
}

// procedureStep is the unified procedure step.
func (s *Source) procedureStep(p *page, offered []dimse.Offer) {
	const push = "1.2.840.10008.5.1.4.34.6.1"
	if !slices.ContainsFunc(offered, func(o dimse.Offer) bool { return o.SOPClassUID == push }) {
		return
	}
	p.heading(3, "3.8 Unified procedure step")
	for _, note := range s.ProcedureNotes {
		p.item("%s", note)
	}
	p.end()
	var rows [][]string
	for _, a := range s.Procedure {
		rows = append(rows, []string{dicom.Keyword(a.Tag), tag(a.Tag), a.Create, yes(a.Set), a.Final, yes(a.Matching)})
	}
	p.table([]string{"Attribute", "Tag", "N-CREATE", "Changed by N-SET", "Final state", "Matched"}, rows)
}

// statuses are the tables of status codes.
func (s *Source) statuses(p *page, offered []dimse.Offer) {
	p.heading(2, "4 Status codes")
	p.text("Codes of failures and warnings come with an Error Comment (0000,0902) that says what is wrong, and with Offending Element (0000,0901) where one is.")
	rows := func(list []dimse.StatusMeaning) [][]string {
		var rows [][]string
		for _, m := range list {
			code := fmt.Sprintf("%04X", uint16(m.First))
			if m.Last != m.First {
				code += fmt.Sprintf(" to %04X", uint16(m.Last))
			}
			rows = append(rows, []string{code, m.Category.String(), m.Text})
		}
		return rows
	}
	head := []string{"Code (hexadecimal)", "Category", "Meaning"}
	p.heading(3, "All operations")
	p.table(head, rows(dimse.GeneralStatuses()))
	for _, f := range Operations(offered) {
		if list := dimse.Statuses(f); list != nil {
			p.heading(3, operation(f))
			p.table(head, rows(list))
		}
	}
}

// Operations are the operations of all offers, in order.
func Operations(offered []dimse.Offer) []dimse.Field {
	var list []dimse.Field
	for _, o := range offered {
		list = append(list, o.Operations...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
