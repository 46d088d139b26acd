package fhir

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// found is a resource read from the platform: what is needed of it by name, and
// the whole as it came.
type found struct {
	ID   string
	Meta struct {
		VersionID   string
		LastUpdated string
	}
	Identifier []identifier
	Active     *bool
	Status     string
	Subject    reference
	Study      []reference
	BirthDate  string
	Code       []concept
	Specialty  []concept
	// tag is the ETag header as it came, where the resource was read by its id.
	tag string
	raw json.RawMessage
}

func (f *found) has(id identifier) bool {
	return slices.ContainsFunc(f.Identifier, func(one identifier) bool { return one.System == id.System && one.Value == id.Value })
}

// search returns the matches of a query, entered-in-error and inactive ones
// included. resourceType filters what a server may have included beside them.
func (c *Client) search(ctx context.Context, resourceType string, query url.Values) ([]found, error) {
	query.Set("_count", "20")
	got, err := c.call(ctx, http.MethodGet, resourceType+"?"+query.Encode(), nil, "")
	if err != nil {
		return nil, err
	}
	var answered struct {
		ResourceType string `json:"resourceType"`
		Entry        []struct {
			Resource json.RawMessage `json:"resource"`
		} `json:"entry"`
	}
	if err := json.Unmarshal(got.body, &answered); err != nil || answered.ResourceType != "Bundle" {
		return nil, temporary(err, "the platform's answer to a search is not a Bundle")
	}
	var matches []found
	for _, entry := range answered.Entry {
		var kind struct {
			ResourceType string `json:"resourceType"`
		}
		// OperationOutcome and included resources don't fit found: look first.
		if json.Unmarshal(entry.Resource, &kind) != nil || kind.ResourceType != resourceType {
			continue
		}
		one, err := parseFound(entry.Resource)
		if err != nil {
			return nil, err
		}
		matches = append(matches, *one)
	}
	return matches, nil
}

func parseFound(raw json.RawMessage) (*found, error) {
	one := found{raw: raw}
	// PractitionerRole.code is a list, DiagnosticReport.code isn't: the list is
	// read by itself.
	var plain struct {
		ID   string `json:"id"`
		Meta struct {
			VersionID   string `json:"versionId"`
			LastUpdated string `json:"lastUpdated"`
		} `json:"meta"`
		Identifier []identifier    `json:"identifier"`
		Active     *bool           `json:"active"`
		Status     string          `json:"status"`
		Subject    reference       `json:"subject"`
		Study      []reference     `json:"study"`
		BirthDate  string          `json:"birthDate"`
		Code       json.RawMessage `json:"code"`
		Specialty  []concept       `json:"specialty"`
	}
	if err := json.Unmarshal(raw, &plain); err != nil || plain.ID == "" {
		return nil, temporary(err, "the platform's answer holds a resource that can't be read")
	}
	one.ID, one.Identifier, one.Active, one.Status = plain.ID, plain.Identifier, plain.Active, plain.Status
	one.Meta.VersionID, one.Meta.LastUpdated = plain.Meta.VersionID, plain.Meta.LastUpdated
	one.Subject, one.Study, one.Specialty, one.BirthDate = plain.Subject, plain.Study, plain.Specialty, plain.BirthDate
	_ = json.Unmarshal(plain.Code, &one.Code)
	return &one, nil
}

// byIdentifier returns the resources that carry the identifier. The answer is
// checked: a server that ignores a parameter returns everything.
func (c *Client) byIdentifier(ctx context.Context, resourceType string, id identifier) ([]found, error) {
	matches, err := c.search(ctx, resourceType, url.Values{"identifier": {token(id)}})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(matches, func(one found) bool { return !one.has(id) }), nil
}

// references finds what the report points to. What is absent and may be created
// stays empty.
func (c *Client) references(ctx context.Context, caps Capabilities, r *Report) (References, error) {
	var refs References
	var err error
	if refs.PractitionerRoleID, err = c.practitionerRole(ctx, r.Radiologist); err != nil {
		return refs, err
	}
	if refs.PatientID, err = c.patient(ctx, r); err != nil {
		return refs, err
	}
	if r.Facility.TaxID != "" {
		if refs.OrganizationID, err = c.first(ctx, "Organization", identifier{System: systemTaxID, Value: r.Facility.TaxID}); err != nil {
			return refs, err
		}
	}
	if caps.Creates(roleStudy) {
		if refs.ImagingStudyID, err = c.first(ctx, roleStudy, studyIdentifier(r.Study.UID)); err != nil {
			return refs, err
		}
		if c.needsEndpoint(caps, refs) {
			if refs.EndpointID, err = c.first(ctx, roleEndpoint, c.endpointIdentifier()); err != nil {
				return refs, err
			}
		}
	}
	return refs, nil
}

