-- What waits has the key that its order belongs to, so that what is held back for one key need not be passed over to find
-- the others. `-` is none.

ALTER TABLE outbox ADD COLUMN key TEXT COLLATE "C" NOT NULL DEFAULT '-';
ALTER TABLE dead_letters ADD COLUMN key TEXT COLLATE "C" NOT NULL DEFAULT '-';

UPDATE outbox SET key = coalesce('r:' || (body::json ->> 'room'), 'd:' || (body::json ->> 'day'),
    'u:' || (body::json ->> 'user'), 'i:' || (body::json ->> 'install'), '-');
UPDATE dead_letters SET key = coalesce('r:' || (body::json ->> 'room'), 'd:' || (body::json ->> 'day'),
    'u:' || (body::json ->> 'user'), 'i:' || (body::json ->> 'install'), '-');

CREATE INDEX outbox_keys ON outbox (sink, key, number);
