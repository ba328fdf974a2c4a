//! The name of a request: in its answer, in its problem and in the log.

use std::{
    fmt,
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};

/// The header of a request id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most hexadecimal digits of a number.
const HEX: usize = 16;

/// A name that the client gave, or else one of ours: 1 to 64 of ASCII letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    fn given(headers: &HeaderMap) -> Option<Self> {
        let id = headers.get(REQUEST_ID)?;
        let is_valid = |id: &[u8]| {
            (1..=64).contains(&id.len())
                && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        };
        is_valid(id.as_bytes()).then(|| Self(id.clone()))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<RequestId> for HeaderValue {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

/// Gives ids to requests that bring none.
#[derive(Debug, Default)]
pub(crate) struct RequestIds {
    /// Where they begin: different in each process.
    first: u64,
    given: AtomicU64,
}

impl RequestIds {
    pub(crate) const fn new(first: u64) -> Self {
        Self { first, given: AtomicU64::new(0) }
    }

    /// The id that the accept loop has settled, or the client's, or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap, extensions: &Extensions) -> RequestId {
        let settled = extensions.get::<RequestId>().cloned();
        settled.or_else(|| RequestId::given(headers)).unwrap_or_else(|| self.next())
    }

    pub(crate) fn next(&self) -> RequestId {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; 2 * HEX + 1];
        let mut rest = &mut text[..];
        // There is room for both numbers, and hexadecimal digits are a header's value.
        let written = write!(rest, "{:x}-{number:x}", self.first).map(|()| rest.len());
        let length = written.map_or(0, |left| 2 * HEX + 1 - left);
        let id = HeaderValue::from_bytes(&text[..length]);
        RequestId(id.unwrap_or(HeaderValue::from_static("-")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_id_counts_where_it_can_be_shown_and_else_each_request_gets_one() {
        let ids = RequestIds::new(0xab);
        let of = |given: &str| {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(given).unwrap())]);
            ids.of(&headers, &Extensions::new()).to_string()
        };
        assert_eq!(of("4bf92f35-1.a_Z"), "4bf92f35-1.a_Z");
        assert_eq!(of(&"x".repeat(64)), "x".repeat(64));
        assert_eq!(of(&"x".repeat(65)), "ab-0");
        assert_eq!(of("a b"), "ab-1");
        assert_eq!(of("a\"}"), "ab-2");
        assert_eq!(of(""), "ab-3");
    }

    #[test]
    fn an_id_that_is_settled_stays() {
        let ids = RequestIds::new(1);
        let mut extensions = Extensions::new();
        let first = ids.of(&HeaderMap::new(), &extensions);
        extensions.insert(first.clone());
        assert_eq!(ids.of(&HeaderMap::new(), &extensions), first);
    }
}
