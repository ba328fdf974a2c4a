//! Who is doing what, and for how long, in fifteen lines: `cargo run --example quickstart`.

use std::sync::Arc;

use presence_core::{Envelope, MemoryStore, StateType, SystemClock, Tracker, UserId, Window};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = Tracker::new(Arc::new(MemoryStore::new()), SystemClock);
    let alice = UserId::new("alice")?;

    tracker.record(Envelope::checkpoint(alice.clone(), StateType::Working)).await?;
    tracker.record(Envelope::heartbeat(alice.clone())).await?; // once a minute, or she is taken for gone
    tracker.record(Envelope::checkpoint(alice.clone(), StateType::new("Gaming")?)).await?;
    tracker.sweep(1_000).await?; // time out whoever went silent

    let status = tracker.status(&alice, Window::all()).await?.expect("alice was recorded");
    println!("{} is {} since {}", status.user, status.current_state, status.since);
    assert_eq!(status.current_state.as_str(), "Gaming");
    Ok(())
}
