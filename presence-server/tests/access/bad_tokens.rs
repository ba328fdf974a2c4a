//! Tokens that nobody must get in with, as data.

use aws_lc_rs::hmac;
use presence_server::auth::BadToken;
use serde_json::json;

use crate::forge::{HEADER, NOW, SECRET, base64url, claims, claims_with, signed, signed_by, token};

/// What is wrong, the token, and why it is refused.
pub(crate) type Case = (&'static str, String, BadToken);

pub(crate) fn all(user: &str) -> Vec<Case> {
    let mut cases = shapes(user);
    cases.extend(headers(user));
    cases.extend(signatures(user));
    cases.extend(times(user));
    cases.extend(names(user));
    cases
}

fn shapes(user: &str) -> Vec<Case> {
    let good = token(user);
    let (message, signature) = good.rsplit_once('.').expect("a signature");
    let (header, payload) = message.split_once('.').expect("a payload");
    let part = |text: &str| base64url(text);
    let long = signed(HEADER, &claims_with(user, &json!({"note": "x".repeat(8 * 1024)})));
    let text = claims(user).to_string();
    let twice = |claim: &str| signed(HEADER, &format!("{},{claim}}}", text.trim_end_matches('}')));
    use BadToken::{Long, Malformed, Signature};
    vec![
        ("one part", part(HEADER), Malformed),
        ("two parts", message.to_owned(), Malformed),
        ("four parts", format!("{good}.{signature}"), Malformed),
        ("two dots alone", "..".to_owned(), Malformed),
        ("three dots", format!("{header}..{payload}.{signature}"), Malformed),
        ("an empty header", format!(".{payload}.{signature}"), Malformed),
        ("an empty payload", format!("{header}..{signature}"), Signature),
        ("a header of {}", signed("{}", &text), Malformed),
        ("a header that is an array", signed(r#"["JWT","HS256"]"#, &text), Malformed),
        ("a header that is no JSON", signed("alg=HS256", &text), Malformed),
        ("claims that are no JSON", signed(HEADER, "sub=alice"), Malformed),
        ("claims that are an array", signed(HEADER, r#"["alice","presence",1717165200]"#), Malformed),
        ("claims that are a string", signed(HEADER, &json!(text).to_string()), Malformed),
        ("claims that are null", signed(HEADER, "null"), Malformed),
        ("claims and more", signed(HEADER, &format!("{text}{text}")), Malformed),
        ("padding", format!("{header}=.{payload}.{signature}"), Malformed),
        ("padding at the end", format!("{good}="), Malformed),
        ("base64 that is not url-safe", format!("{header}.{payload}.{}+/", &signature[2..]), Malformed),
        ("bits that are left over", leftover(&good), Malformed),
        ("white space inside", good.replacen('.', ". ", 1), Signature),
        ("more than 8 KiB", long, Long),
        ("sub twice", twice(r#""sub":"mallory""#), Malformed),
        ("exp twice", twice(r#""exp":9999999999"#), Malformed),
        ("aud twice", twice(r#""aud":"presence""#), Malformed),
        ("an unknown claim twice", twice(r#""a":1,"a":1"#), Malformed),
        ("alg twice", signed(r#"{"alg":"none","alg":"HS256"}"#, &text), Malformed),
    ]
}

fn headers(user: &str) -> Vec<Case> {
    let text = claims(user).to_string();
    let of = |header: &str| signed(header, &text);
    let with = |field: &str| of(&format!(r#"{{"alg":"HS256",{field}}}"#));
    let unsigned = |alg: &str| format!("{}.{}.", base64url(format!(r#"{{"alg":{alg}}}"#)), base64url(&text));
    use BadToken::{Algorithm, Header, Malformed};
    vec![
        ("alg none", unsigned(r#""none""#), Malformed),
        ("alg None", unsigned(r#""None""#), Malformed),
        ("alg NONE", unsigned(r#""NONE""#), Malformed),
        ("alg none, signed", of(r#"{"alg":"none"}"#), Malformed),
        ("alg null", of(r#"{"alg":null}"#), Malformed),
        ("alg empty", of(r#"{"alg":""}"#), Malformed),
        ("alg a list", of(r#"{"alg":["HS256"]}"#), Malformed),
        ("alg in lower case", of(r#"{"alg":"hs256"}"#), Malformed),
        ("alg with a space", of(r#"{"alg":"HS256 "}"#), Malformed),
        ("alg HS384", signed_by(hmac::HMAC_SHA384, SECRET, r#"{"alg":"HS384"}"#, &text), Algorithm),
        ("alg HS512", signed_by(hmac::HMAC_SHA512, SECRET, r#"{"alg":"HS512"}"#, &text), Algorithm),
        ("alg RS256, signed with the secret", of(r#"{"alg":"RS256"}"#), Algorithm),
        ("alg ES256", of(r#"{"alg":"ES256"}"#), Algorithm),
        ("alg EdDSA", of(r#"{"alg":"EdDSA"}"#), Algorithm),
        ("typ of another token", with(r#""typ":"at+jwt""#), Header),
        ("typ in lower case", with(r#""typ":"jwt""#), Header),
        ("typ a number", with(r#""typ":1"#), Malformed),
        ("kid a path", with(r#""kid":"../../etc/hostname""#), Header),
        ("kid SQL", with(r#""kid":"x' OR '1'='1""#), Header),
        ("kid a URL", with(r#""kid":"http://127.0.0.1/key""#), Header),
        ("kid empty", with(r#""kid":"""#), Header),
        ("kid of 65 characters", with(&format!(r#""kid":"{}""#, "k".repeat(65))), Header),
        ("kid a number", with(r#""kid":7"#), Malformed),
        ("jku", with(r#""jku":"https://evil.example/keys""#), Header),
        ("x5u", with(r#""x5u":"https://evil.example/cert""#), Header),
        ("x5c", with(r#""x5c":["MAA="]"#), Header),
        ("jwk", with(r#""jwk":{"kty":"oct","k":"AAAA"}"#), Header),
        ("crit", with(r#""crit":["exp"]"#), Header),
        ("crit of an unencoded payload", with(r#""b64":false,"crit":["b64"]"#), Header),
        ("zip", with(r#""zip":"DEF""#), Header),
        ("enc", with(r#""enc":"A128GCM""#), Header),
    ]
}

fn signatures(user: &str) -> Vec<Case> {
    let good = token(user);
    let text = claims(user).to_string();
    let (message, signature) = good.rsplit_once('.').expect("a signature");
    let other = token("mallory");
    let (other_message, _) = other.rsplit_once('.').expect("a signature");
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let by = |algorithm, secret: &str| signed_by(algorithm, secret, HEADER, &text);
    use BadToken::Signature;
    vec![
        ("no signature", format!("{message}."), Signature),
        ("half a signature", format!("{message}.{}", &signature[..20]), Signature),
        ("a signature with one bit flipped", format!("{message}.{first}{}", &signature[1..]), Signature),
        ("a signature of zeros", format!("{message}.{}", base64url([0; 32])), Signature),
        ("a signature and more", format!("{message}.{}", base64url([0; 64])), Signature),
        ("the signature of another token", format!("{other_message}.{signature}"), Signature),
        ("another secret", by(hmac::HMAC_SHA256, "another-secret-of-thirty-two-bytes-or-so"), Signature),
        ("an empty secret", by(hmac::HMAC_SHA256, ""), Signature),
        ("half the secret", by(hmac::HMAC_SHA256, &SECRET[..SECRET.len() / 2]), Signature),
        ("HS512 under the name of HS256", by(hmac::HMAC_SHA512, SECRET), Signature),
    ]
}

fn times(user: &str) -> Vec<Case> {
    let of = |changes| signed(HEADER, &claims_with(user, &changes));
    // For numbers that `json!` would write in another way.
    let raw = |name: &str, value: &str| {
        let rest = claims_with(user, &json!({name: null}));
        signed(HEADER, &format!(r#"{{"{name}":{value},{}"#, rest.trim_start_matches('{')))
    };
    use BadToken::{Early, Expired, Lasting, Malformed};
    vec![
        ("no exp", of(json!({"exp": null})), Malformed),
        ("exp null", raw("exp", "null"), Malformed),
        ("exp a string", of(json!({"exp": (NOW + 3600).to_string()})), Malformed),
        ("exp a float", raw("exp", "1717165200.5"), Malformed),
        ("exp a float without a fraction", raw("exp", "1717165200.0"), Malformed),
        ("exp with an exponent", raw("exp", "1.7171652e9"), Malformed),
        ("exp negative", of(json!({"exp": -1})), Malformed),
        ("exp after 9999", of(json!({"exp": 253_402_300_800_i64})), Malformed),
        ("exp beyond 64 bits", raw("exp", "99999999999999999999"), Malformed),
        ("exp infinite", raw("exp", "1e400"), Malformed),
        ("exp true", of(json!({"exp": true})), Malformed),
        ("exp a list", of(json!({"exp": [NOW + 3600]})), Malformed),
        ("exp at 0", of(json!({"exp": 0})), Expired),
        ("exp an hour ago", of(json!({"exp": NOW - 3600})), Expired),
        ("exp 30 s ago", of(json!({"exp": NOW - 30})), Expired),
        ("exp in milliseconds", of(json!({"exp": (NOW + 3600) * 1000})), Malformed),
        ("exp more than a day ahead", of(json!({"exp": NOW + 86_400 + 31})), Lasting),
        ("exp at the end of 9999", of(json!({"exp": 253_402_300_799_i64})), Lasting),
        ("nbf 31 s ahead", of(json!({"nbf": NOW + 31})), Early),
        ("nbf a string", of(json!({"nbf": NOW.to_string()})), Malformed),
        ("nbf a string ahead", of(json!({"nbf": (NOW + 3600).to_string()})), Malformed),
        ("nbf a float", raw("nbf", "1717161600.0"), Malformed),
        ("nbf negative", of(json!({"nbf": -1})), Malformed),
        ("nbf null", raw("nbf", "null"), Malformed),
        ("iat 31 s ahead", of(json!({"iat": NOW + 31})), Early),
        ("iat a string", of(json!({"iat": NOW.to_string()})), Malformed),
    ]
}

fn names(user: &str) -> Vec<Case> {
    let of = |changes| signed(HEADER, &claims_with(user, &changes));
    let null = |name: &str| {
        let rest = claims_with(user, &json!({name: null}));
        signed(HEADER, &format!(r#"{{"{name}":null,{}"#, rest.trim_start_matches('{')))
    };
    use BadToken::{Audience, Malformed};
    vec![
        ("no sub", of(json!({"sub": null})), Malformed),
        ("sub null", null("sub"), Malformed),
        ("sub a number", of(json!({"sub": 7})), Malformed),
        ("sub a list", of(json!({"sub": [user]})), Malformed),
        ("sub empty", of(json!({"sub": ""})), Malformed),
        ("sub that is no user id", of(json!({"sub": " alice"})), Malformed),
        ("sub with NUL", of(json!({"sub": "alice\u{0}"})), Malformed),
        ("sub of 129 characters", of(json!({"sub": "x".repeat(129)})), Malformed),
        ("no aud", of(json!({"aud": null})), Audience),
        ("aud null", null("aud"), Audience),
        ("aud of another service", of(json!({"aud": "billing"})), Audience),
        ("aud in another case", of(json!({"aud": "Presence"})), Audience),
        ("aud empty", of(json!({"aud": []})), Audience),
        ("aud a list of others", of(json!({"aud": ["billing", "presences"]})), Audience),
        ("aud a list with a number", of(json!({"aud": ["presence", 7]})), Audience),
        ("aud a number", of(json!({"aud": 7})), Audience),
        ("iss a list", of(json!({"iss": ["https://id.example"]})), Malformed),
        ("scope a list", of(json!({"scope": ["admin"]})), Malformed),
        ("scope null", null("scope"), Malformed),
    ]
}

/// The same bytes with other letters at the end: 32 bytes leave four bits of the last one over.
fn leftover(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut token = token.to_owned();
    let last = token.pop().expect("a letter");
    let place = ALPHABET.find(last).expect("a letter of base64");
    token.push(ALPHABET.as_bytes()[place + 1].into());
    token
}
