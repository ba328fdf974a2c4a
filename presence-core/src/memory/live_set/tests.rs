//! The stories S-1 to S-7, and the port's promises.

mod laws;

use std::time::Duration;

use futures_executor::block_on;

use super::*;
use crate::{InstallId, UserId};

/// Noon of some day, in milliseconds.
const NOON: i64 = 1_717_156_800_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn noon(millis: i64) -> Timestamp {
    at(NOON.saturating_add(millis))
}

/// A heartbeat of `u:..` or `i:..`, by the default window of 180 s.
fn seen(member: &str, at: Timestamp) -> Seen {
    let floor = at.saturating_sub(Duration::from_secs(180));
    Seen::Member { member: Member::parse(member).unwrap(), at, floor }
}

fn bound(install: &str, at: Timestamp) -> Seen {
    Seen::Bound { install: InstallId::new(install).unwrap(), at }
}

fn live_set(heartbeats: &[Seen]) -> MemoryLiveSet {
    let set = MemoryLiveSet::new();
    heartbeats.iter().for_each(|seen| set.touch(seen.into()));
    set
}

fn online(set: &MemoryLiveSet, since: Timestamp) -> Vec<String> {
    set.list(since, None, usize::MAX).into_iter().map(|(member, _)| member.to_string()).collect()
}

fn three() -> MemoryLiveSet {
    live_set(&[seen("u:1", noon(0)), seen("u:2", noon(150_000)), seen("u:3", noon(180_000))])
}

#[test]
fn s_1_the_window_is_inclusive() {
    assert_eq!(three().count(noon(0)), 3);
}

#[test]
fn s_2_a_millisecond_later_the_first_is_gone() {
    assert_eq!(three().count(noon(1)), 2);
    assert_eq!(online(&three(), noon(1)), ["u:2", "u:3"]);
}

#[test]
fn s_3_a_shorter_window_is_inclusive_too() {
    assert_eq!(three().count(noon(150_000)), 2);
}

#[test]
fn s_6_a_straggler_of_a_bound_install_adds_no_member() {
    let set = live_set(&[
        seen("i:aaaaaaaa", noon(0)),
        seen("u:7", noon(10_000)),
        bound("aaaaaaaa", noon(10_000)),
        seen("i:aaaaaaaa", noon(15_000)),
    ]);
    assert_eq!(set.count(noon(-160_000)), 1);
    assert_eq!(online(&set, noon(-160_000)), ["u:7"]);

    set.touch((&seen("i:aaaaaaaa", noon(190_000))).into());
    assert_eq!(set.count(noon(10_000)), 1, "bound at the floor");
    set.touch((&seen("i:aaaaaaaa", noon(190_001))).into());
    assert_eq!(online(&set, noon(10_000)), ["i:aaaaaaaa", "u:7"], "bound before the floor");
}

#[test]
fn s_7_a_late_heartbeat_does_not_move_a_user_back() {
    let set = live_set(&[seen("u:1", at(100)), seen("u:1", at(90))]);
    assert_eq!(set.list(Timestamp::MIN, None, 9), [(Member::parse("u:1").unwrap(), at(100))]);
    assert_eq!((set.count(at(100)), set.count(at(101))), (1, 0));
}

#[test]
fn a_member_that_leaves_is_gone_until_its_next_touch() {
    let set = three();
    set.leave((&Member::parse("u:2").unwrap()).into());
    set.leave((&Member::parse("u:9").unwrap()).into());
    assert_eq!(online(&set, noon(0)), ["u:1", "u:3"]);
    set.touch((&seen("u:2", noon(-5_000))).into());
    assert_eq!(online(&set, noon(-5_000)), ["u:1", "u:2", "u:3"]);
    assert_eq!(set.count(noon(-4_999)), 2, "the heartbeat before it left is forgotten");
}

