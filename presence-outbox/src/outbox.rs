//! The outbox: what users hold.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use futures_channel::oneshot;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Books, Closed, EnqueueError, EraseError, Erased, OpenError, OutboxConfig, Sink, SinkError, Stored,
    appender::{Appended, Encoded},
    erasure::Judge,
    host::HostClock,
    queue::{Close, Full, Queue},
    reader::{self, Ask},
    record::encode,
    telemetry::DropReason,
    writer::{self, Answer, Opened, Task, WAITING_BYTES},
};

/// Events on their way out, in one directory.
///
/// One thread writes, under one flush of the disk for all that has gathered; another reads, and gives each sink its
/// batches. Its methods are futures that any executor can run: they wait for those threads and block none.
///
/// A directory has one owner at a time. Clones share one outbox; when the last of them, and of its sinks, is dropped,
/// what was enqueued is sealed and the directory is free again. [`Outbox::close`] does so at once.
///
/// ```
/// use presence_outbox::{Outbox, OutboxConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # futures_executor::block_on(async {
/// let outbox = Outbox::<String>::open(OutboxConfig::new(folder.path().join("outbox"))).await?;
/// // Once this is answered it survives a power failure.
/// assert!(outbox.enqueue(&"hello".to_owned()).await?.is_enqueued());
///
/// outbox.seal().await?;
/// let mut sink = outbox.sink("default")?;
/// let batch = sink.claim().await.expect("an event waits");
/// assert_eq!(batch.events(), ["hello"]);
/// sink.ack(batch).await?;
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Outbox<E> {
    shared: Arc<Inner<E>>,
}

/// What the clones of an outbox and its sinks share.
pub(crate) struct Inner<E> {
    config: OutboxConfig,
    tasks: Arc<Queue<Task>>,
    pub(crate) asks: Arc<Queue<Ask<E>>>,
    /// Which sinks somebody has.
    pub(crate) taken: Mutex<Vec<bool>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _events: PhantomData<fn(E)>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "an event that was dropped is not delivered"]
pub enum Enqueued {
    /// It is kept, as durable as the configuration says, and will be delivered at least once.
    Enqueued,
    /// It is not kept. Whoever cannot bear that writes it elsewhere.
    Dropped {
        /// Why.
        reason: DropReason,
    },
}

impl Enqueued {
    /// Whether it is kept.
    #[must_use]
    pub const fn is_enqueued(self) -> bool {
        matches!(self, Self::Enqueued)
    }
}

/// What became of the events of one call: the first so many are kept, the others are not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "events that were dropped are not delivered"]
pub struct EnqueuedMany {
    /// How many are kept.
    pub enqueued: usize,
    /// How many are not, because with the first of them more than the maximum would wait.
    pub dropped: usize,
}

