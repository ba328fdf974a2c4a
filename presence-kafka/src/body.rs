//! What a message says.

use std::collections::BTreeMap;

use presence_core::Event;
use serde::Serialize;

/// The figures of a day, in the words of the reporting services that read them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures<'a> {
    kind: &'static str,
    day: String,
    dau_count: u64,
    dau_by_province: &'a BTreeMap<String, u64>,
    dau_by_city: &'a BTreeMap<String, u64>,
    calculated_at: String,
    version: i64,
}

/// An event as JSON: its own, but for the figures of a day.
pub(crate) fn body(event: &Event) -> Result<Vec<u8>, serde_json::Error> {
    match event {
        Event::DauCalculated { day, version, active, at } => serde_json::to_vec(&Figures {
            kind: event.kind().name(),
            day: day.to_string(),
            dau_count: active.count,
            dau_by_province: &active.by_province,
            dau_by_city: &active.by_city,
            calculated_at: at.to_string(),
            version: *version,
        }),
        event => serde_json::to_vec(event),
    }
}

#[cfg(test)]
mod tests {
    use presence_core::{ActiveUsers, InstallId, Member, Timestamp};

    use super::*;

    fn text(event: &Event) -> String {
        String::from_utf8(body(event).unwrap()).unwrap()
    }

    #[test]
    fn figures_speak_the_language_of_reports() {
        let active = ActiveUsers {
            count: 3,
            by_province: [("Hunan".to_owned(), 2)].into(),
            by_city: [("Changsha".to_owned(), 1)].into(),
        };
        let day = "2024-05-31".parse().unwrap();
        let at = Timestamp::from_secs(1_717_161_600).unwrap();
        let told = Event::DauCalculated { day, version: 4, active, at };
        assert_eq!(
            text(&told),
            r#"{"kind":"dau_calculated","day":"2024-05-31","dauCount":3,"dauByProvince":{"Hunan":2},"dauByCity":{"Changsha":1},"calculatedAt":"2024-05-31T13:20:00.000Z","version":4}"#
        );
    }

    #[test]
    fn other_events_are_themselves() {
        let member = Member::Install(InstallId::new("phone-4711").unwrap());
        let told = Event::Heartbeat { member, at: Timestamp::from_secs(7).unwrap() };
        assert_eq!(text(&told), r#"{"kind":"heartbeat","install":"phone-4711","at":7000}"#);
        assert_eq!(serde_json::from_str::<Event>(&text(&told)).unwrap(), told);
    }
}
