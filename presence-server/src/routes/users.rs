//! `/users/{user_id}`: everything about a user, handed over or erased.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use presence_core::{Erasure, Place, Record, StoreError, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::parts::{Parts, parts};
use crate::{AppState, extract::PathUser, openapi::schemas, problem::Problem, routes::DURABILITY};

/// How many records of an export are read at once.
const PAGE: usize = 500;

/// What an erasure removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Receipt {
    #[schema(value_type = schemas::UserId)]
    user_id: String,
    /// Rows of the history.
    #[schema(value_type = schemas::Count)]
    checkpoints: u64,
    /// Remembered event ids.
    #[schema(value_type = schemas::Count)]
    requests: u64,
    /// Events that were reported.
    #[schema(value_type = schemas::Count)]
    events: u64,
    /// What was said in rooms.
    #[schema(value_type = schemas::Count)]
    messages: u64,
    /// Stays in rooms.
    #[schema(value_type = schemas::Count)]
    room_sessions: u64,
}

/// Removes everything about the user.
///
/// Reports stamped up to now are refused from here on; later ones begin anew.
#[utoipa::path(
    delete, path = "/users/{user_id}", operation_id = "eraseUser", tag = "checkpoints",
    params(PathUser),
    responses(
        (status = 200, description = "What was removed; nothing, of a user that is not known.", body = Receipt,
            headers(("Presence-Durability" = schemas::Durability, description = "What the erasure survives.")),
            example = json!({"user_id": "alice", "checkpoints": 3, "requests": 1, "events": 2,
                "messages": 0, "room_sessions": 0})),
    ),
)]
pub(crate) async fn erase(
    State(state): State<AppState>,
    PathUser(user): PathUser,
) -> Result<Response, Problem> {
    let (owner, gone) = (state.clone(), user.clone());
    // In a task of its own: a client that goes away leaves no room that knows the user still.
    let erasing = tokio::spawn(async move {
        let mut erasure = owner.beats().erase(&gone).await?;
        if let Some(outbox) = owner.tracking_outbox() {
            let waiting = outbox.erase(&gone).await.map_err(|error| {
                tracing::warn!(%error, "an erasure does not reach the tracking outbox");
                Problem::from(StoreError::unavailable("the tracking outbox"))
            })?;
            erasure.events = erasure.events.saturating_add(waiting);
        }
        // What began in the meantime goes too.
        owner.hub().forget(&gone, owner.tracker().now()).await;
        Ok::<_, Problem>(erasure)
    });
    let erasure = erasing.await.map_err(|_| Problem::internal())??;
    let durability = [(DURABILITY, HeaderValue::from_static(state.settings().durability))];
    let user_id = user.to_string();
    let Erasure { checkpoints, requests, events, messages, room_sessions } = erasure;
    let receipt = Receipt { user_id, checkpoints, requests, events, messages, room_sessions };
    Ok((durability, Json(receipt)).into_response())
}

/// Hands over everything that is stored about the user.
///
/// A line of JSON each. `kind` is `session`, `online`, `total`, `checkpoint`, `request`, `sighting`, `event` or,
/// of rooms, `room_role`, `room_session` or `room_message`; stamps are Unix milliseconds. An answer that breaks off is not whole: ask again.
#[utoipa::path(
    get, path = "/users/{user_id}/export", operation_id = "exportUser", tag = "checkpoints",
    params(PathUser),
    responses(
        (status = 200, description = "The records.", body = String, content_type = "application/x-ndjson",
            example = json!("{\"kind\":\"checkpoint\",\"id\":1,\"user\":\"alice\",\"state\":\"Working\",\
                \"at\":1717161600000,\"source\":\"client\"}\n")),
        (status = 404, description = "The user is not known (`USER_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn export(
    State(state): State<AppState>,
    PathUser(user): PathUser,
) -> Result<Response, Problem> {
    let first = state.beats().export(&user, None, PAGE).await?;
    if first.items.is_empty() {
        return Err(super::status::unknown_user());
    }
    let (lines, body) = parts();
    tokio::spawn(send(state, user, first.items, first.next, lines));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Sends page after page, until the end, an error, or a reader who is gone.
async fn send(
    state: AppState,
    user: UserId,
    mut records: Vec<Record>,
    mut next: Option<Place>,
    lines: Parts,
) {
    loop {
        let mut page = Vec::new();
        for record in &records {
            // Records are structs of text and numbers: they always serialise.
            page.extend(serde_json::to_vec(record).unwrap_or_default());
            page.push(b'\n');
        }
        if lines.send(page).await.is_err() {
            return;
        }
        let Some(place) = next else { return };
        match state.beats().export(&user, Some(place), PAGE).await {
            Ok(page) => (records, next) = (page.items, page.next),
            Err(error) => return lines.fail(error).await,
        }
    }
}
