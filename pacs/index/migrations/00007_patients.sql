-- +goose Up

-- What administrators have done to patients (package pacs/patients), as far as
-- receiving and reading must know it.
ALTER TABLE patient
    ADD COLUMN revision    int NOT NULL DEFAULT 1,        -- counts what was done to the row
    ADD COLUMN amended     boolean NOT NULL DEFAULT false, -- looked after by people: receiving changes nothing
    ADD COLUMN merged_into bigint REFERENCES patient,      -- null while living
    -- The identity under which the row was made: the name by which records in
    -- object storage know it. Null until something is done to the row.
    ADD COLUMN origin      text;
CREATE INDEX patient_merged_into ON patient (merged_into) WHERE merged_into IS NOT NULL;
CREATE UNIQUE INDEX patient_origin ON patient (facility_row, origin) WHERE origin IS NOT NULL;

-- Identities and demographics that a patient had before a correction: images
-- still come under them.
CREATE TABLE patient_alias (
    patient_row  bigint NOT NULL REFERENCES patient,
    position     int NOT NULL,      -- 1 is the oldest
    facility_row bigint NOT NULL REFERENCES facility,
    issuer       text NOT NULL,
    patient_id   text NOT NULL,
    variant      int NOT NULL,
    name         text NOT NULL,
    name_fold    text NOT NULL,
    sex          text NOT NULL,
    birth_date   text NOT NULL,
    pinfl        text NOT NULL,
    PRIMARY KEY (patient_row, position)
);
CREATE INDEX patient_alias_identity ON patient_alias (facility_row, issuer, patient_id);

ALTER TABLE study
    -- The served demographics may differ from those in the archived bytes.
    ADD COLUMN amended          boolean NOT NULL DEFAULT false,
    ADD COLUMN amended_at       timestamptz,
    -- The patient the study came under, when it is another's now.
    ADD COLUMN received_patient bigint REFERENCES patient,
    -- Whether object storage knows whose the study is.
    ADD COLUMN recorded         boolean NOT NULL DEFAULT false;
CREATE INDEX study_received_patient ON study (received_patient) WHERE received_patient IS NOT NULL;
CREATE INDEX study_unrecorded ON study (id) WHERE amended AND NOT recorded;

-- +goose Down
ALTER TABLE study DROP COLUMN amended, DROP COLUMN amended_at, DROP COLUMN received_patient, DROP COLUMN recorded;
DROP TABLE patient_alias;
ALTER TABLE patient DROP COLUMN revision, DROP COLUMN amended, DROP COLUMN merged_into, DROP COLUMN origin;
