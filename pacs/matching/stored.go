package matching

import (
	"iter"
	"maps"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
)

// Level is where the index keeps an attribute.
type Level int

const (
	Study Level = iota
	Series
	Instance
)

var stored = func() map[dicom.Tag]Level {
	m := make(map[dicom.Tag]Level)
	for l, tags := range map[Level][]dicom.Tag{Series: publish.SeriesAttributes, Instance: publish.InstanceAttributes} {
		for _, t := range tags {
			m[t] = l
		}
	}
	for _, t := range publish.StudyAttributes { // last: some are kept with series, too
		m[t] = Study
	}
	return m
}()

// Stored says at which level the index keeps an attribute as DICOM JSON; ok is
// false for one that it doesn't.
func Stored(t dicom.Tag) (l Level, ok bool) {
	l, ok = stored[t]
	return l, ok
}

// AllStored are those attributes.
func AllStored() iter.Seq2[dicom.Tag, Level] { return maps.All(stored) }

// Without asks for what has no value of an attribute that has a column of its own
// at a level; those of patients are at that of studies.
func Without(f *pacs.InstanceFilter, l Level, t dicom.Tag) {
	tags := map[Level]*[]string{Study: &f.Series.Study.Without, Series: &f.Series.Without, Instance: &f.Without}[l]
	*tags = append(*tags, t.String())
}

// Add adds a key of an attribute that is kept at a level.
func Add(f *pacs.InstanceFilter, l Level, k pacs.AttributeKey) {
	switch l {
	case Study:
		f.Series.Study.Attributes = append(f.Series.Study.Attributes, k)
	case Series:
		f.Series.Attributes = append(f.Series.Attributes, k)
	case Instance:
		f.Attributes = append(f.Attributes, k)
	}
}
