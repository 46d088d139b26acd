package dicom

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
)

// ParseXML reads a data set in the Native DICOM Model (PS3.19 A.1): one
// document, in UTF-8. Namespaces don't matter, entities other than XML's own
// five are refused.
func ParseXML(src io.Reader, opt ParseOptions) (Parsed, error) {
	opt = opt.withDefaults()
	r := xmlReader{b: builder{opt: opt}, d: xml.NewDecoder(&allowance{src: src, left: opt.MaxBytes})}
	r.d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) {
		case "utf-8", "utf8", "us-ascii", "ascii":
			return in, nil
		}
		return nil, parseErrorf(0, "the document is in %.20q; send UTF-8", charset)
	}
	p, err := r.document()
	var syntax *xml.SyntaxError
	switch {
	case errors.As(err, &syntax):
		err = parseErrorf(0, "that is not XML: %s in line %d", syntax.Msg, syntax.Line)
	case err == io.EOF:
		err = parseErrorf(0, "there is no data set")
	}
	return p, err
}

type xmlReader struct {
	d *xml.Decoder
	b builder
}

func (r *xmlReader) document() (Parsed, error) {
	for {
		t, err := r.d.Token()
		if err != nil {
			return Parsed{}, err
		}
		switch t := t.(type) {
		case xml.Directive:
			// A DOCTYPE could only bring entities.
			return Parsed{}, parseErrorf(0, "a document type is not taken")
		case xml.StartElement:
			if t.Name.Local != "NativeDicomModel" {
				return Parsed{}, parseErrorf(0, "the document is %.40q, not NativeDicomModel", t.Name.Local)
			}
			ds, err := r.dataset(0)
			if err != nil {
				return Parsed{}, err
			}
			return r.b.finish(ds), r.end()
		}
	}
}

// end makes sure that nothing but comments and white space follows.
func (r *xmlReader) end() error {
	for {
		t, err := r.d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.Comment, xml.ProcInst:
			continue
		case xml.CharData:
			if strings.TrimSpace(string(t)) == "" {
				continue
			}
		}
		return parseErrorf(0, "something stands behind the data set")
	}
}

// children calls each for the elements within the one that was opened, until
// it ends. each must read its element to its end.
func (r *xmlReader) children(each func(xml.StartElement) error) error {
	for {
		t, err := r.d.Token()
		if err != nil {
			return short(err)
		}
		switch t := t.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := each(t); err != nil {
				return err
			}
		}
	}
}

func short(err error) error {
	if err == io.EOF {
		return parseErrorf(0, "the document breaks off")
	}
	return err
}

// text reads the character data of the element that was opened, up to its end.
func (r *xmlReader) text() (string, error) {
	var parts []string
	for {
		t, err := r.d.Token()
		if err != nil {
			return "", short(err)
		}
		switch t := t.(type) {
		case xml.CharData:
			parts = append(parts, string(t))
		case xml.EndElement:
			return strings.Join(parts, ""), nil
		case xml.StartElement:
			return "", parseErrorf(0, "an element %.40q stands within a value", t.Name.Local)
		}
	}
}

// skip passes over the element that was opened.
func (r *xmlReader) skip() error {
	for open := 1; open > 0; {
		t, err := r.d.Token()
		if err != nil {
			return short(err)
		}
		switch t.(type) {
		case xml.StartElement:
			open++
		case xml.EndElement:
			open--
		}
	}
	return nil
}

func xmlAttr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// place reads the attribute number; without one an element follows the last.
func place(t Tag, e xml.StartElement, have int) (int, error) {
	s := xmlAttr(e, "number")
	if s == "" {
		return have + 1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, parseErrorf(t, "the number of a value is %.20q", s)
	}
	return n, nil
}

