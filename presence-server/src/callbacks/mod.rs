//! Calls to other systems: over HTTP, signed, and never to where an operator did not mean them to go.
//!
//! A [`Delivery`] is bytes with an id. An [`Endpoint`] posts it once and says in an [`Outcome`] what became of it;
//! whether and when it is posted again is for the caller, always under the same id: a relay of the outbox, for an
//! [`EventSink`], or what calls [`HistoryBatches`] and [`RoomSync`], which need no outbox because they read what is
//! stored.

mod attempts;
mod channel;
mod data;
mod delivery;
mod endpoint;
mod event_sink;
mod events;
mod guard;
mod history;
mod outcome;
mod retry_after;
mod room_events;
mod signature;
mod sync;
mod target;
mod turn;

pub use self::{
    attempts::{Attempts, Progress},
    channel::Channel,
    delivery::{BadDeliveryId, Delivery, DeliveryId},
    endpoint::{CallbackPolicy, Endpoint, EndpointError},
    event_sink::EventSink,
    guard::{Forbidden, Guard, SystemDns, is_public},
    history::HistoryBatches,
    outcome::{Outcome, Reason},
    signature::{BadSecrets, SigningSecrets},
    sync::RoomSync,
    target::{BadUrl, CallbackUrl},
    turn::Turn,
};
