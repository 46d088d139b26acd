package main

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/dicomweb"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/commitment"
	"github.com/tasvir-pacs/tasvir/pacs/conformance"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/worklist/modality"
	"github.com/tasvir-pacs/tasvir/worklist/ups"
)

// ConformanceCmd prints the DICOM Conformance Statement. Its flags are those of
// the server that the statement is about.
type ConformanceCmd struct {
	AET                     string `name:"aet" default:"TASVIR" env:"TASVIR_AET" help:"The server's application entity title (${default})."`
	MaxAssociations         int    `name:"max-associations" default:"100" env:"TASVIR_MAX_ASSOCIATIONS" help:"How many associations it serves at a time (${default})."`
	AcceptUnknownSOPClasses bool   `name:"accept-unknown-sop-classes" env:"TASVIR_ACCEPT_UNKNOWN_SOP_CLASSES" help:"Whether it takes storage SOP classes that are not in the standard."`
}

// Run prints the statement.
func (c *ConformanceCmd) Run(context.Context) error { return c.run(os.Stdout) }

func (c *ConformanceCmd) run(out io.Writer) error {
	if _, err := access.CheckAETitle(c.AET); err != nil {
		return err
	}
	source, err := c.source()
	if err != nil {
		return err
	}
	return source.Write(out)
}

// source is a server as serve makes it, of parts that are never asked anything.
func (c *ConformanceCmd) source() (*conformance.Source, error) {
	log := slog.New(slog.DiscardHandler)
	n := &Node{
		log: log, steps: new(modality.Steps), procedures: new(ups.Steps), commitments: new(commitment.Commitments),
		flags: ServerFlags{AET: c.AET, MaxAssociations: c.MaxAssociations, AcceptUnknownSOPClasses: c.AcceptUnknownSOPClasses},
	}
	s := &conformance.Source{
		Version: version, Server: n.dicomServer(log), Carries: carries, Sends: []string{ups.EventSOPClass}, Uses: uses(), StoreOutcomes: storeOutcomes(), Worklist: worklistAttributes(), Steps: stepDemands(),
		Procedure: procedureAttributes(), ProcedureNotes: ups.Notes(),
		Leaves: names(access.Services), DefaultLeaves: names(access.DefaultServices()), Routes: dicomwebRoutes(),
	}
	for _, t := range slices.Sorted(maps.Keys(verifiers)) {
		s.IdentityTypes = append(s.IdentityTypes, t.String())
	}
	var err error
	s.Settings, err = dicomSettings()
	return s, err
}

// carries says whether a service of several SOP classes carries an operation out
// on one of them.
func carries(sopClass string, f dimse.Field) bool {
	return modality.Carries(sopClass, f) && ups.Carries(sopClass, f)
}

func procedureAttributes() (list []conformance.StepAttribute) {
	for _, a := range ups.Attributes() {
		list = append(list, conformance.StepAttribute{Tag: a.Tag, Create: a.Create, Set: a.Settable, Matching: a.Matched, Final: a.Final})
	}
	return list
}

func names(services []access.Service) (list []string) {
	for _, s := range services {
		list = append(list, string(s))
	}
	return list
}

