package report

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"codeberg.org/go-pdf/fpdf"
	"github.com/go-fonts/dejavu/dejavusans"
	"github.com/go-fonts/dejavu/dejavusansbold"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Document is what a printed report says. Texts are plain text in any of the four
// languages; empty fields are left out together with their labels.
type Document struct {
	// Language is uz, uz-Cyrl, ru or en; labels of any other are English.
	Language string

	// ReportID and Version stand in the footer of every page.
	ReportID string
	Version  int
	// CorrectionOf or AddendumTo name the version before, at most one of them.
	CorrectionOf, AddendumTo *EarlierVersion

	FacilityName string
	// FacilityDetails is one line beneath: address, telephone, tax number.
	FacilityDetails string

	PatientName string
	PatientSex  string // PatientSex (0010,0040): M, F, O or empty
	BirthDate   string // as it is to be printed, for example 12.03.1968
	PatientID   string
	PINFL       string

	StudyDescription string
	Modality         string
	StudyDate        time.Time
	Accession        string

	Indication, Technique, Findings, Impression string

	SignerName string
	// SignerPosition is a line beneath the name; may be empty.
	SignerPosition string
	// SignedAt is printed in Tashkent time and is the file's creation date.
	SignedAt time.Time
}

// EarlierVersion is a signed version that a later one refers to.
type EarlierVersion struct {
	Version  int
	SignedAt time.Time
}

// pdfZone is Uzbekistan's time, UTC+5 the whole year since 1992. It is fixed
// here because a report must not change with the machine's zone files.
var pdfZone = time.FixedZone("Asia/Tashkent", 5*60*60)

const (
	pdfDate     = "02.01.2006"
	pdfDateTime = "02.01.2006 15:04"
)

// Measures in millimetres and points.
const (
	pdfLeft, pdfTop, pdfBottom = 20.0, 18.0, 24.0
	pdfText                    = 10.0 // body size
	pdfLine                    = 5.4  // body line height
	pdfFont                    = "DejaVu"
)

// maxPDFText bounds each section: at 60 pages something else is wrong.
const maxPDFText = 200_000

// RenderPDF writes the document as a PDF of A4 pages. Equal documents give equal
// bytes. Any text is taken: what can't be printed is shown as U+FFFD, control
// characters are left out. An error comes from w alone, or is TooLarge for a
// section longer than 200,000 bytes.
func RenderPDF(w io.Writer, doc Document) error {
	for _, section := range []string{doc.Indication, doc.Technique, doc.Findings, doc.Impression} {
		if len(section) > maxPDFText {
			return pacs.Errorf(pacs.TooLarge, "A section of the report has %d bytes; it may have %d at most. Shorten it, then sign again", len(section), maxPDFText)
		}
	}
	doc = doc.printable()
	// "page 1 of 3" needs the 3 before page 1 is done: draw once to count.
	pages := drawPDF(&doc, 0).PageNo()
	drawn := drawPDF(&doc, pages)
	if err := drawn.Output(w); err != nil {
		return fmt.Errorf("writing the report's PDF: %w", err)
	}
	return nil
}

// printable returns the document with texts that the font can show.
func (doc Document) printable() Document {
	for _, line := range []*string{
		&doc.FacilityName, &doc.FacilityDetails, &doc.PatientName, &doc.BirthDate, &doc.PatientID, &doc.PINFL,
		&doc.StudyDescription, &doc.Modality, &doc.Accession, &doc.SignerName, &doc.SignerPosition, &doc.ReportID,
	} {
		*line = strings.Join(strings.Fields(printableText(*line)), " ")
		// A name is a line or two. What is longer is hostile and may not push the
		// text off its page.
		if runes := []rune(*line); len(runes) > 300 {
			*line = string(runes[:299]) + "…"
		}
	}
	for _, text := range []*string{&doc.Indication, &doc.Technique, &doc.Findings, &doc.Impression} {
		*text = printableText(*text)
	}
	return doc
}

// printableText makes valid UTF-8 in lines of what DejaVu Sans has glyphs for.
func printableText(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n\n", "\t", "    ").Replace(s)
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\n':
			return c
		case unicode.Is(unicode.Cf, c), unicode.IsControl(c), unicode.Is(unicode.Variation_Selector, c):
			return -1
		case unicode.IsSpace(c):
			return ' '
		case unicode.Is(pdfGlyphs, c):
			return c
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
	return strings.TrimSpace(s)
}

