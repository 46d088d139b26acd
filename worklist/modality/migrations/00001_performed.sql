-- +goose Up

-- Modality performed procedure steps, whole: the attributes of N-CREATE and
-- all N-SET in explicit VR little endian, text in UTF-8.
CREATE TABLE performed_step (
    sop_uid      text PRIMARY KEY,
    facility_row bigint NOT NULL REFERENCES facility,
    ae_title     text NOT NULL,              -- who created it
    state        text NOT NULL CHECK (state IN ('in_progress', 'completed', 'discontinued')),
    attributes   bytea NOT NULL,
    instances    text[] NOT NULL DEFAULT '{}', -- SOP Instance UIDs it names, once it has ended
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

-- The steps of orders that it performs.
CREATE TABLE performed_order_step (
    sop_uid  text NOT NULL REFERENCES performed_step,
    order_id uuid NOT NULL REFERENCES imaging_order,
    position int NOT NULL,
    PRIMARY KEY (sop_uid, order_id, position)
);
CREATE INDEX performed_order_step_order ON performed_order_step (order_id, position);

-- The studies it makes images of.
CREATE TABLE performed_study (
    sop_uid   text NOT NULL REFERENCES performed_step,
    study_uid text NOT NULL,
    pending   boolean NOT NULL DEFAULT false, -- has ended, and has not completed the study yet
    PRIMARY KEY (sop_uid, study_uid)
);
CREATE INDEX performed_study_study ON performed_study (study_uid);

-- +goose Down
DROP TABLE performed_study, performed_order_step, performed_step;
