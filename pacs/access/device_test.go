package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// What is written is what is read, by the list, the lookup for connections
// and, without the database, the file beside the journal.
func TestRemoteAE(t *testing.T) {
	a := open(t, Settings{})
	by := System("test")
	added, err := a.AddDevice(t.Context(), by, Device{
		AETitle: "WS1", FacilityCode: "A", Description: "Workstation", Host: " ws1.example.uz ", Port: 104,
		Services: []Service{Retrieve, Query, Query}, Destination: true, AllFacilities: true,
		TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian, " " + dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian},
		Charset:          "windows-1251", AnswerCharset: "ISO_IR 144", TLS: true, TLSServerName: "ws1.lan",
		Certificate: "CN = WS1, O = Hospital", MaxAssociationsFrom: 3, MaxAssociationsTo: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Device{
		AETitle: "WS1", FacilityCode: "A", FacilityID: added.FacilityID, Description: "Workstation", Host: "ws1.example.uz", Port: 104,
		Services: []Service{Query, Retrieve}, Destination: true, AllFacilities: true,
		TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian},
		Charset:          "windows-1251", AnswerCharset: "ISO_IR 144", TLS: true, TLSServerName: "ws1.lan",
		Certificate: "CN=WS1,O=Hospital", MaxAssociationsFrom: 3, MaxAssociationsTo: 2,
	}
	if diff := cmp.Diff(want, added); diff != "" || added.FacilityID == 0 {
		t.Error(diff)
	}
	found, err := a.Remote(t.Context(), "WS1")
	if diff := cmp.Diff(want, found); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if found.Address() != "ws1.example.uz:104" || !found.Allows(Query) || found.Allows(Store) {
		t.Errorf("%s, %v", found.Address(), found.Services)
	}
	if s := found.Scope(); !s.All || s.Who != "ae:WS1" {
		t.Errorf("scope %+v", s)
	}

	path := filepath.Join(t.TempDir(), "devices.json")
	refresh(t, openAdmission(t, path), a)
	kept, _ := openAdmission(t, path).Lookup("WS1")
	want.Description = "" // no connection needs it
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Error(diff)
	}

	if _, err := a.AddDevice(t.Context(), by, Device{AETitle: "CT1", FacilityCode: "A"}); err != nil {
		t.Fatal(err)
	}
	_, err = a.Remote(t.Context(), "CT1")
	wantCode(t, err, pacs.NotFound)
	wantReason(t, err, "no_address")
	_, err = a.Remote(t.Context(), "NEVER")
	wantCode(t, err, pacs.NotFound)
}

