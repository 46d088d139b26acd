package dicom

import "testing"

// A class is one of a service or of storage, and is listed once.
func TestSOPClassesListedOnce(t *testing.T) {
	seen := make(map[string]string)
	for _, list := range [][]SOPClass{ServiceSOPClasses, StorageSOPClasses} {
		for _, c := range list {
			if ValidUID(c.UID) != nil || c.Name == "" || seen[c.UID] != "" {
				t.Errorf("%s %q, listed before as %q", c.UID, c.Name, seen[c.UID])
			}
			seen[c.UID] = c.Name
		}
	}
}

// Every character set that is listed is one that is decoded, and none is missing.
func TestCharsetsListed(t *testing.T) {
	terms, extensions, fallbacks := Charsets()
	found := make(map[*graphicSet]bool)
	for _, list := range [][]string{terms, extensions, fallbacks} {
		if len(list) == 0 {
			t.Error("an empty list")
		}
		for _, term := range list {
			if !KnownCharset(term) {
				t.Errorf("%q is listed and not known", term)
			}
			set, _ := lookupCharset(term)
			found[set.g1] = true
		}
	}
	for key, set := range codedSets {
		if !found[set.g1] {
			t.Errorf("%q is not listed", key)
		}
	}
}
