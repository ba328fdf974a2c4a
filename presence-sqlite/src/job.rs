//! What tasks ask of the writer's thread.

use futures_channel::oneshot;
use presence_core::StoreError;

use crate::{error::Fault, writer::Writer};

/// What the writer's thread is asked to do.
pub(crate) enum Job {
    Read(Box<dyn FnOnce(&Writer) + Send>),
    Write(Box<dyn Write>),
}

/// A piece of work in a transaction.
pub(crate) trait Write: Send {
    /// How many rows it writes, about.
    fn weight(&self) -> usize;
    /// What else its answer waits for.
    fn after(&self) -> After;
    /// Does the work, and keeps its answer. It may run again after the transaction was taken back.
    fn run(&mut self, writer: &mut Writer) -> Result<(), Fault>;
    /// Gives the answer.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// What happens after the transaction, before the answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum After {
    Nothing,
    /// Moves the log into the file and empties it, so that it keeps no copy of what was deleted.
    Checkpoint,
    /// Rewrites the file, so that no page keeps one either.
    Vacuum,
}

/// A [`Write`] made of a closure.
struct Pending<T, F> {
    weight: usize,
    after: After,
    work: F,
    done: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

/// Makes a piece of work of a closure, and the promise of its answer.
pub(crate) fn pending<T: Send + 'static>(
    weight: usize,
    after: After,
    work: impl FnMut(&mut Writer) -> Result<T, Fault> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, StoreError>>) {
    let (answer, promise) = oneshot::channel();
    (Job::Write(Box::new(Pending { weight, after, work, done: None, answer })), promise)
}

impl<T: Send, F: FnMut(&mut Writer) -> Result<T, Fault> + Send> Write for Pending<T, F> {
    fn weight(&self) -> usize {
        self.weight
    }

    fn after(&self) -> After {
        self.after
    }

    fn run(&mut self, writer: &mut Writer) -> Result<(), Fault> {
        self.done = Some((self.work)(writer)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let done = self.done.ok_or_else(|| StoreError::backend("the work was not done"));
        // Nobody may be waiting any more; what was committed stays.
        let _ = self.answer.send(committed.and(done));
    }
}
