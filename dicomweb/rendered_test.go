package dicomweb

import (
	"bytes"
	"fmt"
	raster "image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/pixel/pixeltest"
)

// ramp is an image of 16 × 8 pixels of 8 bits, each as bright as its column times
// 16, frame after frame one brighter.
func ramp(study, series, instance string, number, frames int) *dicom.Dataset {
	ds := image(study, series, instance, number, frames)
	ds.SetInts(dicom.TagRows, dicom.US, 8).SetInts(dicom.TagColumns, dicom.US, 16)
	ds.SetInts(dicom.TagBitsAllocated, dicom.US, 8).SetInts(dicom.TagBitsStored, dicom.US, 8).SetInts(dicom.TagHighBit, dicom.US, 7)
	pixels := make([]byte, 16*8*frames)
	for i := range pixels {
		pixels[i] = byte(i%16*16 + i/(16*8))
	}
	return ds.SetBytes(dicom.TagPixelData, dicom.OB, pixels)
}

// pictures is an archive with two images in a series, the second with three
// frames, and a study that the caller doesn't see.
func pictures(t testing.TB) *archive {
	t.Helper()
	a := newArchive()
	a.put(t, partFile(t, ramp(ctStudy, ctSeries, "1.2.3.1.1", 1, 1), dicom.ExplicitVRLittleEndian))
	a.put(t, partFile(t, ramp(ctStudy, ctSeries, "1.2.3.1.2", 2, 3), dicom.ImplicitVRLittleEndian))
	a.put(t, partFile(t, ramp(otherUID, otherUID+".1", otherUID+".1.1", 1, 1), dicom.ExplicitVRLittleEndian))
	a.studies[1].Facility.ID = testFacility + 1
	return a
}

const (
	oneFrame    = "/studies/" + ctStudy + "/series/" + ctSeries + "/instances/1.2.3.1.1"
	threeFrames = "/studies/" + ctStudy + "/series/" + ctSeries + "/instances/1.2.3.1.2"
)

// pixelsOf decodes an answer that is a picture.
func pixelsOf(t testing.TB, contentType string, body []byte) raster.Image {
	t.Helper()
	decode := map[string]func(io.Reader) (raster.Image, error){mediaJPEG: jpeg.Decode, mediaPNG: png.Decode, mediaGIF: gif.Decode}[contentType]
	if decode == nil {
		t.Fatalf("a %q", contentType)
	}
	im, err := decode(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", contentType, err)
	}
	return im
}

func picture(t testing.TB, w *httptest.ResponseRecorder) raster.Image {
	t.Helper()
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return pixelsOf(t, w.Header().Get("Content-Type"), w.Body.Bytes())
}

func brightness(im raster.Image, x, y int) int {
	r, _, _, _ := im.At(x, y).RGBA()
	return int(r >> 8)
}

