//! From what was and what arrives to what is written: the rules of the timeline, pure and total.

use std::collections::{BTreeSet, HashMap};

use crate::{
    Ask, Commit, Content, Context, Event, EventId, Fingerprint, NewCheckpoint, Policy, Rejection, Request,
    Row, Session, Source, StateType, Timestamp, UserId,
    tracking::{
        command::{Command, Envelope},
        slice::Slice,
        timeline::{Entry, Origin, Timeline},
    },
};

/// The stamp that counts: see [`Envelope::stamped`].
pub(crate) fn stamp(at: Option<Timestamp>, now: Timestamp, policy: &Policy) -> Result<Timestamp, Rejection> {
    match at {
        Some(at) if at > now.saturating_add(policy.max_future) => Err(Rejection::FutureTimestamp),
        Some(at) if at.as_secs() < now.as_secs() => Ok(at),
        _ => Ok(now),
    }
}

/// An [`Envelope`] whose stamp is settled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stamped {
    envelope: Envelope,
    at: Timestamp,
}

impl Envelope {
    /// Settles the stamp at `now`: no stamp, one in the current second, or one up to
    /// [`max_future`](Policy::max_future) ahead is now.
    ///
    /// # Errors
    ///
    /// [`Rejection::FutureTimestamp`] where the stamp lies further ahead.
    pub fn stamped(self, now: Timestamp, policy: &Policy) -> Result<Stamped, Rejection> {
        // Beats were stamped when they were taken; moved, they would tell of another life.
        let at = match (&self.command, self.at) {
            (Command::Beats { .. }, Some(last)) => last,
            _ => stamp(self.at, now, policy)?,
        };
        Ok(Stamped { envelope: self, at })
    }

    /// What identifies the body, so that an event id is not used for two.
    fn fingerprint(&self) -> Option<Fingerprint> {
        let Command::Checkpoint { state, content } = &self.command else { return None };
        let content = content.as_ref().map_or("", |content| content.as_str());
        let at = self.at.map_or([0xff; 8], |at| at.as_millis().to_be_bytes());
        Some(Fingerprint::of(&[state.as_str().as_bytes(), content.as_bytes(), &at]))
    }
}

impl Stamped {
    /// Whose envelope it is.
    #[must_use]
    pub const fn user(&self) -> &UserId {
        &self.envelope.user
    }

    const fn first(&self) -> Timestamp {
        match self.envelope.command {
            Command::Beats { first, .. } => first,
            _ => self.at,
        }
    }

    const fn content(&self) -> Option<&Content> {
        match &self.envelope.command {
            Command::Checkpoint { content, .. } => content.as_ref(),
            _ => None,
        }
    }
}

impl Ask {
    /// What a decision about these envelopes of one user needs; `None` where there are none.
    #[must_use]
    pub fn about(envelopes: &[Stamped]) -> Option<Self> {
        let first = envelopes.iter().map(Stamped::first).min()?;
        let last = envelopes.iter().map(|stamped| stamped.at).max()?;
        let event_ids: BTreeSet<_> =
            envelopes.iter().filter_map(|stamped| stamped.envelope.event_id.clone()).collect();
        let event_ids = event_ids.into_iter().collect();
        Some(Self { user: envelopes.first()?.user().clone(), first, last, event_ids })
    }
}

/// What follows from some envelopes of one user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// What to write; `None` where nothing changes.
    pub commit: Option<Commit>,
    /// One answer per envelope, in order.
    pub answers: Vec<Result<Answer, Rejection>>,
}

/// What an accepted envelope did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The report is this row.
    Created(Row),
    /// The report was redundant, or repeated a request that was: this row was in force.
    InForce(Row),
    /// The heartbeat was taken.
    Alive,
}

/// Decides about `envelopes` of one user, in order of arrival, on top of `context`.
///
/// The rows of the context are turned into what they remember, the envelopes are added to it, and the fold over both
/// is compared with the rows: the commit is the difference.
#[must_use]
pub fn decide(context: &Context, envelopes: &[Stamped], policy: &Policy, now: Timestamp) -> Decision {
    let Some(ask) = Ask::about(envelopes) else { return Decision { commit: None, answers: Vec::new() } };
    let slice = Slice::new(context, &ask);
    let mut timeline = Timeline::new(&context.rows, slice.open_session(), policy.heartbeat_timeout);
    let mut taken = Taken::new(context);
    let numbered = envelopes.iter().enumerate();
    let replies: Vec<_> =
        numbered.map(|(number, stamped)| taken.apply(number, stamped, context, &mut timeline)).collect();
    // Who was silent stays so in one step, where the new last sign is as old as that: no flapping.
    if slice.ends_in_silence() {
        timeline.settle(policy.cutoff(now));
    }
    let entries = timeline.fold();

    let mut insert = Vec::new();
    let mut places = vec![0; envelopes.len()];
    for Entry { at, state, source, proof_at, origin } in &entries {
        let content = match origin {
            Some(Origin::Stored(_)) => continue,
            Some(Origin::Arrived(number)) => {
                places[*number] = insert.len();
                envelopes[*number].content()
            }
            None => None,
        };
        let (state, content) = ((*state).clone(), content.cloned());
        insert.push(NewCheckpoint { state, at: *at, content, source: *source, proof_at: *proof_at });
    }
    let answers = replies.into_iter().map(|reply| reply.map(|reply| reply.resolve(&places))).collect();
    let requests: Vec<_> =
        taken.requests.into_iter().map(|(request, row)| (request, resolve(row, &places))).collect();
    let withdrawn = slice.withdrawn(&entries);
    let before = context.session.as_ref();
    let session = slice.session_after(&entries, taken.last_sign).filter(|session| {
        // To know life for longer than before is no change.
        let same = before.map(|before| Session { live_since: session.live_since, ..before.clone() });
        same.as_ref() != Some(session) || !(insert.is_empty() && withdrawn.is_empty() && requests.is_empty())
    });
    let commit = session.map(|session| Commit {
        expected: before.map(|session| session.version),
        erased_at: context.erased_at,
        totals: slice.totals(&entries, &session),
        changed: slice.changed(&entries, &session),
        events: slice.events(&entries, &session, &withdrawn),
        withdraw: withdrawn.iter().map(|row| row.id).collect(),
        session,
        insert,
        requests,
        decided_at: now,
    });
    Decision { commit, answers }
}

