//! The promises of [`SnapshotStore`](crate::SnapshotStore).

use super::case::at;
use crate::{OnlineSnapshot, SnapshotStore, TimeWindow, Window};

fn snapshot(minute: i64, online_count: u64) -> OnlineSnapshot {
    let window = TimeWindow::from_secs(180).expect("a window");
    OnlineSnapshot { at: at(minute * 60_000), online_count, window }
}

async fn keep(store: &dyn SnapshotStore, snapshot: OnlineSnapshot) -> bool {
    store.keep_snapshot(snapshot).await.expect("a store that works")
}

async fn read(store: &dyn SnapshotStore, from: i64, to: i64, limit: usize) -> Vec<OnlineSnapshot> {
    let window = Window::new(at(from * 60_000), at(to * 60_000)).expect("in order");
    store.snapshots(window, limit).await.expect("a store that works")
}

/// See [`SnapshotStore::keep`](crate::SnapshotStore::keep_snapshot).
pub async fn the_first_snapshot_of_a_minute_stays(store: &dyn SnapshotStore) {
    assert!(keep(store, snapshot(723, 3)).await);
    assert!(!keep(store, snapshot(723, 2)).await);
    assert!(!keep(store, snapshot(723, 3)).await);
    let other = OnlineSnapshot {
        window: TimeWindow::from_secs(60).expect("a window"),
        ..snapshot(724, u64::from(u32::MAX))
    };
    assert!(keep(store, other).await);
    assert_eq!(read(store, 0, 1000, 10).await, [snapshot(723, 3), other]);
}

/// See [`SnapshotStore::snapshots`](crate::SnapshotStore::snapshots).
pub async fn snapshots_come_oldest_first_out_of_a_half_open_window(store: &dyn SnapshotStore) {
    for minute in [5, 1, 4, 2, 3] {
        assert!(keep(store, snapshot(minute, 10)).await);
    }
    let minutes = |snapshots: Vec<OnlineSnapshot>| -> Vec<i64> {
        snapshots.iter().map(|snapshot| snapshot.at.as_secs() / 60).collect()
    };
    assert_eq!(minutes(read(store, 0, 9, 10).await), [1, 2, 3, 4, 5]);
    assert_eq!(minutes(read(store, 2, 4, 10).await), [2, 3]);
    assert_eq!(minutes(read(store, 2, 9, 2).await), [2, 3]);
    assert_eq!(minutes(read(store, 2, 2, 10).await), [] as [i64; 0]);
}

/// See [`SnapshotStore::discard`](crate::SnapshotStore::discard_snapshots).
pub async fn old_snapshots_go_in_slices(store: &dyn SnapshotStore) {
    for minute in 1..=5 {
        assert!(keep(store, snapshot(minute, 10)).await);
    }
    let discard = |minute: i64, limit| async move {
        store.discard_snapshots(at(minute * 60_000), limit).await.expect("a store that works")
    };
    assert_eq!(discard(1, 10).await, 0);
    assert_eq!(discard(4, 2).await, 2);
    assert_eq!(read(store, 0, 9, 10).await.len(), 3, "the oldest go first");
    assert_eq!(read(store, 0, 9, 1).await, [snapshot(3, 10)]);
    assert_eq!(discard(4, 2).await, 1);
    assert_eq!(discard(4, 2).await, 0);
    assert_eq!(read(store, 0, 9, 10).await, [snapshot(4, 10), snapshot(5, 10)]);
}
