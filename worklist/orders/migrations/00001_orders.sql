-- +goose Up

CREATE SEQUENCE imaging_order_number;   -- for accession numbers and patient IDs that nobody gave

-- What has been asked for. The patient is as whoever ordered knows them: an
-- order may come long before the first image, and before the index knows the
-- patient. Times of day are the facility's clock on the wall.
CREATE TABLE imaging_order (
    id                    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    facility_row          bigint NOT NULL REFERENCES facility,
    revision              int NOT NULL DEFAULT 1,
    state                 text NOT NULL DEFAULT 'scheduled'
                          CHECK (state IN ('scheduled', 'arrived', 'in_progress', 'completed', 'discontinued', 'cancelled')),
    accession             text NOT NULL CHECK (accession <> ''),
    placer                text NOT NULL DEFAULT '',
    filler                text NOT NULL DEFAULT '',
    issuer                text NOT NULL,
    patient_id            text NOT NULL CHECK (patient_id <> ''),
    name                  text NOT NULL DEFAULT '',   -- DICOM PN form
    name_fold             text NOT NULL DEFAULT '',   -- pacs.Fold(name)
    sex                   text NOT NULL DEFAULT '',
    birth_date            text NOT NULL DEFAULT '',
    pinfl                 text NOT NULL DEFAULT '',
    physician             text NOT NULL DEFAULT '',   -- who asks; DICOM PN form
    department            text NOT NULL DEFAULT '',
    reason                text NOT NULL DEFAULT '',
    question              text NOT NULL DEFAULT '',
    priority              text NOT NULL CHECK (priority IN ('stat', 'urgent', 'routine')),
    procedure_id          text NOT NULL CHECK (procedure_id <> ''),
    procedure_description text NOT NULL DEFAULT '',
    procedure_code        text[] NOT NULL DEFAULT '{}', -- empty, or value, scheme, meaning
    study_uid             text NOT NULL UNIQUE,
    -- Of the steps, for lists.
    starts_at             timestamp NOT NULL,
    modalities            text[] NOT NULL,
    stations              text[] NOT NULL,
    created_by            text NOT NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    UNIQUE (facility_row, accession)
);
CREATE UNIQUE INDEX imaging_order_placer ON imaging_order (facility_row, placer) WHERE placer <> '';
CREATE INDEX imaging_order_day ON imaging_order (facility_row, starts_at, id);
CREATE INDEX imaging_order_days ON imaging_order (starts_at, id);
CREATE INDEX imaging_order_accession ON imaging_order (accession text_pattern_ops);
CREATE INDEX imaging_order_patient ON imaging_order (patient_id text_pattern_ops);
CREATE INDEX imaging_order_name ON imaging_order USING gin (name_fold gin_trgm_ops);
CREATE INDEX imaging_order_pinfl ON imaging_order (pinfl) WHERE pinfl <> '';

CREATE TABLE order_step (
    order_id     uuid NOT NULL REFERENCES imaging_order,
    position     int NOT NULL,              -- 1 is the first
    facility_row bigint NOT NULL REFERENCES facility,
    state        text NOT NULL DEFAULT 'scheduled'
                 CHECK (state IN ('scheduled', 'arrived', 'in_progress', 'completed', 'discontinued', 'cancelled')),
    performed    boolean NOT NULL DEFAULT false, -- a modality has reported on it (MPPS)
    step_id      text NOT NULL CHECK (step_id <> ''),
    modality     text NOT NULL,
    stations     text[] NOT NULL DEFAULT '{}', -- AE titles; empty: any of the modality
    starts_at    timestamp NOT NULL,
    description  text NOT NULL DEFAULT '',
    code         text[] NOT NULL DEFAULT '{}',
    physician    text NOT NULL DEFAULT '',
    location     text NOT NULL DEFAULT '',
    medication   text NOT NULL DEFAULT '',
    PRIMARY KEY (order_id, position)
);
-- What modalities are told of.
CREATE INDEX order_step_waiting ON order_step (facility_row, starts_at, order_id, position)
    WHERE state IN ('scheduled', 'arrived', 'in_progress');

-- The studies that came of an order.
CREATE TABLE order_study (
    study_row bigint PRIMARY KEY REFERENCES study ON DELETE CASCADE,
    order_id  uuid NOT NULL REFERENCES imaging_order,
    linked_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX order_study_order ON order_study (order_id);

-- What was done to an order, and by whom.
CREATE TABLE order_event (
    order_id uuid NOT NULL REFERENCES imaging_order,
    number   bigint GENERATED ALWAYS AS IDENTITY,
    at       timestamptz NOT NULL DEFAULT now(),
    who      text NOT NULL,
    what     text NOT NULL,
    why      text NOT NULL DEFAULT '',
    PRIMARY KEY (order_id, number)
);

-- +goose Down
DROP TABLE order_event, order_study, order_step, imaging_order;
DROP SEQUENCE imaging_order_number;
