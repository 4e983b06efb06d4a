-- Times are milliseconds since 1970 in UTC. The same statements serve SQLite and PostgreSQL.

-- What must be done, once: an occurrence of a schedule, a time of a backfill. Its id is the run key.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    pipeline TEXT NOT NULL,
    schedule TEXT NOT NULL,
    file TEXT NOT NULL,
    cause TEXT NOT NULL,
    logical_time BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    priority BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    queued_at BIGINT NOT NULL,
    finished_at BIGINT,
    attempt BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    run TEXT,
    worker TEXT,
    lease_until BIGINT,
    cancel TEXT,
    settings TEXT NOT NULL
);
CREATE INDEX jobs_in_turn ON jobs (state, priority DESC, due_at, id);
CREATE INDEX jobs_of_schedule ON jobs (pipeline, schedule, logical_time);
CREATE INDEX jobs_finished ON jobs (pipeline, finished_at);

-- An attempt at a job, or a run that a person started.
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    job TEXT,
    attempt BIGINT NOT NULL,
    pipeline TEXT NOT NULL,
    file TEXT NOT NULL,
    cause TEXT NOT NULL,
    schedule TEXT,
    logical_time BIGINT,
    run_key TEXT,
    state TEXT NOT NULL,
    reason TEXT,
    host TEXT NOT NULL,
    worker TEXT,
    process BIGINT,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    exit_code BIGINT,
    seed BIGINT,
    params TEXT NOT NULL,
    sources TEXT NOT NULL,
    bundle TEXT,
    report TEXT
);
CREATE INDEX runs_by_time ON runs (started_at DESC, id DESC);
CREATE INDEX runs_of_pipeline ON runs (pipeline, started_at DESC, id DESC);
CREATE INDEX runs_of_job ON runs (job);
CREATE INDEX runs_of_state ON runs (state, started_at DESC, id DESC);
-- At most one success a job, whoever claims it.
CREATE UNIQUE INDEX one_success_a_job ON runs (job) WHERE state = 'succeeded';

CREATE TABLE run_stages (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    stage TEXT NOT NULL,
    kind TEXT NOT NULL,
    outcome TEXT NOT NULL,
    rows_in BIGINT,
    rows_out BIGINT,
    rows_dropped BIGINT,
    seconds DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run, position)
);

CREATE TABLE run_metrics (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    stage TEXT NOT NULL,
    part TEXT NOT NULL,
    name TEXT NOT NULL,
    value DOUBLE PRECISION,
    PRIMARY KEY (run, position)
);

CREATE TABLE run_artifacts (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    stage TEXT NOT NULL,
    what TEXT NOT NULL,
    place TEXT NOT NULL,
    PRIMARY KEY (run, position)
);

CREATE TABLE run_logs (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    line BIGINT NOT NULL,
    at BIGINT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, line)
);

-- Whom to tell what; a notice goes when it was delivered.
CREATE TABLE notices (
    id TEXT PRIMARY KEY,
    job TEXT NOT NULL,
    target TEXT NOT NULL,
    body TEXT NOT NULL,
    due_at BIGINT NOT NULL,
    attempt BIGINT NOT NULL
);
CREATE INDEX notices_due ON notices (due_at);

-- What the scheduler knows of each schedule: occurrences up to `decided_until` are queued, skipped or missed.
CREATE TABLE schedules (
    pipeline TEXT NOT NULL,
    schedule TEXT NOT NULL,
    file TEXT NOT NULL,
    definition TEXT NOT NULL,
    decided_until BIGINT NOT NULL,
    next_at BIGINT,
    paused BIGINT NOT NULL,
    PRIMARY KEY (pipeline, schedule)
);

CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    process BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    capacity TEXT NOT NULL,
    draining BIGINT NOT NULL
);

-- The model registry: versions of a name, and names for versions.
CREATE TABLE models (
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    bundle TEXT NOT NULL,
    place TEXT NOT NULL,
    run TEXT,
    registered_at BIGINT NOT NULL,
    metrics TEXT NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE UNIQUE INDEX models_by_bundle ON models (name, bundle);

CREATE TABLE model_aliases (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version BIGINT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (name, alias)
);

-- Every change of an alias, for rollback.
CREATE TABLE model_alias_changes (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    number BIGINT NOT NULL,
    version BIGINT NOT NULL,
    at BIGINT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (name, alias, number)
);
