package dicom

import (
	"sync"

	"github.com/suyashkumar/dicom/pkg/tag"
)

// commandDictionary completes the PS3.6 dictionary with the command group,
// PS3.7 table E.1-1.
var commandDictionary = map[Tag]dictionaryEntry{
	TagCommandGroupLength:                   {UL, "CommandGroupLength"},
	TagAffectedSOPClassUID:                  {UI, "AffectedSOPClassUID"},
	TagRequestedSOPClassUID:                 {UI, "RequestedSOPClassUID"},
	TagCommandField:                         {US, "CommandField"},
	TagMessageID:                            {US, "MessageID"},
	TagMessageIDBeingRespondedTo:            {US, "MessageIDBeingRespondedTo"},
	TagMoveDestination:                      {AE, "MoveDestination"},
	TagPriority:                             {US, "Priority"},
	TagCommandDataSetType:                   {US, "CommandDataSetType"},
	TagStatus:                               {US, "Status"},
	TagOffendingElement:                     {AT, "OffendingElement"},
	TagErrorComment:                         {LO, "ErrorComment"},
	TagErrorID:                              {US, "ErrorID"},
	TagAffectedSOPInstanceUID:               {UI, "AffectedSOPInstanceUID"},
	TagRequestedSOPInstanceUID:              {UI, "RequestedSOPInstanceUID"},
	TagEventTypeID:                          {US, "EventTypeID"},
	TagAttributeIdentifierList:              {AT, "AttributeIdentifierList"},
	TagActionTypeID:                         {US, "ActionTypeID"},
	TagNumberOfRemainingSuboperations:       {US, "NumberOfRemainingSuboperations"},
	TagNumberOfCompletedSuboperations:       {US, "NumberOfCompletedSuboperations"},
	TagNumberOfFailedSuboperations:          {US, "NumberOfFailedSuboperations"},
	TagNumberOfWarningSuboperations:         {US, "NumberOfWarningSuboperations"},
	TagMoveOriginatorApplicationEntityTitle: {AE, "MoveOriginatorApplicationEntityTitle"},
	TagMoveOriginatorMessageID:              {US, "MoveOriginatorMessageID"},
}

// repeatingGroups are the elements of the groups 60xx (overlays) and 50xx
// (curves, retired), which the dictionary lists under group xx00 only in print.
// PS3.6 table 6-1.
var repeatingGroups = map[Tag]dictionaryEntry{
	0x60000010: {US, "OverlayRows"}, 0x60000011: {US, "OverlayColumns"}, 0x60000012: {US, "OverlayPlanes"},
	0x60000015: {IS, "NumberOfFramesInOverlay"}, 0x60000022: {LO, "OverlayDescription"}, 0x60000040: {CS, "OverlayType"},
	0x60000045: {LO, "OverlaySubtype"}, 0x60000050: {SS, "OverlayOrigin"}, 0x60000051: {US, "ImageFrameOrigin"},
	0x60000052: {US, "OverlayPlaneOrigin"}, 0x60000060: {CS, "OverlayCompressionCode"},
	0x60000061: {SH, "OverlayCompressionOriginator"}, 0x60000062: {SH, "OverlayCompressionLabel"},
	0x60000063: {CS, "OverlayCompressionDescription"}, 0x60000066: {AT, "OverlayCompressionStepPointers"},
	0x60000068: {US, "OverlayRepeatInterval"}, 0x60000069: {US, "OverlayBitsGrouped"},
	0x60000100: {US, "OverlayBitsAllocated"}, 0x60000102: {US, "OverlayBitPosition"}, 0x60000110: {CS, "OverlayFormat"},
	0x60000200: {US, "OverlayLocation"}, 0x60000800: {CS, "OverlayCodeLabel"}, 0x60000802: {US, "OverlayNumberOfTables"},
	0x60000803: {AT, "OverlayCodeTableLocation"}, 0x60000804: {US, "OverlayBitsForCodeWord"},
	0x60001001: {CS, "OverlayActivationLayer"}, 0x60001100: {US, "OverlayDescriptorGray"},
	0x60001101: {US, "OverlayDescriptorRed"}, 0x60001102: {US, "OverlayDescriptorGreen"},
	0x60001103: {US, "OverlayDescriptorBlue"}, 0x60001200: {US, "OverlaysGray"}, 0x60001201: {US, "OverlaysRed"},
	0x60001202: {US, "OverlaysGreen"}, 0x60001203: {US, "OverlaysBlue"}, 0x60001301: {IS, "ROIArea"},
	0x60001302: {DS, "ROIMean"}, 0x60001303: {DS, "ROIStandardDeviation"}, 0x60001500: {LO, "OverlayLabel"},
	0x60003000: {OW, "OverlayData"}, 0x60004000: {LT, "OverlayComments"},
	0x50000005: {US, "CurveDimensions"}, 0x50000010: {US, "NumberOfPoints"}, 0x50000020: {CS, "TypeOfData"},
	0x50000022: {LO, "CurveDescription"}, 0x50000030: {SH, "AxisUnits"}, 0x50000040: {SH, "AxisLabels"},
	0x50000103: {US, "DataValueRepresentation"}, 0x50000104: {US, "MinimumCoordinateValue"},
	0x50000105: {US, "MaximumCoordinateValue"}, 0x50000106: {SH, "CurveRange"}, 0x50000110: {US, "CurveDataDescriptor"},
	0x50000112: {US, "CoordinateStartValue"}, 0x50000114: {US, "CoordinateStepValue"}, 0x50001001: {CS, "CurveActivationLayer"},
	0x50002000: {US, "AudioType"}, 0x50002002: {US, "AudioSampleFormat"}, 0x50002004: {US, "NumberOfChannels"},
	0x50002006: {UL, "NumberOfSamples"}, 0x50002008: {UL, "SampleRate"}, 0x5000200A: {UL, "TotalTime"},
	0x5000200C: {OW, "AudioSampleData"}, 0x5000200E: {LT, "AudioComments"}, 0x50002500: {LO, "CurveLabel"},
	0x50002600: {SQ, "CurveReferencedOverlaySequence"}, 0x50002610: {US, "CurveReferencedOverlayGroup"},
	0x50003000: {OW, "CurveData"},
}

