//! A day of events, in columns.

use std::fmt::Write as _;

use presence_core::{
    ActivityPolicy, ClientEvent, EventId, EventName, EventProperties, InstallId, NewEvent, Timestamp, UserId,
};

use crate::user;

/// 2025-01-01.
pub const DAY: i64 = 1_735_689_600_000;

/// Text of many rows, each behind the one before.
#[derive(Debug, Default)]
pub struct Column {
    text: String,
    ends: Vec<usize>,
}

impl Column {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// The text of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[row]]
    }
}

/// A day of events; empty text is none.
#[derive(Debug, Default)]
pub struct Events {
    /// When, in milliseconds since 1970.
    pub at: Vec<i64>,
    day: i64,
    /// On which install.
    pub install: Column,
    /// By whom, where that is known.
    pub user: Column,
    /// From which province.
    pub province: Column,
    /// From which city.
    pub city: Column,
}

impl Events {
    /// Events of the day that begins at this millisecond. Half of them are of a tenth of the people.
    #[must_use]
    pub fn of(day: i64, events: u64, people: u64) -> Self {
        Self::by(day, events, |mixed| {
            if mixed & 1 == 0 { (mixed >> 8) % (people / 10) } else { (mixed >> 8) % people }
        })
    }

    /// An event of each of so many people.
    #[must_use]
    pub fn once_each(day: i64, people: u64) -> Self {
        let mut next = 0..people;
        Self::by(day, people, |_| next.next().unwrap_or_default())
    }

    /// Seven in ten people log in, on one or two installs, and at times before they do; ids are 36 bytes long, as UUIDs
    /// are.
    fn by(day: i64, events: u64, mut person: impl FnMut(u64) -> u64) -> Self {
        let mut all = Self { day, ..Self::default() };
        let mut text = String::new();
        for number in 0..events {
            let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = mixed ^ (mixed >> 32);
            let person = person(mixed);
            let has_account = person % 10 < 7;
            let install = person * 2 + u64::from(has_account && mixed >> 1 & 3 == 0);
            let is_known = has_account && mixed >> 3 & 3 != 0;
            all.at.push(day + (mixed >> 20) as i64 % 86_400_000);
            all.install.push(user(install).as_str());
            all.user.push(
                if is_known { user(1 << 40 | person).as_str().to_owned() } else { String::new() }.as_str(),
            );
            for (column, kind, count) in [(&mut all.province, "province", 32), (&mut all.city, "city", 300)] {
                text.clear();
                if mixed >> 5 & 7 < 6 {
                    let _ = write!(text, "{kind}-{}", (person + (mixed >> 40 & 3)) % count);
                }
                column.push(&text);
            }
        }
        all
    }

    /// The event of a row, as the library takes it.
    ///
    /// # Panics
    ///
    /// Where there is no such row.
    #[must_use]
    pub fn event(&self, row: usize) -> ClientEvent {
        let install = InstallId::new(self.install.get(row)).expect("an install");
        let mut event = ClientEvent::new(EventName::new("app_session_start").expect("a name"), install)
            .at(Timestamp::from_millis(self.at[row]).expect("an instant"))
            .with_event_id(EventId::new(event_id(row).as_str()).expect("an event id"));
        if let Ok(user) = UserId::new(self.user.get(row)) {
            event = event.by(user);
        }
        event.with_properties(EventProperties::parse(&self.properties(row)).expect("an object"))
    }

    /// The rows that a store makes of them, judged when the day is over.
    ///
    /// # Panics
    ///
    /// Never: all are in the past.
    #[must_use]
    pub fn judged(&self) -> Vec<NewEvent> {
        let now = Timestamp::from_millis(self.day + 86_400_000).expect("an instant");
        let policy = ActivityPolicy::default();
        (0..self.at.len()).map(|row| self.event(row).judged(now, &policy).expect("in the past")).collect()
    }

    /// The event of a row as JSON, without its `clientTs`.
    #[must_use]
    pub(crate) fn json(&self, row: usize) -> String {
        let (install, user) = (self.install.get(row), self.user.get(row));
        let user = if user.is_empty() { String::new() } else { format!(r#""userId":"{user}","#) };
        let (id, properties) = (event_id(row), self.properties(row));
        format!(
            r#""eventName":"app_session_start","installId":"{install}",{user}"eventId":"{id}","properties":{properties}"#
        )
    }

    fn properties(&self, row: usize) -> String {
        format!(r#"{{"city":"{}","province":"{}"}}"#, self.city.get(row), self.province.get(row))
    }
}

fn event_id(row: usize) -> UserId {
    user(1 << 41 | row as u64)
}
