//! How many people were here: the fold from events or sightings to figures.

use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::{
    RegionRef, Rejection, SightingRef,
    activity::names::{NONE, Names, Place},
};

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
/// its user. Up to some 600 million ids of 36 bytes.
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
    /// By each install, the user it was seen with last in the upper half, and in the lower half where that person is;
    /// [`NONE`] for either.
    installs: Names,
    /// By each user, where it is.
    users: Names,
    /// Where people are; who never named a region has no place here.
    places: Vec<Regions>,
    /// Places of installs whose user became known: the next person takes one of them.
    free: Vec<Place>,
    /// The provinces and the cities, each numbered.
    regions: [Names; 2],
}

/// The last province and the last city that a person named. In arrays, so that nothing is lost between them: there is one
/// for everybody.
#[derive(Clone, Copy, Debug)]
struct Regions {
    /// When, in milliseconds; negative where there is none.
    at: [i64; 2],
    /// Which event of that instant: an [`EventRank`](crate::EventRank) in halves, for its alignment.
    rank: [[u64; 2]; 2],
    name: [Place; 2],
}

const NOWHERE: Regions = Regions { at: [-1; 2], rank: [[0; 2]; 2], name: [NONE; 2] };

/// An install that was never seen with a user, and named no region.
const NEW: u64 = pair(NONE, NONE);

const fn pair(user: Place, regions: Place) -> u64 {
    (user as u64) << 32 | regions as u64
}

/// How many sightings are looked up together.
const BLOCK: usize = 64;

impl IdentityFold {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            installs: Names::new(),
            users: Names::new(),
            places: Vec::new(),
            free: Vec::new(),
            regions: [Names::new(), Names::new()],
        }
    }

    /// Takes one sighting, or one counted event.
    pub fn see(&mut self, seen: &SightingRef<'_>) {
        let hash = self.installs.hash(seen.install);
        let install = self.installs.place(hash, seen.install, NEW);
        self.see_on(install, seen);
    }

    /// Takes many at once, which is a few times as fast: what is needed of each is fetched before the first is looked at,
    /// so that the waits for memory go by together.
    pub fn see_all(&mut self, seen: &[SightingRef<'_>]) {
        for block in seen.chunks(BLOCK) {
            let (mut hashes, mut found) = ([0; BLOCK], [NONE; BLOCK]);
            let mut fetched = 0_u64;
            for ((hash, place), seen) in hashes.iter_mut().zip(&mut found).zip(block) {
                *hash = self.installs.hash(seen.install);
                *place = self.installs.guess(*hash);
            }
            for place in found {
                fetched ^= self.installs.value(place).unwrap_or_default();
            }
            for ((place, hash), seen) in found.iter_mut().zip(hashes).zip(block) {
                *place = self.installs.find(hash, seen.install).unwrap_or(NONE);
            }
            let mut persons = [NONE; BLOCK];
            for (person, install) in persons.iter_mut().zip(found) {
                let install = self.installs.value(install).unwrap_or(NEW);
                *person = match (install >> 32) as Place {
                    NONE => install as Place,
                    user => self.users.value(user).map_or(NONE, |place| place as Place),
                };
            }
            for person in persons {
                fetched ^= self.places.get(person as usize).map_or(0, |regions| regions.at[0].unsigned_abs());
            }
            std::hint::black_box(fetched);
            for ((install, hash), seen) in found.into_iter().zip(hashes).zip(block) {
                // One that was not there may have come with one before it.
                let install =
                    if install == NONE { self.installs.place(hash, seen.install, NEW) } else { install };
                self.see_on(install, seen);
            }
        }
    }

    #[inline]
    fn see_on(&mut self, install: Place, seen: &SightingRef<'_>) {
        let known = self.installs.value(install).unwrap_or(NEW);
        let (user, regions) = ((known >> 32) as Place, known as Place);
        let names_region = seen.province.is_some() || seen.city.is_some();
        let place = match seen.user {
            // What it says is nobody's.
            None if user != NONE => return,
            None if regions != NONE || !names_region => regions,
            None => {
                let place = take(&mut self.places, &mut self.free);
                self.installs.set(install, pair(NONE, place));
                place
            }
            Some(name) => {
                // Nearly always: the same person holds the same phone.
                let is_same = user != NONE && self.users.is(user, name);
                let user = if is_same {
                    user
                } else {
                    let user = self.users.place(self.users.hash(name), name, NONE.into());
                    self.installs.set(install, pair(user, NONE));
                    if regions != NONE {
                        self.free.push(regions);
                    }
                    user
                };
                let place = self.users.value(user).map_or(NONE, |place| place as Place);
                if place == NONE && names_region {
                    let place = take(&mut self.places, &mut self.free);
                    self.users.set(user, place.into());
                    place
                } else {
                    place
                }
            }
        };
        let Some(place) = self.places.get_mut(place as usize) else { return };
        let [provinces, cities] = &mut self.regions;
        if let Some(province) = &seen.province {
            place.take::<0>(province, provinces);
        }
        if let Some(city) = &seen.city {
            place.take::<1>(city, cities);
        }
    }

    /// How many people that were.
    #[must_use]
    pub fn finish(self) -> ActiveUsers {
        let alone = || self.installs.records().filter(|(_, install)| (install >> 32) as Place == NONE);
        let people = alone().chain(self.users.records()).map(|(_, person)| person as Place);
        let [provinces, cities] = &self.regions;
        let (mut in_provinces, mut in_cities) = (vec![0_u64; provinces.len()], vec![0_u64; cities.len()]);
        for place in people.filter_map(|person| self.places.get(person as usize)) {
            let [province, city] = place.name;
            for (names, name, sums) in
                [(provinces, province, &mut in_provinces), (cities, city, &mut in_cities)]
            {
                let number = names.value(name).and_then(|number| usize::try_from(number).ok());
                if let Some(sum) = number.and_then(|number| sums.get_mut(number)) {
                    *sum = sum.saturating_add(1);
                }
            }
        }
        ActiveUsers {
            count: (self.users.len() as u64).saturating_add(alone().count() as u64),
            by_province: named(provinces, in_provinces),
            by_city: named(cities, in_cities),
        }
    }
}

