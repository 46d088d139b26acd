package index

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// frameMapsKept bounds what is kept in memory of frame maps: those of some
// hundred slides.
const frameMapsKept = 16 << 20

// FrameMap returns where the frames of an instance are whose PixelData is
// Mapped. Whoever has the instance may see its frames, so it takes no scope.
// NotFound when its pixel data are not there any more.
func (ix *Index) FrameMap(ctx context.Context, i pacs.Instance) (pacs.FrameMap, error) {
	key := fmt.Sprint(i.StudyID, "/", i.SOPInstanceUID, "/", i.Version, "/", hex.EncodeToString(i.SHA256))
	return ix.frameMaps.Get(ctx, key, func(ctx context.Context) ([]byte, error) {
		var m []byte
		err := ix.pool.QueryRow(ctx, `
			SELECT frame_map FROM instance
			WHERE study_row = $1 AND sop_uid = $2 AND version = $3 AND sha256 = $4 AND frame_map IS NOT NULL`,
			i.StudyID, i.SOPInstanceUID, i.Version, i.SHA256).Scan(&m)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, pacs.Errorf(pacs.NotFound, "The frames of this instance are not there any more")
		}
		if err != nil {
			return nil, fail(err)
		}
		if len(m) > 0 && m[0] == '[' {
			return pacs.LegacyFrameMap(m)
		}
		return m, nil
	})
}

// pixelColumns are the JSON of where pixel data are, and the map of their frames
// when there is one; both nil without pixel data.
func pixelColumns(p *pacs.PixelLocation) (text *string, frames []byte, err error) {
	if p == nil {
		return nil, nil, nil
	}
	without := *p
	without.FrameMap = nil
	text, err = column(&without)
	return text, p.FrameMap, err
}
