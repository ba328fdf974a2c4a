//! The fact that is kept of a day: somebody was here, and where.

use std::{fmt, sync::Arc};

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{EventId, InstallId, Timestamp, UserId, id::is_name};

/// The name of a province or a city: 1 to 64 characters without control characters.
///
/// ```
/// use presence_core::RegionName;
///
/// assert_eq!(RegionName::parse(" Hunan ").map(|name| name.to_string()), Some("Hunan".to_owned()));
/// assert_eq!(RegionName::parse("  "), None);
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct RegionName(Arc<str>);

impl RegionName {
    /// The name in `text`, without the white space around it; `None` where there is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.trim();
        // A dot names a path, and no place.
        is_name(name, 64).then(|| Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RegionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("a region is 1 to 64 characters"))
    }
}

/// Which of two events of one instant counts as the later one: the one with the higher event id.
///
/// A number that sorts like the id it is made of: all of a UUID, in which newer ones are higher where they carry their
/// time, or the first 16 bytes of any other id. 16 bytes fit into a row and a register, an id does not. Two longer ids
/// that begin alike have one rank: between them the name decides.
///
/// ```
/// use presence_core::{EventId, EventRank};
///
/// let rank = |id: &str| EventId::new(id).map(|id| EventRank::of(&id));
/// assert!(rank("click-8")? < rank("click-9")?);
/// assert!(rank("0190b6a0-7e2c-7c0e-9a53-0f6c3f1d2b4a")? < rank("0190b6a0-7e2c-7c0e-9a53-0f6c3f1d2b4b")?);
/// # Ok::<(), presence_core::Rejection>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventRank(pub u128);

impl EventRank {
    /// The rank of an event.
    #[must_use]
    pub fn of(id: &EventId) -> Self {
        Self::of_text(id.as_str())
    }

    /// The rank of an event by the text of its id.
    #[must_use]
    pub fn of_text(id: &str) -> Self {
        Self(digits(id).unwrap_or_else(|| {
            let mut head = [0; 16];
            head.iter_mut().zip(id.bytes()).for_each(|(place, byte)| *place = byte);
            u128::from_be_bytes(head)
        }))
    }
}

/// The number that 32 hexadecimal digits write, with or without the hyphens of a UUID.
fn digits(id: &str) -> Option<u128> {
    let mut number = 0_u128;
    let has_hyphens = match id.len() {
        32 => false,
        36 => true,
        _ => return None,
    };
    for (place, byte) in id.bytes().enumerate() {
        if has_hyphens && matches!(place, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
        } else {
            number = number << 4 | u128::from(char::from(byte).to_digit(16)?);
        }
    }
    Some(number)
}

impl Serialize for EventRank {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for EventRank {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(D::Error::custom)
    }
}

/// Where somebody said to be, and when. The latest one counts: they sort by instant, then by the event that said so,
/// then by name, so that no two that differ are equal.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Region {
    /// When.
    pub at: Timestamp,
    /// Which event of that instant.
    pub rank: EventRank,
    /// Where.
    pub name: RegionName,
}

/// Somebody was here on a day: all counted events of one install and one user (or nobody known) on a local day.
///
/// Merging keeps the later region of each kind, so that the order and the number of the events cannot matter:
///
/// ```text
/// events      (A, -) 09:00 Hunan   (A, 7) 10:00   (A, 7) 11:00 Hubei   (A, -) 12:00 Henan
/// sightings   (day, A, -) Henan    (day, A, 7) Hubei
/// counted     7, in Hubei: an install counts only where no counted event named its user
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sighting {
    /// The local day, in the zone of the deployment.
    pub day: NaiveDate,
    /// On which install.
    pub install: InstallId,
    /// Who, where the events said it.
    pub user: Option<UserId>,
    /// The last province that they named.
    pub province: Option<Region>,
    /// The last city that they named.
    pub city: Option<Region>,
}

impl Sighting {
    /// Where it stands among all: by day, then install, then user.
    #[must_use]
    pub fn place(&self) -> SightingPlace {
        SightingPlace { day: self.day, install: self.install.clone(), user: self.user.clone() }
    }

    /// Takes over what another sighting of the same day, install and user knows better, and says whether that was
    /// anything.
    pub fn merge(&mut self, other: Self) -> bool {
        let is_news = other.province > self.province || other.city > self.city;
        self.province = self.province.take().max(other.province);
        self.city = self.city.take().max(other.city);
        is_news
    }

    /// The same, as the fold takes it.
    #[must_use]
    pub fn as_ref(&self) -> SightingRef<'_> {
        SightingRef {
            install: self.install.as_str(),
            user: self.user.as_ref().map(UserId::as_str),
            province: self.province.as_ref().map(RegionRef::from),
            city: self.city.as_ref().map(RegionRef::from),
        }
    }
}

/// Where a [`Sighting`] stands among all.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SightingPlace {
    /// The local day.
    pub day: NaiveDate,
    /// The install.
    pub install: InstallId,
    /// The user; nobody comes first.
    pub user: Option<UserId>,
}

/// A [`Sighting`] in borrowed text, or one counted event by itself: the fold makes no difference.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SightingRef<'a> {
    /// On which install.
    pub install: &'a str,
    /// Who, where it was said.
    pub user: Option<&'a str>,
    /// The province.
    pub province: Option<RegionRef<'a>>,
    /// The city.
    pub city: Option<RegionRef<'a>>,
}

/// A [`Region`] in borrowed text.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RegionRef<'a> {
    /// When.
    pub at: Timestamp,
    /// Which event of that instant.
    pub rank: EventRank,
    /// Where.
    pub name: &'a str,
}

impl<'a> From<&'a Region> for RegionRef<'a> {
    fn from(region: &'a Region) -> Self {
        Self { at: region.at, rank: region.rank, name: region.name.as_str() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_sort_like_the_ids_they_are_made_of() {
        let ids = ["", "a", "aa", "b", "click-10", "click-9", "z"];
        assert!(ids.map(EventRank::of_text).is_sorted());
        let uuids = [
            "0190b6a0-7e2c-7c0e-9a53-0f6c3f1d2b4a",
            "0190B6A0-7E2C-7C0E-9A53-0F6C3F1D2B4B",
            "0190b6a07e2c7c0e9a530f6c3f1d2b4c",
        ];
        let ranks = uuids.map(|id| EventRank::of_text(id).0);
        assert_eq!(ranks, [0x0190_b6a0_7e2c_7c0e_9a53_0f6c_3f1d_2b4a, ranks[0] + 1, ranks[0] + 2]);
        assert_eq!(digits("0190b6a0-7e2c-7c0e-9a53+0f6c3f1d2b4a"), None);
        assert_eq!(digits("0190b6a07e2c7c0e9a530f6c3f1d2bé"), None);
    }
}
