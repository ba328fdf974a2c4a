//! The flows: load, decide, commit, awaiting only ports.

pub(crate) mod activity;
mod batcher;
pub(crate) mod beats;
pub(crate) mod flush;
pub(crate) mod heartbeat;
mod online;
pub(crate) mod page;
pub(crate) mod recorded;
pub(crate) mod relay;
pub(crate) mod rooms;
pub(crate) mod summaries;
pub(crate) mod tracker;
