-- +goose Up

-- The order of names in lists: that of the Uzbek alphabet, in which oʻ, gʻ, sh
-- and ch follow z, with Cyrillic behind Latin. A PostgreSQL built without ICU
-- orders by code points instead.
-- +goose StatementBegin
DO $$
BEGIN
    CREATE COLLATION person_name (provider = icu, locale = 'uz');
EXCEPTION WHEN feature_not_supported THEN
    CREATE COLLATION person_name (provider = libc, locale = 'C');
END $$;
-- +goose StatementEnd
CREATE INDEX patient_name_order ON patient (name COLLATE person_name) INCLUDE (id);

-- +goose Down
DROP INDEX patient_name_order;
DROP COLLATION person_name;
