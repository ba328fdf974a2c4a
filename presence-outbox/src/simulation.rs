//! Every crash of many lives, on a disk that is a value: see `script` for the lives, `crash` for what a crash leaves,
//! and `check` for what has to hold of it.
//!
//! `PRESENCE_CRASH_STATES=1000000 cargo test --release -p presence-outbox simulation` looks at a million states.

mod check;
mod crash;
mod discards;
mod disk;
mod faults;
mod life;
mod script;

use std::time::Duration;

use check::{Known, Oath, check};
use crash::Policy;
use disk::{SimDisk, SimFs};
use script::{Life, Luck};

use crate::{Durability, OutboxConfig, SinkName, WhenFull, random::Random};

/// Operations of one life.
const OPERATIONS: usize = 400;

fn config(durability: Durability) -> OutboxConfig {
    let sink = |name| SinkName::new(name).expect("a name");
    let config = OutboxConfig::new("").sink(sink("webhook")).sink(sink("kafka"));
    config.batch_size(4).durability(durability).flush_interval(Duration::from_millis(50)).refusals(2)
}

/// Lives one life after the other, and looks at what every crash would leave, until so many states were looked at.
fn crash_everywhere(config: &OutboxConfig, luck: Luck, oath: Oath, wanted: usize) {
    let (mut states, mut lives) = (0, 0);
    let (mut dead, mut discarded, mut requeued, mut erased) = (0, 0, 0, 0);
    while states < wanted {
        lives += 1;
        let disk = SimDisk::new();
        let mut life = Life::new(&disk, config.clone(), luck, lives);
        let known = life.known();
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        disk.watch({
            let (count, mut random) = (count.clone(), Random::new(lives));
            move |state| {
                for policy in Policy::ALL {
                    check(state, policy, &known.lock().expect("one thread"), oath, &mut random);
                    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
        });
        (0..OPERATIONS).for_each(|_| life.operation());
        disk.watch(|_| {});
        let life = life.end();
        (dead, discarded) = (dead + life.dead, discarded + life.discarded);
        (requeued, erased) = (requeued + life.requeued, erased + life.erased);
        states += count.load(std::sync::atomic::Ordering::Relaxed);
    }
    let ways = format!("{dead} dead, {requeued} requeued, {discarded} discarded, {erased} erased");
    println!("{states} crash states of {lives} lives: {ways}");
    // A bad disk lets few of them happen.
    let is_rich = luck == Luck::Bad || (dead > 0 && requeued > 0 && erased > 0);
    assert!(discarded > 0 && (lives < 3 || is_rich), "every way out was taken: {ways}");
}

/// At least so many states, or `share` parts in ten of as many as were asked for.
fn wanted(states: usize, share: usize) -> usize {
    let asked = std::env::var("PRESENCE_CRASH_STATES").ok().map(|text| text.parse().expect("a number"));
    asked.map_or(states, |asked: usize| asked / 10 * share)
}

#[test]
fn no_crash_loses_invents_or_repeats_more_than_a_batch() {
    crash_everywhere(&config(Durability::Fsync), Luck::Good, Oath::All, wanted(50_000, 7));
}

#[test]
fn no_crash_after_faults_of_the_disk_loses_what_was_answered() {
    crash_everywhere(&config(Durability::Fsync), Luck::Bad, Oath::NothingLost, wanted(10_000, 1));
}

#[test]
fn the_end_of_a_process_loses_nothing_where_the_operating_system_is_trusted() {
    crash_everywhere(&config(Durability::Process), Luck::Good, Oath::UnlessPowerFails, wanted(10_000, 1));
}

#[test]
fn no_crash_loses_what_need_not_make_room() {
    let config = config(Durability::Fsync).max_bytes(2000).when_full(WhenFull::DropOldest);
    crash_everywhere(&config, Luck::Good, Oath::All, wanted(10_000, 1));
}

#[test]
fn what_a_checker_should_find_it_finds() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let disk = SimDisk::new();
    let mut life = Life::new(&disk, config(Durability::Fsync), Luck::Good, 1);
    (0..40).for_each(|_| life.operation());
    let (known, state) = (life.known(), disk.state());
    let fails = |change: &dyn Fn(&mut Known)| {
        let mut known = known.lock().expect("one thread").clone();
        change(&mut known);
        let checking =
            AssertUnwindSafe(|| check(&state, Policy::Keep, &known, Oath::All, &mut Random::new(1)));
        catch_unwind(checking).is_err()
    };
    assert!(!fails(&|_| {}), "all is well");
    assert!(fails(&|known| known.answer_one_more()), "an answered event that is not there");
    assert!(fails(&|known| known.forget_attempts()), "events that nobody enqueued");
    assert!(fails(&|known| known.send_everything()), "events that were settled and come again");
}
