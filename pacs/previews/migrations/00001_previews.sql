-- +goose Up

-- The small pictures of a series: one object that holds two JPEGs, the smaller
-- one first.
CREATE TABLE preview (
    series_row bigint PRIMARY KEY,
    study_row  bigint NOT NULL,
    instances  int NOT NULL,            -- in the series when it was looked at
    sop_uid    text NOT NULL,           -- the instance that is shown
    key        text NOT NULL,           -- of the object; empty: there can be no picture
    small      int NOT NULL,            -- bytes of the smaller picture
    large      int NOT NULL,            -- and of the other
    problem    text NOT NULL DEFAULT '',-- why there can be none
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX preview_key ON preview (key);

-- Objects that nobody needs any more.
CREATE TABLE preview_garbage (
    key text PRIMARY KEY,
    at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- How far the search for series without a row has come.
CREATE TABLE preview_walk (
    single       boolean PRIMARY KEY DEFAULT true CHECK (single),
    after_series bigint NOT NULL DEFAULT 0
);
INSERT INTO preview_walk DEFAULT VALUES;

-- Pictures go with the pixels they were made of, in the same transaction,
-- whoever deletes those.
-- +goose StatementBegin
CREATE FUNCTION preview_goes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (DELETE FROM preview WHERE series_row = OLD.id RETURNING key)
    INSERT INTO preview_garbage (key) SELECT key FROM gone WHERE key <> '' ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER preview_goes_with_series AFTER DELETE ON series FOR EACH ROW EXECUTE FUNCTION preview_goes();
CREATE TRIGGER preview_goes_with_pixels AFTER UPDATE OF has_pixels ON series FOR EACH ROW
    WHEN (OLD.has_pixels AND NOT NEW.has_pixels) EXECUTE FUNCTION preview_goes();

-- +goose Down
DROP TRIGGER preview_goes_with_pixels ON series;
DROP TRIGGER preview_goes_with_series ON series;
DROP FUNCTION preview_goes();
DROP TABLE preview_walk, preview_garbage, preview;
