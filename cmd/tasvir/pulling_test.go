package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dicomtls/tlstest"
	"github.com/tasvir-pacs/tasvir/storage/s3/miniotest"
)

// puller is a client of DICOMweb.
type puller struct {
	http.Client
	base string
}

func (p *puller) get(path, accept string) (*http.Response, error) {
	r, err := http.NewRequest("GET", p.base+"/dicom-web"+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	return p.Do(r)
}

const (
	pulledSeries    = 20
	pulledInstances = 8
	pulledSide      = 512
)

func pulledStudy(series int) string { return fmt.Sprintf("2.25.77.%d", series) }

// pulledFile is one slice of 512 by 512 pixels.
func pulledFile(t *testing.T, series, number int) []byte {
	t.Helper()
	ds := &dicom.Dataset{}
	study := pulledStudy(series)
	ds.SetString(dicom.TagSOPClassUID, dicom.UI, "1.2.840.10008.5.1.4.1.1.2")
	ds.SetString(dicom.TagSOPInstanceUID, dicom.UI, fmt.Sprintf("%s.1.%d", study, number))
	ds.SetString(dicom.TagModality, dicom.CS, "CT")
	ds.SetString(dicom.TagPatientID, dicom.LO, fmt.Sprint("P", series))
	ds.SetString(dicom.TagStudyInstanceUID, dicom.UI, study)
	ds.SetString(dicom.TagSeriesInstanceUID, dicom.UI, study+".1")
	ds.SetInts(dicom.TagInstanceNumber, dicom.IS, number)
	ds.SetInts(dicom.TagSamplesPerPixel, dicom.US, 1)
	ds.SetString(dicom.TagPhotometricInterpretation, dicom.CS, "MONOCHROME2")
	for tag, value := range map[dicom.Tag]int{
		dicom.TagRows: pulledSide, dicom.TagColumns: pulledSide, dicom.TagBitsAllocated: 16, dicom.TagBitsStored: 12, dicom.TagHighBit: 11, dicom.TagPixelRepresentation: 0,
	} {
		ds.SetInts(tag, dicom.US, value)
	}
	ds.SetBytes(dicom.TagPixelData, dicom.OW, bytes.Repeat([]byte{byte(number), byte(series % 16)}, pulledSide*pulledSide))
	head := dicom.AppendFileMeta(nil, dicom.FileMeta{
		SOPClassUID: ds.String(dicom.TagSOPClassUID), SOPInstanceUID: ds.String(dicom.TagSOPInstanceUID), TransferSyntaxUID: dicom.ExplicitVRLittleEndian,
	})
	b, err := dicom.AppendDataset(head, ds, dicom.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Twenty clients fetch twenty series at once, over plain HTTP from files, over
// HTTP/2 and TLS, and from object storage: each gets every byte, and the server's
// memory stays where it was. Then each series has its small picture.
func TestTwentyClientsPullTwentySeries(t *testing.T) {
	if testing.Short() {
		t.Skip("builds tasvir")
	}
	t.Run("files, HTTP", func(t *testing.T) {
		pull(t, startArchive(t, nil, "--trusted-loopback"), &puller{})
	})
	t.Run("files, HTTPS", func(t *testing.T) {
		authority := tlstest.New(t, "Hospital")
		files := authority.Issue("localhost", nil, tlstest.Local)
		a := startArchive(t, nil, "--trusted-loopback", "--tls-cert", files.Cert, "--tls-key", files.Key, "--hsts", "1h")
		roots := x509.NewCertPool()
		roots.AddCert(authority.Cert)
		p := &puller{}
		p.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
		answer, err := p.Get(a.web + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.ProtoMajor != 2 || answer.Header.Get("Strict-Transport-Security") != "max-age=3600" {
			t.Errorf("%s %v", answer.Proto, answer.Header)
		}
		pull(t, a, p)
	})
	t.Run("MinIO", func(t *testing.T) {
		minio := miniotest.Start(t)
		pull(t, startArchive(t, minio.Env(), "--trusted-loopback", "--store", minio.URL("pulled")), &puller{})
	})
}

func pull(t *testing.T, a *archive, p *puller) {
	p.base = a.web
	defer p.CloseIdleConnections()
	size := int64(0)
	for series := range pulledSeries {
		var body bytes.Buffer
		for number := range pulledInstances {
			file := pulledFile(t, series, number+1)
			size = int64(len(file))
			fmt.Fprintf(&body, "--x\r\nContent-Type: application/dicom\r\n\r\n%s\r\n", file)
		}
		body.WriteString("--x--")
		answer, err := p.Post(p.base+"/dicom-web/studies", `multipart/related; type="application/dicom"; boundary=x`, &body)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != 200 {
			t.Fatal(answer.Status)
		}
	}
	metric := func(line string) bool {
		answer, err := p.Get(p.base + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return strings.Contains(string(text), line)
	}
	eventually(t, "the previews of all series", func() bool { return metric(fmt.Sprintf(`tasvir_previews_total{result="made"} %d`, pulledSeries)) })

	// What storing has left behind is not what a server takes that does nothing.
	a.stop()
	a.start()
	p.CloseIdleConnections()
	p.base = a.web
	answer, err := p.get("/studies?limit=1", "application/dicom+json")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	idle := a.rss()
	most := idle
	done := make(chan error, pulledSeries)
	for client := range pulledSeries {
		go func() {
			for n := range pulledSeries {
				study := pulledStudy((client + n) % pulledSeries)
				answer, err := p.get("/studies/"+study+"/series/"+study+".1", `multipart/related; type="application/dicom"`)
				if err != nil {
					done <- err
					return
				}
				got, err := io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if err == nil && (answer.StatusCode != 200 || got < pulledInstances*size) {
					err = fmt.Errorf("%s, %d bytes of %d instances with %d", answer.Status, got, pulledInstances, size)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	var failed error
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for left := pulledSeries; left > 0; {
		select {
		case err := <-done:
			failed = errors.Join(failed, err)
			left--
		case <-look.C:
			most = max(most, a.rss())
		}
	}
	if failed != nil {
		t.Fatal(failed)
	}
	t.Logf("%d MB idle, %d MB more at most", idle>>20, (most-idle)>>20)
	if most-idle > 200<<20 {
		t.Errorf("%d MB of memory more than idle", (most-idle)>>20)
	}

	// The small picture comes as it was made, and says when it is another.
	study := pulledStudy(0)
	path := "/studies/" + study + "/series/" + study + ".1/thumbnail?viewport=160,160"
	if answer, err = p.get(path, "image/jpeg"); err != nil {
		t.Fatal(err)
	}
	picture, err := jpeg.Decode(answer.Body)
	answer.Body.Close()
	if err != nil || picture.Bounds().Dx() != 160 || !strings.HasSuffix(answer.Header.Get("ETag"), `-s"`) {
		t.Errorf("%s, %v, ETag %s", answer.Status, err, answer.Header.Get("ETag"))
	}
}
