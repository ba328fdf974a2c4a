//! The frames of both directions: JSON text `{"type": .., "payload": ..}`, in the names of the first clients.
//!
//! Fields were added to theirs, and none was changed; readers ignore what they do not know.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::{ChatText, Nickname, Position, UserId};

/// What a client sends.
///
/// ```
/// use presence_core::ClientFrame;
///
/// let frame = ClientFrame::parse(r#"{"type":"SendMessage","payload":{"content":"hello"}}"#);
/// assert!(matches!(frame, Some(ClientFrame::SendMessage { content }) if content == "hello"));
/// // What only the server may say is nothing when a client says it.
/// assert_eq!(ClientFrame::parse(r#"{"type":"UserJoined","payload":{"user_id":"eve","nickname":"Eve"}}"#), None);
/// ```
#[derive(Clone, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(tag = "type", content = "payload")]
pub enum ClientFrame {
    /// Says something to everybody in the room.
    ///
    /// `{"type":"SendMessage","payload":{"content":"hello"}}`
    SendMessage {
        /// 1 byte to 64 KiB, without NUL characters.
        content: String,
    },
    /// Takes a user out of the room for good; from administrators only.
    ///
    /// `{"type":"KickUser","payload":{"user_id":"eve"}}`
    KickUser {
        /// Who is to go, connected or not.
        user_id: UserId,
    },
    /// Silences a user for as long as the room lives; from administrators only.
    ///
    /// `{"type":"MuteUser","payload":{"user_id":"eve"}}`
    MuteUser {
        /// Who is to be silent, connected or not.
        user_id: UserId,
    },
    /// Sends an event of the application to everybody in the room; from administrators only.
    ///
    /// `{"type":"CustomEvent","payload":{"event_type":"lucky_money","payload":{"amount":100,"desc":"good luck"}}}`
    CustomEvent {
        /// What kind of event it is.
        event_type: String,
        /// Any JSON.
        #[serde(default)]
        payload: Value,
    },
    /// Asks whether the server is there. The payload may be left out.
    ///
    /// `{"type":"Ping","payload":{"timestamp":1717161600}}`
    Ping(Option<Ping>),
}

/// What a client's `Ping` carries.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Ping {
    /// Comes back in the `Pong` as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Number>,
}

impl ClientFrame {
    /// Parses the text of a frame; `None` where it is not a frame that a client may send, which is no reason to end the
    /// connection.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether it shows that somebody is there: a message, or a ping.
    #[must_use]
    pub const fn is_activity(&self) -> bool {
        matches!(self, Self::SendMessage { .. } | Self::Ping(_))
    }

    /// The answer to a ping, which needs no room.
    #[must_use]
    pub fn pong(&self) -> Option<ServerFrame> {
        match self {
            Self::Ping(ping) => {
                Some(ServerFrame::Pong { timestamp: ping.as_ref().and_then(|ping| ping.timestamp.clone()) })
            }
            _ => None,
        }
    }
}

/// Its name only: what users say is not told to logs.
impl fmt::Debug for ClientFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendMessage { .. } => "SendMessage",
            Self::KickUser { .. } => "KickUser",
            Self::MuteUser { .. } => "MuteUser",
            Self::CustomEvent { .. } => "CustomEvent",
            Self::Ping(_) => "Ping",
        })
    }
}

