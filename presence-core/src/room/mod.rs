//! Who is in a room, and who may say what: commands in, effects out.
//!
//! ```text
//! Command ──▶ Room::handle ──▶ Effect   frames, whom they are for, who is closed
//!                  │
//!                  └─────────▶ Batch    rows and events, to be written in order
//! ```

pub(crate) mod admins;
pub(crate) mod batch;
pub(crate) mod coalesce;
pub(crate) mod command;
pub(crate) mod decide;
pub(crate) mod effect;
pub(crate) mod history;
pub(crate) mod message;
pub(crate) mod name;
pub(crate) mod pagination;
pub(crate) mod policy;
pub(crate) mod protocol;
pub(crate) mod rate_limit;
pub(crate) mod roster;
