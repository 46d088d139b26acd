-- +goose Up

-- The completion up to which the study's packs are merged: what is behind is
-- found without a look at every study.
ALTER TABLE study ADD COLUMN merged int NOT NULL DEFAULT 0;
CREATE INDEX study_unmerged ON study (completed_at) WHERE merged < completions AND completed_at IS NOT NULL;

-- +goose Down
ALTER TABLE study DROP COLUMN merged;