/// What the server sends.
///
/// ```
/// use presence_core::{Frame, ServerFrame};
///
/// let frame = Frame::of(&ServerFrame::RoomStats { current_users: 3, peak_users: 5 });
/// assert_eq!(frame.as_str(), r#"{"type":"RoomStats","payload":{"current_users":3,"peak_users":5}}"#);
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
#[serde(tag = "type", content = "payload")]
pub enum ServerFrame {
    /// The first frame after joining.
    ///
    /// `{"type":"WelcomeInfo","payload":{"user_id":"alice","nickname":"Alice","is_muted":false,"is_admin":false,"epoch":1717161600000,"seq":41,"recovered":true}}`
    WelcomeInfo {
        /// Who the server takes the member for.
        user_id: UserId,
        /// What the member is called.
        nickname: Nickname,
        /// Whether the member is silenced.
        is_muted: bool,
        /// Whether the member is an administrator.
        is_admin: bool,
        /// The place of the last message of the room. To come back with, keep the place of each `Message` as it is
        /// read, and this one only where nothing that was missed follows: what follows may be cut off.
        #[serde(flatten)]
        position: Position,
        /// To a member that came back with the place of its last message: whether all that it missed follows. If not,
        /// more is missing than is remembered, and the history of the room has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
    },
    /// What a member said. Places have no gaps, but where a later epoch begins, and where a user was erased.
    ///
    /// `{"type":"Message","payload":{"from":"alice","nickname":"Alice","content":"hello","is_admin":false,"epoch":1717161600000,"seq":42,"created_at":1717161605}}`
    Message {
        /// Who said it.
        from: UserId,
        /// What that user is called.
        nickname: Nickname,
        /// What was said.
        content: ChatText,
        /// Whether an administrator said it.
        is_admin: bool,
        /// Where it stands.
        #[serde(flatten)]
        position: Position,
        /// When, in Unix seconds.
        created_at: i64,
    },
    /// One user came, and nobody else came or went within a second. `RoomStats` follows.
    ///
    /// `{"type":"UserJoined","payload":{"user_id":"alice","nickname":"Alice"}}`
    UserJoined {
        /// Who came.
        user_id: UserId,
        /// What that user is called.
        nickname: Nickname,
    },
    /// One user went, and nobody else came or went within a second. `RoomStats` follows.
    ///
    /// `{"type":"UserLeft","payload":{"user_id":"alice","nickname":"Alice"}}`
    UserLeft {
        /// Who went.
        user_id: UserId,
        /// What that user was called.
        nickname: Nickname,
    },
    /// How many are here, a second after somebody came or went.
    ///
    /// `{"type":"RoomStats","payload":{"current_users":3,"peak_users":5}}`
    RoomStats {
        /// Members now.
        current_users: u64,
        /// The most there ever were.
        peak_users: u64,
    },
    /// An event of the application, from an administrator.
    ///
    /// `{"type":"CustomEvent","payload":{"event_type":"lucky_money","payload":{"amount":100,"desc":"good luck"}}}`
    CustomEvent {
        /// What kind of event it is.
        event_type: String,
        /// Any JSON.
        payload: Value,
    },
    /// The member is taken out of the room, or has joined from elsewhere. The connection is then closed.
    ///
    /// `{"type":"YouAreKicked"}`
    YouAreKicked,
    /// The member is silenced: it was just now, or tried to say something.
    ///
    /// `{"type":"YouAreMuted"}`
    YouAreMuted,
    /// A user is silenced.
    ///
    /// `{"type":"UserMuted","payload":{"user_id":"eve"}}`
    UserMuted {
        /// Who.
        user_id: UserId,
    },
    /// What the member may do is another from here on: operators have made it an administrator, or it is none any more.
    ///
    /// `{"type":"RightsChanged","payload":{"is_admin":true}}`
    RightsChanged {
        /// Whether the member is an administrator.
        is_admin: bool,
    },
    /// Something was refused; nothing was stored or sent to others.
    ///
    /// `{"type":"Error","payload":{"message":"发送过于频繁，请2秒后再试","code":"RATE_LIMITED","retry_after_ms":1500}}`
    Error {
        /// Why, for people.
        message: Cow<'static, str>,
        /// Why, for programs: `BANNED`, `INVALID_MESSAGE`, `RATE_LIMITED`, `ROOM_CLOSED` or `STORE_BEHIND`.
        code: Cow<'static, str>,
        /// How long to wait before the next try.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// The operators say something.
    ///
    /// `{"type":"System","payload":{"message":"房间已关闭"}}`
    System {
        /// What.
        message: String,
    },
    /// The answer to a `Ping`.
    ///
    /// `{"type":"Pong","payload":{"timestamp":1717161600}}`
    Pong {
        /// What the `Ping` carried.
        timestamp: Option<Number>,
    },
}

impl ServerFrame {
    /// Parses the text of a frame: what a client in Rust does; `None` where it is none that this version knows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn banned() -> Self {
        Self::error("你已被踢出该房间，无法再次加入", "BANNED")
    }

