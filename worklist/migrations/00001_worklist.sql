-- +goose Up

CREATE TABLE reading_group (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> '')
);

CREATE TABLE reading_group_member (
    group_row bigint NOT NULL REFERENCES reading_group ON DELETE CASCADE,
    user_row  bigint NOT NULL REFERENCES user_account ON DELETE CASCADE,
    PRIMARY KEY (group_row, user_row)
);
CREATE INDEX reading_group_member_user ON reading_group_member (user_row);

CREATE TABLE routing_rule (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position         int NOT NULL,
    name             text NOT NULL CHECK (name <> ''),
    condition        text NOT NULL DEFAULT '',   -- CEL; empty: always
    group_row        bigint NOT NULL REFERENCES reading_group,
    priority         text NOT NULL CHECK (priority IN ('stat', 'urgent', 'routine')),
    deadline_minutes int NOT NULL CHECK (deadline_minutes BETWEEN 1 AND 525600),
    active           boolean NOT NULL DEFAULT true
);
CREATE INDEX routing_rule_order ON routing_rule (position, id);

-- One task per study. The rule's name is kept as it was, so that "why is this
-- here" has an answer after the rule has changed.
CREATE TABLE reading_task (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    study_row    bigint NOT NULL UNIQUE REFERENCES study,
    facility_row bigint NOT NULL REFERENCES facility,
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'claimed', 'signed')),
    priority     text NOT NULL CHECK (priority IN ('stat', 'urgent', 'routine')),
    rank         int NOT NULL GENERATED ALWAYS AS (CASE priority WHEN 'stat' THEN 0 WHEN 'urgent' THEN 1 ELSE 2 END) STORED,
    deadline     timestamptz NOT NULL,
    group_row    bigint REFERENCES reading_group ON DELETE SET NULL,
    rule_row     bigint REFERENCES routing_rule ON DELETE SET NULL,
    rule_name    text NOT NULL DEFAULT '',
    claimed_by   bigint REFERENCES user_account,
    claimed_at   timestamptz,
    signed_by    bigint REFERENCES user_account,
    signed_at    timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'claimed') = (claimed_by IS NOT NULL AND state <> 'signed') OR state = 'signed'),
    CHECK (state <> 'open' OR claimed_by IS NULL)
);
CREATE INDEX reading_task_open ON reading_task (rank, deadline, id) WHERE state <> 'signed';
CREATE INDEX reading_task_claimed ON reading_task (claimed_by) WHERE state = 'claimed';
CREATE INDEX reading_task_signed ON reading_task (signed_by, signed_at) WHERE state = 'signed';

-- One report per task; its id is the report's identity on the national
-- platform through all versions.
CREATE TABLE report (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    task_id    uuid NOT NULL UNIQUE REFERENCES reading_task,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE report_draft (
    report_id uuid PRIMARY KEY REFERENCES report,
    author    bigint NOT NULL REFERENCES user_account,
    kind      text NOT NULL CHECK (kind IN ('final', 'correction', 'addendum')),
    language  text NOT NULL CHECK (language IN ('uz-Latn', 'uz-Cyrl', 'ru', 'en')),
    sections  jsonb NOT NULL,
    revision  int NOT NULL,
    saved_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE report_version (
    report_id uuid NOT NULL REFERENCES report,
    version   int NOT NULL CHECK (version >= 1),
    kind      text NOT NULL CHECK (kind IN ('final', 'correction', 'addendum')),
    language  text NOT NULL CHECK (language IN ('uz-Latn', 'uz-Cyrl', 'ru', 'en')),
    sections  jsonb NOT NULL,
    signer    bigint NOT NULL REFERENCES user_account,
    signed_by text NOT NULL,          -- the signer's name as it was
    signed_at timestamptz NOT NULL,
    pdf       bytea NOT NULL,
    PRIMARY KEY (report_id, version)
);

-- +goose StatementBegin
CREATE FUNCTION report_version_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a signed report never changes; sign a correction or an addendum';
END $$;
-- +goose StatementEnd
CREATE TRIGGER report_version_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON report_version
    FOR EACH STATEMENT EXECUTE FUNCTION report_version_is_final();

-- What has become of each signed version on its way to the platform.
CREATE TABLE report_delivery (
    report_id       uuid NOT NULL,
    version         int NOT NULL,
    state           text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'retrying', 'delivered', 'failed')),
    attempts        int NOT NULL DEFAULT 0,
    last_error      text NOT NULL DEFAULT '',
    next_attempt_at timestamptz,
    delivered_at    timestamptz,
    receipt         jsonb,            -- fhir.Receipt
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (report_id, version),
    FOREIGN KEY (report_id, version) REFERENCES report_version
);
CREATE INDEX report_delivery_state ON report_delivery (state);

-- +goose Down
DROP TABLE report_delivery, report_version, report_draft, report, reading_task, routing_rule, reading_group_member, reading_group;
DROP FUNCTION report_version_is_final;
