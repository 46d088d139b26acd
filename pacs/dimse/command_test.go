package dimse

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
)

// unhex reads hexadecimal bytes; text in quotes stands for its ASCII bytes and
// ';' begins a comment.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, ";")
		for i, part := range strings.Split(line, "'") {
			if i%2 == 1 {
				out = append(out, part...)
				continue
			}
			b, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			out = append(out, b...)
		}
	}
	return out
}

// What dcmtk 3.6.7 sends and answers. PS3.7 Tables 9.3-1, 9.3-2, 9.3-12 and
// 9.3-13; elements are tag, length, value in Implicit VR Little Endian.
const (
	echoRQ = `
		0000 0000 04000000 38000000               ; group length 56
		0000 0200 12000000 '1.2.840.10008.1.1' 00 ; affected SOP class: verification
		0000 0001 02000000 3000                   ; command field 0030H: C-ECHO-RQ
		0000 1001 02000000 0100                   ; message ID 1
		0000 0008 02000000 0101                   ; data set type 0101H: none`
	echoRSP = `
		0000 0000 04000000 42000000
		0000 0200 12000000 '1.2.840.10008.1.1' 00
		0000 0001 02000000 3080                   ; 8030H: C-ECHO-RSP
		0000 2001 02000000 0100                   ; in response to message 1
		0000 0008 02000000 0101
		0000 0009 02000000 0000                   ; status 0000H: success`
	storeRQ = `
		0000 0000 04000000 8A000000
		0000 0200 1E000000 '1.2.840.10008.5.1.4.1.1.88.11' 00
		0000 0001 02000000 0100                   ; 0001H: C-STORE-RQ
		0000 1001 02000000 0100
		0000 0007 02000000 0000                   ; priority medium
		0000 0008 02000000 0000                   ; a data set follows
		0000 0010 34000000 '1.2.276.0.7230010.3.1.4.1787205428.166.1117461927.10'`
	storeRSP = `
		0000 0000 04000000 8A000000
		0000 0200 1E000000 '1.2.840.10008.5.1.4.1.1.88.11' 00
		0000 0001 02000000 0180
		0000 2001 02000000 0100
		0000 0008 02000000 0101
		0000 0009 02000000 0000
		0000 0010 34000000 '1.2.276.0.7230010.3.1.4.1787205428.166.1117461927.10'`
	// A refusal by hand, after PS3.7 Annex C.5.21.
	refusal = `
		0000 0000 04000000 4E000000
		0000 0001 02000000 0180
		0000 2001 02000000 0700
		0000 0008 02000000 0101
		0000 0009 02000000 2001                   ; 0120H: missing attribute
		0000 0109 04000000 0000 0010              ; offending element (0000,1000)
		0000 0209 12000000 'no instance given '   ; error comment`
)

func TestGoldenCommands(t *testing.T) {
	const sr, instance = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.276.0.7230010.3.1.4.1787205428.166.1117461927.10"
	build := func(f func(*Command)) Command { var c Command; f(&c); return c }
	echo := build(func(c *Command) {
		c.SetUint16(CommandDataSetType, noDataSet) // elements are sorted
		c.SetUID(AffectedSOPClassUID, dicom.VerificationSOPClass)
		c.SetUint16(MessageID, 1)
		c.SetUint16(CommandField, uint16(CEchoRQ))
	})
	store := build(func(c *Command) {
		c.SetUID(AffectedSOPInstanceUID, instance)
		c.SetUint16(MessageID, 9)
		c.SetUID(AffectedSOPClassUID, sr)
		c.SetUint16(CommandField, uint16(CStoreRQ))
		c.SetUint16(CommandDataSetType, hasDataSet)
		c.SetUint16(Priority, 0)
		c.SetUint16(MessageID, 1) // set again
	})
	stored := newResponse(store, Status{Comment: "not sent with success"})
	stored.SetUID(AffectedSOPInstanceUID, instance)
	tests := []struct {
		name    string
		bytes   string
		command Command
	}{
		{"C-ECHO-RQ", echoRQ, echo},
		{"C-ECHO-RSP", echoRSP, newResponse(echo, Status{})},
		{"C-STORE-RQ", storeRQ, store},
		{"C-STORE-RSP", storeRSP, stored},
		{"refusal", refusal, newResponse(build(func(c *Command) {
			c.SetUint16(CommandField, uint16(CStoreRQ))
			c.SetUint16(MessageID, 7)
		}), Status{Code: MissingAttribute, Comment: "no instance given", Offending: []uint32{uint32(AffectedSOPInstanceUID)}})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.bytes)
			if diff := cmp.Diff(want, tt.command.Encode()); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			got, err := ParseCommand(want)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got.elements, tt.command.elements, func(a, b element) bool {
				return a.tag == b.tag && bytes.Equal(a.value, b.value)
			}) {
				t.Errorf("decoded %v, want %v", got, tt.command)
			}
		})
	}
	c, err := ParseCommand(unhex(t, storeRQ))
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := c.Uint16(MessageID); !ok || id != 1 || c.Field() != CStoreRQ || !c.HasDataSet() ||
		c.Text(AffectedSOPClassUID) != sr || c.Text(AffectedSOPInstanceUID) != instance || c.Has(StatusElement) {
		t.Errorf("C-STORE-RQ read as %v", c)
	}
	c, err = ParseCommand(unhex(t, refusal))
	if status, ok := statusOf(c); err != nil || !ok || status.Code != MissingAttribute || status.Comment != "no instance given" ||
		!slices.Equal(status.Offending, []uint32{uint32(AffectedSOPInstanceUID)}) {
		t.Errorf("refusal read as %v, %v", status, err)
	}
}

