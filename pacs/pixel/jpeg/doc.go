// Package jpeg decodes and encodes the JPEG processes of ITU-T T.81 that DICOM
// uses (PS3.5 8.2.1 and 10.1 to 10.3), with all bits of their samples:
//
//	SOF0  baseline, 8 bit                      1.2.840.10008.1.2.4.50
//	SOF1  extended sequential, 8 and 12 bit    1.2.840.10008.1.2.4.51
//	SOF2  progressive, 8 and 12 bit            .53 and .55, retired
//	SOF3  lossless, 2 to 16 bit, predictor 1-7 .57 and .70
//
// all with Huffman coding. Arithmetic coding and hierarchical processes are
// told apart and refused (ErrUnsupported).
//
// The way of a stream: DecodeHeader reads markers up to the frame header and
// allocates nothing; Decode goes through all of them (stream.go) and hands each
// scan to lossless.go, or to dct.go (sequential) and progressive.go. Their bits
// come from a reader over bytes whose stuffing has been removed (bits.go), by
// tables that look eleven bits ahead (huffman.go). Blocks of coefficients become
// samples in idct.go and chroma gets its full size in upsample.go, both with the
// very arithmetic of the Independent JPEG Group's library, so that results are
// those of DCMTK.
//
// Components are returned as the stream has them, beside what it says about their
// colour: in DICOM the attributes have a word in that too, and the caller decides.
// Image.ToRGB converts.
//
// Streams come from outside. Sizes are checked against the caller's limit and
// against the bytes that are there before anything is allocated; a stream whose
// samples are not all there is an error, except that a missing end marker is
// forgiven where nothing else is missing.
package jpeg
