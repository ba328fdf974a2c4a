//! The one thread that writes: it commits whatever has gathered in one transaction, under one flush.
//!
//! ```text
//! queue     commit, load, commit, touch            load, erase
//! thread    load | BEGIN commit commit touch COMMIT | load | BEGIN erase COMMIT | vacuum
//! answers        ^ load                             ^ all three                          ^ erase
//! ```
//!
//! Reads go first: what they see is committed. A piece of work that fails takes the transaction back, and the others
//! run again, each in one of its own.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use futures_channel::oneshot;
use presence_core::{StoreError, Subscribed};
use rusqlite::{Connection, Row};

use crate::{
    OpenError, SqliteConfig, connection,
    eraser::Eraser,
    error::Fault,
    job::{After, Job, Write},
    lock::OwnerLock,
    migrate,
    queue::{IDLE, Queue},
    readers::{Readers, Reads},
    workload::Counts,
};

/// How many jobs may wait. Beyond it, tasks wait to put theirs in.
pub(crate) const WAITING: usize = 1024;
/// How many rows, about, a transaction holds before the next job waits for another one.
const GROUP: usize = 10_000;

const COUNTERS: &str = "SELECT version, checkpoint_id, outbox_number FROM store_meta WHERE id = 1";
const COUNT: &str = "UPDATE store_meta SET version = ?1, checkpoint_id = ?2, outbox_number = ?3 WHERE id = 1";

/// The last numbers that were given out. They only rise, also where a transaction was taken back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counters {
    pub(crate) version: i64,
    pub(crate) checkpoint_id: i64,
    pub(crate) outbox_number: i64,
}

/// The connection that writes, and what it keeps in memory.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) conn: Connection,
    pub(crate) counters: Counters,
    pub(crate) eraser: Eraser,
    pub(crate) wanted: Arc<Subscribed>,
    stored: Counters,
    config: SqliteConfig,
    lock: Option<OwnerLock>,
    counts: Arc<Counts>,
    /// Whether a write has failed, so that what the connection believes to be on disk may not be.
    is_suspect: bool,
}

impl Writer {
    fn open(config: SqliteConfig, counts: Arc<Counts>, wanted: Arc<Subscribed>) -> Result<Self, OpenError> {
        let lock = config.file().map(OwnerLock::acquire).transpose()?;
        if let Some(lock) = &lock {
            connection::inspect(lock.path())?;
        }
        let mut conn = connection::writer(lock.as_ref().map(OwnerLock::path), config.durability)?;
        migrate::migrate(&mut conn)?;
        // An erasure that was cut short may have left its log. It was not answered, so that this need not succeed: a
        // store opens on a full disk too.
        let _ = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let (stored, eraser) = (counters(&conn)?, Eraser::load(&conn)?);
        Ok(Self { conn, counters: stored, eraser, wanted, stored, config, lock, counts, is_suspect: false })
    }

    fn path(&self) -> Option<&Path> {
        self.lock.as_ref().map(OwnerLock::path)
    }

    /// Does what is asked until the queue is closed and empty.
    fn serve(&mut self, jobs: &Queue<Job>) {
        loop {
            let taken = jobs.take(WAITING, IDLE, || connection::release(&self.conn));
            if taken.is_empty() {
                return;
            }
            let mut writes = Vec::new();
            for job in taken {
                match job {
                    Job::Read(read) => self.read(read),
                    Job::Write(write) => writes.push(write),
                }
            }
            let (mut group, mut weight) = (Vec::new(), 0_usize);
            for write in writes {
                weight = weight.saturating_add(write.weight());
                if weight > GROUP && !group.is_empty() {
                    self.commit(std::mem::take(&mut group));
                    weight = write.weight();
                }
                group.push(write);
            }
            self.commit(group);
        }
    }

    fn read(&self, read: Box<dyn FnOnce(&Self) + Send>) {
        // A read that panics drops its promise, which is an answer too; it has changed nothing.
        let _ = catch_unwind(AssertUnwindSafe(|| read(self)));
    }

    /// Writes a group wholly, or each of its members by itself where one of them fails.
    fn commit(&mut self, mut group: Vec<Box<dyn Write>>) {
        let Err(error) = self.attempt(&mut group) else {
            return self.answer(group);
        };
        if group.len() == 1 || error.is_retryable() {
            group.into_iter().for_each(|write| write.answer(Err(error.clone())));
        } else {
            group.into_iter().for_each(|write| self.commit(vec![write]));
        }
    }

