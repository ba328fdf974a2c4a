//! The state of all rooms, from time to time.

use std::{collections::VecDeque, fmt};

use presence_core::{Error, RoomId, StoreError, StoredRoom, Timestamp, Window};
use serde::Serialize;
use tokio::sync::Mutex;

use super::{Attempts, Channel, Delivery, DeliveryId, Progress, channel::LONGEST_BODY};
use crate::{
    routes::{
        room_history::{Data, Info},
        rooms::{Stats, stats},
    },
    ws::Hub,
};

/// How many rooms are looked up at a time.
const PAGE: usize = 100;

/// What is told of each room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum About {
    Figures,
    Everything,
}

/// Sends the state of all open rooms, one request per room, by id. What is sent is read at each attempt.
///
/// It needs no timer: something must call [`step`](Self::step) until the run is over.
pub struct RoomSync {
    about: About,
    hub: Hub,
    channel: Channel,
    attempts: Attempts,
    run: Mutex<Run>,
}

/// Where a run is.
#[derive(Debug, Default)]
struct Run {
    /// When it began.
    at: Option<Timestamp>,
    /// The last room that was looked up; `None` at first.
    after: Option<RoomId>,
    is_listed: bool,
    /// Rooms that were looked up. The first is the one at hand.
    rooms: VecDeque<RoomId>,
    failures: u32,
    /// A room was refused, and that was told.
    is_refused: bool,
}

/// The figures of a room, as PERIODIC_SYNC_CALLBACK_URL gets them.
#[derive(Serialize)]
struct PeriodicSync {
    event_type: &'static str,
    room_id: RoomId,
    room_info: Info,
    /// When the sync began.
    last_sync_time: i64,
    statistics: Stats,
    /// How much its histories hold, so that a copy can be held against it.
    record_counts: RecordCounts,
}

#[derive(Serialize)]
struct RecordCounts {
    chat_history: u64,
    session_history: u64,
}

impl RoomSync {
    /// Sends the figures of rooms to `channel`.
    #[must_use]
    pub fn figures(hub: Hub, channel: Channel, attempts: Attempts) -> Self {
        Self { about: About::Figures, hub, channel, attempts, run: Mutex::default() }
    }

    /// Sends rooms as `GET /management/sync` shows them; of their histories as much as fits into 256 KiB.
    #[must_use]
    pub fn everything(hub: Hub, channel: Channel, attempts: Attempts) -> Self {
        Self { about: About::Everything, hub, channel, attempts, run: Mutex::default() }
    }

    /// What it is called: `periodic_sync` or `data_sync`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.about {
            About::Figures => "periodic_sync",
            About::Everything => "data_sync",
        }
    }

    /// Sends the state of one room, once.
    ///
    /// # Errors
    ///
    /// The store failed; the next step goes on.
    pub async fn step(&self) -> Result<Progress, StoreError> {
        let mut run = self.run.lock().await;
        loop {
            let at = *run.at.get_or_insert_with(|| self.channel.clock().now());
            let Some(id) = run.rooms.front().cloned() else {
                if run.is_listed {
                    *run = Run::default();
                    return Ok(Progress::Done);
                }
                let page = self.hub.rooms().list(run.after.as_ref(), PAGE).await.map_err(store_error)?;
                run.rooms.extend(page.items.into_iter().map(|room| room.id));
                run.is_listed = page.next.is_none();
                run.after = page.next;
                continue;
            };
            let room = self.hub.rooms().room(&id).await?.filter(|room| room.closed_at.is_none());
            let Some(room) = room else {
                // Closed meanwhile.
                run.rooms.pop_front();
                run.failures = 0;
                continue;
            };
            let body = self.body(room, at).await?;
            let name = format!("{}_{id}_{}", self.name(), at.as_millis());
            let delivery = Delivery { id: DeliveryId::of(&name), body: body.into() };
            let outcome = self.channel.post(&delivery).await;
            run.failures = run.failures.saturating_add(1);
            let Err((progress, reason)) = self.attempts.after(outcome, run.failures) else {
                run.rooms.pop_front();
                run.failures = 0;
                return Ok(Progress::Sent(1));
            };
            match progress {
                Progress::Again(_) => {}
                Progress::Refused => {
                    run.rooms.pop_front();
                    run.failures = 0;
                    if !std::mem::replace(&mut run.is_refused, true) {
                        tracing::warn!(callback = self.name(), "the receiver {reason}: a room is left out");
                    }
                }
                _ => {
                    *run = Run::default();
                    tracing::warn!(
                        callback = self.name(),
                        "the receiver {reason}: the next sync tries again"
                    );
                }
            }
            return Ok(progress);
        }
    }

    async fn body(&self, room: StoredRoom, at: Timestamp) -> Result<Vec<u8>, StoreError> {
        let body = match self.about {
            About::Figures => serde_json::to_vec(&self.read_figures(room, at).await.map_err(store_error)?),
            About::Everything => Data::of(&self.hub, room).await.map_err(store_error)?.to_body(LONGEST_BODY),
        };
        body.map_err(StoreError::backend)
    }

    async fn read_figures(&self, room: StoredRoom, at: Timestamp) -> Result<PeriodicSync, Error> {
        let (rooms, ever) = (self.hub.rooms(), Window::all());
        let messages = rooms.messages(&room.id, ever, 1, 1).await?;
        let sessions = rooms.sessions(&room.id, ever, 1, 1).await?;
        Ok(PeriodicSync {
            event_type: "PeriodicSync",
            room_id: room.id.clone(),
            last_sync_time: at.as_secs(),
            statistics: stats(&self.hub, &room).into(),
            record_counts: RecordCounts {
                chat_history: messages.map_or(0, |page| page.pagination.total_records),
                session_history: sessions.map_or(0, |page| page.pagination.total_records),
            },
            room_info: Info::new(&self.hub, room),
        })
    }
}

/// What is asked for here is never refused.
fn store_error(error: Error) -> StoreError {
    match error {
        Error::Store(error) => error,
        other => StoreError::backend(other),
    }
}

impl fmt::Debug for RoomSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomSync")
            .field("about", &self.about)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
