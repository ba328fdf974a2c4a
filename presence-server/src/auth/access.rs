//! What a server asks of those who ask it.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, header};
use presence_core::Timestamp;

use super::{AdminKeys, BadToken, Principal, Tokens, failures::Failures};

/// The header with the key of an operator.
const KEY: &str = "x-api-key";

/// Who may do what; cheap to clone.
///
/// Users show a bearer token, operators a key. An application that guards the routes itself, before they are asked,
/// leaves them [open](Access::open); `presence-server` sets what its configuration says.
///
/// ```
/// use std::time::Duration;
/// use presence_server::{Settings, auth::{Access, Secret, Tokens}};
///
/// let secret = Secret::new("vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6")?;
/// let tokens = Tokens::new(&secret, "presence", None, Duration::from_secs(86_400));
/// let settings = Settings { access: Access::open().with_tokens(tokens), ..Settings::default() };
/// # let _ = settings;
/// # Ok::<(), presence_server::auth::WeakSecret>(())
/// ```
#[derive(Clone, Debug)]
pub struct Access {
    tokens: Option<Tokens>,
    admin_keys: Option<AdminKeys>,
    operations_need_key: bool,
    failures: Arc<Mutex<Failures>>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// It shows nothing.
    #[error("there are no credentials")]
    Missing,
    /// It shows a token that is refused.
    #[error("the token is refused")]
    Token(#[from] BadToken),
    /// It shows a key that is wrong.
    #[error("the key is wrong")]
    Key,
    /// Its address has shown ten wrong keys within a minute.
    #[error("too many keys were wrong")]
    #[non_exhaustive]
    TooMany {
        /// After this the next one is looked at.
        retry_after: Duration,
    },
}

impl Access {
    /// Nobody is asked anything, but for what always needs a key: that stays closed until there is one.
    #[must_use]
    pub fn open() -> Self {
        Self { tokens: None, admin_keys: None, operations_need_key: false, failures: Arc::default() }
    }

    /// Users need one of these tokens.
    #[must_use]
    pub fn with_tokens(self, tokens: Tokens) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// Operators have one of these keys.
    #[must_use]
    pub fn with_admin_keys(self, keys: AdminKeys) -> Self {
        Self { admin_keys: Some(keys), ..self }
    }

    /// Also metrics and the description of the routes need a key.
    #[must_use]
    pub fn with_closed_operations(self) -> Self {
        Self { operations_need_key: true, ..self }
    }

    /// Whether metrics and the description of the routes need a key.
    #[must_use]
    pub const fn operations_need_key(&self) -> bool {
        self.operations_need_key
    }

    /// Who asks with `headers`, at `now`: [`Principal::Anyone`] where no token is needed, whatever is shown.
    ///
    /// # Errors
    ///
    /// [`Denied::Missing`] or [`Denied::Token`].
    pub fn user(&self, headers: &HeaderMap, now: Timestamp) -> Result<Principal, Denied> {
        let Some(tokens) = &self.tokens else { return Ok(Principal::Anyone) };
        let token = bearer(headers)?.ok_or(Denied::Missing)?;
        Ok(tokens.verify(token, now)?)
    }

    /// The same for a WebSocket: browsers cannot give it a header, so a token may also come as the subprotocol
    /// `bearer.<token>`.
    ///
    /// # Errors
    ///
    /// [`Denied::Missing`] or [`Denied::Token`].
    pub fn socket_user(&self, headers: &HeaderMap, now: Timestamp) -> Result<Principal, Denied> {
        let Some(tokens) = &self.tokens else { return Ok(Principal::Anyone) };
        match (bearer(headers)?, subprotocol(headers)?) {
            (Some(token), None) | (None, Some(token)) => Ok(tokens.verify(token, now)?),
            (None, None) => Err(Denied::Missing),
            (Some(_), Some(_)) => Err(BadToken::Credentials.into()),
        }
    }

    /// Whether an operator asks with `headers`, at `now`. Without keys nobody is one.
    ///
    /// Wrong keys are counted by `peer`, ten within a minute; an IPv6 address counts as its /64. Where the peer is
    /// not known they are not counted.
    ///
    /// # Errors
    ///
    /// [`Denied::Missing`], [`Denied::Key`] or [`Denied::TooMany`].
    pub fn operator(&self, headers: &HeaderMap, peer: Option<IpAddr>, now: Timestamp) -> Result<(), Denied> {
        let mut keys = headers.get_all(KEY).iter();
        let Some(key) = keys.next() else { return Err(Denied::Missing) };
        let Some(admin_keys) = &self.admin_keys else { return Err(Denied::Key) };
        // One lock around all of it, so that guesses side by side are counted like those in a row.
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(retry_after) = peer.and_then(|peer| failures.wait(peer, now)) {
            return Err(Denied::TooMany { retry_after });
        }
        if keys.next().is_none() && admin_keys.matches(key.as_bytes()) {
            return Ok(());
        }
        if let Some(peer) = peer {
            failures.count(peer, now);
        }
        Err(Denied::Key)
    }
}

/// As [`Access::open`].
impl Default for Access {
    fn default() -> Self {
        Self::open()
    }
}

/// The token of the one header `Authorization`, if there is one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, BadToken> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(BadToken::Credentials)?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.starts_with(' ');
    if is_bearer && values.next().is_none() { Ok(Some(token)) } else { Err(BadToken::Credentials) }
}

