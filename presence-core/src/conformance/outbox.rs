//! The promises of [`Outbox`](crate::Outbox) and [`OutboxQuery`](crate::OutboxQuery).

use chrono::NaiveDate;

use super::{
    Outboxes,
    activity_store::{day, event, figures},
    case::{at, commit, commit_on, row, session, user, write},
    room_store::{batch, lease, new_room, room},
};
use crate::{
    ActiveUsers, Appended, Batch, Claim, Commit, DayMark, DeadLetter, Epoch, Event, EventKind,
    EventProperties, Figures, Fingerprint, InstallId, KeySpan, Letter, LiveSet, Member, NewEvent, NewRoom,
    Outcome, RoomName, RoomStats, Seen, SinkBooks, SinkName, Source, StateType, Subscriptions, Version,
    Which, Written, outbox::held::Held,
};

fn sink(name: &str) -> SinkName {
    SinkName::new(name).expect("a name of a case")
}

fn all_for(names: &[&str]) -> Subscriptions {
    names.iter().fold(Subscriptions::none(), |all, name| all.with(sink(name), EventKind::ALL))
}

fn claim(name: &str, node: &str, now: i64, until: i64, limit: usize) -> Claim {
    let (now, until) = (at(now), at(until));
    Claim { sink: sink(name), node: node.to_owned(), now, until, limit, which: Which::Oldest }
}

/// The letters of a sink, as node `one` gets them.
async fn letters(store: &dyn Outboxes, name: &str, limit: usize) -> Vec<Letter> {
    let claimed = store.claim(claim(name, "one", 0, 60_000, limit)).await.expect("a store that works");
    claimed.expect("nobody else has it")
}

async fn events(store: &dyn Outboxes, name: &str) -> Vec<Event> {
    events_of(&letters(store, name, 1000).await)
}

async fn books(store: &dyn Outboxes, name: &str) -> SinkBooks {
    let books = store.books().await.expect("a store that works");
    books.into_iter().find(|books| books.sink.as_str() == name).expect("a sink that is known")
}

fn changed(name: &str, secs: i64) -> Event {
    Event::StateChanged {
        user: user(name),
        before: None,
        after: StateType::Working,
        at: at(secs),
        source: Source::Client,
        version: Version(0),
    }
}

/// A commit of a new user that tells of it.
fn telling(name: &str, millis: i64) -> Commit {
    let rows = vec![row(StateType::Working, millis)];
    Commit { events: vec![changed(name, millis)], decided_at: at(millis), ..commit(name, rows) }
}

async fn tell(store: &dyn Outboxes, names: &[&str], millis: i64) {
    for name in names {
        write(store, telling(name, millis)).await;
    }
}

fn joined(id: &str, name: &str, number: i64, millis: i64) -> Event {
    Event::UserJoined { room: room(id), user: user(name), session: number, at: at(millis) }
}

fn created(id: &str, admins: &[&str], millis: i64) -> Event {
    let admins = admins.iter().map(|name| user(name)).collect();
    let room_name = RoomName::new(&format!("The {id}")).expect("a name");
    Event::RoomCreated { room: room(id), room_name, admins, at: at(millis) }
}

fn made(id: &str, admins: &[&str], millis: i64) -> NewRoom {
    NewRoom { events: vec![created(id, admins, millis)], ..new_room(id, admins, millis) }
}

/// Makes a room that tells of it, and takes it under epoch 5.
async fn open(store: &dyn Outboxes, id: &str, admins: &[&str]) {
    assert!(store.create_room(made(id, admins, 1000)).await.expect("a store that works"));
    let taken = store.take_room(&room(id), Epoch(0), lease("one", 5, 60_000), 3).await;
    taken.expect("a store that works").expect("free");
}

async fn write_batch(store: &dyn Outboxes, batch: Batch) -> Written {
    store.write_batches(vec![batch]).await.expect("a store that works").remove(0)
}

fn counted(of: NaiveDate, version: i64) -> Event {
    let active = ActiveUsers { count: 7, ..ActiveUsers::default() };
    Event::DauCalculated { day: of, version, active, at: at(1_000_000) }
}

fn counting(mark: DayMark) -> Figures {
    Figures { events: vec![counted(mark.day, mark.version + 1)], ..figures(mark, 7) }
}

