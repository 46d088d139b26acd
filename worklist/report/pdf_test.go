package report

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
)

func sampleDocument(language string) Document {
	tashkent := time.FixedZone("+05", 5*60*60)
	doc := Document{
		Language:        language,
		ReportID:        "5f0c1f9e-8a3b-4c62-9d0e-7a1b2c3d4e5f",
		Version:         1,
		FacilityName:    "Urgut tuman tibbiyot birlashmasi",
		FacilityDetails: "Samarqand viloyati, Urgut shahri, Navoiy koʻchasi 12 · STIR 300000002",
		PatientName:     "Gʻulomov Oʻktam Hasanovich", PatientSex: "M", BirthDate: "12.03.1968", PatientID: "A-12345", PINFL: "31203680000044",
		StudyDescription: "KT bosh miya, kontrastsiz", Modality: "CT",
		StudyDate: time.Date(2026, 11, 21, 13, 30, 0, 0, tashkent), Accession: "ACC-2026-000077",
		Indication: "Toʻsatdan boshlangan nutq buzilishi, 1 soat. Insultga shubha.",
		Technique:  "Bosh miya KT, kontrastsiz, kesim qalinligi 1,0 mm.",
		Findings: "Bosh miya moddasida oʻtkir qon quyilishi belgilari aniqlanmadi. Kulrang va oq modda chegarasi saqlangan.\n\n" +
			"Oʻng oʻrta miya arteriyasi M1 segmentida zichlik oshgan (52 HU, chap tomonda 38 HU). Orol poʻstlogʻi chegarasi oʻngda silliqlangan. ASPECTS 9.\n\n" +
			"Qorinchalar kengaymagan, oʻrta chiziq siljimagan (≤ 1 mm). Asos sisternalari erkin. Suyak oʻzgarishlari yoʻq.",
		Impression: "Oʻng oʻrta miya arteriyasi havzasida erta ishemiya belgilari, ASPECTS 9. Qon quyilishi yoʻq.\nKT-angiografiya tavsiya etiladi.",
		SignerName: "Karimova Nilufar Rustamovna", SignerPosition: "Vrach-rentgenolog",
		SignedAt: time.Date(2026, 11, 21, 14, 5, 0, 0, tashkent),
	}
	return doc
}

func render(t *testing.T, doc Document) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := RenderPDF(&out, doc); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// poppler runs one of poppler's tools on a PDF and returns what it prints. Set
// TASVIR_PDF_DIR to keep the files and look at them.
func poppler(t *testing.T, tool string, pdf []byte, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		if os.Getenv("TASVIR_TEST_REQUIRE") == "1" {
			t.Fatalf("%s is not installed: apt-get install poppler-utils", tool)
		}
		t.Skipf("%s is not installed", tool)
	}
	dir := os.Getenv("TASVIR_PDF_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	file := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+".pdf")
	if err := os.WriteFile(file, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	command := exec.Command(tool, append(args, file, "-")...)
	if tool == "pdfinfo" {
		command = exec.Command(tool, file)
	}
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("%s: %v %s", tool, err, complaints.String())
	}
	return string(out)
}

func text(t *testing.T, pdf []byte) string {
	t.Helper()
	return strings.Join(strings.Fields(poppler(t, "pdftotext", pdf, "-layout")), " ")
}

func TestPDFSaysEverythingInEachLanguage(t *testing.T) {
	for language, labels := range map[string][]string{
		"uz":      {"Tasviriy tekshiruv xulosasi", "Tugʻilgan sana", "erkak", "KOʻRSATMA", "TAVSIF", "JShShIR", "1-versiya", "1-sahifa, jami 1"},
		"uz-Cyrl": {"Тасвирий текширув хулосаси", "Туғилган сана", "эркак", "КЎРСАТМА", "Бемор рақами", "1-саҳифа, жами 1"},
		"ru":      {"Заключение лучевого исследования", "Дата рождения", "мужской", "ПОКАЗАНИЯ", "ПИНФЛ", "страница 1 из 1"},
		"en":      {"Diagnostic imaging report", "Date of birth", "male", "INDICATION", "PINFL", "page 1 of 1"},
		"kaa":     {"Diagnostic imaging report"},
	} {
		t.Run(language, func(t *testing.T) {
			doc := sampleDocument(language)
			got := text(t, render(t, doc))
			for _, want := range append(labels,
				doc.FacilityName, doc.PatientName, doc.BirthDate, doc.PatientID, doc.PINFL, doc.StudyDescription,
				"21.11.2026 13:30", doc.Accession, "52 HU", "≤ 1 mm", "KT-angiografiya tavsiya etiladi.",
				doc.SignerName, "21.11.2026 14:05", doc.ReportID,
			) {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in the PDF:\n%s", want, got)
				}
			}
		})
	}
}

