//! `/api/v1/presence`: heartbeats of installs and users, and who is online. Names are camelCase, stamps Unix seconds.

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    extract::State,
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use presence_core::{HeartbeatRef, InstallRef, Member, Rejection, Taken, Timestamp, UserRef};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    AppState,
    auth::Principal,
    extract::{Asker, BatchBody, Name, Params, Whole, parse, parse_object},
    openapi::schemas,
    problem::Problem,
    routes::{
        DURABILITY, IN_MEMORY,
        batch::{self, BATCH, Item, Refused, one_by_one},
    },
};

/// A sign of life of an install, or of a user on it.
// Borrowed from the body.
#[derive(Deserialize, ToSchema)]
#[schema(as = PresenceHeartbeat)]
#[serde(rename_all = "camelCase")]
struct Beat<'a> {
    #[schema(value_type = schemas::InstallId)]
    #[serde(borrow)]
    install_id: Cow<'a, str>,
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    #[serde(borrow)]
    app_version: Cow<'a, str>,
    /// When it was given.
    #[schema(value_type = schemas::UnixSeconds)]
    client_ts: Whole,
    /// Without it: the user of the token, where there is one. Another user needs the scope `admin`.
    #[schema(value_type = Option<schemas::UserIdOrNumber>)]
    #[serde(borrow, default)]
    user_id: Option<Name<'a>>,
}

/// Heartbeats.
enum Batch {}

impl PartialSchema for Batch {
    fn schema() -> RefOr<Schema> {
        batch::schema::<Beat<'_>>("What is not a heartbeat is refused by itself; the others are taken.")
            .into()
    }
}

impl ToSchema for Batch {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Beat::name().into_owned(), Beat::schema()));
        Beat::schemas(schemas);
    }
}

impl Beat<'_> {
    /// The heartbeat of the user whom the body names, or else of whoever asks, checked; it borrows from both.
    fn heartbeat<'a>(&'a self, principal: &'a Principal) -> Result<HeartbeatRef<'a>, Rejected> {
        let install = InstallRef::new(&self.install_id)?;
        let version = &self.app_version;
        if version.is_empty() || (version.len() > 64 && version.chars().count() > 64) {
            return Err(Rejected::AppVersion);
        }
        let at = Timestamp::from_secs(self.client_ts.0)?;
        let named = self.user_id.as_ref().map(|Name(name)| UserRef::new(name)).transpose()?;
        if named.is_some_and(|user| !principal.may_act_for_ref(user)) {
            return Err(Rejected::Forbidden);
        }
        let heartbeat = match named.or_else(|| principal.user().map(UserRef::from)) {
            None => HeartbeatRef::of_install(install),
            Some(user) => HeartbeatRef::of_user(user).on(install),
        };
        Ok(heartbeat.at(at))
    }
}

/// Why a heartbeat that parses is none.
enum Rejected {
    AppVersion,
    Forbidden,
    By(Rejection),
}

impl From<Rejection> for Rejected {
    fn from(rejection: Rejection) -> Self {
        Self::By(rejection)
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::AppVersion => {
                Self::bad_request("INVALID_APP_VERSION", "an app version is 1 to 64 characters")
            }
            Rejected::Forbidden => Self::forbidden(),
            Rejected::By(rejection) => rejection.into(),
        }
    }
}

/// A heartbeat was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    ok: bool,
    #[schema(value_type = schemas::UnixMillis)]
    server_ts: i64,
}

/// The path of one heartbeat.
pub(crate) const HEARTBEAT: &str = "/api/v1/presence/heartbeat";

/// Says that an install, or a user on it, is there.
#[utoipa::path(
    post, path = "/api/v1/presence/heartbeat", operation_id = "recordHeartbeat", tag = "presence",
    request_body(content = Beat, example = json!({"installId": "phone-4711", "appVersion": "1.2",
        "clientTs": 1_717_161_600, "userId": "alice"})),
    responses(
        (status = 200, description = "Taken.", body = Accepted,
            headers(("Presence-Durability" = schemas::Durability, description = "What it survives.")),
            example = json!({"ok": true, "serverTs": 1_717_161_600_000_i64})),
        (status = 403, description = "The token does not reach the user of the body (`FORBIDDEN`)."),
        (status = 410, description = "The user was erased at or after the timestamp (`USER_ERASED`)."),
    ),
)]
pub(crate) async fn heartbeat(
    State(state): State<AppState>,
    Asker(principal): Asker,
    BatchBody(body): BatchBody,
) -> Result<Response, Problem> {
    take(&state, &principal, &body).await
}