func TestRenderedTakesWhatIsAccepted(t *testing.T) {
	h := serve(pictures(t))
	for _, c := range []struct {
		target, accept, want string
	}{
		{oneFrame + "/rendered", "", mediaJPEG},
		{oneFrame + "/rendered", "*/*", mediaJPEG},
		{oneFrame + "/rendered", "image/*", mediaJPEG},
		{oneFrame + "/rendered", "image/png, image/jpeg;q=0.5", mediaPNG},
		{oneFrame + "/rendered", "text/html, image/gif", mediaGIF},
		{oneFrame + "/rendered?accept=image/png", "image/jpeg", mediaPNG},
		{oneFrame + "/frames/1/rendered", "image/png", mediaPNG},
		{threeFrames + "/rendered", "*/*", mediaJPEG},
		{threeFrames + "/frames/2/rendered", "image/jpeg", mediaJPEG},
	} {
		w := get(t, h, c.target, "Accept", c.accept)
		if im := picture(t, w); im.Bounds().Size() != raster.Pt(16, 8) || w.Header().Get("Content-Type") != c.want {
			t.Errorf("%s, %s: %s %v", c.target, c.accept, w.Header().Get("Content-Type"), im.Bounds())
		}
		if w.Header().Get("Content-Length") == "" || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %v", c.target, w.Header())
		}
	}
	w := get(t, h, oneFrame+"/rendered", "Accept", "image/tiff")
	want(t, w, 406)
	for _, media := range pictureMedia {
		if !strings.Contains(detail(t, w), media) {
			t.Errorf("%s isn't offered: %s", media, detail(t, w))
		}
	}
	// The same again is not sent, and not made.
	etag := get(t, h, oneFrame+"/rendered").Header().Get("ETag")
	want(t, get(t, h, oneFrame+"/rendered", "If-None-Match", etag), 304)
	if other := get(t, h, oneFrame+"/rendered?window=1,2,linear").Header().Get("ETag"); other == etag || other == "" {
		t.Errorf("ETag %q with another window", other)
	}
	if w := call(t, h, "HEAD", oneFrame+"/rendered", nil); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Type") != mediaJPEG {
		t.Errorf("HEAD: %d %v", w.Code, w.Header())
	}
}

func TestRenderedParameters(t *testing.T) {
	h := serve(pictures(t))
	at := func(query string) raster.Image {
		t.Helper()
		return picture(t, get(t, h, oneFrame+"/rendered?accept=image/png&"+query))
	}
	if im := at(""); brightness(im, 3, 0) != 48 || brightness(im, 15, 7) != 240 {
		t.Errorf("as stored: %d %d", brightness(im, 3, 0), brightness(im, 15, 7))
	}
	if im := at("window=48,1,linear"); brightness(im, 2, 0) != 0 || brightness(im, 3, 0) != 255 {
		t.Error("window")
	}
	// (64-128)/256+0.5 = 0.25
	if im := at("window=128,256,linear-exact"); brightness(im, 4, 0) != 64 {
		t.Errorf("linear-exact: %d", brightness(im, 4, 0))
	}
	if im := at("window=128,256,sigmoid"); brightness(im, 4, 0) != 69 { // 255/(1+e)
		t.Errorf("sigmoid: %d", brightness(im, 4, 0))
	}
	if im := at("viewport=8,8"); im.Bounds().Size() != raster.Pt(8, 4) {
		t.Errorf("viewport: %v", im.Bounds())
	}
	if im := at("viewport=32,100"); im.Bounds().Size() != raster.Pt(32, 16) {
		t.Errorf("a large viewport: %v", im.Bounds())
	}
	if im := at("viewport=4,4,8,2,4,4"); im.Bounds().Size() != raster.Pt(4, 4) || brightness(im, 0, 0) != 128 {
		t.Errorf("a part: %v %d", im.Bounds(), brightness(im, 0, 0))
	}
	if im := at("viewport=4,4,8,2,-4,4"); brightness(im, 3, 0) != 128 {
		t.Errorf("a mirrored part: %d", brightness(im, 3, 0))
	}
	if im := at("viewport=8,8,8"); im.Bounds().Size() != raster.Pt(8, 8) || brightness(im, 0, 0) != 128 {
		t.Errorf("the rest from a column: %v", im.Bounds())
	}
	if im := at("viewport=160,80&annotation=patient,technique"); brightness(im, 2, 40) == brightness(im, 0, 79) && !annotated(im) {
		t.Error("annotation")
	}
	small, large := get(t, h, oneFrame+"/rendered?quality=5"), get(t, h, oneFrame+"/rendered?quality=100")
	if small.Body.Len() >= large.Body.Len() {
		t.Errorf("quality 5 has %d bytes, 100 has %d", small.Body.Len(), large.Body.Len())
	}
	for _, query := range []string{
		"window=1", "window=a,b,linear", "window=1,0,linear", "window=1,-5,linear", "window=NaN,1,linear", "window=1,Inf,linear", "window=1,0.5,linear",
		"window=1,2,cubic", "window=1,2,linear,3", "viewport=0,1", "viewport=1", "viewport=-1,5", "viewport=99999999,1", "viewport=1,1,a", "viewport=1,1,0,0,0,1",
		"viewport=4,4,16,0", "viewport=4,4,8,0,9,1", "viewport=4,4,1e300,0", "quality=0", "quality=101", "quality=x", "annotation=everything", "iccprofile=maybe",
	} {
		want(t, get(t, h, oneFrame+"/rendered?"+query), 400)
	}
	want(t, get(t, h, oneFrame+"/rendered?iccprofile=srgb"), 406)
	want(t, get(t, h, oneFrame+"/rendered?iccprofile=yes&window=40,400"), 200)
}

