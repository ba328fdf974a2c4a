//! Many nodes on one database: each store has a pool of its own, and nothing keeps them apart but the database.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use presence_core::{
    CheckpointQuery, CheckpointStore, ClosedDay, Commit, Context, Envelope, Fold, LiveSet, ManualClock, Mark,
    Member, NewCheckpoint, Outcome, Row, Seen, Source, StateType, SummaryCache, Tracker, Version, Window,
};
use presence_sqlx::sqlx::Executor;

use crate::support::{
    self, another_connection, ask, at, beat, commit, connect, fresh, half_an_erasure, row,
    until_it_waits_for, until_it_waits_for_a_row, user, version,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_sweepers_on_four_nodes_conclude_each_silence_once() {
    const USERS: i64 = 4_000;
    let (store, database) = fresh().await;
    let clock = Arc::new(ManualClock::new(at(100_000)));
    let name = |number: i64| user(&format!("user-{number}"));
    let heartbeat =
        |number: i64| at(1000 + number % 977).saturating_add(Duration::from_millis(number as u64 % 1000));
    let reports =
        (0..USERS).map(|number| Envelope::checkpoint(name(number), StateType::Working).at(heartbeat(number)));
    Tracker::new(store.clone(), clock.clone()).record_many(reports.collect()).await.unwrap();

    let nodes = [
        store.clone(),
        connect(database.url()).await,
        connect(database.url()).await,
        connect(database.url()).await,
    ];
    let sweepers = nodes.iter().flat_map(|node| [node, node]).map(|node| {
        let tracker = Tracker::new(node.clone(), clock.clone());
        tokio::spawn(async move {
            let mut lapsed = 0;
            loop {
                let sweep = tracker.sweep(256).await.unwrap();
                lapsed += sweep.lapsed;
                if !sweep.more {
                    return lapsed;
                }
            }
        })
    });
    let lapsed: Vec<_> = join_all(sweepers).await.into_iter().map(|lapsed| lapsed.unwrap()).collect();
    // What the sweepers passed over because others had it is left to the next sweep.
    let last = Tracker::new(store.clone(), clock).sweep(10_000).await.unwrap();
    assert_eq!(lapsed.iter().sum::<u64>() + last.lapsed, USERS as u64, "{lapsed:?}");
    for number in 0..USERS {
        let rows = store.history(&name(number), Window::all(), None, 10).await.unwrap();
        let rows: Vec<_> =
            rows.into_iter().map(|row| (row.state, row.source, row.at, row.proof_at)).collect();
        let (last, timeout) = (heartbeat(number), Duration::from_secs(60));
        let expected = [
            (StateType::Offline, Source::Timeout, last.saturating_add(timeout), Some(last)),
            (StateType::Working, Source::Client, last, None),
        ];
        assert_eq!(rows, expected, "user-{number}");
    }
    println!("{USERS} silences, concluded by sweeper: {lapsed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_meet_in_any_order_never_block_each_other() {
    const USERS: usize = 64;
    let (store, database) = fresh().await;
    let other = connect(database.url()).await;
    let names: Vec<_> = (0..USERS).map(|number| format!("user {number}")).collect();
    let tasks = (0..6).map(|task| {
        let (store, mut names) = (if task % 2 == 0 { store.clone() } else { other.clone() }, names.clone());
        if task % 3 == 0 {
            names.reverse();
        }
        names.rotate_left(task * 10);
        tokio::spawn(async move {
            let mut written = 0;
            for round in 0..30 {
                let asks = names.iter().map(|name| ask(name, 1000)).collect();
                let contexts: Vec<Context> = store.load(asks).await.unwrap();
                let commits = names.iter().zip(contexts).map(|(name, context)| {
                    let expected = context.session.map(|session| session.version);
                    commit(name, expected, row("Working", 1000 + round * 10 + task as i64))
                });
                let outcomes = store.commit(commits.collect()).await.unwrap();
                written += outcomes.iter().filter(|outcome| version(outcome).is_some()).count();
                CheckpointStore::touch(&*store, names.iter().map(|name| beat(name, 2000)).collect())
                    .await
                    .unwrap();
                let seen = |name: &String| {
                    let member = Member::User(user(name));
                    Seen::Member { member, at: at(2000 + round), floor: at(0) }
                };
                LiveSet::touch(&*store, names.iter().map(seen).collect()).await.unwrap();
                let members = names.iter().map(|name| Member::User(user(name)));
                store.leave(members.collect()).await.unwrap();
                store.overdue(at(3000), 10).await.unwrap();
            }
            written
        })
    });
    let written: Vec<_> = join_all(tasks).await.into_iter().map(|written| written.unwrap()).collect();
    assert!(written.iter().sum::<usize>() > USERS, "{written:?}");
    let deadlocks = "SELECT pg_stat_force_next_flush(); SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.psql(deadlocks).trim(), "0");
    let rows = database.psql("SELECT count(*) FROM presence.checkpoints");
    assert_eq!(
        rows,
        written.iter().sum::<usize>().to_string(),
        "every row of a commit that was written, and no other"
    );
}

#[tokio::test]
async fn a_commit_that_waited_for_an_erasure_sees_it() {
    let (store, database) = fresh().await;
    let erasure = half_an_erasure(&database).await;
    let late = tokio::spawn({
        let store = store.clone();
        async move { store.commit(vec![commit("alice", None, row("Working", 1000))]).await }
    });
    until_it_waits_for("erased_users", &late, &database).await;
    erasure.end().await;
    assert_eq!(late.await.unwrap().unwrap(), [Outcome::Conflict]);
    assert_eq!(store.load(vec![ask("alice", 0)]).await.unwrap()[0].erased_at, Some(at(2000)));
}

/// A fold of one day, on this version.
fn fold(version: Version) -> Fold {
    let window = Window::new(at(0), at(100)).unwrap();
    let days = vec![ClosedDay { window, closed: vec![(StateType::Working, 7)] }];
    let mark = Mark { zone: "UTC".to_owned(), resume_at: at(200), due_at: at(300) };
    Fold { user: user("alice"), version, mark, days, at: at(5000) }
}

#[tokio::test]
async fn a_commit_that_waited_for_a_fold_does_not_pass_it_over() {
    let (store, database) = fresh().await;
    let outcomes = store.commit(vec![commit("alice", None, row("Working", 1000))]).await.unwrap();
    let version = version(&outcomes[0]).unwrap();
    // The fold of another node, held up in its middle: it has the session, and waits for a mark.
    let other = connect(database.url()).await;
    let mut holder = another_connection(&database).await;
    holder.execute("BEGIN; INSERT INTO summary_marks VALUES ('alice', '', 0, 0, 0)").await.unwrap();
    let folding = tokio::spawn(async move { other.keep(vec![fold(version)]).await });
    until_it_waits_for_a_row(1, &folding, &database).await;
    let changed = Some(Window::new(at(10), at(20)).unwrap());
    let late = Commit { changed, ..commit("alice", Some(version), row("Idle", 1001)) };
    let committing = tokio::spawn({
        let (store, late) = (store.clone(), late.clone());
        async move { store.commit(vec![late]).await }
    });
    until_it_waits_for_a_row(2, &committing, &database).await;
    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(folding.await.unwrap().unwrap(), [true]);
    assert_eq!(
        committing.await.unwrap().unwrap(),
        [Outcome::Conflict],
        "decided anew, it sees what was kept"
    );
    let outcomes = store.commit(vec![late]).await.unwrap();
    assert!(support::version(&outcomes[0]).is_some());
    let kept = store.kept(&user("alice"), Window::all()).await.unwrap().unwrap();
    assert_eq!(kept.days, [], "and forgets it");
}

#[tokio::test]
async fn a_fold_that_waited_for_an_erasure_keeps_nothing() {
    let (store, database) = fresh().await;
    let outcomes = store.commit(vec![commit("alice", None, row("Working", 1000))]).await.unwrap();
    let version = version(&outcomes[0]).unwrap();
    let mut other = another_connection(&database).await;
    other.execute("BEGIN; LOCK TABLE erased_users IN EXCLUSIVE MODE").await.unwrap();
    let folding = tokio::spawn({
        let store = store.clone();
        async move { store.keep(vec![fold(version)]).await }
    });
    until_it_waits_for("erased_users", &folding, &database).await;
    other.execute("DELETE FROM user_sessions; COMMIT").await.unwrap();
    assert_eq!(folding.await.unwrap().unwrap(), [false]);
    assert_eq!(database.psql("SELECT count(*) FROM presence.state_summaries"), "0");
}

#[tokio::test]
async fn a_batch_may_hold_a_user_more_than_once() {
    let (store, _database) = fresh().await;
    let alice = |secs| commit("alice", None, row("Working", secs));
    let bob = commit("bob", None, row("Idle", 1000));
    let outcomes = store.commit(vec![alice(1000), bob, alice(1001)]).await.unwrap();
    let written: Vec<_> = outcomes.iter().map(|outcome| version(outcome).is_some()).collect();
    assert_eq!(written, [true, true, false], "the second one finds the first");
    let beats = vec![beat("alice", 1010), beat("alice", 900), beat("alice", 1005)];
    let left = CheckpointStore::touch(&*store, beats).await.unwrap();
    assert_eq!(left, [beat("alice", 900)], "before her life began");
    let session = store.load(vec![ask("alice", 0)]).await.unwrap()[0].session.clone().unwrap();
    assert_eq!(session.last_heartbeat, at(1010));

    let mut wrong = commit("carol", None, row("Idle", 1001));
    wrong.requests[0].1 = Row::Inserted(7);
    let carol = commit("carol", None, row("Idle", 1000));
    assert!(store.commit(vec![carol, wrong]).await.is_err(), "a request that names no row");
    assert_eq!(store.load(vec![ask("carol", 1000)]).await.unwrap(), [Context::default()], "all or nothing");
}

#[tokio::test]
async fn a_commit_that_concludes_a_silence_twice_conflicts() {
    let (store, _database) = fresh().await;
    let proof_at = Some(at(1000));
    let timeout = |secs| NewCheckpoint { source: Source::Timeout, proof_at, ..row("Offline", secs) };
    let mut twice = commit("alice", None, timeout(1060));
    twice.insert.push(timeout(1070));
    assert_eq!(store.commit(vec![twice]).await.unwrap(), [Outcome::Conflict]);
}