/// See [`Outbox`](crate::Outbox).
pub async fn an_event_is_kept_with_the_commit_that_made_it(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    tell(store, &["alice"], 1000).await;
    open(store, "lobby", &["root"]).await;
    let events_of_batch = vec![joined("lobby", "alice", 1, 2000), joined("lobby", "bob", 2, 2000)];
    let written =
        write_batch(store, Batch { events: events_of_batch.clone(), ..batch("lobby", 2000, Vec::new()) });
    assert_eq!(written.await, Written::Stored);
    let mark = DayMark::new(day("2024-02-29"));
    assert!(store.save(counting(mark)).await.expect("a store that works"));
    let [one, other] = <[Event; 2]>::try_from(events_of_batch).expect("two");
    let expected =
        [changed("alice", 1000), created("lobby", &["root"], 1000), one, other, counted(mark.day, 1)];
    assert_eq!(events(store, "all").await, expected);
}

/// See [`Outbox`](crate::Outbox).
pub async fn what_is_not_written_tells_nothing(store: &dyn Outboxes) {
    tell(store, &["alice"], 1000).await;
    open(store, "lobby", &["root"]).await;
    let mark = DayMark::new(day("2024-02-29"));
    assert!(store.save(counting(mark)).await.expect("a store that works"));
    store.subscribe(all_for(&["all"]));
    let outcomes = store.commit(vec![telling("alice", 1000), telling("bob", 1001)]).await;
    let outcomes = outcomes.expect("a store that works");
    assert!(matches!(outcomes.as_slice(), [Outcome::Conflict, Outcome::Committed { .. }]), "{outcomes:?}");
    assert!(!store.create_room(made("lobby", &["root"], 1000)).await.expect("a store that works"));
    let fenced = Batch { epoch: Epoch(4), ..batch("lobby", 2000, Vec::new()) };
    let fenced = Batch { events: vec![joined("lobby", "alice", 1, 2000)], ..fenced };
    assert_eq!(write_batch(store, fenced).await, Written::Fenced);
    assert!(!store.save(counting(mark)).await.expect("a store that works"), "somebody else has");
    assert_eq!(events(store, "all").await, [changed("bob", 1001)]);
}

/// See [`Outbox`](crate::Outbox).
pub async fn a_batch_that_is_repeated_tells_its_events_once(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    open(store, "lobby", &[]).await;
    let told = |number| Batch {
        events: vec![joined("lobby", "alice", number, 2000)],
        ..batch("lobby", number, vec![])
    };
    for batch in [told(1), told(1), told(2), told(2)] {
        assert_eq!(write_batch(store, batch).await, Written::Stored);
    }
    let written = store.write_batches(vec![told(3), told(3)]).await.expect("a store that works");
    assert_eq!(written, [Written::Stored; 2]);
    let taken = store.take_room(&room("lobby"), Epoch(5), lease("one", 6, 60_000), 3).await;
    taken.expect("a store that works").expect("free");
    // The next opening counts its batches anew.
    assert_eq!(write_batch(store, Batch { epoch: Epoch(6), ..told(1) }).await, Written::Stored);
    let joined = |number| joined("lobby", "alice", number, 2000);
    let expected = [created("lobby", &[], 1000), joined(1), joined(2), joined(3), joined(1)];
    assert_eq!(events(store, "all").await, expected);
}

fn install(name: &str) -> InstallId {
    InstallId::new(name).expect("an install of a case")
}

fn odd_properties() -> EventProperties {
    let json = r#"{"a":[1e300,-0.0,9223372036854775807,null],"o'brien \"%_\\":"日本 🎉"}"#;
    EventProperties::parse(json).expect("properties of a case")
}

