package fhir

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Receipt is where a delivered report is.
type Receipt struct {
	DiagnosticReportID string
	// VersionETag is the platform's version of the DiagnosticReport, as W/"3".
	VersionETag string
	// Version is the report version the platform holds: the one delivered, or a
	// later one that was there already.
	Version        int
	ImagingStudyID string // empty where the platform takes no ImagingStudy
	PatientID      string
	// Location is the DiagnosticReport's address.
	Location string
}

// maxRounds bounds how often an update is applied again to what someone else
// changed in the meantime.
const maxRounds = 4

// Deliver brings one version of a report to the platform and returns where it is.
// previous, which may be nil, is the receipt of an earlier version: it saves a
// search and is never trusted. When nil is returned, the platform has confirmed
// that it holds this version or a later one. Delivering the same version again
// changes nothing and returns the same place. Errors are *DeliveryError or the
// context's; after any of them the same call may be repeated safely.
func (c *Client) Deliver(ctx context.Context, r *Report, previous *Receipt) (Receipt, error) {
	if err := r.check(); err != nil {
		return Receipt{}, permanent("%v", err)
	}
	if c.Namespace == "" {
		return Receipt{}, permanent("no namespace for identifiers is set: set the address under which this archive names its reports")
	}
	release, err := c.busy.lock(ctx, "report "+r.ID)
	if err != nil {
		return Receipt{}, err
	}
	defer release()

	caps, err := c.capabilities(ctx)
	if err != nil {
		return Receipt{}, err
	}
	if !caps.Creates(roleReport) {
		return Receipt{}, temporary(nil, "the platform does not take DiagnosticReports at present")
	}
	var failure error
	for range maxRounds {
		there, err := c.find(ctx, r, previous)
		if err != nil {
			return Receipt{}, err
		}
		if there != nil && c.versionOf(there, r.ID) >= r.Version {
			return c.receipt(there, r), nil
		}
		var id string
		if there == nil {
			id, err = c.create(ctx, caps, r)
		} else {
			id, err = there.ID, c.update(ctx, r, there.ID)
		}
		var refused *DeliveryError
		switch {
		case err == nil:
			// What counts is what can be read back; and the search shows whether
			// another sender was at it in the same moment.
			previous = &Receipt{DiagnosticReportID: id}
			failure = temporary(nil, "the platform took the report but does not show it yet")
			if there, err = c.find(ctx, r, previous); err != nil {
				return Receipt{}, err
			}
			if there != nil && c.versionOf(there, r.ID) >= r.Version {
				return c.receipt(there, r), nil
			}
		case !errors.As(err, &refused):
			return Receipt{}, err
		case isConflict(err):
			// Somebody was there first. Look again, and at what is offered as well.
			failure = err
			c.caps.forget()
			if caps, err = c.capabilities(ctx); err != nil {
				return Receipt{}, err
			}
		case refused.doubtful:
			// It may have arrived all the same. If it didn't, the failure stands,
			// and the next try begins with the same question.
			if there, err := c.find(ctx, r, previous); err == nil && there != nil && c.versionOf(there, r.ID) >= r.Version {
				return c.receipt(there, r), nil
			}
			return Receipt{}, err
		default:
			return Receipt{}, err
		}
	}
	return Receipt{}, failure
}

// find returns the platform's DiagnosticReport of this report, nil if there is
// none. Where a race has made several, one stays, the same one whoever looks, and
// the others are withdrawn.
func (c *Client) find(ctx context.Context, r *Report, previous *Receipt) (*found, error) {
	id := c.reportIdentifier(r.ID)
	matches, err := c.byIdentifier(ctx, roleReport, id)
	if err != nil {
		return nil, err
	}
	if len(matches) == 0 && previous != nil && previous.DiagnosticReportID != "" {
		// A search index may lag behind; a read never does.
		there, err := c.read(ctx, previous.DiagnosticReportID)
		if err != nil || there == nil || !there.has(id) {
			return nil, err
		}
		return there, nil
	}
	standing := slices.DeleteFunc(slices.Clone(matches), func(one found) bool { return one.Status == "entered-in-error" })
	if len(standing) == 0 {
		standing = matches[:min(1, len(matches))]
	}
	if len(standing) == 0 {
		return nil, nil
	}
	slices.SortFunc(standing, func(a, b found) int {
		return cmp.Or(
			-cmp.Compare(c.versionOf(&a, r.ID), c.versionOf(&b, r.ID)),
			strings.Compare(a.ID, b.ID),
		)
	})
	for _, extra := range standing[1:] {
		if err := c.withdraw(ctx, extra.ID); err != nil {
			return nil, err
		}
	}
	return &standing[0], nil
}

