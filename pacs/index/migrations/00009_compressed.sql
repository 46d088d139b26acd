-- +goose Up

-- pacs.Compression: of an instance that is kept in another transfer syntax than
-- it was received in. Null: as received.
ALTER TABLE instance ADD COLUMN compressed jsonb;

-- +goose Down
ALTER TABLE instance DROP COLUMN compressed;
