//! Every error that a client sees, in one table and one shape: problem JSON (RFC 9457).

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use presence_core::{Error, Rejection, RoomId, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    openapi::schemas,
    request_id::{REQUEST_ID, RequestId},
    traffic::Traffic,
};

/// The longest path and query that is looked at, in bytes.
pub(crate) const URI_BYTES: usize = 8 * 1024;

/// An error as the client is told. Nothing was written, but for a `503`, after which it is unknown.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<u32>,
    challenge: Option<&'static str>,
}

/// Why a request was refused, or failed.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document<'a> {
    /// Nothing more is said at another place.
    #[schema(pattern = "^about:blank$")]
    r#type: &'static str,
    /// What the status means.
    title: &'a str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, for people.
    detail: &'a str,
    /// The path of the request; empty where it is too long.
    instance: &'a str,
    /// The name of the request, as in `X-Request-Id`.
    request_id: &'a str,
    #[schema(value_type = schemas::Code)]
    code: &'static str,
    /// The same as `detail`: what the clients of the first servers read.
    error: &'a str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, challenge: None }
    }

    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn not_found(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub(crate) fn unknown_room(room: &RoomId) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ROOM_NOT_FOUND", format!("Room {room} not found"))
    }

    /// Nothing was done: another node answers, or this one when the lease of that has ended.
    pub(crate) fn room_elsewhere() -> Self {
        Self::unavailable("ROOM_ELSEWHERE", "the room lives on another node; try again")
    }

    /// A browser shows a page of another host, which CORS_ORIGINS does not name.
    pub(crate) fn foreign_page() -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", "pages of this origin may not join")
    }

    /// A bug: what happened to the state is unknown.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the server failed")
    }

    /// Nothing was looked at.
    pub(crate) fn overloaded() -> Self {
        let detail = "the server has as many requests as it takes; repeat this one later";
        Self::unavailable("OVERLOADED", detail)
    }

    /// The request was not read. Apps with rooms show the words in brackets.
    pub(crate) fn too_many_connections() -> Self {
        Self::unavailable(
            "TOO_MANY_CONNECTIONS",
            "the server has as many connections as it takes (服务器连接数已达上限); try again later",
        )
    }

    pub(crate) fn body_timed_out() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMED_OUT", "the body did not arrive in time")
    }

    pub(crate) fn uri_too_long() -> Self {
        let detail = format!("a URI has at most {URI_BYTES} bytes");
        Self::new(StatusCode::URI_TOO_LONG, "URI_TOO_LONG", detail)
    }

    /// The handler was stopped where it waited.
    pub(crate) fn timed_out() -> Self {
        let detail = "the answer took too long; repeat the request, with the same event id where it had one";
        Self::unavailable("REQUEST_TIMED_OUT", detail)
    }

    pub(crate) fn unavailable(code: &'static str, detail: &'static str) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        Self { retry_after: Some(1), ..problem }
    }

    /// The credential is missing or refused; `challenge` says which kind is asked for.
    pub(crate) fn unauthorized(challenge: &'static str) -> Self {
        let problem =
            Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "the request needs a valid credential");
        Self { challenge: Some(challenge), ..problem }
    }

    /// No operator asks.
    pub(crate) fn no_operator(challenge: &'static str) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Unauthorized: Invalid API Key");
        Self { challenge: Some(challenge), ..problem }
    }

    /// The credential is valid and does not reach so far.
    pub(crate) fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "the token reaches its own user; others take the scope admin",
        )
    }

    /// The address has shown too many wrong keys.
    pub(crate) fn too_many_keys(retry_after: Duration) -> Self {
        let problem =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "too many keys were wrong; wait");
        let seconds = retry_after.as_millis().div_ceil(1000);
        Self { retry_after: u32::try_from(seconds).ok(), ..problem }
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn document(&self, instance: &str, request_id: &str) -> Vec<u8> {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            instance,
            request_id,
            code: self.code,
            error: &self.detail,
        };
        // A struct of text and numbers always serialises.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let status = match rejection {
            Rejection::EventIdReused | Rejection::RoomExists => StatusCode::CONFLICT,
            Rejection::EventsRetired | Rejection::UserErased => StatusCode::GONE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, rejection.code(), rejection.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %Causes(&error), "the store failed");
        let mut problem = Self::unavailable(
            "STORE_UNAVAILABLE",
            "the store is not available; repeat the request, with the same event id where it had one",
        );
        if !error.is_retryable() {
            problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "STORE_FAILED", "the store failed");
        }
        problem
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Rejected(rejection) => rejection.into(),
            Error::Store(error) => error.into(),
        }
    }
}

/// An error with what caused it, for the log.
struct Causes<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The body is written by [`finish`], which knows the request.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every answer its request id and its safety headers, and every problem its body.
pub(crate) fn finish(mut response: Response, path: &str, id: &RequestId, traffic: &Traffic) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        traffic.refuse(problem.code, 1);
        // What is too long to be looked at is not repeated either.
        let instance = if path.len() > URI_BYTES { "" } else { path };
        *response.body_mut() = Body::from(problem.document(instance, id.as_str()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.remove(header::CONTENT_LENGTH);
        if let Some(seconds) = problem.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = problem.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REQUEST_ID, id.clone().into());
    response
}

/// A path that no route has.
pub(crate) async fn unknown_route() -> Problem {
    Problem::not_found("ROUTE_NOT_FOUND", "there is no such route")
}

/// A route that does not have the method.
pub(crate) async fn unknown_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "the route does not have this method")
}
