//! `/users/{user_id}/status`: what a user is doing, and for how long.

use axum::{Json, extract::State};
use presence_core::{StateDuration, StateType, Timestamp, Window};
use serde::{Deserialize, Serialize};

use crate::{
    AppState,
    extract::{Params, PathUser, seconds},
    problem::Problem,
};

/// The window of the durations, in Unix seconds: from `from` up to but without `to`.
#[derive(Deserialize)]
pub(crate) struct Span {
    from: Option<i64>,
    to: Option<i64>,
}

/// What a user is doing.
#[derive(Serialize)]
pub(crate) struct Status {
    user_id: String,
    current_state: StateType,
    since: i64,
    durations: Vec<Duration>,
}

/// Time in one state, in seconds, floored.
#[derive(Serialize)]
pub(crate) struct Duration {
    state: StateType,
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

/// `GET`: the current state, and the durations of the window, or of all time.
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
