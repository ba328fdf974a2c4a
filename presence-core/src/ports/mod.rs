//! What the outside must provide: one trait per file, each promise under `# Contract`.
//!
//! Every promise has a case of the same name in [`conformance`](crate::conformance), which any adapter can run.

pub(crate) mod activity_query;
pub(crate) mod activity_store;
pub(crate) mod checkpoint_query;
pub(crate) mod checkpoint_store;
pub(crate) mod clock;
pub(crate) mod live_set;
pub(crate) mod outbox;
pub(crate) mod room_feed;
pub(crate) mod room_query;
pub(crate) mod room_store;
pub(crate) mod sink;
pub(crate) mod snapshot_store;
pub(crate) mod summary_cache;