/// Takes the heartbeat that a body is.
pub(crate) async fn take(state: &AppState, principal: &Principal, body: &[u8]) -> Result<Response, Problem> {
    let beat: Beat<'_> = parse_object(body)?;
    let taken = state.beats().beat_ref(beat.heartbeat(principal)?).await?;
    state.metrics().heartbeats([Ok(&taken)]);
    let durability = match taken {
        Taken::Committed(_) => HeaderValue::from_static(state.settings().durability),
        _ => IN_MEMORY,
    };
    let answer = Accepted { ok: true, server_ts: state.tracker().now().as_millis() };
    Ok(([(DURABILITY, durability)], Json(answer)).into_response())
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Verdicts {
    #[schema(value_type = schemas::Count)]
    accepted: usize,
    #[schema(value_type = schemas::Count)]
    failed: usize,
    /// In the order of the batch.
    errors: Vec<Refused>,
    #[schema(value_type = schemas::UnixMillis)]
    server_ts: i64,
}

/// The items of a batch, or why one is none.
///
/// Nearly always all of them are heartbeats, and one pass makes them. Where one is not, the parser can only refuse the
/// whole, so each is parsed by itself.
fn items(body: &[u8]) -> Result<Vec<Result<Beat<'_>, &'static str>>, Problem> {
    if let Ok(beats) = parse::<Vec<Item<Beat<'_>>>>(body) {
        return Ok(beats.into_iter().map(|Item(beat)| Ok(beat)).collect());
    }
    Ok(one_by_one(parse(body)?))
}

/// Takes many heartbeats at once, each judged on its own.
#[utoipa::path(
    post, path = "/api/v1/presence/heartbeats", operation_id = "recordHeartbeats", tag = "presence",
    request_body(content = Batch, content_type = "application/json", example = json!([
        {"installId": "phone-4711", "appVersion": "1.2", "clientTs": 1_717_161_600, "userId": "alice"}])),
    responses(
        (status = 200, description = "A verdict on each.", body = Verdicts,
            headers(("Presence-Durability" = schemas::Durability, description = "What they survive at least.")),
            example = json!({"accepted": 1, "failed": 1, "errors": [{"index": 1, "code": "INVALID_INSTALL_ID"}],
                "serverTs": 1_717_161_600_000_i64})),
    ),
)]
pub(crate) async fn heartbeats(
    State(state): State<AppState>,
    Asker(principal): Asker,
    BatchBody(body): BatchBody,
) -> Result<Response, Problem> {
    let items = items(&body)?;
    if items.is_empty() || items.len() > BATCH {
        return Err(Problem::bad_request("INVALID_BATCH", "a batch has 1 to 1000 heartbeats"));
    }
    let (mut heartbeats, mut errors) = (Vec::with_capacity(items.len()), Vec::new());
    let mut places = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let heartbeat = match item {
            Ok(beat) => beat.heartbeat(&principal).map_err(|rejected| Problem::from(rejected).code()),
            Err(code) => Err(*code),
        };
        match heartbeat {
            Ok(heartbeat) => {
                heartbeats.push(heartbeat);
                places.push(index);
            }
            Err(code) => errors.push(Refused { index, code }),
        }
    }
    let verdicts = state.beats().beat_many(&heartbeats).await?;
    state.metrics().heartbeats(verdicts.iter().map(Result::as_ref));
    let refused = places.into_iter().zip(verdicts).filter_map(|(index, verdict)| {
        verdict.err().map(|rejection| Refused { index, code: rejection.code() })
    });
    errors.extend(refused);
    let errors = Refused::counted(errors, &state);
    let server_ts = state.tracker().now().as_millis();
    let failed = errors.len();
    let verdicts = Verdicts { accepted: items.len().saturating_sub(failed), failed, errors, server_ts };
    Ok(([(DURABILITY, IN_MEMORY)], Json(verdicts)).into_response())
}

/// Who counts as online.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Online {
    /// Whoever gave a sign of life at most so long ago. Without it: the server's own.
    #[param(required = false, value_type = schemas::WindowSeconds)]
    window_seconds: Option<String>,
}

/// Which page of those who are online.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Place {
    /// The page begins after this member: `nextCursor` of the page before.
    #[param(required = false, value_type = schemas::Member)]
    cursor: Option<String>,
    #[param(required = false, value_type = schemas::Limit)]
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
#[derive(Serialize, ToSchema)]
#[schema(as = OnlineCount)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Count {
    #[schema(value_type = schemas::Count)]
    count: u64,
    #[schema(value_type = schemas::WindowSeconds)]
    window_seconds: u64,
    #[schema(value_type = schemas::Instant)]
    queried_at: String,
}

/// Counts who is online.
#[utoipa::path(
    get, path = "/api/v1/presence/online-count", operation_id = "countOnline", tag = "presence",
    params(Online),
    responses(
        (status = 200, description = "How many.", body = Count,
            example = json!({"count": 3, "windowSeconds": 180, "queriedAt": "2024-05-31T13:20:00.000Z"})),
    ),
)]
pub(crate) async fn online_count(
    State(state): State<AppState>,
    Params(online): Params<Online>,
) -> Result<Json<Count>, Problem> {
    let window = online.window(&state)?;
    let queried_at = state.tracker().now().to_string();
    Ok(Json(Count {
        count: state.beats().online_count(window).await?,
        window_seconds: window.as_secs(),
        queried_at,
    }))
}