func TestPDFKeepsUzbekLetters(t *testing.T) {
	doc := sampleDocument("uz")
	doc.PatientName = "Ўғилой Қаҳҳорова Ғайратовна"
	doc.Findings = "Oʻ oʻ Gʻ gʻ ʼ maʼno; Ў ў Қ қ Ғ ғ Ҳ ҳ Ё ё; O‘zbekiston; № 5 ± 2 µm² → ≥ 3 °C"
	got := text(t, render(t, doc))
	for _, want := range []string{doc.PatientName, doc.Findings} {
		if !strings.Contains(got, want) {
			t.Errorf("%q came out differently:\n%s", want, got)
		}
	}
}

func TestPDFSaysWhatItCorrects(t *testing.T) {
	doc := sampleDocument("ru")
	doc.Version = 2
	// 20:30 UTC is the next day in Tashkent.
	doc.CorrectionOf = &EarlierVersion{Version: 1, SignedAt: time.Date(2026, 11, 20, 20, 30, 0, 0, time.UTC)}
	if got := text(t, render(t, doc)); !strings.Contains(got, "Исправление версии 1 от 21.11.2026") || !strings.Contains(got, "версия 2") {
		t.Errorf("no word of the correction:\n%s", got)
	}
	doc.CorrectionOf, doc.AddendumTo = nil, doc.CorrectionOf
	if got := text(t, render(t, doc)); !strings.Contains(got, "Дополнение к версии 1 от 21.11.2026") {
		t.Errorf("no word of the addendum:\n%s", got)
	}
}

func TestPDFIsTheSameEachTime(t *testing.T) {
	doc := sampleDocument("uz-Cyrl")
	first := render(t, doc)
	for range 5 {
		if !bytes.Equal(first, render(t, doc)) {
			t.Fatal("two renderings of one document differ")
		}
	}
	doc.SignedAt = doc.SignedAt.UTC()
	doc.StudyDate = doc.StudyDate.UTC()
	if !bytes.Equal(first, render(t, doc)) {
		t.Error("the zone in which a time is given changes the PDF")
	}
}

func TestPDFFlowsOverPages(t *testing.T) {
	doc := sampleDocument("uz")
	var long []string
	for range 120 {
		long = append(long, "Oʻpka toʻqimasida oʻchoqli oʻzgarishlar aniqlanmadi, ildizlar kengaymagan, plevra boʻshligʻida suyuqlik yoʻq.")
	}
	long = append(long, strings.Repeat("uzluksiz", 60), "OXIRGI SATR")
	doc.Findings = strings.Join(long, "\n")
	pdf := render(t, doc)
	got := text(t, pdf)
	for _, want := range []string{"OXIRGI SATR", "1-sahifa, jami 7", "6-sahifa, jami 7", doc.SignerName} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if n := strings.Count(got, "oʻchoqli"); n != 120 {
		t.Errorf("%d of 120 lines came out", n)
	}
	// Every page but the first says whose it is; the first does so in its own way.
	if n := strings.Count(got, doc.PatientName+", "+doc.BirthDate); n != 6 {
		t.Errorf("%d of 6 further pages name the patient", n)
	}
	if info := poppler(t, "pdfinfo", pdf); !strings.Contains(info, "(A4)") {
		t.Errorf("not A4:\n%s", info)
	}
}

func TestPDFTakesAnyText(t *testing.T) {
	doc := sampleDocument("en")
	doc.PatientName = "A\x00B\x1b[31m 😀 \xff\xfe " + strings.Repeat("W", 5000)
	doc.Findings = "bell\a \u202Eevil\u202C 😀 漢字 \U0010FFFF (parens) \\ backslash\vtab\there\u200B"
	doc.ReportID = strings.Repeat("x", 1000)
	doc.Accession = strings.Repeat("9", 200)
	got := text(t, render(t, doc))
	for _, want := range []string{"bell", "evil", "(parens)", `\ backslash`, "\uFFFD"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	if strings.ContainsAny(got, "\a\u202E\u200B😀") {
		t.Error("unprintable characters are in the text")
	}
	render(t, Document{})

	doc.Findings = strings.Repeat("a", maxPDFText+1)
	if err := RenderPDF(&bytes.Buffer{}, doc); pacs.CodeOf(err) != pacs.TooLarge {
		t.Errorf("a section without bounds: %v", err)
	}
}

func FuzzRenderPDF(f *testing.F) {
	f.Add("Ў ʼ 😀\n\n\r\n\x00", "Ғанин^Али")
	f.Add(strings.Repeat("a", 400), "")
	f.Fuzz(func(t *testing.T, text, name string) {
		if len(text) > 4000 || len(name) > 4000 {
			return
		}
		doc := Document{Language: "uz", PatientName: name, Findings: text, Impression: text, SignerName: name}
		if err := RenderPDF(&bytes.Buffer{}, doc); err != nil {
			t.Fatal(err)
		}
	})
}
