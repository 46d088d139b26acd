package quarantine_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/quarantine"
)

// TestEveryFileIsAccountedFor brings in all of ../shared/dicom: each file is
// archived, was archived before (the same bytes under the same UID), or is in
// quarantine with the reason; only what is no data set at all is refused.
func TestEveryFileIsAccountedFor(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "dicom")
	manifest, err := os.Open(filepath.Join(root, "MANIFEST.tsv"))
	if err != nil {
		t.Skip("../shared/dicom is absent: ", err)
	}
	defer manifest.Close()
	var names []string
	for lines := bufio.NewScanner(manifest); lines.Scan(); {
		if name, _, _ := strings.Cut(lines.Text(), "\t"); name != "file" {
			names = append(names, name)
		}
	}
	if len(names) != 518 {
		t.Fatalf("the manifest names %d files", len(names))
	}
	a := newArchive(t)
	type arrival struct {
		name           string
		whole, hash    [32]byte // of the file, and of its data set
		header         *dicom.Header
		unfit, refused string
	}
	var arrivals []arrival
	for _, name := range names {
		file, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		in := arrival{name: name, whole: sha256.Sum256(file)}
		receipt, err := a.journal.Receive(t.Context(), pacs.Incoming{Data: bytes.NewReader(file), Channel: pacs.ChannelImport, Facility: "A", Sender: "import"})
		if err != nil {
			reason, _ := pacs.ReasonOf(err)
			in.refused = reason + ": " + err.Error()
			if reason != pacs.ReasonNotDICOM {
				t.Errorf("%s was refused: %v", name, err)
			}
		} else {
			in.unfit = string(receipt.Unfit)
			in.header, _ = dicom.Scan(bytes.NewReader(file), dicom.ScanOptions{})
			in.hash = sha256.Sum256(file[in.header.DatasetOffset:])
		}
		arrivals = append(arrivals, in)
	}
	a.idle()

	archived := map[[32]byte]bool{}
	rows, err := a.index.Pool().Query(t.Context(), `SELECT sha256 FROM instance`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var sum []byte
		if err := rows.Scan(&sum); err != nil {
			t.Fatal(err)
		}
		archived[[32]byte(sum)] = true
	}
	inWard := map[[32]byte]pacs.QuarantineReason{}
	items := a.list()
	for _, item := range items {
		body, err := a.store.Get(t.Context(), "quarantine/"+item.ID+".dcm", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, body); err != nil {
			t.Fatal(err)
		}
		body.Close()
		inWard[[32]byte(sum.Sum(nil))] = item.Reason
	}

	// The files that can't be archived as they are, whatever came before them.
	unfit, refused := map[string]string{}, map[string]string{}
	counts := map[string]int{}
	for _, in := range arrivals {
		reason, kept := inWard[in.whole]
		switch {
		case in.refused != "":
			refused[in.name] = in.refused
			counts["refused"]++
		case kept:
			counts[string(reason)]++
			if in.unfit != "" {
				unfit[in.name] = in.unfit
				if string(reason) != in.unfit {
					t.Errorf("%s: in quarantine for %s, received as %s", in.name, reason, in.unfit)
				}
			} else if reason != pacs.OtherPatient {
				t.Errorf("%s: in quarantine for %s", in.name, reason)
			}
		case in.unfit == "" && archived[in.hash]:
			counts["archived"]++
		default:
			t.Errorf("%s is neither archived nor in quarantine nor refused", in.name)
		}
	}
	same(t, "can't be archived as they are", unfit, wantUnfit)
	same(t, "are no data sets at all", refused, wantRefused)
	if held := a.journal.Stats(); held.Held != 0 || held.Bytes != 0 {
		t.Errorf("the journal has %+v", held)
	}

	// Released just so, they get the UIDs that they lack; what can't be
	// released says why, and stays.
	var ids []string
	for _, item := range items {
		ids = append(ids, item.ID)
	}
	released, stay, err := a.ward.Release(t.Context(), a.admin, ids, quarantine.Correction{})
	if err != nil {
		t.Fatal(err)
	}
	a.idle()
	for _, r := range stay {
		if !strings.Contains(r.Message, "SOP Class UID") && !strings.Contains(r.Message, "DICOMDIR") && !strings.Contains(r.Message, "to its end") {
			t.Errorf("%s stays: %s", r.ID, r.Message)
		}
	}
	if left := a.list(); len(left) != len(stay) || len(released)+len(stay) != len(items) {
		t.Errorf("of %d items %d are released and %d refused, %d are left", len(items), len(released), len(stay), len(left))
	}
	if n := a.count(`SELECT count(*) FROM instance`); n != len(archived)+len(released) {
		t.Errorf("%d instances, want %d and the %d released", n, len(archived), len(released))
	}
	t.Logf("%d files: %v; %d of those in quarantine could be released; %d instances and versions in the index", len(arrivals), counts, len(released), len(archived))
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, reason := range got {
		if w, ok := want[name]; !ok || !strings.HasPrefix(reason, w) {
			t.Errorf("files that %s: %s: %q, want %q", what, name, reason, w)
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("files that %s: %s is missing", what, name)
		}
	}
}

