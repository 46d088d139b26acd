-- +goose Up

-- What can't be had at once (Index.availability): pixels that are deleted, and
-- packs in the cold store.
CREATE INDEX instance_pixels_deleted ON instance (study_row, series_row) WHERE pixels_deleted IS NOT NULL;
CREATE INDEX pack_cold ON pack (series_row) WHERE key LIKE 'cold/%';

-- +goose Down
DROP INDEX pack_cold;
DROP INDEX instance_pixels_deleted;
