//! `/users/{user_id}/status`: what a user is doing, and for how long.

use axum::{Json, extract::State};
use presence_core::{StateDuration, StateType, Timestamp, Window};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    extract::{Params, PathUser, seconds},
    openapi::schemas,
    problem::Problem,
};

/// The window of the durations.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Span {
    /// The window begins here. Without it: at the beginning.
    #[param(required = false, value_type = schemas::UnixSeconds)]
    from: Option<i64>,
    /// The window ends before this, and not before it begins. Without it: now.
    #[param(required = false, value_type = schemas::UnixSeconds)]
    to: Option<i64>,
}

/// What a user is doing.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    #[schema(value_type = schemas::UserId)]
    user_id: String,
    #[schema(value_type = schemas::State)]
    current_state: StateType,
    /// When the latest unbroken run of this state began.
    #[schema(value_type = schemas::UnixSeconds)]
    since: i64,
    /// The longest first, then by name; a state without time is not there.
    durations: Vec<Duration>,
}

/// Time in one state.
#[derive(Serialize, ToSchema)]
#[schema(as = StateDuration)]
pub(crate) struct Duration {
    #[schema(value_type = schemas::State)]
    state: StateType,
    #[schema(value_type = schemas::Seconds)]
    duration_secs: u64,
}

impl From<StateDuration> for Duration {
    fn from(part: StateDuration) -> Self {
        Self { state: part.state, duration_secs: part.duration.as_secs() }
    }
}

/// The problem of a user that was never heard of.
pub(crate) fn unknown_user() -> Problem {
    Problem::not_found("USER_NOT_FOUND", "the user is not known")
}

/// Tells what the user is doing, and for how long.
///
/// The durations are those of the window, or of all time.
#[utoipa::path(
    get, path = "/users/{user_id}/status", operation_id = "getStatus", tag = "checkpoints",
    params(PathUser, Span),
    responses(
        (status = 200, description = "The current state and the durations.", body = Status,
            example = json!({"user_id": "alice", "current_state": "Offline", "since": 1_717_161_603,
                "durations": [{"state": "Working", "duration_secs": 3}]})),
        (status = 404, description = "The user is not known (`USER_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn status(
    State(state): State<AppState>,
    PathUser(user): PathUser,
    Params(span): Params<Span>,
) -> Result<Json<Status>, Problem> {
    let window = match (seconds(span.from)?, seconds(span.to)?) {
        (None, None) => Window::all(),
        (from, to) => Window::new(from.unwrap_or(Timestamp::MIN), to.unwrap_or(Timestamp::MAX))?,
    };
    let status = state.beats().status(&user, window).await?.ok_or_else(unknown_user)?;
    Ok(Json(Status {
        user_id: status.user.to_string(),
        current_state: status.current_state,
        since: status.since.as_secs(),
        durations: status.durations.into_iter().map(Duration::from).collect(),
    }))
}
