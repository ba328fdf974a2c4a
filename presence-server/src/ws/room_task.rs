//! The task of one room: what is asked of it comes in by two lanes, and what its room says is done.

use std::{
    collections::{HashMap, VecDeque},
    future::{pending, ready},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use presence_core::{
    Batch, CloseReason, Command, ConnectionId, Effect, Epoch, Frame, Moment, Nickname, Position, Priority,
    Room, RoomStats, Rooms, Timestamp, UserId, Written,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};

use super::queue::Queue;

/// How many orders a lane holds: whoever sends more waits.
const LANE: usize = 100;
/// How many of the low lane are obeyed before the high lane is looked at again. No less than the lane holds: who leaves
/// is taken out behind what it said, because all of that is in the lane when it leaves.
const BATCH: usize = 200;
const _: () = assert!(BATCH >= LANE);
/// How many members are woken before it is looked what else was said: those who are woken later get it in the same write.
const WAVE: usize = 64;
/// How many bytes all members may be told before all of them were woken. Then nothing is obeyed until they are: whoever
/// was not woken yet has not been slow.
const LOAD: usize = 64 * 1024;

/// How long a batch waits after the store failed for the first time, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

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
enum Order {
    Join { connection: ConnectionId, user_id: UserId, nickname: Nickname, seen: Option<Position>, seat: Seat },
    Do(Command),
    Ask(Command, oneshot::Sender<Answer>),
    Users(oneshot::Sender<Vec<UserId>>),
}

/// A member's queue, in the hands of its room. However the room lets go of it, the member is told: one that nobody speaks
/// to would wait for ever.
#[derive(Debug)]
struct Seat(Arc<Queue>);

impl Drop for Seat {
    fn drop(&mut self) {
        // Where the room has said why, that stays.
        self.0.end(CloseReason::Moved);
    }
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

/// The task of the room has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended;

impl RoomHandle {
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
        let lane = match command.priority() {
            Priority::High => &self.0.high,
            Priority::Low => &self.0.low,
        };
        lane.send(Order::Do(command)).await.map_err(|_| Ended)
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

/// A room, its members' queues, and what is to be written.
pub(super) struct RoomTask {
    room: Room,
    rooms: Rooms,
    high: mpsc::Receiver<Order>,
    low: mpsc::Receiver<Order>,
    leaves: mpsc::UnboundedReceiver<ConnectionId>,
    members: HashMap<ConnectionId, Seat>,
    /// Whoever asks to come in, until the room has said yes or no.
    arrival: Option<(ConnectionId, Seat)>,
    effects: Vec<Effect>,
    /// What all members are to be told, and is in no queue yet.
    said: Vec<Utf8Bytes>,
    /// Who is to be woken.
    wave: VecDeque<Arc<Queue>>,
    /// What they were told since the wave began, in bytes.
    load: usize,
    /// Answers that wait for the next batch.
    asked: Vec<Asked>,
    writing: Option<Writing>,
    began: Instant,
    overview: Arc<Mutex<Overview>>,
}

#[derive(Debug)]
struct Asked {
    answer: oneshot::Sender<Answer>,
    is_effective: bool,
}

/// A batch on its way to the store, and who waits for it.
struct Writing {
    done: Pin<Box<dyn Future<Output = Written> + Send>>,
    asked: Vec<Asked>,
}

/// What woke the task.
enum Woken {
    Wrote(Written),
    High(Order),
    Low(Order),
    Leave(ConnectionId),
    Due,
    /// There are members who are to be woken.
    Wave,
}

impl RoomTask {
    pub(super) fn new(room: Room, rooms: Rooms) -> (Self, RoomHandle) {
        let (high, high_orders) = mpsc::channel(LANE);
        let (low, low_orders) = mpsc::channel(LANE);
        let (leaves, left) = mpsc::unbounded_channel();
        let overview = Arc::new(Mutex::new(overview(&room)));
        let lanes = Lanes { high, low, leaves, epoch: room.epoch(), overview: Arc::clone(&overview) };
        let handle = RoomHandle(Arc::new(lanes));
        let task = Self {
            room,
            rooms,
            high: high_orders,
            low: low_orders,
            leaves: left,
            members: HashMap::new(),
            arrival: None,
            effects: Vec::new(),
            said: Vec::new(),
            wave: VecDeque::new(),
            load: 0,
            asked: Vec::new(),
            writing: None,
            began: Instant::now(),
            overview,
        };
        (task, handle)
    }

    /// Runs until the room is over and all that it had to say is stored.
    pub(super) async fn run(mut self) {
        let alive = self.rooms.policy().alive_interval;
        loop {
            self.write();
            if self.room.is_over() && self.writing.is_none() {
                break;
            }
            if self.load > LOAD {
                self.wake();
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.room.deadline().map(|due| self.began + due);
            let woken = tokio::select! {
                biased;
                written = done(&mut self.writing) => Woken::Wrote(written),
                Some(order) = self.high.recv() => Woken::High(order),
                () = until(due) => Woken::Due,
                Some(order) = self.low.recv() => Woken::Low(order),
                Some(connection) = self.leaves.recv() => Woken::Leave(connection),
                () = ready(()), if !self.wave.is_empty() => Woken::Wave,
                () = sleep(alive) => Woken::Due,
            };
            let (mut first, mut left) = (None, Vec::new());
            let is_due = matches!(woken, Woken::Due);
            match woken {
                Woken::Wrote(written) => self.wrote(written),
                Woken::High(order) => self.obey(order),
                Woken::Low(order) => first = Some(order),
                Woken::Leave(connection) => left.push(connection),
                Woken::Due | Woken::Wave => {}
            }
            for _ in 0..LANE {
                let Ok(order) = self.high.try_recv() else { break };
                self.obey(order);
            }
            // Whoever has left by now: all that they said is in the lane already.
            left.extend(std::iter::from_fn(|| self.leaves.try_recv().ok()));
            for _ in 0..BATCH {
                let Some(order) = first.take().or_else(|| self.low.try_recv().ok()) else { break };
                self.obey(order);
            }
            for connection in left {
                self.members.remove(&connection);
                self.handle(Command::Leave { connection });
            }
            // Last: a room that would rest does not, if somebody is on the way in.
            if is_due {
                self.tick();
            }
            self.spread();
            self.wake();
            *self.overview.lock().unwrap_or_else(PoisonError::into_inner) = overview(&self.room);
            tokio::task::yield_now().await;
        }
        // Whoever was on the way in meanwhile, or asked, is told as well.
        self.high.close();
        self.low.close();
        while let Some(order) = self.high.recv().await {
            self.obey(order);
        }
        while let Some(order) = self.low.recv().await {
            self.obey(order);
        }
        self.spread();
        self.wave.drain(..).for_each(|queue| queue.wake());
    }

    /// Puts what was said into the queues of all members.
    fn spread(&mut self) {
        if self.said.is_empty() {
            return;
        }
        let is_to_wake = |seat: &&Seat| seat.0.list(&self.said);
        self.wave.extend(self.members.values().filter(is_to_wake).map(|seat| Arc::clone(&seat.0)));
        self.load += self.said.drain(..).map(|text| text.len()).sum::<usize>();
    }

    /// Wakes some of those who were told something.
    fn wake(&mut self) {
        self.wave.drain(..WAVE.min(self.wave.len())).for_each(|queue| queue.wake());
        if self.wave.is_empty() {
            self.load = 0;
        }
    }

    fn now(&self) -> Moment {
        Moment { at: self.rooms.now(), uptime: self.began.elapsed() }
    }

    fn obey(&mut self, order: Order) {
        match order {
            // It came and went.
            Order::Join { seat, .. } if seat.0.is_gone() => {}
            Order::Join { connection, user_id, nickname, seen, seat } => {
                self.arrival = Some((connection, seat));
                self.handle(Command::Join { connection, user_id, nickname, seen });
                // Admitted or refused: either way it is nobody's turn any more.
                self.arrival = None;
            }
            Order::Do(Command::Lose) => self.lose(),
            Order::Do(command) => _ = self.handle(command),
            // Whoever asked may have gone.
            Order::Users(answer) => _ = answer.send(self.room.users().cloned().collect()),
            Order::Ask(_, answer) if self.room.is_over() => _ = answer.send(Answer::Over),
            Order::Ask(command, answer) => {
                let is_effective = self.handle(command);
                self.asked.push(Asked { answer, is_effective });
            }
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        self.room.tick(now, &mut self.effects);
        self.carry_out();
    }

    /// Says whether it had any effect on the room.
    fn handle(&mut self, command: Command) -> bool {
        let now = self.now();
        let is_effective = self.room.handle(command, now, &mut self.effects);
        self.carry_out();
        is_effective
    }

    fn carry_out(&mut self) {
        let mut effects = mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            // What is for one member comes behind what was said to all before, and who comes in hears none of that.
            if !matches!(effect, Effect::Broadcast(_) | Effect::Rights(..)) {
                self.spread();
            }
            match effect {
                Effect::Admit(connection) => {
                    self.members.extend(self.arrival.take().filter(|(arrived, _)| *arrived == connection));
                }
                Effect::Rights(connection, is_admin) => {
                    self.with(connection, |queue| queue.set_admin(is_admin));
                }
                Effect::Send(connection, frame) => self.with(connection, |queue| queue.push(text(frame))),
                Effect::Replay(connection, frames) => self.with(connection, |queue| {
                    frames.into_iter().for_each(|frame| queue.replay(text(frame)));
                }),
                Effect::Broadcast(frame) => self.said.push(text(frame)),
                Effect::Close(connection, reason) => {
                    self.with(connection, |queue| queue.end(reason));
                    self.members.remove(&connection);
                }
                Effect::CloseAll(reason) => {
                    self.members.drain().for_each(|(_, seat)| seat.0.end(reason));
                }
                // What this version does not know, it cannot do.
                _ => {}
            }
        }
        // Its memory serves the next.
        self.effects = effects;
    }

    fn with(&self, connection: ConnectionId, act: impl FnOnce(&Queue)) {
        let arrived = self.arrival.as_ref().filter(|(arrived, _)| *arrived == connection);
        let seat = self.members.get(&connection).or(arrived.map(|(_, seat)| seat));
        if let Some(Seat(queue)) = seat {
            act(queue);
        }
    }

    /// Has what happened written, if nothing is being written.
    fn write(&mut self) {
        if self.writing.is_some() {
            return;
        }
        if let Some(batch) = self.room.batch(self.rooms.now()) {
            let done = Box::pin(write(self.rooms.clone(), batch));
            self.writing = Some(Writing { done, asked: mem::take(&mut self.asked) });
        } else {
            self.asked.drain(..).for_each(|asked| asked.answer(Written::Stored));
        }
    }

    fn wrote(&mut self, written: Written) {
        let asked = self.writing.take().map(|writing| writing.asked);
        asked.into_iter().flatten().for_each(|asked| asked.answer(written));
        if written == Written::Fenced {
            tracing::warn!("a room lives on another node now");
            self.lose();
        }
    }

    /// Lets go of the room, and of what is not on its way to the store: nobody is told that it is stored.
    fn lose(&mut self) {
        self.handle(Command::Lose);
        self.asked.drain(..).for_each(|asked| asked.answer(Written::Fenced));
    }
}

impl Asked {
    fn answer(self, written: Written) {
        let answer = match written {
            Written::Stored => Answer::Done(self.is_effective),
            Written::Fenced => Answer::Moved,
        };
        // Whoever asked may have gone.
        let _ = self.answer.send(answer);
    }
}

/// Writes a batch, however long that takes.
async fn write(rooms: Rooms, batch: Batch) -> Written {
    let mut pause = FIRST_RETRY;
    loop {
        match rooms.write(vec![batch.clone()]).await {
            Ok(written) => return written.first().copied().unwrap_or(Written::Stored),
            Err(error) => tracing::warn!(%error, "what happened in a room is not written yet"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_RETRY);
    }
}

async fn done(writing: &mut Option<Writing>) -> Written {
    match writing {
        Some(writing) => writing.done.as_mut().await,
        None => pending().await,
    }
}

/// Waits until then; for ever, where that is never.
pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

fn overview(room: &Room) -> Overview {
    Overview { stats: room.stats(), last_activity: room.last_activity() }
}

/// The text of a frame, shared by all who get it.
fn text(frame: Frame) -> Utf8Bytes {
    // A frame is text.
    Utf8Bytes::try_from(Bytes::from_owner(frame)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::{Context, Wake, Waker},
    };

    use futures_util::poll;
    use presence_core::{Admins, Asker, MemoryStore, Opening, RoomId, RoomName, RoomPolicy, SystemClock};

    use super::{super::queue::End, *};

    async fn task() -> (RoomTask, RoomHandle) {
        let policy = RoomPolicy { stats_interval: Duration::ZERO, ..RoomPolicy::default() };
        let rooms = Rooms::with_policy(Arc::new(MemoryStore::new()), SystemClock, "node-1", policy);
        let id = RoomId::new("lobby").unwrap();
        let name = RoomName::new("Lobby").unwrap();
        rooms.create(id.clone(), name, Admins::default()).await.unwrap();
        let Opening::Open(room) = rooms.open(&id).await.unwrap() else { panic!("nobody else has it") };
        RoomTask::new(*room, rooms)
    }

    async fn join(room: &RoomHandle, number: u64) -> Arc<Queue> {
        let queue = Arc::new(Queue::default());
        let user = format!("user-{number}");
        let who = (UserId::new(user.clone()).unwrap(), Nickname::new(&user).unwrap());
        room.join(ConnectionId(number), who, None, Arc::clone(&queue)).await.unwrap();
        queue
    }

    async fn until(queue: &Queue, part: &str) {
        let mut frames = Vec::new();
        while !frames.iter().any(|frame: &Utf8Bytes| frame.contains(part)) {
            queue.filled().await;
            queue.take(&mut frames);
        }
    }

    #[tokio::test]
    async fn who_has_left_is_let_go_of() {
        let (task, room) = task().await;
        tokio::spawn(task.run());
        let (stays, leaves) = (join(&room, 1).await, join(&room, 2).await);
        until(&leaves, "WelcomeInfo").await;
        let left = Arc::downgrade(&leaves);
        drop(leaves);
        room.leave(ConnectionId(2));
        until(&stays, "UserLeft").await;
        assert!(left.upgrade().is_none(), "its queue fills with what is said from here on");
    }

    #[tokio::test]
    async fn who_is_on_the_way_in_when_the_task_ends_is_told() {
        let (task, room) = task().await;
        let queue = join(&room, 1).await;
        drop(task);
        assert_eq!(queue.take(&mut Vec::new()), Some(End::By(CloseReason::Moved)));
    }

    #[tokio::test]
    async fn what_an_administrator_orders_goes_before_the_chat_that_waits() {
        let (task, room) = task().await;
        let admins = Admins::new([UserId::new("user-1").unwrap()]).unwrap();
        room.send(Command::SetAdmins { admins }).await.unwrap();
        let (queue, by) = (join(&room, 1).await, ConnectionId(1));
        let mut running = pin!(task.run());
        // Each look is one turn of the task.
        while !queue.is_admin() {
            assert!(poll!(running.as_mut()).is_pending());
        }
        queue.take(&mut Vec::new());
        for round in 0..3 {
            let say = || Order::Do(Command::Say { connection: by, content: "hello".to_owned() });
            while room.0.low.try_send(say()).is_ok() {}
            let order = Command::CustomEvent {
                by: Asker::Connection(by),
                event_type: "now".to_owned(),
                payload: 1.into(),
            };
            room.0.high.try_send(Order::Do(order)).unwrap();
            assert!(poll!(running.as_mut()).is_pending());
            let mut frames = Vec::new();
            queue.take(&mut frames);
            let is_said = |frame: &&Utf8Bytes| frame.contains("CustomEvent") || frame.contains("Message");
            let said: Vec<_> = frames.iter().filter(is_said).collect();
            assert!(said[0].contains("CustomEvent"), "round {round}: {}", said[0]);
            assert!(said.len() > 1 && said.len() <= 1 + BATCH, "and the chat behind it: {}", said.len());
        }
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    impl Woken {
        /// Waits for a member's queue to fill.
        fn wait(self: &Arc<Self>, queue: &Queue) {
            let waker = Waker::from(Arc::clone(self));
            let filled = pin!(queue.filled());
            assert!(filled.poll(&mut Context::from_waker(&waker)).is_pending());
        }

        fn count(&self) -> usize {
            self.0.load(Relaxed)
        }
    }

    /// A room of so many members, each of whom waits for something to be said.
    async fn crowd(
        count: u64,
    ) -> (Pin<Box<impl Future<Output = ()>>>, RoomHandle, Vec<(Arc<Queue>, Arc<Woken>)>) {
        let (task, room) = task().await;
        let mut running = Box::pin(task.run());
        let mut members = Vec::new();
        for number in 0..count {
            members.push((join(&room, number).await, Arc::new(Woken::default())));
            assert!(poll!(running.as_mut()).is_pending());
        }
        // All are told of the last who came, with the next order.
        let nobody = UserId::new("nobody").unwrap();
        room.send(Command::Unban { by: Asker::Operator, user_id: nobody }).await.unwrap();
        for _ in 0..count {
            assert!(poll!(running.as_mut()).is_pending());
        }
        for (queue, woken) in &members {
            queue.take(&mut Vec::new());
            woken.wait(queue);
        }
        (running, room, members)
    }

    fn say(by: usize, length: usize) -> Order {
        Order::Do(Command::Say { connection: ConnectionId(by as u64), content: "x".repeat(length) })
    }

    #[tokio::test]
    async fn who_is_woken_later_gets_what_was_said_meanwhile_at_once() {
        let (mut running, room, members) = crowd(3 * WAVE as u64).await;
        let woken = || members.iter().map(|(_, woken)| woken.count()).collect::<Vec<_>>();
        for turn in 1..=3 {
            room.0.low.try_send(say(turn, 1)).unwrap();
            assert!(poll!(running.as_mut()).is_pending());
            assert_eq!(woken().iter().sum::<usize>(), turn * WAVE, "a wave at a time");
            for ((queue, _), count) in members.iter().zip(woken()) {
                assert!(count <= 1, "nobody is woken for what it has not looked at");
                assert_eq!(queue.waiting().0, turn, "whoever was not woken has it too");
            }
        }
        // Whoever has looked is woken again.
        for (queue, woken) in &members {
            queue.take(&mut Vec::new());
            woken.wait(queue);
        }
        room.0.low.try_send(say(4, 1)).unwrap();
        for _ in 0..3 {
            assert!(poll!(running.as_mut()).is_pending());
        }
        assert!(woken().iter().all(|count| *count == 2), "{:?}", woken());
    }

    #[tokio::test]
    async fn nobody_is_slow_who_was_not_woken() {
        let (mut running, room, members) = crowd(3 * WAVE as u64).await;
        let longest = || members.iter().map(|(queue, _)| queue.waiting().1).max().unwrap_or_default();
        let mut by = 0..;
        let mut fill = || while room.0.low.try_send(say(by.next().unwrap(), 1024)).is_ok() {};
        for _ in 0..3 {
            fill();
            assert!(poll!(running.as_mut()).is_pending());
        }
        assert!(longest() > LOAD && longest() < 2 * LANE * 1024, "{}", longest());
        assert!(members.iter().all(|(_, woken)| woken.count() == 1));
        assert!(room.0.low.try_send(say(0, 1)).is_err(), "what is more waits");
        for (queue, _) in &members {
            assert_eq!(queue.take(&mut Vec::new()), None);
        }
        assert!(poll!(running.as_mut()).is_pending());
        assert!(room.0.low.try_send(say(0, 1)).is_ok(), "and is obeyed when all were woken");
    }

    #[tokio::test]
    async fn what_is_lost_with_the_room_is_not_said_to_be_stored() {
        let (task, room) = task().await;
        let ban = Command::Ban { by: Asker::Operator, user_id: UserId::new("eve").unwrap() };
        let (answer, lost, ()) = tokio::join!(room.ask(ban), room.send(Command::Lose), task.run());
        lost.unwrap();
        assert_eq!(answer, Answer::Moved);
    }
}
