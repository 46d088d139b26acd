-- +goose Up

-- One row for each DICOM association, or attempt at one, after it ended. Rows
-- are pruned by age.
CREATE TABLE association (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began        timestamptz NOT NULL,
    seconds      double precision NOT NULL,
    direction    text NOT NULL CHECK (direction IN ('in', 'out')),
    calling      text NOT NULL,
    called       text NOT NULL,
    peer         text NOT NULL,            -- the AE title of the other side
    address      text NOT NULL,
    facility_row bigint,                   -- of the peer, when it was known
    outcome      text NOT NULL,
    code         text NOT NULL,            -- of a rejection
    reason       text NOT NULL,            -- in English
    times        integer NOT NULL,         -- alike refusals that this row stands for
    instances    integer NOT NULL,         -- stored by us or sent
    failed       integer NOT NULL,
    bytes        bigint NOT NULL,
    detail       jsonb NOT NULL
);
CREATE INDEX association_facility ON association (facility_row, id);
CREATE INDEX association_peer ON association (peer, id);
CREATE INDEX association_began ON association USING brin (began);

-- +goose Down
DROP TABLE association;
