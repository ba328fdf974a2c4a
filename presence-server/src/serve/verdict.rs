//! What a head says about itself and about the bytes after it.

use axum::http::StatusCode;

use crate::problem::Problem;

/// What becomes of a request whose head is read. All but the first two refuse it: see [`Verdict::refusal`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Verdict {
    /// A body of known length, or none: the next head can be found.
    Bounded = 1,
    /// A chunked body or an upgrade: what follows is not looked at, so no other request may follow.
    Unbounded,
    /// More than one length: nobody can say where the body ends.
    Ambiguous,
    /// Not the head of an HTTP/1.1 or HTTP/1.0 request.
    Malformed,
    /// No `Host`, or more than one.
    Hostless,
    /// A transfer encoding other than `chunked`, which hides where the body ends.
    Encoded,
    /// An expectation that nobody here fulfils.
    Expecting,
    /// More bytes or lines than a head may have.
    TooLarge,
    /// A head that did not end in time.
    Late,
}

impl Verdict {
    const ALL: [Self; 9] = [
        Self::Bounded,
        Self::Unbounded,
        Self::Ambiguous,
        Self::Malformed,
        Self::Hostless,
        Self::Encoded,
        Self::Expecting,
        Self::TooLarge,
        Self::Late,
    ];

    /// The verdict of this number, as `as u8` gave it; 0 is none.
    pub(super) fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number.checked_sub(1)?)).copied()
    }

    /// What is wrong with a head that is refused.
    pub(super) fn refusal(self) -> Option<Problem> {
        let bad_request = |code, detail: &str| Some(Problem::bad_request(code, detail));
        match self {
            Self::Bounded | Self::Unbounded => None,
            Self::Ambiguous => bad_request(
                "AMBIGUOUS_REQUEST",
                "the length of the body is given more than once, or not as a number",
            ),
            Self::Malformed => bad_request("MALFORMED_REQUEST", "the bytes are no request of HTTP/1.x"),
            Self::Hostless => bad_request("INVALID_HOST", "a request has one Host"),
            Self::Encoded => bad_request(
                "UNSUPPORTED_TRANSFER_ENCODING",
                "the only transfer encoding is chunked, in HTTP/1.1",
            ),
            Self::Expecting => {
                let detail = "the only expectation is 100-continue";
                Some(Problem::new(StatusCode::EXPECTATION_FAILED, "EXPECTATION_FAILED", detail))
            }
            Self::TooLarge => {
                let detail = "the head of the request has too many bytes or lines";
                Some(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "HEAD_TOO_LARGE", detail))
            }
            Self::Late => {
                let detail = "the head of the request did not arrive in time";
                Some(Problem::new(StatusCode::REQUEST_TIMEOUT, "HEAD_TIMED_OUT", detail))
            }
        }
    }

    /// Whether the request is refused.
    pub(super) const fn is_refusal(self) -> bool {
        !matches!(self, Self::Bounded | Self::Unbounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_comes_back_from_its_number() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::from_u8(verdict as u8), Some(verdict));
            assert_eq!(verdict.refusal().is_some(), verdict.is_refusal());
        }
        assert_eq!((Verdict::from_u8(0), Verdict::from_u8(u8::MAX)), (None, None));
    }
}
