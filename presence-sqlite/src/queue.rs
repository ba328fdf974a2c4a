//! A bounded queue from tasks to threads: full, it makes tasks wait, and never a thread of theirs.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

/// How long nothing comes before a thread has nothing to do: longer than from one flush of heartbeats to the next.
pub(crate) const IDLE: Duration = Duration::from_secs(2);

/// The queue takes nothing more.
#[derive(Debug)]
pub(crate) struct Closed;

/// Many tasks put items in, some threads take them out, in order.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Tasks that found the queue full. All of them wake when room appears: one that was dropped meanwhile costs
    /// nobody else its turn.
    waiting: Vec<Waker>,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(crate) const fn new(capacity: usize) -> Self {
        let state = State { items: VecDeque::new(), waiting: Vec::new(), is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    /// Puts an item in, as soon as there is room.
    pub(crate) async fn push(&self, item: T) -> Result<(), Closed> {
        let mut item = Some(item);
        let push = |task: &Waker| {
            let mut state = self.lock();
            if state.is_closed {
                return Poll::Ready(Err(Closed));
            }
            if state.items.len() >= self.capacity {
                if !state.waiting.iter().any(|waker| waker.will_wake(task)) {
                    state.waiting.push(task.clone());
                }
                return Poll::Pending;
            }
            state.items.extend(item.take());
            drop(state);
            self.changed.notify_one();
            Poll::Ready(Ok(()))
        };
        let mut push = push;
        poll_fn(|context| push(context.waker())).await
    }

    /// Takes all items there are, at least one and at most `limit`; none once the queue is closed and empty. Where
    /// nothing comes for as long as `patience`, the thread calls `rest`, once, and goes on waiting.
    pub(crate) fn take(&self, limit: usize, patience: Duration, rest: impl FnOnce()) -> Vec<T> {
        let blocked = |state: &mut State<T>| state.items.is_empty() && !state.is_closed;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, blocked);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            drop(state);
            rest();
            state = self.changed.wait_while(self.lock(), blocked).unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.items.len().min(limit);
        let taken = state.items.drain(..count).collect();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        taken
    }

    /// How many items wait to be taken out.
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Takes nothing more; what is in it can still be taken out.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.changed.notify_all();
        waiting.into_iter().for_each(Waker::wake);
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use futures_executor::block_on;

    use super::*;

    #[test]
    fn a_full_queue_makes_tasks_wait() {
        let queue = Arc::new(Queue::new(2));
        let pushes = thread::spawn({
            let queue = queue.clone();
            move || (0..100).for_each(|n| block_on(queue.push(n)).unwrap())
        });
        let taken: Vec<_> = (0..100).flat_map(|_| queue.take(1, IDLE, || {})).collect();
        pushes.join().unwrap();
        assert!(taken.is_sorted());
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_takes_no_more() {
        let queue = Queue::new(8);
        block_on(queue.push(1)).unwrap();
        queue.close();
        assert!(block_on(queue.push(2)).is_err());
        assert_eq!(queue.take(8, IDLE, || {}), [1]);
        assert!(queue.take(8, IDLE, || {}).is_empty());
    }

    #[test]
    fn a_thread_rests_once_where_nothing_comes_and_then_takes_what_does() {
        let (queue, mut rests) = (Queue::new(8), 0);
        let taken = queue.take(8, Duration::ZERO, || {
            rests += 1;
            block_on(queue.push(1)).unwrap();
        });
        assert_eq!((taken, rests), (vec![1], 1));
        block_on(queue.push(2)).unwrap();
        assert_eq!(queue.take(8, Duration::ZERO, || unreachable!("there is something to do")), [2]);
    }
}
