package conformance

import (
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// transactions are those of PS3.18, by what their address ends in.
var transactions = []struct{ name, method, ending string }{
	{"Search for studies", "GET", "/studies"},
	{"Search for series", "GET", "/series"},
	{"Search for instances", "GET", "/instances"},
	{"Retrieve study", "GET", "/studies/:study"},
	{"Retrieve series", "GET", "/series/:series"},
	{"Retrieve instance", "GET", "/instances/:instance"},
	{"Retrieve metadata", "GET", "/metadata"},
	{"Retrieve frames", "GET", "/frames/:frames"},
	{"Retrieve bulk data", "GET", "/bulkdata/*path"},
	{"Retrieve rendered", "GET", "/rendered"},
	{"Retrieve thumbnail", "GET", "/thumbnail"},
	{"Retrieve pixel data", "GET", "/pixeldata"},
	{"Store instances", "POST", "/studies"},
	{"Retrieve capabilities", "OPTIONS", "/"},
	{"Worklist service (UPS-RS): search", "GET", "/workitems"},
	{"Worklist service (UPS-RS): create", "POST", "/workitems"},
	{"Non-patient instances service: hanging protocols", "GET", "/hanging-protocols"},
	{"Storage commitment", "POST", "/commitment-requests/:transaction"},
	{"URI service (WADO-URI)", "GET", "/wado"},
}

// absent is what of the standard is not supported.
func (s *Source) absent(p *page, offered []dimse.Offer, refused []dicom.SOPClass) {
	p.heading(2, "10 Not supported")
	p.heading(3, "10.1 SOP classes as provider")
	p.text("Of the SOP classes of PS3.6 these are refused, with \"abstract syntax not supported\":")
	var rows [][]string
	for _, c := range refused {
		title := c.Name
		if c.Retired {
			title += " (retired)"
		}
		rows = append(rows, []string{title, c.UID})
	}
	p.table([]string{"SOP class", "UID"}, rows)

	p.heading(3, "10.2 Transfer syntaxes")
	rows = nil
	for _, ts := range dicom.TransferSyntaxes {
		taken := slices.ContainsFunc(offered, func(o dimse.Offer) bool { return slices.Contains(o.TransferSyntaxes, ts.UID) })
		if !taken {
			rows = append(rows, []string{ts.Name, ts.UID})
		}
	}
	p.table([]string{"Transfer syntax", "UID"}, rows)

	p.heading(3, "10.3 Operations and negotiation")
	for _, f := range allOperations {
		if !slices.Contains(Operations(offered), f) {
			p.item("%s as performer", operation(f))
		}
	}
	missing := make(map[string][]string) // classes by option
	for _, o := range offered {
		for i, option := range options(o) {
			if at(o.Extended, i) != 1 {
				missing[option] = append(missing[option], name(o.SOPClassUID))
			}
		}
	}
	for _, option := range slices.Concat(findOptions, retrieveOptions[:1]) {
		if classes := missing[option]; classes != nil {
			p.item("%s, in extended negotiation of %s", option, strings.Join(classes, ", "))
		}
	}
	if s.Server.Limits().AsyncWindow == (ul.AsyncWindow{}) {
		p.item("asynchronous operations")
	}
	for t := ul.IdentityUsername; t <= ul.IdentityJWT; t++ {
		if title := t.String(); !slices.Contains(s.IdentityTypes, title) {
			p.item("verification of a user identity by %s", title)
		}
	}
	p.item("media storage application profiles (PS3.11)")
	p.end()

	p.heading(3, "10.4 DICOMweb")
	for _, t := range transactions {
		if !s.serves(t.method, t.ending) {
			p.item("%s", t.name)
		}
	}
	p.end()
}

var allOperations = []dimse.Field{
	dimse.CStoreRQ, dimse.CGetRQ, dimse.CFindRQ, dimse.CMoveRQ, dimse.CEchoRQ,
	dimse.NEventReportRQ, dimse.NGetRQ, dimse.NSetRQ, dimse.NActionRQ, dimse.NCreateRQ, dimse.NDeleteRQ,
}

func (s *Source) serves(method, ending string) bool {
	return slices.ContainsFunc(s.Routes, func(r Route) bool {
		return r.Method == method && strings.HasSuffix(r.Path, ending)
	})
}