func TestParseCommandRefuses(t *testing.T) {
	many := []byte{}
	for i := range 65 {
		many = append(many, 0, 0, byte(i+1), 0, 0, 0, 0, 0)
	}
	tests := []struct {
		name  string
		bytes []byte
		text  string
	}{
		{"half an element", unhex(t, "0000 0001 02"), "5 stray bytes"},
		{"another group", unhex(t, "0800 1800 00000000"), "(0008,0018) is not of group 0000"},
		{"value of 4 GB", unhex(t, "0000 0001 FFFFFFFF"), "claims 4294967295 bytes, 0 are left"},
		{"value cut", unhex(t, "0000 0001 02000000 30"), "claims 2 bytes, 1 are left"},
		{"duplicate", unhex(t, "0000 0001 00000000 0000 0001 00000000"), "out of order"},
		{"descending", unhex(t, "0000 1001 00000000 0000 0001 00000000"), "out of order"},
		{"too many elements", many, "more than 64"},
		{"explicit VR", unhex(t, "0000 0001 'US' 0200 3000"), "claims"},
		{"big endian", unhex(t, "0000 0100 00000002 0030"), "claims"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseCommand(tt.bytes)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
	whole := unhex(t, storeRQ)
	taken := 0
	for n := range whole {
		if c, err := ParseCommand(whole[:n]); err == nil {
			taken++ // at an element's end it is a shorter command set
			if c.Field() == CStoreRQ && c.Text(AffectedSOPInstanceUID) != "" {
				t.Errorf("%d of %d bytes gave a whole request", n, len(whole))
			}
		}
	}
	if taken != 7 {
		t.Errorf("%d prefixes were taken, want one per element", taken)
	}
}

func TestParseCommandForgives(t *testing.T) {
	c, err := ParseCommand(unhex(t, `
		0000 0000 04000000 FFFFFFFF       ; a wrong group length
		0000 0100 04000000 00000000       ; (0000,0001), retired length to end
		0000 0001 02000000 3000
		0000 FFFE 03000000 010203         ; a private idea, of odd length`))
	if err != nil || c.Field() != CEchoRQ || !bytes.Equal(c.Bytes(0x0000_FEFF), []byte{1, 2, 3}) {
		t.Errorf("got %v, %v", c, err)
	}
	// Short or empty values are no values, and nothing breaks.
	c, err = ParseCommand(unhex(t, "0000 0001 01000000 30 0000 1001 00000000 0000 0109 03000000 000000"))
	if err != nil || c.Field() != 0 || c.Tags(OffendingElement) != nil || c.HasDataSet() {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestErrorComment(t *testing.T) {
	tests := []struct{ in, want string }{
		{"disk full", "disk full"},
		{`a\b` + "\n\tc", "a b  c"},
		{"Каримов", "???????"},
		{strings.Repeat("x", 70), strings.Repeat("x", 64)},
		{strings.Repeat("x", 63) + "ю" + "y", strings.Repeat("x", 63) + "?"},
		{"  ", ""},
	}
	for _, tt := range tests {
		if got := errorComment(tt.in); got != tt.want {
			t.Errorf("errorComment(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestAcceptance12StatusTable(t *testing.T) {
	tests := map[Category][]Code{
		CategorySuccess: {0x0000},
		CategoryWarning: {0x0001, 0x0107, 0x0116, 0xB000, 0xB006, 0xB007, 0xB123, 0xBFFF},
		CategoryFailure: {
			0x0105, 0x0106, 0x0110, 0x0111, 0x0112, 0x0117, 0x0118, 0x0119, 0x0120, 0x0121, 0x0122, 0x0124, 0x0210, 0x0211,
			0x0212, 0x0213, 0xA700, 0xA7FF, 0xA900, 0xA9FF, 0xA801, 0xC000, 0xC123, 0xCFFF, 0x0002, 0xD000, 0xFFFF,
		},
		CategoryCancel:  {0xFE00},
		CategoryPending: {0xFF00, 0xFF01},
	}
	for want, codes := range tests {
		for _, c := range codes {
			if got := c.Category(); got != want {
				t.Errorf("%s is %s, want %s", c, got, want)
			}
			if ok := (Status{Code: c}).OK(); ok != (want == CategorySuccess || want == CategoryWarning) {
				t.Errorf("%s: OK is %v", c, ok)
			}
		}
	}
}

// FuzzCommand: what is taken is encoded to the same command set, and every
// accessor holds.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{echoRQ, echoRSP, storeRQ, storeRSP, refusal, "0000 0001 FFFFFFFF", "0800 1800 00000000"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCommand(b)
		if err != nil {
			return
		}
		again, err := ParseCommand(c.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.elements, again.elements, cmp.AllowUnexported(element{})); diff != "" {
			t.Fatal(diff)
		}
		status, _ := statusOf(c)
		rsp := newResponse(c, status)
		if _, err := ParseCommand(rsp.Encode()); err != nil {
			t.Fatalf("own response: %v", err)
		}
		_, _, _ = c.Field().String(), status.String(), c.HasDataSet()
	})
}
