//! Active users in a file: over a kill, a restart, and with many people behind a day.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
};

use futures_executor::block_on;
use presence_core::{
    ActivityQuery, Window,
    conformance::crowd::{self, EVENTS},
};
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};

use crate::outside;

#[expect(dead_code, reason = "its main runs as a program, below")]
#[path = "../../examples/ingest.rs"]
mod ingest;

#[test]
fn eight_threads_that_are_killed_and_begin_again_store_each_event_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("presence.db");
    let mut child = Command::new(outside::program("ingest"))
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let acknowledged = lines.by_ref().take(60).filter(Result::is_ok).count();
    child.kill().expect("it runs");
    let acknowledged = acknowledged + lines.count();
    child.wait().expect("it ends");
    assert!((60..800).contains(&acknowledged), "{acknowledged} batches");

    let config = SqliteConfig::new(&path).durability(Durability::Process);
    let store = Arc::new(block_on(SqliteStore::open_with(config.clone())).expect("a store"));
    let stored = |store: &SqliteStore| {
        let events = block_on(store.events(Window::all(), None, usize::MAX)).expect("a store that works");
        let ids: BTreeSet<_> = events.iter().map(|event| event.event_id.clone()).collect();
        assert_eq!(ids.len(), events.len(), "each once");
        events.len()
    };
    let before = stored(&store);
    assert!(before > 1000 && before < EVENTS as usize, "{before} were stored before the kill");
    let activity = crowd::activity(store.clone());
    // Figures of what is there, so that the rest has something to make stale.
    block_on(activity.refold(100)).expect("a store that works");
    ingest::ingest(&activity, |_| Ok(())).expect("a store that works");
    assert_eq!(stored(&store), EVENTS as usize);
    assert_eq!(block_on(activity.refold(100)).expect("a store that works").days, 7);
    block_on(crowd::assert_figures(&activity));
    println!("{before} events before the kill, {acknowledged} batches acknowledged");
    drop(activity);
    block_on(store.close());

    let again = Arc::new(block_on(SqliteStore::open_with(config)).expect("a store"));
    let activity = crowd::activity(again.clone());
    assert_eq!(block_on(activity.refold(100)).expect("a store that works").days, 0, "nothing is stale");
    block_on(crowd::assert_figures(&activity));
    block_on(again.close());
}
