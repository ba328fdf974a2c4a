//! Which events leave.

use std::{collections::BTreeSet, fmt, str::FromStr};

use presence_core::EventKind;

/// Kinds of [events](presence_core::Event), by the names that their `kind` has. Default: all, also those that are to
/// come, but for those that come [on request](EventKind::ON_REQUEST).
///
/// ```
/// use presence_core::EventKind;
/// use presence_server::config::EventKinds;
///
/// let kinds: EventKinds = "user_joined,user_left".parse()?;
/// assert!(kinds.contains(EventKind::UserLeft) && !kinds.contains(EventKind::StateChanged));
/// assert!(EventKinds::default().contains(EventKind::StateChanged));
/// assert!(!EventKinds::default().contains(EventKind::Heartbeat));
/// assert!("left".parse::<EventKinds>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EventKinds(Option<BTreeSet<EventKind>>);

impl EventKinds {
    /// Whether events of this kind are among them.
    #[must_use]
    pub fn contains(&self, kind: EventKind) -> bool {
        match &self.0 {
            Some(kinds) => kinds.contains(&kind),
            None => !EventKind::ON_REQUEST.contains(&kind),
        }
    }

    /// All of them that there are.
    pub fn iter(&self) -> impl Iterator<Item = EventKind> + '_ {
        EventKind::ALL.into_iter().filter(|kind| self.contains(*kind))
    }
}

impl FromStr for EventKinds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = text.split(',').map(EventKind::named).collect();
        let names = || EventKind::ALL.map(EventKind::name).join(", ");
        let refused = || format!("must be kinds of events with commas between them, out of {}", names());
        Option::map(kinds, |kinds| Self(Some(kinds))).ok_or_else(refused)
    }
}

/// As it is written, in the order in which the kinds are listed; empty for the default.
impl fmt::Display for EventKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in self.0.iter().flatten().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{kind}")?;
        }
        Ok(())
    }
}
