//! A memory store with trouble around each operation.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
};

use async_trait::async_trait;
use presence_core::{
    Ask, Beat, Checkpoint, CheckpointId, CheckpointQuery, CheckpointStore, Commit, Context, Erasure, Facts,
    LiveSet, Member, MemoryStore, Outcome, Place, Record, Seen, Session, StoreError, Timestamp, UserId,
    Window,
};

/// What a store is asked to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Op {
    Load,
    Commit,
    Touch,
    Overdue,
    Erase,
    /// A change of the members of the live set.
    Members,
}

/// What goes wrong around the operations of a store.
#[async_trait]
pub(crate) trait Trouble: Send + Sync + 'static {
    /// Delays or fails an operation that has not begun.
    async fn before(&self, op: Op, users: &[UserId]) -> Result<(), StoreError>;

    /// Delays or fails the answer of an operation that took effect.
    async fn after(&self, _op: Op) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether a commit finds that another writer came first.
    fn is_outrun(&self) -> bool {
        false
    }
}

/// A memory store with trouble around it; questions are answered without.
#[derive(Default)]
pub(crate) struct Troubled<T> {
    pub(crate) inner: Arc<MemoryStore>,
    pub(crate) trouble: T,
}

#[async_trait]
impl<T: Trouble> CheckpointStore for Troubled<T> {
    async fn load(&self, asks: Vec<Ask>) -> Result<Vec<Context>, StoreError> {
        let users: Vec<UserId> = asks.iter().map(|ask| ask.user.clone()).collect();
        self.trouble.before(Op::Load, &users).await?;
        self.inner.load(asks).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Outcome>, StoreError> {
        self.trouble.before(Op::Commit, &[]).await?;
        let mut outcomes = Vec::with_capacity(commits.len());
        for commit in commits {
            if self.trouble.is_outrun() {
                outcomes.push(Outcome::Conflict);
            } else {
                outcomes.extend(self.inner.commit(vec![commit]).await?);
            }
        }
        self.trouble.after(Op::Commit).await?;
        Ok(outcomes)
    }

    async fn touch(&self, beats: Vec<Beat>) -> Result<Vec<Beat>, StoreError> {
        self.trouble.before(Op::Touch, &[]).await?;
        CheckpointStore::touch(&*self.inner, beats).await
    }

    async fn overdue(&self, cutoff: Timestamp, limit: usize) -> Result<Vec<Session>, StoreError> {
        self.trouble.before(Op::Overdue, &[]).await?;
        self.inner.overdue(cutoff, limit).await
    }

    async fn erase(&self, user: &UserId, at: Timestamp) -> Result<Erasure, StoreError> {
        self.trouble.before(Op::Erase, &[]).await?;
        self.inner.erase(user, at).await
    }
}

#[async_trait]
impl<T: Trouble> CheckpointQuery for Troubled<T> {
    async fn facts(&self, user: &UserId, windows: &[Window]) -> Result<Option<Facts>, StoreError> {
        self.inner.facts(user, windows).await
    }

    async fn checkpoint(&self, user: &UserId, id: CheckpointId) -> Result<Option<Checkpoint>, StoreError> {
        self.inner.checkpoint(user, id).await
    }

    async fn history(
        &self,
        user: &UserId,
        window: Window,
        before: Option<(Timestamp, CheckpointId)>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        self.inner.history(user, window, before, limit).await
    }

    async fn export(
        &self,
        user: &UserId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.inner.export(user, after, limit).await
    }
}

#[async_trait]
impl<T: Trouble> LiveSet for Troubled<T> {
    async fn touch(&self, seen: Vec<Seen>) -> Result<(), StoreError> {
        self.trouble.before(Op::Members, &[]).await?;
        LiveSet::touch(&*self.inner, seen).await
    }

    async fn leave(&self, members: Vec<Member>) -> Result<(), StoreError> {
        self.trouble.before(Op::Members, &[]).await?;
        self.inner.leave(members).await
    }

    async fn count(&self, since: Timestamp) -> Result<u64, StoreError> {
        self.inner.count(since).await
    }

    async fn list(
        &self,
        since: Timestamp,
        after: Option<Member>,
        limit: usize,
    ) -> Result<Vec<(Member, Timestamp)>, StoreError> {
        self.inner.list(since, after, limit).await
    }

    async fn evict(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.inner.evict(before, limit).await
    }
}

type Fault = dyn Fn(Op, &[UserId]) -> Result<(), StoreError> + Send + Sync;

/// Holds one operation back until it is opened, then lets a fault see to each that passes.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<Option<Op>>,
    fault: Mutex<Option<Arc<Fault>>>,
}

impl Gate {
    pub(crate) fn close(&self, op: Op) {
        *self.closed.lock().expect("no panic") = Some(op);
    }

    pub(crate) fn open(&self) {
        *self.closed.lock().expect("no panic") = None;
    }

    pub(crate) fn fault(
        &self,
        fault: impl Fn(Op, &[UserId]) -> Result<(), StoreError> + Send + Sync + 'static,
    ) {
        *self.fault.lock().expect("no panic") = Some(Arc::new(fault));
    }

    fn is_closed(&self, op: Op) -> bool {
        *self.closed.lock().expect("no panic") == Some(op)
    }
}

#[async_trait]
impl Trouble for Gate {
    async fn before(&self, op: Op, users: &[UserId]) -> Result<(), StoreError> {
        poll_fn(|cx| {
            if !self.is_closed(op) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let fault = self.fault.lock().expect("no panic").clone();
        fault.map_or(Ok(()), |fault| fault(op, users))
    }
}
