//! `/users/{user_id}/heartbeat`: a user is still there.

use axum::{
    Json,
    extract::State,
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use presence_core::{Heartbeat, StateType, Taken, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    AppState,
    extract::{JsonBody, PathUser, seconds},
    problem::Problem,
    routes::{DURABILITY, IN_MEMORY},
};

/// A heartbeat; the body may be left out.
#[derive(Default, Deserialize)]
pub(crate) struct Beat {
    timestamp: Option<i64>,
    state: Option<String>,
}

/// What it kept alive.
#[derive(Serialize)]
pub(crate) struct Alive {
    user_id: String,
    current_state: StateType,
    last_heartbeat: i64,
}

/// `POST`: taken, and durable with the next flush; where it changed the state, committed.
pub(crate) async fn beat(
    State(state): State<AppState>,
    PathUser(user): PathUser,
    JsonBody(body): JsonBody<Beat>,
) -> Result<Response, Problem> {
    let Beat { timestamp, state: name } = body.unwrap_or_default();
    let user_id = user.to_string();
    let mut heartbeat = Heartbeat::of_user(user);
    if let Some(at) = seconds(timestamp)? {
        heartbeat = heartbeat.at(at);
    }
    if let Some(name) = name {
        heartbeat = heartbeat.waking_to(StateType::new(name)?);
    }
    let alive = |current_state, last_heartbeat: Timestamp| {
        Json(Alive { user_id, current_state, last_heartbeat: last_heartbeat.as_secs() })
    };
    let (durability, body) = match state.beats().beat(heartbeat).await? {
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
