//! How many people were here: the fold from events or sightings to figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{RegionRef, Rejection, SightingRef, activity::names::Names};

/// How many people were active, and where.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ActiveUsers {
    /// How many in all.
    pub count: u64,
    /// How many by the province they named last. Who named none is left out, so that the sum is at most the count.
    pub by_province: BTreeMap<String, u64>,
    /// How many by the city they named last.
    pub by_city: BTreeMap<String, u64>,
}

impl ActiveUsers {
    /// The sums by province and by city, each as a JSON object: what a store keeps.
    #[must_use]
    pub fn to_stored(&self) -> [String; 2] {
        // Maps of text to numbers always serialise.
        [&self.by_province, &self.by_city].map(|sums| serde_json::to_string(sums).unwrap_or_default())
    }

    /// Takes back what [`ActiveUsers::to_stored`] gave.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidContent`] where it is something else.
    pub fn from_stored(count: u64, by_province: &str, by_city: &str) -> Result<Self, Rejection> {
        let sums = |json| {
            serde_json::from_str(json).map_err(|_| Rejection::InvalidContent("is no object of numbers"))
        };
        Ok(Self { count, by_province: sums(by_province)?, by_city: sums(by_city)? })
    }
}

/// Counts people over a day or any other period, from its sightings or from its counted events.
///
/// - A person whose events name a user counts once, under the user, on however many installs.
/// - An install counts by itself only if none of its events named a user.
/// - Each person counts in one province and one city: the ones its own events named last.
///
/// The order does not matter, nor how often something is seen, nor whether it comes as one sighting or as the events
/// behind it. What is folded is a set of facts, so figures of a week come from the facts of the week: sums and unions
/// of daily figures count people twice.
///
/// It holds each id once, and up to 200 bytes a person in all. Each step looks one id up, as long as an install keeps
/// its user.
///
/// ```
/// use presence_core::{IdentityFold, SightingRef};
///
/// let seen = |install, user| SightingRef { install, user, province: None, city: None };
/// let mut fold = IdentityFold::new();
/// fold.see(&seen("phone-4711", None));
/// fold.see(&seen("phone-4711", Some("alice"))); // logs in later
/// fold.see(&seen("tablet-0815", Some("alice"))); // a second device
/// fold.see(&seen("kiosk-0042", None)); // nobody known
/// assert_eq!(fold.finish().count, 2);
/// ```
#[derive(Debug)]
pub struct IdentityFold {
    installs: Names<Install>,
    users: Names<Where>,
    /// Where people were: most have a place here, those who never named a region have none.
    places: Vec<[Mark; 2]>,
    regions: [Names<()>; 2],
}

/// What is known of an install.
#[derive(Clone, Copy, Debug)]
struct Install {
    /// The number of the user it was seen with last; [`NONE`] where it never was with any.
    user: u32,
    regions: Where,
}

/// The number of a person's place; [`NONE`] where it named no region.
type Where = u32;

const NONE: u32 = u32::MAX;

/// The last region of one kind that a person named.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// In milliseconds; negative where there is none.
    at: i64,
    /// An [`EventRank`](crate::EventRank), in halves: as one number it would take 16 bytes of alignment.
    rank: [u64; 2],
    name: u32,
}

const NOWHERE: Mark = Mark { at: -1, rank: [0; 2], name: NONE };

impl IdentityFold {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            installs: Names::new(),
            users: Names::new(),
            places: Vec::new(),
            regions: [Names::new(), Names::new()],
        }
    }

    /// Takes one sighting, or one counted event.
    pub fn see(&mut self, seen: &SightingRef<'_>) {
        let install = self.installs.number(seen.install, Install { user: NONE, regions: NONE });
        let person = match seen.user {
            None => self.installs.value_mut(install).map(|known| &mut known.regions),
            Some(user) => {
                let known = self.installs.value_mut(install);
                let number = match known.as_deref() {
                    // Nearly always: the same person holds the same phone.
                    Some(known) if known.user != NONE && self.users.is(known.user, user) => known.user,
                    _ => self.users.number(user, NONE),
                };
                if let Some(known) = known {
                    known.user = number;
                }
                self.users.value_mut(number)
            }
        };
        if seen.province.is_none() && seen.city.is_none() {
            return;
        }
        let Some(person) = person else { return };
        if *person == NONE {
            *person = u32::try_from(self.places.len()).unwrap_or(NONE);
            self.places.push([NOWHERE; 2]);
        }
        let Some(place) = self.places.get_mut(*person as usize) else { return };
        for ((mark, names), region) in place.iter_mut().zip(&mut self.regions).zip([seen.province, seen.city])
        {
            if let Some(region) = region {
                mark.take(&region, names);
            }
        }
    }

    /// How many people that were.
    #[must_use]
    pub fn finish(self) -> ActiveUsers {
        let alone = self.installs.values().filter(|install| install.user == NONE);
        let mut count = self.users.len() as u64;
        let [mut provinces, mut cities] =
            [0, 1].map(|kind| vec![0_u64; self.regions.get(kind).map_or(0, Names::len)]);
        for person in alone
            .inspect(|_| count = count.saturating_add(1))
            .map(|install| install.regions)
            .chain(self.users.values())
        {
            let Some([province, city]) = self.places.get(person as usize) else { continue };
            for (mark, sums) in [(province, &mut provinces), (city, &mut cities)] {
                if let Some(sum) = sums.get_mut(mark.name as usize) {
                    *sum = sum.saturating_add(1);
                }
            }
        }
        let [provinces_named, cities_named] = &self.regions;
        ActiveUsers {
            count,
            by_province: named(provinces_named, provinces),
            by_city: named(cities_named, cities),
        }
    }
}

