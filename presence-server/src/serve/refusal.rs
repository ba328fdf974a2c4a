//! The answer to a connection for which there is no slot.
//!
//! An answer rather than a place in the backlog: a client that waits there cannot tell a full server from a dead
//! one, and neither can the balancer in front of it.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::Ended;
use super::socket::{LINGER, LINGER_BYTES};
use crate::problem::Problem;
use crate::traffic::Traffic;

/// Refusals in progress: each holds a socket for at most [`LINGER`], and these come on top of the slots.
pub(super) const AT_ONCE: usize = 256;

/// The longest time after which one is asked to come again, in seconds. They are asked in turn to come after each from 1
/// on, so that a crowd does not come back as one.
pub(super) const LATEST: u8 = 8;

/// The answer, whole: nothing of the request is known, so that its id is one of ours.
fn text(after: u8, traffic: &Traffic) -> Vec<u8> {
    let problem = Problem::too_many_connections();
    traffic.refuse(problem.code(), 1);
    let id = traffic.ids.next();
    let body = problem.document("", id.as_str());
    let mut text = format!(
        "HTTP/1.1 503 Service Unavailable\r\n\
         cache-control: no-store\r\n\
         connection: close\r\n\
         content-length: {}\r\n\
         content-type: application/problem+json\r\n\
         retry-after: {after}\r\n\
         x-request-id: {id}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    text.extend_from_slice(&body);
    text
}

pub(super) async fn refuse(
    stream: TcpStream,
    _turn: OwnedSemaphorePermit,
    after: u8,
    traffic: Arc<Traffic>,
    closing: CancellationToken,
) -> Ended {
    let text = text(after, &traffic);
    // Nobody is told when it fails: the client is gone, or will be after the time.
    tokio::select! {
        _ = timeout(LINGER, answer(stream, &text)) => {}
        () = closing.cancelled() => {}
    }
    Ended::Before
}

async fn answer(stream: TcpStream, text: &[u8]) -> io::Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    // The request is read, unseen: closing over it would reset the connection and lose the answer.
    let stream = stream.into_std()?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let stream = TcpStream::from_std(stream)?;
    let mut scratch = [0; 4096];
    let mut lingered = 0;
    while lingered < LINGER_BYTES {
        stream.readable().await?;
        match stream.try_read(&mut scratch) {
            Ok(0) => break,
            Ok(read) => lingered += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
