//! What was said in a trace, as a room.

use std::{collections::BTreeMap, net::SocketAddr};

use presence_core::{
    Admins, Command, ConnectionId, Error, Moment, Nickname, Opening, Rejection, Room, RoomId, RoomName,
    RoomStats, Rooms, StoreError, UserId, Window,
};

use super::{Kind, Trace};

/// What the room of a demo is called.
const NAME: &str = "demo";
/// How many events are written at once.
const BATCH: usize = 500;

/// What a store says about the room of a demo.
#[derive(Clone, Debug)]
pub struct Talk {
    room: RoomId,
    messages: u64,
    stats: RoomStats,
}

impl Talk {
    /// Replays the joins, messages and leaves of `trace` in a new room `demo`. Who says something is in it. The trace knows
    /// how long a message was, and not what it said. At its end everybody leaves.
    ///
    /// # Errors
    ///
    /// [`Rejection::RoomExists`] where there is such a room, or the store failed; what came before is written.
    pub async fn replay(rooms: &Rooms, trace: &Trace) -> Result<Self, Error> {
        let id = RoomId::new(NAME)?;
        rooms.create(id.clone(), RoomName::new(NAME)?, Admins::default()).await?;
        let Opening::Open(mut room) = rooms.open(&id).await? else {
            return Err(StoreError::unavailable("somebody else has the room of the demo").into());
        };
        let mut events: Vec<_> = trace.events().iter().collect();
        events.sort_by_key(|event| event.at);
        let mut members = Members::default();
        for events in events.chunks(BATCH) {
            for event in events {
                let now = Moment { at: event.at, uptime: event.at.since(trace.span().from()) };
                match event.kind {
                    Kind::Join => members.join(&mut room, &event.user, now)?,
                    Kind::Message => {
                        members.join(&mut room, &event.user, now)?;
                        let content = format!("(line {} of the trace)", event.line);
                        members.tell(&mut room, &event.user, now, |connection| Command::Say {
                            connection,
                            content,
                        });
                    }
                    Kind::Leave => {
                        members.tell(&mut room, &event.user, now, |connection| Command::Leave { connection });
                        members.connections.remove(&event.user);
                    }
                }
            }
            rooms.write(room.batch(rooms.now()).into_iter().collect()).await?;
        }
        let end = Moment { at: trace.span().to(), uptime: trace.span().length() };
        room.handle(Command::Drain, end, &mut Vec::new());
        rooms.write(room.batch(rooms.now()).into_iter().collect()).await?;
        rooms.give_up(vec![(id.clone(), room.epoch())]).await?;
        let said = rooms.messages(&id, Window::all(), 1, 1).await?;
        Ok(Self {
            messages: said.map_or(0, |said| said.pagination.total_records),
            stats: room.stats(),
            room: id,
        })
    }

    /// What there was, and where to join it on a server that listens on `address`.
    #[must_use]
    pub fn summary(&self, address: SocketAddr) -> String {
        let Self { room, messages, stats } = self;
        let RoomStats { peak_users, total_joins, .. } = stats;
        format!(
            "room {room}: {messages} messages, {total_joins} stays, {peak_users} users at most\n\
             to join it: ws://{address}/ws/rooms/{room}?user_id=you&nickname=You\n"
        )
    }
}

/// Who is in the room, and on which connection.
#[derive(Debug, Default)]
struct Members {
    connections: BTreeMap<UserId, ConnectionId>,
    last: u64,
}

impl Members {
    fn join(&mut self, room: &mut Room, user: &UserId, now: Moment) -> Result<(), Rejection> {
        if self.connections.contains_key(user) {
            return Ok(());
        }
        self.last = self.last.saturating_add(1);
        let connection = ConnectionId(self.last);
        let nickname = Nickname::new(user.as_str())?;
        let join = Command::Join { connection, user_id: user.clone(), nickname, seen: None };
        room.handle(join, now, &mut Vec::new());
        self.connections.insert(user.clone(), connection);
        Ok(())
    }

    /// Has a member's command carried out; nothing of who is not there.
    fn tell(
        &self,
        room: &mut Room,
        user: &UserId,
        now: Moment,
        command: impl FnOnce(ConnectionId) -> Command,
    ) {
        if let Some(connection) = self.connections.get(user) {
            room.handle(command(*connection), now, &mut Vec::new());
        }
    }
}
