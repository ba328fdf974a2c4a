//! What an outage costs in memory.

use std::{fs, sync::Arc, time::Duration};

use presence_core::Step;
use presence_sqlite::{Durability, SqliteConfig, SqliteStore};

use crate::{cluster::Cluster, world::World};

/// The memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a Linux machine");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_a_thousand_events_a_second_waits_on_disk() {
    const SECONDS: usize = 60;
    let cluster = Cluster::alone().await;
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(folder.path().join("presence.db")).durability(Durability::Process);
    let store = Arc::new(SqliteStore::open_with(config).await.unwrap());
    let mut world = World::on(store, &cluster.config().timeout(Duration::from_secs(1)));
    world.happen(1_000, 500).await;
    world.drain().await;
    cluster.goes_away();
    let before = resident();
    let (mut most, mut failures) = (before, 0);
    for _ in 0..SECONDS {
        world.happen(1_000, 500).await;
        world.wait(Duration::from_secs(1));
        match world.deliver().await {
            Step::Resting(_) => {}
            Step::Failed { accepted: 0, refused: 0, .. } => failures += 1,
            other => panic!("{other:?}"),
        }
        most = most.max(resident());
    }
    println!("{} KiB more while {failures} deliveries failed", most - before);
    assert!(most - before < 64 * 1024, "{before} KiB, then {most} KiB");
    assert!(failures > 3, "it was tried again and again: {failures}");
    assert_eq!(world.books().await.pending, SECONDS as u64 * 1_000);
    cluster.comes_back();
    world.drain().await;
    assert_eq!(world.books().await.delivered, (SECONDS as u64 + 1) * 1_000);
    world.assert_all_there(&cluster).await;
}