// uses are the associations that the archive and its command line open.
func uses() []conformance.Use {
	var storage []string
	for _, class := range dicom.StorageSOPClasses {
		storage = append(storage, class.UID)
	}
	var syntaxes []string // of what is kept
	for _, ts := range dicom.TransferSyntaxes {
		syntaxes = append(syntaxes, ts.UID)
	}
	plain := dimse.ServiceContext(1, "").TransferSyntaxes
	roots := func(study, patient string) []string { return []string{study, patient} }
	return []conformance.Use{
		{Activity: "C-ECHO: the test of a device's connection; tasvir echo", Role: "SCU", SOPClasses: []string{dicom.VerificationSOPClass}, TransferSyntaxes: dimse.VerificationContext(1).TransferSyntaxes},
		{Activity: "C-STORE: sub-operations of C-MOVE; forwarding by rules; tasvir store", Role: "SCU", SOPClasses: storage, TransferSyntaxes: syntaxes},
		{Activity: "N-EVENT-REPORT: the answer to storage commitment", Role: "SCP", SOPClasses: []string{dicom.StorageCommitmentPushModelSOPClass}, TransferSyntaxes: plain},
		{Activity: "N-CREATE: what is available, to devices that are registered to be told", Role: "SCU", SOPClasses: []string{dicom.InstanceAvailabilityNotificationSOPClass}, TransferSyntaxes: plain},
		{Activity: "N-EVENT-REPORT: to subscribers of unified procedure steps", Role: "SCP", SOPClasses: []string{ups.EventSOPClass}, TransferSyntaxes: plain},
		{Activity: "C-FIND: tasvir find", Role: "SCU", SOPClasses: append(roots(dicom.StudyRootFindSOPClass, dicom.PatientRootFindSOPClass), dicom.ModalityWorklistFindSOPClass), TransferSyntaxes: plain},
		{Activity: "C-MOVE: tasvir move", Role: "SCU", SOPClasses: roots(dicom.StudyRootMoveSOPClass, dicom.PatientRootMoveSOPClass), TransferSyntaxes: plain},
		{Activity: "C-GET: tasvir get", Role: "SCU", SOPClasses: roots(dicom.StudyRootGetSOPClass, dicom.PatientRootGetSOPClass), TransferSyntaxes: plain},
		{Activity: "C-STORE within a C-GET of tasvir get", Role: "SCP", SOPClasses: storage, TransferSyntaxes: takenSyntaxes},
	}
}

// storeOutcomes are the failures and warnings of storeStatuses.
func storeOutcomes() []conformance.Outcome {
	when := make(map[dimse.Code][]string)
	for code, status := range storeStatuses {
		when[status] = append(when[status], strings.ReplaceAll(string(code), "_", " "))
	}
	when[storeStatus(pacs.Errorf(pacs.Internal, "")).Code] = []string{"any other failure"}
	when[keptStatus(pacs.Receipt{Unfit: pacs.Mismatch}).Code] = []string{"stored; the request names another instance than the data set"}
	var list []conformance.Outcome
	for _, code := range slices.Sorted(maps.Keys(when)) {
		slices.Sort(when[code])
		list = append(list, conformance.Outcome{Code: code, When: strings.Join(when[code], "; ")})
	}
	return list
}

func worklistAttributes() (list []conformance.Attribute) {
	for _, k := range modality.Keys() {
		a := conformance.Attribute{Tag: k.Tag, Where: "request", Matching: strings.Join(k.Matching, ", "), Return: "empty"}
		if k.InStep {
			a.Where = dicom.Keyword(dicom.TagScheduledProcedureStepSequence)
		}
		if k.Held {
			a.Return = "value"
		}
		list = append(list, a)
	}
	return list
}

func stepDemands() []conformance.Demand {
	d := modality.StepDemands()
	return []conformance.Demand{
		{What: "Must have a value in N-CREATE", Tags: d.Create},
		{What: "Must have a value when the step ends", Tags: d.End},
		{What: "Must have a value, too, when it is completed", Tags: d.Complete},
		{What: "May not be changed by N-SET", Tags: d.Settled},
	}
}

// dicomwebRoutes are the addresses that the web server registers.
func dicomwebRoutes() (list []conformance.Route) {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	dicomweb.Register(engine.Group("/dicom-web"), dicomweb.Options{Workitems: new(workitems)})
	for _, r := range engine.Routes() {
		list = append(list, conformance.Route{Method: r.Method, Path: r.Path})
	}
	slices.SortFunc(list, func(a, b conformance.Route) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return list
}

// dicomSettings are the flags of serve that have to do with DICOM.
func dicomSettings() ([]conformance.Setting, error) {
	parser, err := commandLine()
	if err != nil {
		return nil, err
	}
	var list []conformance.Setting
	for _, command := range parser.Model.Children {
		if command.Name != "serve" {
			continue
		}
		for _, f := range command.Flags {
			if !slices.Contains([]string{"aet", "ack", "unknown-ae", "max-associations", "accept-unknown-sop-classes", "commitment-patience"}, f.Name) && !strings.HasPrefix(f.Name, "dicom") {
				continue
			}
			list = append(list, conformance.Setting{Flag: "--" + f.Name, Environment: strings.Join(f.Envs, ", "), Default: f.Default, Help: f.Help})
		}
	}
	return list, nil
}
