package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// overview is PS3.2 A.1: the network services at a glance.
func (s *Source) overview(p *page, offered []dimse.Offer) {
	p.heading(1, "DICOM Conformance Statement: Tasvir "+s.Version)
	p.text("Made by the program itself (`tasvir conformance`) from what it registers, in the form of PS3.2 Annex A. It holds for this version and these settings.")
	p.heading(2, "1 Conformance statement overview")
	p.text("Tasvir is an archive of images and other DICOM objects with a worklist for modalities. It takes objects over the network, keeps them, and gives them to others by query/retrieve and DICOMweb.")
	uses := make(map[string][]string) // roles of ours by class
	for _, u := range s.Uses {
		for _, uid := range u.SOPClasses {
			uses[uid] = append(uses[uid], u.Role)
		}
	}
	var services, storage [][]string
	for _, o := range offered {
		row := []string{name(o.SOPClassUID), o.SOPClassUID, yes(slices.Contains(uses[o.SOPClassUID], "SCU")), "Yes"}
		if stores(o) {
			storage = append(storage, row)
		} else {
			services = append(services, row)
		}
		delete(uses, o.SOPClassUID)
	}
	for _, class := range slices.Concat(dicom.ServiceSOPClasses, dicom.StorageSOPClasses) {
		if roles := uses[class.UID]; roles != nil {
			services = append(services, []string{class.Name, class.UID, yes(slices.Contains(roles, "SCU")), yes(slices.Contains(roles, "SCP"))})
		}
	}
	head := []string{"SOP class", "UID", "User of service (SCU)", "Provider of service (SCP)"}
	p.heading(3, "Network services")
	p.table(head, services)
	p.heading(3, "Transfer of objects")
	p.table(head, storage)
}

// networking is PS3.2 A.4: implementation model, application entity, policies.
func (s *Source) networking(p *page, offered []dimse.Offer) {
	limits := s.Server.Limits()
	p.heading(2, "2 Networking")
	p.heading(3, "2.1 Implementation model")
	p.text("One application entity, `%s`, does everything. It waits for associations at its port, and at a second one with TLS when that is configured. Which services a device may use is registered with the device, and presentation contexts of others are refused (user rejection); everybody who is admitted may use Verification.", s.Server.AETitle)
	p.text("Services that a device can be allowed: %s. One of which nobody said more has: %s.", strings.Join(s.Leaves, ", "), strings.Join(s.DefaultLeaves, ", "))
	p.heading(3, "2.2 Association policies")
	p.table([]string{"Parameter", "Value"}, [][]string{
		{"Application context", ul.ApplicationContextName},
		{"Implementation class UID", dicom.ImplementationClassUID},
		{"Implementation version name", dicom.ImplementationVersionName},
		{"Associations accepted at a time", fmt.Sprint(limits.Associations)},
		{"TCP connections held at a time", fmt.Sprint(limits.Connections)},
		{"Presentation contexts of an association", fmt.Sprint(limits.Contexts)},
		{"Maximum PDU offered to receive", fmt.Sprintf("%d bytes", limits.MaxPDU)},
		{"Outstanding operations (asynchronous window)", window(limits.AsyncWindow)},
		{"Association requested within (ARTIM)", limits.Timeouts.ARTIM.String()},
		{"A PDU that began goes on within", limits.Timeouts.Progress.String()},
		{"Idle association ends after", limits.Timeouts.Idle.String()},
		{"Running associations may end within, when the server stops", limits.DrainTimeout.String()},
	})
	p.heading(4, "2.2.1 Rejections")
	p.table([]string{"Answer (result/source/reason)", "When"}, [][]string{
		{rejection(ul.RejectCalledAE), "The called AE title is another than " + s.Server.AETitle + "."},
		{rejection(ul.RejectCallingAE), "The calling AE title is not registered, or the connection does not prove it (TLS)."},
		{rejection(ul.RejectLocalLimit), "So many associations are served already, or so many of this device."},
		{rejection(ul.RejectNoReason), "The user identity could not be verified."},
		{rejection(ul.RejectProtocolVersion), "Another protocol version than 1."},
		{rejection(ul.RejectApplicationContext), "Another application context than DICOM's."},
	})
	s.initiation(p)
	s.acceptance(p, offered)
	p.heading(3, "2.5 Network interfaces")
	p.text("TCP/IP, version 4 and 6, on any hardware that the operating system supports. Ports are configured.")
	p.heading(3, "2.6 Configuration")
	var rows [][]string
	for _, set := range s.Settings {
		rows = append(rows, []string{"`" + set.Flag + "`", "`" + set.Environment + "`", set.Default, set.Help})
	}
	p.table([]string{"Parameter", "Environment", "Default", "Meaning"}, rows)
}

func rejection(r ul.Reject) string { return r.Error() }

func window(w ul.AsyncWindow) string {
	if w == (ul.AsyncWindow{}) {
		return "one; asynchronous operations are not supported"
	}
	return fmt.Sprintf("%d invoked, %d performed (0: no limit)", w.Invoked, w.Performed)
}

