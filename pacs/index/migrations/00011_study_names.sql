-- +goose Up

-- Lists of studies are walked in their order, in an index that holds what
-- studies are picked by, so that those passed by cost nothing but a look at
-- their entry (search.go). That needs, beside each study, whose name it is
-- under (kept by the triggers below) and no look at whether it was deleted.
ALTER TABLE study
    ADD COLUMN patient_name text COLLATE "C" NOT NULL DEFAULT '',  -- lower(patient.name)
    ADD COLUMN patient_fold text COLLATE "C" NOT NULL DEFAULT '';  -- patient.name_fold

DROP INDEX study_order, study_facility_order, study_patient;
UPDATE study s SET patient_name = lower(p.name), patient_fold = p.name_fold FROM patient p WHERE p.id = s.patient_row;
CREATE INDEX study_order ON study (study_date DESC, id DESC)
    INCLUDE (patient_row, facility_row, modalities, patient_name, patient_fold) WHERE deleted_at IS NULL;
CREATE INDEX study_facility_order ON study (facility_row, study_date DESC, id DESC)
    INCLUDE (patient_row, modalities, patient_name, patient_fold) WHERE deleted_at IS NULL;
CREATE INDEX study_patient ON study (patient_row, study_date DESC, id DESC) INCLUDE (facility_row, deleted_at);
-- That index would make every new study's second statement write all indexes
-- of the table again, and what it finds is found on the way.
DROP INDEX study_modalities;

-- Adding to a patient and changing one take turns (LockPatients), so neither
-- trigger misses what the other's transaction does.
-- +goose StatementBegin
CREATE FUNCTION study_takes_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT lower(p.name), p.name_fold INTO NEW.patient_name, NEW.patient_fold FROM patient p WHERE p.id = NEW.patient_row;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER study_takes_name BEFORE INSERT OR UPDATE OF patient_row ON study
    FOR EACH ROW EXECUTE FUNCTION study_takes_name();

-- +goose StatementBegin
CREATE FUNCTION patient_gives_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE study SET patient_name = lower(NEW.name), patient_fold = NEW.name_fold WHERE patient_row = NEW.id;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER patient_gives_name AFTER UPDATE OF name, name_fold ON patient
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name OR OLD.name_fold IS DISTINCT FROM NEW.name_fold)
    EXECUTE FUNCTION patient_gives_name();

-- The beginning of a name, with whose patient it is.
DROP INDEX patient_name_start;
CREATE INDEX patient_name_start ON patient (lower(name) text_pattern_ops) INCLUDE (id, name, facility_row);

-- One facility's list by name.
CREATE INDEX patient_facility_name_order ON patient (facility_row, name COLLATE person_name) INCLUDE (id);

-- +goose Down
DROP INDEX patient_facility_name_order, patient_name_start;
CREATE INDEX patient_name_start ON patient (lower(name) text_pattern_ops) INCLUDE (id, name);
DROP TRIGGER patient_gives_name ON patient;
DROP FUNCTION patient_gives_name();
DROP TRIGGER study_takes_name ON study;
DROP FUNCTION study_takes_name();
DROP INDEX study_patient, study_facility_order, study_order;
CREATE INDEX study_modalities ON study USING gin (modalities);
CREATE INDEX study_order ON study (study_date DESC, id DESC) INCLUDE (patient_row, facility_row);
CREATE INDEX study_facility_order ON study (facility_row, study_date DESC, id DESC) INCLUDE (patient_row);
CREATE INDEX study_patient ON study (patient_row, study_date DESC, id DESC) INCLUDE (facility_row);
ALTER TABLE study DROP COLUMN patient_name, DROP COLUMN patient_fold;
