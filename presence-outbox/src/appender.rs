//! The active file: written, made durable, sealed.
//!
//! An event is answered once it is written, and on disk where the configuration says so. What a failure leaves behind
//! the last answered event is cut off. After a failed flush nobody knows what the disk has, and asking again proves
//! nothing: the file is given up, what is good in it is sealed, and what has to last is written to a new one.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use crate::{
    Durability, SealReason, WhenFull,
    fs::{File, FileSystem, remove_if_there, replace},
    host::Now,
    ledger::{Segment, Shared},
    random::Random,
    segment::{ACTIVE, SegmentId},
};

/// At this size the active file is sealed, however few events it has.
const SEGMENT_BYTES: u64 = 2 << 20;
/// How long a power failure may reach back where the operating system's word is enough.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);
/// How much may wait for that.
const UNSYNCED_BYTES: usize = 4 << 20;
/// When something that the clock asks for is tried again after it failed.
const RETRY: Duration = Duration::from_secs(1);

/// Events as lines, of one caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    /// Where each line ends.
    pub(crate) ends: Vec<usize>,
}

/// What became of the events of one caller: the first so many are enqueued, the others were dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Appended {
    pub(crate) enqueued: usize,
    pub(crate) dropped: usize,
}

#[derive(Debug)]
pub(crate) struct Appender<F: FileSystem> {
    fs: Arc<F>,
    shared: Arc<Shared>,
    random: Random,
    active: Option<Active<F::File>>,
    /// What was answered and is not on disk. Only [`Durability::Process`] has it.
    unsynced: Unsynced,
    retry_at: Duration,
    has_changed: bool,
}

#[derive(Debug)]
struct Active<H> {
    file: H,
    /// Up to here it holds answered events.
    good: u64,
    events: u64,
    first_at: Duration,
    /// Whether its name is sure to last.
    is_named: bool,
    /// Whether nothing may be written to it any more.
    is_broken: bool,
    /// The name it has already, where only that name's lasting is missing.
    renamed: Option<SegmentId>,
}

#[derive(Debug, Default)]
struct Unsynced {
    bytes: Vec<u8>,
    events: u64,
    since: Duration,
    /// The file they were in is given up: they have to be written again before anything else.
    is_owed: bool,
}

/// What failed decides what is still known.
enum Fault {
    /// Nothing of it counts, and the file is as before.
    Write(io::Error),
    /// What the file has is not known.
    Sync(io::Error),
}

impl<F: FileSystem> Appender<F> {
    pub(crate) fn new(fs: Arc<F>, shared: Arc<Shared>, random: Random) -> Self {
        Self {
            fs,
            shared,
            random,
            active: None,
            unsynced: Unsynced::default(),
            retry_at: Duration::ZERO,
            has_changed: false,
        }
    }

    /// Writes what some callers brought, all of it under one flush of the disk, and answers each in order. A failure
    /// is the answer of all whose events it would have been.
    pub(crate) fn append(&mut self, group: &[&Encoded], now: Now) -> Vec<Result<Appended, Arc<io::Error>>> {
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        let mut lines = Vec::with_capacity(group.iter().map(|encoded| encoded.bytes.len()).sum());
        let (mut events, mut dropped) = (0, 0);
        let mut answers: Vec<_> = Vec::with_capacity(group.len());
        for encoded in group {
            let left = room.saturating_sub(lines.len());
            let enqueued = encoded.ends.partition_point(|end| *end <= left);
            let end = enqueued.checked_sub(1).and_then(|last| encoded.ends.get(last));
            lines.extend_from_slice(encoded.bytes.get(..end.copied().unwrap_or(0)).unwrap_or_default());
            events += enqueued as u64;
            answers.push(Ok(Appended { enqueued, dropped: encoded.ends.len() - enqueued }));
        }
        if events > 0 {
            let written = self.check_space(lines.len() as u64).and_then(|()| {
                let written = self.write(&lines, events, now);
                self.shared.set_failing(written.is_err());
                written.map_err(|error| self.shared.fault("write", error))
            });
            if let Err(error) = written {
                let error = Arc::new(error);
                self.shared.failed(events);
                for answer in &mut answers {
                    if matches!(answer, Ok(appended) if appended.enqueued > 0) {
                        *answer = Err(error.clone());
                    }
                }
            }
        }
        dropped += answers.iter().flatten().map(|appended| appended.dropped as u64).sum::<u64>();
        if dropped > 0 {
            self.shared.dropped(dropped);
        }
        self.has_changed |= self.shared.make_room();
        let config = &self.shared.config;
        let is_full =
            |active: &Active<_>| active.events >= config.batch_size as u64 || active.good >= SEGMENT_BYTES;
        if self.active.as_ref().is_some_and(is_full) && now.tick >= self.retry_at {
            // The events are answered for: their file's name is nobody's failure.
            let _ = self.seal_or_retry(SealReason::BatchSize, now);
        }
        answers
    }