/// See [`Outbox`](crate::Outbox).
pub async fn a_client_event_is_told_when_it_is_stored(store: &dyn Outboxes) {
    let append = async |events: Vec<NewEvent>| store.append(events).await.expect("a store that works");
    let [first, second] = ["e-1", "e-2"].map(|id| event(id, "phone-4711", "alice", 3000));
    let anonymous = event("e-1", "phone-4711", "-", 3000);
    append(vec![first.clone()]).await;
    store.subscribe(all_for(&["all", "other"]));
    store.erase(&user("bob"), at(2000)).await.expect("a store that works");
    let other_body = NewEvent { fingerprint: Fingerprint(7), ..first.clone() };
    let erased = event("e-3", "phone-4711", "bob", 2000);
    let batch = vec![first, second.clone(), other_body, second.clone(), erased, anonymous.clone()];
    let expected = [
        Appended::Repeated,
        Appended::Stored,
        Appended::Reused,
        Appended::Repeated,
        Appended::Erased,
        Appended::Stored,
    ];
    assert_eq!(append(batch).await, expected);
    append(vec![second.clone(), anonymous.clone()]).await;
    for name in ["all", "other"] {
        assert_eq!(events(store, name).await, [second.told(), anonymous.told()], "once, and in order");
    }
    store.erase(&user("alice"), at(9000)).await.expect("a store that works");
    assert_eq!(events(store, "all").await, [anonymous.told()]);
}

/// See [`Outbox`](crate::Outbox).
pub async fn a_member_is_told_when_it_is_seen_later(store: &dyn Outboxes) {
    let touch = async |seen: Vec<Seen>| LiveSet::touch(store, seen).await.expect("a store that works");
    let seen = |member: &Member, millis: i64| Seen::Member {
        member: member.clone(),
        at: at(millis),
        floor: at(millis - 1000),
    };
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Member::User(user(name)));
    let [phone, tablet] = ["phone-4711", "tablet-4711"].map(|name| Member::Install(install(name)));
    touch(vec![seen(&alice, 5000)]).await;
    store.subscribe(all_for(&["all"]));
    store.erase(&user("carol"), at(7000)).await.expect("a store that works");
    let told = |member: &Member, millis: i64| Event::Heartbeat { member: member.clone(), at: at(millis) };
    touch(vec![seen(&alice, 5000), seen(&bob, 6000), seen(&phone, 6000)]).await;
    touch(vec![seen(&alice, 6000), seen(&bob, 5999), seen(&carol, 7000)]).await;
    touch(vec![Seen::Bound { install: install("tablet-4711"), at: at(6000) }, seen(&tablet, 6500)]).await;
    let mut all = events(store, "all").await;
    // Those of one flush have no order among each other.
    all.sort_by_key(Event::key);
    assert_eq!(all, [told(&phone, 6000), told(&alice, 6000), told(&bob, 6000)]);
}

/// See [`Outbox`](crate::Outbox).
pub async fn an_erasure_takes_events_along(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all", "other"]));
    let odd = "o'brien \"%_\\ 日本";
    tell(store, &["alice", "bob", odd], 1000).await;
    open(store, "lobby", &["alice", odd]).await;
    let events_of_batch = vec![joined("lobby", "alice", 1, 2000), joined("lobby", odd, 2, 2000)];
    write_batch(store, Batch { events: events_of_batch, ..batch("lobby", 2000, Vec::new()) }).await;
    let dead = letters(store, "other", 1000).await;
    let refused = dead.iter().map(|letter| (letter.number, "unwanted".to_owned())).collect();
    store.nack(&sink("other"), refused, at(3000)).await.expect("a store that works");
    for name in ["alice", odd] {
        store.erase(&user(name), at(5000)).await.expect("a store that works");
    }
    let left = [changed("bob", 1000), created("lobby", &[], 1000)];
    assert_eq!(events(store, "all").await, left);
    let dead = store.dead_letters(&sink("other"), None, 10).await.expect("a store that works");
    let dead: Vec<_> = dead.iter().filter_map(|dead| dead.letter.event()).collect();
    assert_eq!(dead, left, "nor among dead letters");
    for (name, pending, dead) in [("all", 2, 0), ("other", 0, 2)] {
        let books = books(store, name).await;
        assert_eq!((books.pending, books.dead, books.erased, books.accepted()), (pending, dead, 4, 6));
    }
}

/// See [`Outbox`](crate::Outbox).
pub async fn events_up_to_an_erasure_are_left_out(store: &dyn Outboxes) {
    open(store, "lobby", &[]).await;
    store.subscribe(all_for(&["all"]));
    store.erase(&user("alice"), at(2000)).await.expect("a store that works");
    let told = [1999, 2000, 2001].map(|millis| joined("lobby", "alice", millis, millis));
    let told = told.into_iter().chain([joined("lobby", "bob", 9, 1500)]).collect();
    write_batch(store, Batch { events: told, ..batch("lobby", 3000, Vec::new()) }).await;
    store.create_room(made("late", &["alice", "bob"], 2000)).await.expect("a store that works");
    let expected = [
        joined("lobby", "alice", 2001, 2001),
        joined("lobby", "bob", 9, 1500),
        created("late", &["bob"], 2000),
    ];
    assert_eq!(events(store, "all").await, expected);
}

