package dicom

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// ParseJSON reads one data set in the DICOM JSON model (PS3.18 Annex F). It is
// lenient in what it takes: a name may be a plain string, a number a string, an
// attribute may lack its VR or be named by its keyword; null is an empty value.
func ParseJSON(src []byte, opt ParseOptions) (Parsed, error) {
	r := NewJSONReader(bytes.NewReader(src), opt)
	p, err := r.Next()
	if err == io.EOF {
		err = parseErrorf(0, "there is no data set")
	}
	if err != nil {
		return Parsed{}, err
	}
	if _, err := r.Next(); err != io.EOF {
		return Parsed{}, parseErrorf(0, "something stands behind the data set")
	}
	return p, nil
}

// JSONReader reads data sets in the DICOM JSON model one after the other: those
// of an array, or a single one that stands without.
type JSONReader struct {
	src     *allowance
	d       *json.Decoder
	b       builder
	started bool
	array   bool
	err     error
}

// NewJSONReader reads from src, for every data set at most opt.MaxBytes of it.
func NewJSONReader(src io.Reader, opt ParseOptions) *JSONReader {
	opt = opt.withDefaults()
	a := &allowance{src: src, left: opt.MaxBytes}
	r := &JSONReader{src: a, d: json.NewDecoder(a), b: builder{opt: opt}}
	r.d.UseNumber()
	return r
}

// maxBlank is how many blanks may follow one another. The decoder keeps those it
// is looking behind, and looks at them anew whenever more arrive: hundreds of
// megabytes of them, a small body when compressed, would keep it busy for hours.
const maxBlank = 1 << 20

// allowance passes on a stream and fails after left bytes, or among too many
// blanks.
type allowance struct {
	src   io.Reader
	left  int64
	blank int // blanks at the end of what was passed on
}

func (a *allowance) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errTextTooLong
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.src.Read(p)
	a.left -= int64(n)
	for _, c := range p[:n] {
		switch c {
		case ' ', '\t', '\r', '\n':
			if a.blank++; a.blank > maxBlank {
				a.left = 0 // what asks again is told the same
				return 0, errTextTooLong
			}
		default:
			a.blank = 0
		}
	}
	return n, err
}

// Next returns the next data set, io.EOF after the last. What is not DICOM JSON
// is an error that says why; what the source returns is passed on.
func (r *JSONReader) Next() (Parsed, error) {
	if r.err != nil {
		return Parsed{}, r.err
	}
	p, err := r.next()
	r.err = err
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		err = parseErrorf(0, "that is not JSON: %v", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = parseErrorf(0, "the JSON breaks off")
	}
	return p, err
}

func (r *JSONReader) next() (Parsed, error) {
	r.src.left = r.b.opt.MaxBytes
	if !r.started {
		t, err := r.d.Token()
		if err != nil {
			return Parsed{}, err
		}
		r.started = true
		if t == json.Delim('{') {
			return r.one()
		}
		if t != json.Delim('[') {
			return Parsed{}, parseErrorf(0, "a data set is a JSON object, several are an array")
		}
		r.array = true
	}
	if r.array && r.d.More() {
		t, err := r.token()
		if err != nil {
			return Parsed{}, err
		}
		if t != json.Delim('{') {
			return Parsed{}, parseErrorf(0, "a data set is a JSON object")
		}
		return r.one()
	}
	if r.array {
		if _, err := r.token(); err != nil { // the closing bracket
			return Parsed{}, err
		}
		r.array = false
	}
	// Token gives io.EOF at a clean end.
	if _, err := r.d.Token(); err != nil {
		return Parsed{}, err
	}
	return Parsed{}, parseErrorf(0, "something stands behind the data sets")
}

// token is the next token within a value that has begun.
func (r *JSONReader) token() (json.Token, error) {
	t, err := r.d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return t, err
}

func (r *JSONReader) one() (Parsed, error) {
	ds, err := r.dataset(0)
	if err != nil {
		return Parsed{}, err
	}
	return r.b.finish(ds), nil
}

// dataset reads an object whose brace was read.
func (r *JSONReader) dataset(depth int) (*Dataset, error) {
	if depth > r.b.opt.MaxDepth {
		return nil, parseErrorf(0, "sequences are nested deeper than %d", r.b.opt.MaxDepth)
	}
	ds := r.b.newDataset()
	for r.d.More() {
		name, err := r.token()
		if err != nil {
			return nil, err
		}
		key, _ := name.(string)
		tag, err := ParseTag(key)
		if err != nil {
			return nil, parseErrorf(0, "%.40q is neither a tag of eight hexadecimal digits nor a keyword", key)
		}
		if err := r.b.count(); err != nil {
			return nil, err
		}
		a := parsedAttribute{tag: tag}
		if err := r.attribute(&a, depth); err != nil {
			return nil, err
		}
		if err := r.b.add(ds, &a); err != nil {
			return nil, err
		}
	}
	_, err := r.token()
	return ds, err
}

