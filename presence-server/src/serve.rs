//! The accept loop: HTTP/1.1 connections with a limit on everything a client can make them wait for.
//!
//! `axum::serve` sets no timer, so a client that sends half a head keeps its connection for ever. Here every
//! wait for a client ends:
//!
//! ```text
//! accept |--head 10 s--| handler 30 s, body 15 s |--idle 75 s--|--head 10 s--| handler ..
//!        first head,     a response that is not    no byte yet   from its first
//!        from accept     read: 30 s without                      byte on
//!                        progress
//! ```
//!
//! What a client sees when it goes past a limit:
//!
//! | limit | answer |
//! |---|---|
//! | `header_timeout` with nothing sent, `keep_alive`, a response nobody reads | the connection is closed, without an answer |
//! | `header_timeout` in a head | 408 and close |
//! | `head_bytes`, `max_headers` | 431 and close |
//! | two `Content-Length`, or one beside `Transfer-Encoding`, no `Host` or two, no HTTP/1.x | 400 and close |
//! | an expectation other than `100-continue` | 417 and close |
//! | `body_timeout` | 408 and close |
//! | `request_timeout` | 503, `Retry-After`, and close |
//! | `max_connections` | 503, `Retry-After`, and close, without reading the request |
//!
//! These answers are problems like those of the routes, with `code` and `request_id`.
//!
//! A handler that panics is a 500; its connection and the process live on. A request whose client goes away,
//! or whose time is up, is dropped where it awaits: what must not stop half-way belongs in a task of its own.
//!
//! After an upgrade the client is the route's, but for one thing: a WebSocket message in more than 64 parts is a read that
//! fails, with [`io::ErrorKind::QuotaExceeded`].
//!
//! There is no minimum rate for bodies: `body_timeout` is for the whole body, and at the 64 KiB that a body
//! may have that asks for more than any floor worth setting.

mod accept;
mod body;
mod connection;
mod deadline;
mod exchange;
mod framing;
mod limits;
mod listen;
mod parts;
mod progress;
mod refusal;
mod socket;
mod verdict;

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::accept::{Backoff, Failure};
pub(crate) use self::body::Late;
use self::connection::{Connections, Ended};
pub use self::limits::Limits;
pub use self::listen::listen;
use crate::front::Front;
use crate::traffic::Traffic;

/// What became of the connections that were open when the shutdown began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were working on a request and delivered its answer.
    pub finished: usize,
    /// Connections that had no request and were closed.
    pub idle: usize,
    /// Connections whose answer was not delivered: cut at the deadline, or left by their client.
    pub cut: usize,
}

/// Serves `app` on `listener` until `shutdown` is cancelled, then drains and reports.
///
/// Draining stops accepting and closes the listener, closes idle connections, lets running requests finish
/// with `Connection: close`, and aborts after [`Limits::drain`] what is left. When this returns, no task that it
/// started is running; when its future is dropped, they are aborted.
///
/// Each request carries its peer as [`ConnectInfo`](axum::extract::ConnectInfo), as with `axum::serve`.
///
/// A connection counts against [`Limits::max_connections`] until its socket is closed, also after an upgrade.
/// Nothing else here knows about upgraded sockets: who upgrades one has to close it when `shutdown` is cancelled.
///
/// What it sees is counted in `traffic`: that of [`AppState::traffic`](crate::AppState::traffic), where `/metrics` is to
/// show it.
///
/// Failures of `accept` that concern one connection are passed over; others (no more file descriptors) are logged
/// and tried again after a pause that doubles from 5 ms to 1 s.
///
/// ```no_run
/// use std::sync::Arc;
/// use presence_server::serve::{Limits, listen, serve};
/// use tokio_util::sync::CancellationToken;
///
/// # async fn run(app: axum::Router) -> std::io::Result<()> {
/// let shutdown = CancellationToken::new(); // cancelled by whoever watches the signals
/// let listener = listen(([127, 0, 0, 1], 8080).into())?;
/// let drained = serve(listener, app, Limits::default(), Arc::default(), shutdown).await?;
/// println!("{} finished, {} cut", drained.finished, drained.cut);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The listener itself is broken: waiting would not help. Open connections were drained first, as in a shutdown.
pub async fn serve(
    listener: TcpListener,
    app: impl Into<Front>,
    limits: Limits,
    traffic: Arc<Traffic>,
    shutdown: CancellationToken,
) -> Result<Drained, io::Error> {
    // Also cancelled when the listener breaks, which must not look like a shutdown to the caller's other tasks.
    let closing = shutdown.child_token();
    let slots = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
    let connections = Connections::new(app.into(), &limits, Arc::clone(&traffic), closing.clone());
    let mut tasks = JoinSet::new();

    let accepted = accept_all(&listener, &connections, &slots, &closing, &mut tasks).await;
    drop(listener);
    closing.cancel();
    let drained = drain(&mut tasks, &limits).await;
    traffic.cut.add(drained.cut as u64);
    accepted.map(|()| drained)
}

