-- +goose Up

-- Whoever holds a task need not be a person of this archive: a performer of
-- unified procedure steps is known by its AE title or token. And a task can be
-- cancelled: nobody is to read the study.
ALTER TABLE reading_task ADD COLUMN performer text NOT NULL DEFAULT '';
ALTER TABLE reading_task
    DROP CONSTRAINT reading_task_state_check,
    DROP CONSTRAINT reading_task_check,
    DROP CONSTRAINT reading_task_check1,
    ADD CONSTRAINT reading_task_state CHECK (state IN ('open', 'claimed', 'signed', 'cancelled')),
    ADD CONSTRAINT reading_task_holder CHECK (CASE state
        WHEN 'open' THEN claimed_by IS NULL AND performer = ''
        WHEN 'claimed' THEN (claimed_by IS NULL) = (performer <> '')
        ELSE true END);

DROP INDEX reading_task_open, reading_task_group;
CREATE INDEX reading_task_open ON reading_task (rank, deadline, id) WHERE state IN ('open', 'claimed');
CREATE INDEX reading_task_group ON reading_task (group_row) WHERE state IN ('open', 'claimed');

-- +goose Down
DROP INDEX reading_task_open, reading_task_group;
UPDATE reading_task SET state = 'open', claimed_by = NULL, claimed_at = NULL WHERE state = 'cancelled' OR state = 'claimed' AND claimed_by IS NULL;
ALTER TABLE reading_task DROP CONSTRAINT reading_task_state, DROP CONSTRAINT reading_task_holder;
ALTER TABLE reading_task DROP COLUMN performer,
    ADD CONSTRAINT reading_task_state_check CHECK (state IN ('open', 'claimed', 'signed')),
    ADD CONSTRAINT reading_task_check CHECK ((state = 'claimed') = (claimed_by IS NOT NULL AND state <> 'signed') OR state = 'signed'),
    ADD CONSTRAINT reading_task_check1 CHECK (state <> 'open' OR claimed_by IS NULL);
CREATE INDEX reading_task_open ON reading_task (rank, deadline, id) WHERE state <> 'signed';
CREATE INDEX reading_task_group ON reading_task (group_row) WHERE state <> 'signed';
