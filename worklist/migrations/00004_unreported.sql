-- +goose Up

-- What is closed without a report of this archive: cancelled, or read outside.
CREATE INDEX reading_task_unreported ON reading_task (created_at) WHERE state = 'cancelled' OR state = 'signed' AND signed_by IS NULL;

-- +goose Down
DROP INDEX reading_task_unreported;
