//! What waits to be sent to one member.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};

use axum::extract::ws::Utf8Bytes;
use futures_util::task::AtomicWaker;
use presence_core::CloseReason;

/// The most bytes that may wait for a member. Whoever reads so slowly is closed.
pub(super) const WAITING: usize = 256 * 1024;
/// The most bytes that are taken at a time.
const TAKEN: usize = 64 * 1024;
/// How many places an empty queue keeps.
pub(super) const PLACES: usize = 16;

/// Why a member's connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The room says so.
    By(CloseReason),
    /// The member does not read what it is sent.
    Slow,
}

/// Frames on their way to one member. The room puts them in and never waits; the member's connection takes them out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: AtomicWaker,
    /// The room has it on its list of members who are to be woken.
    is_listed: AtomicBool,
    is_admin: AtomicBool,
    is_gone: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// What they count, all together.
    bytes: usize,
    end: Option<End>,
}

#[derive(Debug)]
struct Waiting {
    text: Utf8Bytes,
    counts: usize,
}

impl Queue {
    /// Adds a frame; where it does not fit, the member is given up instead.
    pub(super) fn push(&self, text: Utf8Bytes) {
        let counts = text.len();
        self.add(Waiting { text, counts });
    }

    /// Adds a frame that the room holds anyway, so that it counts nothing.
    pub(super) fn replay(&self, text: Utf8Bytes) {
        self.add(Waiting { text, counts: 0 });
    }

    /// Adds frames that all members get, and wakes nobody; says whether the member is to be [woken](Self::wake) and was
    /// not listed for that yet.
    pub(super) fn list(&self, texts: &[Utf8Bytes]) -> bool {
        let frames = texts.iter().map(|text| Waiting { text: text.clone(), counts: text.len() });
        self.extend(frames) && !self.is_listed.swap(true, Relaxed)
    }

    /// Wakes a member who was listed.
    pub(super) fn wake(&self) {
        self.is_listed.store(false, Relaxed);
        self.filled.wake();
    }

    fn add(&self, frame: Waiting) {
        if self.extend([frame]) {
            self.filled.wake();
        }
    }

    /// Says whether the member has to learn of it.
    fn extend(&self, frames: impl IntoIterator<Item = Waiting>) -> bool {
        let mut state = self.lock();
        if state.end.is_some() {
            return false;
        }
        let was_empty = state.waiting.is_empty();
        for frame in frames {
            state.bytes += frame.counts;
            state.waiting.push_back(frame);
        }
        let is_slow = state.bytes > WAITING;
        if is_slow {
            *state = State { end: Some(End::Slow), ..State::default() };
        }
        was_empty || is_slow
    }

    /// Ends the connection behind what waits already.
    pub(super) fn end(&self, reason: CloseReason) {
        self.lock().end.get_or_insert(End::By(reason));
        self.filled.wake();
    }

    /// Waits until there is something to take.
    pub(super) async fn filled(&self) {
        poll_fn(|cx| {
            self.filled.register(cx.waker());
            let state = self.lock();
            if state.waiting.is_empty() && state.end.is_none() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Waits until the member is given up.
    pub(super) async fn given_up(&self) {
        poll_fn(|cx| {
            self.filled.register(cx.waker());
            if self.lock().end == Some(End::Slow) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Takes some of what waits, in order; says how the connection ends, once that was all.
    pub(super) fn take(&self, into: &mut Vec<Utf8Bytes>) -> Option<End> {
        let mut state = self.lock();
        let mut taken = 0;
        while taken < TAKEN
            && let Some(Waiting { text, counts }) = state.waiting.pop_front()
        {
            taken += text.len();
            state.bytes -= counts;
            into.push(text);
        }
        if state.waiting.is_empty() && state.waiting.capacity() > PLACES {
            state.waiting.shrink_to(PLACES);
        }
        state.end.filter(|_| state.waiting.is_empty())
    }

    /// Whether what the member asks for as an administrator is passed on.
    pub(super) fn is_admin(&self) -> bool {
        self.is_admin.load(Relaxed)
    }

    pub(super) fn set_admin(&self, is_admin: bool) {
        self.is_admin.store(is_admin, Relaxed);
    }

    /// Whether the connection has ended: a join that comes later is of nobody.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    pub(super) fn leave(&self) {
        self.is_gone.store(true, Relaxed);
    }

    /// How many frames wait, and what they count.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.waiting.len(), state.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Utf8Bytes {
        "x".repeat(length).into()
    }

    #[test]
    fn frames_come_out_in_order_and_in_parts() {
        let queue = Queue::default();
        (1..=3).for_each(|kib| queue.push(text(kib * 30 * 1024)));
        queue.end(CloseReason::Kicked);
        queue.push(text(1));
        let mut taken = Vec::new();
        assert_eq!(queue.take(&mut taken), None, "there is more");
        assert_eq!(taken.iter().map(|text| text.len()).collect::<Vec<_>>(), [30 * 1024, 60 * 1024]);
        assert_eq!(queue.take(&mut taken), Some(End::By(CloseReason::Kicked)));
        assert_eq!(taken.len(), 3, "nothing comes behind the end");
    }

    #[test]
    fn whoever_does_not_read_is_given_up_and_what_waits_is_let_go() {
        let queue = Queue::default();
        (0..4).for_each(|_| queue.push(text(WAITING / 4)));
        (0..1000).for_each(|_| queue.replay(text(1024)));
        assert_ne!(queue.lock().end, Some(End::Slow));
        queue.push(text(1));
        queue.end(CloseReason::Kicked);
        let mut taken = Vec::new();
        assert_eq!(queue.take(&mut taken), Some(End::Slow));
        assert!(taken.is_empty());
    }
}
