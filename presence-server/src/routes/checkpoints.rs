//! `/users/{user_id}/checkpoints`: reports in, and the history out. Instants are Unix seconds.

use axum::{
    Json,
    extract::{OriginalUri, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use presence_core::{
    Checkpoint, CheckpointId, Content, Cursor, Envelope, EventId, Source, StateType, Timestamp, Window,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    extract::{IdempotencyKey, JsonBody, Params, PathUser, Segments, Whole, seconds},
    openapi::schemas,
    problem::Problem,
    routes::DURABILITY,
};

/// What a user is doing.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Report {
    #[schema(value_type = schemas::State)]
    state: String,
    #[schema(required = false, value_type = schemas::Content)]
    content: Option<Box<RawValue>>,
    /// Since when. Without it: now.
    #[schema(value_type = Option<schemas::UnixSeconds>)]
    timestamp: Option<Whole>,
    /// Goes before `Idempotency-Key`.
    #[schema(value_type = Option<schemas::EventId>)]
    event_id: Option<String>,
}

/// A row of the history.
#[derive(Serialize, ToSchema)]
#[schema(as = Checkpoint)]
pub(crate) struct Row {
    #[schema(value_type = schemas::CheckpointId)]
    id: i64,
    #[schema(value_type = schemas::UserId)]
    user_id: String,
    #[schema(value_type = schemas::State)]
    state: StateType,
    /// Since when.
    #[schema(value_type = schemas::UnixSeconds)]
    timestamp: i64,
    #[schema(required = true, value_type = schemas::Content)]
    content: Option<Content>,
    #[schema(value_type = schemas::Source)]
    source: Source,
}

impl From<Checkpoint> for Row {
    fn from(row: Checkpoint) -> Self {
        Self {
            id: row.id.get(),
            user_id: row.user.to_string(),
            state: row.state,
            timestamp: row.at.as_secs(),
            content: row.content,
            source: row.source,
        }
    }
}

/// Reports what the user is doing.
///
/// It is committed when it is answered, and counts as a sign of life unless the state is `Offline`.
#[utoipa::path(
    post, path = "/users/{user_id}/checkpoints", operation_id = "reportCheckpoint", tag = "checkpoints",
    params(PathUser, IdempotencyKey),
    request_body(content = Report, example = json!({"state": "Idle", "timestamp": 1_717_161_605,
        "content": {"device": "MacBook", "battery": 85}})),
    responses(
        (status = 201, description = "The row of the report.", body = Row,
            links(
                ("row" = (operation_id = "getCheckpoint",
                    parameters(("user_id" = "$request.path.user_id"), ("id" = "$response.body#/id")))),
                ("status" = (operation_id = "getStatus", parameters(("user_id" = "$request.path.user_id")))),
            ),
            headers(("Presence-Durability" = schemas::Durability, description = "What the row survives.")),
            example = json!({"id": 2, "user_id": "alice", "state": "Idle", "timestamp": 1_717_161_605,
                "content": {"battery": 85, "device": "MacBook"}, "source": "client"})),
        (status = 200, description = "Nothing changed: the row in force, or `null` where that is gone meanwhile.",
            body = Option<Row>,
            headers(("Presence-Durability" = schemas::Durability, description = "What the row survives.")),
            example = json!({"id": 1, "user_id": "alice", "state": "Working", "timestamp": 1_717_161_600,
                "content": null, "source": "client"})),
        (status = 409, description = "The event id was used with another body (`EVENT_ID_REUSED`)."),
        (status = 410, description = "The user was erased at or after the timestamp (`USER_ERASED`)."),
    ),
)]
pub(crate) async fn report(
    State(state): State<AppState>,
    PathUser(user): PathUser,
    IdempotencyKey(key): IdempotencyKey,
    body: JsonBody<Report>,
) -> Result<Response, Problem> {
    let Report { state: name, content, timestamp, event_id: id } = body.required()?;
    let mut envelope = Envelope::checkpoint(user, StateType::new(name)?);
    if let Some(content) = content {
        envelope = envelope.with_content(Content::parse(content.get())?);
    }
    if let Some(at) = seconds(timestamp.map(|Whole(at)| at))? {
        envelope = envelope.at(at);
    }
    if let Some(id) = id.map(EventId::new).transpose()?.or(key) {
        envelope = envelope.with_event_id(id);
    }
    let recorded = state.beats().record(envelope).await?;
    state.metrics().checkpoint(recorded.created);
    let status = if recorded.created { StatusCode::CREATED } else { StatusCode::OK };
    let row = recorded.checkpoint.map(Row::from);
    let durability = [(DURABILITY, HeaderValue::from_static(state.settings().durability))];
    Ok((status, durability, Json(row)).into_response())
}

