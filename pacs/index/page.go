package index

import (
	"encoding/base64"
	"encoding/json"
	"math"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// DefaultLimit is the length of a page when the filter says none, MaxLimit
// the longest.
const (
	DefaultLimit = 1000
	MaxLimit     = 5000
)

// cursor is the sort key of the last row of a page. To callers it is opaque.
type cursor struct {
	Text   string `json:"t,omitempty"`
	Number int    `json:"n,omitempty"`
	ID     int64  `json:"i,omitempty"`
	UID    string `json:"u,omitempty"`
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(s string) (cursor, error) {
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || !matchable(c.Text) || !matchable(c.UID) || c.Number < math.MinInt32 || c.Number > math.MaxInt32 {
		return c, pacs.Errorf(pacs.Invalid, "The page marker is not one of ours; begin at the first page")
	}
	return c, nil
}

// limit is the number of rows to fetch: one more than the page, to know
// whether another follows.
func limit(p pacs.Page) int {
	switch {
	case p.Limit <= 0:
		return DefaultLimit + 1
	case p.Limit > MaxLimit:
		return MaxLimit + 1
	}
	return p.Limit + 1
}

// offset is the number of rows to pass over; a cursor stands in for it.
func offset(p pacs.Page) int {
	if p.After != "" {
		return 0
	}
	return max(p.Offset, 0)
}

// cut drops the row that was fetched beyond the page and returns the cursor
// of the last that stays.
func cut[T any](rows []T, p pacs.Page, key func(T) cursor) ([]T, string) {
	n := limit(p) - 1
	if len(rows) <= n {
		return rows, ""
	}
	rows = rows[:n]
	return rows, key(rows[n-1]).String()
}