/// See [`Outbox::subscribe`](crate::Outbox::subscribe).
pub async fn only_what_a_sink_wants_is_kept(store: &dyn Outboxes) {
    tell(store, &["before"], 1000).await;
    let both = [EventKind::StateChanged, EventKind::RoomCreated];
    store.subscribe(Subscriptions::none().with(sink("states"), [both[0]]).with(sink("both"), both));
    tell(store, &["alice"], 1000).await;
    open(store, "lobby", &[]).await;
    write_batch(store, Batch { events: vec![joined("lobby", "a", 1, 9)], ..batch("lobby", 9, vec![]) }).await;
    assert_eq!(events(store, "states").await, [changed("alice", 1000)]);
    assert_eq!(events(store, "both").await, [changed("alice", 1000), created("lobby", &[], 1000)]);
    store.subscribe(all_for(&["states"]));
    tell(store, &["bob"], 1000).await;
    assert_eq!(events(store, "both").await.len(), 2, "what is kept stays");
    assert_eq!(events(store, "states").await.len(), 2);
}

/// See [`Outbox::claim`](crate::Outbox::claim).
pub async fn letters_come_in_order_until_they_are_acknowledged(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    assert_eq!(letters(store, "all", 10).await, []);
    tell(store, &["a", "b", "c", "d"], 1000).await;
    for millis in [2000, 3000] {
        let on = commit_on(&session(store, "a").await, vec![row(StateType::Idle, millis)]);
        write(store, Commit { events: vec![changed("a", millis)], ..on }).await;
    }
    let first = letters(store, "all", 3).await;
    assert_eq!(letters(store, "all", 3).await, first, "until they are acknowledged");
    let ids: Vec<_> = first.iter().map(Letter::event_id).collect();
    store.ack(&sink("all"), first.iter().map(|letter| letter.number).collect()).await.expect("works");
    let rest = letters(store, "all", 10).await;
    assert_eq!((first.len(), rest.len()), (3, 3));
    let all: Vec<_> = first.iter().chain(&rest).collect();
    assert!(all.is_sorted_by(|one, next| one.number < next.number));
    assert!(rest.iter().all(|letter| !ids.contains(&letter.event_id())));
    let of_a = all.iter().filter_map(|letter| letter.event()).filter(|event| event.key() == "u:a");
    let of_a: Vec<_> = of_a.map(|event| event.at().as_millis()).collect();
    assert_eq!(of_a, [1000, 2000, 3000]);
    store.ack(&sink("all"), rest.iter().map(|letter| letter.number).collect()).await.expect("works");
    tell(store, &["e"], 1000).await;
    let next = letters(store, "all", 10).await;
    assert!(next[0].number > rest[2].number, "a number is never used again");
}

/// See [`Outbox::claim`](crate::Outbox::claim).
pub async fn each_sink_goes_at_its_own_pace(store: &dyn Outboxes) {
    store.subscribe(all_for(&["fast", "slow"]));
    tell(store, &["a", "b"], 1000).await;
    let (fast, slow) = (letters(store, "fast", 10).await, letters(store, "slow", 10).await);
    assert_eq!(fast, slow, "the same events under the same numbers");
    store.ack(&sink("fast"), fast.iter().map(|letter| letter.number).collect()).await.expect("works");
    assert_eq!(letters(store, "fast", 10).await, []);
    assert_eq!(letters(store, "slow", 10).await, slow);
}

/// See [`Outbox::claim`](crate::Outbox::claim).
pub async fn letters_come_after_a_number(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    tell(store, &["a", "b", "c", "d"], 1000).await;
    let all = letters(store, "all", 10).await;
    let after = async |number: i64, limit: usize| {
        let claim = Claim { which: Which::After(number), ..claim("all", "one", 0, 60_000, limit) };
        store.claim(claim).await.expect("a store that works").expect("nobody else has it")
    };
    assert_eq!(after(all[1].number, 10).await, all[2..]);
    assert_eq!(after(all[0].number, 2).await, all[1..3]);
    assert_eq!(after(i64::MIN, 10).await, all);
    assert_eq!(after(all[3].number, 10).await, []);
    assert_eq!(after(i64::MAX, 10).await, []);
}

