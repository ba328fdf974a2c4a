//! What has to hold after a crash.

use super::{
    crash::Policy,
    disk::{Failing, SimDisk, State},
    script::{Event, event, parse},
};
use crate::{Durability, OutboxConfig, dead::Letter, host::Now, random::Random, writer::Opened};
use std::{collections::BTreeSet, time::Duration};

/// What is promised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Oath {
    /// Nothing answered is lost, nothing is invented, at most one batch of a sink is repeated, all in order.
    All,
    /// The same, but where the power failed what was answered last may be gone.
    UnlessPowerFails,
    /// Nothing answered is lost, and nothing is invented: the disk itself had failed before.
    NothingLost,
}

/// What the world outside knows of a life.
#[derive(Clone, Debug)]
pub(super) struct Known {
    config: OutboxConfig,
    /// For each event whether it was answered.
    answered: Vec<bool>,
    sinks: [Sent; 2],
    /// Whose time is over, or that make room: they are there or not.
    may_be_gone: BTreeSet<usize>,
    /// Who must not be anywhere.
    erased: BTreeSet<usize>,
}

/// What a sink's destination may have.
#[derive(Clone, Debug, Default)]
struct Sent {
    /// For each event whether it was delivered, or became a dead letter.
    has: Vec<bool>,
    /// The batch that is not settled.
    out: Vec<usize>,
    /// How often the one event was refused.
    refused: Option<(usize, u32)>,
    /// Dead letters: each is kept, or waits again.
    dead: BTreeSet<usize>,
    /// Those of them that somebody has requeued, or is about to.
    back: BTreeSet<usize>,
}

impl Known {
    pub(super) fn new(config: OutboxConfig) -> Self {
        Self {
            config,
            answered: Vec::new(),
            sinks: Default::default(),
            may_be_gone: BTreeSet::new(),
            erased: BTreeSet::new(),
        }
    }

    pub(super) fn attempt(&mut self) -> usize {
        self.answered.push(false);
        self.sinks.iter_mut().for_each(|sink| sink.has.push(false));
        self.answered.len() - 1
    }

    pub(super) fn answer(&mut self, ids: &[usize]) {
        ids.iter().for_each(|id| self.answered[*id] = true);
    }

    pub(super) fn send(&mut self, sink: usize, ids: &[usize]) {
        let sink = &mut self.sinks[sink];
        // One that was forgotten, and comes no more because its file has to go, may come after a crash.
        let forgotten = std::mem::replace(&mut sink.out, ids.to_vec());
        forgotten.iter().for_each(|id| sink.has[*id] = false);
        ids.iter().for_each(|id| sink.has[*id] = true);
    }

    /// The destination did not take them after all.
    pub(super) fn not_sent(&mut self, sink: usize, ids: &[usize]) {
        let sink = &mut self.sinks[sink];
        ids.iter().for_each(|id| sink.has[*id] = false);
        sink.out.clear();
    }

    /// It will never take them; the second time one alone is dead.
    pub(super) fn refuse(&mut self, sink: usize, ids: &[usize]) {
        let known = &mut self.sinks[sink];
        let [id] = *ids else { return self.not_sent(sink, ids) };
        let before = known.refused.filter(|(refused, _)| *refused == id).map_or(0, |(_, count)| count);
        known.refused = Some((id, before + 1));
        if before + 1 < self.config.refusals {
            return self.not_sent(sink, ids);
        }
        known.out.clear();
        known.dead.insert(id);
        known.back.remove(&id);
    }

    /// A new process begins, and counts refusals anew.
    pub(super) fn restart(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.refused = None);
    }

    /// Dead letters come back from now on.
    pub(super) fn requeue(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.back.clone_from(&sink.dead));
    }

    /// It took the first so many of those that are out.
    pub(super) fn settle(&mut self, sink: usize, accepted: usize) {
        let sink = &mut self.sinks[sink];
        let out = std::mem::take(&mut sink.out);
        out[accepted..].iter().for_each(|id| sink.has[*id] = false);
        sink.dead.retain(|id| !out[..accepted].contains(id));
    }

    /// These may be gone from now on.
    pub(super) fn let_go(&mut self, ids: &BTreeSet<usize>) {
        self.may_be_gone.extend(ids);
    }

    /// These are being erased, or were.
    pub(super) fn erase(&mut self, is_erased: impl Fn(usize) -> bool, is_done: bool) {
        let ids = (0..self.answered.len()).filter(|id| is_erased(*id)).collect();
        self.let_go(&ids);
        if is_done {
            self.erased.extend(ids);
        }
    }

    /// These stayed after all, and have to.
    pub(super) fn keep(&mut self, ids: &BTreeSet<usize>) {
        self.may_be_gone.retain(|id| !ids.contains(id));
    }

    pub(super) fn answer_one_more(&mut self) {
        let id = self.attempt();
        self.answer(&[id]);
    }

    pub(super) fn forget_attempts(&mut self) {
        self.answered.clear();
    }

    pub(super) fn send_everything(&mut self) {
        self.sinks.iter_mut().for_each(|sink| {
            sink.has.fill(true);
            sink.out.clear();
        });
    }
}

