package web

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

type fields = map[string]any

func TestAdminFacilities(t *testing.T) {
	s := open(t, nil)
	admin := s.browser("root", pacs.Administrator)
	boss := s.browser("boss", pacs.FacilityAdministrator, "A")
	clinician := s.browser("doc", pacs.Clinician, "A")

	admin.do("POST", "/api/admin/facilities", fields{"code": "C", "name": "Hospital C", "tax_id": "123456789"}).want(201)
	admin.do("POST", "/api/admin/facilities", fields{"code": "C", "name": "again"}).problem(409, "conflict", "")
	admin.do("POST", "/api/admin/facilities", fields{"code": "c!", "name": "x"}).problem(400, "invalid", "")
	admin.do("PUT", "/api/admin/facilities/C", fields{"code": "C", "name": "New"}).want(200)
	admin.do("PUT", "/api/admin/facilities/C", fields{"code": "D", "name": "New"}).problem(400, "invalid", "")
	admin.do("PUT", "/api/admin/facilities/NOWHERE", fields{"name": "New"}).problem(404, "not_found", "")
	if got := admin.do("GET", "/api/admin/facilities", nil).want(200).field("facilities.2.name"); got != "New" {
		t.Errorf("%q", got)
	}
	list := boss.do("GET", "/api/admin/facilities", nil).want(200)
	if string(list.body) != `{"facilities":[{"code":"A","name":"Hospital A"}]}` {
		t.Errorf("a facility administrator sees %s", list.body)
	}
	boss.do("POST", "/api/admin/facilities", fields{"code": "E", "name": "x"}).problem(403, "forbidden", "")
	boss.do("PUT", "/api/admin/facilities/A", fields{"name": "x"}).problem(403, "forbidden", "")
	clinician.do("GET", "/api/admin/facilities", nil).problem(403, "forbidden", "")
}

func TestAdminDevices(t *testing.T) {
	s := open(t, nil)
	admin := s.browser("root", pacs.Administrator)
	boss := s.browser("boss", pacs.FacilityAdministrator, "A")

	boss.do("POST", "/api/admin/devices", fields{"ae_title": "CT 1", "facility": "A", "charset": "windows-1251"}).want(201)
	boss.do("POST", "/api/admin/devices", fields{"ae_title": "CT 1", "facility": "A"}).problem(409, "conflict", "")
	boss.do("POST", "/api/admin/devices", fields{"ae_title": "CT 2", "facility": "B"}).problem(403, "forbidden", "")
	boss.do("POST", "/api/admin/devices", fields{"ae_title": "SEVENTEEN LETTERS", "facility": "A"}).problem(400, "invalid", "")
	admin.do("POST", "/api/admin/devices", fields{"ae_title": "MR1", "facility": "B"}).want(201)
	boss.do("PUT", "/api/admin/devices/CT%201", fields{"ae_title": "CT 1", "facility": "A", "description": "Ward 3", "charset": ""}).want(200)
	boss.do("PUT", "/api/admin/devices/CT%201", fields{"ae_title": "CT 9", "facility": "A"}).problem(400, "invalid", "")
	boss.do("PUT", "/api/admin/devices/MR1", fields{"facility": "A"}).problem(404, "not_found", "")
	boss.do("DELETE", "/api/admin/devices/MR1", nil).problem(404, "not_found", "")
	list := boss.do("GET", "/api/admin/devices", nil).want(200)
	if string(list.body) != `{"devices":[{"ae_title":"CT 1","facility":"A","description":"Ward 3","services":["store","commitment"],"destination":false,"notify":false,"all_facilities":false,"transfer_syntaxes":[],"tls":false,"max_associations_from":0,"max_associations_to":0}]}` {
		t.Errorf("%s", list.body)
	}
	if got := admin.do("GET", "/api/admin/devices", nil).want(200).field("devices.1.ae_title"); got != "MR1" {
		t.Errorf("%q", got)
	}
	boss.do("DELETE", "/api/admin/devices/CT%201", nil).want(204)
	boss.do("DELETE", "/api/admin/devices/CT%201", nil).problem(404, "not_found", "")
}

