package dimse

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Tag is a command element's tag: group 0000 in the upper half.
type Tag uint32

// Command elements. PS3.7 Annex E.1.
const (
	CommandGroupLength              Tag    = 0x0000_0000
	AffectedSOPClassUID             Tag    = 0x0000_0002
	RequestedSOPClassUID            Tag    = 0x0000_0003
	CommandField                    Tag    = 0x0000_0100
	MessageID                       Tag    = 0x0000_0110
	MessageIDBeingRespondedTo       Tag    = 0x0000_0120
	MoveDestination                 Tag    = 0x0000_0600
	Priority                        Tag    = 0x0000_0700
	CommandDataSetType              Tag    = 0x0000_0800
	StatusElement                   Tag    = 0x0000_0900
	OffendingElement                Tag    = 0x0000_0901
	ErrorComment                    Tag    = 0x0000_0902
	ErrorID                         Tag    = 0x0000_0903
	AffectedSOPInstanceUID          Tag    = 0x0000_1000
	RequestedSOPInstanceUID         Tag    = 0x0000_1001
	EventTypeID                     Tag    = 0x0000_1002
	AttributeIdentifierList         Tag    = 0x0000_1005
	ActionTypeID                    Tag    = 0x0000_1008
	NumberOfRemainingSuboperations  Tag    = 0x0000_1020
	NumberOfCompletedSuboperations  Tag    = 0x0000_1021
	NumberOfFailedSuboperations     Tag    = 0x0000_1022
	NumberOfWarningSuboperations    Tag    = 0x0000_1023
	MoveOriginatorApplicationEntity Tag    = 0x0000_1030
	MoveOriginatorMessageID         Tag    = 0x0000_1031
	elementHeaderLen                       = 8
	maxElements                            = 64
	noDataSet                       uint16 = 0x0101 // Command Data Set Type: null
	hasDataSet                      uint16 = 0x0000 // any value but 0101H
)

func (t Tag) String() string { return fmt.Sprintf("(%04X,%04X)", uint32(t)>>16, uint32(t)&0xFFFF) }

// Field is the value of Command Field: the kind of message. PS3.7 Annex E.1.
type Field uint16

const (
	CStoreRQ       Field = 0x0001
	CStoreRSP      Field = 0x8001
	CGetRQ         Field = 0x0010
	CFindRQ        Field = 0x0020
	CMoveRQ        Field = 0x0021
	CEchoRQ        Field = 0x0030
	CEchoRSP       Field = 0x8030
	CCancelRQ      Field = 0x0FFF
	NEventReportRQ Field = 0x0100
	NGetRQ         Field = 0x0110
	NSetRQ         Field = 0x0120
	NActionRQ      Field = 0x0130
	NCreateRQ      Field = 0x0140
	NDeleteRQ      Field = 0x0150
	// responseBit turns a request's field into its response's.
	responseBit Field = 0x8000
)

var fieldNames = map[Field]string{
	0x0001: "C-STORE", 0x0010: "C-GET", 0x0020: "C-FIND", 0x0021: "C-MOVE", 0x0030: "C-ECHO", 0x0FFF: "C-CANCEL",
	0x0100: "N-EVENT-REPORT", 0x0110: "N-GET", 0x0120: "N-SET", 0x0130: "N-ACTION", 0x0140: "N-CREATE", 0x0150: "N-DELETE",
}

func (f Field) String() string {
	name, ok := fieldNames[f&^responseBit]
	switch {
	case !ok:
		return fmt.Sprintf("command field %04XH", uint16(f))
	case f&responseBit != 0:
		return name + "-RSP"
	}
	return name + "-RQ"
}

type element struct {
	tag   Tag
	value []byte
}

// Command is a command set: elements of group 0000 in Implicit VR Little
// Endian. PS3.7 section 6.3. The zero Command is empty and ready to use.
type Command struct{ elements []element } // ascending tags, without the group length

// ParseCommand decodes a command set. It takes group 0000 only, in ascending
// order and without duplicates, and refuses lengths that don't fit exactly.
// The command group length, which some devices get wrong, is not believed.
// Elements it doesn't know are kept.
func ParseCommand(b []byte) (Command, error) {
	var c Command
	last := int64(-1)
	for len(b) > 0 {
		if len(b) < elementHeaderLen {
			return Command{}, fmt.Errorf("command set: %d stray bytes at the end", len(b))
		}
		tag := Tag(uint32(binary.LittleEndian.Uint16(b))<<16 | uint32(binary.LittleEndian.Uint16(b[2:])))
		n := binary.LittleEndian.Uint32(b[4:])
		switch {
		case tag>>16 != 0:
			return Command{}, fmt.Errorf("command set: element %s is not of group 0000", tag)
		case int64(tag) <= last:
			return Command{}, fmt.Errorf("command set: element %s out of order", tag)
		case uint64(n) > uint64(len(b)-elementHeaderLen):
			return Command{}, fmt.Errorf("command set: element %s claims %d bytes, %d are left", tag, n, len(b)-elementHeaderLen)
		case len(c.elements) == maxElements:
			return Command{}, fmt.Errorf("command set: more than %d elements", maxElements)
		}
		last = int64(tag)
		value := b[elementHeaderLen : elementHeaderLen+n : elementHeaderLen+n]
		b = b[elementHeaderLen+n:]
		if tag != CommandGroupLength {
			c.elements = append(c.elements, element{tag, value})
		}
	}
	return c, nil
}

