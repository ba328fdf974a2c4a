//! Callbacks: what reaches a receiver, what becomes of it, and where nothing ever goes.

mod guard;
mod history;
mod receiver;
mod rooms;
mod sinks;
mod stories;
mod sync;
mod zoo;
