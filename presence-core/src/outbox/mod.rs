//! Leaving the building: which events are kept for whom, and when it is tried again. The rules only; the rows are with
//! the stores.

pub(crate) mod held;
pub(crate) mod kind;
pub(crate) mod letter;
pub(crate) mod retry;
pub(crate) mod subscriptions;
