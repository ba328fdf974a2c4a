//! `/api/v1/presence`: heartbeats of installs and users, and who is online. Names are camelCase, stamps Unix seconds.

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    extract::State,
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use presence_core::{Heartbeat, InstallId, Member, Taken, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    AppState,
    extract::{BatchBody, Params, parse, parse_object},
    problem::Problem,
    routes::{DURABILITY, IN_MEMORY},
};

/// The most heartbeats of a batch.
const BATCH: usize = 1000;

/// A heartbeat, borrowed from the body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Beat<'a> {
    #[serde(borrow)]
    install_id: Cow<'a, str>,
    #[serde(borrow)]
    app_version: Cow<'a, str>,
    client_ts: i64,
    #[serde(borrow, default)]
    user_id: Option<Name<'a>>,
}

/// A user id as text or as a whole number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name<'a> {
    Number(i64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl Beat<'_> {
    fn heartbeat(self) -> Result<Heartbeat, Problem> {
        let install = InstallId::new(self.install_id.into_owned())?;
        if self.app_version.is_empty() || self.app_version.chars().count() > 64 {
            return Err(Problem::bad_request("INVALID_APP_VERSION", "an app version is 1 to 64 characters"));
        }
        let at = Timestamp::from_secs(self.client_ts)?;
        let heartbeat = match self.user_id {
            None => Heartbeat::of_install(install),
            Some(Name::Number(number)) => Heartbeat::of_user(UserId::new(number.to_string())?).on(install),
            Some(Name::Text(name)) => Heartbeat::of_user(UserId::new(name.into_owned())?).on(install),
        };
        Ok(heartbeat.at(at))
    }
}

/// A heartbeat was taken.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    ok: bool,
    server_ts: i64,
}

/// `POST /heartbeat`.
pub(crate) async fn heartbeat(
    State(state): State<AppState>,
    BatchBody(body): BatchBody,
) -> Result<Response, Problem> {
    let beat: Beat<'_> = parse_object(&body)?;
    let taken = state.beats().beat(beat.heartbeat()?).await?;
    let durability = match taken {
        Taken::Committed(_) => HeaderValue::from_static(state.settings().durability),
        _ => IN_MEMORY,
    };
    let answer = Accepted { ok: true, server_ts: state.tracker().now().as_millis() };
    Ok(([(DURABILITY, durability)], Json(answer)).into_response())
}

/// What became of a batch.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdicts {
    accepted: usize,
    failed: usize,
    errors: Vec<Refused>,
    server_ts: i64,
}

/// An item that was refused.
#[derive(Serialize)]
struct Refused {
    index: usize,
    code: &'static str,
}

/// `POST /heartbeats`: an array of 1 to 1,000 heartbeats, each judged on its own.
pub(crate) async fn heartbeats(
    State(state): State<AppState>,
    BatchBody(body): BatchBody,
) -> Result<Response, Problem> {
    let items: Vec<&RawValue> = parse(&body)?;
    if items.is_empty() || items.len() > BATCH {
        return Err(Problem::bad_request("INVALID_BATCH", "a batch has 1 to 1000 heartbeats"));
    }
    let (mut heartbeats, mut places, mut errors) = (Vec::with_capacity(items.len()), Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        match parse_object::<Beat<'_>>(item.get().as_bytes()).and_then(Beat::heartbeat) {
            Ok(heartbeat) => {
                heartbeats.push(heartbeat);
                places.push(index);
            }
            Err(problem) => errors.push(Refused { index, code: problem.code() }),
        }
    }
    let verdicts = state.beats().beat_many(heartbeats).await?;
    let refused = places.into_iter().zip(verdicts).filter_map(|(index, verdict)| {
        verdict.err().map(|rejection| Refused { index, code: rejection.code() })
    });
    errors.extend(refused);
    errors.sort_by_key(|refused| refused.index);
    let server_ts = state.tracker().now().as_millis();
    let failed = errors.len();
    let verdicts = Verdicts { accepted: items.len().saturating_sub(failed), failed, errors, server_ts };
    Ok(([(DURABILITY, IN_MEMORY)], Json(verdicts)).into_response())
}

/// Who counts as online.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Online {
    window_seconds: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

impl Online {
    /// A whole number of seconds from 1 to 86,400; the server's default where nothing is said.
    fn window(&self, state: &AppState) -> Result<Duration, Problem> {
        let Some(text) = &self.window_seconds else { return Ok(state.tracker().policy().online_window) };
        let seconds = text.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
        let invalid = || Problem::bad_request("INVALID_TIME_WINDOW", "a window is 1 to 86400 seconds");
        seconds.map(Duration::from_secs).ok_or_else(invalid)
    }
}

/// How many are online.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Count {
    count: u64,
    window_seconds: u64,
    queried_at: String,
}

/// `GET /online-count`.
pub(crate) async fn online_count(
    State(state): State<AppState>,
    Params(online): Params<Online>,
) -> Result<Json<Count>, Problem> {
    let window = online.window(&state)?;
    let queried_at = state.tracker().now().to_string();
    Ok(Json(Count {
        count: state.beats().online_count(window),
        window_seconds: window.as_secs(),
        queried_at,
    }))
}

/// Somebody who is online: a user, or an install whose user is not known.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OnlineMember {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    install_id: Option<String>,
    last_seen: String,
}

/// A page of those who are online.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OnlineUsers {
    data: Vec<OnlineMember>,
    next_cursor: Option<String>,
    window_seconds: u64,
}

/// `GET /online-users`: by name, a page at a time.
pub(crate) async fn online_users(
    State(state): State<AppState>,
    Params(online): Params<Online>,
) -> Result<Json<OnlineUsers>, Problem> {
    let window = online.window(&state)?;
    let after = online.cursor.as_deref().map(Member::parse).transpose();
    let after = after.map_err(|_| presence_core::Rejection::InvalidCursor)?;
    let page = state.beats().online_users(window, after.as_ref(), online.limit.unwrap_or(100))?;
    let data = page.items.into_iter().map(|(member, at)| {
        let (user_id, install_id) = match member {
            Member::User(user) => (Some(user.to_string()), None),
            Member::Install(install) => (None, Some(install.to_string())),
        };
        OnlineMember { user_id, install_id, last_seen: at.to_string() }
    });
    let next_cursor = page.next.map(|member| member.to_string());
    Ok(Json(OnlineUsers { data: data.collect(), next_cursor, window_seconds: window.as_secs() }))
}