impl<E: Serialize + DeserializeOwned + Send + 'static> Outbox<E> {
    /// Opens the outbox that `config` describes, whether or not it is enabled. The directory is made if it is not
    /// there; what an earlier process left in it is made whole first, without reading what it sealed. What is not
    /// ours is left alone.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is in the way; nothing was lost.
    pub async fn open(config: OutboxConfig) -> Result<Self, OpenError> {
        let config = config.complete();
        let failed = {
            let dir = config.dir.clone();
            move |source| OpenError::Io { dir: dir.clone(), source }
        };
        let (tasks, asks) = (Arc::new(Queue::new(WAITING_BYTES)), Arc::new(Queue::new(usize::MAX)));
        let (answer, opened) = oneshot::channel();
        let writer = thread::Builder::new().name("outbox-write".to_owned()).spawn({
            let (config, tasks, asks) = (config.clone(), tasks.clone(), asks.clone());
            move || serve(config, &tasks, &asks, answer)
        });
        let inner = Inner {
            taken: Mutex::new(vec![false; config.sinks.len()]),
            config,
            tasks,
            asks,
            threads: Mutex::new(vec![writer.map_err(&failed)?]),
            _events: PhantomData,
        };
        // Whole before it is open, so that dropping this future ends the threads.
        let outbox = Self { shared: Arc::new(inner) };
        let ended = || failed(std::io::Error::other("its thread ended"));
        let reader = opened.await.unwrap_or_else(|_| Err(ended()))?;
        lock(&outbox.shared.threads).push(reader);
        Ok(outbox)
    }

    /// Opens the outbox that `config` describes, if it is enabled.
    ///
    /// # Errors
    ///
    /// As [`Outbox::open`].
    pub async fn configured(config: OutboxConfig) -> Result<Option<Self>, OpenError> {
        if config.is_enabled { Self::open(config).await.map(Some) } else { Ok(None) }
    }

    /// Enqueues an event. It is in the queue when this returns, and as durable as the configuration says when the
    /// future does. A caller that stops waiting takes nothing back: the event may be kept.
    ///
    /// # Errors
    ///
    /// [`EnqueueError`] says why it is not kept, and whether to try again.
    pub fn enqueue(&self, event: &E) -> impl Future<Output = Result<Enqueued, EnqueueError>> + Send + use<E> {
        let appended = self.enqueue_many(std::slice::from_ref(event));
        async move {
            let EnqueuedMany { dropped, .. } = appended.await?;
            Ok(if dropped == 0 {
                Enqueued::Enqueued
            } else {
                Enqueued::Dropped { reason: DropReason::MaxBytes }
            })
        }
    }

    /// Enqueues events, in order, with one flush of the disk. They stay together in one file.
    ///
    /// # Errors
    ///
    /// [`EnqueueError`] says why none of them is kept, and whether to try again.
    pub fn enqueue_many(
        &self,
        events: &[E],
    ) -> impl Future<Output = Result<EnqueuedMany, EnqueueError>> + Send + use<E> {
        let pushed = self.push(events);
        async move {
            let appended = pushed?.await.map_err(|_| EnqueueError::Closed)?;
            let Appended { enqueued, dropped } = appended.map_err(EnqueueError::Unavailable)?;
            Ok(EnqueuedMany { enqueued, dropped })
        }
    }

    /// Puts events into the writer's queue, as lines.
    fn push(&self, events: &[E]) -> Result<oneshot::Receiver<Answer>, EnqueueError> {
        let lines = self.encode(events)?;
        let (weight, (answer, appended)) = (lines.bytes.len(), oneshot::channel());
        let pushed = self.shared.tasks.push(Task::Append { lines, answer }, weight);
        pushed.map(|()| appended).map_err(|full| match full {
            Full::Full => EnqueueError::Busy,
            Full::Closed => EnqueueError::Closed,
        })
    }

    /// Seals the active file, so that what is in it can be delivered now and not after the flush interval.
    ///
    /// # Errors
    ///
    /// The disk failed, or the outbox is closed. What was enqueued is still there.
    pub async fn seal(&self) -> Result<(), EnqueueError> {
        let (answer, sealed) = oneshot::channel();
        self.shared.tasks.push(Task::Seal { answer }, 0).map_err(|_| EnqueueError::Closed)?;
        sealed.await.map_err(|_| EnqueueError::Closed)?.map_err(EnqueueError::Unavailable)
    }

    /// The sink of this name, for one user at a time; it is free again when that one drops it.
    ///
    /// # Errors
    ///
    /// There is none, or somebody has it.
    pub fn sink(&self, name: &str) -> Result<Sink<E>, SinkError> {
        let index = self.place(name)?;
        let mut taken = lock(&self.shared.taken);
        let is_taken = taken.get_mut(index).ok_or(SinkError::Unknown)?;
        if std::mem::replace(is_taken, true) {
            return Err(SinkError::InUse);
        }
        Ok(Sink::new(self.shared.clone(), index))
    }

    /// Forgets every line for which `is_erased` holds: of what was enqueued before this is called, whether it waits, is
    /// dead or cannot be read. What is enqueued meanwhile, and a batch that is out, is not looked at. Sinks go on where
    /// they are. Once this is answered no file of the directory has any of it; the disk itself may, where it was.
    ///
    /// Everything that waits is read, and nothing delivered meanwhile: that is about a second for 256 MiB.
    ///
    /// ```
    /// use presence_outbox::{Outbox, OutboxConfig, Stored};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # futures_executor::block_on(async {
    /// # let outbox = Outbox::<String>::open(OutboxConfig::new(folder.path().join("outbox"))).await?;
    /// assert!(outbox.enqueue(&"alice came".to_owned()).await?.is_enqueued());
    /// let erased = outbox.erase(|line| match line {
    ///     Stored::Event(event) => event.contains("alice"),
    ///     Stored::Unreadable(bytes) => bytes.windows(5).any(|part| part == b"alice"),
    ///     _ => false,
    /// });
    /// assert_eq!(erased.await?.waiting, 1);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`EraseError`] says why not all of it is forgotten. To ask again does no harm.
    pub async fn erase(
        &self,
        is_erased: impl Fn(Stored<'_, E>) -> bool + Send + 'static,
    ) -> Result<Erased, EraseError> {
        // What is in sealed files has a place of its own; in the active one the writer would have to look.
        self.seal().await.map_err(|error| match error {
            EnqueueError::Unavailable(error) => EraseError::Unavailable(error),
            _ => EraseError::Closed,
        })?;
        let (answer, erased) = oneshot::channel();
        let judge = Judge(Box::new(is_erased));
        self.shared.asks.push(Ask::Erase { judge, answer }, 0).map_err(|_| EraseError::Closed)?;
        let erased = erased.await.map_err(|_| EraseError::Closed)?;
        erased.map_err(|error| EraseError::Unavailable(Arc::new(error)))
    }

    /// Gives a sink events again that was disabled because its destination was gone:
    /// [`DeliveryError::Gone`](crate::DeliveryError::Gone). Whoever waits for some gets them at once.
    ///
    /// # Errors
    ///
    /// There is none of this name, or the outbox is closed.
    pub async fn enable(&self, sink: &str) -> Result<(), SinkError> {
        let sink = self.place(sink)?;
        let (answer, enabled) = oneshot::channel();
        self.shared.asks.push(Ask::Enable { sink, answer }, 0).map_err(|_| SinkError::Closed)?;
        enabled.await.map_err(|_| SinkError::Closed)
    }

    /// What has become of every event since the outbox was opened.
    ///
    /// # Errors
    ///
    /// The outbox is closed.
    pub async fn books(&self) -> Result<Books, Closed> {
        let (answer, books) = oneshot::channel();
        self.shared.asks.push(Ask::Books { answer }, 0).map_err(|_| Closed)?;
        books.await.map_err(|_| Closed)
    }

    /// Writes and seals what was enqueued, ends the threads and frees the directory. Claims that wait are answered
    /// that there is nothing more. It blocks the thread it is called on for as long as the disk takes, which is
    /// milliseconds. To deliver what is left first: [`Outbox::seal`], then [`Sink::flush`], with a limit of time.
    pub fn close(&self) {
        self.shared.close();
    }

    fn place(&self, name: &str) -> Result<usize, SinkError> {
        let place = self.shared.config.sinks.iter().position(|sink| sink.as_str() == name);
        place.ok_or(SinkError::Unknown)
    }

    fn encode(&self, events: &[E]) -> Result<Encoded, EnqueueError> {
        let (config, mut lines) = (&self.shared.config, Encoded::default());
        lines.ends.reserve_exact(events.len());
        for event in events {
            let bytes = encode(event, config.has_checksums, &mut lines.bytes)
                .map_err(|error| EnqueueError::Json(Arc::new(error)))?;
            if bytes > config.max_event_bytes {
                return Err(EnqueueError::TooLarge { bytes, limit: config.max_event_bytes });
            }
            lines.ends.push(lines.bytes.len());
        }
        Ok(lines)
    }
}