// initiation is PS3.2 A.4.2.x.3: what is asked of others.
func (s *Source) initiation(p *page) {
	p.heading(3, "2.3 Association initiation")
	p.text("Associations are opened to registered devices only. The command line tools open theirs to the address they are given.")
	var rows [][]string
	for _, u := range s.Uses {
		classes := make([]string, 0, len(u.SOPClasses))
		if len(u.SOPClasses) > 20 {
			classes = append(classes, fmt.Sprintf("the %d storage classes of section 1", len(u.SOPClasses)))
		} else {
			for _, uid := range u.SOPClasses {
				classes = append(classes, name(uid))
			}
		}
		var syntaxes []string
		for _, ts := range u.TransferSyntaxes {
			syntaxes = append(syntaxes, syntaxName(ts))
		}
		proposed := strings.Join(syntaxes, "; ")
		if len(syntaxes) > 20 {
			proposed = "that in which an instance is kept, one of those of storage in section 2.4.1; " + syntaxName(dicom.ExplicitVRLittleEndian) + "; " + syntaxName(dicom.ImplicitVRLittleEndian)
		}
		rows = append(rows, []string{u.Activity, strings.Join(classes, "; "), proposed, u.Role})
	}
	p.table([]string{"Activity", "Abstract syntaxes", "Transfer syntaxes", "Role"}, rows)
}

// acceptance is PS3.2 A.4.2.x.4: presentation contexts.
func (s *Source) acceptance(p *page, offered []dimse.Offer) {
	p.heading(3, "2.4 Association acceptance")
	sets := s.syntaxSets(p, offered)
	var rows [][]string
	for _, o := range offered {
		roles := []string{}
		if o.SCU {
			roles = append(roles, "SCU")
		}
		if o.SCP {
			roles = append(roles, "SCP")
		}
		rows = append(rows, []string{
			name(o.SOPClassUID), o.SOPClassUID, sets[key(o.TransferSyntaxes)], strings.Join(roles, ", "), operations(o.Operations), extended(o),
		})
	}
	p.heading(4, "2.4.2 Presentation contexts")
	p.text("The role is the requestor's. One that is SCP of a storage class is sent instances by C-GET; elsewhere it may answer or send event reports.")
	p.table([]string{"Abstract syntax", "UID", "Transfer syntaxes", "Requestor's role", "Operations", "Extended negotiation"}, rows)
	if o := s.Server.Offer(privateClass); len(o.Operations) > 0 {
		p.text("Private storage SOP classes, and those of later editions, are accepted as well, like the standard ones.")
	} else {
		p.text("Private storage SOP classes, and those of later editions, are refused unless SOP class common extended negotiation names an accepted class as related, or the settings allow them.")
	}
}

// privateClass stands for all of the storage classes that the standard has not.
const privateClass = "1.2.826.0.1.3680043.10.999.1"

func key(syntaxes []string) string { return strings.Join(syntaxes, `\`) }

// syntaxSets writes each different list of transfer syntaxes once and returns
// what they are called.
func (s *Source) syntaxSets(p *page, offered []dimse.Offer) map[string]string {
	sets := make(map[string]string)
	p.heading(4, "2.4.1 Transfer syntaxes")
	p.text("A context that of storage that proposes several transfer syntaxes gets the one that keeps an object as its sender has it: compressed without loss before explicit before implicit VR little endian, the sender's first among equals; a compression with loss only where the sender lists it before an uncompressed one. Query, retrieval and the worklists prefer explicit VR little endian.")
	for _, o := range offered {
		k := key(o.TransferSyntaxes)
		if sets[k] != "" {
			continue
		}
		sets[k] = fmt.Sprintf("set %c", 'A'+len(sets))
		var rows [][]string
		for _, uid := range o.TransferSyntaxes {
			rows = append(rows, []string{syntaxName(uid), uid})
		}
		p.text("%s, for instance of %s:", strings.ToUpper(sets[k][:1])+sets[k][1:], name(o.SOPClassUID))
		p.table([]string{"Transfer syntax", "UID"}, rows)
	}
	return sets
}

// The bytes of extended negotiation. PS3.4 Tables C.5.1-1, C.5.2-1 and C.5.3-1.
var (
	findOptions     = []string{"relational queries", "combined date-time matching", "fuzzy semantic matching of person names", "timezone query adjustment", "enhanced multi-frame image conversion", "empty value matching", "multiple value matching"}
	retrieveOptions = []string{"relational retrieval", "enhanced multi-frame image conversion"}
)

// options are what a class's extended negotiation is about; nil for other
// classes.
func options(o dimse.Offer) []string {
	switch {
	case o.Extended == nil || stores(o):
		return nil
	case slices.Contains(o.Operations, dimse.CFindRQ):
		return findOptions
	}
	return retrieveOptions
}

// extended says how extended negotiation is answered.
func extended(o dimse.Offer) string {
	switch {
	case o.Extended == nil:
		return "none"
	case stores(o): // PS3.4 Table B.3-1
		return fmt.Sprintf("level of support %d, digital signatures %d, coercion %d", at(o.Extended, 0), at(o.Extended, 2), at(o.Extended, 4))
	}
	var list []string
	for i, option := range options(o) {
		if at(o.Extended, i) == 1 {
			list = append(list, option)
		}
	}
	return strings.Join(list, ", ")
}

func at(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}
