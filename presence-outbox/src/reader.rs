//! The thread that reads: it gives sinks their batches, and keeps how far each has come.

use std::{io, time::Duration};

use futures_channel::oneshot;
use serde::de::DeserializeOwned;

use crate::{
    Erased,
    books::Books,
    erasure::Judge,
    fs::FileSystem,
    host::HostClock,
    queue::{Abandon, Queue, Work},
    relay::{Claim, Failure, Relay},
};

/// What the reading thread is asked.
#[derive(Debug)]
pub(crate) enum Ask<E> {
    /// The next batch of a sink: now, or when there is one.
    Claim {
        sink: usize,
        waits: bool,
        answer: oneshot::Sender<Option<Claim<E>>>,
    },
    Ack {
        sink: usize,
        id: u64,
        accepted: usize,
        answer: oneshot::Sender<bool>,
    },
    Nack {
        sink: usize,
        id: u64,
        failure: Failure,
        answer: oneshot::Sender<bool>,
    },
    /// The sink's destination is back.
    Enable {
        sink: usize,
        answer: oneshot::Sender<()>,
    },
    /// Nobody uses the sink any more.
    Release {
        sink: usize,
    },
    /// What is to be forgotten is.
    Erase {
        judge: Judge<E>,
        answer: oneshot::Sender<io::Result<Erased>>,
    },
    Books {
        answer: oneshot::Sender<Books>,
    },
}

#[derive(Debug)]
struct Waiting<E> {
    sink: usize,
    answer: oneshot::Sender<Option<Claim<E>>>,
}

/// Works until the queue is closed and empty; then answers everybody who waits that there is nothing more.
pub(crate) fn run<E: DeserializeOwned, F: FileSystem>(
    mut relay: Relay<F>,
    asks: &Queue<Ask<E>>,
    clock: HostClock,
) {
    let _last = Abandon(asks);
    let mut waiting: Vec<Waiting<E>> = Vec::new();
    let mut is_idle = false;
    loop {
        let now = clock.now();
        let claims = waiting.iter().filter_map(|waiting| relay.claim_at(waiting.sink, now));
        let next = claims.chain(relay.maintain_at()).min();
        let wait = if is_idle { next.map(|at| at.saturating_sub(now.tick)) } else { Some(Duration::ZERO) };
        let Work::Items(taken) = asks.take(usize::MAX, wait) else { break };
        for ask in taken {
            waiting.extend(answer(&mut relay, ask, clock));
        }
        // Whoever gave up waiting gets nothing, so that nothing is out with nobody.
        waiting.retain(|waiting| !waiting.answer.is_canceled());
        waiting = waiting.into_iter().filter_map(|waiting| claim(&mut relay, waiting, clock)).collect();
        // Piece by piece, so that nobody waits for the whole of it.
        is_idle = !relay.maintain(clock.now());
    }
    for Waiting { answer, .. } in waiting {
        let _ = answer.send(None);
    }
}

/// Answers, or says who is to wait.
fn answer<E: DeserializeOwned, F: FileSystem>(
    relay: &mut Relay<F>,
    ask: Ask<E>,
    clock: HostClock,
) -> Option<Waiting<E>> {
    match ask {
        Ask::Claim { sink, waits: true, answer } => return claim(relay, Waiting { sink, answer }, clock),
        Ask::Claim { sink, waits: false, answer } => {
            let _ = answer.send(relay.claim(sink, clock.now(), parse));
        }
        Ask::Ack { sink, id, accepted, answer } => {
            let _ = answer.send(relay.ack(sink, id, accepted, clock.now()));
        }
        Ask::Nack { sink, id, failure, answer } => {
            let _ = answer.send(relay.nack(sink, id, failure, clock.now()));
        }
        Ask::Enable { sink, answer } => {
            relay.enable(sink);
            let _ = answer.send(());
        }
        Ask::Release { sink } => relay.release(sink),
        Ask::Erase { judge, answer } => {
            let _ = answer.send(relay.erase(&|line| judge.is_erased(line)));
        }
        Ask::Books { answer } => drop(answer.send(relay.books())),
    }
    None
}

fn claim<E: DeserializeOwned, F: FileSystem>(
    relay: &mut Relay<F>,
    waiting: Waiting<E>,
    clock: HostClock,
) -> Option<Waiting<E>> {
    match relay.claim(waiting.sink, clock.now(), parse) {
        None => Some(waiting),
        Some(claim) => {
            // If nobody takes it, it is out with nobody, and the next claim gets it.
            let _ = waiting.answer.send(Some(claim));
            None
        }
    }
}

fn parse<E: DeserializeOwned>(json: &str) -> Option<E> {
    serde_json::from_str(json).ok()
}
