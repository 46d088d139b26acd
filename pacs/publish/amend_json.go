package publish

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// Metadata returns the DICOM JSON of the current instances of a series, as it
// is served: like Instance, with the demographics of the patient the study
// belongs to now.
func (p *Packs) Metadata(ctx context.Context, scope pacs.Scope, studyUID, seriesUID string) (*pacs.SeriesMetadata, error) {
	amendment, err := p.Index.Amendment(ctx, scope, studyUID)
	if err != nil {
		return nil, err
	}
	m, err := p.keptMetadata(ctx, scope, studyUID, seriesUID)
	if err != nil || amendment == nil {
		return m, err
	}
	defer func() { _ = m.Body.Close() }()
	amended, err := amendMetadata(m.Body, amendment)
	if err != nil {
		return nil, pacs.Wrap(pacs.Internal, fmt.Errorf("metadata of series %s: %w", seriesUID, err), "The metadata can't be read")
	}
	return &pacs.SeriesMetadata{Body: io.NopCloser(bytes.NewReader(amended)), Length: int64(len(amended)), ETag: m.ETag + "-a" + amendment.Tag()}, nil
}

// amendMetadata amends each instance of a gzipped array.
func amendMetadata(body io.Reader, a *pacs.Amendment) ([]byte, error) {
	zip, err := gzip.NewReader(body)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(zip)
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("no array: %w", err)
	}
	out := newMetadataWriter(gzip.BestSpeed)
	for d.More() {
		var o map[string]json.RawMessage
		if err := d.Decode(&o); err != nil {
			return nil, err
		}
		object, err := amendObject(o, a)
		if err != nil {
			return nil, err
		}
		if err := out.add(object); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return out.close()
}

// modelAttribute is an attribute of the DICOM JSON model, PS3.18 F.2.2.
type modelAttribute struct {
	VR    string            `json:"vr"`
	Value []json.RawMessage `json:"Value,omitempty"`
}

// amendObject amends one instance and returns it with its attributes in order.
func amendObject(o map[string]json.RawMessage, a *pacs.Amendment) ([]byte, error) {
	said := pacs.Patient{
		Issuer:    modelText(o, dicom.TagIssuerOfPatientID),
		PatientID: modelText(o, dicom.TagPatientID),
		Name:      modelName(o, dicom.TagPatientName),
		BirthDate: date(modelText(o, dicom.TagPatientBirthDate)),
		Sex:       sex(modelText(o, dicom.TagPatientSex)),
	}
	if said.Issuer == "" {
		said.Issuer = a.Facility
	}
	previous := map[string]json.RawMessage{}
	for _, c := range changes(a, said) {
		tag := c.Tag.String()
		if previous[tag] = o[tag]; previous[tag] == nil {
			previous[tag] = json.RawMessage(`{"vr":"` + c.VR.String() + `"}`)
		}
		if c.Remove {
			delete(o, tag)
			continue
		}
		// The model's rules for values are those of AppendJSON.
		ds := (&dicom.Dataset{}).SetString(c.Tag, c.VR, c.Value)
		var made map[string]json.RawMessage
		if err := json.Unmarshal(dicom.AppendJSON(nil, ds, dicom.JSONOptions{}), &made); err != nil {
			return nil, err
		}
		o[tag] = made[tag]
	}
	if len(previous) > 0 {
		if err := addOriginal(o, previous, a); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	for i, tag := range slices.Sorted(maps.Keys(o)) {
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		b.WriteByte(separator)
		key, err := json.Marshal(tag)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(o[tag])
	}
	if len(o) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// addOriginal adds the item that Amend adds to the data set.
func addOriginal(o, previous map[string]json.RawMessage, a *pacs.Amendment) error {
	modified, err := json.Marshal(previous)
	if err != nil {
		return err
	}
	item := (&dicom.Dataset{}).
		SetString(dicom.TagAttributeModificationDateTime, dicom.DT, a.At.UTC().Format(dicom.DateTimeLayout)).
		SetString(dicom.TagModifyingSystem, dicom.LO, modifyingSystem).
		SetString(dicom.TagSourceOfPreviousValues, dicom.LO).
		SetString(dicom.TagReasonForTheAttributeModification, dicom.CS, "CORRECT")
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(dicom.AppendJSON(nil, item, dicom.JSONOptions{}), &fields); err != nil {
		return err
	}
	if fields[dicom.TagModifiedAttributesSequence.String()], err = json.Marshal(modelAttribute{"SQ", []json.RawMessage{modified}}); err != nil {
		return err
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	tag := dicom.TagOriginalAttributesSequence.String()
	sequence := modelAttribute{VR: "SQ"}
	if there, ok := o[tag]; ok {
		if err := json.Unmarshal(there, &sequence); err != nil || sequence.VR != "SQ" {
			return nil // no sequence, whatever it is: it stays
		}
	}
	sequence.Value = append(sequence.Value, raw)
	o[tag], err = json.Marshal(sequence)
	return err
}

// modelText is the first value of a text attribute.
func modelText(o map[string]json.RawMessage, tag dicom.Tag) string {
	var attribute modelAttribute
	var s string
	if json.Unmarshal(o[tag.String()], &attribute) != nil || len(attribute.Value) == 0 || json.Unmarshal(attribute.Value[0], &s) != nil {
		return ""
	}
	return s
}

// modelName is the first value of a name in DICOM form.
func modelName(o map[string]json.RawMessage, tag dicom.Tag) string {
	var attribute modelAttribute
	var name struct{ Alphabetic, Ideographic, Phonetic string }
	if json.Unmarshal(o[tag.String()], &attribute) != nil || len(attribute.Value) == 0 || json.Unmarshal(attribute.Value[0], &name) != nil {
		return ""
	}
	return strings.TrimRight(strings.Join([]string{name.Alphabetic, name.Ideographic, name.Phonetic}, "="), "=")
}