    fn attempt(&mut self, group: &mut [Box<dyn Write>]) -> Result<(), StoreError> {
        if group.is_empty() {
            return Ok(());
        }
        self.reopen()?;
        let written = self.transaction(group);
        let committed = written.map(|rows| self.counts.commit(group.len(), rows));
        committed.map_err(|fault| {
            if !self.conn.is_autocommit() {
                // It fails only where SQLite has rolled back by itself, or cannot: then the connection goes.
                self.is_suspect |= self.conn.execute_batch("ROLLBACK").is_err();
            }
            let error = StoreError::from(fault);
            self.is_suspect |= !matches!(error, StoreError::Backend(_));
            error
        })
    }

    /// Writes a group, and says how many rows that were.
    fn transaction(&mut self, group: &mut [Box<dyn Write>]) -> Result<u64, Fault> {
        let before = self.conn.total_changes();
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for write in group {
            let run = AssertUnwindSafe(|| write.run(self));
            catch_unwind(run).unwrap_or(Err(Fault::Call("the work panicked")))?;
        }
        let rows = self.conn.total_changes().saturating_sub(before);
        if self.counters != self.stored {
            let Counters { version, checkpoint_id, outbox_number } = self.counters;
            self.conn.prepare_cached(COUNT)?.execute([version, checkpoint_id, outbox_number])?;
        }
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        self.stored = self.counters;
        Ok(rows)
    }

    /// Answers a group that is committed; first whatever waits for nothing else.
    fn answer(&mut self, group: Vec<Box<dyn Write>>) {
        let (done, waiting): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|write| write.after() == After::Nothing);
        done.into_iter().for_each(|write| write.answer(Ok(())));
        if let Some(after) = waiting.iter().map(|write| write.after()).max() {
            let tidied = self.tidy(after).map_err(StoreError::from);
            self.is_suspect |= tidied.is_err();
            waiting.into_iter().for_each(|write| write.answer(tidied.clone()));
        }
    }

    fn tidy(&self, after: After) -> Result<(), Fault> {
        if after == After::Vacuum {
            // The copy may be as large as the file: not in memory.
            self.conn.execute_batch("PRAGMA temp_store = FILE")?;
            let vacuumed = self.conn.execute_batch("VACUUM");
            self.conn.execute_batch("PRAGMA temp_store = MEMORY")?;
            vacuumed?;
        }
        if after >= After::Checkpoint {
            let is_blocked: bool =
                self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if is_blocked {
                return Err(Fault::LogInUse);
            }
        }
        Ok(())
    }

    /// Opens the connection anew after a failure: what did not reach the disk is then read as what it is.
    fn reopen(&mut self) -> Result<(), Fault> {
        if self.is_suspect
            && let Some(path) = self.path()
        {
            let conn = connection::writer(Some(path), self.config.durability)?;
            let stored = counters(&conn)?;
            self.eraser = Eraser::load(&conn)?;
            self.conn = conn;
            self.stored = stored;
            self.counters = Counters {
                version: self.counters.version.max(stored.version),
                checkpoint_id: self.counters.checkpoint_id.max(stored.checkpoint_id),
                outbox_number: self.counters.outbox_number.max(stored.outbox_number),
            };
        }
        self.is_suspect = false;
        Ok(())
    }
}

fn counters(conn: &Connection) -> Result<Counters, Fault> {
    let counters = |row: &Row<'_>| {
        Ok(Counters { version: row.get(0)?, checkpoint_id: row.get(1)?, outbox_number: row.get(2)? })
    };
    Ok(conn.query_row(COUNTERS, [], counters)?)
}

/// The writer's thread: opens the store, says so, and works until the queue is closed and empty. At its end nothing of
/// the store is open.
pub(crate) fn run(
    config: SqliteConfig,
    jobs: &Queue<Job>,
    counts: Arc<Counts>,
    wanted: Arc<Subscribed>,
    opened: oneshot::Sender<Result<Option<Reads>, OpenError>>,
) {
    let _last = Abandon(jobs);
    let open = || {
        let writer = Writer::open(config, counts, wanted)?;
        let open = |path| Readers::open(path, writer.config.readers, &writer.counts);
        let readers = writer.path().map(open).transpose()?;
        Ok((writer, readers.flatten()))
    };
    match open() {
        Ok((mut writer, readers)) => {
            let _ = opened.send(Ok(readers.as_ref().map(Readers::queue)));
            writer.serve(jobs);
            // The last connection to close moves the log into the file: that must be the one that can write.
            drop(readers);
        }
        Err(error) => drop(opened.send(Err(error))),
    }
}