/// The token among the subprotocols of a WebSocket, if there is one.
fn subprotocol(headers: &HeaderMap) -> Result<Option<&str>, BadToken> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut tokens = offers
        .filter_map(|offers| offers.to_str().ok())
        .flat_map(|offers| offers.split(','))
        .filter_map(|offer| offer.trim().strip_prefix("bearer."));
    match (tokens.next(), tokens.next()) {
        (token, None) => Ok(token),
        _ => Err(BadToken::Credentials),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_TEXT: &str = "K7pWx2eRt9yUi4oPa6sDf8gHj1kLz3xC";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// `collect` and `insert` would keep the last one only.
    fn twice(name: &'static str, values: [&str; 2]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_header_with_one_token_is_read() {
        for (value, expected) in [
            ("Bearer a.b.c", Ok(Some("a.b.c"))),
            ("bearer a.b.c", Ok(Some("a.b.c"))),
            ("BEARER a.b.c", Ok(Some("a.b.c"))),
            ("Bearer  a.b.c", Err(BadToken::Credentials)),
            ("Bearer\ta.b.c", Err(BadToken::Credentials)),
            ("Bearer", Err(BadToken::Credentials)),
            ("Bearer ", Err(BadToken::Credentials)),
            ("a.b.c", Err(BadToken::Credentials)),
            ("Basic YWxpY2U6eA", Err(BadToken::Credentials)),
            ("Bearer é", Err(BadToken::Credentials)),
        ] {
            assert_eq!(bearer(&headers(&[("authorization", value)])), expected, "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
        let two = twice("authorization", ["Bearer a.b.c", "Bearer a.b.c"]);
        assert_eq!(bearer(&two), Err(BadToken::Credentials));
    }

    #[test]
    fn a_key_is_taken_once_and_nothing_else_is() {
        let access = Access::open().with_admin_keys(KEY_TEXT.parse().unwrap());
        let ask = |access: &Access, headers: &HeaderMap| access.operator(headers, None, Timestamp::MIN);
        let right = headers(&[("x-api-key", KEY_TEXT)]);
        assert_eq!(ask(&access, &right), Ok(()));
        assert_eq!(ask(&access, &HeaderMap::new()), Err(Denied::Missing));
        let bearer = format!("Bearer {KEY_TEXT}");
        assert_eq!(ask(&access, &headers(&[("authorization", &bearer)])), Err(Denied::Missing));
        assert_eq!(ask(&access, &twice("x-api-key", [KEY_TEXT, KEY_TEXT])), Err(Denied::Key));
        for wrong in ["", "x", &KEY_TEXT[1..]] {
            assert_eq!(ask(&access, &headers(&[("x-api-key", wrong)])), Err(Denied::Key), "{wrong}");
        }
        for key in [HeaderMap::new(), headers(&[("x-api-key", "")]), right] {
            assert!(ask(&Access::open(), &key).is_err(), "without keys nobody is an operator");
        }
    }

    #[test]
    fn after_ten_wrong_keys_the_right_one_waits_too() {
        let access = Access::open().with_admin_keys(KEY_TEXT.parse().unwrap());
        let (wrong, right) = (headers(&[("x-api-key", "x")]), headers(&[("x-api-key", KEY_TEXT)]));
        let peer = Some(IpAddr::from([192, 0, 2, 1]));
        let at = |secs| Timestamp::from_secs(secs).unwrap();
        for _ in 0..10 {
            assert_eq!(access.operator(&wrong, peer, at(100)), Err(Denied::Key));
            // No key at all is no guess.
            assert_eq!(access.operator(&HeaderMap::new(), peer, at(100)), Err(Denied::Missing));
        }
        let wait = |secs| Err(Denied::TooMany { retry_after: Duration::from_secs(secs) });
        assert_eq!(access.operator(&wrong, peer, at(100)), wait(60));
        assert_eq!(access.clone().operator(&right, peer, at(159)), wait(1));
        assert_eq!(access.operator(&right, Some(IpAddr::from([192, 0, 2, 2])), at(159)), Ok(()));
        assert_eq!(access.operator(&right, peer, at(160)), Ok(()));
    }
}
