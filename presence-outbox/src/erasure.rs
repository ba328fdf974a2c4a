//! Forgetting events: what is asked, and what became of it.

use std::{fmt, io, sync::Arc};

use serde::de::DeserializeOwned;

use crate::record::{Record, decode};

/// A line that may have to be forgotten.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stored<'a, E> {
    /// An event.
    Event(&'a E),
    /// A line that no event can be read from, as it is. Whoever has to forget all of somebody looks for the id in it.
    Unreadable(&'a [u8]),
}

/// How many lines were forgotten. Asked for again, they are not there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Erased {
    /// Lines that some sink may still have got.
    pub waiting: u64,
    /// Lines of `corrupt-*` and `dead-*` files.
    pub aside: u64,
    /// Lines that are longer than 1 MiB, which nobody could look at: they stay.
    pub unread: u64,
}

/// Events that are not forgotten, or not all of them: asked for again, the rest is.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// The disk is full or read-only, or fails.
    #[error("the outbox cannot be written")]
    Unavailable(#[source] Arc<io::Error>),
    /// The outbox was closed.
    #[error("the outbox is closed")]
    Closed,
}

/// Which lines are to be forgotten.
pub(crate) struct Judge<E>(pub(crate) Box<IsErased<E>>);

type IsErased<E> = dyn Fn(Stored<'_, E>) -> bool + Send;

impl<E: DeserializeOwned> Judge<E> {
    pub(crate) fn is_erased(&self, line: &[u8]) -> bool {
        let event = match decode(line) {
            Record::Event(json) => serde_json::from_str::<E>(json).ok(),
            _ => None,
        };
        match event {
            Some(event) => (self.0)(Stored::Event(&event)),
            None => (self.0)(Stored::Unreadable(line)),
        }
    }
}

impl<E> fmt::Debug for Judge<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}
