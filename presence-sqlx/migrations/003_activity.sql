-- Who was active: the event log, the facts that counted events leave, the figures folded from them, and the online
-- count minute by minute.

CREATE SEQUENCE event_log_id;

-- Everything that clients reported. An event id belongs to a person: to the user, or to the install where there is
-- none. `event_time` is when it happened, `created_at` when it arrived. `properties` are JSON, not JSONB, as `content`.
CREATE TABLE analytics_event_log (
    id          BIGINT                   NOT NULL PRIMARY KEY,
    event_id    VARCHAR(128) COLLATE "C" NOT NULL,
    fingerprint BYTEA                    NOT NULL,
    user_id     VARCHAR(128) COLLATE "C",
    install_id  VARCHAR(64)  COLLATE "C" NOT NULL,
    event_name  VARCHAR(64)  COLLATE "C" NOT NULL,
    event_time  BIGINT                   NOT NULL,
    created_at  BIGINT                   NOT NULL,
    properties  JSON
);

CREATE UNIQUE INDEX event_log_user ON analytics_event_log (user_id, event_id) WHERE user_id IS NOT NULL;
CREATE UNIQUE INDEX event_log_install ON analytics_event_log (install_id, event_id) WHERE user_id IS NULL;
CREATE INDEX idx_event_log_event_time ON analytics_event_log (event_time, id);
-- For those who ask the log themselves; an index on the name alone would be its head.
CREATE INDEX idx_event_log_event_name_time ON analytics_event_log (event_name, event_time);

-- Somebody was active on a local day. `user_id` is empty where nobody was known. The user stands here in plain text, as
-- in the event log beside it: a hash whose key lies in the same database would hide it from nobody. Figures name nobody.
-- A rank tells which of two events of one instant counts: 16 bytes, compared as such.
CREATE TABLE daily_sightings (
    day           DATE                     NOT NULL,
    install_id    VARCHAR(64)  COLLATE "C" NOT NULL,
    user_id       VARCHAR(128) COLLATE "C" NOT NULL,
    province      VARCHAR(64)  COLLATE "C",
    province_at   BIGINT,
    province_rank BYTEA,
    city          VARCHAR(64)  COLLATE "C",
    city_at       BIGINT,
    city_rank     BYTEA,
    PRIMARY KEY (day, install_id, user_id)
);

CREATE INDEX daily_sightings_user ON daily_sightings (user_id, day, install_id) WHERE user_id <> '';

-- How often the sightings of a day were changed, and how many of these changes are in its figures. A day that has
-- either has a row.
CREATE TABLE activity_days (
    day     DATE   NOT NULL PRIMARY KEY,
    changes BIGINT NOT NULL,
    folded  BIGINT NOT NULL
);

CREATE INDEX activity_days_stale ON activity_days (day) WHERE changes > folded;

CREATE TABLE analytics_daily_active_users (
    day             DATE   NOT NULL PRIMARY KEY,
    dau_count       BIGINT NOT NULL,
    dau_by_province JSONB  NOT NULL,
    dau_by_city     JSONB  NOT NULL,
    calculated_at   BIGINT NOT NULL,
    version         BIGINT NOT NULL DEFAULT 1
);

-- `ts` is the minute. Its unique index serves every question.
CREATE TABLE analytics_online_snapshots (
    id             BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts             BIGINT  NOT NULL UNIQUE,
    online_count   BIGINT  NOT NULL,
    window_seconds INTEGER NOT NULL DEFAULT 180
);

-- The first day whose events are all there; NULL where none were ever retired.
ALTER TABLE store_meta ADD COLUMN kept_from DATE;
