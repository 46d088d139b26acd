package web

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Body reads the request's one JSON value into value, a pointer. Members that
// value doesn't have are ignored.
//
//	Unsupported  the content is not declared as application/json
//	Invalid      it can't be read as such a value
//	TooLarge     it is over the limit
func Body(c *gin.Context, value any) error {
	media, _, err := mime.ParseMediaType(c.ContentType())
	if err != nil || media != "application/json" {
		return pacs.Errorf(pacs.Unsupported, "Send the content as application/json")
	}
	decoder := json.NewDecoder(c.Request.Body)
	if err := decoder.Decode(value); err != nil {
		return bodyError(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return pacs.Errorf(pacs.Invalid, "The content has more than one JSON value")
	}
	return nil
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &tooLarge):
		return err // Problem has the words
	case errors.As(err, &typed):
		return pacs.Errorf(pacs.Invalid, "%q has a value of the wrong type (%s)", typed.Field, typed.Value)
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return pacs.Wrap(pacs.Invalid, err, "The content is not JSON")
	}
	return pacs.Wrap(pacs.Invalid, err, "The content can't be read")
}
