//! The routes, one surface or noun per file. Each keeps the case and the units of its surface.

pub(crate) mod active_users;
mod all_rooms;
mod batch;
pub(crate) mod checkpoints;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod heartbeat;
mod long_page;
pub(crate) mod metrics;
pub(crate) mod online_history;
pub(crate) mod outbox;
mod parts;
pub(crate) mod presence;
pub(crate) mod room_history;
pub(crate) mod rooms;
pub(crate) mod status;
pub(crate) mod summaries;
pub(crate) mod users;

use axum::http::{HeaderName, HeaderValue};

/// How durable an answered write is.
pub(crate) const DURABILITY: HeaderName = HeaderName::from_static("presence-durability");

/// What is durable with the next flush only.
pub(crate) const IN_MEMORY: HeaderValue = HeaderValue::from_static("memory");
