// Package rle decodes and encodes frames in RLE Lossless (PS3.5 Annex G,
// 1.2.840.10008.1.2.5).
//
// A frame is a header of 64 bytes and up to 15 segments. The header has the
// number of segments and where each begins. A segment holds one byte plane: all
// most significant bytes of the first component, then the next lower bytes, and
// so on through the components. Each plane is compressed by PackBits: a control
// byte n of 0 to 127 is followed by n+1 literal bytes, one of 129 to 255 by a
// byte that is meant 257-n times, and 128 means nothing.
//
// Decode takes what encoders in the field write though they should not: runs
// that go on into the next row or beyond the last, segments padded with
// anything, a stream without its last padding byte. It gives an error when
// samples are missing: nothing is made up.
package rle
