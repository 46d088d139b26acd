package dicomweb

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/matching"
)

// Attributes that the index doesn't keep are read from the metadata, for instances:
// of a series or study they may be as many as its instances. Bounds for one
// answer: how often the metadata of a series are read, how long a value may be, and
// all of them together.
const (
	maxMetadataReads = 20
	maxExtraValue    = 64 << 10
	maxExtraBytes    = 32 << 20
)

// extras are attributes that are asked for and that the index doesn't keep, and
// what was spent on them for this answer.
type extras struct {
	tags         []dicom.Tag
	reads, bytes int
	many, long   bool // some were left out: of too many series, or too long
}

// indexed tells whether the index keeps an attribute, and at which level; a match
// at that level or below can have it.
func indexed(t dicom.Tag) (at level, ok bool) {
	has := func(tag dicom.Tag) bool { return tag == t }
	switch {
	case t == dicom.TagSpecificCharacterSet || t == dicom.TagRetrieveURL || slices.ContainsFunc(tagsOf(studyFields), has):
		return studyLevel, true
	case slices.ContainsFunc(tagsOf(seriesFields), has):
		return seriesLevel, true
	case slices.ContainsFunc(tagsOf(instanceFields), has) || slices.ContainsFunc(tagsOf(pixelFields), has):
		return imageLevel, true
	}
	l, ok := matching.Stored(t)
	return level(l), ok
}

func tagsOf[T any](fields []field[T]) []dicom.Tag {
	tags := make([]dicom.Tag, len(fields))
	for i, f := range fields {
		tags[i] = f.tag
	}
	return tags
}

// reaches tells whether something is asked for that is kept at a level.
func (in include) reaches(at level) bool {
	if in.all {
		return true
	}
	for t := range in.tags {
		if l, ok := indexed(t); ok && l == at {
			return true
		}
	}
	return false
}

// beyondIndex finds out what is asked for that the rows of a search don't have.
func (q *query) beyondIndex(at level) {
	var tags []dicom.Tag
	for t := range q.include.tags {
		if t == dicom.TagModality && at == studyLevel {
			continue // Modalities in Study say it, which are always given
		}
		if l, ok := indexed(t); !ok || l > at {
			tags = append(tags, t)
		}
	}
	slices.Sort(tags)
	if at == imageLevel {
		q.extras.tags = tags
		return
	}
	if len(tags) > 0 {
		q.warn("Not given for " + at.plural() + ": " + names(tags) + ". A search for instances gives any attribute.")
	}
}

// names are the keywords of attributes, or the tags of those without.
func names(tags []dicom.Tag) string {
	list := make([]string, len(tags))
	for i, t := range tags {
		if list[i] = dicom.Keyword(t); list[i] == "" {
			list[i] = t.String()
		}
		if i == 20 {
			return strings.Join(append(list[:i], fmt.Sprintf("%d more", len(tags)-i)), ", ")
		}
	}
	return strings.Join(list, ", ")
}

// addExtras adds attributes out of the metadata to matches, which are those of the
// rows.
func (s *service) addExtras(r *request, q *query, rows []pacs.Instance, matches []dataset) error {
	if len(q.extras.tags) == 0 {
		return nil
	}
	of := map[seriesKey]map[string]dataset{} // by SOP Instance UID
	var order []seriesKey
	for i, row := range rows {
		key := seriesKey{row.StudyInstanceUID, row.SeriesInstanceUID}
		if of[key] == nil {
			of[key] = map[string]dataset{}
			order = append(order, key)
		}
		of[key][row.SOPInstanceUID] = matches[i]
	}
	for _, key := range order {
		if q.extras.reads++; q.extras.reads > maxMetadataReads {
			if !q.extras.many {
				q.extras.many = true
				q.warn(names(q.extras.tags) + " come from the metadata, of at most " + strconv.Itoa(maxMetadataReads) + " series in an answer: the last matches lack them. Search by study or series, or with a smaller limit.")
			}
			return nil
		}
		m, err := s.Packs.Metadata(r.Request.Context(), r.scope, key.study, key.series)
		if pacs.CodeOf(err) == pacs.NotFound {
			continue // it has gone since
		}
		if err != nil {
			return err
		}
		err = q.extras.read(m, of[key])
		m.Body.Close()
		if err != nil {
			return pacs.Wrap(pacs.Internal, err, "The stored metadata can't be read.")
		}
	}
	if q.extras.long {
		q.extras.long = false
		q.warn("Values of " + names(q.extras.tags) + " were left out because they are too long for a list. They are in the metadata of the instances.")
	}
	return nil
}

// read adds the attributes to the matches of one series.
func (x *extras) read(m *pacs.SeriesMetadata, matches map[string]dataset) error {
	z, err := gzip.NewReader(m.Body)
	if err != nil {
		return err
	}
	left := len(matches)
	for raw, err := range eachInstance(z) {
		if err != nil {
			return err
		}
		uid, err := uidOf(raw)
		if err != nil {
			return err
		}
		match, ok := matches[uid]
		if !ok {
			continue
		}
		var attributes map[string]json.RawMessage
		if err := json.Unmarshal(raw, &attributes); err != nil {
			return err
		}
		for _, t := range x.tags {
			v, ok := attributes[t.String()]
			if !ok {
				continue
			}
			if len(v) > maxExtraValue || x.bytes+len(v) > maxExtraBytes {
				x.long = true
				continue
			}
			x.bytes += len(v)
			match[t.String()] = v
		}
		if left--; left == 0 {
			break
		}
	}
	return nil
}
