package dicomweb

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// archive is an Index, Packs and Receiver in memory, enough of them to test
// the protocol: matching by the keys that the tests use, pages, scopes.
type archive struct {
	mu        sync.Mutex
	studies   []pacs.Study
	series    []pacs.Series
	instances []pacs.Instance
	bytes     map[string][]byte          // of instances, by PackKey
	metadata  map[string]json.RawMessage // of instances, by PackKey

	lastStudy   pacs.StudyFilter // of the last call
	lastSeries  pacs.SeriesFilter
	lastImage   pacs.InstanceFilter
	lastArrival pacs.Incoming
	receiveErr  error // returned instead of receiving
	openErr     error
	opened      int     // readers not closed
	asked       []int64 // bytes of each reader that was opened
}

const testFacility = 7

var testScope = pacs.Scope{Who: "token:test", FacilityIDs: []int64{testFacility}}

func newArchive() *archive {
	return &archive{bytes: map[string][]byte{}, metadata: map[string]json.RawMessage{}}
}

// page cuts rows as an index does; its cursors are "n:" and a row number.
func page[T any](rows []T, p pacs.Page) ([]T, string, error) {
	from := p.Offset
	if p.After != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(p.After, "n:"))
		if err != nil {
			return nil, "", pacs.Errorf(pacs.Invalid, "The page marker is not one of ours.")
		}
		from = n
	}
	from = min(from, len(rows))
	to := len(rows)
	if p.Limit > 0 {
		to = min(to, from+p.Limit)
	}
	next := ""
	if to < len(rows) {
		next = "n:" + strconv.Itoa(to)
	}
	return rows[from:to], next, nil
}

func listed(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }

func (a *archive) study(scope pacs.Scope, f pacs.StudyFilter) (out []pacs.Study) {
	for _, s := range a.studies {
		if scope.Sees(s.Facility.ID) && listed(f.StudyInstanceUIDs, s.StudyInstanceUID) &&
			(f.PatientID == "" || f.PatientID == s.Patient.PatientID) {
			out = append(out, s)
		}
	}
	return out
}

func (a *archive) Studies(_ context.Context, scope pacs.Scope, f pacs.StudyFilter) ([]pacs.Study, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastStudy = f
	return page(a.study(scope, f), f.Page)
}

func (a *archive) seriesIn(scope pacs.Scope, f pacs.SeriesFilter) (out []pacs.Series) {
	studies := a.study(scope, f.Study)
	for _, s := range a.series {
		if listed(f.SeriesInstanceUIDs, s.SeriesInstanceUID) && (f.Modality == "" || f.Modality == s.Modality) &&
			slices.ContainsFunc(studies, func(st pacs.Study) bool { return st.StudyInstanceUID == s.StudyInstanceUID }) {
			out = append(out, s)
		}
	}
	return out
}

func (a *archive) Series(_ context.Context, scope pacs.Scope, f pacs.SeriesFilter) ([]pacs.Series, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastSeries = f
	return page(a.seriesIn(scope, f), f.Page)
}

func (a *archive) Instances(_ context.Context, scope pacs.Scope, f pacs.InstanceFilter) ([]pacs.Instance, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastImage = f
	series := a.seriesIn(scope, f.Series)
	var out []pacs.Instance
	for _, i := range a.instances {
		if listed(f.SOPInstanceUIDs, i.SOPInstanceUID) && listed(f.SOPClassUIDs, i.SOPClassUID) &&
			slices.ContainsFunc(series, func(s pacs.Series) bool {
				return s.SeriesInstanceUID == i.SeriesInstanceUID && s.StudyInstanceUID == i.StudyInstanceUID
			}) {
			out = append(out, i)
		}
	}
	return page(out, f.Page)
}

func (a *archive) FrameMap(_ context.Context, i pacs.Instance) (pacs.FrameMap, error) {
	return i.Location.PixelData.FrameMap, nil
}

type openedPack struct {
	io.Reader
	closed func()
}

func (o *openedPack) Close() error { o.closed(); return nil }

func (a *archive) Open(ctx context.Context, loc pacs.Location, offset, length int64) (io.ReadCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.openErr != nil {
		return nil, a.openErr
	}
	if length < 0 {
		length = int64(len(a.bytes[loc.PackKey])) - offset
	}
	return a.open(loc.PackKey, offset, length)
}

func (a *archive) OpenRange(_ context.Context, packKey string, offset, length int64) (io.ReadCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.openErr != nil {
		return nil, a.openErr
	}
	return a.open(packKey, offset, length)
}

