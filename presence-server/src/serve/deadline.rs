use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Sleep as HyperSleep, Timer};
use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a wait that begins anew with each request, and nearly always ends long before its time.
///
/// Setting a timer takes the lock of all timers and a place in their wheel. So this one is left where it is while the
/// time it is set for comes first, and set again, for what is still to come, only when that is up: once in as long as the
/// wait may be, and not once in a request.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Ready once it is `at`.
    pub(super) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

/// One for all requests of a connection, which come one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Deadline>>);

impl Shared {
    pub(super) fn poll(&self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        // A timer that panicked is no worse than before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll(at, cx)
    }
}

/// hyper's own timers: it makes one for each head, and drops it. All those of a connection are one here.
impl Timer for Shared {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn HyperSleep>> {
        self.sleep_until(after(Instant::now(), duration).into_std())
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn HyperSleep>> {
        Box::pin(Wait { timer: self.clone(), due: deadline.into() })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

/// What hyper waits for.
struct Wait {
    timer: Shared,
    due: Instant,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(self.due, cx)
    }
}

impl HyperSleep for Wait {}

/// A limit too large to be added is no limit that anybody waits for.
pub(super) fn after(now: Instant, limit: Duration) -> Instant {
    now.checked_add(limit).unwrap_or(now + Duration::from_secs(86_400))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout_at;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_own_time_wherever_the_timer_was_left() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut deadline = Deadline::default();
        // Each wait, whether it is given up, and when it is over.
        for (until, given_up, over) in
            [(30, Some(1), 1), (31, Some(2), 2), (40, None, 40), (100, Some(41), 41), (50, None, 50)]
        {
            let wait = poll_fn(|cx| deadline.poll(at(until), cx));
            let ended = timeout_at(at(given_up.unwrap_or(1000)), wait).await;
            assert_eq!(ended.is_ok(), given_up.is_none(), "until {until}");
            assert_eq!(start.elapsed().as_secs(), over, "until {until}");
        }
    }
}
