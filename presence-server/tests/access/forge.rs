//! Tokens, made by hand: nothing here shares code with what reads them but the digest.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use presence_core::Timestamp;
use serde_json::{Value, json};

/// The secret of the server under test.
pub(crate) const SECRET: &str = "canaryjwt-vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6";
/// The key of its operators.
pub(crate) const KEY: &str = "canarykey-K7pWx2eRt9yUi4oPa6sDf8gHj1kLz3xC";
/// The second of 2024-05-31 13:20:00 UTC, at which its clock stands.
pub(crate) const NOW: i64 = 1_717_161_600;
/// The header of a plain token.
pub(crate) const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_secs(NOW).expect("an instant")
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these two texts, signed with `algorithm` and `secret`, whatever the header says.
pub(crate) fn signed_by(algorithm: hmac::Algorithm, secret: &str, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    let signature = base64url(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

/// A token of these two texts with the right signature.
pub(crate) fn signed(header: &str, claims: &str) -> String {
    signed_by(hmac::HMAC_SHA256, SECRET, header, claims)
}

/// The claims of a token that is taken: an hour for `user`.
pub(crate) fn claims(user: &str) -> Value {
    json!({"sub": user, "aud": "presence", "exp": NOW + 3600})
}

/// The same with `changes`; `null` removes a claim.
pub(crate) fn claims_with(user: &str, changes: &Value) -> String {
    let mut claims = claims(user);
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => claims.as_object_mut().expect("an object").remove(name),
            value => claims.as_object_mut().expect("an object").insert(name.clone(), value.clone()),
        };
    }
    claims.to_string()
}

/// A token that is taken.
pub(crate) fn token(user: &str) -> String {
    signed(HEADER, &claims(user).to_string())
}

/// A token that is taken, with `scope`.
pub(crate) fn scoped(user: &str, scope: &str) -> String {
    signed(HEADER, &claims_with(user, &json!({"scope": scope})))
}
