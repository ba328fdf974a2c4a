//! The task of one member: what the client says goes to the room, what the room says goes to the client.

use std::{
    future::ready,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt, poll};
use presence_core::{
    ClientFrame, Command, ConnectionId, Frame, Heartbeat, Nickname, Position, Priority, UserId,
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

use super::{
    queue::{End, PLACES, Queue},
    room_handle::RoomHandle,
    room_task::until,
};
use crate::{AppState, metrics::Parting};

/// The longest message of a member who is no administrator, in bytes.
const MESSAGE_BYTES: usize = 16 * 1024;
/// The longest payload of an event, in bytes, as members get it.
const EVENT_BYTES: usize = 80 * 1024;
/// How long a client may say nothing before it is asked whether it is there, and up to so much longer, so that clients
/// that came together are not asked together.
const QUIET: Duration = Duration::from_secs(25);
const SPREAD: u64 = 5_000;
/// How long it has to answer.
const PONG: Duration = Duration::from_secs(10);
/// How long it has to read 64 KiB.
const STALL: Duration = Duration::from_secs(10);
/// How often it is told something before it is looked whether it says something.
const TOLD: u32 = 16;
/// How long it has to answer a close.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often at most what it says counts as a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Who joins.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) connection: ConnectionId,
    pub(super) user_id: UserId,
    pub(super) nickname: Nickname,
    pub(super) seen: Option<Position>,
    /// When its token ends.
    pub(super) until: Option<Instant>,
}

/// How a conversation ended.
enum Over {
    /// The client is gone, or closes.
    Gone,
    /// The server closes, with a code and a reason.
    Closed(u16, &'static str),
    /// The client reads nothing: there is no use in telling it.
    Stuck,
}

impl Over {
    const fn parting(&self) -> Parting {
        match self {
            Self::Gone => Parting::Gone,
            Self::Stuck => Parting::Slow,
            Self::Closed(1002 | 1003 | 1007 | 1009, _) => Parting::Broken,
            Self::Closed(4401, _) => Parting::Expired,
            Self::Closed(4408, _) => Parting::Silent,
            Self::Closed(..) => Parting::SentAway,
        }
    }
}

/// Serves a member until one side has had enough.
///
/// The socket lies in a box, because a future has each of its arguments twice, and the futures around it again.
pub(super) async fn serve(mut socket: Box<WebSocket>, joining: Joining, room: RoomHandle, state: AppState) {
    let Joining { connection, user_id, nickname, seen, until } = joining;
    let queue = Arc::new(Queue::default());
    let membership = Membership { connection, room: room.clone(), queue: Arc::clone(&queue) };
    let mut member = Member { queue, room, state, connection, user_id, until, beaten: None };
    let who = (member.user_id.clone(), nickname);
    // What is done once, or seldom, lies in a box that is there for as long: most of the time a member does nothing.
    let join = Box::pin(member.room.join(connection, who, seen, Arc::clone(&member.queue)));
    let over = match join.await {
        Ok(()) => {
            member.beat().await;
            member.talk(&mut socket).await
        }
        Err(_) => Over::Closed(1012, "moved"),
    };
    member.state.metrics().partings.add(over.parting());
    drop(membership);
    match over {
        Over::Gone => {}
        Over::Closed(code, reason) => farewell(&mut socket, code, reason).await,
        Over::Stuck => {
            // It goes behind what the client does not read; a client that begins to, learns why.
            let _ = timeout(Duration::from_secs(1), close(&mut socket, 1013, "slow")).await;
        }
    }
}

/// Takes a connection out of its room, however its task ends.
struct Membership {
    connection: ConnectionId,
    room: RoomHandle,
    queue: Arc<Queue>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.queue.leave();
        self.room.leave(self.connection);
    }
}

struct Member {
    queue: Arc<Queue>,
    room: RoomHandle,
    state: AppState,
    connection: ConnectionId,
    user_id: UserId,
    /// When its token ends.
    until: Option<Instant>,
    /// When it last counted as a heartbeat.
    beaten: Option<Instant>,
}

impl Member {
    async fn talk(&mut self, socket: &mut WebSocket) -> Over {
        let quiet = QUIET + Duration::from_millis(self.connection.0.wrapping_mul(7919) % SPREAD);
        let (mut heard, mut asked) = (Instant::now(), false);
        let mut look = pin!(sleep_until(heard + quiet));
        let (mut frames, mut told) = (Vec::new(), 0);
        loop {
            tokio::select! {
                // Nearly always it is this that wakes a member, and the socket need not be asked twice.
                biased;
                () = self.queue.filled(), if told < TOLD => {
                    told += 1;
                    let end = self.queue.take(&mut frames);
                    if let Err(over) = self.write(socket, &mut frames).await {
                        return over;
                    }
                    frames.shrink_to(PLACES);
                    match end {
                        Some(End::By(reason)) => return Over::Closed(reason.code(), reason.as_str()),
                        Some(End::Slow) => return Over::Stuck,
                        None => {}
                    }
                }
                message = socket.next() => {
                    told = 0;
                    (heard, asked) = (Instant::now(), false);
                    let Some(message) = message else { return Over::Gone };
                    let heard = match message {
                        Ok(message) => Box::pin(self.hear(socket, message)).await,
                        Err(error) => Err(broken(error)),
                    };
                    if let Err(over) = heard {
                        return over;
                    }
                }
                () = until(self.until) => return Over::Closed(4401, "token expired"),
                () = look.as_mut() => {
                    let due = heard + quiet;
                    if due > Instant::now() {
                        look.as_mut().reset(due);
                    } else if asked {
                        return Over::Closed(4408, "no answer to a ping");
                    } else {
                        asked = true;
                        look.as_mut().reset(Instant::now() + PONG);
                        if Box::pin(self.ping(socket)).await.is_err() {
                            return Over::Stuck;
                        }
                    }
                }
                // Nothing of that: on with what it is to be told.
                () = ready(()), if told >= TOLD => told = 0,
            }
        }
    }

