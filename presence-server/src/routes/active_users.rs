//! `/api/v1/analytics`: who was active, by day, week and month. Names are camelCase, days local.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use chrono::NaiveDate;
use presence_core::{ActiveUsers, DailyActiveStats, Period};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    extract::{Params, Segments, day},
    openapi::schemas,
    problem::Problem,
    routes::DURABILITY,
};

/// Which days.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Days {
    /// The first one. Without it: six days before the last.
    #[param(required = false, value_type = schemas::Day)]
    start_date: Option<String>,
    /// The last one. Without it: today.
    #[param(required = false, value_type = schemas::Day)]
    end_date: Option<String>,
}

impl Days {
    fn period(&self, state: &AppState) -> Result<Period, Problem> {
        let last = self.end_date.as_deref().map_or_else(|| Ok(state.activity().today()), day)?;
        match self.start_date.as_deref() {
            Some(first) => Ok(Period::new(day(first)?, last)?),
            None => Ok(Period::trailing(7, last)?),
        }
    }
}

/// How many people were active on a day.
#[derive(Serialize, ToSchema)]
#[schema(as = DailyActiveUsers)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Daily {
    #[schema(value_type = schemas::Day)]
    day: NaiveDate,
    /// Each person counts once: a user under the user id, whatever the installs, and an install by itself only where
    /// none of its events named a user.
    #[schema(value_type = schemas::Count)]
    dau_count: u64,
    /// By the province that each named last; who named none is left out.
    #[schema(value_type = schemas::CountByRegion)]
    by_province: BTreeMap<String, u64>,
    /// The same by city.
    #[schema(value_type = schemas::CountByRegion)]
    by_city: BTreeMap<String, u64>,
    #[schema(value_type = schemas::Instant)]
    calculated_at: String,
    /// How often it was calculated.
    #[schema(value_type = schemas::StatsVersion)]
    version: i64,
    /// Whether nothing that comes can change it: the day and its late window are over, and all that came is counted.
    r#final: bool,
}

impl From<DailyActiveStats> for Daily {
    fn from(stats: DailyActiveStats) -> Self {
        let ActiveUsers { count, by_province, by_city } = stats.active;
        Self {
            day: stats.day,
            dau_count: count,
            by_province,
            by_city,
            calculated_at: stats.calculated_at.to_string(),
            version: stats.version,
            r#final: stats.is_final,
        }
    }
}

/// The figures of days.
#[derive(Serialize, ToSchema)]
#[schema(as = DailyActiveUsersList)]
pub(crate) struct Dau {
    /// The first day first; a day that was never calculated is not there.
    data: Vec<Daily>,
}

/// Tells how many people were active on each day, at most 366 days.
///
/// What comes is in the figures within a minute.
#[utoipa::path(
    get, path = "/api/v1/analytics/dau", operation_id = "listDailyActiveUsers", tag = "analytics",
    params(Days),
    responses(
        (status = 200, description = "The days.", body = Dau,
            example = json!({"data": [{"day": "2024-05-31", "dauCount": 3, "byProvince": {"Hunan": 2},
                "byCity": {"Changsha": 1}, "calculatedAt": "2024-05-31T13:20:00.000Z", "version": 4, "final": false}]})),
    ),
)]
pub(crate) async fn dau(
    State(state): State<AppState>,
    Params(days): Params<Days>,
) -> Result<Json<Dau>, Problem> {
    let stats = state.activity().stats(days.period(&state)?).await?;
    Ok(Json(Dau { data: stats.into_iter().map(Daily::from).collect() }))
}

/// Which run of days.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Run {
    #[param(required = false, value_type = schemas::Period)]
    period: Option<String>,
    /// A day of the calendar week or month, or the last one of the trailing days. Without it: today.
    #[param(required = false, value_type = schemas::Day)]
    date: Option<String>,
}

