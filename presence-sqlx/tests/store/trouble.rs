//! When the way to the server, or the server, goes away.

use std::{error::Error, sync::Arc, time::Duration};

use futures_util::future::join_all;
use presence_core::{
    ActiveUsers, ActivityQuery, ActivityStore, CheckpointQuery, CheckpointStore, Envelope, EventId, Figures,
    Horizon, ManualClock, OnlineSnapshot, Outcome, Period, Retired, SnapshotStore, StateType, StoreError,
    TimeWindow, Tracker, Window,
};
use presence_postgres_testing::{Cut, Proxy, Server, Stop};
use presence_sqlx::{
    PostgresStore,
    sqlx::{Executor, postgres::PgPoolOptions},
};

use crate::support::{
    another_connection, ask, at, commit, config, connect, end_connections, event, fresh, row,
    until_it_waits_for, user, version,
};

/// How many rows a user has.
async fn rows(store: &PostgresStore, name: &str) -> usize {
    store.history(&user(name), Window::all(), None, 100).await.unwrap().len()
}

#[tokio::test]
async fn a_request_that_did_not_arrive_is_sent_again() {
    let (proxy, _database) = Proxy::fresh();
    // One connection, so that none is opened in between, which has a statement of its own.
    let store = PostgresStore::connect(config(proxy.url()).max_connections(1)).await.unwrap();
    // Prepared beforehand, so that the statement itself is what is cut.
    store.commit(vec![commit("bob", None, row("Working", 1000))]).await.unwrap();
    proxy.cut(Cut::Request, 1);
    let outcomes = store.commit(vec![commit("alice", None, row("Working", 1000))]).await.unwrap();
    assert!(version(&outcomes[0]).is_some());
    assert_eq!(rows(&store, "alice").await, 1);
    proxy.cut(Cut::Request, 1);
    assert_eq!(rows(&store, "alice").await, 1, "so is a question");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_written_once_and_not_acknowledged() {
    let (proxy, _database) = Proxy::fresh();
    let store = connect(proxy.url()).await;
    store.commit(vec![commit("bob", None, row("Working", 1000))]).await.unwrap();
    proxy.cut(Cut::Commit, 1);
    let commits = ["alice", "carol"].map(|name| commit(name, None, row("Working", 1000)));
    let error = store.commit(commits.to_vec()).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!((rows(&store, "alice").await, rows(&store, "carol").await), (1, 1));
    assert_eq!(store.commit(commits.to_vec()).await.unwrap(), [Outcome::Conflict, Outcome::Conflict]);
    proxy.cut(Cut::Answer, 1);
    assert_eq!(rows(&store, "alice").await, 1, "a question is asked again");
}

#[tokio::test]
async fn a_client_that_repeats_its_request_gets_its_first_answer() {
    let (proxy, _database) = Proxy::fresh();
    // One connection, so that none is opened in between, which has a statement of its own.
    let store = Arc::new(PostgresStore::connect(config(proxy.url()).max_connections(1)).await.unwrap());
    let tracker = Tracker::new(store.clone(), Arc::new(ManualClock::new(at(5000))));
    let report = |id: &str| {
        let report = Envelope::checkpoint(user("alice"), StateType::Working).at(at(4990));
        report.with_event_id(EventId::new(id).unwrap())
    };
    tracker.record(Envelope::checkpoint(user("bob"), StateType::Working)).await.unwrap();
    // The load goes through, the commit is cut.
    proxy.cut(Cut::Answer, 2);
    let lost = tracker.record(report("one")).await.unwrap_err();
    assert!(matches!(&lost, presence_core::Error::Store(error) if error.is_retryable()), "{lost:?}");
    let answer = tracker.record(report("one")).await.unwrap();
    assert!(answer.created, "as the first time");
    assert_eq!(tracker.record(report("one")).await.unwrap().checkpoint, answer.checkpoint);
    assert_eq!(rows(&store, "alice").await, 1);
}

#[tokio::test]
async fn events_whose_answer_is_lost_are_stored_once() {
    let (proxy, _database) = Proxy::fresh();
    let store = PostgresStore::connect(config(proxy.url()).max_connections(1)).await.unwrap();
    let sent = vec![event("a", "phone-4711", Some("alice"), 1), event("b", "phone-4711", None, 2)];
    for cut in [Cut::Request, Cut::Answer] {
        proxy.cut(cut, 1);
        // The second attempt finds what the first one stored.
        assert_eq!(store.append(sent.clone()).await.unwrap().len(), 2, "{cut:?}");
        assert_eq!(store.events(Window::all(), None, 10).await.unwrap().len(), 2, "{cut:?}");
    }
    let day = Period::day("1970-01-01".parse().unwrap()).unwrap();
    let marks = store.day_marks(day).await.unwrap().days;
    assert_eq!(marks[0].changes, 1, "one change of one day");

    // Who saves first is told by the answer, and that is lost; not so where the request was.
    let figures =
        |mark| Figures { mark, active: ActiveUsers::default(), calculated_at: at(9), events: Vec::new() };
    proxy.cut(Cut::Request, 1);
    assert!(store.save(figures(marks[0])).await.unwrap());
    let marks = store.day_marks(day).await.unwrap().days;
    proxy.cut(Cut::Answer, 1);
    assert!(store.save(figures(marks[0])).await.unwrap_err().is_retryable());
    assert_eq!(store.day_marks(day).await.unwrap().days[0].version, 2, "it is saved");
    let snapshot = |minute: i64| OnlineSnapshot {
        at: at(60 * minute),
        online_count: 7,
        window: TimeWindow::from_secs(180).unwrap(),
    };
    proxy.cut(Cut::Request, 1);
    assert!(store.keep_snapshot(snapshot(0)).await.unwrap());
    proxy.cut(Cut::Answer, 1);
    assert!(store.keep_snapshot(snapshot(1)).await.unwrap_err().is_retryable());
    assert_eq!(store.snapshots(Window::all(), 10).await.unwrap(), [snapshot(0), snapshot(1)]);

    // What counts rows is not done twice.
    for minute in [2, 3, 4] {
        store.keep_snapshot(snapshot(minute)).await.unwrap();
    }
    proxy.cut(Cut::Answer, 1);
    assert!(store.discard_snapshots(at(9999), 2).await.unwrap_err().is_retryable());
    assert_eq!(store.snapshots(Window::all(), 10).await.unwrap().len(), 3);
    let horizon = Horizon { day: "1970-01-01".parse().unwrap(), at: at(9) };
    assert_eq!(store.retire(horizon, 0).await.unwrap(), Retired::default(), "it has moved");
    proxy.cut(Cut::Answer, 1);
    assert!(store.retire(horizon, 1).await.unwrap_err().is_retryable());
    assert_eq!(store.events(Window::all(), None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn connections_that_an_administrator_ended_are_replaced_unnoticed() {
    let (store, database) = fresh().await;
    // As many connections as the pool has, all of them idle.
    let questions = (0..40).map(|_| store.load(vec![ask("alice", 0)]));
    join_all(questions).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let ended = end_connections(&database);
    assert!(ended > 1, "{ended} connections");
    let outcomes = store.commit(vec![commit("alice", None, row("Working", 1000))]).await.unwrap();
    assert!(version(&outcomes[0]).is_some());
    assert_eq!(end_connections(&database), 1, "those that were ended are not kept");
    store.erase(&user("bob"), at(1000)).await.unwrap();
    let questions = (0..40).map(|_| store.load(vec![ask("alice", 2000)]));
    for answer in join_all(questions).await {
        assert_eq!(answer.unwrap()[0].rows.len(), 1);
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(database.psql(open).parse::<usize>().unwrap() <= 10, "the pool's size");
}

#[tokio::test]
async fn a_server_that_stops_and_starts_again_has_everything_it_acknowledged() {
    let server = Server::start();
    let database = server.database();
    let config = config(database.url()).acquire_timeout(Duration::from_millis(200));
    let store = PostgresStore::connect(config).await.unwrap();
    let mut expected = 0;
    for stop in [Stop::Fast, Stop::Immediate] {
        let name = format!("{stop:?}");
        store.commit(vec![commit(&name, None, row("Working", 1000))]).await.unwrap();
        expected += 1;
        server.stop(stop);
        for answer in [store.load(vec![ask(&name, 0)]).await.map(drop), store.ping().await] {
            let error = answer.unwrap_err();
            assert!(error.is_retryable(), "{stop:?}: {error:?}");
        }
        let lost = store.commit(vec![commit("nobody", None, row("Working", 1000))]).await.unwrap_err();
        assert!(lost.is_retryable(), "{stop:?}: {lost:?}");
        server.start_again();
        store.ping().await.unwrap();
        assert_eq!(rows(&store, &name).await, 1);
    }
    assert_eq!(database.psql("SELECT count(*) FROM presence.checkpoints"), expected.to_string());
}

#[tokio::test]
async fn a_database_that_is_read_only_answers_questions_and_asks_writers_to_come_back() {
    let (store, database) = fresh().await;
    store.commit(vec![commit("alice", None, row("Working", 1000))]).await.unwrap();
    let set_read_only = |setting: &str| {
        let alter =
            format!("ALTER DATABASE {} SET default_transaction_read_only = {setting}", database.name());
        database.psql(&format!("BEGIN READ WRITE; {alter}; COMMIT"));
        end_connections(&database);
    };
    set_read_only("on");
    let error = store.commit(vec![commit("bob", None, row("Working", 1000))]).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(rows(&store, "alice").await, 1);
    set_read_only("off");
    let outcomes = store.commit(vec![commit("bob", None, row("Working", 1000))]).await.unwrap();
    assert!(version(&outcomes[0]).is_some());
}

#[tokio::test]
async fn connections_that_went_silent_do_not_take_the_pools_places_along() {
    const SIZE: u32 = 2;
    let (proxy, _database) = Proxy::fresh();
    let options = config(proxy.url()).connect_options();
    let pool = PgPoolOptions::new().max_connections(SIZE).test_before_acquire(false);
    let pool = pool.connect_with(options.options([("search_path", "public")])).await.unwrap();
    let store = PostgresStore::from_pool(pool.clone()).await.unwrap();
    let questions = |count| join_all((0..count).map(|_| store.load(vec![ask("alice", 0)])));
    for _ in 0..3 {
        questions(8).await.into_iter().for_each(|answer| drop(answer.unwrap()));
        while pool.num_idle() < SIZE as usize {
            tokio::task::yield_now().await;
        }
        proxy.silence();
        // The runtime's time runs as fast as nothing happens, and on these connections nothing does.
        tokio::time::pause();
        for answer in questions(SIZE).await {
            let error = answer.unwrap_err();
            assert!(error.is_retryable(), "{error:?}");
            assert_eq!(error.source().unwrap().to_string(), "the server does not answer");
        }
        tokio::time::resume();
    }
    questions(8).await.into_iter().for_each(|answer| drop(answer.unwrap()));
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_leaves_nothing_behind() {
    let (store, database) = fresh().await;
    let mut other = another_connection(&database).await;
    other.execute("BEGIN; LOCK TABLE checkpoints IN EXCLUSIVE MODE").await.unwrap();
    let erasure = tokio::spawn({
        let store = store.clone();
        async move { store.erase(&user("alice"), at(1000)).await }
    });
    until_it_waits_for("checkpoints", &erasure, &database).await;
    erasure.abort();
    assert!(erasure.await.unwrap_err().is_cancelled());
    other.execute("ROLLBACK").await.unwrap();
    // Half an erasure holds the lock that lets no commit begin.
    let outcomes = store.commit(vec![commit("alice", None, row("Working", 1000))]).await.unwrap();
    assert!(version(&outcomes[0]).is_some());
    assert_eq!(store.load(vec![ask("alice", 0)]).await.unwrap()[0].erased_at, None);
}

#[tokio::test]
async fn no_error_shows_what_a_user_sent() {
    let (store, database) = fresh().await;
    // One error quotes the row in its detail, the other one in its message.
    database.psql(
        "ALTER TABLE presence.checkpoints ADD CHECK (state <> 'zebra');
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN RAISE EXCEPTION '% by %', NEW.state, NEW.user_id; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON presence.checkpoints FOR EACH ROW
             WHEN (NEW.state = 'zebra crossing') EXECUTE FUNCTION refuse()",
    );
    for (state, code) in [("zebra", "23514"), ("zebra crossing", "P0001")] {
        let error = store.commit(vec![commit("umbrella", None, row(state, 1000))]).await.unwrap_err();
        assert!(matches!(error, StoreError::Backend(_)), "{error:?}");
        let mut said = format!("{error} {error:?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            said.push_str(&format!(" {error} {error:?}"));
            cause = error.source();
        }
        assert!(said.contains(code), "{said}");
        assert!(!said.contains("zebra") && !said.contains("umbrella") && !said.contains("INSERT"), "{said}");
    }
}
