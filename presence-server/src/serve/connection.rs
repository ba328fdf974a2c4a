use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::deadline::Shared;
use super::exchange::Exchange;
use super::limits::Limits;
use super::progress::{Progress, Stage};
use super::socket::Socket;
use crate::front::Front;
use crate::traffic::Traffic;

/// How much the kernel holds for a client beyond what is on its way, in bytes.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 64 * 1024;

/// hyper allows no smaller buffer.
const LEAST_BUFFER: usize = 8192;

/// How a connection ended, as the shutdown counts it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// Before the shutdown, or it never had a slot.
    Before,
    Cut,
    Finished,
    Idle,
}

/// What all connections have in common.
#[derive(Debug)]
pub(super) struct Connections {
    front: Front,
    closing: CancellationToken,
    http: Builder,
    limits: Limits,
    traffic: Arc<Traffic>,
}

impl Connections {
    pub(super) fn new(
        front: Front,
        limits: &Limits,
        traffic: Arc<Traffic>,
        closing: CancellationToken,
    ) -> Self {
        let mut http = Builder::new();
        // `Socket` has the two limits apart, and refuses what passes the others: this is the net below it. It also is what
        // wakes a connection that has become idle.
        http.header_read_timeout(limits.keep_alive.saturating_add(limits.header_timeout))
            .max_header_size(limits.head_bytes)
            .max_headers(limits.max_headers)
            .max_buf_size(limits.head_bytes.max(LEAST_BUFFER));
        Self { front, closing, http, limits: limits.clone(), traffic }
    }

    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Serves one connection to its end. An upgraded one ends here when it is handed over.
    pub(super) fn run(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
    ) -> impl Future<Output = Ended> + Send + 'static {
        // Answers are small and written whole: waiting for more only adds the peer's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error.kind = ?error.kind(), "no TCP_NODELAY");
        }
        limit_unsent(&stream);
        let progress = Arc::new(Progress::default());
        let socket =
            Socket::new(stream, slot, Arc::clone(&progress), Arc::clone(&self.traffic), &self.limits);
        let exchange = Arc::new(Exchange {
            body_deadline: Shared::default(),
            body_timeout: self.limits.body_timeout,
            front: self.front.clone(),
            peer,
            progress: Arc::clone(&progress),
            request_deadline: Shared::default(),
            request_timeout: self.limits.request_timeout,
            traffic: Arc::clone(&self.traffic),
        });
        let service = service_fn(move |request| {
            let begun = exchange.progress.begin();
            let answer = Arc::clone(&exchange).answer(request, begun);
            async { Ok::<_, Infallible>(answer.await) }
        });
        let mut http = self.http.clone();
        http.timer(Shared::default());
        let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
        let closing = self.closing.clone();
        async move {
            let mut connection = pin!(connection);
            tokio::select! {
                result = connection.as_mut() => {
                    log(&result);
                    return Ended::Before;
                }
                () = closing.cancelled() => {}
            }
            let was_answering = progress.stage() == Stage::Answering;
            let heads = progress.heads();
            connection.as_mut().graceful_shutdown();
            let result = connection.await;
            log(&result);
            if !was_answering && progress.heads() == heads {
                Ended::Idle
            } else if result.is_ok() {
                Ended::Finished
            } else {
                Ended::Cut
            }
        }
    }
}

/// What a client does not read stays with whoever wrote it, who can count it. Otherwise the kernel takes up to 4 MiB per
/// connection, and it is long until a member of a room is seen to have stopped reading.
#[cfg(target_os = "linux")]
fn limit_unsent(stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(error.kind = ?error.kind(), "no TCP_NOTSENT_LOWAT");
    }
}

#[cfg(not(target_os = "linux"))]
const fn limit_unsent(_: &TcpStream) {}

/// hyper's messages are fixed texts; its sources are not, and stay out.
fn log(result: &hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
