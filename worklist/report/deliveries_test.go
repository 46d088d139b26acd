package report

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// place puts signed versions into the tables, all signed in the same millisecond.
func (d *desk) place(facility, patient string, states ...DeliveryState) (reportID string) {
	d.Helper()
	task := d.Task(facility, func(a *index.Addition) { a.Patient.Name = patient })
	pool := d.Index.Pool()
	if err := pool.QueryRow(d.Context(), `INSERT INTO report (task_id) VALUES ($1) RETURNING id::text`, task.ID).Scan(&reportID); err != nil {
		d.Fatal(err)
	}
	for i, state := range states {
		kind := Final
		if i > 0 {
			kind = Correction
		}
		_, err := pool.Exec(d.Context(), `INSERT INTO report_version (report_id, version, kind, language, sections, signer, signed_by, signed_at, pdf)
			VALUES ($1, $2, $3, 'ru', '{}', $4, 'x', '2026-11-21T10:00:00.123Z', '')`, reportID, i+1, kind, d.me.ID)
		if err == nil {
			_, err = pool.Exec(d.Context(), `INSERT INTO report_delivery (report_id, version, state) VALUES ($1, $2, $3)`, reportID, i+1, state)
		}
		if err != nil {
			d.Fatal(err)
		}
	}
	return reportID
}

