//go:build charls && cgo

package charls

/*
#cgo pkg-config: charls
#include <stdlib.h>
#include <charls/charls.h>

// The functions of CharLS that take several calls, in one crossing each.

static charls_jpegls_errc encode(const void *pixels, size_t size, charls_frame_info info, void *out, size_t room, size_t *written) {
	charls_jpegls_encoder *e = charls_jpegls_encoder_create();
	if (!e) return CHARLS_JPEGLS_ERRC_NOT_ENOUGH_MEMORY;
	charls_jpegls_errc err = charls_jpegls_encoder_set_frame_info(e, &info);
	if (!err && info.component_count > 1) err = charls_jpegls_encoder_set_interleave_mode(e, CHARLS_INTERLEAVE_MODE_SAMPLE);
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
	"errors"
	"fmt"
	"unsafe"
)

// Available says whether this build has the codec.
const Available = true

// Encode compresses an image without loss.
func Encode(im Image) ([]byte, error) {
	size := im.Size()
	if size == 0 || len(im.Pixels) != size {
		return nil, fmt.Errorf("%d bytes are no image of %d × %d × %d samples of %d bits", len(im.Pixels), im.Columns, im.Rows, im.Components, im.Bits)
	}
	info := C.charls_frame_info{width: C.uint32_t(im.Columns), height: C.uint32_t(im.Rows), bits_per_sample: C.int32_t(im.Bits), component_count: C.int32_t(im.Components)}
	// Noise grows by a few per cent; more than that is not worth having.
	out := make([]byte, size+size/8+4096)
	var written C.size_t
	if err := C.encode(unsafe.Pointer(&im.Pixels[0]), C.size_t(size), info, unsafe.Pointer(&out[0]), C.size_t(len(out)), &written); err != 0 {
		return nil, codecError("encoding", err)
	}
	return out[:written], nil
}

// Decode decompresses one JPEG-LS stream. Its size is checked against MaxPixels
// before anything is allocated for it.
func Decode(data []byte) (Image, error) {
	if len(data) == 0 {
		return Image{}, errors.New("an empty stream is no JPEG-LS")
	}
	d := C.charls_jpegls_decoder_create()
	if d == nil {
		return Image{}, errors.New("no memory for a JPEG-LS decoder")
	}
	defer C.charls_jpegls_decoder_destroy(d)
	source := C.CBytes(data) // the decoder keeps the pointer between calls
	defer C.free(source)
	var (
		info C.charls_frame_info
		mode C.charls_interleave_mode
		room C.size_t
	)
	if err := C.read_header(d, source, C.size_t(len(data)), &info, &mode, &room); err != 0 {
		return Image{}, codecError("decoding", err)
	}
	im := Image{Columns: int(info.width), Rows: int(info.height), Components: int(info.component_count), Bits: int(info.bits_per_sample)}
	size := im.Size()
	if size == 0 || C.size_t(size) != room {
		return Image{}, fmt.Errorf("a JPEG-LS frame of %d × %d × %d samples of %d bits is beyond what is taken", im.Columns, im.Rows, im.Components, im.Bits)
	}
	if im.Components > 1 && mode == C.CHARLS_INTERLEAVE_MODE_NONE {
		return Image{}, errors.New("JPEG-LS with planes one after another is not taken")
	}
	im.Pixels = make([]byte, size)
	if err := C.charls_jpegls_decoder_decode_to_buffer(d, unsafe.Pointer(&im.Pixels[0]), C.size_t(size), 0); err != 0 {
		return Image{}, codecError("decoding", err)
	}
	return im, nil
}

func codecError(what string, err C.charls_jpegls_errc) error {
	return fmt.Errorf("%s JPEG-LS: %s (%d)", what, C.GoString(C.charls_get_error_message(C.charls_jpegls_errc(err))), int(err))
}
