package pacs

import "github.com/tasvir-pacs/tasvir/storage/tiered"

// Availability is how soon instances can be had, the value of Instance
// Availability (0008,0056), PS3.3 C.4.23.1.1. Later ones are worse: what is said
// of a series, study or patient is the greatest of what it holds.
type Availability int

const (
	Online   Availability = iota // at once
	Nearline                     // from the cold store
	Gone                         // the pixel data were deleted; only the rest can be had
)

// String returns the value of the attribute.
func (a Availability) String() string {
	return [...]string{"ONLINE", "NEARLINE", "UNAVAILABLE"}[a]
}

// AvailabilityOf is that of an instance in the pack with this key.
func AvailabilityOf(packKey string, pixelsDeleted bool) Availability {
	switch {
	case pixelsDeleted:
		return Gone
	case tiered.IsCold(packKey):
		return Nearline
	}
	return Online
}

// Availability says how soon the instance can be had.
func (i *Instance) Availability() Availability {
	return AvailabilityOf(i.Location.PackKey, i.PixelsDeleted != nil)
}