// pdfGlyphs are blocks that DejaVu Sans covers. fpdf indexes glyph widths by
// code point up to U+FFFF and must not be given more.
var pdfGlyphs = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0020, Hi: 0x007E, Stride: 1}, // Basic Latin
		{Lo: 0x00A1, Hi: 0x024F, Stride: 1}, // Latin-1, Extended-A and -B
		{Lo: 0x0250, Hi: 0x02FF, Stride: 1}, // IPA, modifier letters: ʻ ʼ
		{Lo: 0x0300, Hi: 0x034F, Stride: 1}, // combining marks
		{Lo: 0x0391, Hi: 0x03A1, Stride: 1}, // Greek
		{Lo: 0x03A3, Hi: 0x03FF, Stride: 1},
		{Lo: 0x0400, Hi: 0x0525, Stride: 1}, // Cyrillic with Қ Ғ Ҳ Ў
		{Lo: 0x1E00, Hi: 0x1EFB, Stride: 1}, // Latin Extended Additional
		{Lo: 0x2010, Hi: 0x2027, Stride: 1}, // punctuation
		{Lo: 0x2030, Hi: 0x205E, Stride: 1},
		{Lo: 0x2070, Hi: 0x2071, Stride: 1}, // superscripts, subscripts
		{Lo: 0x2074, Hi: 0x208E, Stride: 1},
		{Lo: 0x20A0, Hi: 0x20B5, Stride: 1}, // currencies
		{Lo: 0x2100, Hi: 0x214F, Stride: 1}, // letter-like: №
		{Lo: 0x2150, Hi: 0x2185, Stride: 1}, // number forms
		{Lo: 0x2190, Hi: 0x22FF, Stride: 1}, // arrows, mathematics: ≤ ≥ ≈ ∅
		{Lo: 0x2500, Hi: 0x25FF, Stride: 1}, // lines, blocks, geometry
		{Lo: 0xFFFD, Hi: 0xFFFD, Stride: 1},
	},
	LatinOffset: 1,
}

// printer draws one document.
type printer struct {
	*fpdf.Fpdf
	doc   *Document
	words pdfWords
	width float64 // of the text column
	pages int
}

func drawPDF(doc *Document, pages int) *fpdf.Fpdf {
	language, words := wordsOf(doc.Language)
	p := &printer{Fpdf: fpdf.New("P", "mm", "A4", ""), doc: doc, words: words, pages: pages}
	// Everything that could differ between two runs is fixed.
	p.SetCatalogSort(true)
	p.SetCreationDate(doc.SignedAt.UTC())
	p.SetModificationDate(doc.SignedAt.UTC())
	p.SetProducer("Tasvir", true)
	p.SetTitle(words.title, true)
	p.SetAuthor(doc.SignerName, true)
	p.SetSubject(doc.StudyDescription, true)
	p.SetLang(language)
	p.AddUTF8FontFromBytes(pdfFont, "", dejavusans.TTF)
	p.AddUTF8FontFromBytes(pdfFont, "B", dejavusansbold.TTF)
	p.SetMargins(pdfLeft, pdfTop, pdfLeft)
	p.SetCellMargin(0) // text begins where the rules begin
	p.SetAutoPageBreak(true, pdfBottom)
	pageWidth, _ := p.GetPageSize()
	p.width = pageWidth - 2*pdfLeft
	p.SetFooterFunc(p.footer)
	p.SetHeaderFunc(p.runningHead)

	p.AddPage()
	p.letterhead()
	p.title()
	p.particulars(language)
	p.section(words.indication, doc.Indication, false)
	p.section(words.technique, doc.Technique, false)
	p.section(words.findings, doc.Findings, false)
	p.section(words.impression, doc.Impression, true)
	p.signature()
	return p.Fpdf
}

func (p *printer) ink(grey int)                    { p.SetTextColor(grey, grey, grey) }
func (p *printer) face(style string, size float64) { p.SetFont(pdfFont, style, size) }

func (p *printer) rule(grey int, thickness float64) {
	p.SetDrawColor(grey, grey, grey)
	p.SetLineWidth(thickness)
	p.Line(pdfLeft, p.GetY(), pdfLeft+p.width, p.GetY())
}

