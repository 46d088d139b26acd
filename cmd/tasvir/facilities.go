package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/patients"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/storage"
)

// facilityList keeps the names of the facilities in object storage, beside
// the packs, which know them by their codes only: an index that is rebuilt
// shows hospitals by name again.
type facilityList struct {
	index *index.Index
	store storage.Store
}

// facilitiesKey is the object. facilitiesEvery is how soon a change is in it.
const (
	facilitiesKey   = "facilities.json"
	facilitiesEvery = time.Minute
	maxFacilities   = 16 << 20 // bytes
)

type keptFacility struct {
	Code  string `json:"code"`
	Name  string `json:"name"`
	TaxID string `json:"tax_id,omitempty"`
}

// restorers are those that bring back what is in storage beside the packs.
func restorers(ctx context.Context, ix *index.Index, store storage.Store) ([]publish.Restorer, error) {
	people, err := patients.New(ctx, ix, store, nil)
	if err != nil {
		return nil, err
	}
	return []publish.Restorer{&facilityList{ix, store}, people, &wardRestorer{ix, store}, holdList{ix, store}}, nil
}

// run writes the object whenever it is not what the database says.
func (l *facilityList) run(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(facilitiesEvery)
	defer tick.Stop()
	for {
		if err := l.keep(ctx); err != nil && ctx.Err() == nil {
			log.Warn("the list of facilities could not be written to object storage", "error", err)
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return errors.Join(ctx.Err(), l.keep(last))
		case <-tick.C:
		}
	}
}

// keep writes the list. A facility that is in the object and not in the
// database stays: a database that was lost must not take the names with it
// before it is rebuilt.
func (l *facilityList) keep(ctx context.Context) error {
	kept, before, err := l.read(ctx)
	if err != nil {
		return err
	}
	rows, err := l.index.Pool().Query(ctx, `SELECT code, name, tax_id FROM facility ORDER BY code`)
	if err != nil {
		return err
	}
	byCode := map[string]keptFacility{}
	for _, f := range kept {
		byCode[f.Code] = f
	}
	for rows.Next() {
		var f keptFacility
		if err := rows.Scan(&f.Code, &f.Name, &f.TaxID); err != nil {
			return err
		}
		if old, ok := byCode[f.Code]; ok && f.Name == f.Code {
			f = old // made by a pack, not by a person
		}
		byCode[f.Code] = f
	}
	if err := rows.Err(); err != nil {
		return err
	}
	all := make([]keptFacility, 0, len(byCode))
	for _, code := range slices.Sorted(maps.Keys(byCode)) {
		all = append(all, byCode[code])
	}
	now, err := json.MarshalIndent(all, "", " ")
	if err != nil || bytes.Equal(now, before) {
		return err
	}
	return l.store.Put(ctx, facilitiesKey, int64(len(now)), bytes.NewReader(now))
}

func (l *facilityList) read(ctx context.Context) (list []keptFacility, raw []byte, err error) {
	body, err := l.store.Get(ctx, facilitiesKey, 0, -1)
	if storage.IsNotExist(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = body.Close() }()
	if raw, err = io.ReadAll(io.LimitReader(body, maxFacilities+1)); err != nil {
		return nil, nil, err
	}
	if len(raw) > maxFacilities {
		return nil, nil, errors.New("it is too long for a list of facilities")
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, nil, fmt.Errorf("it can't be read: %w", err)
	}
	return list, raw, nil
}

// Restore implements publish.Restorer. A name that somebody has given a
// facility in the database stays.
func (l *facilityList) Restore(ctx context.Context) (restored int, err error) {
	list, _, err := l.read(ctx)
	if err != nil {
		return 0, pacs.Wrap(pacs.Unavailable, err, "The list of facilities in storage ("+facilitiesKey+") can't be read; repair or remove it and run the command again")
	}
	for _, f := range list {
		tag, err := l.index.Pool().Exec(ctx, `
			INSERT INTO facility (code, name, tax_id) VALUES ($1, $2, $3)
			ON CONFLICT (code) DO UPDATE SET name = EXCLUDED.name, tax_id = EXCLUDED.tax_id
			WHERE facility.name = facility.code AND facility.name <> EXCLUDED.name`, f.Code, f.Name, f.TaxID)
		if err != nil {
			return restored, pacs.Wrap(pacs.Unavailable, err, "The facilities can't be restored")
		}
		restored += int(tag.RowsAffected())
	}
	return restored, nil
}