impl Default for IdentityFold {
    fn default() -> Self {
        Self::new()
    }
}

/// An empty place.
fn take(places: &mut Vec<Regions>, free: &mut Vec<Place>) -> Place {
    if let Some(number) = free.pop()
        && let Some(place) = places.get_mut(number as usize)
    {
        *place = NOWHERE;
        return number;
    }
    let number = u32::try_from(places.len()).unwrap_or(NONE);
    places.push(NOWHERE);
    number
}

impl Regions {
    /// Takes a region of one kind if it counts as later than the one that is there.
    #[inline]
    fn take<const KIND: usize>(&mut self, region: &RegionRef<'_>, names: &mut Names) {
        let (instant, name) = (region.at.as_millis(), self.name[KIND]);
        if instant < self.at[KIND] {
            return;
        }
        let rank = [(region.rank.0 >> 64) as u64, region.rank.0 as u64];
        let is_later = match (instant, rank).cmp(&(self.at[KIND], self.rank[KIND])) {
            // The same event in a sighting and by itself names the same; two of one rank go by name.
            Ordering::Equal => *region.name > *names.name(name),
            order => order.is_gt(),
        };
        if !is_later {
            return;
        }
        if name == NONE || !names.is(name, region.name) {
            let number = names.len() as u64;
            self.name[KIND] = names.place(names.hash(region.name), region.name, number);
        }
        self.at[KIND] = instant;
        self.rank[KIND] = rank;
    }
}

/// The sums under their names, but for those that nobody named last.
fn named(names: &Names, sums: Vec<u64>) -> BTreeMap<String, u64> {
    let sums = names.records().zip(sums).filter(|(_, sum)| *sum > 0);
    sums.map(|((place, _), sum)| (names.name(place), sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventRank, Timestamp};

    /// The same events, all at once.
    fn together(events: &[(&str, &str, &str)]) -> ActiveUsers {
        let mut fold = IdentityFold::new();
        let all: Vec<_> =
            events.iter().map(|(install, user, province)| seen(install, user, province)).collect();
        fold.see_all(&all);
        fold.finish()
    }

    /// One event: an install, a user or `-`, and `province@instant` with the rank after a dot, or nothing.
    fn seen<'a>(install: &'a str, user: &'a str, province: &'a str) -> SightingRef<'a> {
        let region = province.split_once('@').map(|(name, at)| {
            let (at, rank) = at.split_once('.').unwrap_or((at, "0"));
            let at = Timestamp::from_secs(at.parse().expect("seconds")).expect("an instant");
            RegionRef { at, rank: EventRank(rank.parse().expect("a rank")), name }
        });
        let user = Some(user).filter(|user| *user != "-");
        SightingRef { install, user, province: region, city: region }
    }

    fn figures(events: &[(&str, &str, &str)]) -> (u64, Vec<(String, u64)>) {
        let fold = |events: &mut dyn Iterator<Item = &(&str, &str, &str)>| {
            let mut fold = IdentityFold::new();
            events.for_each(|(install, user, province)| fold.see(&seen(install, user, province)));
            fold.finish()
        };
        let active = fold(&mut events.iter());
        assert_eq!(active, together(events), "nor how many come at once");
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
