//! A life: an outbox that is used in every way, decided by one number.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    check::Known,
    disk::{Failing, SimDisk, SimFs},
};
use crate::{
    OutboxConfig, WhenFull,
    appender::Encoded,
    host::Now,
    random::Random,
    record::{Record, decode, encode},
    relay::Failure,
    requeue::requeue,
    writer::Opened,
};

/// Whether the disk does what it is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Luck {
    Good,
    Bad,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Event {
    pub(super) id: usize,
    text: String,
}

impl Event {
    pub(super) fn new(id: usize) -> Self {
        Self { id, text: "abcdefghijklmnopqrstuvwxyz"[..id * 7 % 26].repeat(id % 5) }
    }
}

pub(super) fn parse(json: &str) -> Option<Event> {
    serde_json::from_str(json).ok()
}

/// The event in a line.
pub(super) fn event(line: &[u8]) -> Option<Event> {
    match decode(line) {
        Record::Event(json) => parse(json),
        _ => None,
    }
}

pub(super) struct Life {
    config: OutboxConfig,
    outbox: Opened<SimFs>,
    disk: SimDisk,
    known: Arc<Mutex<Known>>,
    random: Random,
    now: Now,
    luck: Luck,
    pub(super) dead: u64,
    pub(super) discarded: u64,
    pub(super) requeued: u64,
    pub(super) erased: u64,
}

impl Life {
    pub(super) fn new(disk: &SimDisk, config: OutboxConfig, luck: Luck, seed: u64) -> Self {
        let now = Now { micros: 1_700_000_000_000_000, tick: Duration::ZERO };
        let known = Known::new(config.clone());
        let outbox = Opened::recover(disk.fs(), config.clone(), now, seed).expect("an empty disk");
        if luck == Luck::Bad {
            disk.fail(Failing::Sometimes(25));
        }
        let known = Arc::new(Mutex::new(known));
        Self {
            config,
            outbox,
            disk: disk.clone(),
            known,
            random: Random::new(seed ^ 0x5eed),
            now,
            luck,
            dead: 0,
            discarded: 0,
            requeued: 0,
            erased: 0,
        }
    }

