//! The store: what users hold.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use futures_channel::oneshot;
use presence_core::{StoreError, Subscribed};
use rusqlite::Connection;

use crate::{
    OpenError, SqliteConfig, connection,
    error::{Fault, stopped},
    job::{After, Job, pending},
    latch::Latch,
    queue::Queue,
    readers::Reads,
    workload::{Counts, Workload},
    writer::{self, Writer},
};

/// Timelines and the online count in one SQLite file.
///
/// One thread writes, and commits whatever has gathered in one transaction under one flush; some threads read. All
/// methods are futures that any executor can run: they wait for those threads and block none.
///
/// A file has one owner at a time: while a store has it open, every other attempt fails at once with
/// [`OpenError::Owned`]. Dropping the store waits until what was asked is written and the file is free again;
/// [`SqliteStore::close`] waits without blocking the thread.
///
/// ```
/// use presence_core::{CheckpointQuery, UserId, Window};
/// use presence_sqlite::SqliteStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("presence.db");
/// # futures_executor::block_on(async {
/// let store = SqliteStore::open(path).await?;
/// let nobody = UserId::new("nobody")?;
/// assert_eq!(store.facts(&nobody, &[Window::all()]).await?, None);
/// store.close().await;
/// # Ok(())
/// # })
/// # }
/// ```
pub struct SqliteStore {
    config: SqliteConfig,
    jobs: Arc<Queue<Job>>,
    reads: Option<Reads>,
    counts: Arc<Counts>,
    pub(crate) wanted: Arc<Subscribed>,
    ended: Arc<Latch>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the store in the file at `path`, and creates it where it does not exist; `:memory:` is a store that ends
    /// with the process. What is answered is on disk.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is in the way, and what happened to the file.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Self::open_with(SqliteConfig::new(path)).await
    }

    /// Opens the store that `config` describes.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub async fn open_with(config: SqliteConfig) -> Result<Self, OpenError> {
        connection::check_version()?;
        let jobs = Arc::new(Queue::new(writer::WAITING));
        let (counts, ended) = (Arc::new(Counts::default()), Arc::new(Latch::default()));
        let wanted = Arc::<Subscribed>::default();
        let (answer, opened) = oneshot::channel();
        let thread = thread::Builder::new().name("presence-write".to_owned()).spawn({
            let (config, jobs) = (config.clone(), jobs.clone());
            let (counts, ended, wanted) = (counts.clone(), ended.clone(), wanted.clone());
            move || {
                let _last = ended.guard();
                writer::run(config, &jobs, counts, wanted, answer);
            }
        });
        let thread = Mutex::new(Some(thread.map_err(OpenError::Io)?));
        // Whole before it is open, so that dropping this future ends the thread.
        let mut store = Self { config, jobs, reads: None, counts, wanted, ended, thread };
        store.reads = opened.await.unwrap_or_else(|_| Err(stopped().into()))?;
        Ok(store)
    }

    /// Writes what was asked, ends the threads and frees the file. Later calls answer
    /// [`StoreError::Unavailable`]; closing again waits for the same end.
    pub async fn close(&self) {
        self.jobs.close();
        self.ended.wait().await;
    }

    /// What its threads have to do now, and have done since it was opened. It waits for nothing.
    #[must_use]
    pub fn workload(&self) -> Workload {
        self.counts.workload(self.jobs.len(), self.reads.as_ref().map_or(0, |reads| reads.len()))
    }

    /// Rewrites the file: without the unused pages, and without the copies of rows that page splits leave behind.
    ///
    /// It takes about a second per 100 MB, in which nothing else is written, and as much free space as the file.
    ///
    /// # Errors
    ///
    /// The store failed; the content is the same as before.
    pub async fn vacuum(&self) -> Result<(), StoreError> {
        self.write(0, After::Vacuum, |_| Ok(())).await
    }

    /// What an erasure waits for.
    pub(crate) const fn after_erasure(&self) -> After {
        if self.config.vacuum_on_erase { After::Vacuum } else { After::Checkpoint }
    }

    /// Runs `work` in a transaction of the writer and answers once that is committed. `work` may run more than once,
    /// and writes about `weight` rows.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        weight: usize,
        after: After,
        work: impl FnMut(&mut Writer) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = pending(weight, after, work);
        self.jobs.push(job).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Runs `work` on the writer's connection, which has everything that is committed, and most of it in its cache.
    pub(crate) async fn read_own<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Writer) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, promise) = oneshot::channel();
        let read = Box::new(move |writer: &Writer| {
            let result = snapshot(&writer.conn, |_| work(writer));
            let _ = answer.send(result.map_err(StoreError::from));
        });
        self.jobs.push(Job::Read(read)).await.map_err(|_| stopped())?;
        promise.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Runs `work` on one of the readers, in one snapshot that has everything that was answered before.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(reads) = &self.reads else {
            return self.read_own(|writer| work(&writer.conn)).await;
        };
        let (answer, promise) = oneshot::channel();
        let read = Box::new(move |conn: &Connection| {
            let _ = answer.send(snapshot(conn, work).map_err(StoreError::from));
        });
        reads.push(read).await.map_err(|_| stopped())?;
        promise.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// Runs `work` in one transaction that only reads.
