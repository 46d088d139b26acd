-- +goose Up

-- Who is told when the instances of a study are available.
ALTER TABLE device ADD COLUMN notify boolean NOT NULL DEFAULT false CHECK (host <> '' OR NOT notify);

-- +goose Down
ALTER TABLE device DROP COLUMN notify;
