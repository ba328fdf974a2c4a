//! The threads that answer queries beside the writer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;

use crate::{
    OpenError, connection,
    queue::{IDLE, Queue},
    workload::Counts,
};

/// How many queries may wait. Beyond it, tasks wait to put theirs in.
const WAITING: usize = 256;

/// A query, which keeps its own promise of an answer.
pub(crate) type Read = Box<dyn FnOnce(&Connection) + Send>;
/// Where queries are put in.
pub(crate) type Reads = Arc<Queue<Read>>;

/// Some threads, each with a connection that only reads. Dropping them waits until what was asked is answered.
pub(crate) struct Readers {
    reads: Reads,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Opens `count` connections to a database that is there; `None` for none.
    pub(crate) fn open(path: &Path, count: usize, counts: &Arc<Counts>) -> Result<Option<Self>, OpenError> {
        let mut readers = Self { reads: Arc::new(Queue::new(WAITING)), threads: Vec::new() };
        for _ in 0..count {
            let conn = connection::reader(path)?;
            let (reads, counts) = (readers.reads.clone(), counts.clone());
            let thread = thread::Builder::new().name("presence-read".to_owned());
            let thread = thread.spawn(move || serve(&conn, &reads, &counts)).map_err(OpenError::Io)?;
            readers.threads.push(thread);
        }
        Ok(Some(readers).filter(|readers| !readers.threads.is_empty()))
    }

    pub(crate) fn queue(&self) -> Reads {
        self.reads.clone()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.reads.close();
        for thread in self.threads.drain(..) {
            // Queries that panic are caught, so there is nothing to hear of it.
            let _ = thread.join();
        }
    }
}

fn serve(conn: &Connection, reads: &Queue<Read>, counts: &Counts) {
    while let Some(read) = reads.take(1, IDLE, || connection::release(conn)).pop() {
        counts.busy_readers.fetch_add(1, Ordering::Relaxed);
        // A query that panics drops its promise, which is an answer too.
        let _ = catch_unwind(AssertUnwindSafe(|| read(conn)));
        counts.busy_readers.fetch_sub(1, Ordering::Relaxed);
    }
}
