// Package pacs holds the words of the archive and no machinery: patients,
// studies, series and instances as the index knows them, who may see them
// (Scope), how they are asked for (the filters), and the one door by which an
// image comes in (Receiver).
//
// The way of one image through the packages below this one:
//
//	dimse, dicomweb, import  -- Incoming -->  journal.Receive   fsync, then success
//	journal                  -- Record   -->  publish.Publisher groups by series
//	publish                  -- pack     -->  storage.Store     one object per pack
//	publish                  -- rows     -->  index             one transaction
//	index                    -- Study …  -->  dicomweb, web, worklist
//
// What is kept is looked after by quarantine (what can't be indexed), patients
// (whose a study is), patrol (whether it is still sound) and retention (how
// long it is kept); publish also merges packs and rebuilds the index. Other DICOM
// nodes are answered by queryretrieve (C-FIND, C-MOVE, C-GET) and commitment (is
// what was sent safe?); access knows who they are and what they may, dicomtls
// secures the way, connectivity says why there is none, and associations keeps
// what was said.
//
// Each hand-over is one call in one direction. Package pacs imports none of
// its subpackages; they all import it.
package pacs