// annotated says whether something bright is in the dark left upper corner.
func annotated(im raster.Image) bool {
	for y := range 30 {
		for x := range 8 {
			if brightness(im, x, y) > 150 {
				return true
			}
		}
	}
	return false
}

// partsOf reads a multipart answer of pictures.
func partsOf(t testing.TB, w *httptest.ResponseRecorder) (pictures []raster.Image, addresses []string) {
	t.Helper()
	media, params, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if w.Code != 200 || err != nil || media != "multipart/related" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for parts := multipart.NewReader(w.Body, params["boundary"]); ; {
		p, err := parts.NextPart()
		if err == io.EOF {
			return pictures, addresses
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, pixelsOf(t, p.Header.Get("Content-Type"), b))
		addresses = append(addresses, p.Header.Get("Content-Location"))
	}
}

func TestRenderedManyAtOnce(t *testing.T) {
	h := serve(pictures(t))
	for _, c := range []struct {
		target, accept string
		want           []int // brightness of the first pixel of each
	}{
		{"/studies/" + ctStudy + "/rendered", "*/*", []int{0, 1}},
		{"/studies/" + ctStudy + "/series/" + ctSeries + "/rendered", `multipart/related; type="image/png"`, []int{0, 1}},
		{threeFrames + "/rendered", `multipart/related; type="image/png"`, []int{0, 1, 2}},
		{threeFrames + "/frames/3,1/rendered", "image/png, multipart/related;type=image/png", []int{2, 0}},
		{threeFrames + "/frames/3,1/rendered", "", []int{2, 0}},
	} {
		w := get(t, h, c.target, "Accept", c.accept)
		parts, addresses := partsOf(t, w)
		var got []int
		for _, p := range parts {
			got = append(got, brightness(p, 0, 0))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.target, got, c.want)
		}
		for n, a := range addresses {
			_, path, _ := strings.Cut(a, "/dicom-web")
			if im := picture(t, get(t, h, path, "Accept", "image/png")); brightness(im, 0, 0) != c.want[n] {
				t.Errorf("%s is another picture", a)
			}
		}
		want(t, get(t, h, c.target, "Accept", c.accept, "If-None-Match", w.Header().Get("ETag")), 304)
		if w := call(t, h, "HEAD", c.target, nil); w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d", c.target, w.Code)
		}
	}
	// Several are not replaced by one.
	want(t, get(t, h, "/studies/"+ctStudy+"/rendered", "Accept", "image/jpeg"), 406)
	want(t, get(t, h, threeFrames+"/frames/1,2/rendered", "Accept", "image/jpeg"), 406)
	all, err := gif.DecodeAll(get(t, h, threeFrames+"/rendered", "Accept", "image/gif").Body)
	if err != nil || len(all.Image) != 3 || brightness(all.Image[2], 0, 0) != 2 {
		t.Fatalf("an animation: %v", err)
	}
}

