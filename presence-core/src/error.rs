//! What can go wrong, and what happened to the state.

use std::{error::Error as StdError, sync::Arc};

/// A request that was refused. Nothing was written.
///
/// ```
/// use presence_core::UserId;
///
/// let refusal = UserId::new("").unwrap_err();
/// assert_eq!(refusal.code(), "INVALID_USER_ID");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// A user id that is empty, too long or has forbidden characters.
    #[error(
        "a user id is 1 to 128 characters, without control characters or white space at either end, and not '.' or '..'"
    )]
    InvalidUserId,
    /// An install id that does not fit its form.
    #[error("an install id is 8 to 64 characters out of ASCII letters, digits, '_' and '-'")]
    InvalidInstallId,
    /// An event id that is empty, too long or has forbidden characters.
    #[error(
        "an event id is 1 to 128 characters, without control characters or white space at either end, and not '.' or '..'"
    )]
    InvalidEventId,
    /// A checkpoint id that is not positive.
    #[error("a checkpoint id is a positive integer")]
    InvalidCheckpointId,
    /// An event name that does not fit its form.
    #[error("an event name is a letter and up to 63 more out of ASCII letters, digits and '_'")]
    InvalidEventName,
    /// Event properties that are not a JSON object, or pass a limit; the text says which.
    #[error("event properties {0}")]
    InvalidEventProperties(&'static str),
    /// A room id that is empty, too long or has forbidden characters.
    #[error(
        "a room id is 1 to 128 characters, without control characters or white space at either end, and not '.' or '..'"
    )]
    InvalidRoomId,
    /// A room name that is empty, too long or has forbidden characters.
    #[error(
        "a room name is 1 to 128 characters, without control characters or white space at either end, and not '.' or '..'"
    )]
    InvalidRoomName,
    /// A nickname that is empty, too long or has forbidden characters.
    #[error("a nickname is 1 to 64 characters, without control characters")]
    InvalidNickname,
    /// A message of a room that is empty, too long or has a NUL character.
    #[error("a message is 1 byte to 64 KiB, without NUL characters")]
    InvalidMessage,
    /// More administrators than a room may have.
    #[error("a room has at most 1000 administrators")]
    TooManyAdmins,
    /// The id of a room that there is, or was.
    #[error("this room id is taken")]
    RoomExists,
    /// A page number or a page size that is not one.
    #[error("pages count from 1, and hold at least 1 item")]
    InvalidPage,
    /// A state that is empty, too long or has forbidden characters.
    #[error(
        "a state is 1 to 64 characters, without control characters or white space at either end, and not '.' or '..'"
    )]
    InvalidState,
    /// Content that is not JSON, or passes a limit; the text says which.
    #[error("content {0}")]
    InvalidContent(&'static str),
    /// An instant before 1970 or after 9999.
    #[error("a timestamp lies between 1970-01-01 and 9999-12-31")]
    InvalidTimestamp,
    /// An instant further ahead of the server's clock than the policy allows.
    #[error("the timestamp lies too far in the future")]
    FutureTimestamp,
    /// A window that ends before it begins.
    #[error("a window ends at or after its beginning")]
    InvalidWindow,
    /// A time window that is not a whole number of seconds from 1 to 86,400.
    #[error("a time window is 1 to 86400 seconds")]
    InvalidTimeWindow,
    /// An interval that history is not kept in.
    #[error("an interval is one of 1m, 5m, 15m, 30m and 1h")]
    InvalidInterval,
    /// More points than one answer holds.
    #[error("at most 10000 points can be asked for at once")]
    TooManyPoints,
    /// A day outside the years 1 to 9999.
    #[error("a day lies in the years 1 to 9999")]
    InvalidDay,
    /// A day whose events are no longer kept, so that it cannot be counted again.
    #[error("the events of these days are no longer kept")]
    EventsRetired,
    /// A zone that the bundled database does not have.
    #[error("unknown time zone")]
    InvalidTimeZone,
    /// More local days than one request may ask for.
    #[error("at most 366 days can be asked for at once")]
    TooManyDays,
    /// A page size of zero or above the maximum.
    #[error("a page holds 1 to 1000 items")]
    InvalidLimit,
    /// A cursor that this library did not make.
    #[error("the cursor is not one of ours")]
    InvalidCursor,
    /// An event id that was used before, with another body.
    #[error("this event id was used with another body")]
    EventIdReused,
    /// A stamp at or before the moment at which the user was erased.
    #[error("this user was erased at or after the timestamp")]
    UserErased,
}

