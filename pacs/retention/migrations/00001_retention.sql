-- +goose Up

CREATE TABLE retention_policy (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position  int NOT NULL,
    name      text NOT NULL CHECK (name <> ''),
    facility  text NOT NULL DEFAULT '',       -- code; empty: every facility
    modality  text NOT NULL DEFAULT '',       -- of every series; empty: any
    days      int NOT NULL CHECK (days BETWEEN 1 AND 36500),
    action    text NOT NULL CHECK (action IN ('keep', 'move_to_cold', 'delete_pixels', 'delete_all')),
    enabled   boolean NOT NULL DEFAULT false,
    -- What a preview was made of: this policy (Policy.fingerprint), and those
    -- that were enabled before it. Empty: there is none.
    previewed        text NOT NULL DEFAULT '',
    previewed_behind text[] NOT NULL DEFAULT '{}',
    previewed_at     timestamptz
);
CREATE INDEX retention_policy_order ON retention_policy (position, id);

-- What one policy has done in one pass through the archive.
CREATE TABLE retention_run (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pass        text NOT NULL,                -- names the pass; a repeated one goes on here
    policy_row  bigint NOT NULL,              -- may be gone
    policy      text NOT NULL,                -- its name then
    action      text NOT NULL,
    as_of       timestamptz NOT NULL,         -- from which ages count
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    after_study bigint NOT NULL DEFAULT 0,    -- where it goes on
    studies     int NOT NULL DEFAULT 0,
    bytes       bigint NOT NULL DEFAULT 0,
    failed      int NOT NULL DEFAULT 0,
    UNIQUE (pass, policy_row)
);
CREATE INDEX retention_run_order ON retention_run (started_at DESC, id DESC);

-- How many studies were touched on a day (UTC), for the limit.
CREATE TABLE retention_day (
    day     date PRIMARY KEY,
    studies int NOT NULL
);

-- +goose Down
DROP TABLE retention_day, retention_run, retention_policy;
