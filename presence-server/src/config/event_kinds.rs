//! Which events leave.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// The kinds that there are, as an event's `kind` has them.
const KINDS: [&str; 6] =
    ["state_changed", "timeline_corrected", "room_created", "room_closed", "user_joined", "user_left"];

/// Kinds of [events](presence_core::Event), by the names that their `kind` has. Default: all, also those that are to
/// come.
///
/// ```
/// use presence_server::config::EventKinds;
///
/// let kinds: EventKinds = "user_joined,user_left".parse()?;
/// assert!(kinds.contains("user_left") && !kinds.contains("state_changed"));
/// assert!(EventKinds::default().contains("state_changed"));
/// assert!("left".parse::<EventKinds>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EventKinds(Option<BTreeSet<&'static str>>);

impl EventKinds {
    /// Whether events of this kind are among them.
    #[must_use]
    pub fn contains(&self, kind: &str) -> bool {
        self.0.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }
}

impl FromStr for EventKinds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = text.split(',').map(|name| KINDS.into_iter().find(|kind| *kind == name)).collect();
        let refused =
            || format!("must be kinds of events with commas between them, out of {}", KINDS.join(", "));
        Option::map(kinds, |kinds| Self(Some(kinds))).ok_or_else(refused)
    }
}

/// As it is written, in the order of the alphabet; empty for all.
impl fmt::Display for EventKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in self.0.iter().flatten().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{kind}")?;
        }
        Ok(())
    }
}