func TestRenderedFailures(t *testing.T) {
	a := pictures(t)
	// A file whose codec nobody has, one that is damaged and one without pixels.
	a.put(t, partFile(t, ramp(ctStudy, "1.2.3.8", "1.2.3.8.1", 1, 1).Delete(dicom.TagPixelData), dicom.ExplicitVRLittleEndian))
	a.put(t, partFile(t, ramp(ctStudy, "1.2.3.9", "1.2.3.9.1", 1, 1).SetInts(dicom.TagSamplesPerPixel, dicom.US, 1).SetInts(dicom.TagHighBit, dicom.US, 30), dicom.ExplicitVRLittleEndian))
	h := serve(a)
	for target, status := range map[string]int{
		"/studies/" + otherUID + "/series/" + otherUID + ".1/instances/" + otherUID + ".1.1/rendered": 404,
		"/studies/" + otherUID + "/rendered":                                    404,
		"/studies/" + otherUID + "/thumbnail":                                   404,
		"/studies/" + ctStudy + "/series/1.2.3.8/instances/1.2.3.8.1/rendered":  406,
		"/studies/" + ctStudy + "/series/1.2.3.8/instances/1.2.3.8.1/thumbnail": 404,
		"/studies/" + ctStudy + "/series/1.2.3.8/rendered":                      406,
		"/studies/" + ctStudy + "/series/1.2.3.8/thumbnail":                     404,
		"/studies/" + ctStudy + "/series/1.2.3.9/instances/1.2.3.9.1/rendered":  406,
		threeFrames + "/frames/4/rendered":                                      404,
		threeFrames + "/frames/0/rendered":                                      400,
		threeFrames + "/frames/x/rendered":                                      400,
		threeFrames + "/frames/4/thumbnail":                                     404,
		oneFrame + "0/rendered":                                                 404,
	} {
		if w := get(t, h, target); w.Code != status || detail(t, w) == "" {
			t.Errorf("%s: %d, want %d: %s", target, w.Code, status, w.Body)
		}
	}
	want(t, get(t, h, oneFrame+"/rendered", "Authorization", "none"), 401)
	a.openErr = errTest
	want(t, get(t, h, oneFrame+"/rendered"), 500)
	a.openErr = nil
	want(t, get(t, h, oneFrame+"/rendered"), 200)
	if a.opened != 0 {
		t.Errorf("%d readers are open", a.opened)
	}
}

func TestThumbnails(t *testing.T) {
	a := pictures(t)
	big := ramp(ctStudy, "1.2.3.7", "1.2.3.7.1", 1, 1)
	big.SetInts(dicom.TagRows, dicom.US, 300).SetInts(dicom.TagColumns, dicom.US, 600)
	big.SetBytes(dicom.TagPixelData, dicom.OB, bytes.Repeat([]byte{100}, 300*600))
	a.put(t, partFile(t, big, dicom.ExplicitVRLittleEndian))
	h := serve(a)
	bigImage := "/studies/" + ctStudy + "/series/1.2.3.7"
	for target, want := range map[string]raster.Point{
		bigImage + "/thumbnail":                                      {256, 128},
		bigImage + "/thumbnail?viewport=64,64":                       {64, 32},
		bigImage + "/instances/1.2.3.7.1/thumbnail":                  {256, 128},
		bigImage + "/instances/1.2.3.7.1/frames/1/thumbnail":         {256, 128},
		threeFrames + "/thumbnail":                                   {16, 8}, // not enlarged
		"/studies/" + ctStudy + "/thumbnail":                         {16, 8},
		"/studies/" + ctStudy + "/series/" + ctSeries + "/thumbnail": {16, 8},
	} {
		w := get(t, h, target)
		if im := picture(t, w); im.Bounds().Size() != want || w.Header().Get("Content-Type") != mediaJPEG {
			t.Errorf("%s: %v, want %v", target, im.Bounds(), want)
		}
		immutable := strings.Contains(w.Header().Get("Cache-Control"), "immutable")
		if immutable != strings.Contains(target, "/instances/") {
			t.Errorf("%s: %s", target, w.Header().Get("Cache-Control"))
		}
		if w := get(t, h, target, "If-None-Match", w.Header().Get("ETag")); w.Code != 304 {
			t.Errorf("%s again: %d", target, w.Code)
		}
	}
	// The middle one of three frames.
	if im := picture(t, get(t, h, threeFrames+"/thumbnail", "Accept", "image/png")); brightness(im, 0, 0) != 1 {
		t.Errorf("frame %d", brightness(im, 0, 0))
	}
	want(t, get(t, h, bigImage+"/thumbnail", "Accept", "text/plain"), 406)
	want(t, get(t, h, bigImage+"/thumbnail?viewport=0,0"), 400)
	want(t, get(t, h, bigImage+"/thumbnail?viewport=64,64,1,1,2,2"), 400)
}

