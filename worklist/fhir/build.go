package fhir

import (
	"crypto/sha1" //nolint:gosec // Attachment.hash is SHA-1 by definition.
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Builder turns reports into R5 resources.
type Builder struct {
	// Namespace is the URL under which this installation issues identifiers, for
	// example https://tasvir.example.uz/fhir/sid, without a slash at the end. It
	// must never change: reports are recognised by it.
	Namespace string
	// WADORoot is the public DICOMweb root, put into an Endpoint where the
	// platform takes one; empty to leave it out.
	WADORoot string
}

// References are the platform's own ids of what is there already, empty for what
// the transaction has to create. PractitionerRoleID must be set.
type References struct {
	PatientID, PractitionerRoleID, ImagingStudyID, EndpointID, OrganizationID string
}

// maxListed bounds the instances listed one by one in an ImagingStudy. Beyond it
// the counts stand alone: the resource is a reference, not the archive's index.
const maxListed = 5000

// Entries of the transaction by role: the names from which fullUrls derive.
const (
	rolePatient  = "Patient"
	roleEndpoint = "Endpoint"
	roleStudy    = "ImagingStudy"
	roleReport   = "DiagnosticReport"
)

// Build returns the transaction that creates the report on a platform with these
// capabilities: what References leaves empty (Patient, Endpoint, ImagingStudy),
// then the DiagnosticReport, last. Where conditional create is offered, every
// entry asks for it. Equal input gives equal bytes.
func (b Builder) Build(caps Capabilities, r *Report, refs References) ([]byte, error) {
	made, err := b.transaction(caps, r, refs)
	if err != nil {
		return nil, err
	}
	return json.Marshal(made)
}

func (b Builder) transaction(caps Capabilities, r *Report, refs References) (*bundle, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if refs.PractitionerRoleID == "" {
		return nil, fmt.Errorf("the radiologist's PractitionerRole is not known")
	}
	made := &bundle{ResourceType: "Bundle", Type: "transaction"}
	add := func(role string, resource any, unless identifier) reference {
		full := fullURL(r.ID, role)
		request := entryRequest{Method: "POST", URL: role}
		if caps.ConditionalCreate(role) {
			request.IfNoneExist = "identifier=" + url.QueryEscape(token(unless))
		}
		made.Entry = append(made.Entry, entry{FullURL: full, Resource: resource, Request: request})
		return reference{Reference: full}
	}

	subject := reference{Reference: "Patient/" + refs.PatientID}
	if refs.PatientID == "" {
		p := b.patient(r, refs)
		subject = add(rolePatient, p, p.Identifier[0])
	}

	study := reference{Type: roleStudy, Identifier: &identifier{System: systemDICOMUID, Value: "urn:oid:" + r.Study.UID}}
	switch {
	case refs.ImagingStudyID != "":
		study = reference{Reference: "ImagingStudy/" + refs.ImagingStudyID}
	case caps.Creates(roleStudy):
		var at *reference
		if refs.EndpointID != "" {
			at = &reference{Reference: "Endpoint/" + refs.EndpointID}
		} else if b.needsEndpoint(caps, refs) {
			e := b.endpoint()
			made := add(roleEndpoint, e, e.Identifier[0])
			at = &made
		}
		s := b.imagingStudy(r, refs, subject, at)
		study = add(roleStudy, s, s.Identifier[0])
	}

	report := b.report(r, refs, subject, study)
	add(roleReport, report, report.Identifier[0])
	return made, nil
}

// needsEndpoint tells whether the transaction has to create the archive's Endpoint.
func (b Builder) needsEndpoint(caps Capabilities, refs References) bool {
	return b.WADORoot != "" && refs.EndpointID == "" && refs.ImagingStudyID == "" &&
		caps.Creates(roleStudy) && caps.Creates(roleEndpoint)
}

// fullURL derives an entry's fullUrl from the report, so that a repeated try sends
// the same bytes. It is not the report's own UUID: servers replace a fullUrl
// wherever they meet it, identifiers and texts included.
func fullURL(reportID, role string) string {
	return "urn:uuid:" + uuid.NewSHA1(uuid.MustParse(reportID), []byte(role)).String()
}

// token writes an identifier as a search value (R5 search, 3.2.1.5.5.1: the
// separators are escaped by a backslash).
func token(id identifier) string {
	escape := strings.NewReplacer(`\`, `\\`, "|", `\|`, ",", `\,`, "$", `\$`)
	return escape.Replace(id.System) + "|" + escape.Replace(id.Value)
}

func (b Builder) reportIdentifier(id string) identifier {
	return identifier{Use: "official", System: b.Namespace + "/report", Value: id}
}

// versionIdentifier tells which version of a report a DiagnosticReport holds.
func (b Builder) versionIdentifier(id string, version int) identifier {
	return identifier{Use: "secondary", System: b.Namespace + "/report-version", Value: id + "/" + strconv.Itoa(version)}
}

func (b Builder) patientIdentifiers(p *Patient) []identifier {
	var found []identifier
	if p.PINFL != "" {
		found = append(found, identifier{Use: "official", Type: identifierType("NI"), System: systemPINFL, Value: p.PINFL})
	}
	for _, id := range p.ids() {
		found = append(found, identifier{
			Use: "usual", Type: identifierType("MR"),
			System: b.Namespace + "/patient/" + url.PathEscape(id.Issuer), Value: id.Value,
		})
	}
	return found
}

func identifierType(code string) *concept {
	return &concept{Coding: []coding{{System: systemIdentifierType, Code: code}}}
}

func (b Builder) patient(r *Report, refs References) *patient {
	p := &patient{
		ResourceType: rolePatient,
		Meta:         meta{Profile: []string{profilePatient}},
		Identifier:   b.patientIdentifiers(&r.Patient),
		Active:       true,
		Gender:       genders[strings.ToUpper(r.Patient.Sex)],
	}
	for i := range p.Identifier {
		if p.Identifier[i].System != systemPINFL {
			p.Identifier[i].Assigner = assigner(r.Facility, refs)
		}
	}
	if p.Gender == "" {
		p.Gender = "unknown"
	}
	if isDate(r.Patient.BirthDate) {
		p.BirthDate = r.Patient.BirthDate
	}
	name := humanName{Use: "official", Text: r.Patient.displayName(), Family: oneLine(r.Patient.Name.Family)}
	if given := oneLine(r.Patient.Name.Given); given != "" {
		name.Given = []string{given}
	}
	if patronymic := oneLine(r.Patient.Name.Patronymic); patronymic != "" {
		name.Suffix = []string{patronymic}
	}
	if name.Text != "" {
		p.Name = []humanName{name}
	}
	return p
}

// displayName is the name for people: from its parts, else from the DICOM name's
// first component group (PS3.5, 6.2.1).
func (p *Patient) displayName() string {
	if name := p.Name.String(); name != "" {
		return name
	}
	group, _, _ := strings.Cut(p.DICOMName, "=")
	return oneLine(strings.ReplaceAll(group, "^", " "))
}

func assigner(f Facility, refs References) *reference {
	if refs.OrganizationID != "" {
		return &reference{Reference: "Organization/" + refs.OrganizationID, Display: oneLine(f.Name)}
	}
	if name := oneLine(f.Name); name != "" {
		return &reference{Display: name}
	}
	return nil
}

func (b Builder) endpointIdentifier() identifier {
	return identifier{System: b.Namespace + "/endpoint", Value: "dicom-web"}
}

func (b Builder) endpoint() *endpoint {
	return &endpoint{
		ResourceType:   roleEndpoint,
		Identifier:     []identifier{b.endpointIdentifier()},
		Status:         "active",
		ConnectionType: []concept{{Coding: []coding{{System: systemConnection, Code: "dicom-wado-rs"}}}},
		Name:           "DICOMweb",
		Payload:        []endpointPayload{{MimeType: []string{"application/dicom"}}},
		Address:        b.WADORoot,
	}
}

func studyIdentifier(uid string) identifier {
	return identifier{Use: "official", System: systemDICOMUID, Value: "urn:oid:" + uid}
}

func (b Builder) imagingStudy(r *Report, refs References, subject reference, at *reference) *imagingStudy {
	s := &imagingStudy{
		ResourceType:   roleStudy,
		Identifier:     []identifier{studyIdentifier(r.Study.UID)},
		Status:         "available",
		Modality:       modalities(r.Study.Modalities),
		Subject:        subject,
		Started:        dateTime(r.Study.Started),
		NumberOfSeries: len(r.Study.Series),
		Description:    oneLine(r.Study.Description),
	}
	if accession := oneLine(r.Study.Accession); accession != "" {
		s.Identifier = append(s.Identifier, identifier{
			Use: "usual", Type: identifierType("ACSN"),
			System: b.numbersOf("accession", r.Facility), Value: accession,
			Assigner: assigner(r.Facility, refs),
		})
	}
	if at != nil {
		s.Endpoint = []reference{*at}
	}
	listed := 0
	for _, series := range r.Study.Series {
		listed += len(series.Instances)
	}
	for _, series := range r.Study.Series {
		one := imagingSeries{
			UID:               series.UID,
			Number:            counted(series.Number),
			Modality:          modality(series.Modality),
			Description:       oneLine(series.Description),
			NumberOfInstances: max(series.InstanceCount, len(series.Instances)),
		}
		if part := oneLine(series.BodyPart); part != "" {
			one.BodySite = &bodySite{Concept: concept{Text: part}}
		}
		if listed <= maxListed {
			for _, i := range series.Instances {
				one.Instance = append(one.Instance, imagingInstance{
					UID: i.UID, Number: counted(i.Number),
					SOPClass: coding{System: systemURI, Code: "urn:oid:" + i.SOPClass},
				})
			}
		}
		s.NumberOfInstances += one.NumberOfInstances
		s.Series = append(s.Series, one)
	}
	return s
}

// numbersOf is the system of numbers that a facility gives.
func (b Builder) numbersOf(kind string, f Facility) string {
	owner := f.TaxID
	if owner == "" {
		owner = f.Code
	}
	return b.Namespace + "/" + kind + "/" + url.PathEscape(oneLine(owner))
}

// basedOn names the order by its number: whether the platform has a
// ServiceRequest of it, and under which id, is its own affair.
func (b Builder) basedOn(r *Report) []reference {
	order := oneLine(r.Study.Order)
	if order == "" {
		return nil
	}
	return []reference{{Type: "ServiceRequest", Identifier: &identifier{Type: identifierType("PLAC"), System: b.numbersOf("order", r.Facility), Value: order}}}
}

func modality(code string) concept {
	code = oneLine(code)
	if code == "" {
		code = "OT" // "Other": ImagingStudy.series.modality is 1..1
	}
	return concept{Coding: []coding{{System: systemDCM, Code: code}}}
}

func modalities(codes []string) []concept {
	var found []concept
	for _, code := range codes {
		found = append(found, modality(code))
	}
	return found
}

// counted gives a number as unsignedInt, or nothing.
func counted(n int) *int {
	if n < 0 || n > 1<<31-1 {
		return nil
	}
	return &n
}

func (b Builder) report(r *Report, refs References, subject, study reference) *diagnosticReport {
	w := wordsFor(r.Language)
	title := oneLine(r.Study.Description)
	if title == "" {
		title = w.report
	}
	role := reference{Reference: "PractitionerRole/" + refs.PractitionerRoleID, Display: r.Radiologist.Name.String()}
	made := &diagnosticReport{
		ResourceType: roleReport,
		Meta:         meta{Profile: []string{profileReport}},
		Language:     r.Language,
		Text:         narrative{Status: "additional", Div: narrate(r)},
		Identifier:   []identifier{b.reportIdentifier(r.ID), b.versionIdentifier(r.ID, r.Version)},
		BasedOn:      b.basedOn(r),
		Status:       statuses[r.Kind],
		Code: concept{
			Coding: []coding{{System: systemLOINC, Code: "18748-4", Display: "Diagnostic imaging study"}},
			Text:   title,
		},
		Subject:           subject,
		EffectiveDateTime: dateTime(r.Study.Started),
		Issued:            r.SignedAt.Format("2006-01-02T15:04:05.000Z07:00"),
		// UZ Core lets only people perform a report, no organisation.
		Performer:          []reference{role},
		ResultsInterpreter: []reference{role},
		Study:              []reference{study},
		Conclusion:         conclusion(r),
	}
	for _, section := range sectionsOf(r.Study.Modalities) {
		made.Category = append(made.Category, concept{Coding: []coding{{System: systemSection, Code: section}}})
	}
	if len(r.PDF) > 0 {
		hash := sha1.Sum(r.PDF) //nolint:gosec // Attachment.hash is SHA-1 by definition.
		made.PresentedForm = []attachment{{
			ContentType: "application/pdf",
			Language:    r.Language,
			Data:        base64.StdEncoding.EncodeToString(r.PDF),
			Size:        strconv.Itoa(len(r.PDF)),
			Hash:        base64.StdEncoding.EncodeToString(hash[:]),
			Title:       fmt.Sprintf("%s (%d)", w.report, r.Version),
			Creation:    dateTime(r.SignedAt),
		}}
	}
	return made
}

// conclusion is the impression, or the findings of a report without one, as
// typed: DiagnosticReport.conclusion is markdown, but marks such as * are left
// alone, because many receivers show the source.
func conclusion(r *Report) string {
	if text := clean(r.Sections.Impression); text != "" {
		return text
	}
	return clean(r.Sections.Findings)
}

func dateTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}