func (a *archive) open(packKey string, offset, length int64) (io.ReadCloser, error) {
	b := a.bytes[packKey]
	if offset < 0 || offset > int64(len(b)) || length > int64(len(b))-offset {
		return nil, fmt.Errorf("test: %d+%d is outside of %d bytes", offset, length, len(b))
	}
	a.opened++
	a.asked = append(a.asked, length)
	return &openedPack{bytes.NewReader(b[offset : offset+length]), sync.OnceFunc(func() {
		a.mu.Lock()
		a.opened--
		a.mu.Unlock()
	})}, nil
}

func (a *archive) Instance(_ context.Context, i pacs.Instance) (pacs.File, error) {
	return pacs.File{Length: i.Location.Length, Open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		return a.Open(ctx, i.Location, offset, length)
	}}, nil
}

func (a *archive) Metadata(_ context.Context, scope pacs.Scope, study, series string) (*pacs.SeriesMetadata, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seriesIn(scope, pacs.SeriesFilter{Study: pacs.StudyFilter{StudyInstanceUIDs: []string{study}}, SeriesInstanceUIDs: []string{series}})) == 0 {
		return nil, pacs.Errorf(pacs.NotFound, "There is no such series.")
	}
	var list []json.RawMessage
	for _, i := range a.instances {
		if i.StudyInstanceUID == study && i.SeriesInstanceUID == series {
			list = append(list, a.metadata[i.Location.PackKey])
		}
	}
	array, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(array)
	z.Close()
	return &pacs.SeriesMetadata{Body: io.NopCloser(&b), Length: int64(b.Len()), ETag: fmt.Sprintf("%x", sha256.Sum256(array))[:12]}, nil
}

// Receive keeps a file the way the archive does, as far as reading it back
// needs.
func (a *archive) Receive(_ context.Context, in pacs.Incoming) (pacs.Receipt, error) {
	a.mu.Lock()
	err := a.receiveErr
	a.lastArrival = in
	a.mu.Unlock()
	if err != nil {
		return pacs.Receipt{}, err
	}
	var b bytes.Buffer
	h, err := dicom.Scan(io.TeeReader(in.Data, &b), dicom.ScanOptions{})
	if err != nil {
		return pacs.Receipt{}, pacs.Wrap(pacs.Invalid, err, "Not a data set that can be kept.")
	}
	i, err := a.add(h, b.Bytes(), in)
	if err != nil {
		return pacs.Receipt{}, err
	}
	return pacs.Receipt{
		StudyInstanceUID: i.StudyInstanceUID, SeriesInstanceUID: i.SeriesInstanceUID, SOPInstanceUID: i.SOPInstanceUID,
		SOPClassUID: i.SOPClassUID, TransferSyntaxUID: i.TransferSyntaxUID, Bytes: int64(b.Len()),
	}, nil
}

