package dicom

import "slices"

// Select returns a data set with those of the named attributes that are
// present, sorted by tag. It shares its values, character set and byte order
// with ds.
func (ds *Dataset) Select(tags ...Tag) *Dataset {
	if ds == nil {
		return nil
	}
	chosen := *ds
	chosen.Elements = nil
	for i := range ds.Elements {
		if slices.Contains(tags, ds.Elements[i].Tag) {
			chosen.Elements = append(chosen.Elements, ds.Elements[i])
		}
	}
	slices.SortStableFunc(chosen.Elements, func(a, b Element) int { return int(int64(a.Tag) - int64(b.Tag)) })
	return &chosen
}
