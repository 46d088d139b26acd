-- +goose Up

-- What has happened in the archive, for those who follow it (change.go). The
-- key is the order of the feed. Rows become visible in the order in which
-- transactions commit, which is neither that of their numbers nor of their
-- times; but once no transaction older than X runs any more, everything with a
-- key below X is there. So the transaction's number leads, and readers stop
-- below the oldest that still runs.
CREATE TABLE change (
    era          bigint NOT NULL,
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id           bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind         text NOT NULL,
    facility_row bigint NOT NULL REFERENCES facility,
    study_uid    text NOT NULL DEFAULT '',
    series_uid   text NOT NULL DEFAULT '',
    instances    int NOT NULL DEFAULT 0,
    patient_row  bigint NOT NULL DEFAULT 0,  -- 0: not about a patient
    into_row     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (era, xid, id)
);

-- One row. Transaction numbers begin anew when a database is rebuilt, or
-- restored elsewhere from a dump: the era, the second in which the feed began,
-- keeps what came before ahead of what comes after. Everything up to trimmed_*
-- was deleted because of its age.
CREATE TABLE change_feed (
    only_one     boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    era          bigint NOT NULL,
    trimmed_era  bigint NOT NULL DEFAULT 0,
    trimmed_xid  xid8 NOT NULL DEFAULT '0',
    trimmed_id   bigint NOT NULL DEFAULT 0
);
INSERT INTO change_feed (era) VALUES (floor(extract(epoch FROM clock_timestamp())));

-- A pack whose instances are served from elsewhere, or were deleted, is
-- retired: its object is removed when nobody can be reading it any more
-- (publish/sweep.go). Its series may be gone by then.
ALTER TABLE pack
    ALTER COLUMN series_row DROP NOT NULL,
    DROP CONSTRAINT pack_series_row_fkey,
    ADD COLUMN retired_at timestamptz,  -- null: in use
    ADD COLUMN swept_at   timestamptz,  -- its object is deleted
    ADD COLUMN described  int NOT NULL DEFAULT 0; -- how many instances its metadata member describes
CREATE INDEX pack_retired ON pack (retired_at) WHERE retired_at IS NOT NULL;
UPDATE pack SET described = held.instances
    FROM (SELECT pack_row, count(*) AS instances FROM instance GROUP BY pack_row) held
    WHERE held.pack_row = pack.id;

-- +goose Down
ALTER TABLE pack DROP COLUMN described, DROP COLUMN swept_at, DROP COLUMN retired_at;
DROP TABLE change_feed, change;