/// Opens the directory, starts the thread that reads, and becomes the one that writes. The directory is free when both
/// have ended.
fn serve<E: DeserializeOwned + Send + 'static>(
    config: OutboxConfig,
    tasks: &Queue<Task>,
    asks: &Arc<Queue<Ask<E>>>,
    opened: oneshot::Sender<Result<JoinHandle<()>, OpenError>>,
) {
    // What was asked of the reading thread before is answered.
    let _last = Close(asks);
    let clock = HostClock::start();
    let dir = config.dir.clone();
    let (Opened { appender, relay }, lock) = match writer::open(config, clock) {
        Ok(opened) => opened,
        Err(error) => return drop(opened.send(Err(error))),
    };
    let lock = Arc::new(lock);
    let reading = thread::Builder::new().name("outbox-read".to_owned()).spawn({
        let (asks, lock) = (asks.clone(), lock.clone());
        move || {
            reader::run(relay, &asks, clock);
            drop(lock);
        }
    });
    match reading {
        Ok(thread) => drop(opened.send(Ok(thread))),
        Err(source) => return drop(opened.send(Err(OpenError::Io { dir, source }))),
    }
    writer::run(appender, tasks, clock, || asks.wake());
    drop(lock);
}

impl<E> Inner<E> {
    fn close(&self) {
        self.tasks.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A task that a thread wakes may run on it, and drop the outbox there: it cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<E> Drop for Inner<E> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<E> Clone for Outbox<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<E> fmt::Debug for Outbox<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.shared.config;
        f.debug_struct("Outbox")
            .field("dir", &config.dir)
            .field("batch_size", &config.batch_size)
            .field("flush_interval", &config.flush_interval)
            .field("max_bytes", &config.max_bytes)
            .finish()
    }
}
