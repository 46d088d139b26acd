// Package dicomweb is the archive's DICOMweb service, DICOM PS3.18: it answers
// searches from the index, sends bytes from the packs as they are kept, and
// takes instances in by the archive's one door, pacs.Receiver.
//
// # Routes
//
// Relative to where Register mounts them ({s} is studies/UID, {e} series/UID,
// {i} instances/UID):
//
//	PS3.18            transaction                 route                                  shown by
//	10.6  QIDO-RS     Search for Studies          GET /studies                           TestSearchAnswersWhatTheTablesRequire, TestMatchKeysReachTheFilter
//	                  Search for Series           GET /{s}/series, /series               TestSearchWithoutStudyInTheAddressAddsItsAttributes
//	                  Search for Instances        GET /{s}/{e}/instances, /{s}/instances, /instances   "
//	10.4  WADO-RS     Retrieve Study, Series,     GET /{s}, /{s}/{e}, /{s}/{e}/{i}       TestRetrieveGivesTheFilesAsTheyAreKept, TestMemoryStaysFlat
//	                  Instance
//	                  Retrieve Metadata           GET …/metadata of all three            TestMetadata
//	                  Retrieve Frames             GET /{s}/{e}/{i}/frames/1,2,5          TestFramesOf…
//	                  Retrieve Bulkdata           GET /{s}/{e}/{i}/bulkdata/TAG          TestBulkdataIsARangeOfTheInstance, TestAVideoIsOneStream
//	                                              GET …/bulkdata of all three            TestAllBulkdata…
//	                  Retrieve Rendered           GET …/rendered of all three and frames TestRendered…
//	                  Retrieve Thumbnail          GET …/thumbnail of the same            TestThumbnails
//	9     WADO-URI    Retrieve (Rendered)         GET /wado                              TestWADOURI
//	10.5  STOW-RS     Store Instances             POST /studies, /{s}                    TestStore…, TestHostileBodies, TestMemoryStaysFlat
//	11.4  UPS-RS      Create Workitem             POST /workitems                        TestWorkitems, TestWorkitemsFromNode (cmd/tasvir)
//	11.5              Retrieve Workitem           GET /workitems/UID                     "
//	11.6              Update Workitem             POST /workitems/UID                    "
//	11.7              Change Workitem State       PUT /workitems/UID/state               "
//	11.8              Request Cancellation        POST /workitems/UID/cancelrequest      "
//	11.9              Search for Workitems        GET /workitems                         "
//	11.10 to 11.12    Subscribe, Unsubscribe,     POST, DELETE /workitems/UID/subscribers/AET, "
//	                  Suspend                     …/suspend
//	11.13 and 8.10    Notification channel        GET /subscribers/AET (WebSocket)       TestNotificationChannel (cmd/tasvir)
//	8.9               Retrieve Capabilities       OPTIONS of all, GET /                  TestCapabilities…
//	IHE RAD-66        Reject                      POST …/reject/CODE, DELETE …           TestReject…
//
// TRANSACTIONS.md goes through the standard's transactions and parameters one by
// one. All of them but those of section 11 are also run with npm dicomweb-client
// and the loader of
// Cornerstone3D, unmodified, in clienttest: once over an archive in memory
// (client_test.go) and once over journal, publisher, index and packs
// (archive_real_test.go). GET routes answer HEAD, too.
//
// # Files
//
//	register.go        what the service needs (Index, Packs, Options), routes, who calls
//	accept.go          content negotiation that forgives what clients write
//	models.go          data sets are sent as JSON or XML
//	query.go           a query string becomes a filter; what can't be used is an error or a warning
//	storedkey.go       keys that the index has no column for, and those within sequences
//	fields.go          an index row becomes DICOM JSON
//	includefield.go    attributes that the index does not keep, from the metadata
//	search.go          QIDO-RS: pages, limits, Link and Warning
//	body.go            answers made of byte ranges: length known beforehand, Range, ETag
//	reader.go, run.go  how those ranges are read: some ahead, neighbours together
//	instances.go       whole instances
//	recoded.go         instances and frames in other transfer syntaxes than stored
//	metadata.go        stored metadata, passed on
//	frames.go, pixels.go, bulkdata*.go   parts of instances
//	framecache.go      what is kept in memory because it takes long to come by
//	outgoing.go        what was made for an answer and waits for a slow reader
//	rendered*.go, thumbnail.go, wadouri.go   pictures (package render), videos, documents
//	stow.go            storing: requests and their parts, what became of each
//	stowmodel.go       instances that come as metadata and bulk data apart
//	reject.go          rejection notes (IHE IOCM), written for callers
//	capabilities.go    the service describes itself
//	workitems*.go      UPS-RS over the steps that package worklist/ups keeps; its WebSocket
//	transfersyntax.go  which media types stand for which transfer syntax
//
// # Behaviour worth knowing
//
// The archive may have compressed an instance without loss since it came (serve
// --compress): it is stored in, and offered as, JPEG-LS Lossless then. BulkDataURIs
// stay what they were (TestCompressedInstance).
//
// Instance Availability is that of the index: NEARLINE in the cold store,
// UNAVAILABLE where a retention policy has deleted the pixel data, and of a series
// or study the worst of what is shown of it (pacs.Availability, of C-FIND too).
//
// Everything is scoped: what lies outside the caller's scope is answered like
// what does not exist, 404, or an empty search result.
//
// Bytes are sent as they are stored to who takes that: also to who names no
// transfer syntax, though PS3.18 8.7.3 makes that Explicit VR Little Endian, for
// that is what clients mean. Who names another gets instances and frames in it, if
// it can be made (recoded.go): uncompressed, in another compression without loss,
// or with loss when it is asked for by name. The SOP Instance UID stays. Such an
// answer is made while it is sent; it has no ranges. 406 says in what the resource
// could be had. Uncompressed little endian pixel data are the same bytes in
// Implicit, Explicit and Deflated (inflated here), so frames of all three are
// sent as Explicit VR Little Endian, the default of application/octet-stream.
// Frames that were YBR_ICT, YBR_RCT or YBR_FULL_422 are RGB when they are sent
// uncompressed, and colour is by pixel, whatever the metadata say of what is stored.
//
// The instances of a study whose patient an administrator has corrected, merged
// or moved are sent with the demographics of the patient it belongs to now, in
// files and metadata alike (TestAmendedStudy). Frames and bulk data are the
// stored bytes all the same.
//
// Pictures are made when they are asked for, a bounded number at once
// (rendered_source.go), of one frame that is read by range. The ETag of a
// picture is known without making it. A multi-frame instance is its representative or middle frame
// as one JPEG or PNG, an animation as GIF, and all frames as multipart; a study or
// series is one picture of each image, as multipart. What no picture can be made
// of, or whose pixels are damaged, is 406 with the reason.
//
// Frames, bulk data and pictures without the patient's name on them change only
// when other bytes are sent under the instance's UID. A browser may keep them
// without asking for as long again as they have been here, and for good after a
// day (lasting, body.go); all else it asks about each time.
//
// What a rejection note names is not shown, by whatever way the note came, and
// is answered like what does not exist. It stays in its pack, and is shown again
// when another note takes the first one back.
//
// A search that finds nothing is 200 with an empty list. Attributes that are
// known but not matched are named in a Warning header (299), because an ignored
// key makes a result larger than what was meant; what can't be understood at
// all is 400 and names the parameter. One answer holds at most 1,000 studies,
// 5,000 series or 10,000 instances; a Link header leads to the rest.
//
// An answer whose bytes fail on the way is cut off before its announced end, so
// that it can't pass for complete. A request to store that breaks off keeps
// what was complete and says so.
package dicomweb
