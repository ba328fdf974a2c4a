//! The promises of [`CheckpointStore`](crate::CheckpointStore).

use futures_util::future::join_all;

use super::{
    Timelines,
    case::{at, commit, commit_on, instants, load, row, rows, session, timeout, user, write},
};
use crate::{
    Ask, Beat, Content, Context, EventId, Fingerprint, NewCheckpoint, Outcome, Place, Record, Request, Row,
    StateType, Version, Window,
};

/// The rows at these instants, alternating between two states.
fn alternating(millis: impl IntoIterator<Item = i64>) -> Vec<NewCheckpoint> {
    let states = [StateType::Working, StateType::Idle].into_iter().cycle();
    millis.into_iter().zip(states).map(|(millis, state)| row(state, millis)).collect()
}

/// See [`CheckpointStore::load`](crate::CheckpointStore::load).
pub async fn an_unknown_user_has_an_empty_context(store: &dyn Timelines) {
    write(store, commit("bob", alternating([100]))).await;
    assert_eq!(load(store, "alice", 0, 1000).await, Context::default());
}

/// See [`CheckpointStore::load`](crate::CheckpointStore::load).
pub async fn load_gives_two_rows_before_all_between_and_three_after(store: &dyn Timelines) {
    write(store, commit("alice", alternating((1..=12).map(|n| n * 10)))).await;
    write(store, commit("bob", alternating([45, 55]))).await;
    let loaded = |first, last| async move { instants(&load(store, "alice", first, last).await.rows) };
    assert_eq!(loaded(45, 65).await, [30, 40, 50, 60, 70, 80, 90]);
    assert_eq!(loaded(50, 50).await, [40, 50, 60, 70, 80], "a row at the first stamp lies before it");
    assert_eq!(loaded(45, 50).await, [30, 40, 50, 60, 70, 80], "a row at the last stamp lies between");
    assert_eq!(loaded(5, 5).await, [10, 20, 30]);
    assert_eq!(loaded(10, 10).await, [10, 20, 30, 40]);
    assert_eq!(loaded(500, 600).await, [110, 120]);
    assert_eq!(loaded(105, 105).await, [90, 100, 110, 120]);
    assert_eq!(loaded(0, 1000).await.len(), 12);
}

/// See [`CheckpointStore::load`](crate::CheckpointStore::load).
pub async fn load_does_not_cut_an_instant(store: &dyn Timelines) {
    write(store, commit("alice", alternating([10, 20, 30, 40, 40, 40, 50]))).await;
    assert_eq!(instants(&load(store, "alice", 15, 15).await.rows), [10, 20, 30, 40, 40, 40]);
    assert_eq!(instants(&load(store, "alice", 5, 5).await.rows), [10, 20, 30]);
    assert_eq!(instants(&load(store, "alice", 35, 35).await.rows), [20, 30, 40, 40, 40]);
}

/// See [`CheckpointStore::load`](crate::CheckpointStore::load).
pub async fn equal_times_are_ordered_by_id(store: &dyn Timelines) {
    let (_, first) = write(store, commit("alice", alternating([50, 50]))).await;
    let next = commit_on(&session(store, "alice").await, vec![row(StateType::Sleeping, 50)]);
    let (_, second) = write(store, next).await;
    let ids: Vec<_> = load(store, "alice", 40, 60).await.rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, [first, second].concat());
    let ids: Vec<_> = rows(store, "alice").await.iter().map(|row| row.id).collect();
    assert!(ids.is_sorted(), "history as well");
}

/// See [`CheckpointStore::load`](crate::CheckpointStore::load).
pub async fn the_run_start_reaches_behind_the_loaded_rows(store: &dyn Timelines) {
    let idle = [10, 20].map(|millis| row(StateType::Idle, millis));
    let working = [30, 40, 50, 60].map(|millis| row(StateType::Working, millis));
    let rest = [70, 80].map(|millis| row(StateType::Idle, millis));
    let all = [idle.as_slice(), &working, &rest].concat();
    let mut first = commit("alice", all);
    first.session.last_state_change = at(70);
    write(store, first).await;
    let run_start = |millis| async move { load(store, "alice", millis, millis).await.run_start };
    assert_eq!(run_start(65).await, Some(at(30)), "the rows from 50 on are loaded, their run began at 30");
    assert_eq!(run_start(35).await, Some(at(10)), "the rows from 20 on are loaded, their run began at 10");
    assert_eq!(run_start(90).await, Some(at(70)));
    assert_eq!(run_start(5).await, Some(at(10)));
}

