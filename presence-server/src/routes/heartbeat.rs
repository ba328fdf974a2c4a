//! `/users/{user_id}/heartbeat`: a user is still there.

use axum::{
    Json,
    extract::State,
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use presence_core::{Heartbeat, StateType, Taken, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    AppState,
    extract::{JsonBody, PathUser, Whole, seconds},
    openapi::schemas,
    problem::Problem,
    routes::{DURABILITY, IN_MEMORY},
};

/// A sign of life.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = Heartbeat)]
pub(crate) struct Beat {
    /// When it was given. Without it: now.
    #[schema(value_type = Option<schemas::UnixSeconds>)]
    timestamp: Option<Whole>,
    /// The state that it brings a silent or new user to. Without it: `Online`.
    #[schema(value_type = Option<schemas::State>)]
    state: Option<String>,
}

/// What it kept alive.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alive {
    #[schema(value_type = schemas::UserId)]
    user_id: String,
    #[schema(value_type = schemas::State)]
    current_state: StateType,
    #[schema(value_type = schemas::UnixSeconds)]
    last_heartbeat: i64,
}

/// Says that the user is still there.
///
/// Durable with the next flush; where it changed the state, it was committed first. The body may be left out. Repeating it
/// does no harm.
#[utoipa::path(
    post, path = "/users/{user_id}/heartbeat", operation_id = "heartbeatUser", tag = "checkpoints",
    params(PathUser),
    request_body(content = Option<Beat>, example = json!({"timestamp": 1_717_161_600, "state": "Working"})),
    responses(
        (status = 200, description = "Taken.", body = Alive,
            headers(("Presence-Durability" = schemas::Durability, description = "What it survives.")),
            example = json!({"user_id": "alice", "current_state": "Working", "last_heartbeat": 1_717_161_600})),
        (status = 410, description = "The user was erased at or after the timestamp (`USER_ERASED`)."),
    ),
)]
pub(crate) async fn beat(
    State(state): State<AppState>,
    PathUser(user): PathUser,
    JsonBody(body): JsonBody<Beat>,
) -> Result<Response, Problem> {
    let Beat { timestamp, state: name } = body.unwrap_or_default();
    let user_id = user.to_string();
    let mut heartbeat = Heartbeat::of_user(user);
    if let Some(at) = seconds(timestamp.map(|Whole(at)| at))? {
        heartbeat = heartbeat.at(at);
    }
    if let Some(name) = name {
        heartbeat = heartbeat.waking_to(StateType::new(name)?);
    }
    let alive = |current_state, last_heartbeat: Timestamp| {
        Json(Alive { user_id, current_state, last_heartbeat: last_heartbeat.as_secs() })
    };
    let taken = state.beats().beat(heartbeat).await?;
    state.metrics().heartbeats([Ok(&taken)]);
    let (durability, body) = match taken {
        Taken::Kept { current_state, last_heartbeat } => (IN_MEMORY, alive(current_state, last_heartbeat)),
        Taken::Committed(recorded) => {
            let session = recorded.session.ok_or_else(super::status::unknown_user)?;
            let durability = HeaderValue::from_static(state.settings().durability);
            (durability, alive(session.current_state, session.last_heartbeat))
        }
        Taken::Counted => return Err(super::status::unknown_user()),
    };
    Ok(([(DURABILITY, durability)], body).into_response())
}
