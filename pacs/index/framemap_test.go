package index

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func mapped(frames int) (*pacs.PixelLocation, [][]pacs.Range) {
	all := make([][]pacs.Range, frames)
	for i := range all {
		all[i] = []pacs.Range{{Offset: 1000 + int64(i)*5008, Length: 5000}}
	}
	p := &pacs.PixelLocation{Offset: 900, Length: -1, Encapsulated: true}
	p.SetFrames(all)
	return p, all
}

// The map of a slide's frames is not in what queries read, and comes whole to
// who asks for frames; asked again, without a query.
func TestFrameMap(t *testing.T) {
	ix := open(t)
	a := addition("1.2", "1.2.1", 1)
	var want [][]pacs.Range
	a.Instances[0].FrameCount = 10_000
	a.Instances[0].Location.PixelData, want = mapped(10_000)
	fill(t, ix, a)
	var row, beside int
	if err := ix.pool.QueryRow(t.Context(), `SELECT pg_column_size(pixels), length(frame_map) FROM instance`).Scan(&row, &beside); err != nil {
		t.Fatal(err)
	}
	if row > 300 || beside > 80_000 {
		t.Errorf("%d bytes in each row that is read, %d in the map", row, beside)
	}
	rows, _, err := ix.Instances(t.Context(), system, pacs.InstanceFilter{})
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if p := rows[0].Location.PixelData; p.Mapped != 10_000 || p.FrameMap != nil || p.Fragments != nil {
		t.Fatalf("%+v", p)
	}
	for range 2 {
		m, err := ix.FrameMap(t.Context(), rows[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 9_000, 10_000} {
			if f, ok := m.Frame(n); !ok || !cmp.Equal(f, want[n-1]) {
				t.Errorf("frame %d: %v %v", n, f, ok)
			}
		}
	}
	if s := ix.frameMaps.Stats(); s.Misses != 1 || s.Hits != 1 {
		t.Errorf("%+v", s)
	}
	// Of bytes that are not those of the row any more there is no map.
	other := rows[0]
	other.SHA256 = make([]byte, 32)
	if _, err := ix.FrameMap(t.Context(), other); pacs.CodeOf(err) != pacs.NotFound {
		t.Error(err)
	}
}

// What was indexed before there were maps goes on working, and no longer makes
// rows heavy.
func TestFrameMapOfRowsFromBefore(t *testing.T) {
	ix := open(t)
	a := addition("1.2", "1.2.1", 2)
	_, want := mapped(500)
	fill(t, ix, a)
	text, err := json.Marshal(map[string]any{"Offset": 900, "Length": -1, "Encapsulated": true, "Fragments": want})
	if err != nil {
		t.Fatal(err)
	}
	single := `{"Offset": 900, "Length": -1, "Encapsulated": true, "Fragments": [[{"Offset": 908, "Length": 7}]]}`
	for _, statement := range []struct {
		sql  string
		args []any
	}{
		{`UPDATE instance SET pixels = $1, frames = 500 WHERE sop_uid = '1.2.1.1'`, []any{string(text)}},
		{`UPDATE instance SET pixels = $1, frames = 1 WHERE sop_uid = '1.2.1.2'`, []any{single}},
	} {
		if _, err := ix.pool.Exec(t.Context(), statement.sql, statement.args...); err != nil {
			t.Fatal(err)
		}
	}
	sql, err := migrations.ReadFile("migrations/00012_frame_map.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ix.pool.Exec(t.Context(), updatesOf(t, string(sql))); err != nil {
		t.Fatal(err)
	}
	count(t, ix, 0, `SELECT count(*) FROM instance WHERE pixels ? 'Fragments' AND frames > 1`)
	rows, _, err := ix.Instances(t.Context(), system, pacs.InstanceFilter{})
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	if p := rows[0].Location.PixelData; p.Mapped != 500 || p.Fragments != nil || p.Offset != 900 {
		t.Fatalf("%+v", p)
	}
	m, err := ix.FrameMap(t.Context(), rows[0])
	if err != nil || m.Frames() != 500 {
		t.Fatal(m.Frames(), err)
	}
	if f, ok := m.Frame(400); !ok || !cmp.Equal(f, want[399]) {
		t.Errorf("%v %v", f, ok)
	}
	if p := rows[1].Location.PixelData; p.Mapped != 0 || !cmp.Equal(p.Fragments, [][]pacs.Range{{{Offset: 908, Length: 7}}}) {
		t.Errorf("%+v", p)
	}
}

// updatesOf is the statement of a migration that moves the data.
func updatesOf(t *testing.T, migration string) string {
	t.Helper()
	up, _, _ := strings.Cut(migration, "-- +goose Down")
	_, update, ok := strings.Cut(up, "UPDATE instance")
	if !ok {
		t.Fatal("no UPDATE in the migration")
	}
	return "UPDATE instance" + update
}