func (p *printer) letterhead() {
	if p.doc.FacilityName == "" && p.doc.FacilityDetails == "" {
		return
	}
	p.face("B", 12)
	p.ink(20)
	p.MultiCell(p.width, 6, p.doc.FacilityName, "", "L", false)
	if p.doc.FacilityDetails != "" {
		p.face("", 8)
		p.ink(100)
		p.MultiCell(p.width, 4.4, p.doc.FacilityDetails, "", "L", false)
	}
	p.Ln(2)
	p.rule(20, 0.5)
	p.Ln(7)
}

func (p *printer) title() {
	p.face("B", 16)
	p.ink(20)
	p.MultiCell(p.width, 8, p.words.title, "", "L", false)
	line := ""
	switch {
	case p.doc.CorrectionOf != nil:
		line = fmt.Sprintf(p.words.correction, p.doc.CorrectionOf.SignedAt.In(pdfZone).Format(pdfDate), p.doc.CorrectionOf.Version)
	case p.doc.AddendumTo != nil:
		line = fmt.Sprintf(p.words.addendum, p.doc.AddendumTo.SignedAt.In(pdfZone).Format(pdfDate), p.doc.AddendumTo.Version)
	}
	if line != "" {
		p.Ln(2)
		p.face("B", pdfText)
		p.SetFillColor(252, 240, 214)
		p.SetTextColor(110, 66, 0)
		p.MultiCell(p.width, 8, "  "+line, "", "L", true)
	}
	p.Ln(4)
}

// particulars is the block that says whose pictures these are: pairs of label and
// value, two to a row.
func (p *printer) particulars(language string) {
	date := ""
	if !p.doc.StudyDate.IsZero() {
		date = p.doc.StudyDate.In(pdfZone).Format(pdfDateTime)
	}
	p.rule(200, 0.2)
	p.Ln(2.5)
	p.wide(p.words.patient, p.doc.PatientName, "B", 12)
	p.pairs([][2]string{
		{p.words.birth, p.doc.BirthDate},
		{p.words.sex, p.words.sexWord(p.doc.PatientSex)},
		{p.words.id, p.doc.PatientID},
		{pinflLabel[language], p.doc.PINFL},
	})
	p.Ln(2)
	p.rule(200, 0.2)
	p.Ln(2.5)
	p.wide(p.words.study, p.doc.StudyDescription, "B", pdfText)
	p.pairs([][2]string{
		{p.words.modality, p.doc.Modality},
		{p.words.date, date},
		{p.words.accession, p.doc.Accession},
	})
	p.Ln(2)
	p.rule(200, 0.2)
	p.Ln(3)
}

const (
	labelWidth = 34.0
	rowHeight  = 5.6
)

func (p *printer) label(x, y float64, text string) {
	p.SetXY(x, y)
	p.face("", 8)
	p.ink(100)
	p.CellFormat(labelWidth, rowHeight, text, "", 0, "LM", false, 0, "")
}

func (p *printer) wide(label, value, style string, size float64) {
	if value == "" {
		return
	}
	p.label(pdfLeft, p.GetY(), label)
	p.face(style, size)
	p.ink(20)
	p.SetX(pdfLeft + labelWidth)
	p.MultiCell(p.width-labelWidth, rowHeight, value, "", "L", false)
}

func (p *printer) pairs(all [][2]string) {
	half := p.width / 2
	column := 0
	top := p.GetY()
	bottom := top
	for _, pair := range all {
		if pair[1] == "" {
			continue
		}
		x := pdfLeft + float64(column)*half
		p.label(x, top, pair[0])
		p.face("", pdfText)
		p.ink(20)
		p.SetXY(x+labelWidth, top)
		p.MultiCell(half-labelWidth, rowHeight, pair[1], "", "L", false)
		bottom = max(bottom, p.GetY())
		if column++; column == 2 {
			column, top = 0, bottom
		}
	}
	p.SetXY(pdfLeft, bottom)
}