// read returns a DiagnosticReport by the platform's id, nil if it isn't there.
func (c *Client) read(ctx context.Context, id string) (*found, error) {
	got, err := c.call(ctx, http.MethodGet, "DiagnosticReport/"+id, nil, "")
	var refused *DeliveryError
	if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	there, err := parseFound(got.body)
	if err != nil {
		return nil, err
	}
	there.tag = got.header.Get("ETag")
	return there, nil
}

// withdraw marks a second copy of a report as entered in error: the platform has
// no delete.
func (c *Client) withdraw(ctx context.Context, id string) error {
	var err error
	for range maxRounds {
		var there *found
		if there, err = c.read(ctx, id); err != nil || there == nil || there.Status == "entered-in-error" {
			return err
		}
		err = c.put(ctx, there, func(resource map[string]json.RawMessage) {
			resource["status"] = json.RawMessage(`"entered-in-error"`)
		})
		if !isConflict(err) {
			return err
		}
	}
	return err
}

// isConflict tells whether a write was refused because the resource is no longer
// as it was read.
func isConflict(err error) bool {
	var refused *DeliveryError
	return errors.As(err, &refused) && (refused.Status == http.StatusConflict || refused.Status == http.StatusPreconditionFailed)
}

// create sends the transaction and returns the DiagnosticReport's id: a new one,
// or one that was there, where the platform's conditional create found it.
func (c *Client) create(ctx context.Context, caps Capabilities, r *Report) (string, error) {
	// Two reports on a new patient must not create the patient twice.
	release, err := c.busy.lock(ctx, "patient "+token(c.patientIdentifiers(&r.Patient)[0]))
	if err != nil {
		return "", err
	}
	defer release()
	refs, err := c.references(ctx, caps, r)
	if err != nil {
		return "", err
	}
	if c.needsEndpoint(caps, refs) {
		release, err := c.busy.lock(ctx, "endpoint")
		if err != nil {
			return "", err
		}
		defer release()
		if refs.EndpointID, err = c.first(ctx, roleEndpoint, c.endpointIdentifier()); err != nil {
			return "", err
		}
	}
	sent, err := c.transaction(caps, r, refs)
	if err != nil {
		return "", permanent("%v", err)
	}
	body, err := json.Marshal(sent)
	if err != nil {
		return "", fmt.Errorf("encoding a report: %w", err)
	}
	got, err := c.call(ctx, http.MethodPost, "", body, "")
	if err != nil {
		return "", err
	}
	// The answer's entries stand in the order of the request's (R5 http,
	// 3.2.0.13.5), and the report was the last.
	var answered struct {
		Entry []struct {
			Response struct {
				Location string `json:"location"`
			} `json:"response"`
		} `json:"entry"`
	}
	if json.Unmarshal(got.body, &answered) == nil && len(answered.Entry) == len(sent.Entry) {
		if id := idIn(answered.Entry[len(answered.Entry)-1].Response.Location, roleReport); id != "" {
			return id, nil
		}
	}
	matches, err := c.byIdentifier(ctx, roleReport, c.reportIdentifier(r.ID))
	if err != nil {
		return "", err
	}
	if len(matches) == 0 {
		return "", &DeliveryError{Message: "the platform took the report but does not say where it is", RetryAfter: waitForUnknown}
	}
	return matches[0].ID, nil
}