/// How many people were active in a run of days.
#[derive(Serialize, ToSchema)]
#[schema(as = ActiveUsers)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Active {
    #[schema(value_type = schemas::Period)]
    period: &'static str,
    /// The first day.
    #[schema(value_type = schemas::Day)]
    start_date: NaiveDate,
    /// The last day.
    #[schema(value_type = schemas::Day)]
    end_date: NaiveDate,
    /// Each person counts once, however many days they came.
    #[schema(value_type = schemas::Count)]
    count: u64,
    /// By the province that each named last; who named none is left out.
    #[schema(value_type = schemas::CountByRegion)]
    by_province: BTreeMap<String, u64>,
    /// The same by city.
    #[schema(value_type = schemas::CountByRegion)]
    by_city: BTreeMap<String, u64>,
}

/// Tells how many people were active in a week or a month: of the calendar, or the last 7 or 30 days.
///
/// All that is stored counts, at once.
#[utoipa::path(
    get, path = "/api/v1/analytics/active-users", operation_id = "countActiveUsers", tag = "analytics",
    params(Run),
    responses(
        (status = 200, description = "How many, and where.", body = Active,
            example = json!({"period": "week", "startDate": "2024-05-27", "endDate": "2024-06-02", "count": 3,
                "byProvince": {"Hunan": 2}, "byCity": {"Changsha": 1}})),
        (status = 410, description = "The events of these days are no longer kept (`EVENTS_RETIRED`)."),
    ),
)]
pub(crate) async fn active_users(
    State(state): State<AppState>,
    Params(run): Params<Run>,
) -> Result<Json<Active>, Problem> {
    let date = run.date.as_deref().map_or_else(|| Ok(state.activity().today()), day)?;
    let (name, period) = match run.period.as_deref().unwrap_or("week") {
        "week" => ("week", Period::week(date)),
        "month" => ("month", Period::month(date)),
        "7d" => ("7d", Period::trailing(7, date)),
        "30d" => ("30d", Period::trailing(30, date)),
        _ => {
            return Err(Problem::bad_request("INVALID_PERIOD", "a period is one of week, month, 7d and 30d"));
        }
    };
    let period = period?;
    // A month of millions takes longer than a request may. It is folded to its end all the same, and whoever asks
    // again finds it done.
    let room = Arc::clone(state.folds()).try_acquire_owned().map_err(|_| Problem::overloaded())?;
    let activity = state.activity().clone();
    let fold = tokio::spawn(async move {
        let active = activity.active_users(period).await;
        drop(room);
        active
    });
    let ActiveUsers { count, by_province, by_city } = fold.await.map_err(|_| Problem::internal())??;
    let (start_date, end_date) = (period.first(), period.last());
    Ok(Json(Active { period: name, start_date, end_date, count, by_province, by_city }))
}

/// Counts a day anew, whether or not something came.
///
/// The figures replace what was there, and add one to the version.
#[utoipa::path(
    post, path = "/api/v1/analytics/dau/{day}/recalculate", operation_id = "recalculateDailyActiveUsers",
    tag = "analytics",
    params(("day" = schemas::Day, Path)),
    responses(
        (status = 200, description = "The new figures.", body = Daily,
            headers(("Presence-Durability" = schemas::Durability, description = "What they survive.")),
            example = json!({"day": "2024-05-31", "dauCount": 3, "byProvince": {"Hunan": 2}, "byCity": {"Changsha": 1},
                "calculatedAt": "2024-05-31T13:20:00.000Z", "version": 5, "final": false})),
        (status = 410, description = "The events of the day are no longer kept (`EVENTS_RETIRED`)."),
    ),
)]
pub(crate) async fn recalculate(
    State(state): State<AppState>,
    segments: Segments,
) -> Result<Response, Problem> {
    let day = day(segments.named("day").unwrap_or_default())?;
    let stats = state.activity().recalculate(day).await?;
    let durability = [(DURABILITY, HeaderValue::from_static(state.settings().durability))];
    Ok((durability, Json(Daily::from(stats))).into_response())
}
