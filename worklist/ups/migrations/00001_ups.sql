-- +goose Up

-- Unified procedure steps: those of reading tasks, and others that devices push.
CREATE TABLE ups (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sop_uid         text NOT NULL UNIQUE,
    facility_row    bigint NOT NULL REFERENCES facility,
    task_id         uuid REFERENCES reading_task,  -- the reading that it is, if it is one
    state           text NOT NULL DEFAULT 'SCHEDULED' CHECK (state IN ('SCHEDULED', 'IN PROGRESS', 'COMPLETED', 'CANCELED')),
    transaction_uid text NOT NULL DEFAULT '',      -- the lock of its performer, which nobody is ever told
    performer       text NOT NULL DEFAULT '',      -- who holds or held it: "ae:TITLE", "token:NAME", a login
    asked_by        text NOT NULL,                 -- who created it
    study_uid       text NOT NULL DEFAULT '',
    start_at        timestamp,                     -- Scheduled Procedure Step Start DateTime, on the wall
    called_off      boolean NOT NULL DEFAULT false, -- somebody has asked its performer to cancel
    -- Explicit VR little endian, UTF-8; without state and transaction.
    attributes      bytea NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,
    CHECK ((state IN ('COMPLETED', 'CANCELED')) = (ended_at IS NOT NULL)),
    CHECK ((state = 'SCHEDULED') = (transaction_uid = ''))
);
-- A task is at most one step that is to be done.
CREATE UNIQUE INDEX ups_task_now ON ups (task_id) WHERE state IN ('SCHEDULED', 'IN PROGRESS');
CREATE INDEX ups_task ON ups (task_id, id) WHERE task_id IS NOT NULL;
CREATE INDEX ups_state ON ups (state, id) WHERE state IN ('SCHEDULED', 'IN PROGRESS');
CREATE INDEX ups_study ON ups (study_uid) WHERE study_uid <> '';
CREATE INDEX ups_ended ON ups (ended_at) WHERE ended_at IS NOT NULL;

-- Who is told of changes. An AE that is registered is told by N-EVENT-REPORT;
-- one that somebody named over HTTP, over that caller's WebSocket.
CREATE TABLE ups_subscriber (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ae_title        text NOT NULL,
    owner           text NOT NULL DEFAULT '',      -- of a WebSocket: who may open it; '' for a registered AE
    facility_rows   bigint[],                      -- what the owner may see; null: everything
    -- Global subscription: to what is yet to be created.
    every           boolean NOT NULL DEFAULT false,
    every_lock      boolean NOT NULL DEFAULT false,
    filter          bytea,                         -- matching keys; null: all. Explicit VR little endian, UTF-8
    -- Delivery.
    claimed_by      uuid,                          -- which connection or node brings it the events
    claimed_until   timestamptz NOT NULL DEFAULT '-infinity',
    attempts        int NOT NULL DEFAULT 0,        -- failed ones since the last that went well
    next_attempt_at timestamptz NOT NULL DEFAULT '-infinity',
    last_error      text NOT NULL DEFAULT '',
    UNIQUE (ae_title, owner)
);

CREATE TABLE ups_subscription (
    subscriber_row bigint NOT NULL REFERENCES ups_subscriber ON DELETE CASCADE,
    ups_row        bigint NOT NULL REFERENCES ups ON DELETE CASCADE,
    lock           boolean NOT NULL,               -- deletion lock
    PRIMARY KEY (subscriber_row, ups_row)
);
CREATE INDEX ups_subscription_ups ON ups_subscription (ups_row);

-- What is still to be told, in order.
CREATE TABLE ups_event (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscriber_row bigint NOT NULL REFERENCES ups_subscriber ON DELETE CASCADE,
    sop_uid        text NOT NULL,
    event_type     int NOT NULL CHECK (event_type BETWEEN 1 AND 5),
    information    bytea NOT NULL,                 -- explicit VR little endian, UTF-8
    happened_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ups_event_subscriber ON ups_event (subscriber_row, id);
CREATE INDEX ups_event_happened ON ups_event (happened_at);

-- +goose Down
DROP TABLE ups_event, ups_subscription, ups_subscriber, ups;
