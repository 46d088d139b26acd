-- +goose Up

CREATE TABLE user_account (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login          text NOT NULL UNIQUE CHECK (login ~ '^[a-z0-9][a-z0-9._@-]{0,63}$'),
    name           text NOT NULL CHECK (name <> ''),
    password_hash  text NOT NULL DEFAULT '',  -- PHC string; empty: no local password
    language       text NOT NULL DEFAULT 'uz-Latn' CHECK (language IN ('uz-Latn', 'uz-Cyrl', 'ru', 'en')),
    pinfl          text NOT NULL DEFAULT '' CHECK (pinfl ~ '^([0-9]{14})?$'),
    argos          text NOT NULL DEFAULT '',  -- id in the national register of health workers
    all_facilities boolean NOT NULL DEFAULT false,
    active         boolean NOT NULL DEFAULT true,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE user_role (
    user_row bigint NOT NULL REFERENCES user_account ON DELETE CASCADE,
    role     text NOT NULL CHECK (role IN ('radiologist', 'clinician', 'technician', 'facility_administrator', 'administrator')),
    PRIMARY KEY (user_row, role)
);

CREATE TABLE user_facility (
    user_row     bigint NOT NULL REFERENCES user_account ON DELETE CASCADE,
    facility_row bigint NOT NULL REFERENCES facility,
    PRIMARY KEY (user_row, facility_row)
);
CREATE INDEX user_facility_facility ON user_facility (facility_row);

-- The browser holds 32 random bytes; the table holds only their SHA-256.
CREATE TABLE session (
    id           bytea PRIMARY KEY CHECK (length(id) = 32),
    user_row     bigint NOT NULL REFERENCES user_account ON DELETE CASCADE,
    csrf         text NOT NULL,
    remote       text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX session_of_user ON session (user_row, created_at);
CREATE INDEX session_expiry ON session (expires_at);

CREATE TABLE access_token (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    hash         bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes       text[] NOT NULL CHECK (cardinality(scopes) > 0),
    facility_row bigint REFERENCES facility,  -- null: every facility
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,                 -- null: until revoked
    revoked_at   timestamptz,
    last_used_at timestamptz
);

-- A sender of images: an AE title is known to the whole archive once.
CREATE TABLE device (
    ae_title     text PRIMARY KEY CHECK (ae_title ~ '^[ -\[\]-~]{1,16}$' AND ae_title = btrim(ae_title)),
    facility_row bigint NOT NULL REFERENCES facility,
    description  text NOT NULL DEFAULT '',
    charset      text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz
);
CREATE INDEX device_facility ON device (facility_row);

-- A node that receives copies the devices to its disk when this number grows.
CREATE TABLE admission_version (
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    n   bigint NOT NULL
);
INSERT INTO admission_version (n) VALUES (1);

-- +goose StatementBegin
CREATE FUNCTION admission_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE admission_version SET n = n + 1;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER device_admission AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF ae_title, facility_row, charset ON device
    FOR EACH STATEMENT EXECUTE FUNCTION admission_changed();
CREATE TRIGGER facility_admission AFTER UPDATE OF code ON facility
    FOR EACH STATEMENT EXECUTE FUNCTION admission_changed();

CREATE TABLE audit_event (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    who          text NOT NULL,               -- a login, token:NAME or system:PART
    action       text NOT NULL,
    object       text NOT NULL DEFAULT '',    -- KIND:IDENTIFIER, never a patient's data
    facility_row bigint,
    remote       text NOT NULL DEFAULT ''
);
CREATE INDEX audit_event_at ON audit_event USING brin (at);
CREATE INDEX audit_event_object ON audit_event (object, id);
CREATE INDEX audit_event_who ON audit_event (who, id);

-- +goose StatementBegin
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_event is append-only';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- +goose Down
DROP TRIGGER facility_admission ON facility;
DROP TABLE audit_event, admission_version, device, access_token, session, user_facility, user_role, user_account;
DROP FUNCTION audit_is_append_only, admission_changed;