    pub(super) fn known(&self) -> Arc<Mutex<Known>> {
        self.known.clone()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().expect("one thread"))
    }

    /// Does something.
    pub(super) fn operation(&mut self) {
        let millis = self.random.number() % 20;
        self.pass(Duration::from_millis(millis));
        match self.random.number() % 100 {
            0..42 => self.append(),
            42..46 => drop(self.outbox.appender.seal(self.now)),
            46..52 => {
                self.pass(Duration::from_millis(60));
                self.outbox.appender.tick(self.now);
            }
            52..55 => self.maintain(),
            55 => self.expire(),
            56..59 => self.restart(),
            59 => self.erase(),
            kind => {
                let sink = (self.random.number() % 2) as usize;
                // Now and then all there is, so that little is left to look at after each crash.
                let all = kind >= 90;
                while self.deliver(sink, kind) && all {}
            }
        }
    }

    /// Lets time pass; the clock on the wall sometimes goes back.
    fn pass(&mut self, time: Duration) {
        self.now.tick += time;
        let steps_back = self.random.number().is_multiple_of(50);
        let micros = time.as_micros() as u64;
        self.now.micros = if steps_back { self.now.micros - 1_000_000 } else { self.now.micros + micros };
    }

    /// Everybody is gone for long, and what is sealed is kept no longer.
    fn expire(&mut self) {
        self.pass(Duration::from_secs(73 * 3600));
        (0..2).for_each(|sink| self.outbox.relay.release(sink));
        self.maintain();
        let left = self.sealed();
        assert!(self.luck == Luck::Bad || left.is_empty(), "{left:?}");
    }

    /// Some events are to be forgotten.
    fn erase(&mut self) {
        let own = self.random.number() as usize % 11;
        let is_own = move |id: usize| id % 11 == own;
        self.with(|known| known.erase(is_own, false));
        let sealed = self.outbox.appender.seal(self.now).is_ok();
        let erased = self.outbox.relay.erase(&|line| event(line).is_some_and(|event| is_own(event.id)));
        assert!(self.luck == Luck::Bad || (sealed && erased.is_ok()), "{erased:?}");
        if sealed && let Ok(erased) = erased {
            self.erased += erased.waiting + erased.aside;
            self.with(|known| known.erase(is_own, true));
        }
    }

    /// The process is killed, and the next one begins; sometimes somebody brings back the dead letters between the two.
    fn restart(&mut self) {
        self.count();
        self.with(Known::restart);
        if self.random.number().is_multiple_of(2) {
            self.with(Known::requeue);
            let requeued = requeue(&self.disk.fs(), self.now);
            assert!(self.luck == Luck::Bad || requeued.is_ok(), "{requeued:?}");
            self.requeued += requeued.map_or(0, |requeued| requeued.events);
        }
        if self.luck == Luck::Bad {
            self.disk.fail(Failing::Nothing);
        }
        let seed = self.random.number();
        self.outbox =
            Opened::recover(self.disk.fs(), self.config.clone(), self.now, seed).expect("a disk that works");
        if self.luck == Luck::Bad {
            self.disk.fail(Failing::Sometimes(25));
        }
    }

    /// Notes what became of events, before those who know it are gone.
    fn count(&mut self) {
        let books = self.outbox.relay.books();
        assert!(books.balance(), "{books:#?}");
        for sink in books.sinks {
            self.dead += sink.dead;
            self.discarded += sink.expired + sink.evicted;
        }
    }

    /// Whatever is to be done at some time; what has to go goes here.
    fn maintain(&mut self) {
        let before = self.sealed();
        let goes = self.config.when_full == WhenFull::DropOldest || self.now.tick >= self.config.retention;
        if goes {
            self.with(|known| known.let_go(&before));
        }
        while self.outbox.relay.maintain(self.now) {}
        if self.luck == Luck::Good {
            let left = self.sealed();
            self.with(|known| known.keep(&left));
        }
    }

    /// The events in sealed files.
    fn sealed(&self) -> BTreeSet<usize> {
        let files = self.disk.listing().into_iter().filter(|(name, _)| name.starts_with("sealed-"));
        let text: Vec<_> = files.flat_map(|(_, content)| content).collect();
        text.split(|byte| *byte == b'\n').filter_map(event).map(|event| event.id).collect()
    }

    fn append(&mut self) {
        let mut group = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..=self.random.number() % 2 {
            let (mut encoded, mut own) = (Encoded::default(), Vec::new());
            for _ in 0..=self.random.number() % 3 {
                let id = self.with(Known::attempt);
                encode(&Event::new(id), true, &mut encoded.bytes).expect("JSON");
                encoded.ends.push(encoded.bytes.len());
                own.push(id);
            }
            group.push(encoded);
            ids.push(own);
        }
        let group: Vec<_> = group.iter().collect();
        let answers = self.outbox.appender.append(&group, self.now);
        for (answer, ids) in answers.into_iter().zip(ids) {
            match answer {
                Ok(appended) => {
                    assert_eq!((appended.enqueued, appended.dropped), (ids.len(), 0), "there is room");
                    self.with(|known| known.answer(&ids));
                }
                Err(_) => assert_eq!(self.luck, Luck::Bad, "the disk did nothing wrong"),
            }
        }
    }

    fn deliver(&mut self, sink: usize, kind: u64) -> bool {
        // Now and then whoever had a batch forgot it, and waits long enough after failures.
        let now = Now { tick: self.now.tick + Duration::from_secs(60), ..self.now };
        self.now = now;
        let claim = self.outbox.relay.claim(sink, now, parse);
        let Some(claim) = claim else { return false };
        let ids: Vec<_> = claim.events.iter().map(|event| event.id).collect();
        // From here on the destination may have them.
        self.with(|known| known.send(sink, &ids));
        match kind {
            ..64 => {} // forgotten
            64..66 => {
                let accepted = self.random.number() as usize % (ids.len() + 1);
                assert!(self.outbox.relay.ack(sink, claim.id, accepted, now));
                // The others come again: the destination did not take them.
                self.with(|known| known.settle(sink, accepted));
            }
            66..70 => {
                assert!(self.outbox.relay.nack(sink, claim.id, Failure::Retry(Duration::ZERO), now));
                self.with(|known| known.not_sent(sink, &ids));
            }
            70..80 => {
                assert!(self.outbox.relay.nack(sink, claim.id, Failure::Refused("no".to_owned()), now));
                self.with(|known| known.refuse(sink, &ids));
            }
            _ => {
                assert!(self.outbox.relay.ack(sink, claim.id, ids.len(), now));
                self.with(|known| known.settle(sink, ids.len()));
            }
        }
        true
    }

    /// Everything is delivered, and the books balance.
    pub(super) fn end(mut self) -> Self {
        self.disk.fail(Failing::Nothing);
        self.now.tick += Duration::from_secs(60);
        self.outbox.appender.seal(self.now).expect("a disk that works");
        for sink in 0..2 {
            loop {
                self.now.tick += Duration::from_secs(60);
                let Some(claim) = self.outbox.relay.claim(sink, self.now, parse) else { break };
                assert!(self.outbox.relay.ack(sink, claim.id, claim.events.len(), self.now));
            }
        }
        while self.outbox.relay.maintain(self.now) {}
        let books = self.outbox.relay.books();
        assert!(books.balance(), "{books:#?}");
        assert_eq!((books.pending_bytes, books.pending_files), (0, 0));
        assert!(books.sinks.iter().all(|sink| sink.pending == 0), "{books:#?}");
        if self.luck == Luck::Good {
            assert_eq!(books.failed, 0);
            assert!(books.sinks.iter().all(|sink| sink.quarantined == 0), "{books:#?}");
        }
        self.count();
        self
    }
}
