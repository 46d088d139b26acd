-- +goose Up

-- What rejection notes (IHE IOCM: Key Object Selections with such a title) say
-- about instances of their own study. The notes are instances in the packs, so
-- this table is rebuilt with the index.
CREATE TABLE rejection (
    study_row bigint NOT NULL,
    sop_uid   text NOT NULL,        -- of the instance
    note_uid  text NOT NULL,        -- SOP Instance UID of the note
    code      text NOT NULL,        -- of the note's title
    noted_at  timestamptz NOT NULL, -- when the note was received: the last one counts
    PRIMARY KEY (study_row, sop_uid, note_uid)
);

-- Why an instance is not shown: the code of the note, or 'note' for a note
-- itself; null for all others.
ALTER TABLE instance ADD COLUMN rejected text;

-- All instances of the study are rejected.
ALTER TABLE study ADD COLUMN hidden boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE study DROP COLUMN hidden;
ALTER TABLE instance DROP COLUMN rejected;
DROP TABLE rejection;
