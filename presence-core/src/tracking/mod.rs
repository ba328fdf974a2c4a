//! What a user is doing, and for how long.

pub(crate) mod checkpoint;
pub(crate) mod command;
pub(crate) mod commit;
pub(crate) mod content;
pub(crate) mod decide;
pub(crate) mod duration;
pub(crate) mod fold;
pub(crate) mod pending;
pub(crate) mod session;
mod slice;
pub(crate) mod state;
pub(crate) mod summary;
mod timeline;
pub(crate) mod timeout;
pub(crate) mod vigil;
