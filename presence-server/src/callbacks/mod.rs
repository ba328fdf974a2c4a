//! Calls to other systems: over HTTP, signed, and never to where an operator did not mean them to go.
//!
//! A [`Delivery`] is bytes with an id. An [`Endpoint`] posts it once and says in an [`Outcome`] what became of it;
//! whether and when it is posted again is for the caller, always under the same id.

mod delivery;
mod endpoint;
mod guard;
mod outcome;
mod retry_after;
mod signature;
mod target;

pub use self::{
    delivery::{BadDeliveryId, Delivery, DeliveryId},
    endpoint::{CallbackPolicy, Endpoint, EndpointError},
    guard::{Forbidden, Guard, SystemDns, is_public},
    outcome::{Outcome, Reason},
    signature::{BadSecrets, SigningSecrets},
    target::{BadUrl, CallbackUrl},
};
