//! What is delivered.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use presence_core::Fingerprint;

/// The longest id, in bytes.
const LONGEST: usize = 256;

/// Something to deliver: a body, and the id by which whoever gets it twice knows that it is the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The same on every attempt.
    pub id: DeliveryId,
    /// JSON.
    pub body: Bytes,
}

/// The id of a delivery, sent as `webhook-id`: 1 to 256 visible ASCII characters without a full stop, which separates
/// the id from the rest of what is signed.
///
/// ```
/// use presence_server::callbacks::DeliveryId;
///
/// let id = DeliveryId::new("chat-5f1c-1-1000")?;
/// assert_eq!(id.as_str(), "chat-5f1c-1-1000");
/// assert!(DeliveryId::new("chat.1").is_err());
/// # Ok::<(), presence_server::callbacks::BadDeliveryId>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeliveryId(Arc<str>);

/// Why a text is no id of a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[error("must be 1 to 256 visible ASCII characters without a full stop")]
pub struct BadDeliveryId;

impl DeliveryId {
    /// Takes `text` as an id.
    ///
    /// # Errors
    ///
    /// It is empty or too long, or it could not be sent or signed.
    pub fn new(text: &str) -> Result<Self, BadDeliveryId> {
        let fits = (1..=LONGEST).contains(&text.len());
        let is_sendable = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.');
        if fits && is_sendable { Ok(Self(text.into())) } else { Err(BadDeliveryId) }
    }

    /// The id of what has this name: the name itself, or a digest of it where it could not be sent.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let digest = || format!("id_{:032x}", Fingerprint::of(&[name.as_bytes()]).0);
        Self::new(name).unwrap_or_else(|_| Self(digest().into()))
    }

    /// The id as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeliveryId {
    type Err = BadDeliveryId;

    fn from_str(text: &str) -> Result<Self, BadDeliveryId> {
        Self::new(text)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_be_sent_and_signed() {
        for good in ["a", "chat_room-1_7", "~!:/=", &"x".repeat(LONGEST)] {
            assert_eq!(DeliveryId::new(good).map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in
            ["", "a.b", ".", "a b", "a\nb", "a\r\nx: y", "\u{7f}", "caf\u{e9}", &"x".repeat(LONGEST + 1)]
        {
            assert_eq!(DeliveryId::new(bad), Err(BadDeliveryId), "{bad:?}");
            // What has such a name has an id nevertheless, and always the same.
            let id = DeliveryId::of(bad);
            assert_eq!(DeliveryId::new(id.as_str()), Ok(DeliveryId::of(bad)), "{bad:?}");
        }
        assert_eq!(DeliveryId::of("chat_lobby_1_7").as_str(), "chat_lobby_1_7");
        assert_ne!(DeliveryId::of("a.b"), DeliveryId::of("a.c"));
    }
}
