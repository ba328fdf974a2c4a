//! Requests, parsed: what does not parse is a problem, and no handler runs.

use std::{borrow::Cow, error::Error, fmt};

use axum::{
    BoxError,
    body::HttpBody,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate};
use http_body_util::{BodyExt as _, Collected, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use presence_core::{EventId, Rejection, Timestamp, UserId};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IntoDeserializer, Unexpected, Visitor},
};
use utoipa::{
    IntoParams, ToSchema as _,
    openapi::{
        Ref, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

use crate::{
    auth::{self, Principal},
    openapi::schemas,
    problem::Problem,
    serve::Late,
};

/// The longest body of a single item, in bytes.
pub(crate) const ITEM_BYTES: usize = 64 * 1024;
/// The longest body of a batch, in bytes.
pub(crate) const BATCH_BYTES: usize = 1024 * 1024;

/// Who asks. A route that needs to know it, and stands in a group that asks for no token, is closed to everybody.
pub(crate) struct Asker(pub(crate) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let principal = parts.extensions.get().cloned();
        principal.map(Self).ok_or_else(|| Problem::unauthorized(auth::MISSING))
    }
}

/// The user that the path names, whom whoever asks may act for.
pub(crate) struct PathUser(pub(crate) UserId);

impl<S: Send + Sync> FromRequestParts<S> for PathUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Asker(principal) = Asker::from_request_parts(parts, state).await?;
        let segments = Segments::from_request_parts(parts, state).await?;
        let user = UserId::new(segments.named("user_id").unwrap_or_default())?;
        if principal.may_act_for(&user) { Ok(Self(user)) } else { Err(Problem::forbidden()) }
    }
}

impl IntoParams for PathUser {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let user = ParameterBuilder::new().name("user_id").parameter_in(ParameterIn::Path);
        vec![
            user.required(Required::True)
                .schema(Some(Ref::from_schema_name(schemas::UserId::name())))
                .build(),
        ]
    }
}

/// The named segments of the path.
pub(crate) struct Segments(Vec<(String, String)>);

impl Segments {
    pub(crate) fn named(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, segment)| segment.as_str())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let invalid = || Problem::bad_request("INVALID_PATH", "the path is not percent-encoded UTF-8");
        // A stray percent sign would be taken for itself, and a user have two paths.
        if !is_encoded(parts.uri.path()) {
            return Err(invalid());
        }
        let path = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        Ok(Self(path.map_err(|_| invalid())?.0))
    }
}

/// Whether two hexadecimal digits follow each percent sign.
fn is_encoded(path: &str) -> bool {
    path.split('%').skip(1).all(|text| text.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2)
}

/// The query.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What is not UTF-8 would be replaced, and one user be asked for by many names.
        if percent_decode_str(parts.uri.query().unwrap_or_default()).decode_utf8().is_err() {
            return Err(Problem::bad_request("INVALID_QUERY", "the query is not percent-encoded UTF-8"));
        }
        let query = Query::<T>::from_request_parts(parts, state).await;
        let query = query.map_err(|error| Problem::bad_request("INVALID_QUERY", error.body_text()))?;
        Ok(Self(query.0))
    }
}

/// A body of JSON: at most 64 KiB; `None` where it is empty, or `null`.
pub(crate) struct JsonBody<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_json(&parts.headers, body, ITEM_BYTES).await?;
        if bytes.is_empty() { Ok(Self(None)) } else { parse_object(&bytes).map(Self) }
    }
}

impl<T> JsonBody<T> {
    /// The body where the route needs one.
    pub(crate) fn required(self) -> Result<T, Problem> {
        self.0.ok_or_else(|| Problem::bad_request("INVALID_BODY", "the body is empty"))
    }
}

/// The bytes of a JSON batch: at most 1 MiB.
pub(crate) struct BatchBody(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for BatchBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        read_json(&parts.headers, body, BATCH_BYTES).await.map(Self)
    }
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Problem> {
    let invalid = |detail: String| Problem::bad_request("INVALID_BODY", detail);
    // The parser checks the text of known fields only.
    let json = std::str::from_utf8(json).map_err(|_| invalid("the body is not valid UTF-8".to_owned()))?;
    serde_json::from_str(json).map_err(|error| invalid(error.to_string()))
}

/// The same for a shape with names: the parser would also take an array of its values in order.
pub(crate) fn parse_object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Problem> {
    if json.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::bad_request("INVALID_BODY", "the body is a JSON object"));
    }
    parse(json)
}

/// The bytes of a body of JSON: at most `limit`.
pub(crate) async fn read_json<B>(headers: &HeaderMap, body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let is_empty = length.unwrap_or(0) == 0 && !headers.contains_key(header::TRANSFER_ENCODING);
    if !is_empty {
        check_type(headers)?;
    }
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    read(body, limit).await
}

