-- +goose Up

-- Claiming looks for the first item of each target, rule and priority: those of a
-- paused rule, and those that wait for the night, cost nothing.
CREATE INDEX forward_item_next ON forward_item (target_row, coalesce(rule_row, 0), priority, next_attempt_at, id) WHERE state IN ('waiting', 'scheduled', 'sending');
DROP INDEX forward_item_due;

-- +goose Down
CREATE INDEX forward_item_due ON forward_item (target_row, priority, next_attempt_at) WHERE state IN ('waiting', 'scheduled', 'sending');
DROP INDEX forward_item_next;