var (
	wantUnfit = map[string]string{
		"dcm_qa_ct/In/Philips/S21610/S2010/DIRFILE":            string(pacs.MissingUID),
		"debian-nibabel/decimal_rescale.dcm":                   string(pacs.MissingUID),
		"pydicom-data/HTJ2KLossless_08_RGB.dcm":                string(pacs.MissingUID),
		"pydicom-data/JLSL_08_07_0_1F.dcm":                     string(pacs.MissingUID),
		"pydicom-data/JLSL_16_15_1_1F.dcm":                     string(pacs.MissingUID),
		"pydicom-data/JLSL_RGB_ILV0.dcm":                       string(pacs.MissingUID),
		"pydicom-data/JLSL_RGB_ILV1.dcm":                       string(pacs.MissingUID),
		"pydicom/charset_files/chrSQEncoding.dcm":              string(pacs.MissingUID),
		"pydicom/charset_files/chrSQEncoding1.dcm":             string(pacs.MissingUID),
		"pydicom/palettes/fall.dcm":                            string(pacs.MissingUID),
		"pydicom/palettes/hotiron.dcm":                         string(pacs.MissingUID),
		"pydicom/palettes/hotmetalblue.dcm":                    string(pacs.MissingUID),
		"pydicom/palettes/pet.dcm":                             string(pacs.MissingUID),
		"pydicom/palettes/pet20step.dcm":                       string(pacs.MissingUID),
		"pydicom/palettes/spring.dcm":                          string(pacs.MissingUID),
		"pydicom/palettes/summer.dcm":                          string(pacs.MissingUID),
		"pydicom/palettes/winter.dcm":                          string(pacs.MissingUID),
		"pydicom/test_files/JPEGLSNearLossless_08.dcm":         string(pacs.MissingUID),
		"pydicom/test_files/JPEGLSNearLossless_16.dcm":         string(pacs.MissingUID),
		"pydicom/test_files/MR_truncated.dcm":                  string(pacs.BrokenHeader),
		"pydicom/test_files/SC_rgb_jls_lossy_line.dcm":         string(pacs.MissingUID),
		"pydicom/test_files/SC_rgb_jls_lossy_sample.dcm":       string(pacs.MissingUID),
		"pydicom/test_files/UN_sequence.dcm":                   string(pacs.MissingUID),
		"pydicom/test_files/dicomdirtests/DICOMDIR":            string(pacs.MissingUID),
		"pydicom/test_files/dicomdirtests/DICOMDIR-bigEnd":     string(pacs.MissingUID),
		"pydicom/test_files/dicomdirtests/DICOMDIR-empty.dcm":  string(pacs.MissingUID),
		"pydicom/test_files/dicomdirtests/DICOMDIR-implicit":   string(pacs.MissingUID),
		"pydicom/test_files/dicomdirtests/DICOMDIR-nooffset":   string(pacs.BrokenHeader),
		"pydicom/test_files/dicomdirtests/DICOMDIR-nopatient":  string(pacs.MissingUID),
		"pydicom/test_files/dicomdirtests/DICOMDIR-reordered":  string(pacs.MissingUID),
		"pydicom/test_files/dicomdirtests/TINY_ALPHA/DICOMDIR": string(pacs.MissingUID),
		"pydicom/test_files/empty_charset_LEI.dcm":             string(pacs.MissingUID),
		"pydicom/test_files/meta_missing_tsyntax.dcm":          string(pacs.MissingUID),
		"pydicom/test_files/nested_priv_SQ.dcm":                string(pacs.MissingUID),
		"pydicom/test_files/no_meta_group_length.dcm":          string(pacs.MissingUID),
		"pydicom/test_files/priv_SQ.dcm":                       string(pacs.MissingUID),
		"pydicom/test_files/rtplan_truncated.dcm":              string(pacs.BrokenHeader),
	}
	// The bytes of a data set from somewhere in its middle.
	wantRefused = map[string]string{"pydicom/test_files/no_meta.dcm": pacs.ReasonNotDICOM}
)
