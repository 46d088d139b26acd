-- +goose Up

-- Another viewer, which a person opens studies in (OHIF, Weasis), has a session
-- of its own below the person's: it may only read, and ends with it.
ALTER TABLE session
    ADD COLUMN viewer       text NOT NULL DEFAULT '' CHECK (viewer IN ('', 'ohif', 'weasis')),
    ADD COLUMN parent       bytea REFERENCES session ON DELETE CASCADE,
    ADD COLUMN facility_row bigint REFERENCES facility,  -- null: what the person sees
    ADD CHECK ((viewer = '') = (parent IS NULL));
CREATE INDEX session_of_parent ON session (parent, created_at) WHERE parent IS NOT NULL;

-- What a browser shows the viewer's host once, to get such a session there. The
-- address has 32 random bytes; the table holds only their SHA-256.
CREATE TABLE viewer_launch (
    code       bytea PRIMARY KEY CHECK (length(code) = 32),
    session    bytea NOT NULL REFERENCES session ON DELETE CASCADE,
    study_uid  text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX viewer_launch_session ON viewer_launch (session);
CREATE INDEX viewer_launch_expiry ON viewer_launch (expires_at);

-- +goose Down
DROP TABLE viewer_launch;
DELETE FROM session WHERE viewer <> '';
ALTER TABLE session DROP COLUMN viewer, DROP COLUMN parent, DROP COLUMN facility_row;
