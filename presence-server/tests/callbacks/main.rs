//! Callbacks: what reaches a receiver, what becomes of it, and where nothing ever goes.

mod guard;
mod receiver;
mod stories;
mod zoo;
