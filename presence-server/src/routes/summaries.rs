//! `/users/{user_id}/summaries`: how each day was spent.

use axum::{Json, extract::State};
use presence_core::{StateType, Timestamp, Zone};
use serde::{Deserialize, Serialize};

use crate::{
    AppState,
    extract::{Params, PathUser, seconds},
    problem::Problem,
};

/// Which days: those from the one of `from` to the one of `to`, in Unix seconds; the last week where nothing is said.
#[derive(Deserialize)]
pub(crate) struct Days {
    from: Option<i64>,
    to: Option<i64>,
    tz: Option<String>,
}

/// Time in one state on one day, in seconds, floored.
#[derive(Serialize)]
pub(crate) struct Summary {
    bucket_start: i64,
    state: StateType,
    duration_secs: u64,
}

/// `GET`: oldest day first, then by state; at most 366 days.
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
    let summaries = state.tracker().summaries(&user, zone.date_of(from), zone.date_of(last), zone).await?;
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