/// Crashes, recovers, and delivers all there is.
pub(super) fn check(state: &State, policy: Policy, known: &Known, oath: Oath, random: &mut Random) {
    let image = policy.image(state, random);
    let recover = |disk: &SimDisk, seed| {
        let now = Now { micros: 1_700_000_500_000_000, tick: Duration::ZERO };
        Opened::recover(disk.fs(), known.config.clone(), now, seed)
    };
    if oath != Oath::NothingLost {
        let text: Vec<_> =
            image.listing().into_values().flat_map(|content| [content, b"\n".to_vec()].concat()).collect();
        let ids = text.split(|byte| *byte == b'\n').filter_map(event).map(|event| event.id);
        let left: Vec<_> = ids.filter(|id| known.erased.contains(id)).collect();
        assert!(left.is_empty(), "{policy:?}: {left:?} were erased and are there");
    }
    // Recovery succeeds, and once is enough.
    let disk = SimDisk::of(image.clone());
    let opened = recover(&disk, random.number()).expect("recovery never fails");
    drop(opened);
    let (whole, steps) = (disk.listing(), disk.changes());
    drop(recover(&disk, random.number()).expect("recovery never fails"));
    assert_eq!(disk.listing(), whole, "{policy:?}: a second recovery changes nothing");

    // A crash in the middle of it does no harm.
    let disk = if steps > 0 {
        let disk = SimDisk::of(image);
        disk.fail(Failing::After(random.number() as usize % steps));
        let halted = recover(&disk, random.number());
        assert!(halted.is_err(), "{policy:?}: a step of recovery failed and nobody noticed");
        let again = Policy::ALL[random.number() as usize % Policy::ALL.len()];
        // Where the process alone had ended, nothing but processes may end in what follows.
        let again = if policy == Policy::Keep { Policy::Keep } else { again };
        SimDisk::of(again.image(&disk.state(), random))
    } else {
        disk
    };
    let opened = recover(&disk, random.number()).expect("recovery never fails");
    drain(opened, &disk, policy, known, oath);
}

fn drain(mut opened: Opened<super::SimFs>, disk: &SimDisk, policy: Policy, known: &Known, oath: Oath) {
    let now = Now { micros: 1_700_001_000_000_000, tick: Duration::from_secs(1) };
    let may_lose = oath == Oath::UnlessPowerFails && policy != Policy::Keep;
    assert!(known.config.durability == Durability::Fsync || oath == Oath::UnlessPowerFails);
    for (sink, sent) in known.sinks.iter().enumerate() {
        let mut found = vec![false; known.answered.len()];
        let mut last = None;
        while let Some(claim) = opened.relay.claim(sink, now, parse) {
            for event in &claim.events {
                let id = event.id;
                assert!(id < known.answered.len(), "{policy:?}: {id} was never enqueued");
                assert_eq!(*event, Event::new(id), "{policy:?}: another event than was enqueued");
                found[id] = true;
                if oath != Oath::NothingLost && !(sent.dead.contains(&id) && sent.back.contains(&id)) {
                    assert!(last < Some(id), "{policy:?}: {id} after {last:?}");
                    assert!(
                        !sent.has[id] || sent.out.contains(&id),
                        "{policy:?}: {id} was settled, and comes again"
                    );
                    last = Some(id);
                }
            }
            assert!(opened.relay.ack(sink, claim.id, claim.events.len(), now));
        }
        let letters = letters(disk, known.config.sinks[sink].as_str());
        for (id, answered) in known.answered.iter().enumerate() {
            // One that came back and is out again is settled in this very moment, or not.
            let is_dead = sent.dead.contains(&id) && !sent.out.contains(&id);
            let is_settled = if is_dead { letters.contains(&id) } else { sent.has[id] };
            let is_safe = found[id] || is_settled || known.may_be_gone.contains(&id) || may_lose;
            assert!(!answered || is_safe, "{policy:?}: {id} was answered and is lost to sink {sink}");
        }
    }
    while opened.relay.maintain(now) {}
    let books = opened.relay.books();
    assert!(books.balance() && books.pending_bytes == 0, "{policy:?}: {books:#?}");
    let left: Vec<_> = disk.listing().into_keys().collect();
    let is_kept = |name: &String| name.starts_with("corrupt-") || name.starts_with("dead-");
    assert!(left.iter().all(is_kept), "{policy:?}: {left:?}");
}

/// The events that a sink has refused for good, by what is kept of them.
fn letters(disk: &SimDisk, sink: &str) -> BTreeSet<usize> {
    let files = disk.listing().into_iter().filter(|(name, _)| name.starts_with("dead-"));
    let text: Vec<_> = files.flat_map(|(_, content)| content).collect();
    let letters = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    letters
        .filter(|line| serde_json::from_slice::<Letter>(line).is_ok_and(|letter| letter.sink == sink))
        .filter_map(event)
        .map(|event| event.id)
        .collect()
}