impl Default for IdentityFold {
    fn default() -> Self {
        Self::new()
    }
}

impl Mark {
    /// Takes a region if it counts as later than this one.
    #[inline]
    fn take(&mut self, region: &RegionRef<'_>, names: &mut Names<()>) {
        let RegionRef { at, rank, name } = region;
        let [upper, lower] = self.rank;
        let known = (self.at, u128::from(upper) << 64 | u128::from(lower));
        let is_later = match (at.as_millis(), rank.0).cmp(&known) {
            std::cmp::Ordering::Equal => {
                // The same event in a sighting and by itself names the same; two of one rank go by name.
                *name > names.name(self.name)
            }
            order => order.is_gt(),
        };
        if !is_later {
            return;
        }
        if self.name == NONE || !names.is(self.name, name) {
            self.name = names.number(name, ());
        }
        self.at = at.as_millis();
        self.rank = [(rank.0 >> 64) as u64, rank.0 as u64];
    }
}

/// The sums under their names, but for those that nobody named last.
fn named(names: &Names<()>, sums: Vec<u64>) -> BTreeMap<String, u64> {
    names.names().zip(sums).filter(|(_, sum)| *sum > 0).map(|(name, sum)| (name.to_owned(), sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventRank, Timestamp};

    /// One event: an install, a user or `-`, and `province@instant` with the rank after a dot, or nothing.
    fn see(fold: &mut IdentityFold, install: &str, user: &str, province: &str) {
        let region = province.split_once('@').map(|(name, at)| {
            let (at, rank) = at.split_once('.').unwrap_or((at, "0"));
            let at = Timestamp::from_secs(at.parse().expect("seconds")).expect("an instant");
            RegionRef { at, rank: EventRank(rank.parse().expect("a rank")), name }
        });
        let user = Some(user).filter(|user| *user != "-");
        fold.see(&SightingRef { install, user, province: region, city: region });
    }

    fn figures(events: &[(&str, &str, &str)]) -> (u64, Vec<(String, u64)>) {
        let fold = |events: &mut dyn Iterator<Item = &(&str, &str, &str)>| {
            let mut fold = IdentityFold::new();
            events.for_each(|(install, user, province)| see(&mut fold, install, user, province));
            fold.finish()
        };
        let active = fold(&mut events.iter());
        assert_eq!(active, fold(&mut events.iter().rev()), "the order does not matter");
        assert_eq!(active, fold(&mut events.iter().chain(events)), "nor repetition");
        assert_eq!(active.by_province, active.by_city);
        (active.count, active.by_province.into_iter().collect())
    }

    fn sums(sums: &[(&str, u64)]) -> Vec<(String, u64)> {
        sums.iter().map(|(name, sum)| ((*name).to_owned(), *sum)).collect()
    }

    #[test]
    fn a_person_is_in_the_region_its_own_events_named_last() {
        let moved = [
            ("A", "7", "Guangdong@1"),
            ("A", "7", "Hunan@2"),
            ("A", "7", ""),
            ("B", "8", "Hunan@1"),
            ("D", "-", ""),
        ];
        assert_eq!(figures(&moved), (3, sums(&[("Hunan", 2)])));
        let two_devices = [("A", "7", "Hunan@5"), ("B", "7", "Hubei@6"), ("C", "7", "Henan@4")];
        assert_eq!(figures(&two_devices), (1, sums(&[("Hubei", 1)])));
    }

    #[test]
    fn what_an_install_said_before_its_user_was_known_is_nobodys() {
        assert_eq!(figures(&[("A", "-", "Hunan@1"), ("A", "7", "")]), (1, sums(&[])));
        assert_eq!(figures(&[("A", "-", "Hunan@1"), ("A", "7", "Hubei@0")]), (1, sums(&[("Hubei", 1)])));
        assert_eq!(figures(&[("A", "-", "Hunan@1"), ("A", "-", "Hubei@2")]), (1, sums(&[("Hubei", 1)])));
    }

    #[test]
    fn at_one_instant_the_higher_event_counts_then_the_higher_name() {
        let ranks = [("A", "7", "Hunan@1.2"), ("B", "7", "Shanxi@1.1")];
        assert_eq!(figures(&ranks), (1, sums(&[("Hunan", 1)])));
        let names = [("A", "7", "Hunan@1.2"), ("B", "7", "Shanxi@1.2")];
        assert_eq!(figures(&names), (1, sums(&[("Shanxi", 1)])));
        let highest =
            [("A", "7", "Hunan@1.340282366920938463463374607431768211455"), ("B", "7", "Shanxi@1.9")];
        assert_eq!(figures(&highest), (1, sums(&[("Hunan", 1)])), "all 128 bits");
    }

    #[test]
    fn an_install_that_changes_hands_counts_each_of_its_users() {
        let shared: Vec<_> = ["7", "8", "-", "7", "8", "9"].map(|user| ("A", user, "")).to_vec();
        assert_eq!(figures(&shared), (3, sums(&[])));
    }

    #[test]
    fn nobody_is_nobody() {
        assert_eq!(figures(&[]), (0, sums(&[])));
    }
}
