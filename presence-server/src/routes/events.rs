//! `/api/v1/analytics/events`: what apps report. Names are camelCase, stamps Unix seconds.

use std::borrow::Cow;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use presence_core::{
    ClientEvent, EventId, EventName, EventProperties, InstallId, Logged, Rejection, Timestamp, UserId,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema},
};

use crate::{
    AppState,
    auth::Principal,
    extract::{Asker, BatchBody, Name, Whole, parse_object},
    openapi::schemas,
    problem::Problem,
    routes::{
        DURABILITY,
        batch::{self, BATCH, Item, Refused, one_by_one},
    },
};

/// Something that happened in an app.
// Borrowed from the body.
#[derive(Deserialize, ToSchema)]
#[schema(as = AnalyticsEvent)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[schema(value_type = schemas::EventName)]
    #[serde(borrow)]
    event_name: Cow<'a, str>,
    #[schema(value_type = schemas::InstallId)]
    #[serde(borrow)]
    install_id: Cow<'a, str>,
    /// Without it: the user of the token, where there is one. Another user needs the scope `admin`.
    #[schema(value_type = Option<schemas::UserIdOrNumber>)]
    #[serde(borrow, default)]
    user_id: Option<Name<'a>>,
    /// When it happened.
    #[schema(value_type = schemas::UnixSeconds)]
    client_ts: Whole,
    /// The client's name for the event, unique for each user, and for each install while it has none: a repetition
    /// changes nothing. Without it, what is equal in everything is one event.
    #[schema(value_type = Option<schemas::EventId>)]
    #[serde(default)]
    event_id: Option<Cow<'a, str>>,
    #[schema(required = false, value_type = schemas::EventProperties)]
    #[serde(borrow, default, deserialize_with = "said")]
    properties: Option<&'a RawValue>,
}

/// What is said, `null` too: that is no object.
fn said<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A batch under its name.
#[derive(Deserialize)]
struct Events<T> {
    events: Vec<T>,
}

/// Events.
enum Batch {}

impl PartialSchema for Batch {
    fn schema() -> RefOr<Schema> {
        let items =
            batch::schema::<Event<'_>>("What is not an event is refused by itself; the others are stored.");
        ObjectBuilder::new().property("events", items).required("events").into()
    }
}

impl ToSchema for Batch {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("AnalyticsEvents")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Event::name().into_owned(), Event::schema()));
        Event::schemas(schemas);
    }
}

impl Event<'_> {
    /// The event of the user whom the body names, or else of whoever asks, checked.
    fn checked(self, principal: &Principal) -> Result<ClientEvent, Problem> {
        let mut event =
            ClientEvent::new(EventName::new(&*self.event_name)?, InstallId::new(&*self.install_id)?)
                .at(Timestamp::from_secs(self.client_ts.0)?);
        let named = self.user_id.map(|Name(name)| UserId::new(&*name)).transpose()?;
        if named.as_ref().is_some_and(|user| !principal.may_act_for(user)) {
            return Err(Problem::forbidden());
        }
        if let Some(user) = named.or_else(|| principal.user().cloned()) {
            event = event.by(user);
        }
        if let Some(id) = self.event_id {
            event = event.with_event_id(EventId::new(&*id)?);
        }
        match self.properties {
            Some(properties) => Ok(event.with_properties(EventProperties::parse(properties.get())?)),
            None => Ok(event),
        }
    }
}

/// The items of a batch, or why one is none. Nearly always all of them are events, and one pass makes them.
fn items(body: &[u8]) -> Result<Vec<Result<Event<'_>, &'static str>>, Problem> {
    if let Ok(Events { events }) = parse_object::<Events<Item<Event<'_>>>>(body) {
        return Ok(events.into_iter().map(|Item(event)| Ok(event)).collect());
    }
    Ok(one_by_one(parse_object::<Events<&RawValue>>(body)?.events))
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
#[schema(as = EventVerdicts)]
struct Verdicts {
    /// Those that are stored, or were before.
    #[schema(value_type = schemas::Count)]
    accepted: usize,
    #[schema(value_type = schemas::Count)]
    failed: usize,
    /// In the order of the batch.
    errors: Vec<Refused>,
}

