-- +goose Up

-- "Signed by me today", "my drafts", the list of deliveries and the tasks of a
-- group are looked at all day long by everybody; without these they read every
-- report there has ever been.
CREATE INDEX report_version_signer ON report_version (signer, signed_at);
CREATE INDEX report_version_order ON report_version (signed_at DESC, report_id DESC, version DESC);
CREATE INDEX report_draft_author ON report_draft (author);
CREATE INDEX reading_task_group ON reading_task (group_row) WHERE state <> 'signed';

-- +goose Down
DROP INDEX report_version_signer, report_version_order, report_draft_author, reading_task_group;
