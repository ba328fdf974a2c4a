-- What waits has the key that its order belongs to, so that what is held back for one key need not be passed over to find
-- the others. `-` is none.

ALTER TABLE outbox ADD COLUMN key TEXT NOT NULL DEFAULT '-';
ALTER TABLE dead_letters ADD COLUMN key TEXT NOT NULL DEFAULT '-';

UPDATE outbox SET key = coalesce(
    'r:' || (body ->> 'room'), 'd:' || (body ->> 'day'), 'u:' || (body ->> 'user'), 'i:' || (body ->> 'install'), '-');
UPDATE dead_letters SET key = coalesce(
    'r:' || (body ->> 'room'), 'd:' || (body ->> 'day'), 'u:' || (body ->> 'user'), 'i:' || (body ->> 'install'), '-');

CREATE INDEX outbox_keys ON outbox (sink, key);