func TestRenderedPresentationState(t *testing.T) {
	a := pictures(t)
	reference := func(instance string) *dicom.Dataset {
		return (&dicom.Dataset{}).SetString(dicom.TagReferencedSOPClassUID, dicom.UI, ctClass).SetString(dicom.TagReferencedSOPInstanceUID, dicom.UI, instance)
	}
	state := func(instance, refers string) *dicom.Dataset {
		ds := image(ctStudy, "1.2.3.5", instance, 1, 1)
		for _, tag := range []dicom.Tag{dicom.TagPixelData, dicom.TagRows, dicom.TagColumns, dicom.TagBitsAllocated} {
			ds.Delete(tag)
		}
		ds.SetString(dicom.TagSOPClassUID, dicom.UI, dicom.GrayscalePresentationStorage)
		series := (&dicom.Dataset{}).SetString(dicom.TagSeriesInstanceUID, dicom.UI, ctSeries)
		ds.SetSequence(dicom.TagReferencedSeriesSequence, series.SetSequence(dicom.TagReferencedImageSequence, reference(refers)))
		ds.SetString(dicom.TagPresentationLUTShape, dicom.CS, "INVERSE")
		ds.SetInts(dicom.TagImageRotation, dicom.US, 90)
		ds.SetString(dicom.TagImageHorizontalFlip, dicom.CS, "N")
		return ds
	}
	a.put(t, partFile(t, state("1.2.3.5.1", "1.2.3.1.1"), dicom.ExplicitVRLittleEndian))
	a.put(t, partFile(t, state("1.2.3.5.2", "1.2.3.4.5.6"), dicom.ExplicitVRLittleEndian))
	h := serve(a)
	const at = "/studies/" + ctStudy + "/series/1.2.3.5/instances/1.2.3.5.1"
	// Turned clockwise: the dark left edge, inverted, is on top.
	check := func(im raster.Image) {
		t.Helper()
		if im.Bounds().Size() != raster.Pt(8, 16) || brightness(im, 0, 0) != 255 || brightness(im, 7, 15) != 15 {
			t.Errorf("%v %d %d", im.Bounds(), brightness(im, 0, 0), brightness(im, 7, 15))
		}
	}
	check(picture(t, get(t, h, at+"/rendered", "Accept", "image/png")))
	check(picture(t, get(t, h, at+"/thumbnail", "Accept", "image/png")))
	wado := "/wado?requestType=WADO&studyUID=" + ctStudy + "&seriesUID=" + ctSeries + "&objectUID=1.2.3.1.1&contentType=image/png&presentationSeriesUID=1.2.3.5&presentationUID="
	check(picture(t, get(t, h, wado+"1.2.3.5.1")))
	want(t, get(t, h, wado+"1.2.3.5.2"), 404) // for another image
	want(t, get(t, h, wado+"1.2.3.5.9"), 404)
	want(t, get(t, h, wado+"1.2.3.5.1&windowCenter=1&windowWidth=2"), 400)
	want(t, get(t, h, "/studies/"+ctStudy+"/series/1.2.3.5/instances/1.2.3.5.2/rendered"), 406)
}