/// Somebody who is online: a user, or an install whose user is not known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OnlineMember {
    #[schema(required = false, value_type = schemas::UserId)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[schema(required = false, value_type = schemas::InstallId)]
    #[serde(skip_serializing_if = "Option::is_none")]
    install_id: Option<String>,
    #[schema(value_type = schemas::Instant)]
    last_seen: String,
}

/// A page of those who are online.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OnlineUsers {
    data: Vec<OnlineMember>,
    /// `null` on the last page.
    #[schema(required = true, value_type = Option<schemas::Member>)]
    next_cursor: Option<String>,
    #[schema(value_type = schemas::WindowSeconds)]
    window_seconds: u64,
}

/// Lists who is online, by name.
#[utoipa::path(
    get, path = "/api/v1/presence/online-users", operation_id = "listOnline", tag = "presence",
    params(Online, Place),
    responses(
        (status = 200, description = "A page.", body = OnlineUsers,
            example = json!({"data": [{"userId": "alice", "lastSeen": "2024-05-31T13:20:00.000Z"}],
                "nextCursor": null, "windowSeconds": 180})),
    ),
)]
pub(crate) async fn online_users(
    State(state): State<AppState>,
    Params(online): Params<Online>,
    Params(place): Params<Place>,
) -> Result<Json<OnlineUsers>, Problem> {
    let window = online.window(&state)?;
    let after = place.cursor.as_deref().map(Member::parse).transpose();
    let after = after.map_err(|_| presence_core::Rejection::InvalidCursor)?;
    let page = state.beats().online_users(window, after.as_ref(), place.limit.unwrap_or(100)).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What each item is taken for: its user and install, or the code of its refusal.
    fn taken(body: &str) -> Vec<String> {
        let items = items(body.as_bytes()).expect("an array");
        let items = items.into_iter().map(|item| match item {
            Ok(beat) => match beat.heartbeat(&Principal::Anyone) {
                Ok(_) => {
                    format!("{}@{}", beat.user_id.map_or("-".into(), |Name(name)| name), beat.install_id)
                }
                Err(rejected) => Problem::from(rejected).code().to_owned(),
            },
            Err(code) => code.to_owned(),
        });
        items.collect()
    }

    #[test]
    fn an_item_is_judged_alike_alone_and_beside_one_that_is_none() {
        let beat =
            |rest: &str| format!(r#"{{"installId":"phone-4711","appVersion":"1","clientTs":9{rest}}}"#);
        let cases = [
            (beat(""), "-@phone-4711"),
            (beat(r#","userId":"alice""#), "alice@phone-4711"),
            (beat(r#","userId":"al\u0069ce""#), "alice@phone-4711"),
            (beat(r#","userId":-7"#), "-7@phone-4711"),
            (beat(r#","userId":9223372036854775807"#), "9223372036854775807@phone-4711"),
            (beat(r#","userId":9223372036854775808"#), "INVALID_BODY"),
            (beat(r#","userId":1.5"#), "INVALID_BODY"),
            (beat(r#","userId":7.0"#), "7@phone-4711"),
            (beat(r#","userId":true"#), "INVALID_BODY"),
            (beat(r#","userId":null"#), "-@phone-4711"),
            (beat(r#","userId":" alice""#), "INVALID_USER_ID"),
            (beat(r#","other":[1,{"x":"]"}]"#), "-@phone-4711"),
            (beat(r#","clientTs":9"#), "INVALID_BODY"),
            (beat("").replace("phone", "ph ne"), "INVALID_INSTALL_ID"),
            (beat("").replace(r#""1""#, r#""""#), "INVALID_APP_VERSION"),
            (beat("").replace(r#""1""#, &format!("\"{}\"", "ö".repeat(64))), "-@phone-4711"),
            (beat("").replace(r#""1""#, &format!("\"{}\"", "ö".repeat(65))), "INVALID_APP_VERSION"),
            (r#"["phone-4711","1",9]"#.to_owned(), "INVALID_BODY"),
            ("7".to_owned(), "INVALID_BODY"),
        ];
        for (item, expected) in &cases {
            assert_eq!(taken(&format!("[{item}]")), [*expected], "{item}");
            let with_other = taken(&format!("[{item},{}]", beat(r#","userId":"bob""#)));
            assert_eq!(with_other, [*expected, "bob@phone-4711"], "{item}");
            assert_eq!(taken(&format!("[null,{item}]")), ["INVALID_BODY", *expected], "{item}");
        }
        assert!(items(b"{}").is_err());
        assert!(items(b"[1,").is_err());
    }
}
