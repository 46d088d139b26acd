-- +goose Up

-- What senders want to know to be safe, and what they have been told.
CREATE TABLE commitment (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ae_title        text NOT NULL,
    transaction_uid text NOT NULL,
    facility_rows   bigint[],             -- what the sender may see; null: everything
    state           text NOT NULL DEFAULT 'checking' CHECK (state IN ('checking', 'reporting', 'reported', 'failed')),
    requested_at    timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,          -- reported or given up
    last_error      text NOT NULL DEFAULT '',
    claimed_until   timestamptz NOT NULL DEFAULT '-infinity', -- a node is at it
    UNIQUE (ae_title, transaction_uid)
);
CREATE INDEX commitment_open ON commitment (ae_title) WHERE state IN ('checking', 'reporting');
CREATE INDEX commitment_ended ON commitment (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE commitment_instance (
    commitment_row bigint NOT NULL REFERENCES commitment ON DELETE CASCADE,
    position       int NOT NULL,
    sop_class      text NOT NULL,
    sop_uid        text NOT NULL,
    outcome        int,                   -- null: not known yet; 0: safe; else a Failure Reason (0008,1197)
    PRIMARY KEY (commitment_row, position)
);

-- +goose Down
DROP TABLE commitment_instance, commitment;
