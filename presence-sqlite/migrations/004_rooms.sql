-- Rooms: who has them, what was said in them, who was there, and what their administrators did.

-- The counters and `alive_at` are those of the last batch. A batch is written only under the epoch of the lease, which
-- rises each time the room is opened.
CREATE TABLE rooms (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    closed_at       INTEGER,
    current_users   INTEGER NOT NULL DEFAULT 0,
    peak_users      INTEGER NOT NULL DEFAULT 0,
    total_joins     INTEGER NOT NULL DEFAULT 0,
    last_seq        INTEGER NOT NULL DEFAULT 0,
    last_action     INTEGER NOT NULL,
    last_message_at INTEGER,
    alive_at        INTEGER NOT NULL,
    lease_node      TEXT    NOT NULL DEFAULT '',
    lease_epoch     INTEGER NOT NULL DEFAULT 0,
    lease_until     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX rooms_open ON rooms (id) WHERE closed_at IS NULL;
CREATE INDEX rooms_occupied ON rooms (lease_until) WHERE closed_at IS NULL AND current_users > 0;
CREATE INDEX rooms_closed ON rooms (closed_at) WHERE closed_at IS NOT NULL;

-- What a user may do in a room, or may not: `admin`, `banned`, `muted`.
CREATE TABLE room_roles (
    room_id TEXT    NOT NULL,
    role    TEXT    NOT NULL,
    user_id TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (room_id, role, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_roles_user ON room_roles (user_id, room_id, role);

-- `content` stands last: what lies before it is read without following its overflow pages.
CREATE TABLE chat_history (
    room_id    TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    user_id    TEXT    NOT NULL,
    nickname   TEXT    NOT NULL,
    is_admin   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    content    TEXT    NOT NULL,
    PRIMARY KEY (room_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX chat_history_time ON chat_history (room_id, created_at, seq);
CREATE INDEX chat_history_user ON chat_history (user_id, room_id, seq);
CREATE INDEX chat_history_age ON chat_history (created_at);

-- `leave_time` is NULL while somebody is there, and where nobody has ended the session yet.
CREATE TABLE room_sessions (
    room_id    TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    user_id    TEXT    NOT NULL,
    nickname   TEXT    NOT NULL,
    join_time  INTEGER NOT NULL,
    leave_time INTEGER,
    PRIMARY KEY (room_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_sessions_time ON room_sessions (room_id, join_time, number, leave_time) WHERE leave_time IS NOT NULL;
CREATE INDEX room_sessions_unfinished ON room_sessions (room_id, number) WHERE leave_time IS NULL;
CREATE INDEX room_sessions_user ON room_sessions (user_id, room_id, number);
CREATE INDEX room_sessions_age ON room_sessions (leave_time) WHERE leave_time IS NOT NULL;

-- `actor_id` is NULL for operators, who have no name, and for users who were erased; so is `target_id`.
CREATE TABLE admin_actions (
    room_id   TEXT    NOT NULL,
    number    INTEGER NOT NULL,
    actor_id  TEXT,
    action    TEXT    NOT NULL,
    target_id TEXT,
    at        INTEGER NOT NULL,
    PRIMARY KEY (room_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX admin_actions_actor ON admin_actions (actor_id, room_id, number) WHERE actor_id IS NOT NULL;
CREATE INDEX admin_actions_target ON admin_actions (target_id, room_id, number) WHERE target_id IS NOT NULL;
CREATE INDEX admin_actions_age ON admin_actions (at);