/// However the thread ends, nobody waits for it any more.
struct Abandon<'a>(&'a Queue<Job>);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::pending;

    const SEE: &str = "INSERT INTO online_members (member, last_seen) VALUES (?1, 1)";

    fn open(path: &Path) -> Writer {
        Writer::open(SqliteConfig::new(path), Arc::default(), Arc::default()).unwrap()
    }

    fn write(job: Job) -> Box<dyn Write> {
        let Job::Write(write) = job else { unreachable!() };
        write
    }

    type Promise = oneshot::Receiver<Result<(), StoreError>>;

    /// Work that stores a member, then does what it is told.
    fn see(
        member: &'static str,
        mut then: impl FnMut(&Writer) -> Result<(), Fault> + Send + 'static,
    ) -> (Box<dyn Write>, Promise) {
        let (job, promise) = pending(1, After::Nothing, move |writer| {
            writer.conn.execute(SEE, [member])?;
            then(writer)
        });
        (write(job), promise)
    }

    fn answer(promise: &mut Promise) -> Result<(), StoreError> {
        promise.try_recv().unwrap().expect("answered")
    }

    fn members(path: &Path) -> i64 {
        let conn = connection::reader(path).unwrap();
        conn.query_row("SELECT count(*) FROM online_members", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn jobs_that_wait_together_share_a_transaction() {
        let dir = tempfile::tempdir().unwrap();
        let path = Arc::new(dir.path().join("a.db"));
        let mut writer = open(&path);
        let seen_outside = |path: Arc<std::path::PathBuf>| {
            move |_: &Writer| {
                assert_eq!(members(&path), 0, "committed too early");
                Ok(())
            }
        };
        let (first, mut one) = see("u:a", seen_outside(path.clone()));
        let (second, mut two) = see("u:b", seen_outside(path.clone()));
        writer.commit(vec![first, second]);
        assert!(answer(&mut one).is_ok() && answer(&mut two).is_ok());
        assert_eq!(members(&path), 2);
    }

    #[test]
    fn work_that_fails_or_panics_spares_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let mut writer = open(&path);
        let (good, mut one) = see("u:a", |_| Ok(()));
        let (bad, mut two) = see("u:b", |_| Err(Fault::Call("no")));
        let (worse, mut three) = see("u:c", |_| panic!("on purpose"));
        let (fine, mut four) = see("u:d", |_| Ok(()));
        writer.commit(vec![good, bad, worse, fine]);
        assert!(answer(&mut one).is_ok() && answer(&mut four).is_ok());
        assert!(matches!(answer(&mut two), Err(StoreError::Backend(_))));
        assert!(matches!(answer(&mut three), Err(StoreError::Backend(_))));
        assert_eq!(members(&path), 2);
    }

    #[test]
    fn a_full_disk_is_answered_to_the_whole_group_and_the_next_write_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let mut writer = open(&path);
        // As on a full disk; the connection that follows has no such limit.
        let pages: i64 = writer.conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        writer.conn.pragma_update(None, "max_page_count", pages).unwrap();
        let (small, mut one) = see("u:a", |_| Ok(()));
        let (large, mut two) = see("u:b", |writer| {
            writer.conn.execute(SEE, ["u:".to_owned() + &"c".repeat(100_000)])?;
            Ok(())
        });
        writer.commit(vec![small, large]);
        assert!(answer(&mut one).unwrap_err().is_retryable());
        assert!(answer(&mut two).unwrap_err().is_retryable());
        assert!(writer.is_suspect);
        assert_eq!(members(&path), 0);
        let (again, mut three) = see("u:a", |_| Ok(()));
        writer.commit(vec![again]);
        assert!(answer(&mut three).is_ok());
        assert_eq!(members(&path), 1);
    }

    #[test]
    fn numbers_rise_over_failures_and_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let count = |fails: bool| {
            pending(1, After::Nothing, move |writer| {
                writer.counters.version += 1;
                if fails { Err(Fault::Call("no")) } else { Ok(writer.counters.version) }
            })
        };
        let mut writer = open(&path);
        for (fails, expected) in [(false, Some(1)), (true, None), (false, Some(3))] {
            let (job, mut promise) = count(fails);
            writer.commit(vec![write(job)]);
            assert_eq!(promise.try_recv().unwrap().unwrap().ok(), expected);
        }
        drop(writer);
        assert_eq!(open(&path).counters.version, 3);
    }
}