    pub(crate) fn room_closed() -> Self {
        Self::error(CLOSED, "ROOM_CLOSED")
    }

    pub(crate) fn store_behind() -> Self {
        Self::error("服务器繁忙，请稍后再试", "STORE_BEHIND")
    }

    pub(crate) fn invalid_message() -> Self {
        Self::error("消息不能为空，且不得超过64 KiB", "INVALID_MESSAGE")
    }

    pub(crate) fn rate_limited(wait: Duration) -> Self {
        let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self::Error {
            message: format!("发送过于频繁，请{}秒后再试", millis.div_ceil(1000)).into(),
            code: Cow::Borrowed("RATE_LIMITED"),
            retry_after_ms: Some(millis),
        }
    }

    fn error(message: &'static str, code: &'static str) -> Self {
        Self::Error { message: Cow::Borrowed(message), code: Cow::Borrowed(code), retry_after_ms: None }
    }
}

/// What members are told when their room is closed.
pub(crate) const CLOSED: &str = "房间已关闭";

/// A [`ServerFrame`] as text, serialised once and shared by all who get it. `Debug` tells its length only.
///
/// ```
/// use presence_core::{Frame, ServerFrame};
///
/// let frame = Frame::of(&ServerFrame::YouAreMuted);
/// let bytes: &[u8] = frame.as_ref(); // `bytes::Bytes::from_owner(frame)` shares it with a socket
/// assert_eq!(bytes, br#"{"type":"YouAreMuted"}"#);
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Frame(Arc<str>);

impl Frame {
    /// Serialises a frame.
    #[must_use]
    pub fn of(frame: &ServerFrame) -> Self {
        // Only maps with keys that are not text fail to serialise, and there are none.
        Self(serde_json::to_string(frame).unwrap_or_default().into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The examples of one of the enums above, out of its documentation.
    fn examples(of: &str) -> Vec<&'static str> {
        let (_, body) = include_str!("protocol.rs").split_once(&format!("pub enum {of} {{")).unwrap();
        let (body, _) = body.split_once("\n}\n").unwrap();
        let quoted = body.lines().filter_map(|line| line.trim().strip_prefix("/// `")?.strip_suffix('`'));
        quoted.filter(|quoted| quoted.starts_with('{')).collect()
    }

    /// The variants of one of them.
    fn variants(of: &str) -> BTreeSet<&'static str> {
        let (_, body) = include_str!("protocol.rs").split_once(&format!("pub enum {of} {{")).unwrap();
        let (body, _) = body.split_once("\n}\n").unwrap();
        let variants = body.lines().filter_map(|line| {
            line.strip_prefix("    ").filter(|line| !line.starts_with([' ', '/', '#', '}']))
        });
        variants.map(|line| line.split([' ', '(', ',']).next().unwrap()).collect()
    }

    fn type_of(example: &str) -> &str {
        example.split('"').nth(3).unwrap()
    }

    #[test]
    fn every_frame_of_a_client_parses_and_prints_as_its_example() {
        let examples = examples("ClientFrame");
        assert_eq!(
            examples.iter().map(|example| type_of(example)).collect::<BTreeSet<_>>(),
            variants("ClientFrame")
        );
        for example in examples {
            let frame = ClientFrame::parse(example).expect(example);
            assert_eq!(serde_json::to_string(&frame).unwrap(), example);
            assert_eq!(format!("{frame:?}"), type_of(example));
        }
    }

    #[test]
    fn every_frame_of_the_server_parses_and_prints_as_its_example() {
        let examples = examples("ServerFrame");
        assert_eq!(
            examples.iter().map(|example| type_of(example)).collect::<BTreeSet<_>>(),
            variants("ServerFrame")
        );
        for example in examples {
            let frame = ServerFrame::parse(example).expect(example);
            assert_eq!(Frame::of(&frame).as_str(), example);
        }
    }