/// Concludes the silence of a session: Offline, one timeout after the last sign of life. `None` where the user is
/// Offline already, or still alive at `now`.
#[must_use]
pub fn expire(session: &Session, policy: &Policy, now: Timestamp) -> Option<Commit> {
    let at = policy.lapse(session, now)?;
    let after = Session { current_state: StateType::Offline, last_state_change: at, ..session.clone() };
    let row = NewCheckpoint {
        state: StateType::Offline,
        at,
        content: None,
        source: Source::Timeout,
        proof_at: Some(session.last_heartbeat),
    };
    Some(Commit {
        expected: Some(session.version),
        erased_at: None,
        totals: vec![(session.current_state.clone(), at.millis_since(session.last_state_change))],
        changed: None,
        events: vec![Event::StateChanged {
            user: session.user.clone(),
            before: Some(session.current_state.clone()),
            after: StateType::Offline,
            at,
            source: Source::Timeout,
            version: session.version,
        }],
        session: after,
        withdraw: Vec::new(),
        insert: vec![row],
        requests: Vec::new(),
        decided_at: now,
    })
}

/// Which row answers, while rows are not yet in their places.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Created(Origin),
    InForce(Origin),
    Alive,
}

/// What the envelopes so far amount to, beside the timeline.
struct Taken {
    last_sign: Option<Timestamp>,
    /// The requests to remember.
    requests: Vec<(Request, Origin)>,
    /// All requests that were answered, now or earlier.
    answered: HashMap<EventId, (Fingerprint, Reply)>,
}

impl Taken {
    fn new(context: &Context) -> Self {
        let answered = context.requests.iter().map(|(request, row)| {
            let row = Origin::Stored(row.id);
            let reply = if request.created { Reply::Created(row) } else { Reply::InForce(row) };
            (request.event_id.clone(), (request.fingerprint, reply))
        });
        Self { last_sign: None, requests: Vec::new(), answered: answered.collect() }
    }

    fn apply(
        &mut self,
        number: usize,
        Stamped { envelope, at }: &Stamped,
        context: &Context,
        timeline: &mut Timeline,
    ) -> Result<Reply, Rejection> {
        let at = *at;
        if context.erased_at.is_some_and(|erased_at| at <= erased_at) {
            return Err(Rejection::UserErased);
        }
        let request = envelope.event_id.clone().zip(envelope.fingerprint());
        if let Some((event_id, fingerprint)) = &request
            && let Some((known, reply)) = self.answered.get(event_id)
        {
            return if known == fingerprint { Ok(*reply) } else { Err(Rejection::EventIdReused) };
        }
        let (reply, is_sign) = match &envelope.command {
            Command::Checkpoint { state, .. } => {
                let reply = match timeline.report(at, state, number) {
                    Some(row) => Reply::InForce(row),
                    None => Reply::Created(Origin::Arrived(number)),
                };
                (reply, state.is_live())
            }
            Command::Heartbeat { state } => {
                timeline.sign(at, state.clone());
                (Reply::Alive, true)
            }
            // What came before the erasure is gone; of the rest only the last is known.
            Command::Beats { first, last_state, .. }
                if context.erased_at.is_some_and(|erased_at| *first <= erased_at) =>
            {
                timeline.sign(at, last_state.clone());
                (Reply::Alive, true)
            }
            Command::Beats { first, state, last_state } => {
                timeline.life((*first, state.clone()), (at, last_state.clone()));
                (Reply::Alive, true)
            }
        };
        if is_sign {
            self.last_sign = self.last_sign.max(Some(at));
        }
        if let (Some((event_id, fingerprint)), Reply::Created(row) | Reply::InForce(row)) = (request, reply) {
            let created = matches!(reply, Reply::Created(_));
            self.answered.insert(event_id.clone(), (fingerprint, reply));
            self.requests.push((Request { event_id, fingerprint, created }, row));
        }
        Ok(reply)
    }
}

impl Reply {
    fn resolve(self, places: &[usize]) -> Answer {
        match self {
            Self::Created(row) => Answer::Created(resolve(row, places)),
            Self::InForce(row) => Answer::InForce(resolve(row, places)),
            Self::Alive => Answer::Alive,
        }
    }
}

/// The row of an origin, once each envelope's place among the inserted rows is known.
fn resolve(row: Origin, places: &[usize]) -> Row {
    match row {
        Origin::Stored(id) => Row::Stored(id),
        Origin::Arrived(number) => Row::Inserted(places.get(number).copied().unwrap_or_default()),
    }
}