func TestRenderedDocuments(t *testing.T) {
	a := newArchive()
	document := image(ctStudy, ctSeries, "1.2.3.1.7", 1, 1).Delete(dicom.TagPixelData).Delete(dicom.TagRows).Delete(dicom.TagColumns)
	document.SetString(dicom.TagSOPClassUID, dicom.UI, dicom.EncapsulatedPDFStorage)
	pdf := append([]byte("%PDF-1.4 "), bytes.Repeat([]byte("x"), 200_002)...)
	document.SetInts(dicom.TagEncapsulatedDocumentLength, dicom.UL, len(pdf))
	document.SetBytes(dicom.TagEncapsulatedDocument, dicom.OB, append(bytes.Clone(pdf), 0))
	a.put(t, partFile(t, document, dicom.ExplicitVRLittleEndian))

	code := func(meaning string) *dicom.Dataset {
		return (&dicom.Dataset{}).SetString(dicom.TagCodeMeaning, dicom.LO, meaning)
	}
	item := func(kind, name string) *dicom.Dataset {
		return (&dicom.Dataset{}).SetString(dicom.TagValueType, dicom.CS, kind).SetSequence(dicom.TagConceptNameCodeSequence, code(name))
	}
	report := image(ctStudy, ctSeries, "1.2.3.1.8", 1, 1).Delete(dicom.TagPixelData).Delete(dicom.TagRows).Delete(dicom.TagColumns)
	report.SetString(dicom.TagSOPClassUID, dicom.UI, dicom.BasicTextSRStorage)
	report.SetSequence(dicom.TagConceptNameCodeSequence, code("Xulosa"))
	report.SetSequence(dicom.TagContentSequence,
		item("TEXT", "Finding").SetString(dicom.TagTextValue, dicom.UT, "<script>alert(1)</script> Ўзгариш йўқ"),
		item("NUM", "Length").SetSequence(dicom.TagMeasuredValueSequence, (&dicom.Dataset{}).SetString(dicom.TagNumericValue, dicom.DS, "12.5").
			SetSequence(dicom.TagMeasurementUnitsCodeSequence, (&dicom.Dataset{}).SetString(dicom.TagCodeValue, dicom.SH, "mm"))))
	a.put(t, partFile(t, report, dicom.ExplicitVRLittleEndian))
	h := serve(a)
	const at = "/studies/" + ctStudy + "/series/" + ctSeries + "/instances/"
	w := get(t, h, at+"1.2.3.1.7/rendered", "Accept", "application/pdf")
	if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), pdf) || w.Header().Get("Content-Type") != mediaPDF {
		t.Errorf("%d %v, %d bytes of %d", w.Code, w.Header(), w.Body.Len(), len(pdf))
	}
	if w := get(t, h, at+"1.2.3.1.7/rendered", "Range", "bytes=0-3"); w.Code != 206 || w.Body.String() != "%PDF" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	want(t, get(t, h, at+"1.2.3.1.7/rendered", "Accept", "image/jpeg"), 406)
	w = get(t, h, at+"1.2.3.1.8/rendered")
	page := w.Body.String()
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), mediaHTML) || strings.Contains(page, "<script") ||
		!strings.Contains(page, "Ўзгариш йўқ") || !strings.Contains(page, "12.5 mm") || !strings.Contains(page, "Xulosa") || !strings.Contains(page, "Каримов Алишер") {
		t.Errorf("%d %v %s", w.Code, w.Header(), page)
	}
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), "sandbox") {
		t.Error("the page may run scripts")
	}
	want(t, get(t, h, at+"1.2.3.1.8/rendered", "Accept", "application/pdf"), 406)
}

