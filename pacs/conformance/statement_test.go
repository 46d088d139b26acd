package conformance

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
)

// server offers one service and storage.
func server() *dimse.Server {
	return &dimse.Server{
		AETitle: "ARCHIVE",
		Store:   dimse.StoreHandlerFunc(func(context.Context, *dimse.StoreRequest) dimse.Status { return dimse.Status{} }),
		Services: []dimse.Service{{
			SOPClasses: []string{dicom.StudyRootFindSOPClass, "1.2.826.0.1.3680043.10.999.7"},
			Find:       func(context.Context, *dimse.Request, *dimse.Matches) dimse.Status { return dimse.Status{} },
		}},
	}
}

func written(t *testing.T, s *Source) string {
	t.Helper()
	var b strings.Builder
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The frame is that of PS3.2 Annex A; what is in it is the server's.
func TestFrame(t *testing.T) {
	text := written(t, &Source{Version: "9", Server: server()})
	var headings []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "## ") {
			headings = append(headings, strings.TrimSpace(line[3:]))
		}
	}
	want := []string{
		"1 Conformance statement overview", "2 Networking", "3 SOP specific conformance", "4 Status codes", "5 Media interchange",
		"6 Character sets", "7 Security", "8 DICOMweb", "9 Extensions, specialisations, privatisations", "10 Not supported",
	}
	if strings.Join(headings, "\n") != strings.Join(want, "\n") {
		t.Errorf("sections %q", headings)
	}
	for _, line := range []string{
		"# DICOM Conformance Statement: Tasvir 9",
		"| Study Root Query/Retrieve - FIND | 1.2.840.10008.5.1.4.1.2.2.1 | set B | SCU | C-FIND | none |",
		"| 1.2.826.0.1.3680043.10.999.7 | 1.2.826.0.1.3680043.10.999.7 | set B | SCU | C-FIND | none |", // of no standard
		"| Modality Worklist - FIND | 1.2.840.10008.5.1.4.31 |",                                         // refused
		"- C-MOVE as performer",
		"- Search for studies",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("without %q", line)
		}
	}
	for _, not := range []string{"3.4 Modality worklist", "3.5 Modality performed", "3.6 Storage commitment", "### C-MOVE"} {
		if strings.Contains(text, not) {
			t.Errorf("tells of %s, which is not served", not)
		}
	}
}

// Without a store no storage class is offered, and none is stated.
func TestNothingIsStatedThatIsNotServed(t *testing.T) {
	s := &Source{Server: &dimse.Server{AETitle: "ARCHIVE"}}
	offered, refused := s.Offers()
	if len(offered) != 1 || offered[0].SOPClassUID != dicom.VerificationSOPClass || len(refused) != len(dicom.ServiceSOPClasses)+len(dicom.StorageSOPClasses)-1 {
		t.Errorf("%d offered, %d refused", len(offered), len(refused))
	}
	if text := written(t, s); strings.Contains(text, "3.2 Storage") || strings.Contains(text, "### C-STORE") {
		t.Error("storage is stated")
	}
}

// Every status that the program has a name for is in a table.
func TestStatusTablesAreComplete(t *testing.T) {
	all := server()
	none := func(context.Context, *dimse.Request) dimse.NResponse { return dimse.NResponse{} }
	all.Services[0].Move = func(context.Context, *dimse.Request, *dimse.Progress) dimse.Retrieved { return dimse.Retrieved{} }
	all.Services[0].Get = func(context.Context, *dimse.Request, *dimse.Getter) dimse.Retrieved { return dimse.Retrieved{} }
	all.Services[0].NAction, all.Services[0].NSet = none, none
	text := written(t, &Source{Server: all})
	type span struct{ first, last uint64 }
	var spans []span
	for _, row := range regexp.MustCompile(`(?m)^\| ([0-9A-F]{4})(?: to ([0-9A-F]{4}))? \|`).FindAllStringSubmatch(text, -1) {
		first, _ := strconv.ParseUint(row[1], 16, 16)
		last := first
		if row[2] != "" {
			last, _ = strconv.ParseUint(row[2], 16, 16)
		}
		spans = append(spans, span{first, last})
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../dimse/status.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is no literal", spec.Names[0].Name)
		}
		code, err := strconv.ParseUint(literal.Value, 0, 16)
		if err != nil {
			t.Fatal(err)
		}
		n++
		for _, s := range spans {
			if s.first <= code && code <= s.last {
				return true
			}
		}
		t.Errorf("%s, %04X, is in no table", spec.Names[0].Name, code)
		return true
	})
	if n < 25 {
		t.Errorf("only %d statuses found in the code", n)
	}
	for _, f := range []dimse.Field{dimse.CStoreRQ, dimse.CFindRQ, dimse.CMoveRQ, dimse.CGetRQ} {
		if len(dimse.Statuses(f)) == 0 || !strings.Contains(text, "### "+operation(f)+"\n") {
			t.Errorf("no table of %s", operation(f))
		}
	}
}

// A writer that fails is not passed over.
func TestWriteFails(t *testing.T) {
	if err := (&Source{Server: server()}).Write(broken{}); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// A bar in a text breaks no table.
func TestTableEscapes(t *testing.T) {
	text := written(t, &Source{Server: server(), Settings: []Setting{{Flag: "--a", Help: "x|y\nz"}}})
	if !strings.Contains(text, "| `--a` | `` | - | x\\|y z |") {
		t.Error("not escaped")
	}
}