/// See [`CheckpointStore::load`](crate::CheckpointStore::load).
pub async fn load_finds_the_requests_that_were_answered(store: &dyn Timelines) {
    let request = |name: &str, created| Request {
        event_id: EventId::new(name).expect("an event id"),
        fingerprint: Fingerprint::of(&[name.as_bytes()]),
        created,
    };
    let mut first = commit("alice", alternating([10, 20]));
    first.requests = vec![(request("a", true), Row::Inserted(1)), (request("b", false), Row::Inserted(0))];
    let (_, ids) = write(store, first).await;
    let mut second = commit_on(&session(store, "alice").await, alternating([30]));
    second.requests = vec![(request("c", false), Row::Stored(ids[0]))];
    write(store, second).await;
    let mut other = commit("bob", alternating([10]));
    other.requests = vec![(request("a", true), Row::Inserted(0))];
    write(store, other).await;

    let event_ids = ["c", "nobody", "a"].map(|name| EventId::new(name).expect("an event id"));
    let ask = Ask { user: user("alice"), first: at(900), last: at(900), event_ids: event_ids.to_vec() };
    let contexts = store.load(vec![ask]).await.expect("a store that works");
    let mut found: Vec<_> = contexts[0].requests.iter().map(|(known, row)| (known.clone(), row.id)).collect();
    found.sort_by(|a, b| a.0.event_id.cmp(&b.0.event_id));
    assert_eq!(found, [(request("a", true), ids[1]), (request("c", false), ids[0])]);
}

/// See [`CheckpointStore::commit`](crate::CheckpointStore::commit).
pub async fn a_commit_is_visible_to_load(store: &dyn Timelines) {
    let commit = commit("alice", alternating([10, 20]));
    let expected = commit.session.clone();
    let (version, ids) = write(store, commit.clone()).await;
    let context = load(store, "alice", 0, 100).await;
    assert_eq!(context.session, Some(crate::Session { version, ..expected }));
    let numbered = ids.iter().zip(commit.insert).map(|(id, row)| row.numbered(*id, user("alice")));
    assert_eq!(context.rows, numbered.collect::<Vec<_>>());
}

/// See [`CheckpointStore::commit`](crate::CheckpointStore::commit).
pub async fn a_commit_withdraws_inserts_and_adds_in_one_step(store: &dyn Timelines) {
    let mut first = commit("alice", vec![row(StateType::Working, 10), timeout(70, 10)]);
    first.totals = vec![(StateType::Working, 60)];
    let (_, ids) = write(store, first).await;
    let mut second =
        commit_on(&session(store, "alice").await, vec![timeout(90, 30), row(StateType::Idle, 100)]);
    second.withdraw = vec![ids[1]];
    second.totals = vec![(StateType::Offline, 10), (StateType::Working, 20)];
    write(store, second).await;
    assert_eq!(instants(&rows(store, "alice").await), [10, 90, 100]);
    assert_eq!(
        store.checkpoint(&user("alice"), ids[1]).await.expect("a store that works"),
        None,
        "withdrawn"
    );
    let facts =
        store.facts(&user("alice"), &[Window::all()]).await.expect("a store that works").expect("facts");
    let mut totals = facts.closed[0].clone();
    totals.sort();
    assert_eq!(totals, [(StateType::Offline, 10), (StateType::Working, 80)]);
}

/// See [`CheckpointStore::commit`](crate::CheckpointStore::commit).
pub async fn a_stale_version_conflicts_and_writes_nothing(store: &dyn Timelines) {
    write(store, commit("alice", alternating([10]))).await;
    let before = session(store, "alice").await;
    write(store, commit_on(&before, alternating([20]))).await;
    let current = session(store, "alice").await;

    let stale = commit_on(&before, alternating([30]));
    let unexpected = commit("alice", alternating([40]));
    let missing = commit_on(&crate::Session { user: user("bob"), ..before }, alternating([50]));
    for commit in [stale, unexpected, missing] {
        let outcomes = store.commit(vec![commit]).await.expect("a store that works");
        assert_eq!(outcomes, [Outcome::Conflict]);
    }
    assert_eq!(session(store, "alice").await, current);
    assert_eq!(instants(&rows(store, "alice").await), [10, 20]);
    assert_eq!(load(store, "bob", 0, 100).await, Context::default());
}

