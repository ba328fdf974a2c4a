//! The promises of [`LiveSet`](crate::LiveSet).

use super::case::at;
use crate::{InstallId, LiveSet, Member, Seen, Timestamp, UserId};

/// How long an install stays bound in these cases, in milliseconds.
const BINDING: i64 = 180_000;

fn user(name: &str) -> Member {
    Member::User(UserId::new(name).expect("a name"))
}

fn install(name: &str) -> Member {
    Member::Install(InstallId::new(name).expect("an install"))
}

fn seen(member: &Member, millis: i64) -> Seen {
    let floor = at(millis.saturating_sub(BINDING).max(0));
    Seen::Member { member: member.clone(), at: at(millis), floor }
}

fn bound(name: &str, millis: i64) -> Seen {
    Seen::Bound { install: InstallId::new(name).expect("an install"), at: at(millis) }
}

async fn touch(set: &dyn LiveSet, seen: Vec<Seen>) {
    set.touch(seen).await.expect("a store that works");
}

async fn count(set: &dyn LiveSet, since: i64) -> u64 {
    set.count(at(since)).await.expect("a store that works")
}

async fn list(set: &dyn LiveSet, since: i64) -> Vec<(Member, Timestamp)> {
    set.list(at(since), None, 1000).await.expect("a store that works")
}

/// See [`LiveSet::touch`](crate::LiveSet::touch).
pub async fn a_member_is_seen_from_its_first_touch_on(set: &dyn LiveSet) {
    assert_eq!((count(set, 0).await, list(set, 0).await), (0, vec![]));
    let (alice, phone) = (user("12345678"), install("12345678"));
    touch(set, vec![seen(&alice, 10_000), seen(&phone, 11_000), seen(&alice, 12_000)]).await;
    assert_eq!(count(set, 0).await, 2, "a user and an install of the same name are two");
    assert_eq!(list(set, 0).await, [(phone, at(11_000)), (alice, at(12_000))]);
}

/// See [`LiveSet::touch`](crate::LiveSet::touch).
pub async fn a_late_touch_does_not_move_a_member_back(set: &dyn LiveSet) {
    let alice = user("alice");
    touch(set, vec![seen(&alice, 100_000)]).await;
    touch(set, vec![seen(&alice, 90_000)]).await;
    assert_eq!(list(set, 0).await, [(alice, at(100_000))]);
    assert_eq!(count(set, 100_000).await, 1);
}

/// See [`LiveSet::touch`](crate::LiveSet::touch).
pub async fn a_bound_install_is_no_member(set: &dyn LiveSet) {
    let (alice, phone) = (user("alice"), install("phone-4711"));
    touch(set, vec![seen(&phone, 1_000_000)]).await;
    touch(set, vec![seen(&alice, 1_010_000), bound("phone-4711", 1_010_000)]).await;
    assert_eq!(list(set, 0).await, [(alice.clone(), at(1_010_000))]);
    touch(set, vec![seen(&phone, 1_015_000), seen(&phone, 1_000_000)]).await;
    assert_eq!(count(set, 0).await, 1, "a straggler adds nobody");
    touch(set, vec![seen(&phone, 1_010_000 + BINDING)]).await;
    assert_eq!(count(set, 0).await, 1, "nor does one at the end of the binding");
    touch(set, vec![bound("phone-4711", 1_000_000), seen(&phone, 1_010_000 + BINDING)]).await;
    assert_eq!(count(set, 0).await, 1, "an earlier login does not shorten it");
    touch(set, vec![seen(&phone, 1_010_001 + BINDING)]).await;
    assert_eq!(
        list(set, 0).await,
        [(phone.clone(), at(1_010_001 + BINDING)), (alice.clone(), at(1_010_000))],
        "but one after it"
    );
    // Reports that come late: of a login long before, and of somebody unknown before the later login.
    touch(set, vec![bound("phone-4711", 500_000)]).await;
    touch(set, vec![seen(&phone, 1_000_000)]).await;
    assert_eq!(list(set, 0).await, [(alice, at(1_010_000))], "the later login is not forgotten");
}

