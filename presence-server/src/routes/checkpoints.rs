//! `/users/{user_id}/checkpoints`: reports in, and the history out. Instants are Unix seconds.

use axum::{
    Json,
    extract::{OriginalUri, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use presence_core::{
    Checkpoint, CheckpointId, Content, Cursor, Envelope, Source, StateType, Timestamp, Window,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    AppState,
    extract::{JsonBody, Params, PathUser, Segments, event_id, seconds},
    problem::Problem,
    routes::DURABILITY,
};

/// A report.
#[derive(Deserialize)]
pub(crate) struct Report {
    state: String,
    content: Option<Box<RawValue>>,
    timestamp: Option<i64>,
    event_id: Option<String>,
}

/// A row of the history.
#[derive(Serialize)]
pub(crate) struct Row {
    id: i64,
    user_id: String,
    state: StateType,
    timestamp: i64,
    content: Option<Content>,
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

/// `POST`: the user is in this state. 201 with the row, or 200 with the row in force where nothing changed.
pub(crate) async fn report(
    State(state): State<AppState>,
    PathUser(user): PathUser,
    headers: HeaderMap,
    body: JsonBody<Report>,
) -> Result<Response, Problem> {
    let Report { state: name, content, timestamp, event_id: id } = body.required()?;
    let mut envelope = Envelope::checkpoint(user, StateType::new(name)?);
    if let Some(content) = content {
        envelope = envelope.with_content(Content::parse(content.get())?);
    }
    if let Some(at) = seconds(timestamp)? {
        envelope = envelope.at(at);
    }
    if let Some(id) = event_id(&headers, id)? {
        envelope = envelope.with_event_id(id);
    }
    let recorded = state.beats().record(envelope).await?;
    let status = if recorded.created { StatusCode::CREATED } else { StatusCode::OK };
    let row = recorded.checkpoint.map(Row::from);
    let durability = [(DURABILITY, HeaderValue::from_static(state.settings().durability))];
    Ok((status, durability, Json(row)).into_response())
}

/// Which part of a history.
#[derive(Deserialize)]
pub(crate) struct Page {
    from: Option<i64>,
    to: Option<i64>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET`: the rows from `from` to `to`, both included, newest first; the next page is in `Link`.
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

/// `GET /{id}`: one row.
pub(crate) async fn one(
    State(state): State<AppState>,
    PathUser(user): PathUser,
    Segments(segments): Segments,
) -> Result<Json<Row>, Problem> {
    let id = segments.iter().find(|(name, _)| name == "id").and_then(|(_, id)| id.parse().ok());
    let id = CheckpointId::new(id.unwrap_or_default())?;
    let row = state.tracker().checkpoint(&user, id).await?;
    let row =
        row.ok_or_else(|| Problem::not_found("CHECKPOINT_NOT_FOUND", "the user has no such checkpoint"))?;
    Ok(Json(row.into()))
}
