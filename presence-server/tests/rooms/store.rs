//! A store that a test can break.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use async_trait::async_trait;
use presence_core::{
    AdminAction, Batch, ChatMessage, Epoch, Lease, MemoryStore, NewRoom, Part, RetiredRooms, RoomId,
    RoomQuery, RoomSession, RoomStore, StoreError, StoredRoom, TakenRoom, Timestamp, Window, Written,
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::client::PATIENCE;

/// Rooms in memory, until a test says otherwise.
#[derive(Debug)]
pub(crate) struct Breakable {
    kept: Arc<MemoryStore>,
    panics: AtomicBool,
    stalled: watch::Sender<bool>,
    slow: watch::Sender<Option<RoomId>>,
    listed: Mutex<Vec<usize>>,
    read: Mutex<Vec<usize>>,
    list_stalled: watch::Sender<bool>,
    list_fails: AtomicBool,
    asked: Notify,
    given_up: Notify,
}

impl Breakable {
    pub(crate) fn new(kept: Arc<MemoryStore>) -> Self {
        Self {
            kept,
            panics: AtomicBool::new(false),
            stalled: watch::Sender::new(false),
            slow: watch::Sender::new(None),
            listed: Mutex::default(),
            read: Mutex::default(),
            list_stalled: watch::Sender::new(false),
            list_fails: AtomicBool::new(false),
            asked: Notify::new(),
            given_up: Notify::new(),
        }
    }

    /// What is never broken.
    pub(crate) fn kept(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.kept)
    }

    /// Waits until a node gives rooms up.
    pub(crate) async fn given_up(&self) {
        timeout(PATIENCE, self.given_up.notified()).await.expect("a room is given up");
    }

    /// The next batch is a bug.
    pub(crate) fn panic_once(&self) {
        self.panics.store(true, SeqCst);
    }

    /// Whether batches wait.
    pub(crate) fn stall(&self, is_stalled: bool) {
        self.stalled.send_replace(is_stalled);
    }

    /// Which room cannot be had for now.
    pub(crate) fn slow(&self, room: Option<RoomId>) {
        self.slow.send_replace(room);
    }

    /// Whether a list waits when it is asked for more than its beginning.
    pub(crate) fn stall_lists(&self, is_stalled: bool) {
        self.list_stalled.send_replace(is_stalled);
    }

    /// Whether it fails then.
    pub(crate) fn fail_lists(&self, fails: bool) {
        self.list_fails.store(fails, SeqCst);
    }

    /// How many rooms were asked for, each time.
    pub(crate) fn listed(&self) -> Vec<usize> {
        self.listed.lock().expect("a lock").clone()
    }

    /// How many messages were asked for, each time.
    pub(crate) fn read(&self) -> Vec<usize> {
        self.read.lock().expect("a lock").clone()
    }

    /// Waits until somebody asks for that one.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }
}

#[async_trait]
impl RoomStore for Breakable {
    async fn create_room(&self, room: NewRoom) -> Result<bool, StoreError> {
        self.kept.create_room(room).await
    }

    async fn take_room(
        &self,
        room: &RoomId,
        expected: Epoch,
        lease: Lease,
        messages: usize,
    ) -> Result<Option<TakenRoom>, StoreError> {
        let mut slow = self.slow.subscribe();
        if slow.borrow_and_update().as_ref() == Some(room) {
            self.asked.notify_one();
            let _ = slow.wait_for(|slow| slow.as_ref() != Some(room)).await;
        }
        self.kept.take_room(room, expected, lease, messages).await
    }

    async fn renew_leases(
        &self,
        held: Vec<(RoomId, Epoch)>,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let renewed = self.kept.renew_leases(held, until).await;
        if until == Timestamp::MIN {
            self.given_up.notify_one();
        }
        renewed
    }

    async fn write_batches(&self, batches: Vec<Batch>) -> Result<Vec<Written>, StoreError> {
        assert!(!self.panics.swap(false, SeqCst), "a bug of a store");
        let _ = self.stalled.subscribe().wait_for(|is_stalled| !is_stalled).await;
        self.kept.write_batches(batches).await
    }

    async fn retire_rooms(&self, before: Timestamp, limit: usize) -> Result<RetiredRooms, StoreError> {
        self.kept.retire_rooms(before, limit).await
    }
}

#[async_trait]
impl RoomQuery for Breakable {
    async fn room(&self, room: &RoomId) -> Result<Option<StoredRoom>, StoreError> {
        self.kept.room(room).await
    }

    async fn rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<StoredRoom>, StoreError> {
        self.listed.lock().expect("a lock").push(limit);
        if after.is_some() {
            let _ = self.list_stalled.subscribe().wait_for(|is_stalled| !is_stalled).await;
            if self.list_fails.load(SeqCst) {
                return Err(StoreError::unavailable("a test said so"));
            }
        }
        self.kept.rooms(after, limit).await
    }

    async fn abandoned(&self, now: Timestamp, limit: usize) -> Result<Vec<RoomId>, StoreError> {
        self.kept.abandoned(now, limit).await
    }

    async fn messages(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<ChatMessage>, StoreError> {
        self.read.lock().expect("a lock").push(limit);
        if skip > 0 || window.to() < Timestamp::MAX {
            let _ = self.list_stalled.subscribe().wait_for(|is_stalled| !is_stalled).await;
        }
        self.kept.messages(room, window, skip, limit).await
    }

    async fn sessions(
        &self,
        room: &RoomId,
        window: Window,
        skip: u64,
        limit: usize,
    ) -> Result<Part<RoomSession>, StoreError> {
        self.kept.sessions(room, window, skip, limit).await
    }

    async fn actions(
        &self,
        room: &RoomId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AdminAction>, StoreError> {
        self.kept.actions(room, before, limit).await
    }
}