/// See [`Outbox::claim`](crate::Outbox::claim).
pub async fn letters_come_from_spans_of_keys(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all", "other"]));
    let odd = "o'brien \"%_\\ 日本 🎉";
    tell(store, &["d", "b", odd, "c", "a"], 1000).await;
    open(store, "lobby", &["a"]).await;
    for millis in [2000, 3000] {
        for name in ["b", "a"] {
            let on = commit_on(&session(store, name).await, vec![row(StateType::Idle, millis)]);
            write(store, Commit { events: vec![changed(name, millis)], ..on }).await;
        }
    }
    let claimed = async |spans: &[(&str, &str, usize)], limit: usize| {
        let span = |(from, before, limit): &(&str, &str, usize)| KeySpan {
            from: (*from).to_owned(),
            before: (*before).to_owned(),
            limit: *limit,
        };
        let which = Which::Within(spans.iter().map(span).collect());
        let claim = Claim { which, ..claim("all", "one", 0, 60_000, limit) };
        events_of(&store.claim(claim).await.expect("a store that works").expect("nobody else has it"))
    };
    let of_b = [1000, 2000, 3000].map(|millis| changed("b", millis));
    let of_a = [1000, 2000, 3000].map(|millis| changed("a", millis));
    let (a, b, c) = (("u:a", "u:a\u{1}"), ("u:b", "u:b\u{1}"), ("u:c", "u:c\u{1}"));
    assert_eq!(claimed(&[(b.0, b.1, 100)], 100).await, of_b, "a key in order of its numbers");
    assert_eq!(claimed(&[(b.0, b.1, 1)], 100).await, of_b[..1]);
    let two = claimed(&[(b.0, b.1, 100), (a.0, a.1, 100)], 4).await;
    assert_eq!(two, [of_b.as_slice(), &of_a[..1]].concat(), "span after span");
    // All but `b`, from behind `c` on and then from the beginning.
    let others = [(c.1, "\u{10ffff}", 100), ("", b.0, 100), (b.1, c.1, 100), ("u:e", "u:f", 100)];
    let late = vec![changed("d", 1000), changed(odd, 1000)];
    let expected = [late, vec![created("lobby", &["a"], 1000)], of_a.to_vec(), vec![changed("c", 1000)]];
    assert_eq!(claimed(&others, 100).await, expected.concat());
    assert_eq!(claimed(&[], 100).await, []);
    let number = letters(store, "all", 1).await[0].number;
    store.nack(&sink("all"), vec![(number, "unwanted".to_owned())], at(5000)).await.expect("works");
    assert_eq!(claimed(&[("u:d", "u:e", 100)], 100).await, []);
    store.requeue(&sink("all"), None).await.expect("a store that works");
    assert_eq!(claimed(&[("u:d", "u:e", 100)], 100).await, [changed("d", 1000)], "it has its key again");
}

/// See [`Outbox::claim`](crate::Outbox::claim).
pub async fn what_is_held_for_a_key_hides_no_other(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    let many = (1000..1600).map(|millis| changed("blocked", millis)).collect();
    write(store, Commit { events: many, ..telling("blocked", 1000) }).await;
    tell(store, &["alice", "zoe"], 2000).await;
    assert!(events_of(&letters(store, "all", 500).await).iter().all(|event| event.key() == "u:blocked"));
    // As a relay asks whose sink did not take the first of them.
    let mut held = Held::default();
    held.hold(["u:blocked".to_owned()].into(), at(9000));
    let claimed = async |held: &Held, now: i64, limit: usize| {
        let which = Which::Within(held.spans(at(now), limit));
        let claim = Claim { which, ..claim("all", "one", now, now + 60_000, limit) };
        events_of(&store.claim(claim).await.expect("a store that works").expect("nobody else has it"))
    };
    let (alice, zoe) = (changed("alice", 2000), changed("zoe", 2000));
    assert_eq!(claimed(&held, 8999, 500).await, [alice.clone(), zoe.clone()]);
    assert_eq!(claimed(&held, 9000, 500).await, [changed("blocked", 1000), alice.clone(), zoe.clone()]);
    assert_eq!(claimed(&held, 9000, 2).await, [changed("blocked", 1000), alice.clone()]);
    held.deliver(&["u:alice".to_owned()], &[].into());
    assert_eq!(claimed(&held, 8999, 500).await, [zoe, alice], "they take turns");
    assert_eq!(books(store, "all").await.pending, 602);
}

