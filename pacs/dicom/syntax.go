package dicom

// TransferSyntax says how a data set is encoded (PS3.5 section 10).
type TransferSyntax struct {
	UID          string
	Name         string
	Implicit     bool // implicit VR
	BigEndian    bool
	Encapsulated bool // pixel data in fragments
	Deflated     bool // the whole data set is deflated
	Lossy        bool // the encoding may lose information
	Video        bool // fragments are one video stream: frames can't be cut out
	Retired      bool
}

// Transfer syntaxes that are named in code.
const (
	ImplicitVRLittleEndian         = "1.2.840.10008.1.2"
	ExplicitVRLittleEndian         = "1.2.840.10008.1.2.1"
	EncapsulatedUncompressed       = "1.2.840.10008.1.2.1.98"
	DeflatedExplicitVRLittleEndian = "1.2.840.10008.1.2.1.99"
	ExplicitVRBigEndian            = "1.2.840.10008.1.2.2"
	JPEGBaseline8Bit               = "1.2.840.10008.1.2.4.50"
	JPEGExtended12Bit              = "1.2.840.10008.1.2.4.51"
	JPEGLossless                   = "1.2.840.10008.1.2.4.57"
	JPEGLosslessSV1                = "1.2.840.10008.1.2.4.70"
	JPEGLSLossless                 = "1.2.840.10008.1.2.4.80"
	JPEGLSNearLossless             = "1.2.840.10008.1.2.4.81"
	JPEG2000Lossless               = "1.2.840.10008.1.2.4.90"
	JPEG2000                       = "1.2.840.10008.1.2.4.91"
	JPEG2000MCLossless             = "1.2.840.10008.1.2.4.92"
	JPEG2000MC                     = "1.2.840.10008.1.2.4.93"
	JPEGXLLossless                 = "1.2.840.10008.1.2.4.110"
	JPEGXLRecompression            = "1.2.840.10008.1.2.4.111"
	JPEGXL                         = "1.2.840.10008.1.2.4.112"
	HTJ2KLossless                  = "1.2.840.10008.1.2.4.201"
	HTJ2KLosslessRPCL              = "1.2.840.10008.1.2.4.202"
	HTJ2K                          = "1.2.840.10008.1.2.4.203"
	RLELossless                    = "1.2.840.10008.1.2.5"
)