func TestRenderedVideo(t *testing.T) {
	a := newArchive()
	ds := image(ctStudy, ctSeries, "1.2.3.1.6", 1, 40).Delete(dicom.TagPixelData)
	const h264 = "1.2.840.10008.1.2.4.102"
	file := partFile(t, ds, h264)
	movie := append([]byte{0, 0, 0, 24, 'f', 't', 'y', 'p', 'i', 's', 'o', 'm'}, bytes.Repeat([]byte("frames "), 1000)...)
	// (7FE0,0010) OB of undefined length: an empty offset table and two fragments.
	file = append(file, 0xE0, 0x7F, 0x10, 0, 'O', 'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0)
	for _, part := range [][]byte{movie[:1000], movie[1000:]} {
		file = append(file, 0xFE, 0xFF, 0, 0xE0, byte(len(part)), byte(len(part)>>8), 0, 0)
		file = append(file, part...)
	}
	file = append(file, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0)
	a.put(t, file)
	h := serve(a)
	const at = "/studies/" + ctStudy + "/series/" + ctSeries + "/instances/1.2.3.1.6"
	w := get(t, h, at+"/rendered", "Accept", "video/mp4")
	if w.Code != 200 || w.Header().Get("Content-Type") != "video/mp4" || !bytes.Equal(w.Body.Bytes(), movie) {
		t.Fatalf("%d %v %d bytes", w.Code, w.Header(), w.Body.Len())
	}
	if w := get(t, h, at+"/rendered", "Range", "bytes=998-1001"); w.Code != 206 || w.Body.String() != string(movie[998:1002]) {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	want(t, get(t, h, at+"/rendered", "Accept", "image/jpeg"), 406)
	want(t, get(t, h, at+"/thumbnail"), 406)
}

func TestWADOURI(t *testing.T) {
	h := serve(pictures(t))
	const one = "/wado?requestType=WADO&studyUID=" + ctStudy + "&seriesUID=" + ctSeries + "&objectUID=1.2.3.1.1"
	const three = "/wado?requestType=WADO&studyUID=" + ctStudy + "&seriesUID=" + ctSeries + "&objectUID=1.2.3.1.2"
	for _, c := range []struct {
		query, media string
		size         raster.Point
		x, y, want   int
	}{
		{one, mediaJPEG, raster.Pt(16, 8), 0, 0, 0},
		{one + "&contentType=image%2Fpng", mediaPNG, raster.Pt(16, 8), 3, 0, 48},
		{one + "&contentType=image/png&rows=4", mediaPNG, raster.Pt(8, 4), 0, 0, 8},
		{one + "&contentType=image/png&columns=8&rows=100", mediaPNG, raster.Pt(8, 4), 0, 0, 8},
		{one + "&contentType=image/png&region=0.5,0,1,1", mediaPNG, raster.Pt(8, 8), 0, 0, 128},
		{one + "&contentType=image/png&windowCenter=48&windowWidth=1", mediaPNG, raster.Pt(16, 8), 3, 0, 255},
		{three + "&contentType=image/png&frameNumber=3", mediaPNG, raster.Pt(16, 8), 0, 0, 2},
		{three + "&frameNumber=3&annotation=patient&imageQuality=50", mediaJPEG, raster.Pt(16, 8), -1, 0, 0},
	} {
		w := get(t, h, c.query)
		im := picture(t, w)
		if w.Header().Get("Content-Type") != c.media || im.Bounds().Size() != c.size || c.x >= 0 && brightness(im, c.x, c.y) != c.want {
			t.Errorf("%s: %s %v %d", c.query, w.Header().Get("Content-Type"), im.Bounds(), brightness(im, max(c.x, 0), c.y))
		}
	}
	for _, query := range []string{one + "&contentType=application/dicom", one + "&contentType=application/dicom&transferSyntax=" + dicom.ExplicitVRLittleEndian, three} {
		w := get(t, h, query)
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), mediaDICOM) || !bytes.Contains(w.Body.Bytes()[:132], []byte("DICM")) {
			t.Errorf("%s: %d %v", query, w.Code, w.Header())
		}
	}
	for query, status := range map[string]int{
		"/wado": 400, "/wado?requestType=WADO": 400, "/wado?requestType=WADO&studyUID=1&seriesUID=1&objectUID=..%2F": 400,
		one + "&anonymize=yes": 400, one + "&contentType=image/tiff": 406, one + "&rows=0": 400, one + "&rows=x": 400, one + "&region=0,0,2,1": 400,
		one + "&region=0.5,0,0.5,1": 400, one + "&region=0,0,1": 400, one + "&windowCenter=1": 400, one + "&windowCenter=1&windowWidth=0": 400,
		one + "&imageQuality=0": 400, one + "&annotation=all": 400, three + "&frameNumber=4": 404, three + "&frameNumber=0": 400,
		one + "&presentationUID=1.2": 400, one + "&contentType=application/dicom&transferSyntax=x": 400, strings.ReplaceAll(one, "1.2.3.1.1", "1.2.3.1.9"): 404,
		"/wado?requestType=WADO&studyUID=" + otherUID + "&seriesUID=" + otherUID + ".1&objectUID=" + otherUID + ".1.1": 404,
	} {
		if w := get(t, h, query); w.Code != status {
			t.Errorf("%s: %d, want %d: %s", query, w.Code, status, w.Body)
		}
	}
}