/// See [`CheckpointStore::commit`](crate::CheckpointStore::commit).
pub async fn a_conflict_spares_the_other_commits(store: &dyn Timelines) {
    write(store, commit("bob", alternating([10]))).await;
    let commits = ["alice", "bob", "carol"].map(|name| commit(name, alternating([20])));
    let outcomes = store.commit(commits.to_vec()).await.expect("a store that works");
    let committed: Vec<_> =
        outcomes.iter().map(|outcome| matches!(outcome, Outcome::Committed { .. })).collect();
    assert_eq!(committed, [true, false, true]);
    assert_eq!(instants(&rows(store, "alice").await), [20]);
    assert_eq!(instants(&rows(store, "bob").await), [10]);
    assert_eq!(instants(&rows(store, "carol").await), [20]);
}

/// See [`CheckpointStore::commit`](crate::CheckpointStore::commit).
pub async fn versions_rise_over_the_whole_store(store: &dyn Timelines) {
    let mut last = Version(0);
    for name in ["alice", "bob", "carol", "alice", "bob"] {
        let known = load(store, name, 0, 0).await.session;
        let commit = match &known {
            Some(session) => commit_on(session, alternating([20])),
            None => commit(name, alternating([10])),
        };
        let (version, _) = write(store, commit).await;
        assert!(version > last, "{version:?} follows {last:?}");
        assert_eq!(session(store, name).await.version, version);
        last = version;
    }
    store.erase(&user("bob"), at(30)).await.expect("a store that works");
    let mut anew = commit("bob", alternating([40]));
    anew.erased_at = Some(at(30));
    assert!(write(store, anew).await.0 > last, "an erasure does not start them again");
}

/// See [`CheckpointStore::commit`](crate::CheckpointStore::commit).
pub async fn checkpoint_ids_rise_and_are_never_reused(store: &dyn Timelines) {
    let (_, first) = write(store, commit("alice", vec![row(StateType::Working, 10), timeout(70, 10)])).await;
    assert!(first.is_sorted());
    let mut withdrawal = commit_on(&session(store, "alice").await, vec![row(StateType::Working, 60)]);
    withdrawal.withdraw = vec![first[1]];
    let (_, second) = write(store, withdrawal).await;
    assert!(second[0] > first[1], "not after a withdrawal");
    store.erase(&user("alice"), at(100)).await.expect("a store that works");
    let (_, third) = write(store, commit("bob", alternating([10]))).await;
    assert!(third[0] > second[0], "not after an erasure");
}

/// See [`CheckpointStore::commit`](crate::CheckpointStore::commit).
pub async fn one_lapse_has_one_timeout_row(store: &dyn Timelines) {
    let (_, ids) = write(store, commit("alice", vec![row(StateType::Working, 10), timeout(70, 10)])).await;
    let now = session(store, "alice").await;
    let outcomes =
        store.commit(vec![commit_on(&now, vec![timeout(80, 10)])]).await.expect("a store that works");
    assert_eq!(outcomes, [Outcome::Conflict]);
    assert_eq!(session(store, "alice").await, now, "nothing was written");

    let mut moved = commit_on(&now, vec![timeout(80, 10)]);
    moved.withdraw = vec![ids[1]];
    write(store, moved).await;
    write(store, commit("bob", vec![row(StateType::Working, 10), timeout(70, 10)])).await;
    assert_eq!(instants(&rows(store, "alice").await), [10, 80], "withdrawn and written anew in one commit");
}

/// See [`CheckpointStore::commit`](crate::CheckpointStore::commit).
pub async fn content_comes_back_as_it_was_written(store: &dyn Timelines) {
    let contents = [
        "null",
        "true",
        "0",
        "-9223372036854775808",
        "18446744073709551615",
        "0.1",
        "1e300",
        r#""""#,
        r#""it's \"quoted\" \\ % _ ; -- \n \u0001 日本語 🙂""#,
        "[]",
        "{}",
        r#"{"a":[1,2.5,{"b":null}],"é":"ü","":0}"#,
    ];
    let names = ["alice", "o'brien; DROP TABLE x", "日本語", "%_\\", "a\u{2028}b", "🙂", "A", "a"];
    for name in names {
        let rows = contents.iter().zip(1_i64..).map(|(content, millis)| NewCheckpoint {
            content: Some(Content::parse(content).expect("content")),
            ..row(StateType::new(format!("{name} {millis}")).expect("a state"), millis)
        });
        let commit = commit(name, rows.collect());
        let expected = commit.insert.clone();
        let (_, ids) = write(store, commit).await;
        let expected: Vec<_> =
            expected.into_iter().zip(ids).map(|(row, id)| row.numbered(id, user(name))).collect();
        assert_eq!(rows_of(store, name).await, expected);
    }
}

async fn rows_of(store: &dyn Timelines, name: &str) -> Vec<crate::Checkpoint> {
    rows(store, name).await
}

