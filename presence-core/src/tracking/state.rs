//! What a user is doing.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Rejection, id::is_name};

/// A state: one of five built-in ones, or any other name of 1 to 64 characters. A plain string on every wire.
///
/// Names are compared exactly: `offline` is a custom state, not [`StateType::Offline`].
///
/// ```
/// use presence_core::StateType;
///
/// assert_eq!(StateType::new("Working")?, StateType::Working);
/// assert_eq!(StateType::new("Gaming")?.as_str(), "Gaming");
/// assert!(StateType::new("").is_err());
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum StateType {
    /// Here, doing nothing in particular.
    Online,
    /// Not here: said so, or silent for longer than the timeout. Never a sign of life.
    Offline,
    /// Here, but away from the keys.
    Idle,
    /// At work.
    Working,
    /// Asleep.
    Sleeping,
    /// Any other state; made by [`StateType::new`], which keeps the built-in names out of it.
    Custom(CustomState),
}

/// The name of a state that is not built in.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CustomState(Arc<str>);

impl StateType {
    /// The state of this name.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidState`] where it is empty, longer than 64 characters, or has control characters or white
    /// space at an end.
    pub fn new(name: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, Rejection> {
        Ok(match name.as_ref() {
            "Online" => Self::Online,
            "Offline" => Self::Offline,
            "Idle" => Self::Idle,
            "Working" => Self::Working,
            "Sleeping" => Self::Sleeping,
            other if is_name(other, 64) => Self::Custom(CustomState(name.into())),
            _ => return Err(Rejection::InvalidState),
        })
    }

    /// The name of the state.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Online => "Online",
            Self::Offline => "Offline",
            Self::Idle => "Idle",
            Self::Working => "Working",
            Self::Sleeping => "Sleeping",
            Self::Custom(name) => &name.0,
        }
    }

    /// Whether a report of this state is a sign of life: every one but [`StateType::Offline`].
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self, Self::Offline)
    }
}

impl fmt::Display for StateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By name, so that lists of states are in the order people expect.
impl Ord for StateType {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for StateType {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl From<StateType> for String {
    fn from(state: StateType) -> Self {
        state.as_str().to_owned()
    }
}

impl TryFrom<String> for StateType {
    type Error = Rejection;

    fn try_from(name: String) -> Result<Self, Rejection> {
        Self::new(name)
    }
}