/// Starts a task for each connection, and collects those that ended, until `closing`.
async fn accept_all(
    listener: &TcpListener,
    connections: &Connections,
    slots: &Arc<Semaphore>,
    closing: &CancellationToken,
    tasks: &mut JoinSet<Ended>,
) -> io::Result<()> {
    let refusals = Arc::new(Semaphore::new(refusal::AT_ONCE));
    let mut later = (1..=refusal::LATEST).cycle();
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            biased; // nothing is accepted once `closing` is cancelled
            () = closing.cancelled() => return Ok(()),
            Some(ended) = tasks.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                backoff = Backoff::default();
                if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
                    tasks.spawn(connections.run(stream, peer, slot));
                    continue;
                }
                let traffic = connections.traffic();
                traffic.refused.add(1);
                if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                    tracing::debug!("connection refused: all slots are taken");
                    let after = later.next().unwrap_or(1);
                    tasks.spawn(refusal::refuse(stream, turn, after, Arc::clone(traffic), closing.clone()));
                } // else: dropped unanswered, so that refusing is bounded as well
            }
            Err(error) => match Failure::of(error.kind()) {
                Failure::Connection => {}
                Failure::Listener => return Err(error),
                Failure::Resources => {
                    let pause = backoff.pause();
                    tracing::warn!(
                        error.kind = ?error.kind(),
                        error.code = error.raw_os_error(),
                        pause_ms = pause.as_millis(),
                        "cannot accept connections"
                    );
                    // Whichever comes first: the next turn of the loop looks at `closing` again.
                    let _ = timeout(pause, closing.cancelled()).await;
                }
            },
        }
    }
}

/// Waits for all tasks, until the deadline; aborts what is left then, and waits for that too.
async fn drain(tasks: &mut JoinSet<Ended>, limits: &Limits) -> Drained {
    let mut drained = Drained::default();
    let deadline = sleep(limits.drain);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            // Tasks first: what is done at the deadline is not cut.
            biased;
            ended = tasks.join_next() => match ended {
                Some(ended) => drained.count(report(ended)),
                None => break,
            },
            () = &mut deadline => {
                tasks.abort_all();
                while let Some(ended) = tasks.join_next().await {
                    drained.count(report(ended));
                }
                break;
            }
        }
    }
    tracing::info!(drained.finished, drained.idle, drained.cut, "connections are drained");
    drained
}

impl Drained {
    fn count(&mut self, ended: Ended) {
        match ended {
            Ended::Before => {}
            Ended::Cut => self.cut += 1,
            Ended::Finished => self.finished += 1,
            Ended::Idle => self.idle += 1,
        }
    }
}

/// Handlers' panics are caught closer to them, so one here is a bug of this module or of a streamed body.
fn report(ended: Result<Ended, JoinError>) -> Ended {
    ended.unwrap_or_else(|error| {
        if error.is_panic() {
            tracing::error!("a connection panicked");
        }
        Ended::Cut
    })
}
