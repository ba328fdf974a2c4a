//! The task of one room: what is asked of it comes in by two lanes, and what its room says is done.

use std::{
    future::{pending, ready},
    mem,
    pin::Pin,
    time::Duration,
};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use presence_core::{Batch, Command, ConnectionId, Effect, Frame, Moment, Room, Rooms, Written};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{
    audience::Audience,
    room_handle::{Answer, LANE, Order, Orders, RoomHandle},
};

/// How many of the low lane are obeyed before the high lane is looked at again. No less than the lane holds: who leaves
/// is taken out behind what it said, because all of that is in the lane when it leaves.
const BATCH: usize = 200;
const _: () = assert!(BATCH >= LANE);
/// How long a batch waits after the store failed for the first time, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A room, its members, and what is to be written.
pub(super) struct RoomTask {
    room: Room,
    rooms: Rooms,
    orders: Orders,
    audience: Audience,
    effects: Vec<Effect>,
    /// Answers that wait for the next batch.
    asked: Vec<Asked>,
    writing: Option<Writing>,
    began: Instant,
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
        let (handle, orders) = RoomHandle::new(&room);
        let task = Self {
            room,
            rooms,
            orders,
            audience: Audience::default(),
            effects: Vec::new(),
            asked: Vec::new(),
            writing: None,
            began: Instant::now(),
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
            // Nothing is obeyed until all were woken.
            if self.audience.is_behind() {
                self.audience.wake();
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.room.deadline().map(|due| self.began + due);
            let woken = tokio::select! {
                biased;
                written = done(&mut self.writing) => Woken::Wrote(written),
                Some(order) = self.orders.high.recv() => Woken::High(order),
                () = until(due) => Woken::Due,
                Some(order) = self.orders.low.recv() => Woken::Low(order),
                Some(connection) = self.orders.leaves.recv() => Woken::Leave(connection),
                () = ready(()), if self.audience.is_waiting() => Woken::Wave,
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
                let Ok(order) = self.orders.high.try_recv() else { break };
                self.obey(order);
            }
            // Whoever has left by now: all that they said is in the lane already.
            left.extend(std::iter::from_fn(|| self.orders.leaves.try_recv().ok()));
            for _ in 0..BATCH {
                let Some(order) = first.take().or_else(|| self.orders.low.try_recv().ok()) else { break };
                self.obey(order);
            }
            for connection in left {
                self.audience.leave(connection);
                self.handle(Command::Leave { connection });
            }
            // Last: a room that would rest does not, if somebody is on the way in.
            if is_due {
                self.tick();
            }
            self.audience.spread();
            self.audience.wake();
            self.orders.show(&self.room);
            tokio::task::yield_now().await;
        }
        // Whoever was on the way in meanwhile, or asked, is told as well.
        self.orders.high.close();
        self.orders.low.close();
        while let Some(order) = self.orders.high.recv().await {
            self.obey(order);
        }
        while let Some(order) = self.orders.low.recv().await {
            self.obey(order);
        }
        self.audience.spread();
        self.audience.wake_all();
    }

    fn now(&self) -> Moment {
        Moment { at: self.rooms.now(), uptime: self.began.elapsed() }
    }

    fn obey(&mut self, order: Order) {
        match order {
            // It came and went.
            Order::Join { seat, .. } if seat.0.is_gone() => {}
            Order::Join { connection, user_id, nickname, seen, seat } => {
                self.audience.arrive(connection, seat);
                self.handle(Command::Join { connection, user_id, nickname, seen });
                self.audience.decided();
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
                self.audience.spread();
            }
            match effect {
                Effect::Admit(connection) => self.audience.admit(connection),
                Effect::Rights(connection, is_admin) => {
                    self.audience.tell(connection, |queue| queue.set_admin(is_admin));
                }
                Effect::Send(connection, frame) => {
                    self.audience.tell(connection, |queue| queue.push(text(frame)));
                }
                Effect::Replay(connection, frames) => self.audience.tell(connection, |queue| {
                    frames.into_iter().for_each(|frame| queue.replay(text(frame)));
                }),
                Effect::Broadcast(frame) => self.audience.tell_all(text(frame)),
                Effect::Close(connection, reason) => self.audience.close(connection, reason),
                Effect::CloseAll(reason) => self.audience.close_all(reason),
                // What this version does not know, it cannot do.
                _ => {}
            }
        }
        // Its memory serves the next.
        self.effects = effects;
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

/// The text of a frame, shared by all who get it.
fn text(frame: Frame) -> Utf8Bytes {
    // A frame is text.
    Utf8Bytes::try_from(Bytes::from_owner(frame)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Context, Wake, Waker},
    };

    use futures_util::poll;
    use presence_core::{
        Admins, Asker, CloseReason, MemoryStore, Nickname, Opening, RoomId, RoomName, RoomPolicy,
        SystemClock, UserId,
    };

    use super::{
        super::{
            audience::{LOAD, WAVE},
            queue::{End, Queue},
        },
        *,
    };

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
            let say = || Command::Say { connection: by, content: "hello".to_owned() };
            while room.try_send(say()) {}
            let order = Command::CustomEvent {
                by: Asker::Connection(by),
                event_type: "now".to_owned(),
                payload: 1.into(),
            };
            assert!(room.try_send(order));
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

    fn say(by: usize, length: usize) -> Command {
        Command::Say { connection: ConnectionId(by as u64), content: "x".repeat(length) }
    }

    #[tokio::test]
    async fn who_is_woken_later_gets_what_was_said_meanwhile_at_once() {
        let (mut running, room, members) = crowd(3 * WAVE as u64).await;
        let woken = || members.iter().map(|(_, woken)| woken.count()).collect::<Vec<_>>();
        for turn in 1..=3 {
            assert!(room.try_send(say(turn, 1)));
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
        assert!(room.try_send(say(4, 1)));
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
        let mut fill = || while room.try_send(say(by.next().unwrap(), 1024)) {};
        for _ in 0..3 {
            fill();
            assert!(poll!(running.as_mut()).is_pending());
        }
        assert!(longest() > LOAD && longest() < 2 * LANE * 1024, "{}", longest());
        assert!(members.iter().all(|(_, woken)| woken.count() == 1));
        assert!(!room.try_send(say(0, 1)), "what is more waits");
        for (queue, _) in &members {
            assert_eq!(queue.take(&mut Vec::new()), None);
        }
        assert!(poll!(running.as_mut()).is_pending());
        assert!(room.try_send(say(0, 1)), "and is obeyed when all were woken");
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
