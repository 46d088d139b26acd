-- +goose Up

-- One row for each data set that is kept and not archived. Its bytes are in
-- object storage: quarantine/ID.dcm, with all of this row but its state beside
-- them in quarantine/ID.json. What was read from the data set is as far as it
-- could be read.
CREATE TABLE quarantine_item (
    id              text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'),
    -- kept; releasing: handed to the journal, not published yet; discarding:
    -- its objects are being deleted; released: archived with other UIDs, the
    -- original is under released/; gone: released or discarded, the row keeps
    -- what a journal offers again after a crash from coming back.
    state           text NOT NULL CHECK (state IN ('kept', 'releasing', 'discarding', 'released', 'gone')),
    reason          text NOT NULL,
    message         text NOT NULL,
    facility_row    bigint NOT NULL REFERENCES facility,
    sender          text NOT NULL DEFAULT '',
    remote          text NOT NULL DEFAULT '',
    channel         text NOT NULL,
    charset         text NOT NULL DEFAULT '',
    received_at     timestamptz NOT NULL,  -- first
    last_received   timestamptz NOT NULL,
    bytes           bigint NOT NULL,
    study_uid       text NOT NULL DEFAULT '',
    series_uid      text NOT NULL DEFAULT '',
    sop_uid         text NOT NULL DEFAULT '',
    sop_class       text NOT NULL DEFAULT '',
    transfer_syntax text NOT NULL DEFAULT '',
    modality        text NOT NULL DEFAULT '',
    study_date      text NOT NULL DEFAULT '',
    description     text NOT NULL DEFAULT '',
    issuer          text NOT NULL DEFAULT '',
    patient_id      text NOT NULL DEFAULT '',
    patient_name    text NOT NULL DEFAULT '',
    sex             text NOT NULL DEFAULT '',
    birth_date      text NOT NULL DEFAULT '',
    pinfl           text NOT NULL DEFAULT '',
    releasing_at    timestamptz,
    -- When the release under way was first begun, and whether its data set is
    -- written anew.
    begun_at        timestamptz,
    rewritten       boolean NOT NULL DEFAULT false,
    gone_at         timestamptz
);
CREATE INDEX quarantine_item_order ON quarantine_item (received_at DESC, id DESC) WHERE state IN ('kept', 'releasing', 'discarding');
CREATE INDEX quarantine_item_facility ON quarantine_item (facility_row, received_at DESC, id DESC) WHERE state IN ('kept', 'releasing', 'discarding');
CREATE INDEX quarantine_item_gone ON quarantine_item (gone_at) WHERE state = 'gone';

-- +goose Down
DROP TABLE quarantine_item;