func TestDeliveriesInPages(t *testing.T) {
	d := open(t)
	want := 0
	for range 7 {
		d.place("A", "Каримов^Али", Delivered, Failed, Queued)
		want += 3
	}
	var seen []string
	f := DeliveryFilter{Limit: 4}
	for {
		page, next, err := d.Deliveries(t.Context(), everywhere, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page {
			seen = append(seen, reference(s.ReportID, s.Version.Version))
		}
		if next == "" || len(seen) > want {
			break
		}
		f.After = next
	}
	unique := slices.Compact(slices.Sorted(slices.Values(seen)))
	if len(seen) != want || len(unique) != want {
		t.Errorf("%d on the pages, %d different, want %d", len(seen), len(unique), want)
	}
	for _, after := range []string{"x", "2026-11-21T10:00:00Z", base64.RawURLEncoding.EncodeToString([]byte(`{"r":"x","v":1}`)), base64.RawURLEncoding.EncodeToString([]byte(`{}`))} {
		_, _, err := d.Deliveries(t.Context(), everywhere, DeliveryFilter{After: after})
		wantCode(t, err, pacs.Invalid, "")
	}
}

func TestDeliveriesByStateTextAndScope(t *testing.T) {
	d := open(t)
	a := d.place("A", "Каримов^Али", Delivered, Retrying)
	b := d.place("B", "Gʻulomova^Oʻgʻiloy", Failed)
	for what, c := range map[string]struct {
		scope pacs.Scope
		f     DeliveryFilter
		want  []string
	}{
		"all":                        {everywhere, DeliveryFilter{}, []string{reference(a, 1), reference(a, 2), reference(b, 1)}},
		"at A":                       {only(d.A), DeliveryFilter{}, []string{reference(a, 1), reference(a, 2)}},
		"at B":                       {only(d.B), DeliveryFilter{}, []string{reference(b, 1)}},
		"nowhere":                    {pacs.Scope{}, DeliveryFilter{}, nil},
		"failed":                     {everywhere, DeliveryFilter{State: Failed}, []string{reference(b, 1)}},
		"failed at A":                {only(d.A), DeliveryFilter{State: Failed}, nil},
		"by name":                    {everywhere, DeliveryFilter{Text: "karimov"}, []string{reference(a, 1), reference(a, 2)}},
		"by name at B":               {only(d.B), DeliveryFilter{Text: "karimov"}, nil},
		"name and state":             {everywhere, DeliveryFilter{Text: "Каримов", State: Retrying}, []string{reference(a, 2)}},
		"nobody's name":              {everywhere, DeliveryFilter{Text: "Иванов"}, nil},
		"accession":                  {everywhere, DeliveryFilter{Text: "ACC2"}, []string{reference(b, 1)}},
		"a wild card is a character": {everywhere, DeliveryFilter{Text: "%"}, nil},
	} {
		got, next, err := d.Deliveries(t.Context(), c.scope, c.f)
		if err != nil || next != "" {
			t.Errorf("%s: %q %v", what, next, err)
		}
		var found []string
		for _, s := range got {
			found = append(found, reference(s.ReportID, s.Version.Version))
		}
		slices.Sort(found)
		slices.Sort(c.want)
		if !slices.Equal(found, c.want) {
			t.Errorf("%s: %v, want %v", what, found, c.want)
		}
	}
	_, _, err := d.Deliveries(t.Context(), everywhere, DeliveryFilter{State: "lost"})
	wantCode(t, err, pacs.Invalid, "")
	for what, c := range map[string]struct {
		scope pacs.Scope
		want  string
	}{
		"everywhere": {everywhere, "map[delivered:1 failed:1 queued:0 retrying:1]"},
		"at B":       {only(d.B), "map[delivered:0 failed:1 queued:0 retrying:0]"},
	} {
		counts, err := d.DeliveryCounts(t.Context(), c.scope)
		if err != nil || fmt.Sprint(counts) != c.want {
			t.Errorf("%s: %v, want %s (%v)", what, counts, c.want, err)
		}
	}
}

func TestRequeue(t *testing.T) {
	d := open(t)
	failed, delivered := d.place("A", "x", Failed), d.place("A", "x", Delivered)
	requeue := func(scope pacs.Scope, id string, version int) error {
		return d.Requeue(t.Context(), scope, "192.0.2.1", id, version)
	}
	wantCode(t, requeue(only(d.B), failed, 1), pacs.NotFound, "")
	wantCode(t, requeue(pacs.Scope{}, failed, 1), pacs.NotFound, "")
	wantCode(t, requeue(everywhere, failed, 2), pacs.NotFound, "")
	wantCode(t, requeue(everywhere, failed, 1<<40), pacs.NotFound, "")
	wantCode(t, requeue(everywhere, "x", 1), pacs.NotFound, "")
	wantCode(t, requeue(everywhere, delivered, 1), pacs.Conflict, "")
	if len(d.queued) != 0 {
		t.Errorf("queued: %v", d.queued)
	}
	if err := requeue(only(d.A), failed, 1); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Get(t.Context(), failed, 1); err != nil || got.Delivery.State != Queued || len(d.queued) != 1 {
		t.Errorf("%+v %v, queued %v", got.Delivery, err, d.queued)
	}
	d.WantAudited("delivery.retry", "test report:"+failed+"/1")

	// What can't be enqueued stays failed.
	if err := d.RecordDelivery(t.Context(), failed, 1, Delivery{State: Failed, LastError: "no"}); err != nil {
		t.Fatal(err)
	}
	d.broken = true
	if err := requeue(everywhere, failed, 1); err == nil {
		t.Error("requeued without a job")
	}
	if got, err := d.Get(t.Context(), failed, 1); err != nil || got.Delivery.State != Failed {
		t.Errorf("%+v %v", got.Delivery, err)
	}
	d.Deliver = nil
	wantCode(t, requeue(everywhere, failed, 1), pacs.Conflict, "")
}

func TestRecordDelivery(t *testing.T) {
	d := open(t)
	id := d.place("A", "x", Queued, Queued, Queued)
	record := func(version int, state DeliveryState, attempts int) {
		t.Helper()
		what := Delivery{State: state, Attempts: attempts, LastError: "in the platform's words", NextAttemptAt: time.Now()}
		if state == Delivered {
			what = Delivery{State: state, Attempts: attempts, DeliveredAt: time.Now(), Receipt: json.RawMessage(fmt.Sprintf(`{"Version": %d}`, version))}
		}
		if err := d.RecordDelivery(t.Context(), id, version, what); err != nil {
			t.Fatal(err)
		}
	}
	undelivered := func(version, want int) {
		t.Helper()
		if got, _, err := d.Undelivered(t.Context(), id, version); err != nil || got != want {
			t.Errorf("before version %d wait %d, want %d (%v)", version, got, want, err)
		}
	}
	undelivered(1, 0)
	undelivered(3, 2)
	record(1, Retrying, 1)
	undelivered(3, 2)
	if receipt, err := d.LastReceipt(t.Context(), id, 3); err != nil || receipt != nil {
		t.Errorf("%s %v", receipt, err)
	}
	if _, next, err := d.Undelivered(t.Context(), id, 3); err != nil || time.Since(next).Abs() > time.Hour {
		t.Errorf("the next attempt is at %s (%v)", next, err)
	}
	record(1, Delivered, 2)
	record(2, Failed, 1) // refused: the next need not wait for it
	undelivered(3, 0)
	// Nothing leaves "delivered": an attempt that was slow to fail comes late.
	record(1, Retrying, 3)
	got, err := d.Get(t.Context(), id, 1)
	if err != nil || got.Delivery.State != Delivered || got.Delivery.Attempts != 2 || got.Delivery.LastError != "" || got.Delivery.DeliveredAt.IsZero() {
		t.Errorf("%+v %v", got.Delivery, err)
	}
	if receipt, err := d.LastReceipt(t.Context(), id, 3); err != nil || string(receipt) != `{"Version": 1}` {
		t.Errorf("%s %v", receipt, err)
	}
	if third, err := d.Get(t.Context(), id, 3); err != nil || third.Before == nil || third.Before.Version != 2 {
		t.Errorf("%+v %v", third.Before, err)
	}
	if err := errors.Join(d.RecordDelivery(t.Context(), "00000000-0000-0000-0000-000000000000", 1, Delivery{State: Failed})); err != nil {
		t.Errorf("a report that is gone: %v", err)
	}
}