// attribute reads what stands behind a tag.
func (r *JSONReader) attribute(a *parsedAttribute, depth int) error {
	t, err := r.token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return parseErrorf(a.tag, "an attribute is a JSON object with vr and Value")
	}
	return r.members(a, depth)
}

// members reads what an attribute's object says.
func (r *JSONReader) members(a *parsedAttribute, depth int) error {
	if depth > r.b.opt.MaxDepth {
		return parseErrorf(a.tag, "values are nested deeper than %d", r.b.opt.MaxDepth)
	}
	for r.d.More() {
		name, err := r.token()
		if err != nil {
			return err
		}
		switch name {
		case "vr":
			s, err := r.text(a.tag, "vr")
			if err != nil {
				return err
			}
			vr, ok := ParseVR(s)
			if !ok {
				return parseErrorf(a.tag, "there is no VR %.10q", s)
			}
			a.vr = vr
		case "BulkDataURI":
			if a.uri, err = r.text(a.tag, "BulkDataURI"); err != nil {
				return err
			}
			a.hasURI = true
		case "InlineBinary":
			s, err := r.text(a.tag, "InlineBinary")
			if err != nil {
				return err
			}
			if a.inline, err = decodeInline(a.tag, s); err != nil {
				return err
			}
			a.hasData = true
		case "Value":
			if a.values != nil || a.items != nil {
				return parseErrorf(a.tag, "Value is there twice")
			}
			if err := r.values(a, depth+1); err != nil {
				return err
			}
		default:
			if err := r.skip(); err != nil {
				return err
			}
		}
	}
	_, err := r.token()
	return err
}

// text reads a string, which some clients put into an array.
func (r *JSONReader) text(t Tag, name string) (string, error) {
	v, err := r.token()
	if err != nil {
		return "", err
	}
	array := v == json.Delim('[')
	if array {
		if v, err = r.token(); err != nil {
			return "", err
		}
		if v == json.Delim(']') {
			return "", nil
		}
	}
	s, ok := v.(string)
	if !ok {
		return "", parseErrorf(t, "%s is not a string", name)
	}
	if array {
		if v, err = r.token(); err != nil {
			return "", err
		}
		if v != json.Delim(']') {
			return "", parseErrorf(t, "%s is given several times", name)
		}
	}
	return s, nil
}

// values reads the array of values.
func (r *JSONReader) values(a *parsedAttribute, depth int) error {
	t, err := r.token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return parseErrorf(a.tag, "Value is not an array")
	}
	for r.d.More() {
		v, err := r.token()
		if err != nil {
			return err
		}
		if err := r.b.count(); err != nil {
			return err
		}
		switch v := v.(type) {
		case nil:
			a.values = append(a.values, "")
		case string:
			a.values = append(a.values, v)
		case json.Number:
			a.values = append(a.values, string(v))
		case json.Delim:
			if v != '{' {
				return parseErrorf(a.tag, "an array stands in Value")
			}
			if a.vr == PN || a.vr == 0 && LookupVR(a.tag, false) == PN {
				name, err := r.name(a.tag)
				if err != nil {
					return err
				}
				a.values = append(a.values, name)
				continue
			}
			if a.vr.is(vrOpaque) && a.vr != UN {
				// dcmjs puts InlineBinary and BulkDataURI into Value.
				if err := r.members(a, depth+1); err != nil {
					return err
				}
				continue
			}
			item, err := r.dataset(depth)
			if err != nil {
				return err
			}
			a.items = append(a.items, item)
		default:
			return parseErrorf(a.tag, "a value is a string, a number or an object")
		}
	}
	_, err = r.token()
	return err
}

// name reads the component groups of a person's name, F.2.2.
func (r *JSONReader) name(t Tag) (string, error) {
	var groups [3]string
	for r.d.More() {
		key, err := r.token()
		if err != nil {
			return "", err
		}
		v, err := r.token()
		if err != nil {
			return "", err
		}
		s, ok := v.(string)
		if !ok && v != nil {
			return "", parseErrorf(t, "a component group of a name is not a string")
		}
		for i, name := range xmlNameGroups {
			if key == name {
				groups[i] = s
			}
		}
	}
	if _, err := r.token(); err != nil {
		return "", err
	}
	return strings.TrimRight(strings.Join(groups[:], "="), "="), nil
}

// skip passes over a value.
func (r *JSONReader) skip() error {
	for open := 0; ; {
		t, err := r.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if open++; open > r.b.opt.MaxDepth {
				return parseErrorf(0, "objects are nested deeper than %d", r.b.opt.MaxDepth)
			}
		case json.Delim('}'), json.Delim(']'):
			open--
		}
		if open == 0 {
			return nil
		}
	}
}