// A test reaches the devices in sight and nothing else, is on record with where
// it went, and says what it found in words that the client knows.
func TestDeviceTest(t *testing.T) {
	s := open(t, nil)
	admin := s.browser("root", pacs.Administrator)
	boss := s.browser("boss", pacs.FacilityAdministrator, "A")
	clinician := s.browser("doc", pacs.Clinician, "A")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	server := &dimse.Server{AETitle: "CT 1", DrainTimeout: time.Millisecond}
	go func() { done <- server.Serve(ctx, ln) }()
	defer func() {
		cancel()
		<-done
	}()
	port := ln.Addr().(*net.TCPAddr).Port

	boss.do("POST", "/api/admin/devices", fields{"ae_title": "CT 1", "facility": "A", "host": "127.0.0.1", "port": port}).want(201)
	boss.do("POST", "/api/admin/devices", fields{"ae_title": "CT 2", "facility": "A", "host": "127.0.0.1", "port": port}).want(201)
	boss.do("POST", "/api/admin/devices", fields{"ae_title": "CT 3", "facility": "A"}).want(201)
	admin.do("POST", "/api/admin/devices", fields{"ae_title": "MR1", "facility": "B", "host": "127.0.0.1", "port": port}).want(201)

	found := boss.do("POST", "/api/admin/devices/CT%201/test", nil).want(200)
	if found.field("ok") != "true" || found.field("steps.3.stage") != "echo" || found.field("steps.3.code") != "ok" ||
		found.field("steps.4.code") != "storage_not_taken" || found.field("steps.4.warning") != "true" {
		t.Errorf("%s", found.body)
	}
	if found := boss.do("POST", "/api/admin/devices/CT%202/test", nil).want(200); found.field("ok") != "false" || found.field("steps.2.code") != "called_ae_title" {
		t.Errorf("%s", found.body)
	}
	if found := boss.do("POST", "/api/admin/devices/CT%203/test", nil).want(200); found.field("steps.0.code") != "no_address" {
		t.Errorf("%s", found.body)
	}
	boss.do("POST", "/api/admin/devices/MR1/test", nil).problem(404, "not_found", "")
	boss.do("POST", "/api/admin/devices/NEVER/test", nil).problem(404, "not_found", "")
	clinician.do("POST", "/api/admin/devices/CT%201/test", nil).problem(403, "forbidden", "")
	var n int
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM audit_event WHERE action = 'device.test' AND why = $1 AND who = 'boss'`,
		"127.0.0.1:"+strconv.Itoa(port)).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d tests of that address are on record, 2 were made", n)
	}
}

func TestAdminUsers(t *testing.T) {
	s := open(t, nil)
	admin := s.browser("root", pacs.Administrator)
	boss := s.browser("boss", pacs.FacilityAdministrator, "A")

	added := boss.do("POST", "/api/admin/users", fields{
		"login": "ali", "name": "Karimov Ali", "roles": []string{"clinician"}, "facilities": []string{"A"}, "password": testPassword, "pinfl": "12345678901234",
	}).want(201)
	path := "/api/admin/users/" + added.field("id")
	if added.field("active") != "true" || added.field("language") != "uz-Latn" {
		t.Errorf("%s", added.body)
	}
	ali := s.signIn("ali")
	boss.do("POST", "/api/admin/users", fields{"login": "ali", "name": "x", "roles": []string{"clinician"}, "facilities": []string{"A"}, "password": testPassword}).
		problem(409, "conflict", "")
	boss.do("POST", "/api/admin/users", fields{"login": "x", "name": "x", "roles": []string{"clinician"}, "facilities": []string{"A"}, "password": "short"}).
		problem(422, "invalid", "weak_password")
	boss.do("POST", "/api/admin/users", fields{"login": "x", "name": "x", "roles": []string{"administrator"}, "facilities": []string{"A"}, "password": testPassword}).
		problem(403, "forbidden", "")
	boss.do("PUT", path, fields{"login": "ali", "name": "x", "roles": []string{"clinician"}, "facilities": []string{"A", "B"}}).problem(403, "forbidden", "")
	boss.do("PUT", path, fields{"login": "renamed", "name": "x", "roles": []string{"clinician"}}).problem(400, "invalid", "")
	boss.do("PUT", "/api/admin/users/999", fields{"name": "x"}).problem(404, "not_found", "")
	boss.do("PUT", "/api/admin/users/me", fields{"name": "x"}).problem(404, "not_found", "")

	// A change without a password keeps sessions; what is absent stays.
	changed := boss.do("PUT", path, fields{"name": "Karimov Ali Bahtiyorovich", "password": ""}).want(200)
	if changed.field("pinfl") != "12345678901234" || changed.field("facilities.0") != "A" {
		t.Errorf("%s", changed.body)
	}
	ali.do("GET", "/api/session", nil).want(200)
	boss.do("PUT", path, fields{"password": "battery staple"}).want(200)
	ali.do("GET", "/api/session", nil).problem(401, "unauthenticated", "")

	// Nobody's password or hash comes out.
	for _, who := range []*browser{admin, boss} {
		list := who.do("GET", "/api/admin/users", nil).want(200)
		for _, secret := range []string{"password", "hash", "argon"} {
			if bytesContain(list.body, secret) {
				t.Errorf("the list of people mentions %q", secret)
			}
		}
	}
	// Someone who works at two hospitals is seen, without the other hospital.
	s.person("shared", pacs.Clinician, "A", "B")
	list := boss.do("GET", "/api/admin/users", nil).want(200)
	if got := list.field("users.2.login") + " " + list.field("users.2.facilities"); got != "shared [A]" {
		t.Errorf("%q", got)
	}
}

func TestStatus(t *testing.T) {
	fail := false
	s := open(t, func(o *Options) {
		o.Status = func(context.Context) (any, error) {
			if fail {
				return nil, errors.New("secret detail")
			}
			return fields{"version": "test", "studies": 3}, nil
		}
	})
	admin := s.browser("root", pacs.Administrator)
	if got := admin.do("GET", "/api/admin/status", nil).want(200).field("studies"); got != "3" {
		t.Errorf("%s", got)
	}
	s.browser("boss", pacs.FacilityAdministrator, "A").do("GET", "/api/admin/status", nil).problem(403, "forbidden", "")
	fail = true
	answer := admin.do("GET", "/api/admin/status", nil).problem(500, "internal", "")
	if bytesContain(answer.body, "secret detail") || answer.field("request_id") != answer.Header.Get(requestIDHeader) {
		t.Errorf("%s", answer.body)
	}
}
