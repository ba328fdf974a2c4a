//! A trace: joins, messages and leaves, one JSON event a line.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use presence_core::{Envelope, EventId, Rejection, StateType, Timestamp, UserId, Window};
use serde::Deserialize;

/// What happened, in the order of the file.
///
/// ```
/// use presence_server::demo::Trace;
///
/// let text = r#"{"at": "2005-06-27T09:19:00Z", "user": "u0001", "kind": "join"}
/// {"at": "2005-06-27T09:49:00Z", "user": "u0001", "kind": "leave"}"#;
/// let trace = Trace::parse(text)?;
/// assert_eq!(trace.events().len(), 2);
/// assert_eq!(trace.span().length().as_secs(), 1800);
/// # Ok::<(), presence_server::demo::TraceError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trace {
    events: Vec<Event>,
    users: Vec<UserId>,
    span: Window,
}

/// One line of a trace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub user: UserId,
    /// What.
    pub kind: Kind,
    /// Where it stands in the file, from 1.
    pub line: usize,
}

/// What somebody did.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// Came: a checkpoint Online.
    Join,
    /// Said something: a heartbeat.
    Message,
    /// Went: a checkpoint Offline.
    Leave,
}

/// What is wrong with a trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// A line is not an event.
    #[error("line {line}: {cause}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// Why.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no event.
    #[error("the trace has no events")]
    Empty,
    /// Moved, the trace would leave the time that there is.
    #[error("the trace does not fit there")]
    Moved(#[from] Rejection),
}

#[derive(Deserialize)]
struct Line {
    at: String,
    user: String,
    kind: Kind,
}

impl Event {
    fn parse(text: &str, line: usize) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let Line { at, user, kind } = serde_json::from_str(text)?;
        let at = Timestamp::from_datetime(at.parse::<DateTime<Utc>>()?)?;
        Ok(Self { at, user: UserId::new(user)?, kind, line })
    }

    /// The event as a report or a heartbeat that is told about it. Its event id is `line-N`, so that it is applied once.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        let user = self.user.clone();
        let envelope = match self.kind {
            Kind::Join => Envelope::checkpoint(user, StateType::Online),
            Kind::Message => Envelope::heartbeat(user),
            Kind::Leave => Envelope::checkpoint(user, StateType::Offline),
        };
        let envelope = envelope.at(self.at);
        match EventId::new(format!("line-{}", self.line)) {
            Ok(id) => envelope.with_event_id(id),
            Err(_) => envelope, // the text above is always an id
        }
    }
}

impl Trace {
    /// Reads a trace. Empty lines count for nothing; events need not be in order of time.
    ///
    /// # Errors
    ///
    /// [`TraceError`] names the line.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty());
        let events = lines
            .map(|(line, text)| Event::parse(text, line).map_err(|cause| TraceError::Line { line, cause }))
            .collect::<Result<Vec<_>, _>>()?;
        Self::of(events)
    }

    fn of(events: Vec<Event>) -> Result<Self, TraceError> {
        let first = events.iter().map(|event| event.at).min().ok_or(TraceError::Empty)?;
        let last = events.iter().map(|event| event.at).max().ok_or(TraceError::Empty)?;
        let users: BTreeSet<_> = events.iter().map(|event| event.user.clone()).collect();
        Ok(Self { users: users.into_iter().collect(), span: Window::new(first, last)?, events })
    }

    /// The same trace, moved so that its last event is at `end`. Every duration stays as it was.
    ///
    /// # Errors
    ///
    /// [`TraceError::Moved`] where it would begin before 1970.
    pub fn ending_at(self, end: Timestamp) -> Result<Self, TraceError> {
        let last = self.span.to();
        let moved = |event: Event| {
            let before_end = i64::try_from(last.since(event.at).as_millis()).unwrap_or(i64::MAX);
            let at = Timestamp::from_millis(end.as_millis().saturating_sub(before_end))?;
            Ok(Event { at, ..event })
        };
        Self::of(self.events.into_iter().map(moved).collect::<Result<_, TraceError>>()?)
    }

    /// All events, in the order of the file.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Everybody in it, by name.
    #[must_use]
    pub fn users(&self) -> &[UserId] {
        &self.users
    }

    /// From the first event to the last.
    #[must_use]
    pub const fn span(&self) -> Window {
        self.span
    }

    /// What happened in each minute, in the order of the file.
    pub fn minutes(&self) -> impl Iterator<Item = &[Event]> {
        let minute = |event: &Event| event.at.to_datetime().timestamp().div_euclid(60);
        self.events.chunk_by(move |a, b| minute(a) == minute(b))
    }

    /// How long a part of `slices` equal ones is.
    pub(super) fn slices(&self, slices: u32) -> impl Iterator<Item = Window> {
        let (from, length) = (self.span.from(), self.span.length());
        let length = length.checked_div(slices).unwrap_or(Duration::ZERO);
        let edge = move |number: u32| from.saturating_add(length.saturating_mul(number));
        (0..slices).filter_map(move |number| Window::new(edge(number), edge(number.saturating_add(1))).ok())
    }
}
