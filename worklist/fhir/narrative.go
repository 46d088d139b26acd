package fhir

import (
	"fmt"
	"strings"
	"time"
)

// tashkent is Uzbekistan's time, UTC+5 the whole year since 1992.
var tashkent = time.FixedZone("Asia/Tashkent", 5*60*60)

// escapeXML escapes text for an element's content. html.EscapeString would do,
// but for the quotes, which need no escape there.
var escapeXML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// narrate renders the report as Narrative.div: headings and paragraphs of
// escaped text, nothing else (R5 narrative, txt-1).
func narrate(r *Report) string {
	w := wordsFor(r.Language)
	var out strings.Builder
	out.WriteString(`<div xmlns="http://www.w3.org/1999/xhtml" lang="` + r.Language + `" xml:lang="` + r.Language + `">`)
	title := oneLine(r.Study.Description)
	if title == "" {
		title = w.report
	}
	out.WriteString("<h2>" + escapeXML.Replace(title) + "</h2>")
	if p := r.Predecessor; p != nil {
		form := w.correction
		if r.Kind == Addendum {
			form = w.addendum
		}
		line := fmt.Sprintf(form, p.SignedAt.In(tashkent).Format("02.01.2006"), p.Version)
		out.WriteString("<p><b>" + escapeXML.Replace(line) + "</b></p>")
	}
	for _, section := range []struct{ heading, text string }{
		{w.indication, r.Sections.Indication},
		{w.technique, r.Sections.Technique},
		{w.findings, r.Sections.Findings},
		{w.impression, r.Sections.Impression},
	} {
		text := clean(section.text)
		if text == "" {
			continue
		}
		out.WriteString("<h3>" + escapeXML.Replace(section.heading) + "</h3>")
		for _, paragraph := range strings.Split(text, "\n\n") {
			if paragraph = strings.TrimSpace(paragraph); paragraph != "" {
				lines := escapeXML.Replace(paragraph)
				out.WriteString("<p>" + strings.ReplaceAll(lines, "\n", "<br/>") + "</p>")
			}
		}
	}
	name := r.Radiologist.Name.String()
	out.WriteString("<p>" + escapeXML.Replace(name) + " " + r.SignedAt.In(tashkent).Format("02.01.2006 15:04 (-07:00)") + "</p></div>")
	return out.String()
}
