-- A cache: the time in each state on days that are over, and how far each user's days are summed up.
--
-- All of it follows from `checkpoints`. A commit deletes the days that it changes.

-- `duration_ms`, as in state_totals: seconds would lose what days add up to. `bucket_end` because a day is not always
-- 24 hours, and so that a day of other rules than today's is never taken for one of today's.
CREATE TABLE state_summaries (
    user_id      VARCHAR(128) COLLATE "C" NOT NULL,
    bucket_start BIGINT                   NOT NULL,
    state        VARCHAR(64)  COLLATE "C" NOT NULL,
    bucket_end   BIGINT                   NOT NULL,
    duration_ms  BIGINT                   NOT NULL,
    updated_at   BIGINT                   NOT NULL,
    PRIMARY KEY (user_id, bucket_start, state)
);

-- The zone is the one of the user's buckets. Folding goes on with the day of `resume_at`, once the session's
-- last_state_change has reached `due_at`; no bucket ends after `summarised_to`. A table of its own, so that neither a
-- heartbeat nor a new report writes it.
CREATE TABLE summary_marks (
    user_id       VARCHAR(128) COLLATE "C" NOT NULL PRIMARY KEY,
    zone          TEXT                     NOT NULL,
    summarised_to BIGINT                   NOT NULL,
    resume_at     BIGINT                   NOT NULL,
    due_at        BIGINT                   NOT NULL
);
