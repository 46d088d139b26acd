-- +goose Up

-- Where studies are sent to: a registered device, or a DICOMweb node.
CREATE TABLE forward_target (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ae_title      text UNIQUE,                       -- of a device; null for a DICOMweb node
    name          text UNIQUE,                       -- of a DICOMweb node; null for a device
    url           text NOT NULL DEFAULT '',          -- of its DICOMweb service
    authorization_kind text NOT NULL DEFAULT 'none' CHECK (authorization_kind IN ('none', 'basic', 'bearer')),
    login         text NOT NULL DEFAULT '',
    secret        text NOT NULL DEFAULT '',          -- password or token
    parallel      int NOT NULL DEFAULT 2,            -- how many items are sent to it at a time
    paused        boolean NOT NULL DEFAULT false,
    failures      int NOT NULL DEFAULT 0,            -- to reach it, in a row
    resting_until timestamptz NOT NULL DEFAULT '-infinity',
    last_error    text NOT NULL DEFAULT '',
    CHECK ((ae_title IS NULL) <> (name IS NULL))
);

CREATE TABLE forward_rule (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL,
    enabled        boolean NOT NULL,
    paused         boolean NOT NULL DEFAULT false,   -- goes on queuing, sends nothing
    occasion       text NOT NULL CHECK (occasion IN ('complete', 'arrival', 'order')),
    level          text NOT NULL CHECK (level IN ('study', 'series')),
    facilities     text[] NOT NULL,                  -- codes; empty: every facility
    condition      text NOT NULL,
    target_row     bigint NOT NULL REFERENCES forward_target,
    priority       int NOT NULL,                     -- 1 is first
    retry_hours    int NOT NULL,
    transfer_syntaxes text[] NOT NULL,
    window_from    int,                              -- minutes since midnight; null: any time
    window_until   int,
    window_days    int[] NOT NULL DEFAULT '{}',      -- on which it opens, 0 is Sunday; empty: every day
    window_zone    text NOT NULL DEFAULT '',
    prior_count    int NOT NULL DEFAULT 0,           -- 0: the study itself is sent
    prior_years    int NOT NULL DEFAULT 0,           -- 0: of any age
    prior_modality boolean NOT NULL DEFAULT false,   -- only of the same modality
    prior_body_part boolean NOT NULL DEFAULT false   -- only of the same body part
);

-- The queue: a study, or a series of it, on its way to a target.
CREATE TABLE forward_item (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_row      bigint REFERENCES forward_rule ON DELETE SET NULL,
    target_row    bigint NOT NULL REFERENCES forward_target,
    study_row     bigint NOT NULL,                   -- a study may be deleted: no reference
    study_uid     text NOT NULL,
    series_uid    text NOT NULL DEFAULT '',          -- '': all of the study
    facility_row  bigint NOT NULL REFERENCES facility,
    occasion      text NOT NULL,                     -- why it was queued last
    state         text NOT NULL CHECK (state IN ('waiting', 'scheduled', 'sending', 'sent', 'failed', 'paused', 'cancelled')),
    priority      int NOT NULL,
    asked         int NOT NULL DEFAULT 1,            -- how often it was queued
    total         int NOT NULL DEFAULT 0,            -- instances
    sent          int NOT NULL DEFAULT 0,
    failed        int NOT NULL DEFAULT 0,
    attempts      int NOT NULL DEFAULT 0,            -- since it was queued last
    queued_at     timestamptz NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    give_up_at    timestamptz,                       -- null before the first attempt
    ended_at      timestamptz,                       -- sent, failed or cancelled
    last_error    text NOT NULL DEFAULT '',
    claimed_until timestamptz NOT NULL DEFAULT '-infinity', -- a node is at it
    claims        bigint NOT NULL DEFAULT 0,         -- tells the nodes that were at it apart
    UNIQUE (rule_row, target_row, study_row, series_uid)
);
CREATE INDEX forward_item_due ON forward_item (target_row, priority, next_attempt_at) WHERE state IN ('waiting', 'scheduled', 'sending');
CREATE INDEX forward_item_claimed ON forward_item (target_row) WHERE claimed_until > '-infinity';
CREATE INDEX forward_item_state ON forward_item (state, id);
CREATE INDEX forward_item_study ON forward_item (study_uid);
CREATE INDEX forward_item_ended ON forward_item (ended_at) WHERE ended_at IS NOT NULL;

-- What became of the instances that were tried.
CREATE TABLE forward_instance (
    item_row  bigint NOT NULL REFERENCES forward_item ON DELETE CASCADE,
    sop_uid   text NOT NULL,
    version   int NOT NULL,
    failure   text,                                  -- null: it was sent
    PRIMARY KEY (item_row, sop_uid)
);

-- +goose Down
DROP TABLE forward_instance, forward_item, forward_rule, forward_target;
