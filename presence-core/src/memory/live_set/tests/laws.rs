//! Laws against a map that keeps every rule the slow way.

use proptest::prelude::*;

use super::*;

/// An entry of the oracle.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    /// Seen last, and when a user was on it before that.
    Present(Timestamp, Option<Timestamp>),
    Bound(Timestamp),
}

impl Entry {
    fn at(self) -> Timestamp {
        match self {
            Self::Present(at, _) | Self::Bound(at) => at,
        }
    }

    /// What another live set is told of it.
    fn told(self) -> Self {
        match self {
            Self::Present(at, _) => Self::Present(at, None),
            Self::Bound(_) => self,
        }
    }
}

/// The rules, over a map that is read as a whole for every answer.
#[derive(Default)]
struct Oracle(BTreeMap<Member, Entry>);

impl Oracle {
    fn touch(&mut self, seen: &Seen) {
        let (member, next) = match seen {
            Seen::Member { member, at, floor } => {
                let next = match self.0.get(member) {
                    Some(Entry::Bound(bound)) if bound >= floor => Entry::Bound(*bound),
                    Some(Entry::Bound(bound)) => Entry::Present(*at, Some(*bound)),
                    Some(Entry::Present(last, bound)) => Entry::Present(*at.max(last), *bound),
                    None => Entry::Present(*at, None),
                };
                (member.clone(), next)
            }
            Seen::Bound { install, at } => {
                let member = Member::Install(install.clone());
                let bound = match self.0.get(&member) {
                    Some(Entry::Bound(bound) | Entry::Present(_, Some(bound))) => *at.max(bound),
                    _ => *at,
                };
                (member, Entry::Bound(bound))
            }
        };
        self.0.insert(member, next);
    }

    fn leave(&mut self, member: &Member) {
        match self.0.get(member) {
            Some(Entry::Present(_, Some(bound))) => self.0.insert(member.clone(), Entry::Bound(*bound)),
            Some(Entry::Present(_, None)) => self.0.remove(member),
            _ => None,
        };
    }

    fn list(&self, since: Timestamp, after: Option<&Member>, limit: usize) -> Vec<(Member, Timestamp)> {
        let mut written: Vec<_> = self.0.iter().map(|(member, entry)| (member.to_string(), entry)).collect();
        written.sort_by(|a, b| a.0.cmp(&b.0));
        let after = after.map(Member::to_string).unwrap_or_default();
        let listed = written.into_iter().filter_map(|(member, entry)| match entry {
            Entry::Present(last, _) if *last >= since && member > after => {
                Some((Member::parse(&member).unwrap(), *last))
            }
            _ => None,
        });
        listed.take(limit).collect()
    }

    fn evict(&mut self, before: Timestamp) -> u64 {
        let length = self.0.len();
        self.0.retain(|_, entry| entry.at() >= before);
        length.saturating_sub(self.0.len()) as u64
    }
}

