package patrol

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Unsound says which instances of a pack are not as they were received. The pack
// is read whole for that, and repaired if it can be, unless it was found sound
// before. gone means that it is not in use any more: its instances are elsewhere.
//
//	Unavailable  the store or the database does not answer; repeat
func (p *Patrol) Unsound(ctx context.Context, packID int64) (sops []string, gone bool, err error) {
	var sound bool
	err = p.pool.QueryRow(ctx, `SELECT coalesce(v.sound AND v.verified_at IS NOT NULL, false) FROM pack k LEFT JOIN patrol_pack v ON v.pack_row = k.id
		WHERE k.id = $1 AND k.retired_at IS NULL`, packID).Scan(&sound)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, true, nil
	case err != nil:
		return nil, false, failure(err)
	case sound:
		return nil, false, nil
	}
	problems, err := p.verify(ctx, packID, p.o.Repair)
	if err != nil {
		return nil, false, err
	}
	for _, q := range problems {
		sops = append(sops, q.SOPs...)
	}
	// It may have been merged, deleted or repaired into another meanwhile.
	left, err := p.load(ctx, packID)
	return sops, left == nil, err
}
