//! Who was here today.

pub(crate) mod daily;
pub(crate) mod event_log;
pub(crate) mod identity;
mod names;
pub(crate) mod online;
pub(crate) mod period;
pub(crate) mod policy;
pub(crate) mod properties;
pub(crate) mod sighting;
