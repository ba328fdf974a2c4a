//! The reference adapter: everything in memory, gone when the process ends.

mod activity;
pub(crate) mod live_set;
mod outbox;
mod room_feed;
mod rooms;
pub(crate) mod store;
mod summaries;
