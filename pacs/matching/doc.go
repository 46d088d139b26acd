// Package matching says by which attributes without a column of their own
// queries match, and makes keys for the index of what an identifier says of
// them (PS3.4 C.2.2.2). C-FIND and QIDO-RS find the same by it.
//
//	stored.go  the attributes that the index keeps as DICOM JSON, by level
//	key.go     an element of an identifier becomes a pacs.AttributeKey; what is
//	           matched for who asks for it only
package matching
