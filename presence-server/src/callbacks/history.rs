//! The histories of rooms, in batches.

use std::{collections::VecDeque, fmt, sync::Arc};

use presence_core::{Behind, Feed, RoomFeed, RoomId, StoreError, Timestamp};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Mutex;

use super::{Attempts, Channel, Delivery, DeliveryId, Progress, Turn, channel::LONGEST_BODY};
use crate::routes::room_history::{Said, Stayed};

/// How many rooms are looked at, or rows read, at a time.
const PAGE: usize = 100;
/// What a batch holds beside its rows, at most: a room's id as JSON twice, and the names of members.
const FRAME: usize = 2048;

/// Sends what a copy of the rooms lacks: oldest first, in batches of one room.
///
/// A run goes from room to room, in each up to the row that was the last one when the run came to the room; what is said
/// after that is for the next run. A batch counts as delivered when its receiver has answered 2xx, and not before, so
/// that each row arrives at least once. Until then it stays as it was cut, and keeps its id, also in the next run; but for
/// the rows of users who were erased meanwhile.
///
/// It needs no timer: something must call [`step`](Self::step) again and again.
pub struct HistoryBatches {
    feed: Feed,
    rooms: Arc<dyn RoomFeed>,
    channel: Channel,
    turn: Turn,
    size: usize,
    attempts: Attempts,
    run: Mutex<Run>,
}

/// Where a run is.
#[derive(Debug, Default)]
struct Run {
    /// The last room that was looked up.
    after: Option<RoomId>,
    /// Rooms that were looked up, with what they lack. The first is the one at hand.
    rooms: VecDeque<Behind>,
    /// What was cut, and is not delivered yet.
    batch: Option<Batch>,
    /// How often in a row it was not.
    failures: u32,
    /// The room whose batch was refused last.
    refused: Option<RoomId>,
    is_gone: bool,
}

impl Run {
    /// The next step begins with the first room again, or with what is cut.
    fn end(&mut self) {
        self.after = None;
        self.rooms.clear();
        self.refused = None;
        self.failures = 0;
    }
}

/// A batch as it was cut. Its rows are read when it is sent.
#[derive(Clone, Debug)]
struct Batch {
    room: RoomId,
    /// The numbers before its first row, of its first row, and of its last one.
    after: i64,
    first: i64,
    last: i64,
    is_last: bool,
    /// Up to where the copy has everything when this is delivered: behind the last row, rows may be missing.
    copied: i64,
    at: Timestamp,
}

/// Rows, each as JSON with its number.
type Rows = Vec<(i64, Box<RawValue>)>;

/// A batch of messages, as CHAT_HISTORY_CALLBACK_URL gets it.
#[derive(Serialize)]
struct ChatHistoryBatch<'a> {
    event_type: &'static str,
    room_id: &'a RoomId,
    messages: Vec<Box<RawValue>>,
    batch_id: &'a str,
    is_last_batch: bool,
    timestamp: i64,
}

/// A batch of stays, as SESSION_HISTORY_CALLBACK_URL gets it.
#[derive(Serialize)]
struct SessionHistoryBatch<'a> {
    event_type: &'static str,
    room_id: &'a RoomId,
    sessions: Vec<Box<RawValue>>,
    batch_id: &'a str,
    is_last_batch: bool,
    timestamp: i64,
}

