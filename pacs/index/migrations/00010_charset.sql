-- +goose Up

-- The character set by which text is read whose declared one is absent or
-- wrong, as the device had it when it sent; empty: the likeliest Cyrillic one.
-- Whoever serves the instance amended reads it as it was read then.
ALTER TABLE instance ADD COLUMN charset text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE instance DROP COLUMN charset;
