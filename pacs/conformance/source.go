package conformance

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// Source is what a statement is made of.
type Source struct {
	Version string
	// Server is the DICOM server as it is served.
	Server *dimse.Server
	// Carries, when set, says which operations of a service that has several SOP
	// classes are of this one.
	Carries func(sopClass string, f dimse.Field) bool
	// Sends are the SOP classes whose contexts are accepted only for this side to
	// send N-EVENT-REPORT.
	Sends []string
	// Uses are what the archive and its tools ask of others.
	Uses []Use
	// Leaves are the services that a device can be allowed, in order, and
	// DefaultLeaves those that one has of which nobody said more.
	Leaves, DefaultLeaves []string
	// StoreOutcomes are the failures of a C-STORE.
	StoreOutcomes []Outcome
	// Worklist are the attributes of the modality worklist.
	Worklist []Attribute
	// Steps are what performed procedure steps must have and may not change.
	Steps []Demand
	// Procedure are the attributes of the unified procedure step and what is
	// demanded of them.
	Procedure []StepAttribute
	// ProcedureNotes say what a service provider must state of it, PS3.4 CC.4.2.
	ProcedureNotes []string
	// IdentityTypes are the user identities that are verified.
	IdentityTypes []string
	// Routes are the addresses of DICOMweb.
	Routes []Route
	// Settings are what can be configured.
	Settings []Setting
}

// Use is something that is asked of another application entity.
type Use struct {
	Activity         string
	SOPClasses       []string
	TransferSyntaxes []string // those proposed
	Role             string   // ours: SCU or SCP
}

// Outcome is a status and when it is answered.
type Outcome struct {
	Code dimse.Code
	When string
}

// Attribute is a key of a query.
type Attribute struct {
	Tag      dicom.Tag
	Where    string // its level or sequence
	Matching string // "" when it is not matched by
	Return   string
}

// StepAttribute is a row of PS3.4 Table CC.2.5-3.
type StepAttribute struct {
	Tag           dicom.Tag
	Create        string // what N-CREATE demands
	Set, Matching bool
	Final         string // the Final State Code
}

// Demand is a list of attributes that something is demanded of.
type Demand struct {
	What string
	Tags []dicom.Tag
}

// Route is an address of DICOMweb, with parameters as in /studies/:study.
type Route struct{ Method, Path string }

// Setting is one that can be configured.
type Setting struct{ Flag, Environment, Default, Help string }

// sends says whether contexts of a class are for what this side sends.
func (s *Source) sends(sopClass string) bool { return slices.Contains(s.Sends, sopClass) }

// Offers are the SOP classes of the standard that are accepted, services first,
// and those that are refused.
func (s *Source) Offers() (offered []dimse.Offer, refused []dicom.SOPClass) {
	for _, class := range slices.Concat(dicom.ServiceSOPClasses, dicom.StorageSOPClasses) {
		if o := s.offer(class.UID); len(o.Operations) > 0 || s.sends(class.UID) {
			offered = append(offered, o)
		} else {
			refused = append(refused, class)
		}
	}
	// Of a vendor, or of a later edition.
	for _, svc := range s.Server.Services {
		for _, uid := range svc.SOPClasses {
			if dicom.SOPClassName(uid) == "" {
				offered = append(offered, s.offer(uid))
			}
		}
	}
	return offered, refused
}

// offer is what the server offers of a class.
func (s *Source) offer(sopClass string) dimse.Offer {
	o := s.Server.Offer(sopClass)
	if s.Carries != nil {
		o.Operations = slices.DeleteFunc(o.Operations, func(f dimse.Field) bool { return !s.Carries(sopClass, f) })
	}
	return o
}

// Write writes the statement as Markdown.
func (s *Source) Write(w io.Writer) error {
	p := &page{w: bufio.NewWriter(w)}
	offered, refused := s.Offers()
	s.overview(p, offered)
	s.networking(p, offered)
	s.models(p, offered)
	s.statuses(p, offered)
	s.around(p)
	s.absent(p, offered, refused)
	return p.w.Flush()
}

// page is Markdown being written; what fails is found by Flush.
type page struct{ w *bufio.Writer }

func (p *page) heading(depth int, text string) {
	p.line("%s %s\n", strings.Repeat("#", depth), text)
}

// text is a paragraph.
func (p *page) text(format string, args ...any) { p.line(format+"\n", args...) }

func (p *page) item(format string, args ...any) { p.line("- "+format, args...) }

func (p *page) line(format string, args ...any) { _, _ = fmt.Fprintf(p.w, format+"\n", args...) }

// end ends a list.
func (p *page) end() { p.line("") }

// table writes rows under a head.
func (p *page) table(head []string, rows [][]string) {
	write := func(cells []string) {
		escaped := make([]string, len(cells))
		for i, c := range cells {
			escaped[i] = cmp.Or(strings.NewReplacer("|", `\|`, "\n", " ").Replace(c), "-")
		}
		p.line("| %s |", strings.Join(escaped, " | "))
	}
	write(head)
	p.line("|%s", strings.Repeat(" --- |", len(head)))
	for _, row := range rows {
		write(row)
	}
	p.end()
}

// name is what a SOP class is called.
func name(uid string) string { return cmp.Or(dicom.SOPClassName(uid), uid) }

// syntaxName is what a transfer syntax is called.
func syntaxName(uid string) string {
	ts, _ := dicom.LookupTransferSyntax(uid)
	return cmp.Or(ts.Name, uid)
}

func yes(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

func attribute(t dicom.Tag) string {
	return fmt.Sprintf("%s %s", cmp.Or(dicom.Keyword(t), "?"), tag(t))
}

// tag is (gggg,eeee).
func tag(t dicom.Tag) string { return fmt.Sprintf("(%04X,%04X)", uint32(t)>>16, uint32(t)&0xFFFF) }

// operation is C-FIND for C-FIND-RQ.
func operation(f dimse.Field) string { return strings.TrimSuffix(f.String(), "-RQ") }

func operations(list []dimse.Field) string {
	var names []string
	for _, f := range list {
		names = append(names, operation(f))
	}
	return strings.Join(names, ", ")
}

func stores(o dimse.Offer) bool { return slices.Contains(o.Operations, dimse.CStoreRQ) }
