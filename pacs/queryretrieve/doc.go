// Package queryretrieve is the query/retrieve service of PS3.4 Annex C as provider:
// what a workstation asks to find studies in the archive and to get them.
//
// # The tour
//
// A [Provider] has the dimse.Service of each SOP class: the patient root, the
// study root and the retired patient/study only model. It asks its Caller who has
// opened the association: what they see is a pacs.Scope, and nothing is looked up
// without one.
//
// A C-FIND (find.go) begins with its identifier: query.go reads the level and the
// keys, key.go has a table of the attributes that are matched by, with columns of
// their own or kept as DICOM JSON. What comes of it is a pacs.InstanceFilter, the
// same that QIDO-RS makes, and the matching is the index's (package index,
// condition.go). The rows come in pages and go out one by one, as fast as the peer
// reads; answer.go makes an identifier of each, with what was asked for and is
// known.
//
// An identifier that does not suit the model is A900H with the offending element
// and a comment that says what is wrong. Hierarchical queries must name the
// studies and series that they look in; relational ones need not, when extended
// negotiation has agreed on them. It also agrees on combined date-time matching,
// on fuzzy matching of names, which finds them in the other script too
// (pacs.Fold), and on matching of empty values and of multiple values.
//
// Answers are in UTF-8, or in the character set that is registered for the caller,
// in which names are transliterated where they must be, or in the one that it
// asked in if that has all characters.
//
// A C-GET (retrieve.go) sends over the association that asks, a C-MOVE (move.go)
// over others, to an AE title that [Destinations] knows. Both choose what the
// identifier names (selection.go), count it, and send it page by page. prepare.go
// reads ahead of the sending: instances that lie behind one another in a pack come
// with one request, and each goes out as it is kept where the peer takes its
// transfer syntax, else as a [Transcoder] gives it without loss: in another
// compression if the peer takes one, or in explicit or implicit VR little endian.
// An instance that can't be sent has failed, and the final response lists it;
// nothing is left out in silence.
//
// C-MOVE proposes, for each SOP class, a context for each transfer syntax in which
// its instances are kept and one for each of the two that everybody can be sent,
// in as few associations as have room for them. A destination may allow several
// associations at a time. One that breaks off is called again. All of that is a
// [Transfer] (transfer.go), with which package forward sends, too.
package queryretrieve