fn events_of(letters: &[Letter]) -> Vec<Event> {
    letters.iter().map(|letter| letter.event().expect("an event")).collect()
}

/// Letters of every shape, as they were kept before they had keys; each with the key of its event: for a test of the step
/// of a migration that gives them one.
pub fn letters_with_keys() -> Vec<(&'static str, String)> {
    const BODIES: [&str; 7] = [
        r#"{"kind":"state_changed","user":"o'brien \"日本","before":null,"after":"Working","at":1,"source":"client","version":0}"#,
        r#"{"kind":"user_joined","room":"lobby","user":"alice","session":1,"at":1}"#,
        r#"{"kind":"room_closed","room":"lobby","stats":{"current_users":0,"peak_users":1,"total_joins":1},"at":1}"#,
        r#"{"kind":"event_logged","event_id":"e-1","user":"alice","install":"phone-4711","name":"open","at":1,"created_at":2,"properties":{"user":"x","room":"y"}}"#,
        r#"{"kind":"event_logged","event_id":"e-2","user":null,"install":"phone-4711","name":"open","at":1,"created_at":2,"properties":null}"#,
        r#"{"kind":"heartbeat","user":"alice","at":1}"#,
        r#"{"kind":"heartbeat","install":"phone-4711","at":1}"#,
    ];
    let key = |body: &str| Letter { number: 1, body: body.to_owned() }.event().expect("an event").key();
    BODIES.iter().map(|body| (*body, key(body))).collect()
}

/// See [`Outbox::claim`](crate::Outbox::claim).
pub async fn a_sink_belongs_to_one_node_until_its_claim_ends(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    tell(store, &["a"], 1000).await;
    let count = async |node: &str, now: i64, until: i64, limit: usize| {
        let claimed = store.claim(claim("all", node, now, until, limit)).await.expect("a store that works");
        claimed.map(|letters| letters.len())
    };
    assert_eq!(count("one", 1000, 2000, 10).await, Some(1));
    assert_eq!(count("two", 1999, 3000, 10).await, None);
    assert_eq!(count("one", 1500, 2500, 0).await, Some(0), "renewed");
    assert_eq!(count("two", 2499, 3000, 10).await, None);
    assert_eq!(count("two", 2500, 3500, 10).await, Some(1));
    assert_eq!(count("one", 2600, 3600, 10).await, None);
    assert_eq!(count("two", 2700, 2700, 0).await, Some(0), "given up");
    assert_eq!(count("one", 2700, 3700, 10).await, Some(1));
    let other = store.claim(claim("other", "two", 2700, 3700, 10)).await.expect("a store that works");
    assert_eq!(other, Some(Vec::new()), "another sink is another matter");
}

/// See [`Outbox::claim`](crate::Outbox::claim).
pub async fn every_kind_comes_back_as_it_was(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    let odd = "o'brien \"%_\\ 日本 🎉";
    let told = vec![
        changed(odd, 1000),
        Event::TimelineCorrected {
            user: user(odd),
            from: at(0),
            to: None,
            before: vec![(at(5), StateType::Offline)],
            after: vec![(at(6), StateType::new("x'\"y").expect("a state"))],
            version: Version(i64::MAX),
        },
        created(odd, &[odd], 7),
        Event::RoomClosed {
            room: room("lobby"),
            stats: RoomStats { current_users: 1, peak_users: 2, total_joins: 3 },
            at: crate::Timestamp::MAX,
        },
        joined("lobby", odd, 1, 2),
        Event::UserLeft {
            room: room("lobby"),
            user: user(odd),
            session: i64::MAX,
            duration_ms: i64::MAX,
            at: crate::Timestamp::MIN,
        },
        counted(day("0001-01-01"), 1),
        NewEvent { properties: Some(odd_properties()), ..event(odd, "phone-4711", odd, 8) }.told(),
        event("without-a-user", "phone-4711", "-", 9).told(),
        Event::Heartbeat { member: Member::User(user(odd)), at: at(10) },
        Event::Heartbeat { member: Member::Install(install("phone-4711")), at: at(11) },
    ];
    let kinds: Vec<_> = told.iter().map(Event::kind).collect();
    assert!(EventKind::ALL.iter().all(|kind| kinds.contains(kind)), "a case for each kind");
    write(store, Commit { events: told.clone(), ..telling("alice", 1000) }).await;
    assert_eq!(events(store, "all").await, told);
}