#[test]
fn leaving_does_not_unbind_an_install() {
    let set = live_set(&[seen("u:1", noon(0)), bound("aaaaaaaa", noon(0))]);
    set.leave((&Member::parse("i:aaaaaaaa").unwrap()).into());
    set.touch((&seen("i:aaaaaaaa", noon(1))).into());
    assert_eq!(online(&set, noon(0)), ["u:1"]);
}

#[test]
fn the_list_pages_in_order_without_gaps() {
    let long = format!("u:{}", "é".repeat(128));
    let written = ["i:bbbbbbbb", "i:zzzzzzzz", "u:a", "u:aa", "u:b", &long];
    let set = live_set(&written.map(|member| seen(member, noon(0))));
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = set.list(noon(0), after.as_ref().map(MemberRef::from), 2);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        listed.extend(page.iter().map(|(member, _)| member.to_string()));
    }
    assert_eq!(listed, written);
    assert_eq!(set.list(noon(0), None, 0), []);
}

#[test]
fn eviction_forgets_only_what_lies_before_it() {
    let set = three();
    assert_eq!(set.evict(noon(0), 9), 0);
    assert_eq!(set.evict(noon(180_000), 1), 1);
    assert_eq!(online(&set, Timestamp::MIN), ["u:2", "u:3"], "the oldest first");
    assert_eq!(set.evict(noon(150_001), 9), 1);
    assert_eq!(set.evict(Timestamp::MAX, 0), 0);
    assert_eq!(online(&set, Timestamp::MIN), ["u:3"]);
}

/// More users than one eviction clears away, seen in the first millisecond of one second.
fn many(first: usize, at: Timestamp) -> Vec<Seen> {
    (first..first.saturating_add(10_000)).map(|n| seen(&format!("u:{n}"), at)).collect()
}

#[test]
fn whoever_was_evicted_with_a_second_may_come_back_in_it() {
    let set = live_set(&many(0, noon(0)));
    assert_eq!(set.evict(noon(1_000), usize::MAX), 10_000);
    assert_eq!((set.count(Timestamp::MIN), online(&set, Timestamp::MIN).len()), (0, 0));
    let [old, new] = ["u:7", "u:x"].map(|member| Member::parse(member).unwrap());
    set.leave((&old).into());
    assert_eq!(set.last_seen((&old).into()), None);

    set.touch((&seen("u:7", noon(3))).into());
    set.touch((&seen("u:x", noon(2))).into());
    assert_eq!(online(&set, Timestamp::MIN), ["u:7", "u:x"]);
    assert_eq!(set.count(noon(3)), 1);
    assert_eq!(set.last_seen((&new).into()), Some(noon(2)));
    assert_eq!(set.evict(noon(1_000), usize::MAX), 2, "beside those that are not cleared away yet");
    assert!(online(&set, Timestamp::MIN).is_empty());

    set.touch((&seen("u:7", noon(1))).into());
    set.leave((&old).into());
    assert_eq!((set.count(Timestamp::MIN), set.evict(Timestamp::MAX, usize::MAX)), (0, 0));
}

#[test]
fn whoever_was_evicted_makes_room_for_the_next() {
    let set = MemoryLiveSet::new();
    for round in 0..4 {
        let at = noon(1_000).saturating_add(Duration::from_secs(round));
        let users = many((round as usize).saturating_mul(10_000), at);
        set.touch_all(&users.iter().map(SeenRef::from).collect::<Vec<_>>());
        assert_eq!(set.lock().chunks(), 10, "1,024 members each");
        assert_eq!(set.evict(at.saturating_add(Duration::from_secs(1)), usize::MAX), 10_000);
    }
    assert_eq!((0..9).take_while(|_| set.lock().clear_away()).count(), 9);
    assert_eq!(set.evict(Timestamp::MAX, usize::MAX), 0);
    assert!(!set.lock().clear_away(), "some evictions later, nobody is left to clear away");
}

