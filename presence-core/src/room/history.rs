//! What a member that comes back can be given.

use std::{collections::VecDeque, time::Duration};

use crate::{ChatMessage, Epoch, Frame, Position, RoomPolicy, ServerFrame, Timestamp, UserId};

/// The last messages of a room, ready to be sent again.
///
/// ```text
/// said        1  2  3  4  5  6  7
/// remembered        3  4  5  6  7      floor: 2
/// seen up to     2  -> 3 4 5 6 7
/// seen up to  1     -> 2 is gone: ask the history of the room
/// ```
#[derive(Debug)]
pub(crate) struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The last message that is not here any more.
    floor: Option<Position>,
    /// The last message of the room.
    last: Position,
    messages: usize,
    max_bytes: usize,
    age: Duration,
}

#[derive(Debug)]
struct Entry {
    position: Position,
    at: Timestamp,
    user: UserId,
    frame: Frame,
}

impl History {
    /// What is stored: the last messages of the room in order, and the place of the one before them.
    pub(crate) fn new(
        policy: &RoomPolicy,
        last: Position,
        floor: Option<Position>,
        stored: Vec<ChatMessage>,
        now: Timestamp,
    ) -> Self {
        let mut history = Self {
            entries: VecDeque::new(),
            bytes: 0,
            floor,
            last,
            messages: policy.history_messages,
            max_bytes: policy.history_bytes,
            age: policy.history_age,
        };
        for message in stored {
            let frame = Frame::of(&frame(&message));
            history.remember(&message, frame, now);
        }
        history
    }

    /// The place of the last message.
    pub(crate) const fn last(&self) -> Position {
        self.last
    }

    /// The place of the next one.
    pub(crate) const fn next(&self, epoch: Epoch) -> Position {
        Position { epoch, seq: self.last.seq.saturating_add(1) }
    }

    /// Takes the next message, and gives the frame that tells it.
    pub(crate) fn push(&mut self, message: &ChatMessage, now: Timestamp) -> Frame {
        let frame = Frame::of(&frame(message));
        self.last = message.position;
        self.remember(message, frame.clone(), now);
        frame
    }

    fn remember(&mut self, message: &ChatMessage, frame: Frame, now: Timestamp) {
        self.bytes = self.bytes.saturating_add(frame.as_str().len());
        let ChatMessage { position, user_id, created_at, .. } = message;
        self.entries.push_back(Entry { position: *position, at: *created_at, user: user_id.clone(), frame });
        self.trim(now);
    }

    fn trim(&mut self, now: Timestamp) {
        let oldest = now.saturating_sub(self.age);
        while let Some(first) = self.entries.front() {
            let is_kept =
                self.entries.len() <= self.messages && self.bytes <= self.max_bytes && first.at >= oldest;
            if is_kept {
                break;
            }
            self.bytes = self.bytes.saturating_sub(first.frame.as_str().len());
            self.floor = Some(first.position);
            self.entries.pop_front();
        }
    }

    /// All that was said after `seen`; `None` where some of it is not here any more, or `seen` was never given out.
    pub(crate) fn since(&mut self, seen: Position, now: Timestamp) -> Option<Vec<Frame>> {
        self.trim(now);
        if self.floor > Some(seen) || seen > self.last {
            return None;
        }
        let first = self.entries.partition_point(|entry| entry.position <= seen);
        Some(self.entries.range(first..).map(|entry| entry.frame.clone()).collect())
    }

    /// Who said what is remembered.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserId> {
        self.entries.iter().map(|entry| &entry.user)
    }

    /// Forgets what an erased user said.
    pub(crate) fn forget(&mut self, user: &UserId, erased_at: Timestamp) {
        self.entries.retain(|entry| entry.user != *user || entry.at > erased_at);
        self.bytes = self.entries.iter().map(|entry| entry.frame.as_str().len()).sum();
    }
}

fn frame(message: &ChatMessage) -> ServerFrame {
    let ChatMessage { position, user_id, nickname, content, is_admin, created_at } = message.clone();
    ServerFrame::Message {
        from: user_id,
        nickname,
        content,
        is_admin,
        position,
        created_at: created_at.as_secs(),
    }
}
