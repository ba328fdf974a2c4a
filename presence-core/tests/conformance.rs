//! The store in memory keeps the promises of the ports, and every promise has its case.

use std::{collections::BTreeSet, sync::Arc};

use futures_executor::block_on;
use presence_core::MemoryStore;

async fn fresh() -> (Arc<MemoryStore>, ()) {
    (Arc::new(MemoryStore::new()), ())
}

presence_core::conformance_tests!(fresh, block_on);
presence_core::outbox_tests!(fresh, block_on);
presence_core::room_tests!(fresh, block_on);

/// The promises that a port makes: the names in backticks at the head of the items under `# Contract`.
fn promises(port: &str) -> BTreeSet<&str> {
    let lines = port.lines().map(|line| line.trim_start().trim_start_matches("///").trim_start());
    lines.filter_map(|line| line.strip_prefix("- `")?.split('`').next()).collect()
}

/// The cases that the macros list for these modules.
fn cases<'a>(list: &'a str, modules: &[&str]) -> BTreeSet<&'a str> {
    let groups = modules.iter().filter_map(|module| {
        let (_, group) = list.split_once(&format!("            {module}::{{\n"))?;
        group.split_once('}').map(|(group, _)| group)
    });
    groups
        .flat_map(|group| group.lines().map(|line| line.trim().trim_end_matches(',')))
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn every_promise_has_its_case_and_every_case_its_promise() {
    let list = include_str!("../src/conformance/mod.rs");
    for (module, port) in [
        ("activity_store", include_str!("../src/ports/activity_store.rs")),
        ("activity_query", include_str!("../src/ports/activity_query.rs")),
        ("snapshot_store", include_str!("../src/ports/snapshot_store.rs")),
        ("checkpoint_store", include_str!("../src/ports/checkpoint_store.rs")),
        ("checkpoint_query", include_str!("../src/ports/checkpoint_query.rs")),
        ("live_set", include_str!("../src/ports/live_set.rs")),
        ("outbox", include_str!("../src/ports/outbox.rs")),
        ("room_store", include_str!("../src/ports/room_store.rs")),
        ("room_feed", include_str!("../src/ports/room_feed.rs")),
        ("room_query", include_str!("../src/ports/room_query.rs")),
        ("summary_cache", include_str!("../src/ports/summary_cache.rs")),
    ] {
        let promises = promises(port);
        assert!(promises.len() > 1, "the promises of {module} were found");
        assert_eq!(promises, cases(list, &[module]), "{module}");
    }
}
