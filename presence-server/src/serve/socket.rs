use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::deadline::{Deadline, after};
use super::framing::{Found, Framing};
use super::limits::Limits;
use super::parts::Parts;
use super::progress::{Progress, Stage};
use super::verdict::Verdict;
use crate::traffic::Traffic;

/// How long, and how much, is read and thrown away after a close that the client does not expect. Closing a socket
/// with unread bytes in it resets the connection, and a reset discards the answer before the client reads it.
pub(super) const LINGER: Duration = Duration::from_secs(1);
pub(super) const LINGER_BYTES: usize = 1024 * 1024;

/// What hyper reads in place of a head that is refused, so that the refusal is an answer like all others and comes
/// behind those that are still to be sent. No handler sees it: the verdict that goes with it answers.
const STAND_IN: &[u8] = b"REFUSED / HTTP/1.1\r\nhost: refused\r\n\r\n";

/// A socket that ends a wait for its client, and hands hyper whole heads only.
///
/// hyper has one timer for the head, and starts it when the previous answer is written: idle connections and slow
/// heads could only have one limit. This side sees the first byte of a head arrive, so it can tell them apart.
/// hyper asks for bytes whenever it waits for a head, so the timer is polled when it matters.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// Bytes that were received and not yet read: what follows a boundary that hyper has not reached, and heads that
    /// have not ended.
    held: BytesMut,
    /// How many of the first `held` may be read.
    passed: usize,
    /// A head was refused: nothing is read any more, not even the end, which would cut the answer off.
    is_refused: bool,
    framing: Framing,
    /// Of what comes behind a head that asks for an upgrade.
    parts: Parts,
    progress: Arc<Progress>,
    header_timeout: Duration,
    keep_alive: Duration,
    write_timeout: Duration,
    timer: Deadline,
    /// When the wait is over.
    due: Instant,
    /// Which wait it is, after how many requests.
    armed: Option<(Wait, u64)>,
    has_expired: bool,
    lingered: Option<usize>,
    traffic: Arc<Traffic>,
    /// Held to the end of the socket, so that an upgraded one keeps its place.
    _slot: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wait {
    Head,
    Idle,
    Linger,
    Write,
}

impl Socket {
    pub(super) fn new(
        stream: TcpStream,
        slot: OwnedSemaphorePermit,
        progress: Arc<Progress>,
        traffic: Arc<Traffic>,
        limits: &Limits,
    ) -> Self {
        traffic.accepted.add(1);
        Self {
            stream,
            held: BytesMut::new(),
            passed: 0,
            is_refused: false,
            framing: Framing::new(limits),
            parts: Parts::default(),
            progress,
            header_timeout: limits.header_timeout,
            keep_alive: limits.keep_alive,
            write_timeout: limits.request_timeout,
            timer: Deadline::default(),
            due: after(Instant::now(), limits.header_timeout),
            armed: Some((Wait::Head, 0)),
            has_expired: false,
            lingered: None,
            traffic,
            _slot: slot,
        }
    }

    /// Polls the timer of `wait`, which starts anew when the connection was waiting for something else.
    fn poll_wait(&mut self, cx: &mut Context<'_>, wait: Wait) -> Poll<()> {
        let key = (wait, self.progress.heads());
        if self.armed != Some(key) {
            let limit = match wait {
                Wait::Head => self.header_timeout,
                Wait::Idle => self.keep_alive,
                Wait::Linger => LINGER,
                Wait::Write => self.write_timeout,
            };
            self.due = after(Instant::now(), limit);
            self.armed = Some(key);
        }
        self.timer.poll(self.due, cx)
    }

