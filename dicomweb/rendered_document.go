package dicomweb

import (
	"bytes"
	"context"
	"html/template"
	"io"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

const (
	mediaHTML = "text/html"
	mediaPDF  = "application/pdf"
)

// structured says whether an instance is a structured report or a list of key
// objects, by the SOP classes of PS3.4 B.5.
func structured(sopClass string) bool {
	return strings.HasPrefix(sopClass, "1.2.840.10008.5.1.4.1.1.88.")
}

// renderedDocument sends what is no image as people read it: a PDF as it is
// encapsulated, a structured report as a page.
func (s *service) renderedDocument(r *request, i pacs.Instance) error {
	ctx := r.Request.Context()
	switch {
	case i.SOPClassUID == dicom.EncapsulatedPDFStorage:
		if _, err := negotiate(r.Request, []offer{{media: mediaPDF}}); err != nil {
			return err
		}
		h, err := s.attributes(ctx, i)
		if err != nil {
			return err
		}
		c, err := s.encapsulatedDocument(ctx, i, h)
		if err != nil {
			return err
		}
		return s.send(r, answer{content: c, contentType: mediaPDF, etag: servedTag(i) + "-d"})
	case structured(i.SOPClassUID):
		o, err := negotiate(r.Request, []offer{{media: mediaHTML}})
		if err != nil {
			return err
		}
		// Nothing of the page may run or be fetched, whatever the report says.
		r.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
		return s.sendPicture(r, o.media+"; charset=utf-8", servedTag(i)+"-h"+renderingVersion, changing, func(ctx context.Context) ([]byte, error) {
			h, err := s.attributes(ctx, i)
			if err != nil {
				return nil, err
			}
			return reportPage(h.Dataset)
		})
	}
	return pacs.Errorf(pacs.NotAcceptable, "There is nothing to be seen of this instance: it has no pixel data, and is no presentation state, structured report or encapsulated PDF. Retrieve the instance itself.")
}

// encapsulatedDocument is the value of Encapsulated Document (0042,0011), without
// the byte that makes its length even.
func (s *service) encapsulatedDocument(ctx context.Context, i pacs.Instance, h *dicom.Header) (*content, error) {
	e, ok := h.Dataset.Get(dicom.TagEncapsulatedDocument)
	if !ok || e.Bulk == nil && len(e.Value) == 0 {
		return nil, pacs.Errorf(pacs.NotAcceptable, "The instance has no document in it.")
	}
	length := int64(len(e.Value))
	if e.Bulk != nil {
		length = e.Bulk.Length
	}
	if n, ok := h.Dataset.Int(dicom.TagEncapsulatedDocumentLength); ok && (int64(n) == length || int64(n) == length-1) {
		length = int64(n)
	}
	c := &content{}
	switch {
	case e.Bulk == nil:
		c.add(piece{size: length, text: string(e.Value[:length])})
	case h.Deflated:
		c.add(s.inflated(i.Location, e.Bulk.Offset, length))
	default:
		file, err := s.Packs.Instance(ctx, i)
		if err != nil {
			return nil, err
		}
		whole := piece{size: file.Length, open: file.Open}
		c.add(piece{size: length, open: func(ctx context.Context, from, n int64) (io.ReadCloser, error) {
			return whole.open(ctx, e.Bulk.Offset+from, n)
		}})
	}
	return c, nil
}

// Bounds of a page made of a report.
const (
	maxReportItems = 20_000
	maxReportDepth = 24
)

// reportItem is one content item of a structured report, PS3.3 C.17.3.
type reportItem struct {
	Name, Value string
	Items       []reportItem
}

// reportPage makes a page of a structured report.
func reportPage(ds *dicom.Dataset) ([]byte, error) {
	left := maxReportItems
	page := struct {
		Title, Patient, ID, Birth, Sex, Study, Date, State string
		Items                                              []reportItem
	}{
		Title:   meaning(ds.Item(dicom.TagConceptNameCodeSequence)),
		Patient: spokenName(ds.String(dicom.TagPatientName)), ID: ds.String(dicom.TagPatientID),
		Birth: day(ds.String(dicom.TagPatientBirthDate)), Sex: ds.String(dicom.TagPatientSex),
		Study: ds.String(dicom.TagStudyDescription), Date: day(ds.String(dicom.TagContentDate)),
		State: strings.Join(strings.Fields(ds.String(dicom.TagCompletionFlag)+" "+ds.String(dicom.TagVerificationFlag)), ", "),
		Items: contentItems(ds, maxReportDepth, &left),
	}
	if page.Title == "" {
		page.Title = "Structured report"
	}
	var b bytes.Buffer
	err := reportTemplate.Execute(&b, page)
	return b.Bytes(), err
}

func contentItems(ds *dicom.Dataset, depth int, left *int) (out []reportItem) {
	for _, item := range ds.Items(dicom.TagContentSequence) {
		if *left--; *left < 0 || depth == 0 {
			break
		}
		out = append(out, reportItem{
			Name:  meaning(item.Item(dicom.TagConceptNameCodeSequence)),
			Value: contentValue(item),
			Items: contentItems(item, depth-1, left),
		})
	}
	return out
}

// meaning is a code as people read it.
func meaning(code *dicom.Dataset) string {
	if m := code.String(dicom.TagCodeMeaning); m != "" {
		return m
	}
	return code.String(dicom.TagCodeValue)
}

// contentValue is the value of a content item by its Value Type (0040,A040).
func contentValue(item *dicom.Dataset) string {
	switch item.String(dicom.TagValueType) {
	case "TEXT":
		return item.Text(dicom.TagTextValue)
	case "CODE":
		return meaning(item.Item(dicom.TagConceptCodeSequence))
	case "NUM":
		measured := item.Item(dicom.TagMeasuredValueSequence)
		if measured == nil {
			return meaning(item.Item(dicom.TagNumericValueQualifierCodeSequence))
		}
		unit := measured.Item(dicom.TagMeasurementUnitsCodeSequence)
		text := measured.String(dicom.TagNumericValue)
		if u := unit.String(dicom.TagCodeValue); u != "" && u != "1" && !strings.HasPrefix(u, "{") {
			text += " " + u
		}
		return text
	case "PNAME":
		return spokenName(item.String(dicom.TagPersonName))
	case "DATE":
		return day(item.String(dicom.TagDate))
	case "TIME":
		return item.String(dicom.TagTime)
	case "DATETIME":
		return item.String(dicom.TagDateTime)
	case "UIDREF":
		return item.String(dicom.TagUID)
	case "IMAGE", "COMPOSITE", "WAVEFORM":
		return item.Item(dicom.TagReferencedSOPSequence).String(dicom.TagReferencedSOPInstanceUID)
	case "SCOORD", "SCOORD3D", "TCOORD":
		return strings.ToLower(item.String(dicom.TagGraphicType))
	}
	return ""
}

var reportTemplate = template.Must(template.New("report").Parse(`<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{{.Title}}</title>
<style>body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}h1{font-size:1.4em}dl{margin:0 0 0 1em}dt{font-weight:bold}dd{margin:0 0 .5em 1em;white-space:pre-wrap}p{color:#444}</style>
</head><body><h1>{{.Title}}</h1>
<p>{{.Patient}} {{.ID}} {{.Birth}} {{.Sex}}<br>{{.Study}} {{.Date}}<br>{{.State}}</p>
{{template "items" .Items}}</body></html>
{{define "items"}}{{if .}}<dl>{{range .}}<dt>{{.Name}}</dt><dd>{{.Value}}{{template "items" .Items}}</dd>{{end}}</dl>{{end}}{{end}}`))
