//! How others ask something of a room that is open here, and see how it is.

use std::sync::{Arc, Mutex, PoisonError};

use presence_core::{
    Command, ConnectionId, Epoch, Nickname, Position, Priority, Room, RoomStats, Timestamp, UserId,
};
use tokio::sync::{mpsc, oneshot};

use super::{audience::Seat, queue::Queue};

/// How many orders a lane holds: whoever sends more waits.
pub(super) const LANE: usize = 100;

/// What became of something that was asked of a room, once it is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// It was done; whether it changed anything.
    Done(bool),
    /// The room is closed, or about to leave this node.
    Over,
    /// It lives on another node, and what was asked is not stored.
    Moved,
}

/// Something that a room's task is to do.
#[derive(Debug)]
pub(super) enum Order {
    Join { connection: ConnectionId, user_id: UserId, nickname: Nickname, seen: Option<Position>, seat: Seat },
    Do(Command),
    Ask(Command, oneshot::Sender<Answer>),
    Users(oneshot::Sender<Vec<UserId>>),
}

/// What others see of a room without asking it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overview {
    pub(crate) stats: RoomStats,
    pub(crate) last_activity: Timestamp,
}

/// A room that is open here; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RoomHandle(Arc<Lanes>);

#[derive(Debug)]
struct Lanes {
    high: mpsc::Sender<Order>,
    low: mpsc::Sender<Order>,
    leaves: mpsc::UnboundedSender<ConnectionId>,
    epoch: Epoch,
    overview: Arc<Mutex<Overview>>,
}

/// The other ends of the lanes, in the hands of the room's task.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) high: mpsc::Receiver<Order>,
    pub(super) low: mpsc::Receiver<Order>,
    /// Connections that have ended.
    pub(super) leaves: mpsc::UnboundedReceiver<ConnectionId>,
    overview: Arc<Mutex<Overview>>,
}

impl Orders {
    /// Shows others how the room is.
    pub(super) fn show(&self, room: &Room) {
        *self.overview.lock().unwrap_or_else(PoisonError::into_inner) = Overview::of(room);
    }
}

/// The task of the room has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended;

impl Overview {
    fn of(room: &Room) -> Self {
        Self { stats: room.stats(), last_activity: room.last_activity() }
    }
}

impl RoomHandle {
    /// A room, for others and for its task.
    pub(super) fn new(room: &Room) -> (Self, Orders) {
        let (high, high_orders) = mpsc::channel(LANE);
        let (low, low_orders) = mpsc::channel(LANE);
        let (leaves, left) = mpsc::unbounded_channel();
        let overview = Arc::new(Mutex::new(Overview::of(room)));
        let orders =
            Orders { high: high_orders, low: low_orders, leaves: left, overview: Arc::clone(&overview) };
        (Self(Arc::new(Lanes { high, low, leaves, epoch: room.epoch(), overview })), orders)
    }

    /// Has a command carried out, if its lane has room.
    #[cfg(test)]
    pub(super) fn try_send(&self, command: Command) -> bool {
        self.lane(command.priority()).try_send(Order::Do(command)).is_ok()
    }

    fn lane(&self, priority: Priority) -> &mpsc::Sender<Order> {
        match priority {
            Priority::High => &self.0.high,
            Priority::Low => &self.0.low,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// How it is, to the last order that was obeyed.
    pub(crate) fn overview(&self) -> Overview {
        *self.0.overview.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.high.is_closed()
    }

    /// Asks to come in; the answer comes through the queue.
    pub(super) async fn join(
        &self,
        connection: ConnectionId,
        (user_id, nickname): (UserId, Nickname),
        seen: Option<Position>,
        queue: Arc<Queue>,
    ) -> Result<(), Ended> {
        let seat = Seat(queue);
        let order = Order::Join { connection, user_id, nickname, seen, seat };
        self.0.low.send(order).await.map_err(|_| Ended)
    }

    /// Has a command carried out, when its turn comes.
    pub(super) async fn send(&self, command: Command) -> Result<(), Ended> {
        self.lane(command.priority()).send(Order::Do(command)).await.map_err(|_| Ended)
    }

    /// The same, and waits until what follows from it is stored.
    pub(crate) async fn ask(&self, command: Command) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.0.high.send(Order::Ask(command, answer)).await.is_err() {
            return Answer::Over;
        }
        answered.await.unwrap_or(Answer::Moved)
    }

    /// Whom it knows; nobody, where it is over.
    pub(super) async fn users(&self) -> Vec<UserId> {
        let (answer, answered) = oneshot::channel();
        // Where the task has ended, nobody is known.
        let _ = self.0.high.send(Order::Users(answer)).await;
        answered.await.unwrap_or_default()
    }

    /// Takes a connection out that has ended, behind all that it sent. Waits for nothing, so that it can be said in a
    /// drop.
    pub(super) fn leave(&self, connection: ConnectionId) {
        // Where the task has ended, everybody is out.
        let _ = self.0.leaves.send(connection);
    }
}