func (r *xmlReader) dataset(depth int) (*Dataset, error) {
	if depth > r.b.opt.MaxDepth {
		return nil, parseErrorf(0, "sequences are nested deeper than %d", r.b.opt.MaxDepth)
	}
	ds := r.b.newDataset()
	err := r.children(func(e xml.StartElement) error {
		if e.Name.Local != "DicomAttribute" {
			return r.skip()
		}
		if err := r.b.count(); err != nil {
			return err
		}
		name := xmlAttr(e, "tag")
		if name == "" {
			name = xmlAttr(e, "keyword")
		}
		tag, err := ParseTag(name)
		if err != nil {
			return parseErrorf(0, "%.40q is not a tag of eight hexadecimal digits", name)
		}
		a := parsedAttribute{tag: tag}
		if s := xmlAttr(e, "vr"); s != "" {
			vr, ok := ParseVR(s)
			if !ok {
				return parseErrorf(tag, "there is no VR %.10q", s)
			}
			a.vr = vr
		}
		if creator := xmlAttr(e, "privateCreator"); creator != "" && tag.IsPrivate() && (tag.Element() >= 0x1000 || tag.Element() <= 0xFF) {
			if a.tag, err = r.inBlock(ds, tag, creator); err != nil {
				return err
			}
		}
		if err := r.attribute(&a, depth); err != nil {
			return err
		}
		return r.b.add(ds, &a)
	})
	return ds, err
}

// inBlock is the tag of a creator's private element, gggg00ee, in the block that
// the creator has in ds, or in the next free one, which it is given then.
func (r *xmlReader) inBlock(ds *Dataset, t Tag, creator string) (Tag, error) {
	group, free := t&0xFFFF0000, Tag(0x10)
	if block := Tag(t.Element() >> 8); block != 0 {
		if ds.String(group|block) == creator {
			return t, nil
		}
	}
	for i := range ds.Elements {
		e := &ds.Elements[i]
		if e.Tag < group|0x10 || e.Tag > group|0xFF {
			continue
		}
		if ds.String(e.Tag) == creator {
			return group | e.Tag&0xFF<<8 | t&0xFF, nil
		}
		if e.Tag == group|free {
			free++
		}
	}
	if free > 0xFF {
		return 0, parseErrorf(t, "the group has no block left for its private creator")
	}
	err := r.b.add(ds, &parsedAttribute{tag: group | free, vr: LO, values: []string{creator}})
	return group | free<<8 | t&0xFF, err
}

func (r *xmlReader) attribute(a *parsedAttribute, depth int) error {
	return r.children(func(e xml.StartElement) error {
		switch e.Name.Local {
		case "Value", "PersonName":
			n, err := place(a.tag, e, len(a.values))
			if err != nil {
				return err
			}
			var v string
			if e.Name.Local == "Value" {
				v, err = r.text()
			} else {
				v, err = r.name()
			}
			if err != nil {
				return err
			}
			a.values, err = r.b.setValue(a.tag, a.values, n, v)
			return err
		case "Item":
			n, err := place(a.tag, e, len(a.items))
			if err != nil {
				return err
			}
			if err := r.b.gap(a.tag, len(a.items), n); err != nil {
				return err
			}
			item, err := r.dataset(depth + 1)
			if err != nil {
				return err
			}
			for len(a.items) < n {
				a.items = append(a.items, r.b.newDataset())
			}
			a.items[n-1] = item
			return nil
		case "BulkData":
			a.uri, a.hasURI = xmlAttr(e, "uri"), true
			if a.uri == "" {
				a.uri = xmlAttr(e, "uuid")
			}
			return r.skip()
		case "InlineBinary":
			s, err := r.text()
			if err != nil {
				return err
			}
			a.inline, err = decodeInline(a.tag, s)
			a.hasData = true
			return err
		}
		return r.skip()
	})
}

// name reads the component groups and components of a person's name.
func (r *xmlReader) name() (string, error) {
	var groups [len(xmlNameGroups)]string
	err := r.children(func(e xml.StartElement) error {
		var parts [len(xmlNameParts)]string
		if err := r.children(func(e xml.StartElement) error {
			s, err := r.text()
			for i, name := range xmlNameParts {
				if name == e.Name.Local {
					parts[i] = s
				}
			}
			return err
		}); err != nil {
			return err
		}
		for i, name := range xmlNameGroups {
			if name == e.Name.Local {
				groups[i] = strings.TrimRight(strings.Join(parts[:], "^"), "^")
			}
		}
		return nil
	})
	return strings.TrimRight(strings.Join(groups[:], "="), "="), err
}
