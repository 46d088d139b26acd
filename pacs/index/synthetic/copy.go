package synthetic

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"
)

// copied is rows of one table on their way to COPY, in its binary format
// (PostgreSQL's manual, "COPY", File Formats): millions of rows are made, and
// going through a driver's types takes longer than all the rest.
type copied struct {
	table  string
	column []string
	buf    []byte
	rows   int
}

// The header: signature, no flags, no extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func newCopied(table string, column ...string) *copied {
	return &copied{table: table, column: column, buf: []byte(copyHeader)}
}

// row begins a row; a value of each column follows.
func (c *copied) row() {
	c.rows++
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(len(c.column)))
}

func (c *copied) length(n int) { c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n)) }

func (c *copied) int8(v int64) {
	c.length(8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
}

func (c *copied) int4(v int) {
	c.length(4)
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(v))
}

func (c *copied) text(v string) {
	c.length(len(v))
	c.buf = append(c.buf, v...)
}

func (c *copied) bytes(v []byte) {
	c.length(len(v))
	c.buf = append(c.buf, v...)
}

func (c *copied) bool(v bool) {
	c.length(1)
	if v {
		c.buf = append(c.buf, 1)
	} else {
		c.buf = append(c.buf, 0)
	}
}

// json is a jsonb: version 1 of its format, then the text.
func (c *copied) json(v []byte) {
	c.length(len(v) + 1)
	c.buf = append(c.buf, 1)
	c.buf = append(c.buf, v...)
}

// time is a timestamptz: microseconds since 2000.
func (c *copied) time(v time.Time) { c.int8(v.UnixMicro() - epoch) }

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// texts is a text[]: dimensions, no nulls, the type's number; length and first
// subscript of the dimension; then each element.
func (c *copied) texts(v ...string) {
	const textType = 25
	size := 20
	for _, s := range v {
		size += 4 + len(s)
	}
	c.length(size)
	for _, n := range []int{1, 0, textType, len(v), 1} {
		c.length(n)
	}
	for _, s := range v {
		c.text(s)
	}
}

// send writes the rows.
func (c *copied) send(ctx context.Context, conn *pgx.Conn) error {
	names := ""
	for i, name := range c.column {
		if i > 0 {
			names += ", "
		}
		names += pgx.Identifier{name}.Sanitize()
	}
	_, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(binary.BigEndian.AppendUint16(c.buf, 0xffff)),
		`COPY `+pgx.Identifier{c.table}.Sanitize()+` (`+names+`) FROM STDIN (FORMAT binary)`)
	return err
}

// part is some of the rows, of all tables that they touch.
type part struct {
	tables []*copied
	things int // patients or studies
}

func (p *part) send(ctx context.Context, conn *pgx.Conn) error {
	for _, t := range p.tables {
		if err := t.send(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}
