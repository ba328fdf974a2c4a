//! `/management/outbox`: what waits for the sinks, and what they refused. Names are snake_case, stamps Unix seconds.

use axum::{Json, extract::State};
use presence_core::{DeadLetter, Rejection, SinkBooks, SinkName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    extract::{JsonBody, Params, Segments, Whole},
    openapi::schemas,
    problem::Problem,
    state::OutboxParts,
};

/// The most dead letters of a page, or of a request to send them again.
const PAGE: usize = 1000;

/// What became of all events that were kept for a sink. `accepted` is the sum of the others.
#[derive(Serialize, ToSchema)]
#[schema(as = SinkBooks)]
pub(crate) struct Books {
    #[schema(value_type = schemas::SinkName)]
    sink: String,
    /// All that were ever kept.
    #[schema(value_type = schemas::Count)]
    accepted: u64,
    /// The sink has them.
    #[schema(value_type = schemas::Count)]
    delivered: u64,
    /// They wait.
    #[schema(value_type = schemas::Count)]
    pending: u64,
    /// The sink refused them for good; they are kept for a while.
    #[schema(value_type = schemas::Count)]
    dead: u64,
    /// They waited, or lay dead, for too long.
    #[schema(value_type = schemas::Count)]
    expired: u64,
    /// They were removed with their user.
    #[schema(value_type = schemas::Count)]
    erased: u64,
    /// When the oldest of those that wait was kept.
    #[schema(required = false, value_type = schemas::UnixSeconds)]
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<i64>,
}

impl From<SinkBooks> for Books {
    fn from(books: SinkBooks) -> Self {
        let accepted = books.accepted();
        let SinkBooks { sink, pending, oldest, delivered, dead, expired, erased, .. } = books;
        let oldest = oldest.map(|at| at.as_secs());
        Self { sink: sink.as_str().to_owned(), accepted, delivered, pending, dead, expired, erased, oldest }
    }
}

/// The books of all sinks.
#[derive(Serialize, ToSchema)]
pub(crate) struct AllBooks {
    /// By name.
    sinks: Vec<Books>,
}

/// Shows what waits for each sink, and what became of the rest.
#[utoipa::path(
    get, path = "/management/outbox", operation_id = "listSinks", tag = "operations",
    responses((status = 200, description = "The books, as they are now.", body = AllBooks)),
)]
pub(crate) async fn books(State(state): State<AppState>) -> Result<Json<AllBooks>, Problem> {
    let books = match state.outbox() {
        Some(outbox) => outbox.books().await?,
        None => Vec::new(),
    };
    Ok(Json(AllBooks { sinks: books.into_iter().map(Books::from).collect() }))
}

/// The sink that the path names, where something was ever kept for it.
async fn sink<'a>(state: &'a AppState, segments: &Segments) -> Result<(&'a OutboxParts, SinkName), Problem> {
    let unknown = || Problem::not_found("SINK_NOT_FOUND", "nothing was ever kept for such a sink");
    let name = SinkName::new(segments.named("sink").unwrap_or_default()).ok_or_else(unknown)?;
    let outbox = state.outbox().ok_or_else(unknown)?;
    let is_known = outbox.books().await?.iter().any(|books| books.sink == name);
    if is_known { Ok((outbox, name)) } else { Err(unknown()) }
}

/// Which dead letters.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Place {
    /// The page begins after this number: `next_cursor` of the page before.
    #[param(required = false, value_type = i64)]
    cursor: Option<i64>,
    #[param(required = false, value_type = schemas::Limit)]
    limit: Option<usize>,
}

/// Events that a sink refused for good.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeadLetters {
    #[schema(value_type = schemas::SinkName)]
    sink: String,
    /// Oldest first.
    dead_letters: Vec<Dead>,
    /// Absent on the last page.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<i64>,
}

/// An event that a sink refused for good.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct Dead {
    /// Its number among all events.
    number: i64,
    /// What it was sent as: `webhook-id`.
    event_id: String,
    /// Why it was refused.
    reason: String,
    #[schema(value_type = schemas::UnixSeconds)]
    at: i64,
    /// The event.
    #[schema(value_type = Object)]
    event: Option<Box<RawValue>>,
}

impl From<DeadLetter> for Dead {
    fn from(dead: DeadLetter) -> Self {
        let DeadLetter { letter, reason, at, .. } = dead;
        let event_id = letter.event_id();
        let event = RawValue::from_string(letter.body).ok();
        Self { number: letter.number, event_id, reason, at: at.as_secs(), event }
    }
}

/// Lists the events that a sink refused for good, oldest first.
#[utoipa::path(
    get, path = "/management/outbox/{sink}/dead-letters", operation_id = "listDeadLetters", tag = "operations",
    params(("sink" = schemas::SinkName, Path), Place),
    responses(
        (status = 200, description = "A page.", body = DeadLetters),
        (status = 404, description = "Nothing was ever kept for such a sink (`SINK_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn dead_letters(
    State(state): State<AppState>,
    segments: Segments,
    Params(place): Params<Place>,
) -> Result<Json<DeadLetters>, Problem> {
    let limit = place.limit.unwrap_or(100);
    if !(1..=PAGE).contains(&limit) {
        return Err(Rejection::InvalidLimit.into());
    }
    let (outbox, sink) = sink(&state, &segments).await?;
    let mut page = outbox.query.dead_letters(&sink, place.cursor, limit.saturating_add(1)).await?;
    let is_last = page.len() <= limit;
    page.truncate(limit);
    let next_cursor = page.last().filter(|_| !is_last).map(|dead| dead.letter.number);
    let dead_letters = page.into_iter().map(Dead::from).collect();
    Ok(Json(DeadLetters { sink: sink.as_str().to_owned(), dead_letters, next_cursor }))
}

/// Which dead letters are sent again.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Again {
    /// Their numbers. Without them: all of the sink's.
    #[schema(required = false, max_items = 1000, value_type = Option<Vec<i64>>)]
    #[serde(default)]
    numbers: Option<Vec<Whole>>,
}

/// How many dead letters are on their way again.
#[derive(Serialize, ToSchema)]
pub(crate) struct Requeued {
    #[schema(value_type = schemas::Count)]
    requeued: u64,
}

/// Sends events again that a sink refused, under their numbers and in their order. Those that are not there are passed over.
#[utoipa::path(
    post, path = "/management/outbox/{sink}/requeue", operation_id = "requeueDeadLetters", tag = "operations",
    params(("sink" = schemas::SinkName, Path)),
    request_body(content = Option<Again>, example = json!({"numbers": [17]})),
    responses(
        (status = 200, description = "They wait for the sink again.", body = Requeued),
        (status = 404, description = "Nothing was ever kept for such a sink (`SINK_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn requeue(
    State(state): State<AppState>,
    segments: Segments,
    body: JsonBody<Again>,
) -> Result<Json<Requeued>, Problem> {
    let numbers = body.0.and_then(|again| again.numbers);
    if numbers.as_ref().is_some_and(|numbers| numbers.len() > PAGE) {
        return Err(Problem::bad_request("TOO_MANY_NUMBERS", "at most 1000 numbers at a time"));
    }
    let (outbox, sink) = sink(&state, &segments).await?;
    let numbers = numbers.map(|numbers| numbers.into_iter().map(|Whole(number)| number).collect());
    let requeued = outbox.outbox.requeue(&sink, numbers).await?;
    tracing::info!(%sink, requeued, "dead letters are sent again");
    Ok(Json(Requeued { requeued }))
}
