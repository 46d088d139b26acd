package dicom

import (
	"fmt"
	"strconv"
)

//go:generate go run ./gen

// Tag identifies an attribute: group number in the high, element number in the
// low 16 bits. Tags order like the elements of a data set.
type Tag uint32

// NewTag makes a Tag from group and element number.
func NewTag(group, element uint16) Tag { return Tag(uint32(group)<<16 | uint32(element)) }

// Group returns the group number.
func (t Tag) Group() uint16 { return uint16(t >> 16) }

// Element returns the element number.
func (t Tag) Element() uint16 { return uint16(t) }

// IsPrivate tells whether t lies in a private (odd) group.
func (t Tag) IsPrivate() bool { return t&0x00010000 != 0 }

// IsPrivateCreator tells whether t reserves a block of private elements
// (gggg,0010-00FF), PS3.5 7.8.1.
func (t Tag) IsPrivateCreator() bool {
	return t.IsPrivate() && t.Element() >= 0x10 && t.Element() <= 0xFF
}

// IsGroupLength tells whether t is a group length (gggg,0000).
func (t Tag) IsGroupLength() bool { return t&0xFFFF == 0 }

// IsPixelData tells whether t is one of the three pixel data attributes:
// Float, Double Float or (integer) Pixel Data.
func (t Tag) IsPixelData() bool {
	return t == TagPixelData || t == TagFloatPixelData || t == TagDoubleFloatPixelData
}

const hexDigits = "0123456789ABCDEF"

func (t Tag) append(dst []byte) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[t>>shift&0xF])
	}
	return dst
}

// String returns the eight hexadecimal digits used by DICOM JSON and QIDO-RS,
// as in "00100010".
func (t Tag) String() string { return string(t.append(make([]byte, 0, 8))) }

// ParseTag accepts what QIDO-RS accepts as an attribute: eight hexadecimal
// digits ("00100010") or a keyword ("PatientName").
func ParseTag(s string) (Tag, error) {
	if len(s) == 8 {
		if n, err := strconv.ParseUint(s, 16, 32); err == nil {
			return Tag(n), nil
		}
	}
	if t, ok := LookupKeyword(s); ok {
		return t, nil
	}
	return 0, fmt.Errorf("dicom: %q is neither eight hexadecimal digits nor a known attribute keyword", s)
}

// Command group, PS3.7 table E.1-1 (not part of the PS3.6 dictionary).
const (
	TagCommandGroupLength                   Tag = 0x00000000 // UL
	TagAffectedSOPClassUID                  Tag = 0x00000002 // UI
	TagRequestedSOPClassUID                 Tag = 0x00000003 // UI
	TagCommandField                         Tag = 0x00000100 // US
	TagMessageID                            Tag = 0x00000110 // US
	TagMessageIDBeingRespondedTo            Tag = 0x00000120 // US
	TagMoveDestination                      Tag = 0x00000600 // AE
	TagPriority                             Tag = 0x00000700 // US
	TagCommandDataSetType                   Tag = 0x00000800 // US
	TagStatus                               Tag = 0x00000900 // US
	TagOffendingElement                     Tag = 0x00000901 // AT
	TagErrorComment                         Tag = 0x00000902 // LO
	TagErrorID                              Tag = 0x00000903 // US
	TagAffectedSOPInstanceUID               Tag = 0x00001000 // UI
	TagRequestedSOPInstanceUID              Tag = 0x00001001 // UI
	TagEventTypeID                          Tag = 0x00001002 // US
	TagAttributeIdentifierList              Tag = 0x00001005 // AT
	TagActionTypeID                         Tag = 0x00001008 // US
	TagNumberOfRemainingSuboperations       Tag = 0x00001020 // US
	TagNumberOfCompletedSuboperations       Tag = 0x00001021 // US
	TagNumberOfFailedSuboperations          Tag = 0x00001022 // US
	TagNumberOfWarningSuboperations         Tag = 0x00001023 // US
	TagMoveOriginatorApplicationEntityTitle Tag = 0x00001030 // AE
	TagMoveOriginatorMessageID              Tag = 0x00001031 // US
)