async fn read<B>(body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    Limited::new(body, limit).collect().await.map(Collected::to_bytes).map_err(|error| {
        let error: &(dyn Error + 'static) = &*error;
        let is = |known: fn(&(dyn Error + 'static)) -> bool| {
            std::iter::successors(Some(error), |&error| error.source()).any(known)
        };
        if is(|error| error.is::<LengthLimitError>()) {
            too_large(limit)
        } else if is(|error| error.is::<Late>()) {
            Problem::body_timed_out()
        } else {
            Problem::bad_request("BODY_INCOMPLETE", "the body broke off, or its chunks are malformed")
        }
    })
}

fn too_large(limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", format!("a body has at most {limit} bytes"))
}

/// JSON in UTF-8, not compressed.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported =
        |detail: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail);
    let content_type = match only(headers, &header::CONTENT_TYPE) {
        Ok(Some(value)) => value.to_str().unwrap_or_default(),
        Ok(None) => "",
        Err(Repeated) => return Err(unsupported("there is one content type")),
    };
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(unsupported("the content type is application/json"));
    }
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    if parameters.any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("charset")
            && !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    }) {
        return Err(unsupported("the charset is utf-8"));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(unsupported("a body is not compressed"));
    }
    Ok(())
}

/// A header that stands more than once where one value is meant: readers differ in which they take.
struct Repeated;

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Repeated),
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The client's name for a request, in the header `Idempotency-Key`.
pub(crate) struct IdempotencyKey(pub(crate) Option<EventId>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = only(&parts.headers, &IDEMPOTENCY_KEY).map_err(|Repeated| Rejection::InvalidEventId)?;
        let Some(key) = key else { return Ok(Self(None)) };
        let key = key.to_str().map_err(|_| Rejection::InvalidEventId)?;
        Ok(Self(Some(EventId::new(key)?)))
    }
}

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = ParameterBuilder::new().name("Idempotency-Key").parameter_in(ParameterIn::Header);
        let key = key.description(Some("The event id, where the body has none."));
        vec![
            key.required(Required::False)
                .schema(Some(Ref::from_schema_name(schemas::HeaderEventId::name())))
                .build(),
        ]
    }
}

/// A whole number, however it is written: `1.0` and `1e0` are integers to JSON Schema, and to some clients.
#[derive(Clone, Copy)]
pub(crate) struct Whole(pub(crate) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("i64")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Whole, E> {
        Ok(Whole(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Whole, E> {
        let whole = i64::try_from(value).map(Whole);
        whole.map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Whole, E> {
        /// Up to here a float says one whole number, and no other is rounded to it.
        const EXACT: f64 = 9_007_199_254_740_991.0;
        if value.fract() == 0.0 && value.abs() <= EXACT {
            Ok(Whole(value as i64))
        } else {
            Err(E::invalid_type(Unexpected::Float(value), &self))
        }
    }
}

/// A user id as text or as a whole number, which is read as its digits.
// Not an untagged enum: that keeps a copy of the value until one of its shapes fits.
pub(crate) struct Name<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameVisitor)
    }
}

impl From<Whole> for Name<'_> {
    fn from(Whole(number): Whole) -> Self {
        Self(Cow::Owned(number.to_string()))
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a whole number")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Name<'de>, E> {
        Whole::deserialize(number.into_deserializer()).map(Name::from)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Name<'de>, E> {
        Whole::deserialize(number.into_deserializer()).map(Name::from)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Name<'de>, E> {
        Whole::deserialize(number.into_deserializer()).map(Name::from)
    }
}

/// A stamp in Unix seconds.
pub(crate) fn seconds(secs: Option<i64>) -> Result<Option<Timestamp>, Problem> {
    Ok(secs.map(Timestamp::from_secs).transpose()?)
}

/// A stamp in RFC 3339, with any offset; what is finer than a millisecond is cut off.
pub(crate) fn instant(text: &str) -> Result<Timestamp, Problem> {
    let invalid = |_| {
        let code = Rejection::InvalidTimestamp.code();
        Problem::bad_request(code, "a time is written like 2024-05-31T13:20:00Z; + is %2B in a query")
    };
    Ok(Timestamp::from_datetime(DateTime::parse_from_rfc3339(text).map_err(invalid)?.to_utc())?)
}

/// A day as `YYYY-MM-DD`, and in no other way.
pub(crate) fn day(text: &str) -> Result<NaiveDate, Problem> {
    let day = text.parse().ok().filter(|day: &NaiveDate| day.to_string() == text);
    day.ok_or_else(|| {
        Problem::bad_request(Rejection::InvalidDay.code(), "a day is one of the calendar, written YYYY-MM-DD")
    })
}