// Many at once, most of whom go away: nothing hangs, and no place is lost.
func TestRenderingsAreBounded(t *testing.T) {
	a := pictures(t)
	server := httptest.NewServer(serve(a))
	defer server.Close()
	client := &http.Client{}
	for range 50 {
		resp, err := client.Get(server.URL + "/dicom-web" + threeFrames + "/rendered?accept=multipart/related;type=image/jpeg")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	resp, err := client.Get(server.URL + "/dicom-web" + oneFrame + "/rendered")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
}

// Sample files with pixels that no picture is made of, and why: see also the table
// in package render.
var pictureless = map[string]bool{
	"pydicom/test_files/JPEG2000-embedded-sequence-delimiter.dcm": true, // claims 3,722,445,056 columns
}

// Every sample file with pixels can be had as a picture and has a thumbnail.
func TestRenderedSamples(t *testing.T) {
	const folder = "../../shared/dicom"
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("sample files are absent: %v", err)
	}
	codecs := pixeltest.Codecs(t)
	shown := 0
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".tsv") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		a := newArchive()
		if _, err := a.Receive(t.Context(), pacs.Incoming{Data: bytes.NewReader(data)}); err != nil || a.instances[0].FrameCount == 0 {
			return nil
		}
		i := a.instances[0]
		if !uidPattern.MatchString(i.StudyInstanceUID) || !uidPattern.MatchString(i.SeriesInstanceUID) || i.Rows == 0 || i.FrameCount < 1 {
			return nil
		}
		h := serve(a, func(o *Options) { o.Codecs = codecs })
		at := "/studies/" + i.StudyInstanceUID + "/series/" + i.SeriesInstanceUID + "/instances/" + i.SOPInstanceUID
		name := strings.TrimPrefix(path, folder+"/")
		w := get(t, h, at+"/rendered?annotation=patient,technique")
		if pictureless[name] {
			if w.Code != 406 || detail(t, w) == "" {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
			return nil
		}
		if w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
			return nil
		}
		if size := picture(t, w).Bounds().Size(); size.X < i.Columns || size.Y < i.Rows || size.X > i.Columns && size.Y > i.Rows {
			t.Errorf("%s: %v of %d × %d", name, size, i.Columns, i.Rows)
		}
		if w = get(t, h, at+"/thumbnail"); w.Code != 200 {
			t.Errorf("%s: thumbnail: %d %s", name, w.Code, w.Body)
		} else if size := picture(t, w).Bounds().Size(); max(size.X, size.Y) > thumbnailSize {
			t.Errorf("%s: a thumbnail of %v", name, size)
		}
		shown++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%d files shown", shown); shown < 400 {
		t.Errorf("only %d files were shown", shown)
	}
}
