//! What rooms and members are called, and what members say.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Rejection, id::is_name};

/// The longest message, in bytes: that of an administrator's frame.
const MAX_BYTES: usize = 64 * 1024;

/// Text that is valid by construction and cheap to clone.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Deserialize, Eq, Hash, PartialEq, Serialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Rejection;

            fn try_from(text: String) -> Result<Self, Rejection> {
                Self::new(&text)
            }
        }
    };
}

text! {
    /// What a room is called: 1 to 128 characters, no control characters, no white space at either end. Two rooms may
    /// have the same name.
    ///
    /// ```
    /// use presence_core::RoomName;
    ///
    /// assert_eq!(RoomName::new("Lobby")?.as_str(), "Lobby");
    /// assert_eq!(RoomName::new("").unwrap_err().code(), "INVALID_ROOM_NAME");
    /// # Ok::<(), presence_core::Rejection>(())
    /// ```
    RoomName
}

impl RoomName {
    /// Parses `text`.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidRoomName`] where it does not fit the form.
    pub fn new(text: &str) -> Result<Self, Rejection> {
        if is_name(text, 128) { Ok(Self(text.into())) } else { Err(Rejection::InvalidRoomName) }
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoomName").field(&self.0).finish()
    }
}

text! {
    /// What a member calls itself: 1 to 64 characters, no control characters. Characters that turn the direction of the
    /// text around it, and white space at either end, are taken out.
    ///
    /// ```
    /// use presence_core::Nickname;
    ///
    /// assert_eq!(Nickname::new(" Alice\u{202e} ")?.as_str(), "Alice");
    /// assert_eq!(Nickname::new("\u{202e}").unwrap_err().code(), "INVALID_NICKNAME");
    /// # Ok::<(), presence_core::Rejection>(())
    /// ```
    Nickname
}

impl Nickname {
    /// Parses `text`.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidNickname`] where nothing is left of it, or it is too long, or has control characters.
    pub fn new(text: &str) -> Result<Self, Rejection> {
        let kept: String = text.chars().filter(|c| !turns_direction(*c)).collect();
        let kept = kept.trim();
        let fits = !kept.is_empty() && kept.chars().count() <= 64 && !kept.chars().any(char::is_control);
        if fits { Ok(Self(kept.into())) } else { Err(Rejection::InvalidNickname) }
    }
}

impl fmt::Debug for Nickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nickname").field(&self.0).finish()
    }
}

/// Whether it is one of Unicode's directional formatting characters (UAX 9).
const fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

text! {
    /// What a member says: 1 byte to 64 KiB of text, without NUL characters. `Debug` tells its length only.
    ///
    /// ```
    /// use presence_core::ChatText;
    ///
    /// assert_eq!(ChatText::new("hello")?.as_str(), "hello");
    /// assert_eq!(ChatText::new("").unwrap_err().code(), "INVALID_MESSAGE");
    /// # Ok::<(), presence_core::Rejection>(())
    /// ```
    ChatText
}

impl ChatText {
    /// Parses `text`.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidMessage`] where it does not fit the form.
    pub fn new(text: &str) -> Result<Self, Rejection> {
        let fits = (1..=MAX_BYTES).contains(&text.len()) && !text.contains('\0');
        if fits { Ok(Self(text.into())) } else { Err(Rejection::InvalidMessage) }
    }
}

impl fmt::Debug for ChatText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChatText({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames_keep_their_limits_after_what_turns_text_is_gone() {
        let turning: String = ['\u{200e}', '\u{2066}', '\u{61c}'].into_iter().cycle().take(90).collect();
        assert_eq!(Nickname::new(&format!("{turning}日本{turning}")).unwrap().as_str(), "日本");
        assert!(Nickname::new(&"ü".repeat(64)).is_ok());
        for bad in ["", "   ", "a\nb", "a\0", "\u{202e} \u{202a}"]
            .map(str::to_owned)
            .into_iter()
            .chain(["ü".repeat(65)])
        {
            assert_eq!(Nickname::new(&bad), Err(Rejection::InvalidNickname), "{bad:?}");
        }
    }

    #[test]
    fn what_is_said_is_not_told_to_logs() {
        let text = ChatText::new("secret").unwrap();
        assert_eq!(format!("{text:?}"), "ChatText(6 bytes)");
        assert!(ChatText::new(&"x".repeat(MAX_BYTES)).is_ok());
        assert!(ChatText::new(&"x".repeat(MAX_BYTES + 1)).is_err());
        assert!(ChatText::new("a\0b").is_err());
    }
}