impl Oracle {
    /// Hears of changes, as a live set elsewhere does.
    fn apply(&mut self, changes: &Changes) {
        for member in &changes.left {
            self.0.remove(member);
        }
        for (member, at) in &changes.seen {
            let last = match self.0.get(member) {
                Some(Entry::Present(last, _)) => *at.max(last),
                _ => *at,
            };
            self.0.insert(member.clone(), Entry::Present(last, None));
        }
        for (install, at) in &changes.bound {
            self.0.insert(Member::Install(install.clone()), Entry::Bound(*at));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Touch(Vec<Seen>),
    Leave(Member),
    Count(Timestamp),
    List(Timestamp, Option<Member>, usize),
    LastSeen(Member),
    Evict(Timestamp),
    EvictSome(Timestamp, usize),
    /// Drains at most so many changes; whether they can be written.
    Drain(usize, bool),
}

/// Mostly within a few seconds, so that seconds are shared and crossed; also at both ends of time, a day away, and
/// about the last second that has a bucket of its own.
fn instant() -> impl Strategy<Value = Timestamp> {
    let last = 4_294_967_294_000;
    prop_oneof![
        12 => (0..8_000_i64).prop_map(noon),
        3 => (0..8_i64).prop_map(|second| noon(second.saturating_mul(1000))),
        2 => (-90_000_000..90_000_000_i64).prop_map(noon),
        1 => (0..3_000_i64).prop_map(at),
        1 => (-1_500..1_500_i64).prop_map(move |millis| at(millis.saturating_add(last))),
        1 => (0..3_000_i64).prop_map(|millis| at(Timestamp::MAX.as_millis().saturating_sub(millis))),
        1 => (0..=Timestamp::MAX.as_millis()).prop_map(at),
    ]
}

fn install() -> impl Strategy<Value = InstallId> {
    (0..4_u32).prop_map(|n| InstallId::new(format!("install-{n}")).unwrap())
}

fn member() -> impl Strategy<Value = Member> {
    prop_oneof![
        install().prop_map(Member::Install),
        (0..6_u32).prop_map(|n| Member::User(UserId::new(format!("install-{n}")).unwrap())),
        (37..41_usize).prop_map(|n| Member::User(UserId::new("x".repeat(n)).unwrap())),
    ]
}

fn heartbeat() -> impl Strategy<Value = Seen> {
    let member = (member(), instant(), 0..4_000_u64).prop_map(|(member, at, window)| Seen::Member {
        member,
        at,
        floor: at.saturating_sub(Duration::from_millis(window)),
    });
    prop_oneof![3 => member, 1 => (install(), instant()).prop_map(|(install, at)| Seen::Bound { install, at })]
}

/// So many users that no step of work is done at once, at times more than an eviction clears away.
fn crowd() -> impl Strategy<Value = Vec<Seen>> {
    let size = prop_oneof![3 => 1..2_500_u32, 1 => 4_000..9_000_u32];
    (0..3_000_u32, size, instant(), (0..3_u64).prop_map(Duration::from_millis)).prop_map(
        |(first, count, at, step)| {
            let heartbeat = |n: u32| Seen::Member {
                member: Member::User(UserId::new(format!("crowd-{n}")).unwrap()),
                at: at.saturating_add(step.saturating_mul(n.saturating_sub(first))),
                floor: Timestamp::MIN,
            };
            (first..first.saturating_add(count)).map(heartbeat).collect()
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => proptest::collection::vec(heartbeat(), 1..4).prop_map(Step::Touch),
        1 => proptest::collection::vec(heartbeat(), 30..100).prop_map(Step::Touch),
        3 => member().prop_map(Step::Leave),
        6 => instant().prop_map(Step::Count),
        2 => (instant(), proptest::option::of(member()), 0..9_usize).prop_map(|(s, a, l)| Step::List(s, a, l)),
        2 => member().prop_map(Step::LastSeen),
        2 => instant().prop_map(Step::Evict),
        1 => (instant(), 0..4_usize).prop_map(|(before, limit)| Step::EvictSome(before, limit)),
        2 => (1..6_usize, any::<bool>()).prop_map(|(limit, written)| Step::Drain(limit, written)),
    ]
}

/// Runs the steps on a set and on the oracle: every answer is the same, and so is whoever heard only of the changes.
fn check(steps: Vec<Step>, is_recording: bool) -> Result<(), TestCaseError> {
    let set = if is_recording { MemoryLiveSet::recording() } else { MemoryLiveSet::new() };
    let mut oracle = Oracle::default();
    let mut mirror = Oracle::default();
    let mut evicted_to = Timestamp::MIN;
    for step in steps {
        match step {
            Step::Touch(seen) => {
                seen.iter().for_each(|seen| oracle.touch(seen));
                match &seen[..] {
                    [seen] => set.touch(seen.into()),
                    all => set.touch_all(&all.iter().map(SeenRef::from).collect::<Vec<_>>()),
                }
            }
            Step::Leave(member) => {
                oracle.leave(&member);
                set.leave((&member).into());
            }
            Step::Count(since) => {
                prop_assert_eq!(set.count(since), oracle.list(since, None, usize::MAX).len() as u64);
            }
            Step::List(since, after, limit) => {
                let listed = set.list(since, after.as_ref().map(MemberRef::from), limit);
                prop_assert_eq!(listed, oracle.list(since, after.as_ref(), limit));
            }
            Step::LastSeen(member) => {
                let expected = oracle.0.get(&member).and_then(|entry| match entry {
                    Entry::Present(last, _) => Some(*last),
                    Entry::Bound(_) => None,
                });
                prop_assert_eq!(set.last_seen((&member).into()), expected);
            }
            Step::Evict(before) => {
                evicted_to = evicted_to.max(before);
                prop_assert_eq!(set.evict(before, usize::MAX), oracle.evict(before));
            }
            Step::EvictSome(before, limit) => {
                // Which ones of a second are forgotten first is left open, so the rest goes at once.
                evicted_to = evicted_to.max(before);
                let due = oracle.evict(before);
                let some = set.evict(before, limit);
                prop_assert_eq!(some, due.min(limit as u64));
                prop_assert_eq!(set.evict(before, usize::MAX), due.saturating_sub(some));
            }
            Step::Drain(limit, is_written) => {
                let changes = set.changes(limit);
                if is_written { mirror.apply(&changes) } else { set.put_back(&changes) }
            }
        }
    }
    prop_assert_eq!(
        set.list(Timestamp::MIN, None, usize::MAX),
        oracle.list(Timestamp::MIN, None, usize::MAX)
    );
    if is_recording {
        loop {
            let changes = set.changes(1_000);
            mirror.apply(&changes);
            if changes.is_empty() {
                break;
            }
        }
        for (member, entry) in &oracle.0 {
            let heard = mirror.0.get(member).copied();
            prop_assert!(
                heard == Some(entry.told()) || heard.is_some_and(|heard| heard.at() < evicted_to),
                "{} is {:?}, heard {:?}",
                member,
                entry,
                heard
            );
        }
        mirror.0.retain(|member, entry| entry.at() >= evicted_to && !oracle.0.contains_key(member));
        prop_assert!(mirror.0.is_empty(), "only heard: {:?}", mirror.0);
    }
    // What is forgotten altogether leaves nothing behind.
    set.evict(Timestamp::MAX, usize::MAX);
    oracle.evict(Timestamp::MAX);
    prop_assert_eq!(set.list(Timestamp::MIN, None, 9), oracle.list(Timestamp::MIN, None, 9));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_answer_is_that_of_a_plain_map(steps in proptest::collection::vec(step(), 1..80)) {
        check(steps, false)?;
    }

    #[test]
    fn whoever_hears_only_of_the_changes_knows_the_same(steps in proptest::collection::vec(step(), 1..80)) {
        check(steps, true)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_crowd_is_answered_in_steps_as_at_once(
        steps in proptest::collection::vec(
            prop_oneof![2 => crowd().prop_map(Step::Touch), 3 => step()], 1..16,
        ),
        is_recording in any::<bool>(),
    ) {
        check(steps, is_recording)?;
    }
}
