//go:build charls && cgo

package charls

/*
#cgo pkg-config: charls
#include <stdlib.h>
#include <charls/charls.h>

// The functions of CharLS that take several calls, in one crossing each.

static charls_jpegls_errc encode(const void *pixels, size_t size, charls_frame_info info, int near, void *out, size_t room, size_t *written) {
	charls_jpegls_encoder *e = charls_jpegls_encoder_create();
	if (!e) return CHARLS_JPEGLS_ERRC_NOT_ENOUGH_MEMORY;
	charls_jpegls_errc err = charls_jpegls_encoder_set_frame_info(e, &info);
	if (!err && info.component_count > 1) err = charls_jpegls_encoder_set_interleave_mode(e, CHARLS_INTERLEAVE_MODE_SAMPLE);
	if (!err && near) err = charls_jpegls_encoder_set_near_lossless(e, near);
	// Fragments have an even length (PS3.5 A.4).
	if (!err) err = charls_jpegls_encoder_set_encoding_options(e, CHARLS_ENCODING_OPTIONS_EVEN_DESTINATION_SIZE);
	if (!err) err = charls_jpegls_encoder_set_destination_buffer(e, out, room);
	if (!err) err = charls_jpegls_encoder_encode_from_buffer(e, pixels, size, 0);
	if (!err) err = charls_jpegls_encoder_get_bytes_written(e, written);
	charls_jpegls_encoder_destroy(e);
	return err;
}

static charls_jpegls_errc read_header(charls_jpegls_decoder *d, const void *data, size_t size, charls_frame_info *info, charls_interleave_mode *mode, size_t *room) {
	charls_jpegls_errc err = charls_jpegls_decoder_set_source_buffer(d, data, size);
	if (!err) err = charls_jpegls_decoder_read_header(d);
	if (!err) err = charls_jpegls_decoder_get_frame_info(d, info);
	if (!err) err = charls_jpegls_decoder_get_interleave_mode(d, mode);
	if (!err) err = charls_jpegls_decoder_get_destination_size(d, 0, room);
	return err;
}
*/
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"
)

// Available says whether this build has the codec.
const Available = true

// Encode compresses an image. No sample is changed by more than near, 0 to 255
// and less than half of the largest sample; 0 compresses without loss.
func Encode(im Image, near int) ([]byte, error) {
	size := im.Size()
	if size == 0 || len(im.Pixels) != size || near < 0 || near > min(255, (1<<im.Bits-1)/2) {
		return nil, fmt.Errorf("%w: %d bytes are no image of %d × %d × %d samples of %d bits that may change by %d", errors.ErrUnsupported, len(im.Pixels), im.Columns, im.Rows, im.Components, im.Bits, near)
	}
	info := C.charls_frame_info{width: C.uint32_t(im.Columns), height: C.uint32_t(im.Rows), bits_per_sample: C.int32_t(im.Bits), component_count: C.int32_t(im.Components)}
	// Noise grows by a few per cent; more than that is not worth having.
	out := make([]byte, size+size/8+4096)
	var written C.size_t
	if err := C.encode(unsafe.Pointer(&im.Pixels[0]), C.size_t(size), info, C.int(near), unsafe.Pointer(&out[0]), C.size_t(len(out)), &written); err != 0 {
		return nil, codecError("encoding", err)
	}
	return out[:written], nil
}

// Decode decompresses one JPEG-LS stream, lossless or not, however its
// components are interleaved. A stream that declares another picture than want
// does, or more bits per sample, is an error before anything is allocated for
// it. The error is errors.ErrUnsupported when this package does not take it.
func Decode(data []byte, want Image) (Image, error) {
	if len(data) == 0 {
		return Image{}, errors.New("an empty stream is no JPEG-LS")
	}
	im, code, err := decode(data, want)
	if code == C.CHARLS_JPEGLS_ERRC_JPEG_MARKER_START_BYTE_NOT_FOUND || code == C.CHARLS_JPEGLS_ERRC_TOO_MUCH_ENCODED_DATA {
		// Old encoders pad before the end of image, which the library has refused
		// since 2.3 (team-charls/charls#365).
		if at := bytes.LastIndex(data, []byte{0, 0xFF, 0xD9}); at > 0 {
			im, _, err = decode(bytes.TrimRight(data[:at], "\x00"), want)
		}
	}
	return im, err
}