func TestDeviceThatCantBe(t *testing.T) {
	a := open(t, Settings{})
	for name, bad := range map[string]Device{
		"port in the host":       {Host: "10.0.0.1:104", Port: 104},
		"URL":                    {Host: "dicom://ct", Port: 104},
		"anywhere":               {Host: "0.0.0.0", Port: 104},
		"multicast":              {Host: "ff02::1", Port: 104},
		"host without port":      {Host: "ct1"},
		"port without host":      {Port: 104},
		"port out of range":      {Host: "ct1", Port: 70000},
		"destination nowhere":    {Destination: true},
		"unknown service":        {Services: []Service{"print"}},
		"unknown syntax":         {TransferSyntaxes: []string{"1.2.3"}},
		"answers in no charset":  {AnswerCharset: "windows-1251"},
		"certificate, plain":     {Certificate: "CN=CT1"},
		"certificate of nothing": {TLS: true, Certificate: "CT1"},
		"half a fingerprint":     {TLS: true, Certificate: "sha256:abcd"},
		"server name":            {TLS: true, TLSServerName: "a b"},
		"associations":           {MaxAssociationsTo: 1001},
		"negative associations":  {MaxAssociationsFrom: -1},
	} {
		bad.AETitle, bad.FacilityCode = "X", "A"
		if _, err := a.AddDevice(t.Context(), System("test"), bad); pacs.CodeOf(err) != pacs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, host := range []string{"ct1", "CT_1.hospital.uz", "10.1.2.3", "fe80::1", "ct-1.lan."} {
		if !validHost(host) {
			t.Errorf("%q is refused", host)
		}
	}
}

// What an AE may do of which nobody said more is little, and nothing stays
// nothing.
func TestServicesOfDevices(t *testing.T) {
	a := open(t, Settings{})
	add := func(title string, services []Service) Device {
		t.Helper()
		d, err := a.AddDevice(t.Context(), System("test"), Device{AETitle: title, FacilityCode: "A", Services: services})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := add("CT1", nil); !d.Allows(Store) || !d.Allows(Commitment) || d.Allows(Query) || d.Allows(Retrieve) || d.Allows(Worklist) {
		t.Error(d.Services)
	}
	if d := add("PRINTER", []Service{}); len(d.Services) != 0 {
		t.Error(d.Services)
	}
	path := filepath.Join(t.TempDir(), "devices.json")
	refresh(t, openAdmission(t, path), a)
	if d, ok := openAdmission(t, path).Lookup("PRINTER"); !ok || len(d.Services) != 0 {
		t.Error(d.Services, ok)
	}
	if s := (Device{AETitle: "PARKED"}).Scope(); !s.Empty() {
		t.Errorf("a sender without facility sees %+v", s)
	}
}

// A node that is updated while its database is down still receives.
func TestAdmissionOfAnOlderVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "devices.json")
	if err := os.WriteFile(path, []byte(`{"format":1,"version":7,"devices":[{"ae_title":"CT1","facility":"A","charset":"koi8-r"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d, ok := openAdmission(t, path).Lookup("CT1")
	if !ok || !d.Allows(Store) || d.Allows(Retrieve) || d.Charset != "koi8-r" {
		t.Errorf("%+v, %v", d, ok)
	}
}

// Whoever manages one hospital can't let a device see all, nor lead one that
// does to another machine.
func TestDevicesOfAnotherFacility(t *testing.T) {
	a := open(t, Settings{})
	_, boss := a.signedIn(t, a.person(t, "boss", pacs.FacilityAdministrator, "A"))
	_, err := a.AddDevice(t.Context(), boss, Device{AETitle: "V1", FacilityCode: "A", AllFacilities: true})
	wantCode(t, err, pacs.Forbidden)
	_, err = a.AddDevice(t.Context(), boss, Device{AETitle: "V1", FacilityCode: "A", Host: "10.0.0.1", Port: 104, Destination: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.UpdateDevice(t.Context(), boss, "V1", func(d *Device) error { d.AllFacilities = true; return nil })
	wantCode(t, err, pacs.Forbidden)
	_, err = a.UpdateDevice(t.Context(), boss, "V1", func(d *Device) error { d.FacilityCode = "B"; return nil })
	wantCode(t, err, pacs.Forbidden)
	if _, err = a.UpdateDevice(t.Context(), System("test"), "V1", func(d *Device) error { d.AllFacilities = true; return nil }); err != nil {
		t.Fatal(err)
	}
	_, err = a.UpdateDevice(t.Context(), boss, "V1", func(d *Device) error { d.Host = "10.6.6.6"; return nil })
	wantCode(t, err, pacs.Forbidden)
	wantCode(t, a.RemoveDevice(t.Context(), boss, "V1"), pacs.Forbidden)
	if d, err := a.DeviceByTitle(t.Context(), boss, "V1"); err != nil || d.Host != "10.0.0.1" {
		t.Error(d, err)
	}
	if _, err := a.AddDevice(t.Context(), System("test"), Device{AETitle: "B1", FacilityCode: "B"}); err != nil {
		t.Fatal(err)
	}
	_, err = a.DeviceByTitle(t.Context(), boss, "B1")
	wantCode(t, err, pacs.NotFound)
	if n := a.auditCount(t, "device.update"); n != 1 {
		t.Errorf("%d changes on record, 1 made", n)
	}
}

// certificate makes a self-signed one.
func certificate(t *testing.T, subject pkix.Name) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestCertificateOfDevice(t *testing.T) {
	ours := certificate(t, pkix.Name{CommonName: "CT1", Organization: []string{"Hospital, Urgut"}, Country: []string{"UZ"}})
	other := certificate(t, pkix.Name{CommonName: "CT1"})
	print := strings.TrimPrefix(Fingerprint(ours), "sha256:")
	colons := ""
	for i := 0; i < len(print); i += 2 {
		colons += ":" + strings.ToUpper(print[i:i+2])
	}
	with := func(c *x509.Certificate) *tls.ConnectionState {
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
	}
	for _, spelling := range []string{
		"sha256:" + print, print, colons[1:], "sha256 Fingerprint=" + colons[1:], "SHA256 Fingerprint=" + colons[1:],
		ours.Subject.String(), `CN=CT1,O=Hospital\, Urgut,C=UZ`, `subject=C = UZ, O = Hospital\, Urgut, CN = CT1`,
	} {
		d := Device{AETitle: "CT1", TLS: true, Certificate: spelling}
		if err := d.checkTLS(); err != nil {
			t.Errorf("%q: %v", spelling, err)
			continue
		}
		if err := d.CheckCertificate(with(ours)); err != nil {
			t.Errorf("%q as %q refuses its certificate: %v", spelling, d.Certificate, err)
		}
		if err := d.CheckCertificate(with(other)); !errors.Is(err, ErrCertificate) || pacs.CodeOf(err) != pacs.Forbidden {
			t.Errorf("%q takes another certificate: %v", spelling, err)
		}
		wantReason(t, d.CheckCertificate(&tls.ConnectionState{}), "certificate")
		wantReason(t, d.CheckCertificate(nil), "tls_required")
	}
	plain := Device{AETitle: "CT2"}
	if plain.CheckCertificate(nil) != nil || plain.CheckCertificate(with(other)) != nil || plain.ClientTLS(nil) != nil {
		t.Error("a device without TLS may come either way and is called plainly")
	}
	config := Device{Host: "ct1", TLS: true}.ClientTLS(&tls.Config{MinVersion: tls.VersionTLS13})
	if config.ServerName != "ct1" || config.InsecureSkipVerify || config.MinVersion != tls.VersionTLS13 {
		t.Errorf("%+v", config)
	}
}
