//! Days of events, and the bare loops that write what a store keeps of them.

pub mod bare_postgres;
pub mod bare_sqlite;
mod events;

pub use self::events::{DAY, Events};

use std::sync::Arc;

use presence_core::{
    Activity, ActivityPolicy, ActivityQuery, ActivityStore, ManualClock, SnapshotStore, Timestamp,
};

/// Active users on a store, the moment after [`DAY`].
///
/// # Panics
///
/// Never: it is a valid instant.
pub fn activity<S: ActivityQuery + ActivityStore + SnapshotStore + 'static>(store: Arc<S>) -> Activity {
    let clock = ManualClock::new(Timestamp::from_millis(DAY + 86_400_000).expect("an instant"));
    Activity::with_policy(store, clock, ActivityPolicy::default())
}
