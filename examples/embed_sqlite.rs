//! A tracker on a SQLite file: what was recorded is there after a restart. `cargo run --example embed_sqlite`.

use std::{path::Path, sync::Arc, time::Duration};

use presence_core::{
    Beats, Clock, Envelope, Heartbeat, ManualClock, StateType, Timestamp, Tracker, UserId, Window,
};
use presence_sqlite::SqliteStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("presence.db");
    let alice = UserId::new("alice")?;

    // A morning, told by a clock that we move. Yours is `SystemClock`.
    let clock = Arc::new(ManualClock::new("2026-11-21T09:00:00Z".parse().map(Timestamp::from_datetime)??));
    work(&file, clock.clone(), &alice).await?;

    // The process ends here, and another one opens the file, an hour later.
    clock.set(clock.now().saturating_add(Duration::from_secs(3600)));
    let tracker = Tracker::new(Arc::new(SqliteStore::open(&file).await?), clock.clone());
    let swept = tracker.sweep(1_000).await?;
    let status = tracker.status(&alice, Window::all()).await?.expect("alice was recorded");
    for part in &status.durations {
        println!("{:8} {:>5} s", part.state.to_string(), part.duration.as_secs());
    }
    println!(
        "{} silence concluded; {} is {} since {}",
        swept.lapsed, status.user, status.current_state, status.since
    );

    let durations: Vec<_> =
        status.durations.iter().map(|part| (part.state.as_str(), part.duration.as_secs())).collect();
    assert_eq!(durations, [("Offline", 3540), ("Working", 1260), ("Idle", 600)]);
    Ok(())
}

/// Twenty minutes of work, ten of idling, and a last heartbeat.
async fn work(
    file: &Path,
    clock: Arc<ManualClock>,
    alice: &UserId,
) -> Result<(), Box<dyn std::error::Error>> {
    let store = Arc::new(SqliteStore::open(file).await?);
    // Heartbeats by the thousand do not wait for the disk: `Beats` keeps them, and a flush writes them all.
    let beats = Beats::new(Tracker::new(store.clone(), clock.clone())).backed_by(store.clone());
    beats.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
    for minute in 1..=30 {
        clock.set(clock.now().saturating_add(Duration::from_secs(60)));
        match minute {
            20 => drop(beats.record(Envelope::checkpoint(alice.clone(), StateType::Idle)).await?),
            30 => drop(beats.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?),
            _ => drop(beats.beat(Heartbeat::of_user(alice.clone())).await?),
        }
        beats.flush().await?;
    }
    let online = beats.online_count(Duration::from_secs(180)).await?;
    println!("{online} online at {}", clock.now());
    assert_eq!(online, 1);
    drop(beats);
    store.close().await;
    Ok(())
}
