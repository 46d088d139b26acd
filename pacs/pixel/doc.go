// Package pixel turns pixel data into other forms of the same pixels.
//
//   - Format is how samples are laid out, Frame is one decoded frame, and Codecs
//     decode and encode frames by transfer syntax.
//   - Worker runs the codecs that are written in C. They read bytes from
//     outside and are kept in a process of their own, with limits on memory and
//     time; one that dies or hangs costs the image it was at, nothing else.
//     ServeCodecs is that process's side.
//   - Compressor makes a JPEG-LS lossless copy of an uncompressed PS3.10 file,
//     and believes it only after decoding it and comparing every byte. Merging
//     uses it (package publish, serve --compress).
//
// Package charls below it is the binding to CharLS. A build without the tag
// charls has no codec: nothing is compressed then, and nothing is promised.
package pixel
