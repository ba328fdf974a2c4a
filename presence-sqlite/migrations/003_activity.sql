-- Who was active: the event log, the facts that counted events leave, the figures folded from them, and the online
-- count minute by minute.

-- Everything that clients reported. An event id belongs to a person: to the user, or to the install where there is
-- none. `event_time` is when it happened, `created_at` when it arrived.
CREATE TABLE analytics_event_log (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id    TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    user_id     TEXT,
    install_id  TEXT    NOT NULL,
    event_name  TEXT    NOT NULL,
    event_time  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    properties  TEXT
) STRICT;

CREATE UNIQUE INDEX event_log_user ON analytics_event_log (user_id, event_id) WHERE user_id IS NOT NULL;
CREATE UNIQUE INDEX event_log_install ON analytics_event_log (install_id, event_id) WHERE user_id IS NULL;
CREATE INDEX idx_event_log_event_time ON analytics_event_log (event_time);
-- For those who ask the log themselves; an index on the name alone would be its head.
CREATE INDEX idx_event_log_event_name_time ON analytics_event_log (event_name, event_time);

-- Somebody was active on a local day. `user_id` is empty where nobody was known. The user stands here in plain text, as
-- in the event log beside it: a hash whose key lies in the same file would hide it from nobody. Figures name nobody.
-- A rank tells which of two events of one instant counts: 16 bytes, compared as such.
CREATE TABLE daily_sightings (
    day           TEXT NOT NULL,
    install_id    TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    province      TEXT,
    province_at   INTEGER,
    province_rank BLOB,
    city          TEXT,
    city_at       INTEGER,
    city_rank     BLOB,
    PRIMARY KEY (day, install_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX daily_sightings_user ON daily_sightings (user_id, day, install_id) WHERE user_id <> '';

-- How often the sightings of a day were changed, and how many of these changes are in its figures. A day that has
-- either has a row.
CREATE TABLE activity_days (
    day     TEXT    NOT NULL PRIMARY KEY,
    changes INTEGER NOT NULL,
    folded  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX activity_days_stale ON activity_days (day) WHERE changes > folded;

CREATE TABLE analytics_daily_active_users (
    day             TEXT    NOT NULL PRIMARY KEY,
    dau_count       INTEGER NOT NULL,
    dau_by_province TEXT    NOT NULL,
    dau_by_city     TEXT    NOT NULL,
    calculated_at   INTEGER NOT NULL,
    version         INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

-- `ts` is the minute. Its unique index serves every question.
CREATE TABLE analytics_online_snapshots (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    ts             INTEGER NOT NULL UNIQUE,
    online_count   INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL DEFAULT 180
) STRICT;

-- The first day whose events are all there; NULL where none were ever retired.
ALTER TABLE store_meta ADD COLUMN kept_from TEXT;
