-- +goose Up

-- What must be in object storage, too, so that the archive can be rebuilt from
-- it alone: written in the transaction it tells of, stored after it (record.go).
-- Keys sort in the order in which things happened.
CREATE TABLE amendment (
    key       text PRIMARY KEY,
    document  jsonb NOT NULL,
    stored_at timestamptz
);
CREATE INDEX amendment_waiting ON amendment (key) WHERE stored_at IS NULL;

-- What administrators did. writes and requires name what an operation changed
-- and what it relies on (d:PATIENT demographics, l:PATIENT being there,
-- s:STUDY whose it is): an operation can be undone when no later one touches
-- these.
CREATE TABLE patient_operation (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          text NOT NULL UNIQUE REFERENCES amendment,
    kind         text NOT NULL CHECK (kind IN ('correct', 'merge', 'move', 'split', 'undo')),
    at           timestamptz NOT NULL,
    who          text NOT NULL,
    why          text NOT NULL,
    facility_row bigint NOT NULL REFERENCES facility,
    patient_row  bigint NOT NULL REFERENCES patient,
    other_row    bigint REFERENCES patient,
    undoes       bigint REFERENCES patient_operation,
    undone_by    bigint REFERENCES patient_operation,
    writes       text[] NOT NULL,
    requires     text[] NOT NULL
);
CREATE INDEX patient_operation_patient ON patient_operation (patient_row, id);
CREATE INDEX patient_operation_other ON patient_operation (other_row, id) WHERE other_row IS NOT NULL;
CREATE INDEX patient_operation_facility ON patient_operation (facility_row, id);

-- +goose Down
DROP TABLE patient_operation, amendment;