// first returns the id of the resource with the identifier, the smallest where
// there are several, "" where there is none.
func (c *Client) first(ctx context.Context, resourceType string, id identifier) (string, error) {
	matches, err := c.byIdentifier(ctx, resourceType, id)
	if err != nil || len(matches) == 0 {
		return "", err
	}
	slices.SortFunc(matches, func(a, b found) int { return strings.Compare(a.ID, b.ID) })
	return matches[0].ID, nil
}

// practitionerRole finds in which role the radiologist signs: an active one, in
// radiology where there is a choice.
func (c *Client) practitionerRole(ctx context.Context, who Radiologist) (string, error) {
	var known []found
	for _, id := range []identifier{{System: systemArgos, Value: who.ArgosID}, {System: systemPINFL, Value: who.PINFL}} {
		if id.Value == "" || len(known) > 0 {
			continue
		}
		matches, err := c.byIdentifier(ctx, "Practitioner", id)
		if err != nil {
			return "", err
		}
		known = activeOnly(matches)
	}
	name := clip(who.Name.String(), 100)
	switch {
	case who.ArgosID == "" && who.PINFL == "":
		return "", permanent("the radiologist %s has neither an Argos id nor a PINFL here: enter one in the user's profile, then send again", name)
	case len(known) == 0:
		return "", permanent("the platform does not know the radiologist %s: have them registered in HRM Argos, or correct the Argos id or PINFL in the user's profile, then send again", name)
	case len(known) > 1:
		return "", permanent("the platform knows %d radiologists with the number of %s: have the registry put right, then send again", len(known), name)
	}
	roles, err := c.search(ctx, "PractitionerRole", url.Values{"practitioner": {"Practitioner/" + known[0].ID}})
	if err != nil {
		return "", err
	}
	roles = activeOnly(roles)
	if len(roles) == 0 {
		return "", permanent("the platform knows the radiologist %s but no position of theirs (PractitionerRole): have it entered in HRM Argos, then send again", name)
	}
	slices.SortFunc(roles, func(a, b found) int {
		if x, y := a.inRadiology(), b.inRadiology(); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	return roles[0].ID, nil
}

func (f *found) inRadiology() bool {
	for _, c := range slices.Concat(f.Code, f.Specialty) {
		for _, code := range c.Coding {
			if slices.Contains(radiologyRoles, code.Code) {
				return true
			}
		}
	}
	return false
}

func activeOnly(all []found) []found {
	return slices.DeleteFunc(all, func(one found) bool { return one.Active != nil && !*one.Active })
}

// patient finds the person by PINFL, else by the hospitals' numbers; "" if the
// platform doesn't know them yet. Where the platform holds one person twice, the
// report goes to the record with the smallest id; where it holds two people
// under one number, a person has to decide.
func (c *Client) patient(ctx context.Context, r *Report) (string, error) {
	for _, id := range c.patientIdentifiers(&r.Patient) {
		matches, err := c.byIdentifier(ctx, rolePatient, id)
		if err != nil {
			return "", err
		}
		matches = activeOnly(matches)
		if len(matches) == 0 {
			continue
		}
		numbers, births := map[string]bool{}, map[string]bool{}
		if r.Patient.PINFL != "" {
			numbers[r.Patient.PINFL] = true
		}
		for _, one := range matches {
			for _, other := range one.Identifier {
				if other.System == systemPINFL && other.Value != "" {
					numbers[other.Value] = true
				}
			}
			if one.BirthDate != "" {
				births[one.BirthDate] = true
			}
		}
		if len(numbers) > 1 {
			return "", permanent("on the platform this hospital's patient number belongs to a person with another PINFL: correct the patient's PINFL or ID, then send again")
		}
		if len(births) > 1 {
			return "", permanent("the platform holds %d patients of different birth dates under this patient's number: have them put right there, then send again", len(matches))
		}
		slices.SortFunc(matches, func(a, b found) int { return strings.Compare(a.ID, b.ID) })
		return matches[0].ID, nil
	}
	return "", nil
}
