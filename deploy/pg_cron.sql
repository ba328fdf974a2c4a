-- Wakes the servers every minute, so that they conclude the silences that are due. Optional: they also do so by
-- themselves, every DETECT_OFFLINE_INTERVAL_SECS, and any number of them may at once.
--
-- Once, by a superuser, in the database that pg_cron runs in (cron.database_name, `postgres` unless it was changed):
--
--     CREATE EXTENSION pg_cron;
--     \set store 'presence'
--     \i pg_cron.sql
--
-- `store` is the database that DATABASE_URL names. Its status is in cron.job and cron.job_run_details;
-- SELECT cron.unschedule('detect-offline') ends it.

SELECT cron.schedule_in_database('detect-offline', '* * * * *', 'NOTIFY presence_sweep', :'store');