// TransferSyntaxes lists the transfer syntaxes of PS3.6 table A-1, and the one
// private syntax that is common in archives.
var TransferSyntaxes = []TransferSyntax{
	{UID: ImplicitVRLittleEndian, Name: "Implicit VR Little Endian", Implicit: true},
	{UID: ExplicitVRLittleEndian, Name: "Explicit VR Little Endian"},
	{UID: EncapsulatedUncompressed, Name: "Encapsulated Uncompressed Explicit VR Little Endian", Encapsulated: true},
	{UID: DeflatedExplicitVRLittleEndian, Name: "Deflated Explicit VR Little Endian", Deflated: true},
	{UID: ExplicitVRBigEndian, Name: "Explicit VR Big Endian", BigEndian: true, Retired: true},
	{UID: JPEGBaseline8Bit, Name: "JPEG Baseline (Process 1)", Encapsulated: true, Lossy: true},
	{UID: JPEGExtended12Bit, Name: "JPEG Extended (Process 2 & 4)", Encapsulated: true, Lossy: true},
	{UID: "1.2.840.10008.1.2.4.52", Name: "JPEG Extended (Process 3 & 5)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.53", Name: "JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.54", Name: "JPEG Spectral Selection, Non-Hierarchical (Process 7 & 9)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.55", Name: "JPEG Full Progression, Non-Hierarchical (Process 10 & 12)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.56", Name: "JPEG Full Progression, Non-Hierarchical (Process 11 & 13)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: JPEGLossless, Name: "JPEG Lossless, Non-Hierarchical (Process 14)", Encapsulated: true},
	{UID: "1.2.840.10008.1.2.4.58", Name: "JPEG Lossless, Non-Hierarchical (Process 15)", Encapsulated: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.59", Name: "JPEG Extended, Hierarchical (Process 16 & 18)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.60", Name: "JPEG Extended, Hierarchical (Process 17 & 19)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.61", Name: "JPEG Spectral Selection, Hierarchical (Process 20 & 22)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.62", Name: "JPEG Spectral Selection, Hierarchical (Process 21 & 23)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.63", Name: "JPEG Full Progression, Hierarchical (Process 24 & 26)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.64", Name: "JPEG Full Progression, Hierarchical (Process 25 & 27)", Encapsulated: true, Lossy: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.65", Name: "JPEG Lossless, Hierarchical (Process 28)", Encapsulated: true, Retired: true},
	{UID: "1.2.840.10008.1.2.4.66", Name: "JPEG Lossless, Hierarchical (Process 29)", Encapsulated: true, Retired: true},
	{UID: JPEGLosslessSV1, Name: "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])", Encapsulated: true},
	{UID: JPEGLSLossless, Name: "JPEG-LS Lossless Image Compression", Encapsulated: true},
	{UID: JPEGLSNearLossless, Name: "JPEG-LS Lossy (Near-Lossless) Image Compression", Encapsulated: true, Lossy: true},
	{UID: JPEG2000Lossless, Name: "JPEG 2000 Image Compression (Lossless Only)", Encapsulated: true},
	{UID: JPEG2000, Name: "JPEG 2000 Image Compression", Encapsulated: true, Lossy: true},
	{UID: JPEG2000MCLossless, Name: "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)", Encapsulated: true},
	{UID: JPEG2000MC, Name: "JPEG 2000 Part 2 Multi-component Image Compression", Encapsulated: true, Lossy: true},
	{UID: "1.2.840.10008.1.2.4.94", Name: "JPIP Referenced"},
	{UID: "1.2.840.10008.1.2.4.95", Name: "JPIP Referenced Deflate", Deflated: true},
	{UID: "1.2.840.10008.1.2.4.100", Name: "MPEG2 Main Profile / Main Level", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.100.1", Name: "Fragmentable MPEG2 Main Profile / Main Level", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.101", Name: "MPEG2 Main Profile / High Level", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.101.1", Name: "Fragmentable MPEG2 Main Profile / High Level", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.102", Name: "MPEG-4 AVC/H.264 High Profile / Level 4.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.102.1", Name: "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.103", Name: "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.103.1", Name: "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.104", Name: "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.104.1", Name: "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.105", Name: "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.105.1", Name: "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.106", Name: "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.106.1", Name: "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.107", Name: "HEVC/H.265 Main Profile / Level 5.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: "1.2.840.10008.1.2.4.108", Name: "HEVC/H.265 Main 10 Profile / Level 5.1", Encapsulated: true, Lossy: true, Video: true},
	{UID: JPEGXLLossless, Name: "JPEG XL Lossless", Encapsulated: true},
	{UID: JPEGXLRecompression, Name: "JPEG XL JPEG Recompression", Encapsulated: true, Lossy: true},
	{UID: JPEGXL, Name: "JPEG XL", Encapsulated: true, Lossy: true},
	{UID: HTJ2KLossless, Name: "High-Throughput JPEG 2000 Image Compression (Lossless Only)", Encapsulated: true},
	{UID: HTJ2KLosslessRPCL, Name: "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)", Encapsulated: true},
	{UID: HTJ2K, Name: "High-Throughput JPEG 2000 Image Compression", Encapsulated: true, Lossy: true},
	{UID: "1.2.840.10008.1.2.4.204", Name: "JPIP HTJ2K Referenced"},
	{UID: "1.2.840.10008.1.2.4.205", Name: "JPIP HTJ2K Referenced Deflate", Deflated: true},
	{UID: RLELossless, Name: "RLE Lossless", Encapsulated: true},
	{UID: "1.2.840.10008.1.2.6.1", Name: "RFC 2557 MIME Encapsulation", Retired: true},
	{UID: "1.2.840.10008.1.2.6.2", Name: "XML Encoding", Retired: true},
	{UID: "1.2.840.10008.1.2.7.1", Name: "SMPTE ST 2110-20 Uncompressed Progressive Active Video", Video: true},
	{UID: "1.2.840.10008.1.2.7.2", Name: "SMPTE ST 2110-20 Uncompressed Interlaced Active Video", Video: true},
	{UID: "1.2.840.10008.1.2.7.3", Name: "SMPTE ST 2110-30 PCM Digital Audio"},
	{UID: "1.2.840.10008.1.2.8.1", Name: "Deflated Image Frame Compression", Encapsulated: true},
	{UID: "1.2.840.10008.1.20", Name: "Papyrus 3 Implicit VR Little Endian", Implicit: true, Retired: true},
	// GE's private syntax: an implicit little endian data set whose pixel words are big endian.
	{UID: "1.2.840.113619.5.2", Name: "Implicit VR Little Endian with big endian pixel data (GE private)", Implicit: true},
}

var transferSyntaxByUID = func() map[string]TransferSyntax {
	m := make(map[string]TransferSyntax, len(TransferSyntaxes))
	for _, ts := range TransferSyntaxes {
		m[ts.UID] = ts
	}
	return m
}()

// LookupTransferSyntax finds a transfer syntax by UID; ok is false for unknown
// and private ones.
func LookupTransferSyntax(uid string) (ts TransferSyntax, ok bool) {
	ts, ok = transferSyntaxByUID[uid]
	return ts, ok
}
