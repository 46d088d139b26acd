package dicomweb

import "github.com/tasvir-pacs/tasvir/pacs/dicom"

// frameMedia are the media types under which a frame of a compressed transfer
// syntax may be asked for: PS3.18 tables 8.7.3-2 and 8.7.3-5, after them the
// names that older editions and clients use.
var frameMedia = map[string][]string{
	dicom.JPEGBaseline8Bit:    {"image/jpeg"},
	dicom.JPEGExtended12Bit:   {"image/jpeg"},
	dicom.JPEGLossless:        {"image/jpeg", "image/jll"},
	dicom.JPEGLosslessSV1:     {"image/jpeg", "image/jll"},
	dicom.RLELossless:         {"image/dicom-rle", "image/x-dicom-rle"},
	dicom.JPEGLSLossless:      {"image/jls", "image/x-jls"},
	dicom.JPEGLSNearLossless:  {"image/jls", "image/x-jls"},
	dicom.JPEG2000Lossless:    {"image/jp2"},
	dicom.JPEG2000:            {"image/jp2"},
	dicom.JPEG2000MCLossless:  {"image/jpx"},
	dicom.JPEG2000MC:          {"image/jpx"},
	dicom.HTJ2KLossless:       {"image/jphc", "image/jhc"},
	dicom.HTJ2KLosslessRPCL:   {"image/jphc", "image/jhc"},
	dicom.HTJ2K:               {"image/jphc", "image/jhc"},
	dicom.JPEGXLLossless:      {"image/jxl"},
	dicom.JPEGXLRecompression: {"image/jxl"},
	dicom.JPEGXL:              {"image/jxl"},
	"1.2.840.10008.1.2.4.100": {"video/mpeg", "video/mpeg2"},
	"1.2.840.10008.1.2.4.101": {"video/mpeg", "video/mpeg2"},
	"1.2.840.10008.1.2.4.102": {"video/mp4"},
	"1.2.840.10008.1.2.4.103": {"video/mp4"},
	"1.2.840.10008.1.2.4.104": {"video/mp4"},
	"1.2.840.10008.1.2.4.105": {"video/mp4"},
	"1.2.840.10008.1.2.4.106": {"video/mp4"},
	"1.2.840.10008.1.2.4.107": {"video/mp4", "video/h265"},
	"1.2.840.10008.1.2.4.108": {"video/mp4", "video/h265"},
}

// pixelSyntaxes are the transfer syntaxes under which stored pixel data may be
// sent without touching a byte, best first. Uncompressed little endian pixels
// are the same bytes in Implicit, Explicit, Deflated (once inflated) and
// Encapsulated Uncompressed; PS3.18 8.7.3.3 knows them as Explicit VR Little
// Endian, the default of application/octet-stream.
func pixelSyntaxes(stored string) []string {
	switch stored {
	case dicom.ImplicitVRLittleEndian, dicom.EncapsulatedUncompressed, dicom.DeflatedExplicitVRLittleEndian:
		return []string{dicom.ExplicitVRLittleEndian, stored}
	case dicom.ExplicitVRLittleEndian:
		return []string{stored, dicom.ImplicitVRLittleEndian}
	}
	return []string{stored}
}

// isBigEndian tells whether native pixel data are stored in big endian.
func isBigEndian(stored string) bool {
	ts, _ := dicom.LookupTransferSyntax(stored)
	return ts.BigEndian || stored == gePrivateSyntax
}

// gePrivateSyntax has big endian pixels in a little endian data set.
const gePrivateSyntax = "1.2.840.113619.5.2"

func syntaxName(uid string) string {
	if ts, ok := dicom.LookupTransferSyntax(uid); ok {
		return ts.Name
	}
	return "a private transfer syntax"
}
