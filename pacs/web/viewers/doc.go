// Package viewers opens studies in the viewers of others: OHIF in the browser,
// Weasis on the reader's computer. Both read over the archive's DICOMweb and
// can do nothing else here.
//
// # OHIF
//
// OHIF is served as its project publishes it (deploy/ohif.sh fetches it), on a
// port of its own, and by a proxy best on a host name of its own: what goes
// wrong in it has another origin than the client, where people write and sign.
// Browsers send a host's cookies to all its ports; on one host name it is OHIF's
// Content-Security-Policy that keeps its pages from calling the client's port.
// The way of a study there:
//
//	client           POST /api/ohif/launch          the person sees the study;
//	                                                a code that works once, for a minute
//	browser          GET  OHIF/launch?code=…        the code becomes a cookie of that host
//	browser          GET  OHIF/viewer?StudyInstanceUIDs=…
//	OHIF             GET  OHIF/dicom-web/…          what the person may see, to read
//
// The cookie is that of a session below the person's (package access, Viewer):
// it sees what they see, reads only, and ends with it. Dist (dist.go) is OHIF's
// files; config.js is how it is set up here; Host (host.go) puts the three
// together and shows who comes without a session where to begin.
//
// # Weasis
//
// POST /api/weasis/launch gives an address weasis://… that the browser hands to
// the program installed on the computer (weasis.go). It has a token in it, good
// for the study's facility, for some hours, and while the person is signed in.
// Weasis itself is no part of the tests: they send the requests that the sources
// of version 4 send (TestWeasis in cmd/tasvir).
package viewers
