-- An index on an instant that every heartbeat moves hears of every heartbeat, and with it all other indexes of the table
-- do: that is more than half of what a heartbeat costs. These hear of the first in a minute; the others stay in the page of
-- their row (HOT updates), for which there is room.

ALTER TABLE user_sessions SET (fillfactor = 60);
ALTER TABLE user_sessions ADD COLUMN heartbeat_minute BIGINT GENERATED ALWAYS AS (last_heartbeat / 60000) STORED;
DROP INDEX user_sessions_live;
CREATE INDEX user_sessions_live ON user_sessions (heartbeat_minute, user_id) WHERE current_state <> 'Offline';

-- -1 for an install that belongs to a user, or has left, as `last_seen`.
ALTER TABLE online_members SET (fillfactor = 60);
ALTER TABLE online_members
    ADD COLUMN seen_minute BIGINT GENERATED ALWAYS AS (CASE WHEN last_seen < 0 THEN -1 ELSE last_seen / 60000 END) STORED;
DROP INDEX online_members_seen;
CREATE INDEX online_members_seen ON online_members (seen_minute, bound);