/// Stores up to 1,000 events, each judged on its own.
///
/// Those of the name that counts make their user active on the local day on which they happened, or their install
/// while it has no user. `province` and `city` of the properties are counted by. An event that comes later than the late
/// window is stored and not counted.
#[utoipa::path(
    post, path = "/api/v1/analytics/events", operation_id = "recordEvents", tag = "analytics",
    request_body(content = Batch, content_type = "application/json", example = json!({"events": [
        {"eventName": "app_session_start", "installId": "phone-4711", "clientTs": 1_717_161_600, "userId": "alice",
            "eventId": "e-1", "properties": {"province": "Hunan", "city": "Changsha"}}]})),
    responses(
        (status = 200, description = "A verdict on each.", body = Verdicts,
            headers(("Presence-Durability" = schemas::Durability, description = "What those that were accepted survive.")),
            example = json!({"accepted": 1, "failed": 1, "errors": [{"index": 1, "code": "INVALID_EVENT_NAME"}]})),
        (status = 202, description = "The same, where a tracking outbox keeps events first: those that were accepted are \
            stored soon. An event id that was used for another event is then found too late to say so.", body = Verdicts,
            headers(("Presence-Durability" = schemas::Durability, description = "What those that were accepted survive."))),
    ),
)]
pub(crate) async fn ingest(
    State(state): State<AppState>,
    Asker(principal): Asker,
    BatchBody(body): BatchBody,
) -> Result<Response, Problem> {
    let items = items(&body)?;
    let all = items.len();
    if all == 0 || all > BATCH {
        return Err(Problem::bad_request("INVALID_BATCH", "a batch has 1 to 1000 events"));
    }
    let (mut events, mut places, mut errors) = (Vec::with_capacity(all), Vec::with_capacity(all), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        let event = item.and_then(|event| event.checked(&principal).map_err(|problem| problem.code()));
        match event {
            Ok(event) => {
                events.push(event);
                places.push(index);
            }
            Err(code) => errors.push(Refused { index, code }),
        }
    }
    let unread = errors.len();
    let (verdicts, kept) = taken(&state, events).await?;
    state.metrics().events(&verdicts, unread);
    let refused = places.into_iter().zip(verdicts).filter_map(|(index, verdict)| {
        verdict.err().map(|rejection| Refused { index, code: rejection.code() })
    });
    errors.extend(refused);
    let errors = Refused::counted(errors, &state);
    let verdicts = Verdicts { accepted: all.saturating_sub(errors.len()), failed: errors.len(), errors };
    let (status, durability) = match kept {
        Some(durability) => (StatusCode::ACCEPTED, durability),
        None => (StatusCode::OK, state.settings().durability),
    };
    let durability = HeaderValue::from_static(durability);
    Ok((status, [(DURABILITY, durability)], Json(verdicts)).into_response())
}

/// Keeps events in the tracking outbox, where there is one, and says what they survive there; else stores them.
async fn taken(
    state: &AppState,
    events: Vec<ClientEvent>,
) -> Result<(Vec<Result<Logged, Rejection>>, Option<&'static str>), Problem> {
    let Some(outbox) = state.tracking_outbox() else {
        return Ok((state.activity().ingest(events).await?, None));
    };
    let (accepted, mut verdicts) = state.activity().judge(events);
    if accepted.is_empty() || outbox.keep(&accepted).await {
        return Ok((verdicts, Some(outbox.durability())));
    }
    // What it has no room for is not lost while the store is there; what it took of it is stored once all the same.
    let stored = state.activity().store(accepted).await?;
    for (verdict, stored) in verdicts.iter_mut().filter(|verdict| verdict.is_ok()).zip(stored) {
        *verdict = stored;
    }
    Ok((verdicts, None))
}
