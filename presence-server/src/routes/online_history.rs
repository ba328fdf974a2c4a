//! `/api/v1/presence/online-history`: how many were online, minute by minute.

use axum::{Json, extract::State};
use presence_core::{Interval, OnlinePoint, Window};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    extract::{Params, instant},
    openapi::schemas,
    problem::Problem,
};

/// Which part of the history.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Span {
    /// It begins here.
    #[param(value_type = schemas::DateTime)]
    start_time: String,
    /// It ends before this.
    #[param(value_type = schemas::DateTime)]
    end_time: String,
    #[param(required = false, value_type = schemas::Interval)]
    interval: Option<String>,
}

/// How many were online in one interval.
#[derive(Serialize, ToSchema)]
#[schema(as = OnlinePoint)]
struct Point {
    /// When the interval began, which may be before the history begins.
    #[schema(value_type = schemas::Instant)]
    ts: String,
    /// The mean of its minutes, rounded half up.
    #[schema(value_type = schemas::Count)]
    count: u64,
    /// The highest of its minutes.
    #[schema(value_type = schemas::Count)]
    peak: u64,
}

impl From<OnlinePoint> for Point {
    fn from(point: OnlinePoint) -> Self {
        Self { ts: point.at.to_string(), count: point.count, peak: point.peak }
    }
}

/// A part of the history.
#[derive(Serialize, ToSchema)]
#[schema(as = OnlineHistory)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    /// The oldest first; an interval in which nothing was counted is not there.
    data: Vec<Point>,
    #[schema(value_type = schemas::Interval)]
    interval: String,
    #[schema(value_type = schemas::Instant)]
    start_time: String,
    #[schema(value_type = schemas::Instant)]
    end_time: String,
}

/// Tells how many were online, in intervals aligned in UTC; at most 10,000 of them.
///
/// The server counts once a minute. `1m` gives what it counted, longer intervals the mean and the peak. Minutes in which
/// it did not run are not made up.
#[utoipa::path(
    get, path = "/api/v1/presence/online-history", operation_id = "listOnlineHistory", tag = "presence",
    params(Span),
    responses(
        (status = 200, description = "The intervals.", body = History,
            example = json!({"data": [{"ts": "2024-05-31T13:20:00.000Z", "count": 30, "peak": 50}], "interval": "5m",
                "startTime": "2024-05-31T13:20:00.000Z", "endTime": "2024-05-31T13:30:00.000Z"})),
    ),
)]
pub(crate) async fn online_history(
    State(state): State<AppState>,
    Params(span): Params<Span>,
) -> Result<Json<History>, Problem> {
    let interval = span.interval.as_deref().map(str::parse::<Interval>).transpose()?.unwrap_or_default();
    let window = Window::new(instant(&span.start_time)?, instant(&span.end_time)?)?;
    let points = state.activity().online_history(window, interval).await?;
    Ok(Json(History {
        data: points.into_iter().map(Point::from).collect(),
        interval: interval.to_string(),
        start_time: window.from().to_string(),
        end_time: window.to().to_string(),
    }))
}
