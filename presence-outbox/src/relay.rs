//! Sealed files on their way out: claimed, acknowledged, refused, and removed once every sink is done with them.
//!
//! ```text
//! sealed files   [1 ####][2 ####][3 ##]
//! webhook         done    ==>|                one batch is out, the next begins behind it
//! kafka           ==>|                        file 1 stays until kafka is done too
//! ```
//!
//! A sink has one batch at a time and gets the next only when that is settled, so its events stay in order. What is
//! settled lasts before the next batch is given: a crash repeats at most one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

mod discard;
mod erase;
mod report;

use crate::{
    Signal,
    cursor::Cursor,
    dead::{self, Refusal},
    fs::{File, FileSystem, remove_if_there},
    host::Now,
    kept::Kept,
    ledger::Shared,
    lines::{Lines, count},
    progress::{Held, Mark, Sink},
    quarantine::copy_bad,
    random::Random,
    record::{Record, decode, decode_addressed},
    segment::SegmentId,
};

/// A batch ends when it has as many bytes.
const BATCH_BYTES: u64 = 1 << 20;
/// When a file that cannot be read, or not be removed, is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Relay<F: FileSystem> {
    fs: Arc<F>,
    shared: Arc<Shared>,
    random: Random,
    sinks: Vec<Sink>,
    kept: Kept,
    /// Files whose bad lines were put aside since the start.
    examined: BTreeSet<SegmentId>,
    /// Files that every sink is done with and that could not be removed.
    leftover: BTreeSet<SegmentId>,
    leftover_at: Duration,
    /// Files of an earlier process, to be counted while nothing else is to be done.
    uncounted: Vec<SegmentId>,
    corrupt_files: u64,
    removed_files: u64,
    claims: u64,
}

/// Events that a sink is to deliver.
#[derive(Debug)]
pub(crate) struct Claim<T> {
    pub(crate) id: u64,
    pub(crate) events: Vec<T>,
}

/// How a batch ended, where it did not end well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// For now; not to be tried again before so long.
    Retry(Duration),
    /// For good, and why.
    Refused(String),
    /// There is nobody any more who could take it.
    Gone,
}

impl<F: FileSystem> Relay<F> {
    pub(crate) fn new(
        fs: Arc<F>,
        shared: Arc<Shared>,
        kept: Kept,
        cursors: Vec<BTreeMap<SegmentId, Cursor>>,
        random: Random,
    ) -> Self {
        let names = shared.config.sinks.iter().cloned();
        let sinks = names.zip(cursors).map(|(name, cursors)| Sink::new(name, &cursors, &shared)).collect();
        let mut relay = Self {
            fs,
            shared,
            random,
            sinks,
            kept,
            examined: BTreeSet::new(),
            leftover: BTreeSet::new(),
            leftover_at: Duration::ZERO,
            uncounted: Vec::new(),
            corrupt_files: 0,
            removed_files: 0,
            claims: 0,
        };
        let known = relay.shared.lock().segments.clone();
        // Files that all were done with when the earlier process ended.
        relay.leftover = known.keys().copied().filter(|id| relay.is_done(*id)).collect();
        relay.uncounted =
            known.iter().filter(|(_, segment)| segment.lines.is_none()).map(|(id, _)| *id).collect();
        relay
    }

