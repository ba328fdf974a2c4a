//! What tasks ask of a thread: a bounded queue that never makes a task wait.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// How much weight may wait.
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, usize)>,
    weight: usize,
    is_woken: bool,
    is_closed: bool,
}

/// Why an item was not taken.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Full {
    Full,
    Closed,
}

/// What a thread has to do.
#[derive(Debug)]
pub(crate) enum Work<T> {
    /// These items; none, if the time is up or somebody called.
    Items(Vec<T>),
    /// Nothing any more.
    End,
}

impl<T> Queue<T> {
    pub(crate) const fn new(capacity: usize) -> Self {
        let state = State { items: VecDeque::new(), weight: 0, is_woken: false, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    /// Puts an item in. One that is heavier than all that may wait is taken where nothing else waits.
    pub(crate) fn push(&self, item: T, weight: usize) -> Result<(), Full> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Full::Closed);
        }
        if !state.items.is_empty() && state.weight.saturating_add(weight) > self.capacity {
            return Err(Full::Full);
        }
        state.items.push_back((item, weight));
        state.weight = state.weight.saturating_add(weight);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes what there is: at least one item, and more up to `weight` together. Waits for it up to `wait`, and for
    /// ever without.
    pub(crate) fn take(&self, weight: usize, wait: Option<Duration>) -> Work<T> {
        let state = self.lock();
        let is_idle = |state: &mut State<T>| state.items.is_empty() && !state.is_closed && !state.is_woken;
        let mut state = match wait {
            Some(wait) => {
                let waited = self.changed.wait_timeout_while(state, wait, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait_while(state, is_idle).unwrap_or_else(PoisonError::into_inner),
        };
        state.is_woken = false;
        if state.items.is_empty() && state.is_closed {
            return Work::End;
        }
        let mut sum = 0_usize;
        let mut taken = Vec::new();
        while let Some((_, next)) = state.items.front()
            && (taken.is_empty() || sum.saturating_add(*next) <= weight)
            && let Some((item, own)) = state.items.pop_front()
        {
            sum = sum.saturating_add(own);
            taken.push(item);
        }
        state.weight = state.weight.saturating_sub(sum);
        Work::Items(taken)
    }

    /// Wakes the thread that waits here, or would wait next.
    pub(crate) fn wake(&self) {
        self.lock().is_woken = true;
        self.changed.notify_one();
    }

    /// Takes nothing more; what is in it can still be taken out.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Takes nothing more, and drops what is in it.
    pub(crate) fn abandon(&self) {
        self.close();
        let left = std::mem::take(&mut self.lock().items);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However the thread ends, nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Abandon<'a, T>(pub(crate) &'a Queue<T>);

impl<T> Drop for Abandon<'_, T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// However the thread ends, the other one ends after it.
#[derive(Debug)]
pub(crate) struct Close<'a, T>(pub(crate) &'a Queue<T>);

impl<T> Drop for Close<'_, T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken<T>(work: Work<T>) -> Vec<T> {
        match work {
            Work::Items(items) => items,
            Work::End => panic!("closed"),
        }
    }

    #[test]
    fn a_full_queue_refuses_and_an_empty_one_takes_anything() {
        let queue = Queue::new(10);
        assert_eq!(queue.push('a', 99), Ok(()));
        assert_eq!(queue.push('b', 1), Err(Full::Full));
        assert_eq!(taken(queue.take(1, None)), ['a']);
        assert_eq!(queue.push('c', 4), Ok(()));
        assert_eq!(queue.push('d', 6), Ok(()));
        assert_eq!(queue.push('e', 1), Err(Full::Full));
        assert_eq!(taken(queue.take(9, None)), ['c']);
        assert_eq!(queue.push('e', 1), Ok(()));
        assert_eq!(taken(queue.take(9, None)), ['d', 'e']);
    }

    #[test]
    fn a_call_is_kept_until_somebody_would_wait() {
        let queue = Queue::<char>::new(10);
        queue.wake();
        assert_eq!(taken(queue.take(9, None)), []);
        assert_eq!(taken(queue.take(9, Some(Duration::ZERO))), []);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_takes_no_more() {
        let queue = Queue::new(10);
        queue.push('a', 1).unwrap();
        queue.close();
        assert_eq!(queue.push('b', 1), Err(Full::Closed));
        assert_eq!(taken(queue.take(9, None)), ['a']);
        assert!(matches!(queue.take(9, None), Work::End));
    }
}
