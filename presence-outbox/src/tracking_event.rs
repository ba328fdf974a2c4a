//! The event of the tracking outbox.

use serde::{Deserialize, Serialize};

/// A tracking event: one of the kinds of event that an outbox can hold.
///
/// ```
/// use presence_outbox::TrackingEvent;
///
/// let json = r#"{"event_id":"e1","event_key":"login","scope_kind":"app","scope_id":"7","metadata_json":"{}","occurred_at_micros":1700000000000000}"#;
/// let event: TrackingEvent = serde_json::from_str(json)?;
/// assert_eq!(event.user_id, None);
/// assert_eq!(serde_json::to_string(&event)?, json);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrackingEvent {
    /// What tells it from all others: receivers drop what they have already.
    pub event_id: String,
    /// What happened.
    pub event_key: String,
    /// The kind of thing that it happened to.
    pub scope_kind: String,
    /// The thing that it happened to.
    pub scope_id: String,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Whose thing it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_user_id: Option<String>,
    /// The profile under which it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_id: Option<String>,
    /// The part of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_key: Option<String>,
    /// More of it, as JSON in a string.
    pub metadata_json: String,
    /// When, in microseconds since 1970.
    pub occurred_at_micros: i64,
}
