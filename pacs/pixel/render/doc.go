// Package render makes pictures of pixel data: from one decoded frame and the
// attributes of its instance to an 8-bit gray or colour image, and from that to
// a JPEG, PNG or GIF. It knows pixels and data sets, and nothing of HTTP.
//
//	h, err := dicom.Scan(…)
//	err = render.Load(h.Dataset, read)                  // lookup tables that Scan left in the stream
//	frame, err := render.Decode(ctx, codecs, h.TransferSyntax, h.Dataset, coded)
//	img, err := render.Picture(ctx, frame, 1, h.Dataset, render.Parameters{})
//	err = render.EncodeJPEG(w, img, 90, nil)
//
// [Thumbnail] is all of these for a small picture.
//
// # The way of a pixel
//
// Gray (PS3.4 N.2): stored value → modality (rescale or LUT, of the frame's
// functional groups where there are any) → values of interest (window, LUT) →
// presentation LUT → 8 bits. All of that is one lookup table for samples of up to
// 16 bits. Colour: palettes and YBR become RGB. Then, both: shutters and overlays in
// the pixels of the image, a part of it is cut out, scaled, turned, and what is
// drawn in lines and letters is drawn on top.
//
// # Files
//
//	parameters.go    what can be asked for
//	picture.go       the order of the steps
//	attributes.go    which attribute holds for a frame; values that were left in the stream
//	gray.go, voi.go  gray images; the window functions of PS3.3 C.11.2.1
//	color.go         colour images and palettes
//	lut.go           lookup tables, segmented ones too (PS3.3 C.7.9.2)
//	overlay.go, shutter.go   what hides pixels (PS3.3 C.9, C.7.6.11)
//	geometry.go      region, aspect ratio, size, rotation
//	presentation.go  softcopy presentation states (PS3.3 A.33)
//	graphics.go, text.go   lines and letters
//	encode.go        JPEG, PNG, GIF
//	thumbnail.go     everything at once
//
// # Behaviour worth knowing
//
// An image without a window is shown in its full range when its samples have up to
// 8 bits and no modality transformation, otherwise between the smallest and largest
// value of the frame; padding (0028,0120) is left out of that, and black in the
// picture. A window of a request is in modality units and is ignored for colour.
//
// Pixels that are not square are made so by enlarging the longer side.
//
// What attributes say is believed only within bounds: every length is checked
// against what it describes and capped before memory is allocated for it. Beside
// the frame, a picture costs its pixels once or twice (1 byte gray, 4 bytes
// colour).
package render