func decode(data []byte, want Image) (Image, C.charls_jpegls_errc, error) {
	d := C.charls_jpegls_decoder_create()
	if d == nil {
		return Image{}, 0, errors.New("no memory for a JPEG-LS decoder")
	}
	defer C.charls_jpegls_decoder_destroy(d)
	// The decoder keeps the pointer between calls. Without an end it looks for
	// minutes for the bits that a stream lacks.
	source := C.CBytes(append(data[:len(data):len(data)], 0xFF, 0xD9))
	defer C.free(source)
	var (
		info C.charls_frame_info
		mode C.charls_interleave_mode
		room C.size_t
	)
	if err := C.read_header(d, source, C.size_t(len(data)+2), &info, &mode, &room); err != 0 {
		return Image{}, err, codecError("decoding", err)
	}
	im := Image{Columns: int(info.width), Rows: int(info.height), Components: int(info.component_count), Bits: int(info.bits_per_sample)}
	if im.Columns != want.Columns || im.Rows != want.Rows || im.Components != want.Components || im.Bits > want.Bits {
		return Image{}, 0, fmt.Errorf("a JPEG-LS stream of %d × %d × %d samples of %d bits where %d × %d × %d of at most %d are expected", im.Columns, im.Rows, im.Components, im.Bits, want.Columns, want.Rows, want.Components, want.Bits)
	}
	size := im.Size()
	if size == 0 || C.size_t(size) != room {
		return Image{}, 0, fmt.Errorf("%w: a JPEG-LS frame of %d × %d × %d samples of %d bits", errors.ErrUnsupported, im.Columns, im.Rows, im.Components, im.Bits)
	}
	im.Pixels = make([]byte, size)
	if err := C.charls_jpegls_decoder_decode_to_buffer(d, unsafe.Pointer(&im.Pixels[0]), C.size_t(size), 0); err != 0 {
		return Image{}, err, codecError("decoding", err)
	}
	if im.Components > 1 && mode == C.CHARLS_INTERLEAVE_MODE_NONE {
		im.Pixels = byPixel(im)
	}
	return im, 0, nil
}

// byPixel puts the samples of a pixel beside one another that are in planes.
func byPixel(im Image) []byte {
	out := make([]byte, len(im.Pixels))
	width := (im.Bits + 7) / 8
	plane := im.Columns * im.Rows * width
	for c := range im.Components {
		from, to := im.Pixels[c*plane:], c*width
		for at := 0; at < plane; at += width {
			copy(out[to:to+width], from[at:])
			to += width * im.Components
		}
	}
	return out
}

func codecError(what string, code C.charls_jpegls_errc) error {
	err := fmt.Errorf("%s JPEG-LS: %s (%d)", what, C.GoString(C.charls_get_error_message(code)), int(code))
	switch code {
	case C.CHARLS_JPEGLS_ERRC_ENCODING_NOT_SUPPORTED, C.CHARLS_JPEGLS_ERRC_PARAMETER_VALUE_NOT_SUPPORTED, C.CHARLS_JPEGLS_ERRC_COLOR_TRANSFORM_NOT_SUPPORTED,
		C.CHARLS_JPEGLS_ERRC_JPEGLS_PRESET_EXTENDED_PARAMETER_TYPE_NOT_SUPPORTED, C.CHARLS_JPEGLS_ERRC_BIT_DEPTH_FOR_TRANSFORM_NOT_SUPPORTED:
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}
