package worklist

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// Group is a reading group: radiologists who share a part of the work.
type Group struct {
	ID      int64
	Name    string
	Members []int64 // user ids
}

// Groups returns all reading groups by name.
func (w *Worklist) Groups(ctx context.Context) ([]Group, error) {
	return w.groupsWhere(ctx, "true")
}

// GroupsOf returns the reading groups that a person is a member of.
func (w *Worklist) GroupsOf(ctx context.Context, userID int64) ([]Group, error) {
	return w.groupsWhere(ctx, "EXISTS (SELECT 1 FROM reading_group_member m WHERE m.group_row = g.id AND m.user_row = $1)", userID)
}

func checkGroup(g *Group) error {
	g.Name = strings.TrimSpace(g.Name)
	switch {
	case g.Name == "":
		return pacs.Errorf(pacs.Invalid, "Give the group a name")
	case len(g.Name) > maxName:
		return pacs.Errorf(pacs.Invalid, "The group's name is longer than %d bytes", maxName)
	}
	return nil
}

func (w *Worklist) groupsWhere(ctx context.Context, condition string, args ...any) ([]Group, error) {
	rows, err := w.pool.Query(ctx, `
		SELECT g.id, g.name, coalesce((SELECT array_agg(user_row ORDER BY user_row) FROM reading_group_member WHERE group_row = g.id), '{}')
		FROM reading_group g WHERE `+condition+` ORDER BY g.name`, args...)
	if err != nil {
		return nil, Failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Group, error) {
		var g Group
		err := row.Scan(&g.ID, &g.Name, &g.Members)
		return g, err
	})
	return out, Failure(err)
}

// AddGroup adds a reading group. Conflict when its name is taken.
func (w *Worklist) AddGroup(ctx context.Context, g Group) (Group, error) {
	if err := checkGroup(&g); err != nil {
		return g, err
	}
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `INSERT INTO reading_group (name) VALUES ($1) RETURNING id`, g.Name).Scan(&g.ID); err != nil {
			return err
		}
		return setMembers(ctx, tx, g)
	})
	return g, Failure(err)
}

// UpdateGroup changes a group's name and members.
func (w *Worklist) UpdateGroup(ctx context.Context, g Group) error {
	if err := checkGroup(&g); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE reading_group SET name = $2 WHERE id = $1`, g.ID, g.Name)
		if err := oneRow(tag.RowsAffected(), err, "There is no such group"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM reading_group_member WHERE group_row = $1`, g.ID); err != nil {
			return err
		}
		return setMembers(ctx, tx, g)
	})
	return Failure(err)
}

func setMembers(ctx context.Context, tx pgx.Tx, g Group) error {
	_, err := tx.Exec(ctx, `INSERT INTO reading_group_member (group_row, user_row) SELECT $1, unnest($2::bigint[]) ON CONFLICT DO NOTHING`, g.ID, g.Members)
	return err
}
