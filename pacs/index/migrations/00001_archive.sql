-- +goose Up

-- Identifiers of the archive's rows are bigints given by the database; what
-- the outside knows are UIDs, codes and (issuer, patient ID).

CREATE TABLE facility (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code       text NOT NULL UNIQUE CHECK (code ~ '^[A-Z0-9_-]{1,32}$'),
    name       text NOT NULL,
    tax_id     text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The owner of what unknown senders sent when they are accepted and parked.
INSERT INTO facility (code, name) VALUES ('UNASSIGNED', 'Unassigned');

CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- A patient as one facility knows them. What a sender calls the issuer is part
-- of the identity only within its own facility, so that nobody can write into,
-- or read, another hospital's patient by naming it. The PINFL links patients
-- across facilities.
CREATE TABLE patient (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    facility_row bigint NOT NULL REFERENCES facility,
    issuer       text NOT NULL,
    patient_id text NOT NULL,
    name       text NOT NULL DEFAULT '',   -- decoded, DICOM PN form
    name_fold  text NOT NULL DEFAULT '',   -- pacs.Fold(name)
    sex        text NOT NULL DEFAULT '',
    birth_date text NOT NULL DEFAULT '',
    pinfl      text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- 0, or a number that keeps apart people who came under one ID (or none).
    variant      int NOT NULL DEFAULT 0,
    UNIQUE (facility_row, issuer, patient_id, variant)
);
CREATE INDEX patient_patient_id ON patient (patient_id text_pattern_ops);
CREATE INDEX patient_name ON patient (name text_pattern_ops);
CREATE INDEX patient_name_fold ON patient (name_fold text_pattern_ops);
CREATE INDEX patient_name_fold_trgm ON patient USING gin (name_fold gin_trgm_ops);
CREATE INDEX patient_pinfl ON patient (pinfl) WHERE pinfl <> '';

CREATE TABLE study (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_uid           text NOT NULL UNIQUE,
    patient_row         bigint NOT NULL REFERENCES patient,
    facility_row        bigint NOT NULL REFERENCES facility,
    study_date          text NOT NULL DEFAULT '',
    study_time          text NOT NULL DEFAULT '',
    accession_number    text NOT NULL DEFAULT '',
    study_id            text NOT NULL DEFAULT '',
    description         text NOT NULL DEFAULT '',
    referring_physician text NOT NULL DEFAULT '',
    question            text NOT NULL DEFAULT '',
    modalities          text[] NOT NULL DEFAULT '{}',
    body_parts          text[] NOT NULL DEFAULT '{}',
    series_count        int NOT NULL DEFAULT 0,
    instance_count      int NOT NULL DEFAULT 0,
    bytes               bigint NOT NULL DEFAULT 0,
    received_at         timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    completed_at        timestamptz,          -- null while images arrive
    completions         int NOT NULL DEFAULT 0, -- how often it was completed
    attributes          jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX study_patient ON study (patient_row, study_date DESC);
CREATE INDEX study_order ON study (study_date DESC, id DESC);
CREATE INDEX study_facility_order ON study (facility_row, study_date DESC, id DESC);
CREATE INDEX study_accession ON study (accession_number text_pattern_ops) WHERE accession_number <> '';
CREATE INDEX study_modalities ON study USING gin (modalities);
CREATE INDEX study_arriving ON study (updated_at) WHERE completed_at IS NULL;

CREATE TABLE series (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_row      bigint NOT NULL REFERENCES study,
    series_uid     text NOT NULL,
    modality       text NOT NULL DEFAULT '',
    number         int,
    description    text NOT NULL DEFAULT '',
    body_part      text NOT NULL DEFAULT '',
    instance_count int NOT NULL DEFAULT 0,
    has_pixels     boolean NOT NULL DEFAULT false,
    attributes     jsonb NOT NULL DEFAULT '{}',
    UNIQUE (study_row, series_uid)
);
CREATE INDEX series_uid ON series (series_uid);

-- A pack is one object in storage: a ZIP of stored PS3.10 files of one series.
CREATE TABLE pack (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key           text NOT NULL UNIQUE,
    series_row    bigint NOT NULL REFERENCES series,
    bytes         bigint NOT NULL,
    meta_offset   bigint NOT NULL,   -- of the gzipped DICOM JSON array
    meta_length   bigint NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX pack_series ON pack (series_row);

-- Grows by hundreds of millions of rows a year: partitioned by study, so that
-- everything about one study is in one partition.
CREATE TABLE instance (
    study_row       bigint NOT NULL,
    series_row      bigint NOT NULL,
    sop_uid         text NOT NULL,
    version         int NOT NULL,
    current         boolean NOT NULL DEFAULT true,
    sop_class       text NOT NULL,
    transfer_syntax text NOT NULL,
    number          int,
    rows            int NOT NULL DEFAULT 0,
    columns         int NOT NULL DEFAULT 0,
    frames          int NOT NULL DEFAULT 0,
    sha256          bytea NOT NULL,          -- of the data set without file meta
    pack_row        bigint NOT NULL,
    pack_offset     bigint NOT NULL,
    length          bigint NOT NULL,
    dataset_offset  bigint NOT NULL,
    pixels          jsonb,                   -- pacs.PixelLocation
    sender          text NOT NULL DEFAULT '',
    channel         text NOT NULL,
    received_at     timestamptz NOT NULL,
    attributes      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (study_row, sop_uid, version)
) PARTITION BY HASH (study_row);

-- +goose StatementBegin
DO $$
BEGIN
    FOR i IN 0..15 LOOP
        EXECUTE format('CREATE TABLE instance_p%s PARTITION OF instance FOR VALUES WITH (MODULUS 16, REMAINDER %s)', i, i);
    END LOOP;
END $$;
-- +goose StatementEnd
CREATE INDEX instance_series ON instance (series_row) WHERE current;
CREATE INDEX instance_sop_uid ON instance (sop_uid);

-- +goose Down
DROP TABLE instance, pack, series, study, patient, facility;