/// Which part of a history.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The earliest second, included. Without it: the first.
    #[param(required = false, value_type = schemas::UnixSeconds)]
    from: Option<i64>,
    /// The latest second, included, and not before `from`. Without it: the last.
    #[param(required = false, value_type = schemas::UnixSeconds)]
    to: Option<i64>,
    #[param(required = false, value_type = schemas::Limit)]
    limit: Option<usize>,
    #[param(required = false, value_type = schemas::Cursor)]
    cursor: Option<String>,
}

/// Lists the history, newest first.
#[utoipa::path(
    get, path = "/users/{user_id}/checkpoints", operation_id = "listCheckpoints", tag = "checkpoints",
    params(PathUser, Page),
    responses(
        (status = 200, description = "A page; an empty one for a user that is not known.", body = Vec<Row>,
            headers(("Link" = String, description = "The next page, `rel=\"next\"`; not there on the last.")),
            example = json!([{"id": 1, "user_id": "alice", "state": "Working", "timestamp": 1_717_161_600,
                "content": null, "source": "client"}])),
    ),
)]
pub(crate) async fn history(
    State(state): State<AppState>,
    PathUser(user): PathUser,
    OriginalUri(uri): OriginalUri,
    Params(page): Params<Page>,
) -> Result<Response, Problem> {
    let from = seconds(page.from)?.unwrap_or(Timestamp::MIN);
    // `to` covers its whole second.
    let to =
        seconds(page.to)?.map_or(Timestamp::MAX, |to| to.saturating_add(std::time::Duration::from_secs(1)));
    if page.from.zip(page.to).is_some_and(|(from, to)| from > to) {
        return Err(presence_core::Rejection::InvalidWindow.into());
    }
    let after = page.cursor.as_deref().map(str::parse::<Cursor>).transpose()?;
    let limit = page.limit.unwrap_or(100);
    let found = state.tracker().history(&user, Window::new(from, to)?, after, limit).await?;
    let rows: Vec<_> = found.items.into_iter().map(Row::from).collect();
    let mut response = Json(rows).into_response();
    if let Some(next) = found.next {
        let mut query = format!("limit={limit}&cursor={next}");
        for (name, value) in [("from", page.from), ("to", page.to)] {
            query.extend(value.map(|value| format!("&{name}={value}")));
        }
        let link = HeaderValue::from_str(&format!("<{}?{query}>; rel=\"next\"", uri.path()));
        response.headers_mut().extend(link.ok().map(|link| (header::LINK, link)));
    }
    Ok(response)
}

/// Shows one row of the history.
#[utoipa::path(
    get, path = "/users/{user_id}/checkpoints/{id}", operation_id = "getCheckpoint", tag = "checkpoints",
    params(PathUser, ("id" = schemas::CheckpointId, Path)),
    responses(
        (status = 200, description = "The row.", body = Row,
            example = json!({"id": 1, "user_id": "alice", "state": "Working", "timestamp": 1_717_161_600,
                "content": null, "source": "client"})),
        (status = 404, description = "The user has no such row (`CHECKPOINT_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn one(
    State(state): State<AppState>,
    PathUser(user): PathUser,
    segments: Segments,
) -> Result<Json<Row>, Problem> {
    let id = segments.named("id").and_then(|id| id.parse().ok());
    let id = CheckpointId::new(id.unwrap_or_default())?;
    let row = state.tracker().checkpoint(&user, id).await?;
    let row =
        row.ok_or_else(|| Problem::not_found("CHECKPOINT_NOT_FOUND", "the user has no such checkpoint"))?;
    Ok(Json(row.into()))
}
