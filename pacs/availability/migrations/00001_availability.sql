-- +goose Up

-- What devices are to be told: of one study each, once for all that happened to
-- it since they were told last.
CREATE TABLE availability_notice (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ae_title   text NOT NULL,
    study_row  bigint NOT NULL REFERENCES study ON DELETE CASCADE,
    generation int NOT NULL DEFAULT 1,      -- grows with everything that happens to the study
    state      text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'told', 'failed')),
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,                 -- told or given up
    refusals   int NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL DEFAULT '-infinity', -- not before, after a refusal
    last_error text NOT NULL DEFAULT '',
    UNIQUE (ae_title, study_row)
);
CREATE INDEX availability_waiting ON availability_notice (ae_title, asked_at) WHERE state = 'waiting';
CREATE INDEX availability_ended ON availability_notice (ended_at) WHERE ended_at IS NOT NULL;

-- Devices that are being told, or could not be reached.
CREATE TABLE availability_device (
    ae_title      text PRIMARY KEY,
    claimed_until timestamptz NOT NULL DEFAULT '-infinity', -- a node is at it
    retry_at      timestamptz NOT NULL DEFAULT '-infinity',
    failures      int NOT NULL DEFAULT 0                    -- in a row
);

-- Instances that were deleted whole: nothing else knows of them any more.
CREATE TABLE availability_deleted (
    study_row  bigint NOT NULL REFERENCES study ON DELETE CASCADE,
    series_uid text NOT NULL,
    sop_class  text NOT NULL,
    sop_uid    text NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (study_row, sop_uid)
);
CREATE INDEX availability_deleted_at ON availability_deleted (deleted_at);

-- +goose Down
DROP TABLE availability_deleted, availability_device, availability_notice;