    /// How many bytes may be written.
    fn room(&self) -> u64 {
        let (config, ledger) = (&self.shared.config, self.shared.lock());
        let stays = match config.when_full {
            WhenFull::DropNewest => ledger.pending_bytes(),
            // Whatever is sealed can go.
            WhenFull::DropOldest => ledger.active_bytes,
        };
        config.max_bytes.saturating_sub(stays)
    }

    /// Refuses what would take of the disk's reserve.
    fn check_space(&self, bytes: u64) -> io::Result<()> {
        let reserve = self.shared.config.reserve_bytes;
        if reserve == 0 {
            return Ok(());
        }
        // A file system that cannot say it refuses by itself.
        let free = self.fs.free().map_err(|error| self.shared.fault("free", error)).ok().flatten();
        if free.is_none_or(|free| free.saturating_sub(bytes) >= reserve) {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::StorageFull, "less of the disk is free than its reserve"))
    }

    /// Does what the time asks for.
    pub(crate) fn tick(&mut self, now: Now) {
        if self.deadline().is_none_or(|deadline| now.tick < deadline) {
            return;
        }
        let is_owed = self.unsynced.is_owed || self.active.as_ref().is_some_and(|active| active.is_broken);
        if is_owed {
            let mended = self.mend(now);
            self.shared.set_failing(mended.is_err());
            self.put_off(mended.map_err(|error| self.shared.fault("write again", error)).is_err(), now);
        } else if self.flush_at().is_some_and(|at| now.tick >= at) {
            let _ = self.seal_or_retry(SealReason::FlushInterval, now);
        } else if let Err(error) = self.sync_unsynced() {
            self.shared.fault("sync", error);
            self.put_off(true, now);
        }
    }

    /// When [`Appender::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let is_owed = self.unsynced.is_owed || self.active.as_ref().is_some_and(|active| active.is_broken);
        let owed = is_owed.then_some(self.retry_at);
        let sync =
            (!self.unsynced.bytes.is_empty()).then(|| self.unsynced.since.saturating_add(SYNC_INTERVAL));
        let next = [owed, sync, self.flush_at()].into_iter().flatten().min()?;
        Some(next.max(self.retry_at))
    }

    /// Seals what there is, now.
    pub(crate) fn seal(&mut self, now: Now) -> Result<(), Arc<io::Error>> {
        let sealed = self.mend(now).and_then(|()| self.seal_or_retry(SealReason::Asked, now));
        sealed.map_err(Arc::new)
    }

    /// Whether a file was sealed, or has to go, since this was asked last.
    pub(crate) const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.has_changed, false)
    }

    fn flush_at(&self) -> Option<Duration> {
        let active = self.active.as_ref().filter(|active| active.events > 0)?;
        Some(active.first_at.saturating_add(self.shared.config.flush_interval))
    }

    /// Until when what is sealed now is kept.
    fn expires_at(&self, now: Now) -> Duration {
        now.tick.saturating_add(self.shared.config.retention)
    }

    fn put_off(&mut self, has_failed: bool, now: Now) {
        self.retry_at = if has_failed { now.tick.saturating_add(RETRY) } else { Duration::ZERO };
    }

    fn seal_or_retry(&mut self, reason: SealReason, now: Now) -> io::Result<()> {
        let sealed = self.seal_active(reason, now).map_err(|error| self.shared.fault("seal", error));
        self.put_off(sealed.is_err(), now);
        sealed
    }

    fn write(&mut self, lines: &[u8], events: u64, now: Now) -> io::Result<()> {
        self.mend(now)?;
        let fills_a_file =
            events >= self.shared.config.batch_size as u64 || lines.len() as u64 >= SEGMENT_BYTES;
        if self.active.is_none() && fills_a_file && self.shared.config.durability == Durability::Fsync {
            return self.write_sealed(lines, events, now);
        }
        let fault = match self.attempt(lines, events, now) {
            Ok(()) => return Ok(()),
            Err(Fault::Write(error)) => return Err(error),
            Err(Fault::Sync(error)) => error,
        };
        self.shared.fault("sync", fault);
        // Once more, in another file.
        self.mend(now)?;
        self.attempt(lines, events, now).map_err(|(Fault::Write(error) | Fault::Sync(error))| error)
    }

    /// Writes a sealed file at once: nothing else would come into the active file but this. That saves one sync of
    /// three.
    fn write_sealed(&mut self, lines: &[u8], events: u64, now: Now) -> io::Result<()> {
        let id = self.shared.lock().next_id(now, &mut self.random);
        let mut written = replace(&*self.fs, &id.sealed(), |file| file.write_at(lines, 0));
        if let Err(error) = &written
            && !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem)
        {
            // It may have its name already. Once more, in another file: what the disk has of this one is not known.
            let _ = self.fs.remove(&id.sealed());
            written = replace(&*self.fs, &id.sealed(), |file| file.write_at(lines, 0));
        }
        if let Err(error) = written {
            let _ = self.fs.remove(&id.sealed());
            return Err(error);
        }
        self.has_changed = true;
        self.shared.wrote(lines.len() as u64, events);
        let segment = Segment::new(lines.len() as u64, events, Some(events), self.expires_at(now));
        self.shared.sealed(Some((id, segment, SealReason::BatchSize)), (0, 0));
        Ok(())
    }

    /// Writes behind what is there; counts it only if it is as durable as it should be.
    fn attempt(&mut self, lines: &[u8], events: u64, now: Now) -> Result<(), Fault> {
        let is_fsync = self.shared.config.durability == Durability::Fsync;
        let active = match &mut self.active {
            Some(active) => active,
            none => none.insert(Active::new(self.fs.create(ACTIVE).map_err(Fault::Write)?)),
        };
        active.write(lines).map_err(Fault::Write)?;
        active.persist(&*self.fs, is_fsync).map_err(Fault::Sync)?;
        active.count(lines, events, now);
        if !is_fsync {
            if self.unsynced.bytes.is_empty() {
                self.unsynced.since = now.tick;
            }
            self.unsynced.bytes.extend_from_slice(lines);
            self.unsynced.events += events;
        }
        self.shared.wrote(lines.len() as u64, events);
        if self.unsynced.bytes.len() > UNSYNCED_BYTES
            && let Err(error) = self.sync_unsynced()
        {
            // These events are in the hands of the operating system, which is what was promised.
            self.shared.fault("sync", error);
        }
        Ok(())
    }

    /// Makes last what was answered before it did.
    fn sync_unsynced(&mut self) -> io::Result<()> {
        let Some(active) = self.active.as_mut().filter(|_| !self.unsynced.bytes.is_empty()) else {
            return Ok(());
        };
        if let Err(error) = active.file.sync() {
            active.is_broken = true;
            active.good = active.good.saturating_sub(self.unsynced.bytes.len() as u64);
            active.events = active.events.saturating_sub(self.unsynced.events);
            self.unsynced.is_owed = true;
            return Err(error);
        }
        self.unsynced = Unsynced::default();
        Ok(())
    }

    /// Gives up a file that failed, and writes again what was answered and may be lost with it.
    fn mend(&mut self, now: Now) -> io::Result<()> {
        if self.active.as_ref().is_some_and(|active| active.is_broken) {
            self.seal_active(SealReason::Fault, now)?;
        }
        if self.unsynced.is_owed {
            let mut active = Active::new(self.fs.create(ACTIVE)?);
            let written = active.write(&self.unsynced.bytes);
            let written = written.and_then(|()| active.persist(&*self.fs, true));
            match written {
                Ok(()) => active.count(&self.unsynced.bytes, self.unsynced.events, now),
                // Nothing in it counts, so that it is removed before the next attempt.
                Err(_) => active.is_broken = true,
            }
            self.active = Some(active);
            written?;
            self.unsynced = Unsynced::default();
        }
        Ok(())
    }

    /// Gives the active file the name under which it is delivered. One without events is removed instead.
    fn seal_active(&mut self, reason: SealReason, now: Now) -> io::Result<()> {
        if self.active.as_ref().is_some_and(|active| !active.is_broken) {
            self.sync_unsynced()?;
        }
        let owed = match &self.unsynced {
            Unsynced { bytes, events, is_owed: true, .. } => (bytes.len() as u64, *events),
            _ => (0, 0),
        };
        let expires_at = self.expires_at(now);
        let Some(active) = &mut self.active else { return Ok(()) };
        if active.good == 0 {
            remove_if_there(&*self.fs, ACTIVE)?;
            self.fs.sync()?;
            self.active = None;
            self.shared.sealed(None, owed);
            return Ok(());
        }
        let reason = if active.is_broken { SealReason::Fault } else { reason };
        if active.is_broken {
            // What is behind was not answered. If it stays, it is delivered all the same, which nobody is hurt by.
            let _ = active.file.set_len(active.good);
        }
        let id = match active.renamed {
            Some(id) => id,
            None => {
                let id = self.shared.lock().next_id(now, &mut self.random);
                self.fs.rename(ACTIVE, &id.sealed())?;
                *active.renamed.insert(id)
            }
        };
        self.fs.sync()?;
        let bytes = if active.is_broken { active.file.len().unwrap_or(active.good) } else { active.good };
        let lines = (!active.is_broken).then_some(active.events);
        let segment = Segment::new(bytes, active.events, lines, expires_at);
        self.active = None;
        self.has_changed = true;
        self.shared.sealed(Some((id, segment, reason)), owed);
        Ok(())
    }
}

impl<H: File> Active<H> {
    const fn new(file: H) -> Self {
        Self {
            file,
            good: 0,
            events: 0,
            first_at: Duration::ZERO,
            is_named: false,
            is_broken: false,
            renamed: None,
        }
    }

    /// Writes behind what is good. Where that fails, the file is cut back, or given up.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.file.write_at(lines, self.good);
        if written.is_err() {
            self.is_broken = self.file.set_len(self.good).is_err();
        }
        written
    }

    /// Makes the content last, and the name too. Where that fails, the file is given up.
    fn persist<F: FileSystem>(&mut self, fs: &F, has_content: bool) -> io::Result<()> {
        let mut synced = if has_content { self.file.sync() } else { Ok(()) };
        if !self.is_named {
            synced = synced.and_then(|()| fs.sync());
        }
        match synced {
            Ok(()) => self.is_named = true,
            Err(_) => self.is_broken = true,
        }
        synced
    }

    fn count(&mut self, lines: &[u8], events: u64, now: Now) {
        if self.events == 0 {
            self.first_at = now.tick;
        }
        self.good += lines.len() as u64;
        self.events += events;
    }
}
