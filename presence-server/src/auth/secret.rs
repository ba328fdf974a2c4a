//! What only the server and its operator know.

use std::{fmt, str::FromStr, sync::Arc};

use zeroize::Zeroizing;

/// The fewest bytes of a secret: as many as its digest has.
const SHORTEST: usize = 32;
/// The longest unit whose repetition is no secret, in bytes.
const UNIT: usize = 16;
/// What only samples say. Some are long enough to pass otherwise: those of jwt.io and Supabase among them.
const PLACEHOLDERS: [&str; 14] = [
    "change-me",
    "change_me",
    "changeit",
    "changeme",
    "example-secret",
    "example_secret",
    "insert-your",
    "replace-me",
    "replace_me",
    "secret-at-least-256-bits",
    "token-with-at-least-32-characters",
    "your-256-bit-secret",
    "your-secret",
    "your_secret",
];

/// A secret: at least 32 bytes that nobody would guess. It is shown by nothing, and overwritten when the last clone
/// goes; what the environment of the process holds is not.
///
/// ```
/// use presence_server::auth::Secret;
///
/// let secret = Secret::new("vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6")?;
/// assert_eq!(format!("{secret:?}"), "Secret(***)");
/// assert!(Secret::new("changeme").is_err());
/// # Ok::<(), presence_server::auth::WeakSecret>(())
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

/// Why a text is no secret; the text is not in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WeakSecret {
    /// It has fewer than 32 bytes.
    #[error("must have at least 32 bytes, as `openssl rand -base64 32` prints them")]
    Short,
    /// It is a short unit, again and again.
    #[error("must not repeat itself; `openssl rand -base64 32` prints a good one")]
    Repeated,
    /// It is, or contains, a sample that others know.
    #[error("must not be a sample that others know; `openssl rand -base64 32` prints a good one")]
    Sample,
}

impl Secret {
    /// Takes `text` as a secret.
    ///
    /// # Errors
    ///
    /// [`WeakSecret`] where it could be guessed.
    pub fn new(text: impl Into<String>) -> Result<Self, WeakSecret> {
        let text = Zeroizing::new(text.into());
        check(&text)?;
        Ok(Self(Arc::new(text)))
    }

    pub(super) fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl FromStr for Secret {
    type Err = WeakSecret;

    fn from_str(text: &str) -> Result<Self, WeakSecret> {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Refuses what can be guessed.
pub(super) fn check(text: &str) -> Result<(), WeakSecret> {
    let lower = Zeroizing::new(text.to_ascii_lowercase());
    if PLACEHOLDERS.iter().any(|sample| lower.contains(sample)) {
        return Err(WeakSecret::Sample);
    }
    if text.len() < SHORTEST {
        return Err(WeakSecret::Short);
    }
    let bytes = text.as_bytes();
    let repeats = |unit: usize| bytes.iter().zip(bytes.iter().skip(unit)).all(|(a, b)| a == b);
    if (1..=UNIT).any(repeats) { Err(WeakSecret::Repeated) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_guessed_is_refused() {
        for (text, expected) in [
            ("", Err(WeakSecret::Short)),
            ("secret", Err(WeakSecret::Short)),
            ("test", Err(WeakSecret::Short)),
            ("vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA", Err(WeakSecret::Short)),
            ("vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6", Ok(())),
            ("your_secret_api_key", Err(WeakSecret::Sample)),
            ("changeme", Err(WeakSecret::Sample)),
            ("CHANGEME-vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6", Err(WeakSecret::Sample)),
            ("a-string-secret-at-least-256-bits-long", Err(WeakSecret::Sample)),
            ("super-secret-jwt-token-with-at-least-32-characters-long", Err(WeakSecret::Sample)),
            (&"a".repeat(32), Err(WeakSecret::Repeated)),
            (&" ".repeat(64), Err(WeakSecret::Repeated)),
            (&"secret".repeat(6), Err(WeakSecret::Repeated)),
            (&"0123456789abcdef".repeat(2), Err(WeakSecret::Repeated)),
            // A unit that is cut at the end repeats all the same.
            (&"0123456789".repeat(4)[..37], Err(WeakSecret::Repeated)),
            ("d41d8cd98f00b204e9800998ecf8427e", Ok(())),
        ] {
            assert_eq!(check(text), expected, "{text}");
            assert_eq!(Secret::new(text).map(drop), expected, "{text}");
        }
    }
}
