-- What waits for sinks, and what became of what waited before.

-- Numbers of one user, room or day rise with the order of its commits: each is taken while its row is locked.
CREATE SEQUENCE outbox_number;

-- The number of the last batch under the lease: what is written again is known by it.
ALTER TABLE rooms ADD COLUMN last_batch BIGINT NOT NULL DEFAULT 0;

CREATE TABLE outbox (
    sink   VARCHAR(32) COLLATE "C" NOT NULL,
    number BIGINT                  NOT NULL,
    at     BIGINT                  NOT NULL,
    body   TEXT        COLLATE "C" NOT NULL,
    PRIMARY KEY (sink, number)
);

CREATE INDEX outbox_age ON outbox (at);

CREATE TABLE dead_letters (
    sink   VARCHAR(32) COLLATE "C" NOT NULL,
    number BIGINT                  NOT NULL,
    at     BIGINT                  NOT NULL,
    reason TEXT        COLLATE "C" NOT NULL,
    body   TEXT        COLLATE "C" NOT NULL,
    PRIMARY KEY (sink, number)
);

CREATE INDEX dead_letters_age ON dead_letters (at);

-- Who delivers to a sink until when, and how many letters came to which end.
CREATE TABLE outbox_sinks (
    sink          VARCHAR(32) COLLATE "C" NOT NULL PRIMARY KEY,
    node          TEXT        COLLATE "C" NOT NULL DEFAULT '',
    claimed_until BIGINT                  NOT NULL DEFAULT 0,
    delivered     BIGINT                  NOT NULL DEFAULT 0,
    expired       BIGINT                  NOT NULL DEFAULT 0,
    erased        BIGINT                  NOT NULL DEFAULT 0
);

-- For those who keep a copy of what happened in rooms: how many stays have ended, in which order, and up to which
-- message and which end the copy has everything.
ALTER TABLE rooms ADD COLUMN last_end BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN messages_copied BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN sessions_copied BIGINT NOT NULL DEFAULT 0;
ALTER TABLE room_sessions ADD COLUMN end_number BIGINT;

UPDATE room_sessions v SET end_number = ends.place FROM (
    SELECT room_id, number, row_number() OVER (PARTITION BY room_id ORDER BY leave_time, number) AS place
    FROM room_sessions WHERE leave_time IS NOT NULL
) ends WHERE v.room_id = ends.room_id AND v.number = ends.number;
UPDATE rooms r SET last_end = ends.last
FROM (SELECT room_id, max(end_number) AS last FROM room_sessions GROUP BY room_id) ends
WHERE r.id = ends.room_id AND ends.last IS NOT NULL;

CREATE UNIQUE INDEX room_sessions_end ON room_sessions (room_id, end_number) WHERE end_number IS NOT NULL;
CREATE INDEX rooms_messages_behind ON rooms (id) WHERE messages_copied < last_seq;
CREATE INDEX rooms_sessions_behind ON rooms (id) WHERE sessions_copied < last_end;
