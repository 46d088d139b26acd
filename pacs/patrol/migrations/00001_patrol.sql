-- +goose Up

-- When each pack was last read. No foreign key: nothing here keeps a pack from
-- being merged or deleted; what has no pack any more is removed in passing.
CREATE TABLE patrol_pack (
    pack_row      bigint PRIMARY KEY,
    due_at        timestamptz NOT NULL,
    verified_at   timestamptz,      -- null: never
    sound         boolean,
    claimed_until timestamptz NOT NULL DEFAULT '-infinity'  -- a node reads it now
);
CREATE INDEX patrol_pack_due ON patrol_pack (due_at);
CREATE INDEX patrol_pack_verified ON patrol_pack (verified_at);

CREATE TABLE patrol_problem (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key           text NOT NULL,
    kind          text NOT NULL,
    state         text NOT NULL DEFAULT 'open',   -- open, repaired, gone
    message       text NOT NULL,
    facility      text NOT NULL DEFAULT '',
    study_uid     text NOT NULL DEFAULT '',
    series_uid    text NOT NULL DEFAULT '',
    sop_uids      text[] NOT NULL DEFAULT '{}',
    holds         text NOT NULL DEFAULT '',       -- the folder whose pack was found under the key
    found_at      timestamptz NOT NULL DEFAULT now(),
    checked_at    timestamptz NOT NULL DEFAULT now(),
    repaired_at   timestamptz,
    repaired_from text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX patrol_problem_open ON patrol_problem (key, kind) WHERE state = 'open';

-- Full passes that somebody asked for.
CREATE TABLE patrol_pass (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE UNIQUE INDEX patrol_pass_open ON patrol_pass ((true)) WHERE finished_at IS NULL;

-- +goose Down
DROP TABLE patrol_pass, patrol_problem, patrol_pack;