// Encode returns the command set with its group length.
func (c Command) Encode() []byte {
	n := 0
	for _, e := range c.elements {
		n += elementHeaderLen + len(e.value)
	}
	b := make([]byte, 0, elementHeaderLen+4+n)
	b = appendElement(b, element{CommandGroupLength, binary.LittleEndian.AppendUint32(nil, uint32(n))})
	for _, e := range c.elements {
		b = appendElement(b, e)
	}
	return b
}

func appendElement(b []byte, e element) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(e.tag>>16))
	b = binary.LittleEndian.AppendUint16(b, uint16(e.tag))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.value)))
	return append(b, e.value...)
}

func (c Command) find(tag Tag) (int, bool) {
	return slices.BinarySearchFunc(c.elements, tag, func(e element, t Tag) int { return int(int64(e.tag) - int64(t)) })
}

// Has says whether the element is there, with a value or without.
func (c Command) Has(tag Tag) bool {
	_, ok := c.find(tag)
	return ok
}

// Bytes returns the value as it is, nil when there is none.
func (c Command) Bytes(tag Tag) []byte {
	if i, ok := c.find(tag); ok {
		return c.elements[i].value
	}
	return nil
}

// Uint16 returns the first value of a US element.
func (c Command) Uint16(tag Tag) (v uint16, ok bool) {
	b := c.Bytes(tag)
	if len(b) < 2 {
		return 0, false
	}
	return binary.LittleEndian.Uint16(b), true
}

// Text returns a UI, AE or LO element without its padding.
func (c Command) Text(tag Tag) string { return strings.Trim(string(c.Bytes(tag)), " \x00") }

// Tags returns the value of an AT element.
func (c Command) Tags(tag Tag) []uint32 {
	b := c.Bytes(tag)
	var tags []uint32
	for ; len(b) >= 4; b = b[4:] {
		tags = append(tags, uint32(binary.LittleEndian.Uint16(b))<<16|uint32(binary.LittleEndian.Uint16(b[2:])))
	}
	return tags
}

func (c *Command) set(tag Tag, value []byte) {
	i, ok := c.find(tag)
	if ok {
		c.elements[i].value = value
		return
	}
	c.elements = slices.Insert(c.elements, i, element{tag, value})
}

// SetUint16 sets a US element.
func (c *Command) SetUint16(tag Tag, v uint16) { c.set(tag, binary.LittleEndian.AppendUint16(nil, v)) }

// SetUID sets a UI element, padded with NUL to an even length.
func (c *Command) SetUID(tag Tag, uid string) { c.set(tag, padded(uid, 0)) }

// SetText sets an AE or LO element, padded with a space to an even length.
func (c *Command) SetText(tag Tag, s string) { c.set(tag, padded(s, ' ')) }

// SetTags sets an AT element.
func (c *Command) SetTags(tag Tag, tags []uint32) {
	var b []byte
	for _, t := range tags {
		b = binary.LittleEndian.AppendUint16(b, uint16(t>>16))
		b = binary.LittleEndian.AppendUint16(b, uint16(t))
	}
	c.set(tag, b)
}

func padded(s string, pad byte) []byte {
	b := []byte(s)
	if len(b)%2 != 0 {
		b = append(b, pad)
	}
	return b
}

// Field returns the kind of message, 0 when there is none.
func (c Command) Field() Field {
	v, _ := c.Uint16(CommandField)
	return Field(v)
}

// HasDataSet says whether a data set follows. A command set without the element
// has none.
func (c Command) HasDataSet() bool {
	v, ok := c.Uint16(CommandDataSetType)
	return ok && v != noDataSet
}

// sopClass returns the class that a request is about. N-GET, N-SET, N-ACTION and
// N-DELETE name the one requested, all others the one affected.
func (c Command) sopClass() string {
	return cmp.Or(c.Text(AffectedSOPClassUID), c.Text(RequestedSOPClassUID))
}

// sopInstance returns the instance that a request is about, likewise.
func (c Command) sopInstance() string {
	return cmp.Or(c.Text(AffectedSOPInstanceUID), c.Text(RequestedSOPInstanceUID))
}

// newResponse begins the response to rq: field, message ID, SOP class and
// status, and no data set.
func newResponse(rq Command, status Status) Command {
	var c Command
	if uid := rq.sopClass(); uid != "" {
		c.SetUID(AffectedSOPClassUID, uid)
	}
	c.SetUint16(CommandField, uint16(rq.Field()|responseBit))
	id, _ := rq.Uint16(MessageID)
	c.SetUint16(MessageIDBeingRespondedTo, id)
	c.SetUint16(CommandDataSetType, noDataSet)
	c.SetUint16(StatusElement, uint16(status.Code))
	if comment := errorComment(status.Comment); comment != "" && status.Code != Success {
		c.SetText(ErrorComment, comment)
	}
	if len(status.Offending) > 0 {
		c.SetTags(OffendingElement, status.Offending[:min(len(status.Offending), 16)])
	}
	if status.ErrorID != 0 {
		c.SetUint16(ErrorID, status.ErrorID)
	}
	return c
}

// errorComment makes a value of VR LO in the default repertoire: 64 characters,
// no backslash, no controls, and '?' for what a command set can't carry, as it
// declares no character set.
func errorComment(s string) string {
	const maxLO = 64
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\' || r < ' ' || r == 0x7F:
			r = ' '
		case r > 0x7F:
			r = '?'
		}
		b.WriteRune(r)
		if b.Len() == maxLO {
			break
		}
	}
	return strings.TrimSpace(b.String())
}
