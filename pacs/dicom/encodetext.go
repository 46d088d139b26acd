package dicom

// EncodeText encodes a text in a character set, named as in (0008,0005); nil is
// the default repertoire. ok is false when the set has not all its characters,
// or is none that is written: code extensions (ISO 2022) are only read.
func EncodeText(text string, charset []string) (raw []byte, ok bool) {
	return encodeText(text, charset, "")
}
