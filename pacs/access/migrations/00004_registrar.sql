-- +goose Up

-- Who enters orders and needs nothing else.
ALTER TABLE user_role DROP CONSTRAINT user_role_role_check,
    ADD CONSTRAINT user_role_role_check CHECK (role IN ('radiologist', 'clinician', 'technician', 'registrar', 'facility_administrator', 'administrator'));

-- +goose Down
DELETE FROM user_role WHERE role = 'registrar';
ALTER TABLE user_role DROP CONSTRAINT user_role_role_check,
    ADD CONSTRAINT user_role_role_check CHECK (role IN ('radiologist', 'clinician', 'technician', 'facility_administrator', 'administrator'));
