-- +goose Up

-- A device becomes a remote AE: where it answers, what it may ask of us, what
-- we may send it, and how the two prove who they are.
--
-- What was known so far could send images and nothing else. It keeps that, and
-- may ask for storage commitment, which tells nothing but whether what it sent
-- is safe. Reading (query, retrieve, worklist) shows patients to whoever calls
-- with the title, so an administrator allows it for each AE.
ALTER TABLE device
    ADD COLUMN host                  text NOT NULL DEFAULT '',        -- empty: we never call it
    ADD COLUMN port                  integer NOT NULL DEFAULT 0 CHECK (port BETWEEN 0 AND 65535),
    ADD COLUMN services              text[] NOT NULL DEFAULT '{store,commitment}',
    ADD COLUMN destination           boolean NOT NULL DEFAULT false,  -- images may be sent to it
    ADD COLUMN transfer_syntaxes     text[] NOT NULL DEFAULT '{}',    -- empty: what negotiation finds
    ADD COLUMN answer_charset        text NOT NULL DEFAULT '',        -- empty: ISO_IR 192
    ADD COLUMN tls                   boolean NOT NULL DEFAULT false,  -- required, both ways
    ADD COLUMN tls_server_name       text NOT NULL DEFAULT '',        -- empty: the host
    ADD COLUMN certificate           text NOT NULL DEFAULT '',        -- sha256:HEX or a subject; empty: any that is trusted
    ADD COLUMN max_associations_from integer NOT NULL DEFAULT 0 CHECK (max_associations_from BETWEEN 0 AND 1000),
    ADD COLUMN max_associations_to   integer NOT NULL DEFAULT 0 CHECK (max_associations_to BETWEEN 0 AND 1000),
    ADD COLUMN all_facilities        boolean NOT NULL DEFAULT false,  -- it reads the whole archive
    ADD CHECK ((host = '') = (port = 0)),
    ADD CHECK (host <> '' OR NOT destination);

DROP TRIGGER device_admission ON device;
CREATE TRIGGER device_admission AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF ae_title, facility_row, charset, host, port,
    services, destination, transfer_syntaxes, answer_charset, tls, tls_server_name, certificate,
    max_associations_from, max_associations_to, all_facilities ON device
    FOR EACH STATEMENT EXECUTE FUNCTION admission_changed();
UPDATE admission_version SET n = n + 1;

-- +goose Down
DROP TRIGGER device_admission ON device;
CREATE TRIGGER device_admission AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF ae_title, facility_row, charset ON device
    FOR EACH STATEMENT EXECUTE FUNCTION admission_changed();
ALTER TABLE device
    DROP COLUMN host, DROP COLUMN port, DROP COLUMN services, DROP COLUMN destination, DROP COLUMN transfer_syntaxes,
    DROP COLUMN answer_charset, DROP COLUMN tls, DROP COLUMN tls_server_name, DROP COLUMN certificate,
    DROP COLUMN max_associations_from, DROP COLUMN max_associations_to, DROP COLUMN all_facilities;