impl Rejection {
    /// The stable code of this refusal, in SCREAMING_SNAKE.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidUserId => "INVALID_USER_ID",
            Self::InvalidInstallId => "INVALID_INSTALL_ID",
            Self::InvalidEventId => "INVALID_EVENT_ID",
            Self::InvalidCheckpointId => "INVALID_CHECKPOINT_ID",
            Self::InvalidEventName => "INVALID_EVENT_NAME",
            Self::InvalidEventProperties(_) => "INVALID_EVENT_PROPERTIES",
            Self::InvalidRoomId => "INVALID_ROOM_ID",
            Self::InvalidRoomName => "INVALID_ROOM_NAME",
            Self::InvalidNickname => "INVALID_NICKNAME",
            Self::InvalidMessage => "INVALID_MESSAGE",
            Self::TooManyAdmins => "TOO_MANY_ADMINS",
            Self::RoomExists => "ROOM_EXISTS",
            Self::InvalidPage => "INVALID_PAGE",
            Self::InvalidState => "INVALID_STATE",
            Self::InvalidContent(_) => "INVALID_CONTENT",
            Self::InvalidTimestamp => "INVALID_TIMESTAMP",
            Self::FutureTimestamp => "FUTURE_TIMESTAMP",
            Self::InvalidWindow => "INVALID_WINDOW",
            Self::InvalidTimeWindow => "INVALID_TIME_WINDOW",
            Self::InvalidInterval => "INVALID_INTERVAL",
            Self::TooManyPoints => "TOO_MANY_POINTS",
            Self::InvalidDay => "INVALID_DAY",
            Self::EventsRetired => "EVENTS_RETIRED",
            Self::InvalidTimeZone => "INVALID_TIME_ZONE",
            Self::TooManyDays => "TOO_MANY_DAYS",
            Self::InvalidLimit => "INVALID_LIMIT",
            Self::InvalidCursor => "INVALID_CURSOR",
            Self::EventIdReused => "EVENT_ID_REUSED",
            Self::UserErased => "USER_ERASED",
        }
    }
}

/// The cause behind a [`StoreError`]; shared, because one failed commit is answered to every caller of its group.
type Cause = Arc<dyn StdError + Send + Sync>;

/// A store that did not do what was asked.
///
/// ```
/// use presence_core::StoreError;
///
/// let error = StoreError::unavailable(std::io::Error::other("disk full"));
/// assert!(error.is_retryable());
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached or cannot write now. Whether the last write took effect is unknown; repeating it
    /// under the same event id is safe.
    #[error("the store is not available")]
    Unavailable(#[source] Cause),
    /// A stored value does not parse, or two facts contradict each other. Nothing was written.
    #[error("stored data is corrupt")]
    Corrupt(#[source] Cause),
    /// Any other failure of the store. Nothing was written.
    #[error("the store failed")]
    Backend(#[source] Cause),
}

impl StoreError {
    /// The store cannot be reached or cannot write now.
    pub fn unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into().into())
    }

    /// A stored value does not parse, or two facts contradict each other.
    pub fn corrupt(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Corrupt(cause.into().into())
    }

    /// Any other failure of the store.
    pub fn backend(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Backend(cause.into().into())
    }

    /// Whether the same request may succeed later without anybody repairing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why a service did not answer.
///
/// ```
/// # use std::sync::Arc;
/// # use presence_core::{Envelope, Error, ManualClock, MemoryStore, StateType, Timestamp, Tracker, UserId};
/// # futures_executor::block_on(async {
/// # let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1000)?));
/// # let tracker = Tracker::new(Arc::new(MemoryStore::new()), clock.clone());
/// # let alice = UserId::new("alice")?;
/// let far_ahead = Envelope::heartbeat(alice).at(Timestamp::from_secs(2000)?);
/// match tracker.record(far_ahead).await {
///     Err(Error::Rejected(rejection)) => assert_eq!(rejection.code(), "FUTURE_TIMESTAMP"),
///     Err(Error::Store(error)) if error.is_retryable() => println!("later"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request was refused; nothing was written.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The store failed; see [`StoreError`] for what happened to the state.
    #[error(transparent)]
    Store(#[from] StoreError),
}
