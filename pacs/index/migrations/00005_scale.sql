-- +goose Up

-- Dates, times, UIDs and numbers are compared byte by byte, whatever language
-- the database was made for: ranges rely on it ("~" behind every digit), and
-- it is several times as fast.
ALTER TABLE study
    ALTER study_uid        TYPE text COLLATE "C",
    ALTER study_date       TYPE text COLLATE "C",
    ALTER study_time       TYPE text COLLATE "C",
    ALTER accession_number TYPE text COLLATE "C";
ALTER TABLE patient
    ALTER patient_id TYPE text COLLATE "C",
    ALTER birth_date TYPE text COLLATE "C";
ALTER TABLE series   ALTER series_uid TYPE text COLLATE "C";
ALTER TABLE instance ALTER sop_uid    TYPE text COLLATE "C";

-- What a list is found by is read from the index alone (search.go); only the
-- rows of the page are fetched.
DROP INDEX study_order, study_facility_order, study_patient;
CREATE INDEX study_order ON study (study_date DESC, id DESC) INCLUDE (patient_row, facility_row);
CREATE INDEX study_facility_order ON study (facility_row, study_date DESC, id DESC) INCLUDE (patient_row);
CREATE INDEX study_patient ON study (patient_row, study_date DESC, id DESC) INCLUDE (facility_row);

-- Nothing looks for studies by this, and without it the many updates of a study
-- while it arrives touch no index.
DROP INDEX study_arriving;

-- The beginning of a name, in any case. The name itself is there so that its
-- lower-case form can be read from the index.
CREATE INDEX patient_name_start ON patient (lower(name) text_pattern_ops) INCLUDE (id, name);
-- Folded names are looked for by parts, in the trigram index.
DROP INDEX patient_name_fold;

-- +goose Down
CREATE INDEX patient_name_fold ON patient (name_fold text_pattern_ops);
DROP INDEX patient_name_start;
CREATE INDEX study_arriving ON study (updated_at) WHERE completed_at IS NULL;
DROP INDEX study_order, study_facility_order, study_patient;
CREATE INDEX study_patient ON study (patient_row, study_date DESC);
CREATE INDEX study_order ON study (study_date DESC, id DESC);
CREATE INDEX study_facility_order ON study (facility_row, study_date DESC, id DESC);
ALTER TABLE instance ALTER sop_uid    TYPE text;
ALTER TABLE series   ALTER series_uid TYPE text;
ALTER TABLE patient
    ALTER patient_id TYPE text,
    ALTER birth_date TYPE text;
ALTER TABLE study
    ALTER study_uid        TYPE text,
    ALTER study_date       TYPE text,
    ALTER study_time       TYPE text,
    ALTER accession_number TYPE text;