func (a *archive) add(h *dicom.Header, file []byte, in pacs.Incoming) (pacs.Instance, error) {
	ds := h.Dataset
	i := pacs.Instance{
		StudyInstanceUID:  ds.String(dicom.TagStudyInstanceUID),
		SeriesInstanceUID: ds.String(dicom.TagSeriesInstanceUID),
		SOPInstanceUID:    ds.String(dicom.TagSOPInstanceUID),
		SOPClassUID:       ds.String(dicom.TagSOPClassUID),
		TransferSyntaxUID: h.TransferSyntax,
		Version:           1,
		Attributes:        dicom.AppendJSON(nil, ds.Select(dicom.TagImageType, dicom.TagBitsAllocated), dicom.JSONOptions{}),
	}
	if i.SOPInstanceUID == "" {
		return i, pacs.Errorf(pacs.Invalid, "The data set has no SOP Instance UID (0008,0018).")
	}
	if in.StudyInstanceUID != "" && in.StudyInstanceUID != i.StudyInstanceUID {
		return i, pacs.Errorf(pacs.Invalid, "The instance belongs to another study than the one it was sent to.").WithReason(pacs.ReasonOtherStudy, "")
	}
	sum := sha256.Sum256(file)
	i.SHA256 = sum[:]
	i.Rows, _ = ds.Int(dicom.TagRows)
	i.Columns, _ = ds.Int(dicom.TagColumns)
	if n, ok := ds.Int(dicom.TagInstanceNumber); ok {
		i.Number = &n
	}
	key := i.SOPInstanceUID
	i.Location = pacs.Location{PackKey: key, Length: int64(len(file)), DatasetOffset: h.DatasetOffset}
	if px := h.PixelData; px != nil {
		loc := &pacs.PixelLocation{Offset: px.Offset, Length: px.Length, Encapsulated: px.Encapsulated, Deflated: h.Deflated}
		i.FrameCount = 1
		if n, ok := ds.Int(dicom.TagNumberOfFrames); ok {
			i.FrameCount = n
		}
		if frames, err := h.Frames(); err == nil {
			if !px.Encapsulated {
				loc.FrameLength = frames[0][0].Length
			} else {
				ranges := make([][]pacs.Range, len(frames))
				for i, frame := range frames {
					for _, r := range frame {
						ranges[i] = append(ranges[i], pacs.Range(r))
					}
				}
				loc.SetFrames(ranges)
			}
		}
		i.Location.PixelData = loc
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes[key] = file
	a.metadata[key] = dicom.AppendJSON(nil, ds, dicom.JSONOptions{BulkURI: func(path string, r dicom.Range) string {
		if path == "7FE00010" && h.PixelData.Encapsulated {
			r.Length = -1
		}
		return fmt.Sprintf("/dicom-web/studies/%s/series/%s/instances/%s/bulkdata/%s?offset=%d&length=%d",
			i.StudyInstanceUID, i.SeriesInstanceUID, i.SOPInstanceUID, path, r.Offset, r.Length)
	}})
	a.instances = append(slices.DeleteFunc(a.instances, func(o pacs.Instance) bool { return o.SOPInstanceUID == i.SOPInstanceUID }), i)
	st := slices.IndexFunc(a.studies, func(s pacs.Study) bool { return s.StudyInstanceUID == i.StudyInstanceUID })
	if st < 0 {
		st = len(a.studies)
		a.studies = append(a.studies, pacs.Study{
			StudyInstanceUID: i.StudyInstanceUID, Facility: pacs.Facility{ID: testFacility},
			Patient: pacs.Patient{
				Issuer: "HOSPITAL", PatientID: ds.String(dicom.TagPatientID), Name: ds.String(dicom.TagPatientName),
				Sex: ds.String(dicom.TagPatientSex), BirthDate: ds.String(dicom.TagPatientBirthDate),
			},
			Date: ds.String(dicom.TagStudyDate), Time: ds.String(dicom.TagStudyTime), AccessionNumber: ds.String(dicom.TagAccessionNumber),
			StudyID: ds.String(dicom.TagStudyID), Description: ds.String(dicom.TagStudyDescription),
			ReferringPhysician: ds.String(dicom.TagReferringPhysicianName),
			UpdatedAt:          time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC),
			Attributes:         dicom.AppendJSON(nil, ds.Select(dicom.TagInstitutionName, dicom.TagTimezoneOffsetFromUTC), dicom.JSONOptions{}),
		})
	}
	se := slices.IndexFunc(a.series, func(s pacs.Series) bool {
		return s.SeriesInstanceUID == i.SeriesInstanceUID && s.StudyInstanceUID == i.StudyInstanceUID
	})
	if se < 0 {
		se = len(a.series)
		row := pacs.Series{
			StudyInstanceUID: i.StudyInstanceUID, SeriesInstanceUID: i.SeriesInstanceUID,
			Modality: ds.String(dicom.TagModality), Description: ds.String(dicom.TagSeriesDescription), BodyPart: ds.String(dicom.TagBodyPartExamined),
			Attributes: dicom.AppendJSON(nil, ds.Select(dicom.TagSeriesDate, dicom.TagProtocolName), dicom.JSONOptions{}),
		}
		if n, ok := ds.Int(dicom.TagSeriesNumber); ok {
			row.Number = &n
		}
		a.series = append(a.series, row)
		a.studies[st].SeriesCount++
		if !slices.Contains(a.studies[st].Modalities, row.Modality) {
			a.studies[st].Modalities = append(a.studies[st].Modalities, row.Modality)
		}
	}
	a.series[se].InstanceCount++
	a.studies[st].InstanceCount++
	return i, nil
}

// problemDetails answers errors as the real server does.
func problemDetails(c *gin.Context, err error) {
	c.Abort()
	if c.Writer.Written() {
		panic(http.ErrAbortHandler)
	}
	status, ok := map[pacs.Code]int{
		pacs.Invalid: 400, pacs.Unauthenticated: 401, pacs.Forbidden: 403, pacs.NotFound: 404, pacs.TooLarge: 413,
		pacs.Unsupported: 415, pacs.NotAcceptable: 406, pacs.OutOfResources: 507, pacs.Unavailable: 503,
	}[pacs.CodeOf(err)]
	if !ok {
		status = 500
	}
	c.Header("Content-Type", "application/problem+json")
	c.JSON(status, map[string]any{"status": status, "code": pacs.CodeOf(err), "detail": pacs.MessageOf(err)})
}

// serve mounts the service over an archive; edit may change the options.
func serve(a *archive, edit ...func(*Options)) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	o := Options{
		Workitems: struct{ Workitems }{}, // routes without anything behind them
		Index:     a, Packs: a, Receiver: a, Problem: problemDetails,
		Identity: func(c *gin.Context) (pacs.Scope, string, string, string, bool) {
			return testScope, "test", "HOSPITAL", "windows-1251", c.GetHeader("Authorization") != "none"
		},
	}
	for _, e := range edit {
		e(&o)
	}
	engine := gin.New()
	Register(engine.Group("/dicom-web"), o)
	return engine
}

