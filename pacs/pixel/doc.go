// Package pixel turns pixel data into other forms of the same pixels.
//
//   - Format is how samples are laid out, Frame is one decoded frame, and Codecs
//     decode and encode frames by transfer syntax.
//   - Worker runs the codecs that are written in C. They read bytes from
//     outside and are kept in processes of their own, with limits on memory and
//     time; one that dies or hangs costs the frame it was at, nothing else. Who
//     waits for a process gets one in the order of asking. ServeCodecs is a
//     process's side.
//   - Compressor makes a JPEG-LS lossless copy of an uncompressed PS3.10 file,
//     and believes it only after decoding it and comparing every byte. Merging
//     uses it (package publish, serve --compress).
//
// The packages below: charls and openjpeg are the bindings to the libraries in C,
// built with the tags of the same names; jpeg and rle are written in Go; transcode
// gives whole instances in other transfer syntaxes; render makes pictures. What a
// build lacks is not decoded and not offered.
package pixel