fn snapshot<T>(conn: &Connection, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
    conn.prepare_cached("BEGIN")?.execute([])?;
    let end = EndRead(conn);
    let result = work(conn);
    drop(end);
    result
}

/// Ends a transaction that only read, also where the work panicked.
struct EndRead<'a>(&'a Connection);

impl Drop for EndRead<'_> {
    fn drop(&mut self) {
        // It wrote nothing, so there is nothing that could fail.
        let _ = self.0.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.jobs.close();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A task that the writer wakes may run on its thread, and drop the store there: it cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        sync::mpsc,
        task::{Context, Waker},
    };

    use futures_executor::block_on;

    use super::*;

    const SEE: &str = "INSERT INTO online_members (member, last_seen) VALUES (?1, 1)";

    /// Polls a call once, so that it is put into its queue.
    fn ask<F: Future>(call: Pin<&mut F>) {
        assert!(call.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn the_workload_tells_what_waits_what_is_busy_and_what_was_committed() {
        let dir = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(dir.path().join("a.db")).readers(1);
        let store = block_on(SqliteStore::open_with(config)).unwrap();
        assert_eq!(store.workload(), Workload::default());

        let see = |names: &'static [&'static str]| {
            store.write(0, After::Nothing, move |writer| {
                names.iter().try_for_each(|name| writer.conn.execute(SEE, [name]).map(drop))?;
                Ok(())
            })
        };
        // The writer stops in a job and the only reader in a query; what comes then waits.
        let (begun, has_begun) = mpsc::channel();
        let hold = || {
            let ((go_on, may_go_on), begun) = (mpsc::channel::<()>(), begun.clone());
            let work = move || {
                begun.send(()).unwrap();
                may_go_on.recv().map_err(|_| Fault::Call("left alone"))
            };
            (go_on, work)
        };
        let ((job_goes_on, work), (query_goes_on, look)) = (hold(), hold());
        let (mut job, mut query) = (pin!(store.read_own(move |_| work())), pin!(store.read(move |_| look())));
        ask(job.as_mut());
        ask(query.as_mut());
        has_begun.recv().unwrap();
        has_begun.recv().unwrap();
        let (mut one, mut two, mut later) =
            (pin!(see(&["u:a", "u:b"])), pin!(see(&["u:c"])), pin!(store.read(|_| Ok(()))));
        ask(one.as_mut());
        ask(two.as_mut());
        ask(later.as_mut());
        let waiting = Workload { waiting_jobs: 2, waiting_reads: 1, busy_readers: 1, ..Workload::default() };
        assert_eq!(store.workload(), waiting);

        job_goes_on.send(()).unwrap();
        query_goes_on.send(()).unwrap();
        let answers = block_on(async { [job.await, query.await, one.await, two.await, later.await] });
        assert!(answers.iter().all(Result::is_ok));
        block_on(store.close());
        let done = Workload { commits: 1, committed_jobs: 2, committed_rows: 3, ..Workload::default() };
        assert_eq!(store.workload(), done);
    }
}
