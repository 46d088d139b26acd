-- +goose Up

-- Names are matched regardless of case (ILIKE) and with wild cards at either
-- end: a B-tree is of no use for that.
DROP INDEX patient_name;
CREATE INDEX patient_name_trgm ON patient USING gin (name gin_trgm_ops);

-- +goose Down
DROP INDEX patient_name_trgm;
CREATE INDEX patient_name ON patient (name text_pattern_ops);
