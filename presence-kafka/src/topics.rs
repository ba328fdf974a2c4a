//! What the topics are called, and what goes where.

use std::{fmt, str::FromStr};

use presence_core::EventKind;

/// The longest prefix: Kafka takes names of 249 characters.
const LONGEST: usize = 200;

/// The names of all topics, which begin alike. Default: `presence`.
///
/// | topic | | what |
/// | --- | --- | --- |
/// | `presence.events` | out | everything that is in neither of the next two |
/// | `presence.dau` | out | the figures of days |
/// | `presence.heartbeat` | out | who was seen since the last flush; only when asked for |
/// | `presence.in.events` | in | what apps report |
/// | `presence.in.heartbeats` | in | signs of life |
/// | `presence.in.dead` | out | what came in and was refused, with the reason |
///
/// ```
/// use presence_core::EventKind;
/// use presence_kafka::Topics;
///
/// let topics: Topics = "staging.presence".parse()?;
/// assert_eq!(topics.of(EventKind::DauCalculated), "staging.presence.dau");
/// assert!("what ever".parse::<Topics>().is_err());
/// # Ok::<(), presence_kafka::BadPrefix>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Topics {
    prefix: String,
    events: String,
    dau: String,
    heartbeat: String,
    events_in: String,
    heartbeats_in: String,
    dead: String,
}

/// Why a text is no beginning of names of topics.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[error("must be 1 to 200 letters, digits, '.', '_' and '-'")]
pub struct BadPrefix;

impl Topics {
    /// The topic that events of this kind go to.
    #[must_use]
    pub fn of(&self, kind: EventKind) -> &str {
        match kind {
            EventKind::DauCalculated => &self.dau,
            EventKind::Heartbeat => &self.heartbeat,
            _ => &self.events,
        }
    }

    /// The topic that client events come from.
    #[must_use]
    pub fn events_in(&self) -> &str {
        &self.events_in
    }

    /// The topic that heartbeats come from.
    #[must_use]
    pub fn heartbeats_in(&self) -> &str {
        &self.heartbeats_in
    }

    /// The topic that what was refused goes to.
    #[must_use]
    pub fn dead(&self) -> &str {
        &self.dead
    }
}

impl Default for Topics {
    fn default() -> Self {
        Self::beginning("presence")
    }
}

impl Topics {
    fn beginning(prefix: &str) -> Self {
        let named = |name| format!("{prefix}.{name}");
        Self {
            prefix: prefix.to_owned(),
            events: named("events"),
            dau: named("dau"),
            heartbeat: named("heartbeat"),
            events_in: named("in.events"),
            heartbeats_in: named("in.heartbeats"),
            dead: named("in.dead"),
        }
    }
}

impl FromStr for Topics {
    type Err = BadPrefix;

    fn from_str(prefix: &str) -> Result<Self, BadPrefix> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=LONGEST).contains(&prefix.len()) && prefix.bytes().all(is_fit);
        if fits { Ok(Self::beginning(prefix)) } else { Err(BadPrefix) }
    }
}

/// The prefix.
impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_topic() {
        let topics = Topics::default();
        for kind in EventKind::ALL {
            let expected = match kind {
                EventKind::DauCalculated => "presence.dau",
                EventKind::Heartbeat => "presence.heartbeat",
                _ => "presence.events",
            };
            assert_eq!(topics.of(kind), expected);
        }
        let written = [topics.events_in(), topics.heartbeats_in(), topics.dead()];
        assert_eq!(written, ["presence.in.events", "presence.in.heartbeats", "presence.in.dead"]);
    }

    #[test]
    fn a_prefix_is_plain() {
        for good in ["a", "presence", "a.b_C-9", &"x".repeat(200)] {
            assert_eq!(good.parse::<Topics>().map(|topics| topics.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "a/b", "a:b", "ä", "a\n", "a,b", &"x".repeat(201)] {
            assert_eq!(bad.parse::<Topics>(), Err(BadPrefix), "{bad:?}");
        }
    }
}