// update writes this version into the DiagnosticReport that is there. What
// someone else added to it (an order, an encounter, a note) stays.
func (c *Client) update(ctx context.Context, r *Report, id string) error {
	fresh, err := c.read(ctx, id)
	if err != nil {
		return err
	}
	if fresh == nil {
		return temporary(nil, "the platform shows the report in a search but not by its id")
	}
	if c.versionOf(fresh, r.ID) >= r.Version {
		return nil
	}
	role, err := c.practitionerRole(ctx, r.Radiologist)
	if err != nil {
		return err
	}
	// The subject and the study stay as the platform has them: it may have merged
	// or moved them since.
	made := c.report(r, References{PractitionerRoleID: role}, reference{}, reference{})
	encoded, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("encoding a report: %w", err)
	}
	var ours map[string]json.RawMessage
	if err := json.Unmarshal(encoded, &ours); err != nil {
		return fmt.Errorf("encoding a report: %w", err)
	}
	var kept []json.RawMessage
	err = c.put(ctx, fresh, func(resource map[string]json.RawMessage) {
		var theirs []json.RawMessage
		_ = json.Unmarshal(resource["identifier"], &theirs)
		for _, raw := range theirs {
			var id identifier
			if json.Unmarshal(raw, &id) == nil && !strings.HasPrefix(id.System, c.Namespace+"/report") {
				kept = append(kept, raw)
			}
		}
		for name, value := range ours {
			switch name {
			case "subject", "study", "meta":
			default:
				resource[name] = value
			}
		}
		if _, ok := ours["presentedForm"]; !ok {
			delete(resource, "presentedForm")
		}
		var identifiers []json.RawMessage
		_ = json.Unmarshal(ours["identifier"], &identifiers)
		resource["identifier"], _ = json.Marshal(append(identifiers, kept...))
	})
	return err
}

// put changes a resource just read and writes it back under its version.
func (c *Client) put(ctx context.Context, there *found, change func(map[string]json.RawMessage)) error {
	var resource map[string]json.RawMessage
	if err := json.Unmarshal(there.raw, &resource); err != nil {
		return temporary(err, "the platform's DiagnosticReport can't be read")
	}
	change(resource)
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(resource); err != nil {
		return fmt.Errorf("encoding a report: %w", err)
	}
	_, err := c.call(ctx, http.MethodPut, "DiagnosticReport/"+there.ID, body.Bytes(), there.etag())
	return err
}

// etag is what If-Match takes: the header as it came, else made of the version
// (R5 http, 3.2.0.1.5: weak).
func (f *found) etag() string {
	if f.tag != "" {
		return f.tag
	}
	return `W/"` + f.Meta.VersionID + `"`
}

// versionOf reads which version of the report a DiagnosticReport holds, 0 if it
// doesn't say.
func (c *Client) versionOf(there *found, reportID string) int {
	highest := 0
	for _, id := range there.Identifier {
		if id.System != c.Namespace+"/report-version" {
			continue
		}
		if number, ok := strings.CutPrefix(id.Value, reportID+"/"); ok {
			if n, err := strconv.Atoi(number); err == nil {
				highest = max(highest, n)
			}
		}
	}
	return highest
}

func (c *Client) receipt(there *found, r *Report) Receipt {
	receipt := Receipt{
		DiagnosticReportID: there.ID,
		VersionETag:        there.etag(),
		Version:            c.versionOf(there, r.ID),
		PatientID:          idIn(there.Subject.Reference, rolePatient),
		Location:           strings.TrimSuffix(c.BaseURL, "/") + "/DiagnosticReport/" + there.ID,
	}
	for _, study := range there.Study {
		if id := idIn(study.Reference, roleStudy); id != "" {
			receipt.ImagingStudyID = id
			break
		}
	}
	return receipt
}

// idIn takes the id out of a reference, relative or absolute, "" if it is to
// another type.
func idIn(ref, resourceType string) string {
	parts := strings.Split(ref, "/")
	if i := slices.Index(parts, resourceType); i >= 0 && i+1 < len(parts) {
		return parts[i+1]
	}
	return ""
}