/// See [`CheckpointStore::commit`](crate::CheckpointStore::commit).
pub async fn racing_writers_lose_nothing(store: &dyn Timelines) {
    const ROUNDS: i64 = 8;
    write(store, commit("alice", alternating([1]))).await;
    for round in 1..=ROUNDS {
        let now = session(store, "alice").await;
        let race =
            (0..8_i64).map(|racer| store.commit(vec![commit_on(&now, alternating([round * 10 + racer]))]));
        let outcomes: Vec<_> =
            join_all(race).await.into_iter().flat_map(|outcome| outcome.expect("works")).collect();
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Committed { .. })).count();
        assert_eq!(won, 1, "one of those that expect the same version");
        assert_eq!(rows(store, "alice").await.len() as i64, round + 1);
    }
    let others: Vec<_> = (0..64).map(|n| format!("user-{n}")).collect();
    let writes = others.iter().map(|name| store.commit(vec![commit(name, alternating([10, 20]))]));
    for outcome in join_all(writes).await {
        assert!(
            matches!(outcome.expect("works")[0], Outcome::Committed { .. }),
            "nobody stands in another's way"
        );
    }
    for name in &others {
        assert_eq!(instants(&rows(store, name).await), [10, 20]);
    }
}

fn beat(name: &str, first: i64, last: i64, floor: i64) -> Beat {
    Beat { user: user(name), first: at(first), last: at(last), floor: at(floor) }
}

/// See [`CheckpointStore::touch`](crate::CheckpointStore::touch).
pub async fn touch_raises_the_heartbeat_and_the_version(store: &dyn Timelines) {
    write(store, commit("alice", alternating([100]))).await;
    let before = session(store, "alice").await;
    for (touch, heartbeat) in [
        (beat("alice", 150, 180, 100), 180),
        (beat("alice", 100, 110, 50), 180),
        (beat("alice", 240, 240, 180), 240),
    ] {
        let version = session(store, "alice").await.version;
        assert_eq!(store.touch(vec![touch]).await.expect("a store that works"), []);
        let after = session(store, "alice").await;
        assert_eq!(after.last_heartbeat, at(heartbeat));
        assert!(after.version > version, "so that a decision on the session before it conflicts");
    }
    let mut after = session(store, "alice").await;
    assert!(
        store.commit(vec![commit_on(&before, alternating([250]))]).await.expect("works")
            == [Outcome::Conflict]
    );
    (after.last_heartbeat, after.version) = (before.last_heartbeat, before.version);
    assert_eq!(after, before, "nothing else changes");
    assert_eq!(instants(&rows(store, "alice").await), [100]);
    assert_eq!(
        store.overdue(at(240), 9).await.expect("a store that works"),
        [],
        "and the silence begins later"
    );
    assert_eq!(store.overdue(at(241), 9).await.expect("a store that works").len(), 1);
}

/// See [`CheckpointStore::touch`](crate::CheckpointStore::touch).
pub async fn touch_gives_back_what_it_does_not_take(store: &dyn Timelines) {
    write(store, commit("alice", alternating([100]))).await;
    write(store, commit("bob", vec![row(StateType::Working, 100), timeout(160, 100)])).await;
    let before = (session(store, "alice").await, session(store, "bob").await);
    let beats = vec![
        beat("nobody", 110, 120, 50),
        beat("alice", 99, 120, 39),
        beat("alice", 161, 170, 101),
        beat("bob", 110, 120, 50),
    ];
    assert_eq!(store.touch(beats.clone()).await.expect("a store that works"), beats);
    assert_eq!((session(store, "alice").await, session(store, "bob").await), before);
    let mixed = vec![beat("bob", 110, 120, 50), beat("alice", 110, 120, 50)];
    assert_eq!(store.touch(mixed).await.expect("a store that works"), [beat("bob", 110, 120, 50)]);
    assert_eq!(session(store, "alice").await.last_heartbeat, at(120));
}

