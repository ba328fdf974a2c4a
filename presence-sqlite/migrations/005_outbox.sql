-- What waits for sinks, and what became of what waited before.

-- The number of the last event that was kept.
ALTER TABLE store_meta ADD COLUMN outbox_number INTEGER NOT NULL DEFAULT 0;

-- The number of the last batch under the lease: what is written again is known by it.
ALTER TABLE rooms ADD COLUMN last_batch INTEGER NOT NULL DEFAULT 0;

-- `body` stands last: what lies before it is read without following its overflow pages.
CREATE TABLE outbox (
    sink   TEXT    NOT NULL,
    number INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    body   TEXT    NOT NULL,
    PRIMARY KEY (sink, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_age ON outbox (sink, at);

CREATE TABLE dead_letters (
    sink   TEXT    NOT NULL,
    number INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    reason TEXT    NOT NULL,
    body   TEXT    NOT NULL,
    PRIMARY KEY (sink, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letters_age ON dead_letters (sink, at);

-- Who delivers to a sink until when, and how many letters came to which end.
CREATE TABLE outbox_sinks (
    sink          TEXT    NOT NULL PRIMARY KEY,
    node          TEXT    NOT NULL DEFAULT '',
    claimed_until INTEGER NOT NULL DEFAULT 0,
    delivered     INTEGER NOT NULL DEFAULT 0,
    expired       INTEGER NOT NULL DEFAULT 0,
    erased        INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- For those who keep a copy of what happened in rooms: how many stays have ended, in which order, and up to which
-- message and which end the copy has everything.
ALTER TABLE rooms ADD COLUMN last_end INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN messages_copied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN sessions_copied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE room_sessions ADD COLUMN end_number INTEGER;

UPDATE room_sessions SET end_number = (
    SELECT place FROM (
        SELECT number, row_number() OVER (ORDER BY leave_time, number) AS place
        FROM room_sessions s WHERE s.room_id = room_sessions.room_id AND s.leave_time IS NOT NULL
    ) ends WHERE ends.number = room_sessions.number
) WHERE leave_time IS NOT NULL;
UPDATE rooms SET last_end =
    coalesce((SELECT max(end_number) FROM room_sessions s WHERE s.room_id = rooms.id), 0);

CREATE UNIQUE INDEX room_sessions_end ON room_sessions (room_id, end_number) WHERE end_number IS NOT NULL;
CREATE INDEX rooms_messages_behind ON rooms (id) WHERE messages_copied < last_seq;
CREATE INDEX rooms_sessions_behind ON rooms (id) WHERE sessions_copied < last_end;
