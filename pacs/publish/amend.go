package publish

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// modifyingSystem is what we call ourselves in Original Attributes Sequences.
const modifyingSystem = "Tasvir"

// maxHeld is how many bytes of changes a File keeps between preparing and
// reading it; what needs more is prepared anew. A few hundred are usual.
const maxHeld = 64 << 10

// Instance prepares an instance for being read as it is served: as it is kept
// or, where an administrator has corrected its patient, with the demographics
// of the patient it belongs to now. Then its header is read here, to know the
// length. Frames and bulk data are ranges of the kept bytes: they are read with
// Open.
func (p *Packs) Instance(ctx context.Context, i pacs.Instance) (pacs.File, error) {
	kept := func(ctx context.Context) dicom.OpenRange {
		return func(offset, length int64) (io.ReadCloser, error) { return p.Open(ctx, i.Location, offset, length) }
	}
	if i.Amendment == nil {
		return pacs.File{Length: i.Location.Length, Open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			return p.Open(ctx, i.Location, offset, length)
		}}, nil
	}
	amended, err := p.amend(ctx, i)
	if err != nil {
		return pacs.File{}, err
	}
	length, err := amended.Length(kept(ctx))
	if err != nil {
		return pacs.File{}, err
	}
	if amended.Held() > maxHeld {
		amended = nil
	}
	return pacs.File{Length: length, Open: func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		a := amended
		if a == nil {
			var err error
			if a, err = p.amend(ctx, i); err != nil {
				return nil, err
			}
		}
		return a.Open(offset, n, kept(ctx))
	}}, nil
}

// amend reads the header of an instance and decides what changes.
func (p *Packs) amend(ctx context.Context, i pacs.Instance) (*dicom.Amended, error) {
	// The pixel data needn't be fetched.
	end := i.Location.Length
	if px := i.Location.PixelData; px != nil && !px.Deflated && px.Offset > 0 && px.Offset < end {
		end = px.Offset
	}
	body, err := p.Open(ctx, i.Location, 0, end)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	amended, err := dicom.Amend(body, i.Location.Length, dicom.AmendOptions{
		// What a device declares wrongly is recognised as when it was received.
		Scan: dicom.ScanOptions{FallbackCharset: cmp.Or(i.Charset, dicom.FallbackCyrillic)},
		Changes: func(ds *dicom.Dataset) []dicom.Change {
			return changes(i.Amendment, describePatient(ds, i.Amendment.Facility))
		},
		System: modifyingSystem, At: i.Amendment.At, Reason: "CORRECT",
	})
	if err != nil {
		return nil, pacs.Wrap(pacs.Internal, fmt.Errorf("amending instance %s: %w", i.SOPInstanceUID, err), "The instance can't be read")
	}
	return amended, nil
}

// fallbackOf is pacs.Instance.Charset of what was received with a fallback.
func fallbackOf(charset string) string {
	if charset == dicom.FallbackCyrillic {
		return ""
	}
	return charset
}

// changes lists the attributes of the patient module in which what a data set
// says differs from what is served.
func changes(a *pacs.Amendment, said pacs.Patient) []dicom.Change {
	said = index.AsKept(said)
	want := a.Patient
	var out []dicom.Change
	set := func(tag dicom.Tag, vr dicom.VR, value string) {
		out = append(out, dicom.Change{Tag: tag, VR: vr, Value: value, Plain: pacs.InASCII(value)})
	}
	if nameKey(said.Name) != nameKey(want.Name) {
		set(dicom.TagPatientName, dicom.PN, want.Name)
	}
	if said.PatientID != want.PatientID {
		set(dicom.TagPatientID, dicom.LO, want.PatientID)
	}
	switch {
	case said.Issuer == want.Issuer:
	case want.Issuer == a.Facility: // goes without saying
		out = append(out, dicom.Change{Tag: dicom.TagIssuerOfPatientID, VR: dicom.LO, Remove: true})
	default:
		set(dicom.TagIssuerOfPatientID, dicom.LO, want.Issuer)
	}
	if said.BirthDate != want.BirthDate {
		set(dicom.TagPatientBirthDate, dicom.DA, want.BirthDate)
	}
	if said.Sex != want.Sex {
		set(dicom.TagPatientSex, dicom.CS, want.Sex)
	}
	return out
}

// nameKey leaves out what carries no meaning in a name: blanks around, and
// delimiters behind, its parts (PS3.5 6.2.1.1).
func nameKey(pn string) string {
	groups := strings.Split(pn, "=")
	for i, g := range groups {
		groups[i] = strings.TrimLeft(strings.TrimRight(g, " ^"), " ")
	}
	return strings.TrimRight(strings.Join(groups, "="), "=")
}