    /// The next events of a sink, if there are any and it is not left alone for a while; what was out before is out
    /// no more. `parse` makes an event of its JSON; what it cannot is quarantined.
    pub(crate) fn claim<T>(
        &mut self,
        sink: usize,
        now: Now,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Claim<T>> {
        if self.sinks.get(sink).is_none_or(|sink| sink.is_disabled || sink.not_before > now.tick) {
            return None;
        }
        loop {
            let segment = self.sinks.get_mut(sink)?.next(&self.shared, now)?;
            match self.read(sink, segment, now, &parse) {
                Ok(None) => {}
                Ok(claim) => return claim,
                Err(error) => {
                    // One file that cannot be read holds up no other.
                    self.shared.fault("read", error);
                    let progress = self.sinks.get_mut(sink)?.progress.entry(segment).or_default();
                    progress.retry_at = now.tick.saturating_add(RETRY);
                }
            }
        }
    }

    /// The first `accepted` events of the batch are delivered. Whether that is a batch that is out.
    pub(crate) fn ack(&mut self, sink: usize, id: u64, accepted: usize, now: Now) -> bool {
        let Some((state, held)) = self.take_held(sink, id) else { return false };
        let is_whole = accepted >= held.marks.len();
        let mark = if is_whole {
            Some(held.end)
        } else {
            accepted.checked_sub(1).and_then(|last| held.marks.get(last).copied())
        };
        state.settled.delivered += held.marks.len().min(accepted) as u64;
        if is_whole {
            state.failures = 0;
        }
        if !is_whole {
            self.leave_alone(sink, Duration::ZERO, now);
        } else if let Some(state) = self.sinks.get_mut(sink) {
            state.limit = state.limit.saturating_mul(2).min(self.shared.config.batch_size);
        }
        if let Some(mark) = mark {
            self.settle(sink, held.segment, mark, is_whole && held.is_last, now);
        }
        self.tell_flushed(sink, &held, accepted, mark, !is_whole, now);
        true
    }

    /// The batch is not delivered. Whether that is a batch that is out.
    pub(crate) fn nack(&mut self, sink: usize, id: u64, failure: Failure, now: Now) -> bool {
        let Some((state, held)) = self.take_held(sink, id) else { return false };
        match failure {
            Failure::Retry(wait) => self.leave_alone(sink, wait, now),
            Failure::Gone => {
                state.is_disabled = true;
                let name = state.name.clone();
                self.shared.tell(&Signal::Disabled { sink: &name });
            }
            // One of them is not wanted: half of them are tried, until it is alone.
            Failure::Refused(_) if held.marks.len() > 1 => state.limit = held.marks.len() / 2,
            Failure::Refused(reason) => {
                let place = held.marks.first().map(|mark| (held.segment, mark.start));
                // What was refused before may be gone meanwhile: another event starts anew.
                let before = state.refused.filter(|(of, _)| Some(*of) == place).map_or(0, |(_, times)| times);
                let times = before.saturating_add(1);
                state.refused = place.map(|place| (place, times));
                let is_final = times >= self.shared.config.refusals;
                let buried = if is_final { self.bury(sink, &held, &reason) } else { Ok(()) };
                match buried {
                    Ok(()) if is_final => self.give_up(sink, &held, now),
                    Ok(()) => self.leave_alone(sink, Duration::ZERO, now),
                    Err(error) => {
                        self.shared.fault("dead letter", error);
                        self.leave_alone(sink, Duration::ZERO, now);
                    }
                }
            }
        }
        self.tell_flushed(sink, &held, 0, None, true, now);
        true
    }

    /// The sink's destination is back: it gets events as if it had never failed.
    pub(crate) fn enable(&mut self, sink: usize) {
        if let Some(sink) = self.sinks.get_mut(sink) {
            (sink.is_disabled, sink.failures, sink.not_before) = (false, 0, Duration::ZERO);
        }
    }

    /// What was out and nobody settled can be claimed again.
    pub(crate) fn release(&mut self, sink: usize) {
        if let Some(sink) = self.sinks.get_mut(sink) {
            sink.held = None;
        }
    }

    /// When something may be claimed that cannot be now, if time alone decides.
    pub(crate) fn claim_at(&self, sink: usize, now: Now) -> Option<Duration> {
        let sink = self.sinks.get(sink).filter(|sink| !sink.is_disabled)?;
        let later = |at: &Duration| *at > now.tick;
        let retries =
            sink.progress.values().filter(|progress| !progress.is_done).map(|progress| progress.retry_at);
        Some(sink.not_before).filter(later).or_else(|| retries.filter(later).min())
    }

    /// Does a piece of what is to be done at some time: counts a file, or removes one. Whether there is more to do now.
    pub(crate) fn maintain(&mut self, now: Now) -> bool {
        let has_more = self.discard_next(now);
        if now.tick >= self.leftover_at
            && let Some(id) = self.leftover.pop_first()
        {
            self.finish(id, now);
        }
        if let Some(id) = self.uncounted.pop() {
            // One that cannot be read now is counted when it is claimed.
            let _ = self.count(id);
        }
        has_more || !self.uncounted.is_empty()
    }

    /// When [`Relay::maintain`] has something to do again.
    pub(crate) fn maintain_at(&self) -> Option<Duration> {
        let leftover = (!self.leftover.is_empty()).then_some(self.leftover_at);
        leftover.into_iter().chain(self.discard_at()).min()
    }

    fn take_held(&mut self, sink: usize, id: u64) -> Option<(&mut Sink, Held)> {
        let sink = self.sinks.get_mut(sink)?;
        let held = sink.held.take_if(|held| held.id == id)?;
        Some((sink, held))
    }

    /// Reads a batch from one file; `None` where nothing is left in it, which is settled at once.
    fn read<T>(
        &mut self,
        sink: usize,
        segment: SegmentId,
        now: Now,
        parse: &impl Fn(&str) -> Option<T>,
    ) -> io::Result<Option<Claim<T>>> {
        self.shared.tell(&Signal::PendingFiles(self.shared.lock().segments.len() as u64));
        self.count(segment)?;
        let Some(state) = self.sinks.get(sink) else { return Ok(None) };
        let begin = state.progress.get(&segment).copied().unwrap_or_default().cursor;
        let limit = state.limit;
        let file = self.fs.open(&segment.sealed())?;
        let len = file.len()?;
        let mut lines = Lines::new(&file, begin.offset);
        let mut mark = Mark { cursor: begin, ..Mark::default() };
        let (mut events, mut marks, mut is_last) = (Vec::new(), Vec::new(), false);
        while events.len() < limit && mark.cursor.offset.saturating_sub(begin.offset) < BATCH_BYTES {
            let Some(line) = lines.next()? else {
                is_last = true;
                break;
            };
            mark.start = line.start;
            mark.cursor = Cursor { offset: line.end, lines: mark.cursor.lines + 1 };
            let event = match line.bytes.map(decode_addressed) {
                Some((Record::Blank, _)) => {
                    mark.blank += 1;
                    continue;
                }
                Some((Record::Erased, _)) => {
                    mark.erased += 1;
                    continue;
                }
                Some((_, to)) if self.is_for_another(sink, to) => {
                    mark.blank += 1;
                    continue;
                }
                Some((Record::Event(json), _)) => parse(json),
                Some((Record::Bad, _)) | None => None,
            };
            match event {
                Some(event) => {
                    events.push(event);
                    marks.push(mark);
                }
                None => {
                    self.quarantine(segment, &file, parse)?;
                    mark.bad += 1;
                }
            }
        }
        is_last |= mark.cursor.offset >= len;
        if events.is_empty() {
            // The end of the file, or as many bad lines as a batch has bytes.
            self.settle(sink, segment, mark, is_last, now);
            return Ok(None);
        }
        self.claims += 1;
        let id = self.claims;
        if let Some(state) = self.sinks.get_mut(sink) {
            state.held =
                Some(Held { id, segment, from: begin.offset, marks, end: mark, is_last, since: now.tick });
        }
        Ok(Some(Claim { id, events }))
    }

    /// Whether a line is for another sink than this one. One for a sink that is not there any more is for all.
    fn is_for_another(&self, sink: usize, to: Option<&str>) -> bool {
        let place = to.and_then(|to| self.sinks.iter().position(|known| known.name.as_str() == to));
        place.is_some_and(|place| place != sink)
    }

    /// Puts every bad line of a file aside, so that a cursor may pass them.
    fn quarantine<T>(
        &mut self,
        segment: SegmentId,
        file: &F::File,
        parse: &impl Fn(&str) -> Option<T>,
    ) -> io::Result<()> {
        if self.examined.contains(&segment) {
            return Ok(());
        }
        let is_bad = |line: &[u8]| match decode(line) {
            Record::Blank | Record::Erased => false,
            Record::Event(json) => parse(json).is_none(),
            Record::Bad => true,
        };
        let name = segment.corrupt(&segment.sealed());
        let is_new = !self.kept.has(segment.micros, &name);
        let (lines, bytes) = copy_bad(&*self.fs, &name, file, 0, is_bad)?;
        self.examined.insert(segment);
        self.kept.put(segment.micros, name.clone(), bytes);
        if is_new {
            self.corrupt_files += 1;
            self.shared.tell(&Signal::CorruptFile { lines });
        }
        self.shrink_kept(&name)
    }

    fn shrink_kept(&mut self, newest: &str) -> io::Result<()> {
        for bytes in self.kept.shrink(&*self.fs, self.shared.config.max_kept_bytes, newest)? {
            self.removed_files += 1;
            self.shared.tell(&Signal::KeptFileRemoved { bytes });
        }
        Ok(())
    }

    /// A sink is done with a file up to `mark`; that lasts before anything else is given to it. Where it cannot be
    /// made to last the sink goes on all the same: to stand still would help nobody, least of all a full disk.
    fn settle(&mut self, sink: usize, segment: SegmentId, mark: Mark, is_done: bool, now: Now) {
        let Some(state) = self.sinks.get_mut(sink) else { return };
        state.settled.quarantined += mark.bad;
        state.settled.blank += mark.blank;
        state.settled.erased += mark.erased;
        let progress = state.progress.entry(segment).or_default();
        (progress.cursor, progress.is_done) = (mark.cursor, is_done);
        if is_done && self.is_done(segment) {
            return self.finish(segment, now);
        }
        let Some(state) = self.sinks.get(sink) else { return };
        if let Err(error) = mark.cursor.store(&*self.fs, segment, state.name.as_str()) {
            self.shared.fault("cursor", error);
        }
    }

    fn is_done(&self, segment: SegmentId) -> bool {
        self.sinks.iter().all(|sink| sink.progress.get(&segment).is_some_and(|progress| progress.is_done))
    }

    /// Removes a file that every sink is done with; what was said of it only once it is sure to be gone.
    fn finish(&mut self, segment: SegmentId, now: Now) {
        let removed = remove_if_there(&*self.fs, &segment.sealed()).and_then(|()| self.fs.sync());
        if let Err(error) = removed {
            self.shared.fault("remove", error);
            self.leftover.insert(segment);
            self.leftover_at = now.tick.saturating_add(RETRY);
            return;
        }
        self.examined.remove(&segment);
        self.shared.removed(segment);
        for sink in &mut self.sinks {
            if sink.progress.remove(&segment).is_some() {
                // What is left of these is removed at the next start.
                let _ = self.fs.remove(&segment.cursor(sink.name.as_str()));
            }
        }
    }

    /// Learns how many lines a file has, so that the books are whole.
    fn count(&mut self, id: SegmentId) -> io::Result<()> {
        let segment = self.shared.lock().segments.get(&id).copied();
        let Some(segment) = segment.filter(|segment| segment.lines.is_none()) else { return Ok(()) };
        let lines = count(&self.fs.open(&id.sealed())?)?;
        for sink in &mut self.sinks {
            let passed = sink.progress.get(&id).map_or(0, |progress| progress.cursor.lines);
            sink.settled.found += lines.saturating_sub(segment.events).saturating_sub(passed);
        }
        self.shared.lock().counted(id, lines);
        Ok(())
    }

    fn leave_alone(&mut self, sink: usize, wait: Duration, now: Now) {
        let random = self.random.number();
        let Some(sink) = self.sinks.get_mut(sink) else { return };
        sink.failures = sink.failures.saturating_add(1);
        let wait = self.shared.config.backoff.wait(sink.failures, random).max(wait);
        sink.not_before = now.tick.saturating_add(wait);
    }

    /// Writes the one event of a batch to the dead letters.
    fn bury(&mut self, sink: usize, held: &Held, reason: &str) -> io::Result<()> {
        let (Some(state), Some(mark)) = (self.sinks.get(sink), held.marks.first()) else { return Ok(()) };
        let file = self.fs.open(&held.segment.sealed())?;
        let (name, start, end) = (held.segment.dead(state.name.as_str()), mark.start, mark.cursor.offset);
        let refusal = Refusal { sink: &state.name, segment: held.segment, offset: start, reason };
        let bytes = dead::bury(&*self.fs, &name, &file, start..end, &refusal)?;
        self.shared.tell(&Signal::DeadLetter { sink: &state.name });
        self.kept.put(held.segment.micros, name.clone(), bytes);
        self.shrink_kept(&name)
    }

    /// The one event of a batch is dead: the sink goes on behind it.
    fn give_up(&mut self, sink: usize, held: &Held, now: Now) {
        let batch_size = self.shared.config.batch_size;
        if let Some(state) = self.sinks.get_mut(sink) {
            state.settled.dead += 1;
            state.failures = 0;
            state.limit = state.limit.saturating_mul(2).min(batch_size);
        }
        self.settle(sink, held.segment, held.end, held.is_last, now);
    }

    fn tell_flushed(
        &self,
        sink: usize,
        held: &Held,
        events: usize,
        mark: Option<Mark>,
        has_failed: bool,
        now: Now,
    ) {
        let Some(sink) = self.sinks.get(sink) else { return };
        self.shared.tell(&Signal::Flushed {
            sink: &sink.name,
            elapsed: now.tick.saturating_sub(held.since),
            events: held.marks.len().min(events) as u64,
            bytes: mark.map_or(0, |mark| mark.cursor.offset.saturating_sub(held.from)),
            has_failed,
        });
    }
}