/// See [`Outbox::ack`](crate::Outbox::ack).
pub async fn an_acknowledged_letter_does_not_come_again(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all", "other"]));
    tell(store, &["a", "b", "c"], 1000).await;
    let all = letters(store, "all", 10).await;
    let numbers = vec![all[0].number, all[2].number, i64::MAX, all[0].number];
    store.ack(&sink("all"), numbers.clone()).await.expect("a store that works");
    store.ack(&sink("all"), numbers).await.expect("a store that works");
    assert_eq!(letters(store, "all", 10).await, [all[1].clone()]);
    assert_eq!(books(store, "all").await.delivered, 2, "each is counted once");
    assert_eq!(letters(store, "other", 10).await, all);
}

/// See [`Outbox::ack_and_claim`](crate::Outbox::ack_and_claim).
pub async fn what_is_acknowledged_is_not_claimed_with_it(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    tell(store, &["a", "b", "c", "d", "e"], 1000).await;
    let all = letters(store, "all", 10).await;
    let numbers = |places: &[usize]| places.iter().map(|place| all[*place].number).collect::<Vec<_>>();
    let go_on = async |places: &[usize], claim| {
        store.ack_and_claim(numbers(places), claim).await.expect("a store that works")
    };
    let of_one = |limit| claim("all", "one", 0, 60_000, limit);
    assert_eq!(go_on(&[0, 2], of_one(2)).await, Some(vec![all[1].clone(), all[3].clone()]));
    assert_eq!(go_on(&[], of_one(10)).await, Some(vec![all[1].clone(), all[3].clone(), all[4].clone()]));
    let behind = Claim { which: Which::After(all[1].number), ..of_one(1) };
    assert_eq!(go_on(&[], behind).await, Some(vec![all[3].clone()]));
    let of_other = claim("all", "two", 30_000, 90_000, 10);
    assert_eq!(go_on(&[1], of_other).await, None, "another node has it");
    assert_eq!(letters(store, "all", 10).await, all[3..], "what was delivered is delivered");
    // The claim is about to end: it is renewed in the same go.
    let behind = Claim { which: Which::After(all[3].number), ..claim("all", "one", 50_000, 110_000, 10) };
    assert_eq!(go_on(&[3, 3], behind).await, Some(vec![all[4].clone()]));
    assert_eq!(store.claim(claim("all", "two", 60_000, 120_000, 1)).await.expect("works"), None);
    assert_eq!(go_on(&[4], claim("all", "one", 50_000, 110_000, 10)).await, Some(Vec::new()));
    // Of what lies side by side only what is named, though all of it lies before what is claimed.
    tell(store, &["f", "g", "h", "i"], 1000).await;
    let later = letters(store, "all", 10).await;
    let behind = Claim { which: Which::After(later[2].number), ..of_one(10) };
    let named = vec![later[2].number, later[0].number];
    assert_eq!(store.ack_and_claim(named, behind).await.expect("works"), Some(vec![later[3].clone()]));
    assert_eq!(letters(store, "all", 10).await, [later[1].clone(), later[3].clone()]);
    let books = books(store, "all").await;
    assert_eq!((books.delivered, books.pending), (7, 2));
}

/// See [`Outbox::nack`](crate::Outbox::nack) and [`Outbox::requeue`](crate::Outbox::requeue).
pub async fn a_refused_letter_lies_dead_until_it_is_sent_again(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    tell(store, &["a", "b", "c"], 1000).await;
    let all = letters(store, "all", 10).await;
    let reason = "it said \"no\" ü".to_owned();
    let refused =
        vec![(all[0].number, reason.clone()), (all[2].number, reason.clone()), (i64::MAX, reason.clone())];
    store.nack(&sink("all"), refused, at(7000)).await.expect("a store that works");
    assert_eq!(letters(store, "all", 10).await, [all[1].clone()]);
    let dead = async || store.dead_letters(&sink("all"), None, 10).await.expect("a store that works");
    let letter =
        |place: usize| DeadLetter { letter: all[place].clone(), reason: reason.clone(), at: at(7000) };
    assert_eq!(dead().await, [letter(0), letter(2)]);
    let requeue = async |numbers| store.requeue(&sink("all"), numbers).await.expect("a store that works");
    assert_eq!(requeue(Some(vec![all[2].number, all[1].number])).await, 1);
    assert_eq!(letters(store, "all", 10).await, all[1..], "under its number");
    assert_eq!(dead().await, [letter(0)]);
    assert_eq!(requeue(None).await, 1);
    assert_eq!(letters(store, "all", 10).await, all);
    assert_eq!(requeue(None).await, 0);
}