#[test]
fn who_was_evicted_unreported_is_reported_as_left() {
    let set = MemoryLiveSet::recording();
    many(0, noon(0)).iter().for_each(|seen| set.touch(seen.into()));
    assert_eq!(set.changes(4_000).seen.len(), 4_000);
    set.evict(noon(1_000), usize::MAX);
    set.touch((&seen("u:9999", noon(2_000))).into());
    let changes = set.changes(usize::MAX);
    assert_eq!((changes.left.len(), changes.seen.len()), (6_000, 1), "the one that came back, in both");
    assert!(set.changes(9).is_empty());
}

#[test]
fn the_port_does_what_the_set_does() {
    let set = MemoryLiveSet::default();
    let port: &dyn LiveSet = &set;
    let user = Member::User(UserId::new("1").unwrap());
    block_on(async {
        port.touch(vec![seen("u:1", noon(0)), seen("i:aaaaaaaa", noon(1))]).await.unwrap();
        assert_eq!(port.count(noon(1)).await.unwrap(), 1);
        port.leave(vec![Member::parse("i:aaaaaaaa").unwrap()]).await.unwrap();
        assert_eq!(port.list(noon(0), None, 9).await.unwrap(), [(user.clone(), noon(0))]);
        assert_eq!(port.list(noon(0), Some(user), 9).await.unwrap(), []);
        assert_eq!(port.evict(Timestamp::MAX, 9).await.unwrap(), 1);
    });
    assert_eq!(format!("{set:?}"), "MemoryLiveSet { .. }");
}

#[test]
fn a_change_is_told_once_and_again_when_it_is_put_back() {
    let set = MemoryLiveSet::recording();
    let [user, install] = ["u:1", "i:aaaaaaaa"].map(|member| Member::parse(member).unwrap());
    set.touch((&seen("u:1", noon(0))).into());
    set.touch((&bound("aaaaaaaa", noon(0))).into());
    let changes = set.changes(9);
    assert_eq!((&changes.left[..], &changes.seen[..]), (&[][..], &[(user.clone(), noon(0))][..]));
    assert_eq!(changes.bound, [(InstallId::new("aaaaaaaa").unwrap(), noon(0))]);
    assert_eq!(changes.len(), 2);
    assert!(set.changes(9).is_empty());

    set.leave((&user).into());
    set.put_back(&changes);
    let changes = set.changes(9);
    assert_eq!((&changes.left[..], changes.len()), (&[user.clone()][..], 2));

    set.touch((&seen("u:1", noon(-1))).into());
    set.put_back(&changes);
    let changes = set.changes(9);
    assert_eq!((&changes.left[..], &changes.seen[..]), (&[user.clone()][..], &[(user, noon(-1))][..]));
    assert_eq!(set.changes(9), Changes::default());

    set.evict(Timestamp::MAX, 9);
    assert!(set.changes(9).is_empty(), "everybody evicts");
    set.put_back(&changes);
    assert_eq!(set.changes(9).left.len(), 2, "the user and {install}, of whom nothing is known any more");
    assert_eq!(install.to_string(), "i:aaaaaaaa");
}

#[test]
fn an_instant_that_moves_back_is_told_with_a_departure() {
    let set = MemoryLiveSet::recording();
    set.touch((&seen("i:aaaaaaaa", noon(9_000))).into());
    assert_eq!(set.changes(9).len(), 1);
    set.touch((&bound("aaaaaaaa", noon(0))).into());
    let changes = set.changes(9);
    assert_eq!(changes.left, [Member::parse("i:aaaaaaaa").unwrap()], "others keep the latest they heard of");
    assert_eq!(changes.bound, [(InstallId::new("aaaaaaaa").unwrap(), noon(0))]);
}

#[test]
fn a_set_that_does_not_record_has_no_changes() {
    let set = three();
    set.leave((&Member::parse("u:2").unwrap()).into());
    assert!(set.changes(9).is_empty());
    set.put_back(&Changes { left: vec![Member::parse("u:2").unwrap()], ..Changes::default() });
    assert!(set.changes(9).is_empty());
}
