//! The flows: load, decide, commit, awaiting only ports.

mod batcher;
pub(crate) mod beats;
pub(crate) mod tracker;