/// See [`Outbox::expire`](crate::Outbox::expire).
pub async fn what_is_too_old_expires_and_is_counted(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all", "other"]));
    for (name, millis) in [("a", 1000), ("b", 2000), ("c", 3000)] {
        tell(store, &[name], millis).await;
    }
    let all = letters(store, "other", 10).await;
    let refused = all.iter().map(|letter| (letter.number, "unwanted".to_owned())).collect();
    store.nack(&sink("other"), refused, at(2500)).await.expect("a store that works");
    let expire = async |before, limit| store.expire(at(before), limit).await.expect("a store that works");
    assert_eq!(expire(1000, 100).await, 0);
    assert_eq!(expire(2500, 1).await, 1, "in slices");
    assert_eq!(expire(2500, 100).await, 1, "dead letters by when they were refused");
    assert_eq!(letters(store, "all", 10).await, all[2..]);
    assert_eq!(expire(2501, 100).await, 3);
    let books_of_all = books(store, "all").await;
    let counts = (books_of_all.expired, books_of_all.oldest);
    assert_eq!(counts, (2, Some(at(3000))));
    let other = books(store, "other").await;
    assert_eq!((other.expired, other.dead, other.oldest), (3, 0, None));
}

/// See [`OutboxQuery::books`](crate::OutboxQuery::books).
pub async fn the_books_balance(store: &dyn Outboxes) {
    assert_eq!(store.books().await.expect("a store that works"), []);
    store.subscribe(all_for(&["all", "other"]));
    let names: Vec<_> = (0..20).map(|number| format!("user {number:02}")).collect();
    for (name, millis) in names.iter().zip(1000..) {
        tell(store, &[name], millis).await;
    }
    let numbers: Vec<_> = letters(store, "all", 100).await.iter().map(|letter| letter.number).collect();
    store.ack(&sink("all"), numbers[..7].to_vec()).await.expect("a store that works");
    let refused = numbers[7..10].iter().map(|number| (*number, "unwanted".to_owned())).collect();
    store.nack(&sink("all"), refused, at(9000)).await.expect("a store that works");
    store.requeue(&sink("all"), Some(vec![numbers[9]])).await.expect("a store that works");
    store.expire(at(1012), 100).await.expect("a store that works");
    store.erase(&user(&names[15]), at(9000)).await.expect("a store that works");
    let all = books(store, "all").await;
    let expected = SinkBooks {
        delivered: 7,
        dead: 2,
        expired: 2,
        erased: 1,
        pending: 8,
        oldest: Some(at(1012)),
        ..SinkBooks::new(sink("all"))
    };
    assert_eq!(all, expected);
    let other = books(store, "other").await;
    assert_eq!((all.accepted(), other.accepted()), (20, 20));
}

/// See [`OutboxQuery::dead_letters`](crate::OutboxQuery::dead_letters).
pub async fn dead_letters_page_in_order_without_gaps(store: &dyn Outboxes) {
    store.subscribe(all_for(&["all"]));
    tell(store, &["a", "b", "c", "d", "e"], 1000).await;
    let all = letters(store, "all", 100).await;
    let refused = all.iter().rev().map(|letter| (letter.number, String::new())).collect();
    store.nack(&sink("all"), refused, at(9000)).await.expect("a store that works");
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = store.dead_letters(&sink("all"), after, 2).await.expect("a store that works");
        let Some(last) = page.last() else { break };
        after = Some(last.letter.number);
        paged.extend(page.into_iter().map(|dead| dead.letter));
    }
    assert_eq!(paged, all);
    assert_eq!(store.dead_letters(&sink("unknown"), None, 2).await.expect("a store that works"), []);
}