type dictionaryEntry struct {
	vr      VR
	keyword string
}

// lookup finds the dictionary's own entry for t. Where the dictionary leaves
// the VR open, signed chooses SS over US; other choices follow what implicit
// encoding prescribes (PS3.5 Annex A.1: OB or OW is OW) or is common (LUT data OW).
func lookup(t Tag, signed bool) (dictionaryEntry, bool) {
	group := t.Group()
	if t.IsPrivate() {
		if t.IsPrivateCreator() {
			return dictionaryEntry{LO, "PrivateCreator"}, true
		}
		return dictionaryEntry{}, false
	}
	if group == 0 {
		e, ok := commandDictionary[t]
		return e, ok
	}
	if t.IsGroupLength() {
		if group == 2 {
			return dictionaryEntry{UL, "FileMetaInformationGroupLength"}, true
		}
		return dictionaryEntry{UL, "GenericGroupLength"}, true
	}
	if hi := group >> 8; hi == 0x60 || hi == 0x50 {
		e, ok := repeatingGroups[t&^0x00FF0000]
		return e, ok
	}
	if t>>8 == 0x002031 {
		return dictionaryEntry{CS, "SourceImageIDs"}, true
	}
	info, err := tag.Find(tag.Tag{Group: group, Element: t.Element()})
	if err != nil {
		return dictionaryEntry{}, false
	}
	e := dictionaryEntry{keyword: info.Keyword}
	e.vr, _ = ParseVR(info.VRs[0])
	if len(info.VRs) > 1 {
		switch last := info.VRs[len(info.VRs)-1]; last {
		case "OW": // "OB or OW", "US or OW", "US or SS or OW"
			e.vr = OW
		case "SS":
			if signed {
				e.vr = SS
			}
		}
	}
	return e, true
}

// LookupVR returns the VR that implicit encoding gives t: UN for private and
// unknown attributes, LO for private creators, UL for group lengths. signed is
// Pixel Representation (0028,0103) = 1 and decides "US or SS".
func LookupVR(t Tag, signed bool) VR {
	if e, ok := lookup(t, signed); ok && e.vr != 0 {
		return e.vr
	}
	return UN
}

// Multiple reports whether t may have several values (PS3.6: its VM is not 1);
// false for private and unknown attributes.
func Multiple(t Tag) bool {
	if t.IsPrivate() {
		return false
	}
	info, err := tag.Find(tag.Tag{Group: t.Group(), Element: t.Element()})
	return err == nil && info.VM != "1"
}

// Keyword returns the keyword of t, "" for private and unknown attributes.
func Keyword(t Tag) string {
	if t.IsPrivate() {
		return ""
	}
	e, _ := lookup(t, false)
	return e.keyword
}

// keywords remembers what LookupKeyword found; only existing keywords enter,
// so it can't outgrow the dictionary.
var keywords sync.Map

// LookupKeyword returns the tag with that keyword, e.g. "PatientName".
func LookupKeyword(keyword string) (Tag, bool) {
	if t, ok := keywords.Load(keyword); ok {
		return t.(Tag), true
	}
	if keyword == "" || len(keyword) > 128 {
		return 0, false
	}
	for t, e := range commandDictionary {
		if e.keyword == keyword {
			keywords.Store(keyword, t)
			return t, true
		}
	}
	// FindByKeyword also matches the spoken name ("Patient's Name"), which
	// is not a keyword.
	info, err := tag.FindByKeyword(keyword)
	if err != nil || info.Keyword != keyword {
		return 0, false
	}
	t := NewTag(info.Tag.Group, info.Tag.Element)
	keywords.Store(keyword, t)
	return t, true
}
