//go:build openjpeg && cgo

package openjpeg

/*
#cgo pkg-config: libopenjp2
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <openjpeg.h>

// memory is a stream in memory. Reading never goes beyond size; writing beyond
// it fails, so that what is made is bounded too.
typedef struct {
	unsigned char *data;
	size_t size, at, end; // end: of what was written
} memory;

static OPJ_SIZE_T memory_read(void *to, OPJ_SIZE_T n, void *user) {
	memory *m = user;
	if (m->at >= m->size) return (OPJ_SIZE_T)-1;
	if (n > m->size - m->at) n = m->size - m->at;
	memcpy(to, m->data + m->at, n);
	m->at += n;
	return n;
}

static OPJ_SIZE_T memory_write(void *from, OPJ_SIZE_T n, void *user) {
	memory *m = user;
	if (m->at > m->size || n > m->size - m->at) return (OPJ_SIZE_T)-1;
	memcpy(m->data + m->at, from, n);
	m->at += n;
	if (m->at > m->end) m->end = m->at;
	return n;
}

static OPJ_BOOL memory_seek(OPJ_OFF_T at, void *user) {
	memory *m = user;
	if (at < 0 || (uint64_t)at > m->size) return OPJ_FALSE;
	m->at = at;
	return OPJ_TRUE;
}

static OPJ_OFF_T memory_skip(OPJ_OFF_T n, void *user) {
	memory *m = user;
	if (n < 0) {
		if ((uint64_t)-n > m->at) return -1;
	} else if (m->at > m->size || (uint64_t)n > m->size - m->at) {
		return -1;
	}
	m->at += n;
	return n;
}

static opj_stream_t *memory_stream(memory *m, OPJ_BOOL reading) {
	opj_stream_t *s = opj_stream_create(1 << 16, reading);
	if (!s) return NULL;
	opj_stream_set_read_function(s, memory_read);
	opj_stream_set_write_function(s, memory_write);
	opj_stream_set_seek_function(s, memory_seek);
	opj_stream_set_skip_function(s, memory_skip);
	opj_stream_set_user_data(s, m, NULL);
	opj_stream_set_user_data_length(s, reading ? m->size : 0);
	return s;
}

// reason keeps the first error that the library tells, which is the cause.
typedef struct { char text[200]; } reason;

static void told(const char *text, void *user) {
	reason *r = user;
	if (!r->text[0]) strncpy(r->text, text, sizeof r->text - 1);
}
static void untold(const char *text, void *user) {}

// decode returns the image or NULL, and the reason.
static opj_image_t *decode(const void *data, size_t size, int jp2, reason *why) {
	memory m = {(unsigned char *)data, size, 0, 0};
	opj_image_t *image = NULL;
	opj_dparameters_t parameters;
	opj_set_default_decoder_parameters(&parameters);
	// A palette is the data set's affair: indices stay indices.
	parameters.flags |= OPJ_DPARAMETERS_IGNORE_PCLR_CMAP_CDEF_FLAG;
	opj_stream_t *stream = memory_stream(&m, OPJ_TRUE);
	opj_codec_t *codec = opj_create_decompress(jp2 ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K);
	OPJ_BOOL ok = stream && codec;
	if (ok) {
		opj_set_error_handler(codec, told, why);
		opj_set_warning_handler(codec, untold, NULL);
		opj_set_info_handler(codec, untold, NULL);
		ok = opj_setup_decoder(codec, &parameters) && opj_decoder_set_strict_mode(codec, OPJ_TRUE) &&
			opj_read_header(stream, codec, &image) && opj_decode(codec, stream, image);
	}
	if (codec) opj_destroy_codec(codec);
	if (stream) opj_stream_destroy(stream);
	if (!ok && image) {
		opj_image_destroy(image);
		image = NULL;
	}
	return image;
}

// component gives what of an image is asked about one component.
static opj_image_comp_t *component(opj_image_t *image, OPJ_UINT32 i) { return &image->comps[i]; }

// gather writes the samples of all components beside one another.
static void gather(opj_image_t *image, int bytes, unsigned char *out) {
	OPJ_UINT32 n = image->numcomps;
	size_t pixels = (size_t)image->comps[0].w * image->comps[0].h;
	for (OPJ_UINT32 c = 0; c < n; c++) {
		const OPJ_INT32 *from = image->comps[c].data;
		unsigned char *to = out + (size_t)c * bytes;
		size_t step = (size_t)n * bytes;
		for (size_t i = 0; i < pixels; i++, to += step) {
			OPJ_UINT32 v = (OPJ_UINT32)from[i];
			to[0] = v;
			if (bytes > 1) to[1] = v >> 8;
			if (bytes > 2) { to[2] = v >> 16; to[3] = v >> 24; }
		}
	}
}

// encode returns how many bytes it has written to out, 0 and the reason otherwise.
static size_t encode(const unsigned char *pixels, OPJ_UINT32 columns, OPJ_UINT32 rows, OPJ_UINT32 components, OPJ_UINT32 bits, int is_signed,
		int bytes, double ratio, int transform, void *out, size_t room, reason *why) {
	opj_image_cmptparm_t kinds[4];
	memset(kinds, 0, sizeof kinds);
	for (OPJ_UINT32 c = 0; c < components; c++) {
		kinds[c].dx = kinds[c].dy = 1;
		kinds[c].w = columns;
		kinds[c].h = rows;
		kinds[c].prec = bits;
		kinds[c].sgnd = is_signed;
	}
	opj_image_t *image = opj_image_create(components, kinds, components >= 3 ? OPJ_CLRSPC_SRGB : OPJ_CLRSPC_GRAY);
	if (!image) return 0;
	image->x1 = columns;
	image->y1 = rows;
	size_t n = (size_t)columns * rows, step = (size_t)components * bytes;
	for (OPJ_UINT32 c = 0; c < components; c++) {
		const unsigned char *from = pixels + (size_t)c * bytes;
		OPJ_INT32 *to = image->comps[c].data;
		for (size_t i = 0; i < n; i++, from += step) {
			OPJ_UINT32 v = from[0];
			if (bytes > 1) v |= (OPJ_UINT32)from[1] << 8;
			if (bytes > 2) v |= (OPJ_UINT32)from[2] << 16 | (OPJ_UINT32)from[3] << 24;
			else if (is_signed) v = bytes == 1 ? (OPJ_UINT32)(OPJ_INT32)(int8_t)v : (OPJ_UINT32)(OPJ_INT32)(int16_t)v;
			to[i] = (OPJ_INT32)v;
		}
	}
	opj_cparameters_t parameters;
	opj_set_default_encoder_parameters(&parameters);
	parameters.tcp_numlayers = 1;
	parameters.cp_disto_alloc = 1;
	parameters.tcp_rates[0] = ratio; // 0 is without loss
	parameters.irreversible = ratio != 0;
	parameters.tcp_mct = transform;
	// No more resolutions than the picture can be halved.
	while (parameters.numresolution > 1 && ((columns < rows ? columns : rows) >> (parameters.numresolution - 1)) == 0) parameters.numresolution--;

	memory m = {out, room, 0, 0};
	opj_stream_t *stream = memory_stream(&m, OPJ_FALSE);
	opj_codec_t *codec = opj_create_compress(OPJ_CODEC_J2K);
	OPJ_BOOL ok = stream && codec;
	if (ok) {
		opj_set_error_handler(codec, told, why);
		opj_set_warning_handler(codec, untold, NULL);
		opj_set_info_handler(codec, untold, NULL);
		ok = opj_setup_encoder(codec, &parameters, image) && opj_start_compress(codec, image, stream) &&
			opj_encode(codec, stream) && opj_end_compress(codec, stream);
	}
	if (codec) opj_destroy_codec(codec);
	if (stream) opj_stream_destroy(stream);
	opj_image_destroy(image);
	return ok ? m.end : 0;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// Available says whether this build has the codec.
const Available = true

// Decode decompresses one codestream, which must be whole. What it declares has
// to be checked before, by ReadHeader. The error is errors.ErrUnsupported when
// this package does not take it.
func Decode(data []byte) (Image, error) {
	h, err := ReadHeader(data)
	if err != nil {
		return Image{}, err
	}
	im := Image{Columns: h.Columns, Rows: h.Rows, Components: h.Components, Bits: h.Bits, Signed: h.Signed}
	size := im.Size()
	if size == 0 {
		return Image{}, fmt.Errorf("%w: a JPEG 2000 frame of %d × %d × %d samples of %d bits", errors.ErrUnsupported, im.Columns, im.Rows, im.Components, im.Bits)
	}
	var why C.reason
	jp2 := C.int(0)
	if isJP2(data) {
		jp2 = 1
	}
	image := C.decode(unsafe.Pointer(&data[0]), C.size_t(len(data)), jp2, &why)
	if image == nil {
		return Image{}, because("decoding", &why)
	}
	defer C.opj_image_destroy(image)
	if int(image.numcomps) != im.Components {
		return Image{}, fmt.Errorf("%d components were decoded instead of %d", image.numcomps, im.Components)
	}
	for i := range image.numcomps {
		c := C.component(image, i)
		if c.data == nil || int(c.w) != im.Columns || int(c.h) != im.Rows || int(c.prec) != im.Bits {
			return Image{}, errors.New("the decoded picture is not what its header declares")
		}
	}
	im.Pixels = make([]byte, size)
	C.gather(image, C.int(im.SampleBytes()), (*C.uchar)(&im.Pixels[0]))
	return im, nil
}

// Encode compresses an image to a bare codestream of even length, PS3.5 A.4.4.
func Encode(im Image, p Params) ([]byte, error) {
	size := im.Size()
	if size == 0 || len(im.Pixels) != size {
		return nil, fmt.Errorf("%w: %d bytes are no image of %d × %d × %d samples of %d bits", errors.ErrUnsupported, len(im.Pixels), im.Columns, im.Rows, im.Components, im.Bits)
	}
	// Noise grows by a few per cent; more than that is not worth having.
	out := make([]byte, size+size/4+8192)
	var why C.reason
	n := C.encode((*C.uchar)(&im.Pixels[0]), C.OPJ_UINT32(im.Columns), C.OPJ_UINT32(im.Rows), C.OPJ_UINT32(im.Components), C.OPJ_UINT32(im.Bits), flag(im.Signed),
		C.int(im.SampleBytes()), C.double(p.Ratio), flag(p.Transform && im.Components == 3), unsafe.Pointer(&out[0]), C.size_t(len(out)-1), &why)
	if n == 0 {
		return nil, because("encoding", &why)
	}
	return out[:n+n&1], nil
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

func because(what string, why *C.reason) error {
	text := strings.TrimSpace(C.GoString(&why.text[0]))
	if text == "" {
		text = "the library does not say why"
	}
	return fmt.Errorf("%s JPEG 2000: %s", what, text)
}
