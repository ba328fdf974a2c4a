//! Where events wait until their sinks have them.

use async_trait::async_trait;

use crate::{DeadLetter, Letter, SinkBooks, SinkName, StoreError, Subscriptions, Timestamp};

/// A relay that wants to deliver to a sink.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Which sink.
    pub sink: SinkName,
    /// The name of the node that delivers. A claim by the same name is free to it: that was an earlier process.
    pub node: String,
    /// When it asks.
    pub now: Timestamp,
    /// The first instant at which others may have the sink.
    pub until: Timestamp,
    /// How many letters it takes at most; with none, it only keeps the sink.
    pub limit: usize,
    /// Which letters it takes.
    pub which: Which,
}

/// Which letters a claim takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Which {
    /// The oldest.
    Oldest,
    /// The oldest with a higher number.
    After(i64),
    /// What lies in these spans, span after span.
    Within(Vec<KeySpan>),
}

/// Letters that lie side by side where all of a sink are put in order of their [keys](crate::Event::key), and those of
/// one key in order of their numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeySpan {
    /// The first key of which there may be letters.
    pub from: String,
    /// The key before which it ends.
    pub before: String,
    /// How many letters at most.
    pub limit: usize,
}

impl Claim {
    /// Whether a claim of the same node that ends at `claimed_until` is as good: it lasts for more than half as long. So
    /// asking often writes seldom.
    #[must_use]
    pub fn is_held_by(&self, node: &str, claimed_until: Timestamp) -> bool {
        let enough = self.until.since(self.now).div_f64(2.0);
        node == self.node && self.until > self.now && claimed_until.since(self.now) > enough
    }
}

/// Keeps events for sinks, in the commit that made them, until they are acknowledged.
///
/// [`CheckpointStore::commit`](crate::CheckpointStore::commit), [`RoomStore`](crate::RoomStore) and
/// [`ActivityStore::save`](crate::ActivityStore::save) put in what they are given as events,
/// [`ActivityStore::append`](crate::ActivityStore::append) what is [told](crate::NewEvent::told) of client events, and
/// [`LiveSet::touch`](crate::LiveSet::touch) what is [told](crate::Seen::told) of members; this takes it out.
///
/// Calls on one store may run at the same time, from several processes where the store is shared.
///
/// # Contract
///
/// - `an_event_is_kept_with_the_commit_that_made_it`: also those of rooms and of figures.
/// - `what_is_not_written_tells_nothing`: a commit that conflicts, a room that exists, a batch that is fenced, figures
///   that are not saved.
/// - `a_batch_that_is_repeated_tells_its_events_once`: it is known by its number.
/// - `a_client_event_is_told_when_it_is_stored`: not one that was stored before, or is refused.
/// - `a_member_is_told_when_it_is_seen_later`: not where the member stays as it was, or an install is bound.
/// - `an_erasure_takes_events_along`: nothing is left of the user in what waits or lies dead; events that only mention
///   the user stay without it.
/// - `events_up_to_an_erasure_are_left_out`: of a batch, what is about an erased user and stamped at or before the
///   erasure.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// From now on keeps what these sinks want, and nothing else. At first nobody wants anything.
    ///
    /// # Contract
    ///
    /// - `only_what_a_sink_wants_is_kept`.
    fn subscribe(&self, subscriptions: Subscriptions);

    /// Gives a sink to a node for a while, with some of its letters; `None` where another node has it. A claim has to be
    /// renewed while its letters are delivered: claiming again does, and gives the same letters again. Where the node has
    /// the sink for more than half as long as it asks for, the end of its claim may be left as it is.
    ///
    /// # Contract
    ///
    /// - `letters_come_in_order_until_they_are_acknowledged`: those of one key as they happened; a number is never used
    ///   again.
    /// - `each_sink_goes_at_its_own_pace`.
    /// - `letters_come_after_a_number`.
    /// - `letters_come_from_spans_of_keys`.
    /// - `what_is_held_for_a_key_hides_no_other`; what lies beside the spans is not read, however much it is.
    /// - `a_sink_belongs_to_one_node_until_its_claim_ends`; an end that is past gives it up.
    /// - `every_kind_comes_back_as_it_was`.
    ///
    /// # Errors
    ///
    /// The store failed; it is unknown who has the sink. Claiming again is safe.
    async fn claim(&self, claim: Claim) -> Result<Option<Vec<Letter>>, StoreError>;

    /// The sink has these letters; they are removed and counted. Numbers that are not there are passed over.
    ///
    /// # Contract
    ///
    /// - `an_acknowledged_letter_does_not_come_again`, whoever acknowledges it.
    ///
    /// # Errors
    ///
    /// The store failed: none is removed, or where the error is [`StoreError::Unavailable`], it is unknown. Then they
    /// come again, which the sink has to expect.
    async fn ack(&self, sink: &SinkName, numbers: Vec<i64>) -> Result<(), StoreError>;

    /// [`ack`](Self::ack) and then [`claim`](Self::claim), of one sink: in one go where the store can.
    ///
    /// # Contract
    ///
    /// - `what_is_acknowledged_is_not_claimed_with_it`; it is acknowledged where another node has the sink, too.
    ///
    /// # Errors
    ///
    /// As both: it is unknown what was done. Doing it again is safe.
    async fn ack_and_claim(
        &self,
        numbers: Vec<i64>,
        claim: Claim,
    ) -> Result<Option<Vec<Letter>>, StoreError> {
        self.ack(&claim.sink, numbers).await?;
        self.claim(claim).await
    }

    /// The sink refuses these letters for good; each is kept as a dead letter with the reason.
    ///
    /// # Contract
    ///
    /// - `a_refused_letter_lies_dead_until_it_is_sent_again`.
    ///
    /// # Errors
    ///
    /// As [`Outbox::ack`].
    async fn nack(
        &self,
        sink: &SinkName,
        refused: Vec<(i64, String)>,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Sends dead letters again, under their numbers, and says how many there were: those of these numbers, or all. They
    /// count as kept when they were refused.
    ///
    /// # Contract
    ///
    /// - `a_refused_letter_lies_dead_until_it_is_sent_again`.
    ///
    /// # Errors
    ///
    /// The store failed; some may be on their way. Sending again is safe.
    async fn requeue(&self, sink: &SinkName, numbers: Option<Vec<i64>>) -> Result<u64, StoreError>;

    /// Removes at most `limit` letters that were kept, or refused, before `before`, and says how many there were. They
    /// are counted.
    ///
    /// # Contract
    ///
    /// - `what_is_too_old_expires_and_is_counted`.
    ///
    /// # Errors
    ///
    /// The store failed; some may be removed. Expiring again is safe.
    async fn expire(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError>;
}

/// Answers questions about what waits and what became of it.
#[async_trait]
pub trait OutboxQuery: Send + Sync {
    /// The books of every sink that something was ever kept for, or that was claimed, by name.
    ///
    /// # Contract
    ///
    /// - `the_books_balance`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn books(&self) -> Result<Vec<SinkBooks>, StoreError>;

    /// At most `limit` dead letters of a sink after the one of number `after`, in order.
    ///
    /// # Contract
    ///
    /// - `dead_letters_page_in_order_without_gaps`.
    ///
    /// # Errors
    ///
    /// The store failed.
    async fn dead_letters(
        &self,
        sink: &SinkName,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;
}
