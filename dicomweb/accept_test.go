package dicomweb

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// What clients send, and which form they get. "" is 406.
func TestAcceptForgives(t *testing.T) {
	json := []offer{{media: mediaDICOMJSON}, {media: mediaJSON}}
	const ls = dicom.JPEGLSLossless
	frame := []offer{
		{multipart: true, media: mediaOctets, transferSyntax: ls},
		{multipart: true, media: "image/jls", transferSyntax: ls},
		{media: mediaOctets, transferSyntax: ls},
		{media: "image/jls", transferSyntax: ls},
	}
	const (
		multiOctets = `multipart/related; type="application/octet-stream"; transfer-syntax=` + ls
		multiJLS    = `multipart/related; type="image/jls"; transfer-syntax=` + ls
		octets      = "application/octet-stream; transfer-syntax=" + ls
		jls         = "image/jls; transfer-syntax=" + ls
	)
	for _, c := range []struct {
		name   string
		offers []offer
		accept []string
		want   string
	}{
		{"no header", json, nil, mediaDICOMJSON},
		{"empty header", json, []string{""}, mediaDICOMJSON},
		{"anything", json, []string{"*/*"}, mediaDICOMJSON},
		{"asterisk alone", json, []string{"*"}, mediaDICOMJSON},
		{"plain JSON", json, []string{"application/json"}, mediaJSON},
		{"charset parameter", json, []string{"application/dicom+json; charset=utf-8"}, mediaDICOMJSON},
		{"upper case", json, []string{"Application/DICOM+JSON"}, mediaDICOMJSON},
		{"OHIF before 3.8", json, []string{"application/dicom+json, multipart/related; type=application/octet-stream"}, mediaDICOMJSON},
		{"a browser's address bar", json, []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}, mediaDICOMJSON},
		{"several headers", json, []string{"application/dicom+xml", "application/dicom+json"}, mediaDICOMJSON},
		{"empty entries", json, []string{" , ,application/dicom+json,,"}, mediaDICOMJSON},
		{"quality", json, []string{"application/dicom+json;q=0.1, application/json"}, mediaJSON},
		{"refused by quality 0", json, []string{"*/*, application/dicom+json;q=0"}, mediaJSON},
		{"XML only", json, []string{"application/dicom+xml"}, ""},
		{"pictures only", json, []string{"image/*"}, ""},

		{"Cornerstone3D", frame, []string{"multipart/related; type=application/octet-stream; transfer-syntax=*"}, multiOctets},
		{"dicomweb-client", frame, []string{`multipart/related; type="application/octet-stream"`}, multiOctets},
		{"dicomweb-client, pictures", frame, []string{`multipart/related; type="image/jls"; transfer-syntax=` + ls}, multiJLS},
		{"dicomweb-client, mixed", frame, []string{`multipart/related; type="image/jp2", multipart/related; type="image/jls"`}, multiJLS},
		{"any picture", frame, []string{`multipart/related; type="image/*"`}, multiJLS},
		{"half a type", frame, []string{`multipart/related; type="image/"`}, multiJLS},
		{"multipart without a type", frame, []string{"multipart/related"}, multiOctets},
		{"any multipart", frame, []string{"multipart/*"}, multiOctets},
		{"single part", frame, []string{"application/octet-stream"}, octets},
		{"single picture", frame, []string{"image/jls;transfer-syntax=" + ls}, jls},
		{"the named type beats the wildcard", frame, []string{"*/*, image/jls"}, jls},
		{"anything for a frame", frame, []string{"*/*"}, multiOctets},
		{"another transfer syntax", frame, []string{"multipart/related; type=application/octet-stream; transfer-syntax=" + dicom.ExplicitVRLittleEndian}, ""},
		{"another first, ours second", frame, []string{"multipart/related; type=application/octet-stream; transfer-syntax=" + dicom.ExplicitVRLittleEndian +
			", multipart/related; type=image/jls; transfer-syntax=" + ls}, multiJLS},
		{"an open quote", frame, []string{`multipart/related; type="application/octet-stream; transfer-syntax=*`}, multiOctets},
		{"the transfer syntax within the quotes", frame, []string{`multipart/related; type="image/jls; transfer-syntax=` + ls + `"; q=0.9`}, multiJLS},
		{"another one within the quotes", frame, []string{`multipart/related; type="application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1"`}, ""},
		{"single quotes", frame, []string{"multipart/related; type='image/jls'"}, multiJLS},
		{"upper case and blanks", frame, []string{`MULTIPART/RELATED ; TYPE = "IMAGE/JLS" ; TRANSFER-SYNTAX = ` + ls}, multiJLS},
		{"other parameters", frame, []string{"multipart/related;start=x;boundary=abc;type=image/jls"}, multiJLS},
		{"another multipart", frame, []string{"multipart/form-data; type=image/jls"}, ""},
		{"nonsense", frame, []string{`;;;,"`}, multiOctets},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		for _, a := range c.accept {
			r.Header.Add("Accept", a)
		}
		got, err := negotiate(r, c.offers)
		switch {
		case c.want == "":
			if pacs.CodeOf(err) != pacs.NotAcceptable {
				t.Errorf("%s: %v, %v; want NotAcceptable", c.name, got, err)
			} else if !strings.Contains(err.Error(), c.offers[0].String()) {
				t.Errorf("%s: %q does not say what would be accepted", c.name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case got.String() != c.want:
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestAcceptParameterReplacesTheHeader(t *testing.T) {
	for _, v := range []string{"application/json", url.QueryEscape("application/json")} {
		r := httptest.NewRequest("GET", "/?accept="+v, nil)
		r.Header.Set("Accept", "text/html")
		if form, err := negotiateModel(r); err != nil || form.media != mediaJSON {
			t.Errorf("accept=%s: %s, %v", v, form.media, err)
		}
	}
	r := httptest.NewRequest("GET", "/?accept=application/dicom+json", nil) // + arrives as a blank
	if form, err := negotiateModel(r); err != nil || form.media != mediaDICOMJSON {
		t.Errorf("%s, %v", form.media, err)
	}
}

func FuzzParseAccept(f *testing.F) {
	f.Add(`multipart/related; type="application/dicom"; transfer-syntax=*, */*;q=0.1`)
	f.Add(`image/jpeg;q=2, "`)
	f.Add(`a/b;c="\"`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, m := range parseAccept(s) {
			if !strings.Contains(m.media, "/") || m.q < 0 || m.q > 1 {
				t.Fatalf("%q gave %+v", s, m)
			}
			m.fits(offer{multipart: true, media: mediaDICOM})
		}
	})
}

func TestAcceptEncoding(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "gzip, deflate, br": true, "br": false, "*": true, "gzip;q=0": false,
		"identity, *;q=0": false, "GZIP; q=0.5": true, "gzip;q=0, *": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", header)
		if got := acceptsGzip(r); got != want {
			t.Errorf("%q: %t", header, got)
		}
	}
}

func TestParseRange(t *testing.T) {
	for _, c := range []struct {
		header       string
		offset, size int64
		kind         rangeKind
	}{
		{"bytes=0-9", 0, 10, rangePart},
		{"bytes=90-", 90, 10, rangePart},
		{"bytes=90-1000", 90, 10, rangePart},
		{"bytes=-5", 95, 5, rangePart},
		{"bytes=-500", 0, 100, rangePart},
		{"bytes=99-99", 99, 1, rangePart},
		{"bytes=100-", 0, 0, rangeOutside},
		{"bytes=-0", 0, 0, rangeOutside},
		{"bytes=9-8", 0, 0, rangeIgnored},
		{"bytes=0-1,3-4", 0, 0, rangeIgnored},
		{"lines=0-1", 0, 0, rangeIgnored},
		{"bytes=", 0, 0, rangeIgnored},
		{"bytes=-", 0, 0, rangeIgnored},
		{"bytes=--1", 0, 0, rangeIgnored},
		{"bytes=99999999999999999999-", 0, 0, rangeIgnored},
	} {
		offset, size, kind := parseRange(c.header, 100)
		if offset != c.offset || size != c.size || kind != c.kind {
			t.Errorf("%s: %d+%d %d", c.header, offset, size, kind)
		}
	}
}
