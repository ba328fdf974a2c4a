//! Names of things, parsed once and valid for ever.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::Rejection;

/// Whether `text` may name something: 1 to `limit` characters, no control characters (so no NUL), no white space at
/// either end, and not a path of its own.
pub(crate) fn is_name(text: &str, limit: usize) -> bool {
    // Nearly all names are plain: that is seen without a branch for each byte.
    let is_plain = text.bytes().fold(true, |is_plain, byte| is_plain & byte.is_ascii_graphic());
    if is_plain && !text.starts_with('.') {
        return (1..=limit).contains(&text.len());
    }
    let length_fits = !text.is_empty() && (text.len() <= limit || text.chars().count() <= limit);
    length_fits && !matches!(text, "." | "..") && text.trim() == text && !text.chars().any(char::is_control)
}

/// Whether `text` is an install id: 8 to 64 ASCII letters, digits, `_` or `-`.
pub(crate) fn is_install(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'_') | (byte == b'-');
    // Without a branch for each byte: nearly all fit.
    (8..=64).contains(&text.len()) && text.bytes().fold(true, |all_fit, byte| all_fit & fits(byte))
}

/// Whether `text` is an event name: a letter, then at most 63 letters, digits or `_`, all ASCII.
fn is_event_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A string id: cheap to clone, compared exactly, valid by construction.
macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $rejection:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses `text`.
            ///
            /// # Errors
            ///
            #[doc = concat!("[`", stringify!($rejection), "`] where it does not fit the form.")]
            pub fn new(text: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, Rejection> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text.as_ref()) { Ok(Self(text.into())) } else { Err($rejection) }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // It is hashed, compared and ordered as its text is.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Rejection;

            fn try_from(text: String) -> Result<Self, Rejection> {
                Self::new(text)
            }
        }
    };
}

string_id! {
    /// A user: 1 to 128 characters, no control characters, no white space at either end, not `.` or `..`.
    ///
    /// ```
    /// use presence_core::UserId;
    ///
    /// assert_eq!(UserId::new("alice")?.as_str(), "alice");
    /// assert!(UserId::new(" alice").is_err());
    /// # Ok::<(), presence_core::Rejection>(())
    /// ```
    UserId, |text| is_name(text, 128), Rejection::InvalidUserId
}

string_id! {
    /// One installation of an app: 8 to 64 ASCII letters, digits, `_` or `-`.
    ///
    /// ```
    /// use presence_core::InstallId;
    ///
    /// assert!(InstallId::new("a1b2c3d4").is_ok());
    /// assert_eq!(InstallId::new("short").unwrap_err().code(), "INVALID_INSTALL_ID");
    /// ```
    InstallId, is_install, Rejection::InvalidInstallId
}

string_id! {
    /// A client's name for one request, so that repeating it changes nothing: 1 to 128 characters like [`UserId`],
    /// unique per user.
    ///
    /// ```
    /// use presence_core::EventId;
    ///
    /// assert!(EventId::new("0190b6a0-7e2c-7c0e-9a53-0f6c3f1d2b4a").is_ok());
    /// ```
    EventId, |text| is_name(text, 128), Rejection::InvalidEventId
}

string_id! {
    /// What an event of an app is called: a letter, then at most 63 more letters, digits or `_`, all ASCII.
    ///
    /// ```
    /// use presence_core::EventName;
    ///
    /// assert!(EventName::new("app_session_start").is_ok());
    /// assert_eq!(EventName::new("2fast").unwrap_err().code(), "INVALID_EVENT_NAME");
    /// ```
    EventName, is_event_name, Rejection::InvalidEventName
}

string_id! {
    /// A room: 1 to 128 characters like [`UserId`].
    ///
    /// ```
    /// use presence_core::RoomId;
    ///
    /// assert!(RoomId::new("0190b6a0-7e2c-4c0e-9a53-0f6c3f1d2b4a").is_ok());
    /// assert_eq!(RoomId::new("..").unwrap_err().code(), "INVALID_ROOM_ID");
    /// ```
    RoomId, |text| is_name(text, 128), Rejection::InvalidRoomId
}

/// A stored checkpoint: a positive integer, assigned by the store, increasing, never reused.
///
/// ```
/// use presence_core::CheckpointId;
///
/// assert_eq!(CheckpointId::new(7)?.get(), 7);
/// assert!(CheckpointId::new(0).is_err());
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct CheckpointId(i64);

impl CheckpointId {
    /// The id of this number.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidCheckpointId`] where it is not positive.
    pub const fn new(id: i64) -> Result<Self, Rejection> {
        if id > 0 { Ok(Self(id)) } else { Err(Rejection::InvalidCheckpointId) }
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<CheckpointId> for i64 {
    fn from(id: CheckpointId) -> Self {
        id.0
    }
}

impl TryFrom<i64> for CheckpointId {
    type Error = Rejection;

    fn try_from(id: i64) -> Result<Self, Rejection> {
        Self::new(id)
    }
}

/// Whoever is online: a user, or an install whose user is not known.
///
/// Written `u:{user}` and `i:{install}`, so that a user and an install of the same name stay two.
///
/// ```
/// use presence_core::{InstallId, Member, UserId};
///
/// let user = Member::User(UserId::new("12345678")?);
/// let install = Member::Install(InstallId::new("12345678")?);
/// assert_eq!(user.to_string(), "u:12345678");
/// assert_eq!(install.to_string(), "i:12345678");
/// assert_eq!(Member::parse("u:12345678")?, user);
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// An install whose user is not known.
    Install(InstallId),
    /// A user, on any install.
    User(UserId),
}

impl Member {
    /// Parses what [`Member`]'s `Display` writes.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidUserId`] or [`Rejection::InvalidInstallId`] where it does not fit the form.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        match text.split_once(':') {
            Some(("i", id)) => InstallId::new(id).map(Self::Install),
            Some(("u", id)) => UserId::new(id).map(Self::User),
            _ => Err(Rejection::InvalidUserId),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install(install) => write!(f, "i:{install}"),
            Self::User(user) => write!(f, "u:{user}"),
        }
    }
}
