//! Signatures of Standard Webhooks 1.0.

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use presence_core::Timestamp;
use zeroize::Zeroizing;

use super::DeliveryId;

/// What every secret begins with.
const PREFIX: &str = "whsec_";
/// How many bytes a secret has.
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;
/// The most secrets at once: two are enough to change one.
const MOST: usize = 16;
/// The longest unit whose repetition is no secret, in bytes.
const UNIT: usize = 8;
/// The secrets of the specification and of its libraries, which others know.
const SAMPLES: [&str; 2] =
    ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];

/// The secrets that deliveries are signed with; cheap to clone, and shown by nothing.
///
/// Written as a list with commas. A delivery has a signature of each, so that receivers can change from the old
/// secret to its successor one after the other. A secret is `whsec_` and the base64 of 24 to 64 random bytes.
///
/// ```
/// use presence_server::callbacks::SigningSecrets;
///
/// let secrets: SigningSecrets = "whsec_9b0kW3X1m8ZrT5uQ9wLc2hNf7eJbA6vd".parse()?;
/// assert_eq!(format!("{secrets:?}"), "SigningSecrets(1)");
/// assert!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse::<SigningSecrets>().is_err());
/// # Ok::<(), presence_server::callbacks::BadSecrets>(())
/// ```
#[derive(Clone)]
pub struct SigningSecrets(Arc<[hmac::Key]>);

/// Why a text is no list of secrets; the text is not in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSecrets {
    /// A secret is written otherwise.
    #[error(
        "must be whsec_ and the base64 of 24 to 64 bytes, as `echo whsec_$(openssl rand -base64 32)` prints it"
    )]
    Form,
    /// A secret is a short unit, again and again.
    #[error("must not repeat itself; `echo whsec_$(openssl rand -base64 32)` prints a good one")]
    Repeated,
    /// A secret is a sample that others know.
    #[error(
        "must not be a sample that others know; `echo whsec_$(openssl rand -base64 32)` prints a good one"
    )]
    Sample,
    /// There are more than 16.
    #[error("must be at most 16 secrets")]
    Many,
}

impl SigningSecrets {
    /// The value of `webhook-signature` for an attempt at `at`: `v1,` and the base64 of HMAC-SHA256, once for each
    /// secret, with spaces between them.
    pub(super) fn sign(&self, id: &DeliveryId, at: Timestamp, body: &[u8]) -> String {
        let signatures: Vec<String> = self.0.iter().map(|key| signature(key, id, at, body)).collect();
        signatures.join(" ")
    }
}

impl FromStr for SigningSecrets {
    type Err = BadSecrets;

    fn from_str(text: &str) -> Result<Self, BadSecrets> {
        let keys = text.split(',').map(parse).collect::<Result<Arc<[_]>, _>>()?;
        if keys.len() > MOST { Err(BadSecrets::Many) } else { Ok(Self(keys)) }
    }
}

/// How many there are.
impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecrets({})", self.0.len())
    }
}

/// A secret that nobody would guess.
fn parse(secret: &str) -> Result<hmac::Key, BadSecrets> {
    let bytes = decode(secret)?;
    if SAMPLES.contains(&secret) {
        return Err(BadSecrets::Sample);
    }
    let repeats = |unit: usize| bytes.iter().zip(bytes.iter().skip(unit)).all(|(a, b)| a == b);
    if (1..=UNIT).any(repeats) { Err(BadSecrets::Repeated) } else { Ok(key(&bytes)) }
}

/// Only the base64 that every receiver's library reads: with its padding, and in one way only.
fn decode(secret: &str) -> Result<Zeroizing<Vec<u8>>, BadSecrets> {
    let base64 = secret.strip_prefix(PREFIX).ok_or(BadSecrets::Form)?;
    let bytes = Zeroizing::new(BASE64.decode(base64).map_err(|_| BadSecrets::Form)?);
    if LENGTH.contains(&bytes.len()) { Ok(bytes) } else { Err(BadSecrets::Form) }
}

