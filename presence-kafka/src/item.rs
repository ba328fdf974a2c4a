//! What comes in: a client event or a heartbeat, in the words of the HTTP routes.

use std::borrow::Cow;

use presence_core::{
    ClientEvent, EventId, EventName, EventProperties, Heartbeat, InstallId, Rejection, Timestamp, UserId,
};
use serde::Deserialize;

/// The code of a message that is no JSON object, or not of this form.
pub(crate) const INVALID_BODY: &str = "INVALID_BODY";

/// What a message says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    Event(ClientEvent),
    Heartbeat(Heartbeat),
}

/// A body of `presence.in.events`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventBody<'a> {
    #[serde(borrow)]
    event_name: Cow<'a, str>,
    #[serde(borrow)]
    install_id: Cow<'a, str>,
    #[serde(default)]
    user_id: Option<Name>,
    /// In seconds.
    client_ts: i64,
    #[serde(default)]
    event_id: Option<String>,
    #[serde(default)]
    properties: Option<serde_json::Value>,
}

/// A body of `presence.in.heartbeats`; what else stands in it is passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeartbeatBody<'a> {
    #[serde(borrow)]
    install_id: Cow<'a, str>,
    #[serde(default)]
    user_id: Option<Name>,
    /// In seconds.
    client_ts: i64,
}

/// A user id as text, or as a whole number, which is read as its digits.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Number(u64),
}

impl Name {
    fn user(self) -> Result<UserId, Rejection> {
        match self {
            Self::Text(text) => UserId::new(text),
            Self::Number(number) => UserId::new(number.to_string()),
        }
    }
}

/// Reads a client event. One without an `eventId` has the name that its message has, or else that of its content.
pub(crate) fn event(body: &[u8], message_id: Option<&str>) -> Result<Item, &'static str> {
    let read: EventBody<'_> = serde_json::from_slice(body).map_err(|_| INVALID_BODY)?;
    let checked = || {
        let mut event =
            ClientEvent::new(EventName::new(&*read.event_name)?, InstallId::new(&*read.install_id)?)
                .at(Timestamp::from_secs(read.client_ts)?);
        if let Some(user) = read.user_id {
            event = event.by(user.user()?);
        }
        if let Some(id) = read.event_id.as_deref().or(message_id) {
            event = event.with_event_id(EventId::new(id)?);
        }
        if let Some(properties) = read.properties {
            event = event.with_properties(EventProperties::parse(&properties.to_string())?);
        }
        Ok(Item::Event(event))
    };
    checked().map_err(|rejection: Rejection| rejection.code())
}

/// Reads a heartbeat.
pub(crate) fn heartbeat(body: &[u8]) -> Result<Item, &'static str> {
    let read: HeartbeatBody<'_> = serde_json::from_slice(body).map_err(|_| INVALID_BODY)?;
    let checked = || {
        let install = InstallId::new(&*read.install_id)?;
        let heartbeat = match read.user_id {
            Some(user) => Heartbeat::of_user(user.user()?).on(install),
            None => Heartbeat::of_install(install),
        };
        Ok(Item::Heartbeat(heartbeat.at(Timestamp::from_secs(read.client_ts)?)))
    };
    checked().map_err(|rejection: Rejection| rejection.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone() -> InstallId {
        InstallId::new("phone-4711").unwrap()
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs).unwrap()
    }

    #[test]
    fn an_event_is_read_as_the_route_reads_it() {
        let start = ClientEvent::new(EventName::new("start").unwrap(), phone()).at(at(7));
        let body = r#"{"eventName":"start","installId":"phone-4711","clientTs":7,"appVersion":"1"}"#;
        assert_eq!(event(body.as_bytes(), None), Ok(Item::Event(start.clone())));
        let named = start.clone().with_event_id(EventId::new("m-1").unwrap());
        assert_eq!(event(body.as_bytes(), Some("m-1")), Ok(Item::Event(named)));
        let whole = r#"{"eventName":"start","installId":"phone-4711","clientTs":7,"userId":4711,"eventId":"e-1",
            "properties":{"city":"Changsha"}}"#;
        let expected = start.by(UserId::new("4711").unwrap()).with_event_id(EventId::new("e-1").unwrap());
        let expected = expected.with_properties(EventProperties::parse(r#"{"city":"Changsha"}"#).unwrap());
        assert_eq!(event(whole.as_bytes(), Some("m-1")), Ok(Item::Event(expected)), "its own id counts");
    }

    #[test]
    fn a_heartbeat_is_of_its_user_or_of_its_install() {
        let body =
            |user: &str| format!(r#"{{"installId":"phone-4711",{user}"appVersion":"1","clientTs":7}}"#);
        let expected = Heartbeat::of_install(phone()).at(at(7));
        assert_eq!(heartbeat(body("").as_bytes()), Ok(Item::Heartbeat(expected)));
        let expected = Heartbeat::of_user(UserId::new("alice").unwrap()).on(phone()).at(at(7));
        assert_eq!(heartbeat(body(r#""userId":"alice","#).as_bytes()), Ok(Item::Heartbeat(expected)));
    }

    #[test]
    fn what_is_none_is_told_by_its_code() {
        let good = r#"{"eventName":"start","installId":"phone-4711","clientTs":7}"#;
        for (wrong, code) in [
            ("", INVALID_BODY),
            ("\u{0}", INVALID_BODY),
            ("[]", INVALID_BODY),
            (r#"{"eventName":"start","installId":"phone-4711"}"#, INVALID_BODY),
            (&good.replace("7}", "\"7\"}"), INVALID_BODY),
            (&good.replace("start", "1st"), "INVALID_EVENT_NAME"),
            (&good.replace("phone-4711", "x"), "INVALID_INSTALL_ID"),
            (&good.replace("7}", "-1}"), "INVALID_TIMESTAMP"),
            (&good.replace("7}", r#"7,"userId":""}"#), "INVALID_USER_ID"),
            (&good.replace("7}", r#"7,"eventId":""}"#), "INVALID_EVENT_ID"),
            (&good.replace("7}", r#"7,"properties":[]}"#), "INVALID_EVENT_PROPERTIES"),
        ] {
            assert_eq!(event(wrong.as_bytes(), None), Err(code), "{wrong}");
        }
        assert_eq!(heartbeat(b"{\"installId\":\"phone-4711\"}"), Err(INVALID_BODY));
        assert_eq!(heartbeat(b"\xff"), Err(INVALID_BODY));
    }
}
