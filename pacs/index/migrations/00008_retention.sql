-- +goose Up

-- A study that a retention policy has deleted leaves its row behind, for the
-- reports and tasks that refer to it. It is hidden from every read of studies
-- and comes back to life when it is sent again.
ALTER TABLE study ADD COLUMN deleted_at timestamptz;

-- pacs.PixelDeletion: of an instance that is kept without its pixel data.
ALTER TABLE instance ADD COLUMN pixels_deleted jsonb;

-- Studies that nothing may delete. By UID, since a hold outlives what the
-- index knows of the study; each is also an object in storage
-- (pacs/retention/hold.go).
CREATE TABLE legal_hold (
    study_uid text PRIMARY KEY,
    who       text NOT NULL,
    why       text NOT NULL CHECK (why <> ''),
    held_at   timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE legal_hold;
ALTER TABLE instance DROP COLUMN pixels_deleted;
ALTER TABLE study DROP COLUMN deleted_at;
