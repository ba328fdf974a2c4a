-- Timelines, what is known of their users, and who is online.
--
-- Instants are whole milliseconds since 1970-01-01T00:00:00Z. Text is compared byte by byte, whatever the locale of the
-- database. No statement reads a clock: every instant comes from the caller.

-- One row: the key under which erased users are remembered. A random UUID has 122 random bits.
CREATE TABLE store_meta (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    erasure_key BYTEA   NOT NULL
);

INSERT INTO store_meta (id, erasure_key)
    VALUES (1, sha256((gen_random_uuid()::text || gen_random_uuid()::text)::bytea));

-- Sequences never give a number twice, not even after a rollback or an erasure.
CREATE SEQUENCE store_version;
CREATE SEQUENCE checkpoint_id;

-- `content` is JSON, not JSONB, which writes numbers anew (1e300 as 301 digits, -0.0 as 0.0) and orders keys by length:
-- what a client sent would come back as something else. `content::jsonb` is one cast away in a query.
CREATE TABLE checkpoints (
    id        BIGINT                   NOT NULL PRIMARY KEY,
    user_id   VARCHAR(128) COLLATE "C" NOT NULL,
    state     VARCHAR(64)  COLLATE "C" NOT NULL,
    timestamp BIGINT                   NOT NULL,
    source    VARCHAR(16)  COLLATE "C" NOT NULL,
    proof_at  BIGINT,
    content   JSON
);

CREATE UNIQUE INDEX checkpoints_timeline ON checkpoints (user_id, timestamp, id);
-- One silence has one timeout.
CREATE UNIQUE INDEX checkpoints_lapse ON checkpoints (user_id, proof_at) WHERE source = 'timeout';

CREATE TABLE user_sessions (
    user_id           VARCHAR(128) COLLATE "C" NOT NULL PRIMARY KEY,
    current_state     VARCHAR(64)  COLLATE "C" NOT NULL,
    live_since        BIGINT                   NOT NULL,
    last_heartbeat    BIGINT                   NOT NULL,
    last_state_change BIGINT                   NOT NULL,
    version           BIGINT                   NOT NULL
);

CREATE INDEX user_sessions_live ON user_sessions (last_heartbeat, user_id) WHERE current_state <> 'Offline';

-- Closed time: all before the session's last_state_change.
CREATE TABLE state_totals (
    user_id     VARCHAR(128) COLLATE "C" NOT NULL,
    state       VARCHAR(64)  COLLATE "C" NOT NULL,
    duration_ms BIGINT                   NOT NULL,
    PRIMARY KEY (user_id, state)
);

CREATE TABLE requests (
    user_id       VARCHAR(128) COLLATE "C" NOT NULL,
    event_id      VARCHAR(128) COLLATE "C" NOT NULL,
    fingerprint   BYTEA                    NOT NULL,
    checkpoint_id BIGINT                   NOT NULL,
    created       BOOLEAN                  NOT NULL,
    PRIMARY KEY (user_id, event_id)
);

-- HMAC-SHA256 of the user id under store_meta.erasure_key.
CREATE TABLE erased_users (
    user_hash BYTEA  NOT NULL PRIMARY KEY,
    at        BIGINT NOT NULL
);

-- `last_seen` is -1 for an install that belongs to a user, or has left; `bound` is when a user replaced it last, and
-- negative for never: see live_set.rs for what it says then.
CREATE TABLE online_members (
    member    VARCHAR(130) COLLATE "C" NOT NULL PRIMARY KEY,
    last_seen BIGINT                   NOT NULL,
    bound     BIGINT                   NOT NULL
);

CREATE INDEX online_members_seen ON online_members (last_seen, bound);

-- An audit of the totals that shares nothing with how they are kept: what every commit added up, beside what the rows
-- say. Whoever is not equal is damaged.
CREATE VIEW state_totals_audit AS
SELECT user_id, state, coalesce(stored.duration_ms, 0) AS stored_ms, coalesce(counted.duration_ms, 0) AS counted_ms
FROM (
    SELECT c.user_id, c.state, sum(least(c.until, s.last_state_change) - c.timestamp)::bigint AS duration_ms
    FROM (
        SELECT user_id, state, timestamp,
               lead(timestamp) OVER (PARTITION BY user_id ORDER BY timestamp, id) AS until
        FROM checkpoints
    ) c
    JOIN user_sessions s USING (user_id)
    WHERE c.timestamp < s.last_state_change
    GROUP BY c.user_id, c.state
) counted
FULL JOIN state_totals stored USING (user_id, state);