fn key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn signature(key: &hmac::Key, id: &DeliveryId, at: Timestamp, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{}.", at.as_secs()).as_bytes());
    context.update(body);
    format!("v1,{}", BASE64.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "whsec_9b0kW3X1m8ZrT5uQ9wLc2hNf7eJbA6vd";
    const NEW: &str = "whsec_K7pWx2eRt9yUi4oPa6sDf8gHj1kLz3xCQmN5vB0=";

    fn id(text: &str) -> DeliveryId {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds).unwrap()
    }

    #[test]
    fn the_reference_vectors_hold() {
        // The first is of the libraries of Standard Webhooks; the others are of OpenSSL:
        // printf '%s' ID.SECONDS.BODY | openssl dgst -sha256 -mac HMAC -macopt hexkey:KEY -binary | base64
        for (secret, id_of, seconds, body, expected) in [
            (
                SAMPLES[0],
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                &br#"{"email":"test@example.com","username":"test_user"}"#[..],
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
            (OLD, "evt_1", 0, b"", "v1,Xmmc3gELyMNGGWWiKsPTYFMaUJtjiswk6L40rCNbPY4="),
            (
                NEW,
                "chat-1-7",
                1_790_000_000,
                "{\"text\":\"h\u{e9}llo\"}".as_bytes(),
                "v1,0eKrrUW3BdlumKzHRFbxTcpdjQLkpw3F+9h/MNd41W8=",
            ),
        ] {
            let key = key(&decode(secret).unwrap());
            assert_eq!(signature(&key, &id(id_of), at(seconds), body), expected);
        }
    }

    #[test]
    fn an_independent_verifier_signs_alike() {
        let oracle = |secret: &str, id: &str, at: i64, body: &[u8]| {
            standardwebhooks::Webhook::new(secret).unwrap().sign(id, at, body).unwrap()
        };
        let both: SigningSecrets = format!("{OLD},{NEW}").parse().unwrap();
        let long = "x".repeat(300_000);
        for (index, body) in ["", "{}", "{\"a\":\"\u{1f600}.1.\"}", &long].into_iter().enumerate() {
            let (id_of, seconds) = (format!("id-{index}"), 1_790_000_000 + i64::try_from(index).unwrap());
            let signed = both.sign(&id(&id_of), at(seconds), body.as_bytes());
            let expected =
                [OLD, NEW].map(|secret| oracle(secret, &id_of, seconds, body.as_bytes())).join(" ");
            assert_eq!(signed, expected);
        }
    }

    #[test]
    fn each_part_of_what_is_signed_counts() {
        let secrets: SigningSecrets = OLD.parse().unwrap();
        let signed = secrets.sign(&id("a"), at(1), b"{}");
        for other in [
            secrets.sign(&id("b"), at(1), b"{}"),
            secrets.sign(&id("a"), at(2), b"{}"),
            secrets.sign(&id("a"), at(1), b"[]"),
            NEW.parse::<SigningSecrets>().unwrap().sign(&id("a"), at(1), b"{}"),
        ] {
            assert_ne!(signed, other);
        }
        // Standard Webhooks counts in seconds.
        assert_eq!(signed, secrets.sign(&id("a"), Timestamp::from_millis(1999).unwrap(), b"{}"));
    }

    #[test]
    fn what_is_no_list_of_secrets_is_refused() {
        let of = |bytes: &[u8]| format!("whsec_{}", BASE64.encode(bytes));
        let random: Vec<u8> = (0..65_u8).map(|index| index.wrapping_mul(167).wrapping_add(13)).collect();
        for good in [OLD, NEW, &of(&random[..24]), &of(&random[..64]), &format!("{OLD},{NEW}")] {
            assert!(good.parse::<SigningSecrets>().is_ok(), "{good}");
        }
        for (bad, expected) in [
            ("", BadSecrets::Form),
            ("whsec_", BadSecrets::Form),
            (&OLD[6..], BadSecrets::Form),
            (&OLD[1..], BadSecrets::Form),
            (&OLD.to_uppercase(), BadSecrets::Form),
            (&of(&random[..23]), BadSecrets::Form),
            (&of(&random[..65]), BadSecrets::Form),
            (NEW.trim_end_matches('='), BadSecrets::Form),
            (&OLD.replace('9', "-"), BadSecrets::Form),
            (&format!("{OLD}\n"), BadSecrets::Form),
            (&format!("{OLD}, {NEW}"), BadSecrets::Form),
            (&format!("{OLD},"), BadSecrets::Form),
            (SAMPLES[0], BadSecrets::Sample),
            (SAMPLES[1], BadSecrets::Sample),
            (&format!("{OLD},{}", SAMPLES[1]), BadSecrets::Sample),
            (&of(&[0; 32]), BadSecrets::Repeated),
            (&of(b"secret".repeat(5).as_slice()), BadSecrets::Repeated),
            (&[OLD; 17].join(","), BadSecrets::Many),
        ] {
            assert_eq!(bad.parse::<SigningSecrets>().map(drop), Err(expected), "{bad}");
        }
    }

    #[test]
    fn secrets_are_shown_by_nothing() {
        assert_eq!(
            format!("{:?}", format!("{OLD},{NEW}").parse::<SigningSecrets>()),
            "Ok(SigningSecrets(2))"
        );
    }
}
