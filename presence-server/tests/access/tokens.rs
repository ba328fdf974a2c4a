//! Which tokens are taken.

use std::{collections::BTreeSet, time::Duration};

use presence_core::Timestamp;
use presence_server::auth::{BadToken, Principal, Secret, Tokens};
use serde_json::json;

use crate::{
    bad_tokens,
    forge::{HEADER, NOW, SECRET, claims, claims_with, now, scoped, signed, token},
};

fn tokens() -> Tokens {
    Tokens::new(&Secret::new(SECRET).expect("a secret"), "presence", None, Duration::from_secs(86_400))
}

fn verify(claims: &str) -> Result<Principal, BadToken> {
    tokens().verify(&signed(HEADER, claims), now())
}

#[test]
fn every_bad_token_is_refused_for_its_own_reason() {
    let cases = bad_tokens::all("alice");
    let names: BTreeSet<_> = cases.iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), cases.len(), "each is there once");
    assert!(cases.len() >= 100, "{} bad tokens", cases.len());
    for (name, token, expected) in cases {
        let verdict = tokens().verify(&token, now());
        assert_eq!(verdict, Err(expected), "{name}");
    }
}

#[test]
fn a_token_says_who_and_whether_an_admin() {
    let verified = tokens().verify(&token("alice"), now()).expect("taken");
    assert_eq!(verified.user().map(|user| user.as_str()), Some("alice"));
    assert!(!verified.is_admin());
    for (scope, is_admin) in [
        ("admin", true),
        ("presence:read admin", true),
        ("admin presence:read", true),
        ("", false),
        ("administrator", false),
        ("Admin", false),
        ("not-admin", false),
        ("admin\tx", false),
        ("x,admin", false),
    ] {
        let verified = tokens().verify(&scoped("alice", scope), now()).expect("taken");
        assert_eq!(verified.is_admin(), is_admin, "{scope:?}");
    }
    // A claim of that name is no scope.
    assert!(
        !verify(&claims_with("alice", &json!({"admin": true, "is_admin": true}))).expect("taken").is_admin()
    );
}

#[test]
fn what_is_allowed_is_taken() {
    for changes in [
        json!({"aud": ["billing", "presence"]}),
        json!({"iss": "https://id.example"}),
        json!({"iat": NOW, "nbf": NOW, "jti": "7", "extra": {"a": [1.5, null]}}),
        json!({"sub": "Zoë 🦀"}),
        json!({"sub": "x".repeat(128)}),
        json!({"exp": NOW - 29}),
        json!({"exp": NOW + 86_400 + 30}),
        json!({"nbf": NOW + 30, "iat": NOW + 30}),
        json!({"nbf": 0, "iat": 0}),
    ] {
        verify(&claims_with("alice", &changes)).unwrap_or_else(|error| panic!("{changes}: {error}"));
    }
    let text = claims("alice").to_string();
    for header in [
        r#"{"alg":"HS256"}"#,
        r#"{"typ":"JWT","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"2024_05-A"}"#,
        r#"{"alg":"HS256","cty":"text","x":1}"#,
    ] {
        tokens().verify(&signed(header, &text), now()).unwrap_or_else(|error| panic!("{header}: {error}"));
    }
}

#[test]
fn a_token_is_as_old_as_the_time_that_is_given() {
    let token = token("alice");
    for (secs, expected) in [
        (NOW, Ok(())),
        (NOW + 3_629, Ok(())),
        (NOW + 3_630, Err(BadToken::Expired)),
        (NOW + 90_000, Err(BadToken::Expired)),
        (NOW + 3_600 - 86_430, Ok(())),
        (NOW + 3_600 - 86_431, Err(BadToken::Lasting)),
    ] {
        let at = Timestamp::from_secs(secs).expect("an instant");
        assert_eq!(tokens().verify(&token, at).map(drop), expected, "{secs}");
    }
    // The leeway ends with the last millisecond.
    let last = Timestamp::from_millis((NOW + 3_630) * 1000 - 1).expect("an instant");
    assert_eq!(tokens().verify(&token, last).map(drop), Ok(()));
}

#[test]
fn an_issuer_that_is_configured_is_required() {
    let secret = Secret::new(SECRET).expect("a secret");
    let tokens = Tokens::new(&secret, "presence", Some("https://id.example"), Duration::from_secs(86_400));
    for (changes, expected) in [
        (json!({"iss": "https://id.example"}), Ok(())),
        (json!({}), Err(BadToken::Issuer)),
        (json!({"iss": ""}), Err(BadToken::Issuer)),
        (json!({"iss": "https://id.example/"}), Err(BadToken::Issuer)),
        (json!({"iss": "https://evil.example"}), Err(BadToken::Issuer)),
        (json!({"iss": ["https://id.example"]}), Err(BadToken::Malformed)),
    ] {
        let token = signed(HEADER, &claims_with("alice", &changes));
        assert_eq!(tokens.verify(&token, now()).map(drop), expected, "{changes}");
    }
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?} {:#?}", tokens(), Secret::new(SECRET));
    assert!(!shown.contains("canary"), "{shown}");
    let bytes: Vec<String> = SECRET.bytes().take(4).map(|byte| byte.to_string()).collect();
    assert!(!shown.contains(&bytes.join(", ")), "{shown}");
}