/// See [`LiveSet::leave`](crate::LiveSet::leave).
pub async fn a_member_that_leaves_is_gone_until_its_next_touch(set: &dyn LiveSet) {
    let (alice, bob, phone) = (user("alice"), user("bob"), install("phone-4711"));
    touch(set, vec![seen(&alice, 10_000), seen(&bob, 10_000), bound("phone-4711", 10_000)]).await;
    let leaving = vec![alice.clone(), user("nobody"), phone.clone()];
    set.leave(leaving).await.expect("a store that works");
    assert_eq!(list(set, 0).await, [(bob.clone(), at(10_000))]);
    touch(set, vec![seen(&phone, 11_000)]).await;
    assert_eq!(count(set, 0).await, 1, "an install stays bound");
    touch(set, vec![seen(&alice, 9_000)]).await;
    assert_eq!(list(set, 0).await, [(alice, at(9_000)), (bob, at(10_000))]);
}

/// See [`LiveSet::count`](crate::LiveSet::count).
pub async fn the_count_is_exact_to_the_millisecond(set: &dyn LiveSet) {
    let now = 1_700_000_180_000;
    let members: Vec<_> = [0, 150_000, 180_000].into_iter().zip(["a", "b", "c"]).collect();
    for (later, name) in &members {
        touch(set, vec![seen(&user(name), now - 180_000 + later)]).await;
    }
    assert_eq!(count(set, now - 180_000).await, 3, "both ends of the window count");
    assert_eq!(count(set, now - 180_000 + 1).await, 2);
    assert_eq!(count(set, now - 30_000).await, 2);
    assert_eq!(count(set, now - 29_999).await, 1);
    assert_eq!(count(set, now).await, 1);
    assert_eq!(count(set, now + 1).await, 0);
    touch(set, vec![seen(&user("d"), now - 86_400_000)]).await;
    assert_eq!(count(set, now - 86_400_000).await, 4);
    assert_eq!(count(set, now - 86_400_000 + 1).await, 3);
    touch(set, vec![seen(&user("a"), now + 500)]).await;
    assert_eq!(
        (count(set, now + 1).await, count(set, now - 180_000).await),
        (1, 3),
        "whoever is seen again moves"
    );
}

/// See [`LiveSet::list`](crate::LiveSet::list).
pub async fn the_list_pages_in_order_without_gaps(set: &dyn LiveSet) {
    let names = ["A", "B", "a", "aa", "b", "o'brien", "é", "日本"];
    let mut expected = vec![(install("install-b"), at(20_000)), (install("install_a"), at(20_000))];
    expected.extend(names.map(|name| (user(name), at(20_000))));
    let touches: Vec<_> = expected.iter().rev().map(|(member, _)| seen(member, 20_000)).collect();
    touch(set, touches).await;
    touch(set, vec![seen(&user("early"), 19_999), bound("install-c", 20_000)]).await;
    for limit in 1..=11 {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = set.list(at(20_000), after, limit).await.expect("a store that works");
            after = page.last().map(|(member, _)| member.clone());
            let is_last = page.len() < limit;
            read.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(read, expected, "in pages of {limit}");
    }
}

/// See [`LiveSet::evict`](crate::LiveSet::evict).
pub async fn eviction_forgets_only_what_lies_before_it(set: &dyn LiveSet) {
    for (name, millis) in [("a", 10_000), ("b", 10_500), ("c", 10_999), ("d", 11_000), ("e", 50_000)] {
        touch(set, vec![seen(&user(name), millis)]).await;
    }
    touch(set, vec![bound("phone-4711", 10_200), bound("phone-4712", 50_000)]).await;
    assert_eq!(set.evict(at(10_000), 10).await.expect("a store that works"), 0, "the instant itself stays");
    assert_eq!(set.evict(at(11_000), 1).await.expect("a store that works"), 1);
    assert_eq!(
        set.evict(at(11_000), 10).await.expect("a store that works"),
        3,
        "bound installs are forgotten too"
    );
    let left: Vec<_> = list(set, 0).await.into_iter().map(|(member, _)| member).collect();
    assert_eq!(left, [user("d"), user("e")]);
    touch(set, vec![seen(&install("phone-4711"), 50_000), seen(&install("phone-4712"), 50_000)]).await;
    assert_eq!(count(set, 0).await, 3, "the forgotten install is anonymous again");
    touch(set, vec![seen(&user("a"), 50_000)]).await;
    assert_eq!(count(set, 50_000).await, 3, "and who was forgotten may come back");
}
