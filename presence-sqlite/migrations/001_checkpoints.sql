-- Timelines, what is known of their users, and who is online.
--
-- Instants are whole milliseconds since 1970-01-01T00:00:00Z. Text is compared byte by byte. No statement reads a
-- clock: every instant comes from the caller.

-- One row: the counters behind versions and ids, and the key under which erased users are remembered.
CREATE TABLE store_meta (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    version       INTEGER NOT NULL,
    checkpoint_id INTEGER NOT NULL,
    erasure_key   BLOB    NOT NULL
) STRICT;

INSERT INTO store_meta (id, version, checkpoint_id, erasure_key) VALUES (1, 0, 0, randomblob(32));

-- The rows of a user lie side by side in the order of time, so that a load, a page of history and a sum over a window
-- read neighbours. `content` stands last: what lies before it is read without following its overflow pages.
CREATE TABLE checkpoints (
    user_id   TEXT    NOT NULL,
    timestamp INTEGER NOT NULL,
    id        INTEGER NOT NULL,
    state     TEXT    NOT NULL,
    source    TEXT    NOT NULL,
    proof_at  INTEGER,
    content   TEXT,
    PRIMARY KEY (user_id, timestamp, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX checkpoints_id ON checkpoints (id);
-- One silence has one timeout.
CREATE UNIQUE INDEX checkpoints_lapse ON checkpoints (user_id, proof_at) WHERE source = 'timeout';

CREATE TABLE user_sessions (
    user_id           TEXT    NOT NULL PRIMARY KEY,
    current_state     TEXT    NOT NULL,
    live_since        INTEGER NOT NULL,
    last_heartbeat    INTEGER NOT NULL,
    last_state_change INTEGER NOT NULL,
    version           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX user_sessions_live ON user_sessions (last_heartbeat, user_id) WHERE current_state <> 'Offline';

-- Closed time: all before the session's last_state_change.
CREATE TABLE state_totals (
    user_id     TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    duration_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
    user_id       TEXT    NOT NULL,
    event_id      TEXT    NOT NULL,
    fingerprint   BLOB    NOT NULL,
    checkpoint_id INTEGER NOT NULL,
    created       INTEGER NOT NULL,
    PRIMARY KEY (user_id, event_id)
) STRICT, WITHOUT ROWID;

-- HMAC-SHA256 of the user id under store_meta.erasure_key.
CREATE TABLE erased_users (
    user_hash BLOB    NOT NULL PRIMARY KEY,
    at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `last_seen` is -1 for an install that belongs to a user, or has left; `bound` is when a user replaced it last, -1
-- for never.
CREATE TABLE online_members (
    member    TEXT    NOT NULL PRIMARY KEY,
    last_seen INTEGER NOT NULL,
    bound     INTEGER NOT NULL DEFAULT -1
) STRICT, WITHOUT ROWID;

CREATE INDEX online_members_seen ON online_members (last_seen, bound);
