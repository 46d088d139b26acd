-- +goose Up

-- What an administrator gave as the reason for an act that asks for one.
ALTER TABLE audit_event ADD COLUMN why text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE audit_event DROP COLUMN why;
