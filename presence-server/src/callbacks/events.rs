//! Events of every kind, in the form that Standard Webhooks recommends.

use chrono::SecondsFormat;
use presence_core::Event;
use serde::Serialize;
use serde_json::Value;

use super::{Channel, EventSink};

/// An event as EVENT_CALLBACK_URL gets it.
#[derive(Serialize)]
struct Enveloped {
    /// Its kind: `state_changed`, and so on.
    r#type: &'static str,
    /// When it happened.
    timestamp: String,
    /// What the event says of itself beside its kind; stamps in it are Unix milliseconds.
    data: Value,
}

impl EventSink {
    /// Tells every kind of event, as `{"type": "state_changed", "timestamp": "2024-05-31T13:20:00.000Z", "data": {..}}`.
    #[must_use]
    pub fn events(channel: Channel) -> Self {
        Self::new(channel, body)
    }
}

fn body(event: &Event) -> Option<Vec<u8>> {
    let mut data = serde_json::to_value(event).ok()?;
    data.as_object_mut()?.remove("kind");
    let timestamp = event.at().to_datetime().to_rfc3339_opts(SecondsFormat::Millis, true);
    serde_json::to_vec(&Enveloped { r#type: event.kind().name(), timestamp, data }).ok()
}

#[cfg(test)]
mod tests {
    use presence_core::{Source, StateType, Timestamp, UserId, Version};

    use super::*;

    #[test]
    fn an_event_stands_in_its_envelope() {
        let event = Event::StateChanged {
            user: UserId::new("alice").unwrap(),
            before: None,
            after: StateType::Working,
            at: Timestamp::from_millis(1_717_161_600_250).unwrap(),
            source: Source::Client,
            version: Version(7),
        };
        let text = String::from_utf8(body(&event).unwrap()).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            serde_json::json!({
                "type": "state_changed",
                "timestamp": "2024-05-31T13:20:00.250Z",
                "data": {"user": "alice", "before": null, "after": "Working", "at": 1_717_161_600_250_i64,
                         "source": "client", "version": 7},
            })
        );
        assert!(text.starts_with(r#"{"type":"state_changed","timestamp":"#), "{text}");
    }
}