    fn poll_expiry<T>(&mut self, cx: &mut Context<'_>, wait: Wait) -> Poll<io::Result<T>> {
        ready!(self.poll_wait(cx, wait));
        self.has_expired = true;
        self.traffic.timed_out.add(1);
        tracing::debug!(?wait, "the client took too long");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// A read that has nothing: how long may it go on? Ready without an error where a head took too long: that is
    /// answered.
    fn poll_nothing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A write in progress has the timer: a client that is not reading has no business sending.
        if matches!(self.armed, Some((Wait::Write | Wait::Linger, _))) {
            return Poll::Pending;
        }
        match self.progress.stage() {
            Stage::Fresh | Stage::Idle if self.framing.has_started() => {
                ready!(self.poll_wait(cx, Wait::Head));
                let late = self.framing.give_up(Verdict::Late);
                self.passed = self.pass(late);
                Poll::Ready(Ok(()))
            }
            // Who sent nothing is told nothing: browsers open connections that they may never use.
            Stage::Fresh => self.poll_expiry(cx, Wait::Head),
            Stage::Idle => self.poll_expiry(cx, Wait::Idle),
            Stage::Answering | Stage::Upgraded => Poll::Pending,
        }
    }

    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            return self.poll_expiry(cx, Wait::Write);
        }
        if matches!(self.armed, Some((Wait::Write, _))) {
            self.armed = None;
            // Reads went without the timer meanwhile, and hyper need not read again before it waits.
            cx.waker().wake_by_ref();
        }
        written
    }

    /// A read after an upgrade: nothing is looked at but how messages are cut up.
    fn poll_upgraded(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // What the head needed is not kept: of members who are idle there are many.
        (self.held, self.timer) = (BytesMut::new(), Deadline::default());
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.parts.look(&buf.filled()[before..]);
        self.poll_parts(cx)
    }

    /// An error, if a message came in too many parts.
    fn poll_parts(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.parts.are_too_many() || self.progress.stage() != Stage::Upgraded {
            return Poll::Ready(Ok(()));
        }
        // What was sent behind it would reset the connection, and the client would not see why.
        let (mut scratch, mut lingered) = ([0; 4096], 0);
        while lingered < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => lingered += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::QuotaExceeded, "a message in too many parts")))
    }

    /// Whether the client may still be sending: after an error in a head, and with a body that nobody read.
    fn is_unread(&self) -> bool {
        !self.has_expired
            && self.progress.stage() != Stage::Upgraded
            && (self.framing.is_inside() || self.progress.has_unread() || !self.held.is_empty())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.traffic.closed.add(1);
    }
}

impl Socket {
    /// How many of the bytes that were looked at may be read. A head that is refused makes way for one that is not.
    fn pass(&mut self, found: Found) -> usize {
        match found {
            Found::Part => 0,
            Found::Body(passed) => passed,
            Found::Head(passed, verdict) => {
                self.progress.judge(verdict);
                if verdict.is_refusal() { self.refuse() } else { passed }
            }
        }
    }

    /// Nothing of what was received is read, but a request whose answer is the refusal.
    fn refuse(&mut self) -> usize {
        self.is_refused = true;
        self.held.clear();
        self.held.extend_from_slice(STAND_IN);
        STAND_IN.len()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.held.is_empty() && this.progress.stage() == Stage::Upgraded {
            return this.poll_upgraded(cx, buf);
        }
        while this.passed == 0 && buf.remaining() > 0 {
            if this.is_refused {
                return Poll::Pending; // until the answer is written, which is what the connection waits for
            }
            if this.framing.is_unseen(&this.held) {
                let found = this.framing.look(&this.held);
                if let (Found::Body(passed), true) = (found, this.framing.is_opaque()) {
                    this.parts.look(&this.held[..passed]);
                }
                this.passed = this.pass(found);
                continue;
            }
            let before = buf.filled().len();
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    ready!(this.poll_nothing(cx))?;
                    continue;
                }
            }
            let fresh = &buf.filled()[before..];
            if fresh.is_empty() {
                if !this.framing.has_started() {
                    return Poll::Ready(Ok(()));
                }
                // Whoever closed only its own side hears what was wrong.
                let broken = this.framing.give_up(Verdict::Malformed);
                this.passed = this.pass(broken);
                continue;
            }
            if this.held.is_empty() && this.framing.is_body() {
                // Bodies stay where they are: they may be long.
                let found = this.framing.look(fresh);
                if this.framing.is_opaque() {
                    this.parts.look(fresh);
                }
                let passed = this.pass(found);
                this.held.extend_from_slice(&fresh[passed..]);
                buf.set_filled(before + passed);
                return Poll::Ready(Ok(()));
            }
            this.held.extend_from_slice(fresh);
            buf.set_filled(before);
        }
        let offered = this.passed.min(buf.remaining());
        buf.put_slice(&this.held[..offered]);
        this.held.advance(offered);
        this.passed -= offered;
        this.poll_parts(cx)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut lingered = match this.lingered {
            Some(lingered) => lingered,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                if !this.is_unread() {
                    return Poll::Ready(Ok(()));
                }
                0
            }
        };
        let mut scratch = [0; 4096];
        while lingered < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => lingered += buf.filled().len(),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    this.lingered = Some(lingered);
                    return this.poll_wait(cx, Wait::Linger).map(Ok);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