// call makes a request; headers are name, value, name, value.
func call(t *testing.T, h http.Handler, method, target string, body io.Reader, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://pacs.test/dicom-web"+target, body)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get(t *testing.T, h http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return call(t, h, "GET", target, nil, headers...)
}

// want fails the test unless the answer has the status.
func want(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, clip(w.Body.String())+w.Body.String()[:min(w.Body.Len(), 400)])
	}
}

// detail is the text of a problem.
func detail(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var p struct{ Detail string }
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("not a problem: %v: %s", err, w.Body)
	}
	return p.Detail
}

// UIDs of what the tests store.
const (
	ctStudy  = "1.2.3"
	ctSeries = "1.2.3.1"
	otherUID = "1.2.9"
	ctClass  = "1.2.840.10008.5.1.4.1.1.2"
)

// image is a data set with 2 x 2 pixels of 16 bits per frame.
func image(study, series, instance string, number, frames int) *dicom.Dataset {
	ds := &dicom.Dataset{}
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, ctClass)
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, instance)
	ds.SetString(dicom.TagStudyDate, dicom.DA, "20261120")
	ds.SetString(dicom.TagStudyTime, dicom.TM, "101500")
	ds.SetString(dicom.TagAccessionNumber, dicom.SH, "A1")
	ds.SetString(dicom.TagModality, dicom.CS, "CT")
	ds.SetString(dicom.TagReferringPhysicianName, dicom.PN, "Усмонов^Дилшод")
	ds.SetString(dicom.TagStudyDescription, dicom.LO, "Бош мия КТ")
	ds.SetString(dicom.TagSeriesDescription, dicom.LO, "Axial 5mm")
	ds.SetString(dicom.TagInstitutionName, dicom.LO, "Shifo")
	ds.SetString(dicom.TagProtocolName, dicom.LO, "Head routine")
	ds.SetString(dicom.TagPatientName, dicom.PN, "Каримов^Алишер")
	ds.SetString(dicom.TagPatientID, dicom.LO, "12345")
	ds.SetString(dicom.TagPatientBirthDate, dicom.DA, "19700102")
	ds.SetString(dicom.TagPatientSex, dicom.CS, "M")
	ds.SetString(dicom.TagBodyPartExamined, dicom.CS, "HEAD")
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, study)
	ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, series)
	ds.SetString(dicom.TagStudyID, dicom.SH, "S1")
	ds.SetInts(dicom.TagSeriesNumber, dicom.IS, 2)
	ds.SetInts(dicom.TagInstanceNumber, dicom.IS, number)
	ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1)
	ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, "MONOCHROME2")
	if frames > 1 {
		ds.SetInts(dicom.TagNumberOfFrames, dicom.IS, frames)
	}
	ds.SetInts(dicom.TagRows, dicom.US, 2)
	ds.SetInts(dicom.TagColumns, dicom.US, 2)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 16)
	pixels := make([]byte, 8*frames)
	for i := range pixels {
		pixels[i] = byte(i + 16*number)
	}
	return ds.SetBytes(dicom.TagPixelData, dicom.OW, pixels)
}

// partFile encodes a data set as a PS3.10 file.
func partFile(t testing.TB, ds *dicom.Dataset, transferSyntax string) []byte {
	t.Helper()
	b := dicom.AppendFileMeta(nil, dicom.FileMeta{
		SOPClassUID: ds.String(dicom.TagSOPClassUID), SOPInstanceUID: ds.String(dicom.TagSOPInstanceUID), TransferSyntaxUID: transferSyntax,
	})
	encoding := transferSyntax
	if ts, _ := dicom.LookupTransferSyntax(transferSyntax); ts.Encapsulated {
		encoding = dicom.ExplicitVRLittleEndian
	}
	b, err := dicom.AppendDataset(b, ds, encoding)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put stores a file in the archive, past the protocol.
func (a *archive) put(t testing.TB, file []byte) pacs.Receipt {
	t.Helper()
	r, err := a.Receive(context.Background(), pacs.Incoming{Data: bytes.NewReader(file)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// twoImages is an archive with a CT series of two images, the second with
// three frames, and a study of a facility that the caller doesn't see.
func twoImages(t testing.TB) *archive {
	t.Helper()
	a := newArchive()
	a.put(t, partFile(t, image(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ImplicitVRLittleEndian))
	a.put(t, partFile(t, image(ctStudy, ctSeries, "1.2.3.1.2", 2, 3), dicom.ExplicitVRLittleEndian))
	a.put(t, partFile(t, image(otherUID, otherUID+".1", otherUID+".1.1", 1, 1), dicom.ExplicitVRLittleEndian))
	a.studies[1].Facility.ID = testFacility + 1
	return a
}

var errTest = errors.New("the store is down")
