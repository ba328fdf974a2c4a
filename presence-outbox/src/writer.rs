//! The thread that writes: it opens the directory, then takes whatever events have gathered and writes them together.

use std::{io, path::Path, sync::Arc};

use futures_channel::oneshot;

use crate::{
    OpenError, OutboxConfig,
    appender::{Appended, Appender, Encoded},
    fs::{DirectoryLock, DiskFs, FileSystem, LockFault},
    host::{HostClock, Now, seed},
    ledger::Shared,
    queue::{Abandon, Queue, Work},
    random::Random,
    recovery::{Recovered, recover},
    relay::Relay,
};

/// How many bytes are written under one flush of the disk, where so many wait.
const GROUP_BYTES: usize = 1 << 20;
/// How many bytes may wait.
pub(crate) const WAITING_BYTES: usize = 16 << 20;

/// What became of the events of one caller.
pub(crate) type Answer = Result<Appended, Arc<io::Error>>;

/// What the writing thread is asked.
#[derive(Debug)]
pub(crate) enum Task {
    Append { lines: Encoded, answer: oneshot::Sender<Answer> },
    Seal { answer: oneshot::Sender<Result<(), Arc<io::Error>>> },
}

/// An opened directory, in its parts.
#[derive(Debug)]
pub(crate) struct Opened<F: FileSystem> {
    pub(crate) appender: Appender<F>,
    pub(crate) relay: Relay<F>,
}

impl<F: FileSystem> Opened<F> {
    /// Makes whole what an earlier process left, and takes over.
    pub(crate) fn recover(fs: F, config: OutboxConfig, now: Now, seed: u64) -> io::Result<Self> {
        let (fs, mut random) = (Arc::new(fs), Random::new(seed));
        let Recovered { ledger, kept, cursors } = recover(&*fs, &config, now, &mut random)?;
        let shared = Shared::new(config, ledger);
        let appender = Appender::new(fs.clone(), shared.clone(), Random::new(random.number()));
        let relay = Relay::new(fs, shared, kept, cursors, random);
        Ok(Self { appender, relay })
    }
}

/// Opens the directory on disk; the lock is held for as long as its owner lives.
pub(crate) fn open(
    config: OutboxConfig,
    clock: HostClock,
) -> Result<(Opened<DiskFs>, DirectoryLock), OpenError> {
    let dir = config.dir.clone();
    let (fs, lock) = own(&dir)?;
    let opened = Opened::recover(fs, config, clock.now(), seed());
    Ok((opened.map_err(|source| OpenError::Io { dir, source })?, lock))
}

/// Takes the right to a directory, and makes it where it is not there.
pub(crate) fn own(dir: &Path) -> Result<(DiskFs, DirectoryLock), OpenError> {
    let failed = |source| OpenError::Io { dir: dir.to_owned(), source };
    let fs = DiskFs::open(dir).map_err(failed)?;
    let lock = fs.lock().map_err(|fault| match fault {
        LockFault::Held(holder) => OpenError::Owned { holder },
        LockFault::Io(source) => failed(source),
    })?;
    Ok((fs, lock))
}

/// Works until the queue is closed and empty; then seals what there is.
pub(crate) fn run<F: FileSystem>(
    mut appender: Appender<F>,
    tasks: &Queue<Task>,
    clock: HostClock,
    has_changed: impl Fn(),
) {
    let _last = Abandon(tasks);
    loop {
        let now = clock.now();
        let wait = appender.deadline().map(|deadline| deadline.saturating_sub(now.tick));
        let Work::Items(taken) = tasks.take(GROUP_BYTES, wait) else { break };
        work(&mut appender, taken, clock);
        appender.tick(clock.now());
        if appender.take_changed() {
            has_changed();
        }
    }
    // What cannot be sealed now is sealed at the next start.
    let _ = appender.seal(clock.now());
    has_changed();
}

fn work<F: FileSystem>(appender: &mut Appender<F>, tasks: Vec<Task>, clock: HostClock) {
    let (mut group, mut waiting) = (Vec::new(), Vec::new());
    for task in tasks {
        match task {
            Task::Append { lines, answer } => {
                group.push(lines);
                waiting.push(answer);
            }
            Task::Seal { answer } => {
                append(appender, &mut group, &mut waiting, clock);
                let _ = answer.send(appender.seal(clock.now()));
            }
        }
    }
    append(appender, &mut group, &mut waiting, clock);
}

fn append<F: FileSystem>(
    appender: &mut Appender<F>,
    group: &mut Vec<Encoded>,
    waiting: &mut Vec<oneshot::Sender<Answer>>,
    clock: HostClock,
) {
    if group.is_empty() {
        return;
    }
    let lines: Vec<_> = group.iter().collect();
    let answers = appender.append(&lines, clock.now());
    group.clear();
    for (answer, appended) in waiting.drain(..).zip(answers) {
        // Nobody may be waiting any more; what was written stays.
        let _ = answer.send(appended);
    }
}