/// See [`CheckpointStore::overdue`](crate::CheckpointStore::overdue).
pub async fn overdue_is_strict_and_oldest_first(store: &dyn Timelines) {
    const MINUTE: i64 = 60_000;
    let silent = [("c", 30), ("a", 50), ("e", 50), ("b", 10), ("d", 20), ("A", MINUTE), ("B", 2 * MINUTE)];
    for (name, millis) in silent {
        write(store, commit(name, alternating([millis]))).await;
    }
    let overdue = |cutoff, limit| async move {
        let sessions = store.overdue(at(cutoff), limit).await.expect("a store that works");
        sessions.iter().map(|session| session.user.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(overdue(50, 9).await, ["b", "d", "c"], "a heartbeat at the cutoff is in time");
    assert_eq!(overdue(51, 9).await, ["b", "d", "c", "a", "e"]);
    assert_eq!(overdue(10, 9).await, [""; 0]);
    assert_eq!(overdue(3 * MINUTE, 9).await, ["b", "d", "c", "a", "e", "A", "B"]);
    assert_eq!(overdue(3 * MINUTE, 5).await, ["b", "d", "c", "a", "e"], "the minute before");
    assert_eq!(overdue(3 * MINUTE, 6).await, ["b", "d", "c", "a", "e", "A"]);
    let found = store.overdue(at(11), 9).await.expect("a store that works");
    assert_eq!(found, [session(store, "b").await], "whole sessions");
}

/// See [`CheckpointStore::overdue`](crate::CheckpointStore::overdue).
pub async fn an_offline_session_is_never_overdue(store: &dyn Timelines) {
    write(store, commit("alice", vec![row(StateType::Offline, 10)])).await;
    write(store, commit("bob", vec![row(StateType::new("offline").expect("a state"), 10)])).await;
    let found = store.overdue(at(1000), 9).await.expect("a store that works");
    assert_eq!(found, [session(store, "bob").await], "`offline` is a state like any other");
    let now = session(store, "bob").await;
    write(store, commit_on(&now, vec![timeout(70, 10)])).await;
    assert_eq!(store.overdue(at(1000), 9).await.expect("a store that works"), []);
}

/// See [`CheckpointStore::erase`](crate::CheckpointStore::erase).
pub async fn an_erasure_leaves_nothing_but_its_tombstone(store: &dyn Timelines) {
    for name in ["alice", "bob"] {
        let mut all = commit(name, alternating([10, 20]));
        all.totals = vec![(StateType::Working, 10)];
        let event_id = EventId::new("a").expect("an event id");
        let request = Request { event_id, fingerprint: Fingerprint::of(&[]), created: true };
        all.requests = vec![(request, Row::Inserted(0))];
        write(store, all).await;
    }
    let erasure = store.erase(&user("alice"), at(100)).await.expect("a store that works");
    assert_eq!((erasure.checkpoints, erasure.requests), (2, 1));
    assert_eq!(store.export(&user("alice"), None, 100).await.expect("a store that works"), []);
    assert_eq!(store.facts(&user("alice"), &[Window::all()]).await.expect("a store that works"), None);
    let event_ids = vec![EventId::new("a").expect("an event id")];
    let ask = Ask { user: user("alice"), first: at(0), last: at(100), event_ids };
    let contexts = store.load(vec![ask]).await.expect("a store that works");
    assert_eq!(contexts, [Context { erased_at: Some(at(100)), ..Context::default() }]);
    assert_eq!(store.overdue(at(1000), 9).await.expect("a store that works").len(), 1);

    let others = store.export(&user("bob"), None, 100).await.expect("a store that works");
    assert_eq!(others.len(), 5, "a session, a total, two rows and a request: others keep what is theirs");
    let place = others.iter().map(Record::place).next();
    assert_eq!(place, Some(Place::Session));
    let again = store.erase(&user("alice"), at(100)).await.expect("a store that works");
    assert_eq!(again, crate::Erasure::default());
}

/// See [`CheckpointStore::erase`](crate::CheckpointStore::erase).
pub async fn an_erasure_is_remembered_for_later_reports(store: &dyn Timelines) {
    for (erased, remembered) in [(100, 100), (300, 300), (200, 300)] {
        store.erase(&user("alice"), at(erased)).await.expect("a store that works");
        assert_eq!(load(store, "alice", 0, 0).await.erased_at, Some(at(remembered)));
    }
    let mut anew = commit("alice", alternating([400]));
    anew.erased_at = Some(at(300));
    write(store, anew).await;
    assert_eq!(
        load(store, "alice", 400, 400).await.erased_at,
        Some(at(300)),
        "also after the user came back"
    );
}

/// See [`CheckpointStore::erase`](crate::CheckpointStore::erase).
pub async fn a_commit_decided_before_an_erasure_conflicts(store: &dyn Timelines) {
    write(store, commit("alice", alternating([10]))).await;
    let before = session(store, "alice").await;
    store.erase(&user("alice"), at(100)).await.expect("a store that works");
    store.erase(&user("bob"), at(100)).await.expect("a store that works");
    for late in [
        commit_on(&before, alternating([20])),
        commit("alice", alternating([20])),
        commit("bob", alternating([20])),
    ] {
        let outcomes = store.commit(vec![late]).await.expect("a store that works");
        assert_eq!(outcomes, [Outcome::Conflict]);
    }
    assert_eq!(rows(store, "alice").await, []);
}
