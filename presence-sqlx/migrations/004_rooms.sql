-- Rooms: who has them, what was said in them, who was there, and what their administrators did.

-- The counters and `alive_at` are those of the last batch. A batch is written only under the epoch of the lease, which
-- rises each time the room is opened.
CREATE TABLE rooms (
    id              VARCHAR(128) COLLATE "C" NOT NULL PRIMARY KEY,
    name            VARCHAR(128) COLLATE "C" NOT NULL,
    created_at      BIGINT                   NOT NULL,
    closed_at       BIGINT,
    current_users   BIGINT                   NOT NULL DEFAULT 0,
    peak_users      BIGINT                   NOT NULL DEFAULT 0,
    total_joins     BIGINT                   NOT NULL DEFAULT 0,
    last_seq        BIGINT                   NOT NULL DEFAULT 0,
    last_action     BIGINT                   NOT NULL,
    last_message_at BIGINT,
    alive_at        BIGINT                   NOT NULL,
    lease_node      TEXT         COLLATE "C" NOT NULL DEFAULT '',
    lease_epoch     BIGINT                   NOT NULL DEFAULT 0,
    lease_until     BIGINT                   NOT NULL DEFAULT 0
);

CREATE INDEX rooms_open ON rooms (id) WHERE closed_at IS NULL;
CREATE INDEX rooms_occupied ON rooms (lease_until, id) WHERE closed_at IS NULL AND current_users > 0;
CREATE INDEX rooms_closed ON rooms (closed_at, id) WHERE closed_at IS NOT NULL;

-- What a user may do in a room, or may not: `admin`, `banned`, `muted`.
CREATE TABLE room_roles (
    room_id VARCHAR(128) COLLATE "C" NOT NULL,
    role    VARCHAR(16)  COLLATE "C" NOT NULL,
    user_id VARCHAR(128) COLLATE "C" NOT NULL,
    at      BIGINT                   NOT NULL,
    PRIMARY KEY (room_id, role, user_id)
);

CREATE INDEX room_roles_user ON room_roles (user_id, room_id, role);

CREATE TABLE chat_history (
    room_id    VARCHAR(128) COLLATE "C" NOT NULL,
    seq        BIGINT                   NOT NULL,
    epoch      BIGINT                   NOT NULL,
    user_id    VARCHAR(128) COLLATE "C" NOT NULL,
    nickname   VARCHAR(64)  COLLATE "C" NOT NULL,
    is_admin   BOOLEAN                  NOT NULL,
    created_at BIGINT                   NOT NULL,
    content    TEXT         COLLATE "C" NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE INDEX chat_history_time ON chat_history (room_id, created_at, seq);
CREATE INDEX chat_history_user ON chat_history (user_id, room_id, seq);
CREATE INDEX chat_history_age ON chat_history (created_at);

-- `leave_time` is NULL while somebody is there, and where nobody has ended the session yet.
CREATE TABLE room_sessions (
    room_id    VARCHAR(128) COLLATE "C" NOT NULL,
    number     BIGINT                   NOT NULL,
    user_id    VARCHAR(128) COLLATE "C" NOT NULL,
    nickname   VARCHAR(64)  COLLATE "C" NOT NULL,
    join_time  BIGINT                   NOT NULL,
    leave_time BIGINT,
    PRIMARY KEY (room_id, number)
);

CREATE INDEX room_sessions_time ON room_sessions (room_id, join_time, number) WHERE leave_time IS NOT NULL;
CREATE INDEX room_sessions_unfinished ON room_sessions (room_id, number) WHERE leave_time IS NULL;
CREATE INDEX room_sessions_user ON room_sessions (user_id, room_id, number);
CREATE INDEX room_sessions_age ON room_sessions (leave_time) WHERE leave_time IS NOT NULL;

-- `actor_id` is NULL for operators, who have no name, and for users who were erased; so is `target_id`.
CREATE TABLE admin_actions (
    room_id   VARCHAR(128) COLLATE "C" NOT NULL,
    number    BIGINT                   NOT NULL,
    actor_id  VARCHAR(128) COLLATE "C",
    action    VARCHAR(16)  COLLATE "C" NOT NULL,
    target_id VARCHAR(128) COLLATE "C",
    at        BIGINT                   NOT NULL,
    PRIMARY KEY (room_id, number)
);

CREATE INDEX admin_actions_actor ON admin_actions (actor_id, room_id, number) WHERE actor_id IS NOT NULL;
CREATE INDEX admin_actions_target ON admin_actions (target_id, room_id, number) WHERE target_id IS NOT NULL;
CREATE INDEX admin_actions_age ON admin_actions (at);