// section prints a heading and its text. The one that matters most, marked, has a
// bar beside it and larger type.
func (p *printer) section(heading, text string, marked bool) {
	if text == "" {
		return
	}
	// A heading never stands alone at the foot of a page.
	p.needs(8 + 3*pdfLine)
	p.Ln(2.5)
	p.face("B", 8.5)
	p.ink(100)
	p.CellFormat(p.width, 6, strings.ToUpper(heading), "", 1, "LM", false, 0, "")
	p.face("", pdfText)
	p.ink(20)
	left, line := pdfLeft, pdfLine
	if marked {
		left, line = pdfLeft+4, 6.0
		p.face("B", pdfText+0.5)
	}
	width := p.width - (left - pdfLeft)
	for _, paragraph := range strings.Split(text, "\n") {
		if strings.TrimSpace(paragraph) == "" {
			p.Ln(line / 2)
			continue
		}
		for _, row := range p.rows(paragraph, width) {
			p.needs(line)
			if marked {
				p.SetFillColor(31, 95, 224)
				p.Rect(pdfLeft, p.GetY(), 1.2, line, "F")
			}
			p.SetX(left)
			p.CellFormat(width, line, row, "", 1, "LM", false, 0, "")
		}
	}
}

// rows breaks a paragraph at blanks, and inside a word that is longer than a row.
func (p *printer) rows(paragraph string, width float64) []string {
	var rows []string
	row := ""
	for _, word := range strings.Split(paragraph, " ") {
		joined := word
		if row != "" {
			joined = row + " " + word
		}
		if p.GetStringWidth(joined) <= width {
			row = joined
			continue
		}
		if row != "" {
			rows = append(rows, row)
		}
		for p.GetStringWidth(word) > width {
			runes := []rune(word)
			n, used := 0, 0.0
			for n < len(runes) {
				used += p.GetStringWidth(string(runes[n]))
				if used > width && n > 0 {
					break
				}
				n++
			}
			rows = append(rows, string(runes[:n]))
			word = string(runes[n:])
		}
		row = word
	}
	return append(rows, row)
}

// needs begins a new page unless this much height is left.
func (p *printer) needs(height float64) {
	_, pageHeight := p.GetPageSize()
	if p.GetY()+height > pageHeight-pdfBottom {
		p.AddPage()
	}
}

func (p *printer) signature() {
	p.needs(30)
	p.Ln(8)
	p.rule(200, 0.2)
	p.Ln(3)
	top := p.GetY()
	p.label(pdfLeft, top, p.words.signed)
	p.face("B", 11)
	p.ink(20)
	p.SetXY(pdfLeft+labelWidth, top)
	p.MultiCell(p.width-labelWidth-46, rowHeight, p.doc.SignerName, "", "L", false)
	if p.doc.SignerPosition != "" {
		p.face("", 9)
		p.ink(100)
		p.SetX(pdfLeft + labelWidth)
		p.MultiCell(p.width-labelWidth-46, 5, p.doc.SignerPosition, "", "L", false)
	}
	bottom := p.GetY()
	p.face("", pdfText)
	p.ink(20)
	p.SetXY(pdfLeft+p.width-46, top)
	p.CellFormat(46, rowHeight, p.doc.SignedAt.In(pdfZone).Format(pdfDateTime), "", 2, "RM", false, 0, "")
	p.face("", 8)
	p.ink(100)
	p.CellFormat(46, 4.4, "Asia/Tashkent (UTC+5)", "", 2, "RM", false, 0, "")
	p.SetXY(pdfLeft, max(bottom, p.GetY()))
}

// runningHead repeats on later pages whose report this is: pages get separated.
func (p *printer) runningHead() {
	if p.PageNo() == 1 {
		return
	}
	p.face("", 8)
	p.ink(100)
	who := p.doc.PatientName
	if p.doc.BirthDate != "" {
		who += ", " + p.doc.BirthDate
	}
	if rows := p.rows(who, p.width); len(rows) > 0 {
		p.CellFormat(p.width, 5, rows[0], "", 1, "LM", false, 0, "")
	}
	p.rule(200, 0.2)
	p.Ln(4)
}

func (p *printer) footer() {
	p.SetY(-16)
	p.rule(200, 0.2)
	p.Ln(1.5)
	p.face("", 7.5)
	p.ink(100)
	// The id is cut where it isn't one of ours and would run into the page number.
	id := p.rows(p.doc.ReportID, p.width-70)[0]
	p.CellFormat(p.width-60, 5, id+" · "+fmt.Sprintf(p.words.version, p.doc.Version), "", 0, "LM", false, 0, "")
	p.CellFormat(60, 5, fmt.Sprintf(p.words.page, p.PageNo(), p.pages), "", 0, "RM", false, 0, "")
}