impl HistoryBatches {
    /// Sends the messages, or the stays, of the rooms of `rooms` to `channel`, at most `size` at a time and never more than
    /// 256 KiB; at least one.
    #[must_use]
    pub fn new(
        feed: Feed,
        rooms: Arc<dyn RoomFeed>,
        channel: Channel,
        turn: Turn,
        size: u32,
        attempts: Attempts,
    ) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX).max(1);
        Self { feed, rooms, channel, turn, size, attempts, run: Mutex::default() }
    }

    /// Whose turn it is to send them.
    #[must_use]
    pub const fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Sends one batch, once.
    ///
    /// # Errors
    ///
    /// The store failed. The next step goes on; what was delivered may be delivered again, as the same batch.
    pub async fn step(&self) -> Result<Progress, StoreError> {
        let mut run = self.run.lock().await;
        if run.is_gone {
            return Ok(Progress::Gone);
        }
        if !self.turn.take().await? {
            // Whoever has it sends what is missing, also what was cut here.
            *run = Run::default();
            return Ok(Progress::Elsewhere);
        }
        loop {
            if run.batch.is_none() && !self.cut(&mut run).await? {
                run.end();
                return Ok(Progress::Done);
            }
            let Some(batch) = run.batch.clone() else { continue };
            let (rows, _) = self.rows(&batch.room, batch.after, batch.last, usize::MAX).await?;
            if rows.is_empty() {
                // Erased meanwhile.
                self.advance(&mut run, &batch).await?;
                continue;
            }
            return self.send(&mut run, &batch, rows).await;
        }
    }

    /// Cuts the next batch; says whether there is one.
    async fn cut(&self, run: &mut Run) -> Result<bool, StoreError> {
        loop {
            let Some(behind) = run.rooms.front().cloned() else {
                let page = self.rooms.behind(self.feed, run.after.as_ref(), PAGE).await?;
                run.after = page.last().map(|behind| behind.room.clone());
                run.rooms.extend(page);
                if run.rooms.is_empty() {
                    return Ok(false);
                }
                continue;
            };
            let Behind { room, copied: after, last: bound } = behind;
            if run.refused.as_ref() == Some(&room) {
                run.rooms.pop_front();
                continue;
            }
            let (rows, is_last) = self.rows(&room, after, bound, self.size).await?;
            let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) else {
                self.rooms.copied(self.feed, &room, bound).await?;
                run.rooms.pop_front();
                continue;
            };
            let copied = if is_last { bound } else { *last };
            let at = self.channel.clock().now();
            run.batch = Some(Batch { room, after, first: *first, last: *last, is_last, copied, at });
            return Ok(true);
        }
    }

    /// At most `size` rows, and 256 KiB of them, and whether there are no more up to `bound`.
    async fn rows(
        &self,
        room: &RoomId,
        after: i64,
        bound: i64,
        size: usize,
    ) -> Result<(Rows, bool), StoreError> {
        let (mut rows, mut bytes, mut after) = (Rows::new(), FRAME, after);
        loop {
            let page = self.page(room, after, bound).await?;
            let is_end = page.len() < PAGE;
            for (number, row) in page {
                bytes = bytes.saturating_add(row.get().len()).saturating_add(1);
                let is_full = rows.len() >= size || size < usize::MAX && bytes > LONGEST_BODY;
                if is_full && !rows.is_empty() {
                    return Ok((rows, false));
                }
                after = number;
                rows.push((number, row));
            }
            if is_end {
                return Ok((rows, true));
            }
        }
    }

    async fn page(&self, room: &RoomId, after: i64, bound: i64) -> Result<Rows, StoreError> {
        let written = |row: Result<_, serde_json::Error>| row.map_err(StoreError::backend);
        match self.feed {
            Feed::Messages => {
                let messages = self.rooms.messages_after(room, after, bound, PAGE).await?;
                let row = |message: presence_core::ChatMessage| {
                    let number = message.position.seq;
                    Ok((number, written(to_raw_value(&Said::from(message)))?))
                };
                messages.into_iter().map(row).collect()
            }
            Feed::Sessions => {
                let sessions = self.rooms.sessions_after(room, after, bound, PAGE).await?;
                let row = |(number, session)| Ok((number, written(to_raw_value(&Stayed::from(session)))?));
                sessions.into_iter().map(row).collect()
            }
        }
    }

    async fn send(&self, run: &mut Run, batch: &Batch, rows: Rows) -> Result<Progress, StoreError> {
        let count = rows.len() as u64;
        let (id, body) = batch.body(self.feed, rows);
        let delivery = Delivery { id: DeliveryId::of(&id), body: body.into() };
        let outcome = self.channel.post(&delivery).await;
        run.failures = run.failures.saturating_add(1);
        let Err((progress, reason)) = self.attempts.after(outcome, run.failures) else {
            self.advance(run, batch).await?;
            return Ok(Progress::Sent(count));
        };
        match progress {
            Progress::Refused => {
                // Other rooms go on; this one comes again in the next run.
                run.batch = None;
                run.failures = 0;
                run.refused = Some(batch.room.clone());
                tracing::warn!(
                    callback = self.name(),
                    "the receiver {reason}: a batch waits for the next run"
                );
            }
            Progress::GivenUp => {
                run.end();
                tracing::warn!(callback = self.name(), "the receiver {reason}: the next run tries again");
            }
            Progress::Gone => {
                run.is_gone = true;
                tracing::warn!(callback = self.name(), "the receiver wants nothing any more");
            }
            _ => {}
        }
        Ok(progress)
    }

    /// The copy has a batch.
    async fn advance(&self, run: &mut Run, batch: &Batch) -> Result<(), StoreError> {
        self.rooms.copied(self.feed, &batch.room, batch.copied).await?;
        run.batch = None;
        run.failures = 0;
        if let Some(behind) = run.rooms.front_mut().filter(|behind| behind.room == batch.room) {
            behind.copied = behind.copied.max(batch.copied);
            if behind.copied >= behind.last {
                run.rooms.pop_front();
            }
        }
        Ok(())
    }

    const fn name(&self) -> &'static str {
        match self.feed {
            Feed::Messages => "chat_history",
            Feed::Sessions => "session_history",
        }
    }
}

impl Batch {
    /// Its id, and what is sent.
    fn body(&self, feed: Feed, rows: Rows) -> (String, Vec<u8>) {
        let Self { room, first, last, is_last, at, .. } = self;
        let id = format!("{}_{room}_{first}_{last}", feed.name());
        let (timestamp, is_last_batch) = (at.as_secs(), *is_last);
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        let body = match feed {
            Feed::Messages => serde_json::to_vec(&ChatHistoryBatch {
                event_type: "ChatHistoryBatch",
                room_id: room,
                messages: rows,
                batch_id: &id,
                is_last_batch,
                timestamp,
            }),
            Feed::Sessions => serde_json::to_vec(&SessionHistoryBatch {
                event_type: "SessionHistoryBatch",
                room_id: room,
                sessions: rows,
                batch_id: &id,
                is_last_batch,
                timestamp,
            }),
        };
        // Text and numbers always serialise.
        (id, body.unwrap_or_default())
    }
}

impl fmt::Debug for HistoryBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryBatches")
            .field("feed", &self.feed)
            .field("turn", &self.turn)
            .field("size", &self.size)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
