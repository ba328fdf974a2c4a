//! The keys of operators.

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::{constant_time, digest};

use super::secret::{self, WeakSecret};

/// How a key is written that is kept as its digest.
const HASHED: &str = "sha256:";
/// Keys of samples, which a digest would hide.
const SAMPLES: [&str; 7] = ["", "admin", "changeme", "password", "secret", "test", "your_secret_api_key"];
/// The most keys at once: two are enough to change one.
const MOST: usize = 16;

/// The keys that operators may show, kept as their SHA-256; cheap to clone.
///
/// Written as a list with commas, so that an old key and its successor are taken side by side. A key is at least 32
/// visible ASCII characters without a comma, or `sha256:` and the 64 hex digits of its digest.
///
/// ```
/// use presence_server::auth::AdminKeys;
///
/// let keys: AdminKeys = "vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6".parse()?;
/// assert!(keys.matches(b"vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6"));
/// assert!(!keys.matches(b"vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA7"));
/// # Ok::<(), presence_server::auth::BadKeys>(())
/// ```
#[derive(Clone)]
pub struct AdminKeys(Arc<[Digest]>);

type Digest = [u8; digest::SHA256_OUTPUT_LEN];

/// Why a text is no list of keys; the text is not in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKeys {
    /// A key can be guessed.
    #[error(transparent)]
    Weak(#[from] WeakSecret),
    /// A key could not be sent in a header.
    #[error("must be visible ASCII characters without white space")]
    Characters,
    /// What follows `sha256:` is no digest.
    #[error("must have 64 hex digits after sha256:")]
    Digest,
    /// There are more than 16.
    #[error("must be at most 16 keys")]
    Many,
}

impl AdminKeys {
    /// Whether `presented` is one of the keys. How long it takes says nothing about how much of it is right, nor
    /// which key it is.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        let presented = sha256(presented);
        self.0
            .iter()
            .fold(false, |found, key| found | constant_time::verify_slices_are_equal(key, &presented).is_ok())
    }
}

impl FromStr for AdminKeys {
    type Err = BadKeys;

    fn from_str(text: &str) -> Result<Self, BadKeys> {
        let keys = text.split(',').map(parse).collect::<Result<Arc<[_]>, _>>()?;
        if keys.len() > MOST { Err(BadKeys::Many) } else { Ok(Self(keys)) }
    }
}

/// How many there are; a digest says too much about a key that is weak.
impl fmt::Debug for AdminKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminKeys({})", self.0.len())
    }
}

fn parse(key: &str) -> Result<Digest, BadKeys> {
    match key.strip_prefix(HASHED) {
        Some(hex) => {
            let digest = unhex(hex).ok_or(BadKeys::Digest)?;
            let is_sample = SAMPLES.iter().any(|sample| sha256(sample.as_bytes()) == digest);
            if is_sample { Err(WeakSecret::Sample.into()) } else { Ok(digest) }
        }
        None if key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            secret::check(key)?;
            Ok(sha256(key.as_bytes()))
        }
        None => Err(BadKeys::Characters),
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = [0; digest::SHA256_OUTPUT_LEN];
    digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest
}

fn unhex(hex: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if hex.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let mut nibbles = pair.iter().map(|digit| char::from(*digit).to_digit(16));
        *byte = nibbles.try_fold(0_u8, |byte, nibble| Some((byte << 4) | u8::try_from(nibble?).ok()?))?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6";
    const NEW: &str = "K7pWx2eRt9yUi4oPa6sDf8gHj1kLz3xC";

    fn hex(key: &[u8]) -> String {
        sha256(key).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn taken(list: &str) -> [bool; 2] {
        let keys: AdminKeys = list.parse().unwrap();
        [OLD, NEW].map(|key| keys.matches(key.as_bytes()))
    }

    #[test]
    fn each_key_of_the_list_is_taken() {
        assert_eq!(taken(OLD), [true, false]);
        assert_eq!(taken(&format!("{OLD},{NEW}")), [true, true]);
        let keys: AdminKeys = OLD.parse().unwrap();
        for other in ["", " ", &OLD[1..], &OLD.to_lowercase(), &format!("{OLD} "), &format!("{OLD},{NEW}")] {
            assert!(!keys.matches(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_digest_stands_for_its_key_and_is_none_itself() {
        // What `printf %s KEY | sha256sum` prints for an empty key and for OLD.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(unhex(empty), Some(sha256(b"")));
        let hex = hex(OLD.as_bytes());
        let list = format!("sha256:{hex}");
        assert_eq!(taken(&list), [true, false]);
        assert_eq!(taken(&list.replace(&hex, &hex.to_uppercase())), [true, false]);
        let keys: AdminKeys = list.parse().unwrap();
        assert!(!keys.matches(list.as_bytes()) && !keys.matches(hex.as_bytes()));
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused() {
        let short = &OLD[1..];
        for (list, expected) in [
            ("", BadKeys::Weak(WeakSecret::Short)),
            (short, BadKeys::Weak(WeakSecret::Short)),
            (&format!("{OLD},"), BadKeys::Weak(WeakSecret::Short)),
            (&format!("{OLD},{short}"), BadKeys::Weak(WeakSecret::Short)),
            ("your_secret_api_key", BadKeys::Weak(WeakSecret::Sample)),
            (&"k".repeat(40), BadKeys::Weak(WeakSecret::Repeated)),
            (&format!("{OLD}, {NEW}"), BadKeys::Characters),
            (&format!("{OLD}é"), BadKeys::Characters),
            (&format!("{OLD}\n"), BadKeys::Characters),
            ("sha256:", BadKeys::Digest),
            (&format!("sha256:{}", "0".repeat(63)), BadKeys::Digest),
            (&format!("sha256:{}", "g".repeat(64)), BadKeys::Digest),
            (&format!("sha256:+{}", "0".repeat(63)), BadKeys::Digest),
            (&format!("sha256:é{}", "0".repeat(62)), BadKeys::Digest),
            (&format!("sha256:{}", hex(b"changeme")), BadKeys::Weak(WeakSecret::Sample)),
            (&[OLD; 17].join(","), BadKeys::Many),
        ] {
            assert_eq!(list.parse::<AdminKeys>().map(drop), Err(expected), "{list}");
        }
    }

    #[test]
    fn keys_are_shown_by_nothing() {
        assert_eq!(format!("{:?}", OLD.parse::<AdminKeys>()), "Ok(AdminKeys(1))");
    }
}
