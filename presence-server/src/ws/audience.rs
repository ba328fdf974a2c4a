//! The members of a room, as its task speaks to them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use axum::extract::ws::Utf8Bytes;
use presence_core::{CloseReason, ConnectionId};

use super::queue::Queue;

/// How many members are woken before it is looked what else was said: those who are woken later get it in the same write.
pub(super) const WAVE: usize = 64;
/// How many bytes all members may be told before all of them were woken. Beyond, whoever was not woken yet is behind, and
/// has not been slow.
pub(super) const LOAD: usize = 64 * 1024;

/// A member's queue, in the hands of its room. However the room lets go of it, the member is told: one that nobody speaks
/// to would wait for ever.
#[derive(Debug)]
pub(super) struct Seat(pub(super) Arc<Queue>);

impl Drop for Seat {
    fn drop(&mut self) {
        // Where the room has said why, that stays.
        self.0.end(CloseReason::Moved);
    }
}

/// Members by their connections, and what is on its way to all of them.
///
/// What is said to all is put into their queues together, and they are woken in waves: a member who has much to read gets
/// it in one write.
#[derive(Debug, Default)]
pub(super) struct Audience {
    seats: HashMap<ConnectionId, Seat>,
    /// Whoever asks to come in, until the room has said yes or no.
    arrival: Option<(ConnectionId, Seat)>,
    /// What all members are to be told, and is in no queue yet.
    said: Vec<Utf8Bytes>,
    /// Who is to be woken.
    wave: VecDeque<Arc<Queue>>,
    /// What they were told since the wave began, in bytes.
    load: usize,
}

impl Audience {
    /// Somebody asks to come in, and can be spoken to until that is decided.
    pub(super) fn arrive(&mut self, connection: ConnectionId, seat: Seat) {
        self.arrival = Some((connection, seat));
    }

    /// Whoever asked to come in is a member.
    pub(super) fn admit(&mut self, connection: ConnectionId) {
        self.seats.extend(self.arrival.take().filter(|(arrived, _)| *arrived == connection));
    }

    /// It is decided: whoever asked to come in and is no member goes.
    pub(super) fn decided(&mut self) {
        self.arrival = None;
    }

    /// Does something with the queue of a member, or of whoever asks to come in. It comes before what was said to all and
    /// is not [`spread`](Self::spread) yet.
    pub(super) fn tell(&self, connection: ConnectionId, act: impl FnOnce(&Queue)) {
        let arrived = self.arrival.as_ref().filter(|(arrived, _)| *arrived == connection);
        let seat = self.seats.get(&connection).or(arrived.map(|(_, seat)| seat));
        if let Some(Seat(queue)) = seat {
            act(queue);
        }
    }

    /// Says something to all.
    pub(super) fn tell_all(&mut self, text: Utf8Bytes) {
        self.said.push(text);
    }

    /// Lets a member go; where it is still there, it is told why.
    pub(super) fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        self.tell(connection, |queue| queue.end(reason));
        self.leave(connection);
    }

    pub(super) fn close_all(&mut self, reason: CloseReason) {
        self.seats.drain().for_each(|(_, seat)| seat.0.end(reason));
    }

    /// Lets go of a member who has left.
    pub(super) fn leave(&mut self, connection: ConnectionId) {
        self.seats.remove(&connection);
    }

    /// Puts what was said into the queues of all members.
    pub(super) fn spread(&mut self) {
        if self.said.is_empty() {
            return;
        }
        let is_to_wake = |seat: &&Seat| seat.0.list(&self.said);
        self.wave.extend(self.seats.values().filter(is_to_wake).map(|seat| Arc::clone(&seat.0)));
        self.load += self.said.drain(..).map(|text| text.len()).sum::<usize>();
    }

    /// Wakes some of those who were told something.
    pub(super) fn wake(&mut self) {
        self.wave.drain(..WAVE.min(self.wave.len())).for_each(|queue| queue.wake());
        if self.wave.is_empty() {
            self.load = 0;
        }
    }

    /// Wakes all of them.
    pub(super) fn wake_all(&mut self) {
        self.wave.drain(..).for_each(|queue| queue.wake());
    }

    /// Whether there are members who are to be woken.
    pub(super) fn is_waiting(&self) -> bool {
        !self.wave.is_empty()
    }

    /// Whether they were told as much as they may be before they were woken.
    pub(super) const fn is_behind(&self) -> bool {
        self.load > LOAD
    }
}
