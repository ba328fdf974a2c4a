//! `/users/{user_id}/summaries`: how each day was spent.

use axum::{Json, extract::State};
use presence_core::{StateType, Timestamp, Zone};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    extract::{Params, PathUser, seconds},
    openapi::schemas,
    problem::Problem,
};

/// Which days.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Days {
    /// The first day is the one of this instant. Without it: six days before the last.
    #[param(required = false, value_type = schemas::UnixSeconds)]
    from: Option<i64>,
    /// The last day is the one before this instant. Without it: today.
    #[param(required = false, value_type = schemas::UnixSeconds)]
    to: Option<i64>,
    /// The zone of the days. Without it: the server's.
    #[param(required = false, value_type = schemas::TimeZone)]
    tz: Option<String>,
}

/// Time in one state on one day.
#[derive(Serialize, ToSchema)]
pub(crate) struct Summary {
    /// When the day began.
    #[schema(value_type = schemas::UnixSeconds)]
    bucket_start: i64,
    #[schema(value_type = schemas::State)]
    state: StateType,
    #[schema(value_type = schemas::Seconds)]
    duration_secs: u64,
}

/// Tells how each day was spent.
///
/// The oldest day first, then by state; at most 366 days.
#[utoipa::path(
    get, path = "/users/{user_id}/summaries", operation_id = "getSummaries", tag = "checkpoints",
    params(PathUser, Days),
    responses(
        (status = 200, description = "The days; none for a user that is not known.", body = Vec<Summary>,
            example = json!([{"bucket_start": 1_717_113_600, "state": "Working", "duration_secs": 340}])),
    ),
)]
pub(crate) async fn summaries(
    State(state): State<AppState>,
    PathUser(user): PathUser,
    Params(days): Params<Days>,
) -> Result<Json<Vec<Summary>>, Problem> {
    let zone = days.tz.as_deref().map(Zone::new).transpose()?;
    let zone = zone.as_ref().unwrap_or(&state.settings().zone);
    let to = seconds(days.to)?.unwrap_or_else(|| state.tracker().now());
    let week = std::time::Duration::from_secs(6 * 86_400);
    let from = seconds(days.from)?.unwrap_or_else(|| to.saturating_sub(week));
    let last = if days.to.is_some() && to > from { before(to) } else { to };
    let summaries = state.beats().summaries(&user, zone.date_of(from), zone.date_of(last), zone).await?;
    let rows = summaries.into_iter().flat_map(|summary| {
        let bucket_start = summary.day.spans().first().map_or(0, |span| span.from().as_secs());
        let mut parts = summary.durations;
        parts.sort_by(|a, b| a.state.cmp(&b.state));
        parts.into_iter().map(move |part| Summary {
            bucket_start,
            state: part.state,
            duration_secs: part.duration.as_secs(),
        })
    });
    Ok(Json(rows.collect()))
}

/// The last instant before `at`: a window that ends at midnight does not reach into the next day.
fn before(at: Timestamp) -> Timestamp {
    at.saturating_sub(std::time::Duration::from_millis(1))
}
