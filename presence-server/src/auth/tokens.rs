//! Bearer tokens: JWTs that are signed with HMAC-SHA256 by whoever shares the secret.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, crypto::aws_lc, decode, errors::ErrorKind};
use presence_core::Timestamp;

use super::{Principal, Secret, claims::Claims};

/// The longest token, in bytes: below what a request's head may have.
const LONGEST: usize = 8 * 1024;
/// How far the clocks of issuer and server may be apart.
const LEEWAY: Duration = Duration::from_secs(30);
/// The scope that may act for other users.
pub(super) const ADMIN: &str = "admin";

/// What a bearer token is judged by; cheap to clone.
///
/// Taken is a JWT in three parts of base64url without padding, at most 8 KiB, whose header says `"alg":"HS256"`, whose
/// signature is that of the secret, and whose claims are `exp`, `sub` (a user id) and `aud`, and may be `nbf`, `iat`,
/// `iss` and `scope`. Instants are whole Unix seconds; the clocks may be 30 s apart.
///
/// ```
/// use std::time::Duration;
/// use presence_core::Timestamp;
/// use presence_server::auth::{BadToken, Secret, Tokens};
///
/// let secret = Secret::new("vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6")?;
/// let tokens = Tokens::new(&secret, "presence", None, Duration::from_secs(86_400));
/// let now = Timestamp::from_secs(1_717_161_600).expect("an instant");
/// assert_eq!(tokens.verify("e30.e30.", now), Err(BadToken::Malformed));
/// # Ok::<(), presence_server::auth::WeakSecret>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokens {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: DecodingKey,
    validation: Validation,
    max_age: Duration,
}

/// Why a token is refused: for the server's own log. A client is told no more than that it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadToken {
    /// There is more than one header, or not `Bearer`, one space and a token in it.
    #[error("not one Authorization header with a bearer token")]
    Credentials,
    /// It has more than 8 KiB.
    #[error("too long")]
    Long,
    /// It is not three parts of base64url with JSON of the right shape and types in them.
    #[error("malformed")]
    Malformed,
    /// It is signed with another algorithm, or not at all.
    #[error("another algorithm")]
    Algorithm,
    /// The header names a key, or asks for what is not supported.
    #[error("a header that is not supported")]
    Header,
    /// The signature is not that of the secret.
    #[error("a wrong signature")]
    Signature,
    /// It is for somebody else.
    #[error("another audience")]
    Audience,
    /// It is from somebody else.
    #[error("another issuer")]
    Issuer,
    /// It has ended.
    #[error("expired")]
    Expired,
    /// It has not begun.
    #[error("not valid yet")]
    Early,
    /// It ends too far ahead.
    #[error("valid for too long")]
    Lasting,
}

impl Tokens {
    /// Takes tokens signed with `secret` for `audience`, from `issuer` where one is named, that end at most `max_age`
    /// ahead.
    #[must_use]
    pub fn new(secret: &Secret, audience: &str, issuer: Option<&str>, max_age: Duration) -> Self {
        // Left alone, the library panics where another crate of the application has switched on a second provider.
        // Whoever has installed one of their own keeps it.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        // The library reads the host's clock, and takes `1.5` for a time: `Claims` and `judge` take its place.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["aud", "exp", "sub"]);
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let key = DecodingKey::from_secret(secret.expose());
        Self { shared: Arc::new(Shared { key, validation, max_age }) }
    }

    /// Who holds `token`, at `now`.
    ///
    /// # Errors
    ///
    /// [`BadToken`] says why it is refused; nobody else should be told.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, BadToken> {
        if token.len() > LONGEST {
            return Err(BadToken::Long);
        }
        let decoded = decode::<Claims>(token, &self.shared.key, &self.shared.validation);
        let decoded = decoded.map_err(|error| refusal(error.kind()))?;
        check_header(&decoded.header)?;
        judge(&decoded.claims, self.shared.max_age, now)?;
        let is_admin = decoded.claims.has_scope(ADMIN);
        let until = decoded.claims.exp.saturating_add(LEEWAY);
        Ok(Principal::Bearer { user: decoded.claims.sub, is_admin, until })
    }
}

fn refusal(error: &ErrorKind) -> BadToken {
    match error {
        ErrorKind::InvalidAlgorithm => BadToken::Algorithm,
        ErrorKind::InvalidAudience => BadToken::Audience,
        ErrorKind::InvalidIssuer => BadToken::Issuer,
        ErrorKind::InvalidSignature => BadToken::Signature,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => BadToken::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => BadToken::Issuer,
        _ => BadToken::Malformed,
    }
}

/// The key comes from the configuration alone, and what a header makes critical is not known here.
fn check_header(header: &Header) -> Result<(), BadToken> {
    let is_kid = |kid: &String| {
        (1..=64).contains(&kid.len())
            && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let is_plain = header.jku.is_none()
        && header.jwk.is_none()
        && header.x5u.is_none()
        && header.x5c.is_none()
        && header.crit.is_none()
        && header.enc.is_none()
        && header.zip.is_none();
    let is_supported = is_plain
        && header.typ.as_deref().is_none_or(|typ| typ == "JWT")
        && header.kid.as_ref().is_none_or(is_kid);
    if is_supported { Ok(()) } else { Err(BadToken::Header) }
}

/// ```text
///        nbf - 30 s                     exp + 30 s
/// early  [------------- taken ----------)  expired
/// ```
fn judge(claims: &Claims, max_age: Duration, now: Timestamp) -> Result<(), BadToken> {
    let latest = now.saturating_add(LEEWAY);
    if now >= claims.exp.saturating_add(LEEWAY) {
        return Err(BadToken::Expired);
    }
    if claims.nbf.is_some_and(|nbf| nbf > latest) || claims.iat.is_some_and(|iat| iat > latest) {
        return Err(BadToken::Early);
    }
    if claims.exp > latest.saturating_add(max_age) {
        return Err(BadToken::Lasting);
    }
    Ok(())
}