    #[test]
    fn pings_come_as_the_first_clients_send_them() {
        for (ping, pong) in [
            (r#"{"type":"Ping"}"#, r#"{"type":"Pong","payload":{"timestamp":null}}"#),
            (r#"{"type":"Ping","payload":null}"#, r#"{"type":"Pong","payload":{"timestamp":null}}"#),
            (r#"{"type":"Ping","payload":{}}"#, r#"{"type":"Pong","payload":{"timestamp":null}}"#),
            (
                r#"{"payload":{"timestamp":17},"type":"Ping"}"#,
                r#"{"type":"Pong","payload":{"timestamp":17}}"#,
            ),
            (
                r#"{"type":"Ping","payload":{"timestamp":-1.5}}"#,
                r#"{"type":"Pong","payload":{"timestamp":-1.5}}"#,
            ),
        ] {
            let frame = ClientFrame::parse(ping).expect(ping);
            assert!(frame.is_activity());
            assert_eq!(Frame::of(&frame.pong().expect(ping)).as_str(), pong, "{ping}");
        }
    }

    #[test]
    fn what_is_no_frame_of_a_client_is_nothing() {
        for text in [
            "",
            "hello",
            "null",
            "[]",
            "{}",
            r#"{"type":"Dance"}"#,
            r#"{"type":"SendMessage"}"#,
            r#"{"type":"SendMessage","payload":{}}"#,
            r#"{"type":"SendMessage","payload":{"content":7}}"#,
            r#"{"type":"KickUser","payload":{"user_id":""}}"#,
            r#"{"type":"KickUser","payload":{"user_id":17}}"#,
            r#"{"type":"CustomEvent","payload":{"payload":{}}}"#,
            r#"{"type":"Message","payload":{"from":"a","nickname":"A","content":"x","is_admin":true,"epoch":1,"seq":1,"created_at":1}}"#,
            r#"{"type":"RoomStats","payload":{"current_users":3,"peak_users":5}}"#,
            r#"{"type":"YouAreKicked"}"#,
            r#"{"type":"WelcomeInfo","payload":{}}"#,
        ] {
            assert_eq!(ClientFrame::parse(text), None, "{text}");
        }
        let deep = format!(
            r#"{{"type":"CustomEvent","payload":{{"event_type":"x","payload":{}1{}}}}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert_eq!(ClientFrame::parse(&deep), None);
    }

    #[test]
    fn unknown_fields_of_a_client_are_ignored() {
        let text = r#"{"type":"SendMessage","payload":{"content":"x","from":"admin","is_admin":true,"seq":9},"ts":1}"#;
        assert_eq!(ClientFrame::parse(text), Some(ClientFrame::SendMessage { content: "x".to_owned() }));
    }

    #[test]
    fn what_users_say_is_not_told_to_logs() {
        let frame = Frame::of(&ServerFrame::System { message: "secret".to_owned() });
        assert_eq!(format!("{frame:?}"), "Frame(48 bytes)");
        let frame = ClientFrame::SendMessage { content: "secret".to_owned() };
        assert_eq!(format!("{frame:?}"), "SendMessage");
    }

    #[test]
    fn a_wait_is_told_in_seconds_rounded_up() {
        let told = |millis| match ServerFrame::rate_limited(millis) {
            ServerFrame::Error { message, retry_after_ms, .. } => (message.into_owned(), retry_after_ms),
            other => panic!("{other:?}"),
        };
        assert_eq!(told(Duration::from_millis(2000)), ("发送过于频繁，请2秒后再试".to_owned(), Some(2000)));
        assert_eq!(told(Duration::from_millis(2001)), ("发送过于频繁，请3秒后再试".to_owned(), Some(2001)));
        assert_eq!(told(Duration::from_nanos(1)), ("发送过于频繁，请1秒后再试".to_owned(), Some(1)));
    }
}