    /// Sends frames, and flushes once.
    async fn write(&self, socket: &mut WebSocket, frames: &mut Vec<Utf8Bytes>) -> Result<(), Over> {
        let sending = async {
            for text in frames.drain(..) {
                socket.feed(Message::Text(text)).await?;
            }
            socket.flush().await
        };
        self.within(pin!(sending)).await
    }

    async fn ping(&self, socket: &mut WebSocket) -> Result<(), Over> {
        self.within(pin!(send(socket, Message::Ping(Default::default())))).await
    }

    /// Waits for the client to read, but not for ever.
    async fn within(
        &self,
        mut sending: Pin<&mut impl Future<Output = Result<(), axum::Error>>>,
    ) -> Result<(), Over> {
        // Nearly always the socket takes it at once, and needs no timer.
        if let Poll::Ready(sent) = poll!(sending.as_mut()) {
            return sent.map_err(|_| Over::Gone);
        }
        tokio::select! {
            biased;
            sent = timeout(STALL, sending) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(Over::Gone),
                Err(_) => Err(Over::Stuck),
            },
            () = self.queue.given_up() => Err(Over::Stuck),
        }
    }

    async fn hear(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), Over> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(Over::Closed(1003, "frames are text")),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => {
                // The answer is on its way with the next look at the socket.
                let _ = timeout(FAREWELL, socket.next()).await;
                return Err(Over::Gone);
            }
        };
        if text.len() > MESSAGE_BYTES && !self.queue.is_admin() {
            return Err(Over::Closed(1009, "too big"));
        }
        let Some(frame) = ClientFrame::parse(&text) else {
            tracing::debug!(bytes = text.len(), "a frame that is none of a client's is passed over");
            return Ok(());
        };
        if frame.is_activity() {
            self.beat().await;
        }
        if let Some(pong) = frame.pong() {
            let pong = Message::Text(Frame::of(&pong).as_str().into());
            return self.within(pin!(send(socket, pong))).await;
        }
        let Some(command) = Command::from_frame(self.connection, frame) else { return Ok(()) };
        if command.priority() == Priority::High && !self.queue.is_admin() {
            return Ok(());
        }
        // What is short on its way in may be long on its way out: 1e15 has 18 characters there, and would be too much for
        // every member's queue.
        if let Command::CustomEvent { payload, .. } = &command
            && payload.to_string().len() > EVENT_BYTES
        {
            return Err(Over::Closed(1009, "too big"));
        }
        self.room.send(command).await.map_err(|_| Over::Closed(1012, "moved"))
    }

    /// Keeps the user alive on the other surfaces, where rooms do that.
    async fn beat(&mut self) {
        let now = Instant::now();
        let is_fresh = self.beaten.is_some_and(|beaten| now - beaten < HEARTBEAT);
        if is_fresh || !self.state.settings().room_activity_is_heartbeat {
            return;
        }
        self.beaten = Some(now);
        match Box::pin(self.state.beats().beat(Heartbeat::of_user(self.user_id.clone()))).await {
            Ok(taken) => self.state.metrics().heartbeats([Ok(&taken)]),
            Err(error) => tracing::debug!(%error, "a sign of life in a room is lost"),
        }
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), axum::Error> {
    socket.send(message).await
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) -> Result<(), axum::Error> {
    send(socket, Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await
}

/// Closes, and waits for the answer: a socket that is let go of with something unread in it is reset, and the client would
/// not see why.
async fn farewell(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let answered = timeout(FAREWELL, async {
        if close(socket, code, reason).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    });
    if answered.await.is_err() {
        tracing::debug!(code, "a close is not answered");
    }
}

/// How to part from a client that does not keep to the protocol.
fn broken(error: axum::Error) -> Over {
    use tungstenite::Error;
    match error.into_inner().downcast_ref::<Error>() {
        Some(Error::Capacity(_)) => Over::Closed(1009, "too big"),
        Some(Error::Utf8(_)) => Over::Closed(1007, "text is UTF-8"),
        Some(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => Over::Gone,
        Some(Error::Protocol(_)) => Over::Closed(1002, "protocol error"),
        Some(Error::Io(error)) if error.kind() == io::ErrorKind::QuotaExceeded => {
            Over::Closed(1009, "too many parts")
        }
        _ => Over::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_task<F>(_: impl Fn(Box<WebSocket>, Joining, RoomHandle, AppState) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_member_is_small() {
        let size = size_of_task(serve);
        assert!(size <= 1024, "{size} bytes, of each of 100,000 members");
    }
}
