//! A member of a room in a terminal: what is said there is printed, and lines of standard input are said. After a cut it
//! comes back with the place of the last message that it printed, and is given what it missed.
//!
//! ```text
//! cargo run --example room_client -- ws://127.0.0.1:3000/ws/rooms/ROOM --user alice
//! ```
//!
//! The end of standard input is the end of the stay. `ws://` only: TLS takes a feature of `tokio-tungstenite`.

use std::{
    fmt::Write as _,
    hash::BuildHasher,
    io::{Write as _, stdin, stdout},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use presence_core::{ClientFrame, Position, ServerFrame};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderValue, StatusCode, header},
    },
};

/// How long the first attempt to come back waits at most; each one after that twice as long, up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(30);
/// The server asks those who say nothing whether they are there. Who has heard nothing for so long is cut off.
const SILENCE: Duration = Duration::from_secs(45);
/// How long it has to let somebody in.
const CONNECT: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(about = "A member of a room in a terminal")]
struct Arguments {
    /// The room: ws://HOST/ws/rooms/ROOM
    room: String,
    /// Who joins
    #[arg(long)]
    user: String,
    /// What the user calls itself; the user id, unless said otherwise
    #[arg(long)]
    nickname: Option<String>,
}

/// How a visit ended.
enum Over {
    /// There is nothing left to say.
    Left,
    /// The room does not want the user back, or never let it in.
    Out(String),
    /// The connection is gone, or the server closed it for now.
    Lost(String),
}

/// What is kept from one visit to the next.
#[derive(Default)]
struct Memory {
    /// The place of the last message that was printed.
    seen: Option<Position>,
    /// How often coming back has failed in a row.
    attempts: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Where users are asked for tokens. It is no argument, because others see those.
    let token = std::env::var("PRESENCE_TOKEN").ok();
    let (said, mut lines) = mpsc::channel(1);
    // A thread of its own: nothing else waits for somebody who types, the end of the process neither.
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            if said.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let mut memory = Memory::default();
    loop {
        let why = match visit(&arguments, token.as_deref(), &mut memory, &mut lines).await {
            Over::Left => return ExitCode::SUCCESS,
            Over::Out(why) => {
                eprintln!("out: {}", harmless(&why));
                return ExitCode::FAILURE;
            }
            Over::Lost(why) => why,
        };
        let wait = backoff(memory.attempts, random());
        memory.attempts = memory.attempts.saturating_add(1);
        eprintln!("not connected ({}); next try in {} ms", harmless(&why), wait.as_millis());
        sleep(wait).await;
    }
}

/// Joins, prints and says until one side has had enough.
async fn visit(
    arguments: &Arguments,
    token: Option<&str>,
    memory: &mut Memory,
    lines: &mut mpsc::Receiver<String>,
) -> Over {
    let mut request = match address(arguments, memory.seen).into_client_request() {
        Ok(request) => request,
        Err(error) => return Over::Out(error.to_string()),
    };
    if let Some(token) = token {
        match HeaderValue::try_from(format!("Bearer {token}")) {
            Ok(bearer) => request.headers_mut().insert(header::AUTHORIZATION, bearer),
            Err(_) => return Over::Out("PRESENCE_TOKEN is no token".to_owned()),
        };
    }
    let mut socket = match timeout_at(Instant::now() + CONNECT, connect_async(request)).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(Error::Http(answer))) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => {
            return Over::Out(format!("the server answers {}", answer.status()));
        }
        Ok(Err(error @ Error::Url(_))) => return Over::Out(error.to_string()),
        Ok(Err(error)) => return Over::Lost(error.to_string()),
        Err(_) => return Over::Lost("the server does not answer".to_owned()),
    };
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            next = timeout_at(heard + SILENCE, socket.next()) => {
                heard = Instant::now();
                match next {
                    Ok(Some(Ok(Message::Text(text)))) => {
                        if let Some(frame) = ServerFrame::parse(&text) {
                            hear(&frame, memory);
                        }
                    }
                    Ok(Some(Ok(Message::Close(close)))) => {
                        let (code, why) =
                            close.map_or((1005, String::new()), |close| (close.code.into(), close.reason.to_string()));
                        return if is_final(code) { Over::Out(why) } else { Over::Lost(format!("{code} {why}")) };
                    }
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(error))) => return Over::Lost(error.to_string()),
                    Ok(None) => return Over::Lost("the connection ended".to_owned()),
                    Err(_) => return Over::Lost("the server is silent".to_owned()),
                }
            }
            line = lines.recv() => {
                let Some(content) = line else {
                    let _ = socket.close(None).await;
                    return Over::Left;
                };
                if content.is_empty() {
                    continue;
                }
                let frame = ClientFrame::SendMessage { content };
                let sent = match serde_json::to_string(&frame) {
                    Ok(text) => socket.send(Message::text(text)).await.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                if let Err(why) = sent {
                    return Over::Lost(why);
                }
            }
        }
    }
}

/// Prints what a frame tells, and keeps its place.
fn hear(frame: &ServerFrame, memory: &mut Memory) {
    match frame {
        ServerFrame::WelcomeInfo { position, recovered, .. } => {
            memory.attempts = 0;
            // What was missed follows, each with its own place: until it is here, no more was seen than before.
            if *recovered != Some(true) {
                memory.seen = Some(*position);
            }
        }
        ServerFrame::Message { position, .. } => {
            if memory.seen >= Some(*position) {
                return;
            }
            memory.seen = Some(*position);
        }
        _ => {}
    }
    if let Some(line) = shown(frame) {
        // Nobody reads any more: the end of standard input, or of the process, is not far.
        let _ = writeln!(stdout(), "{}", harmless(&line));
    }
}

fn shown(frame: &ServerFrame) -> Option<String> {
    Some(match frame {
        ServerFrame::WelcomeInfo { nickname, is_admin, recovered, .. } => {
            let role = if *is_admin { ", an administrator" } else { "" };
            let gap =
                if *recovered == Some(false) { "; more was said than the server remembers" } else { "" };
            format!("* you are {nickname}{role}{gap}")
        }
        ServerFrame::Message { nickname, content, .. } => format!("{nickname}: {}", content.as_str()),
        ServerFrame::UserJoined { nickname, .. } => format!("* {nickname} is here"),
        ServerFrame::UserLeft { nickname, .. } => format!("* {nickname} is gone"),
        ServerFrame::RoomStats { current_users, .. } => format!("* {current_users} here"),
        ServerFrame::CustomEvent { event_type, payload } => format!("* {event_type} {payload}"),
        ServerFrame::UserMuted { user_id } => format!("* {user_id} is muted"),
        ServerFrame::YouAreMuted => "! you are muted".to_owned(),
        ServerFrame::YouAreKicked => "! you are out".to_owned(),
        ServerFrame::Error { message, .. } => format!("! {message}"),
        ServerFrame::System { message } => format!("* {message}"),
        _ => return None,
    })
}

/// Without what would steer a terminal.
fn harmless(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Where to join, and from which place on.
fn address(arguments: &Arguments, seen: Option<Position>) -> String {
    let Arguments { room, user, nickname } = arguments;
    let nickname = escaped(nickname.as_ref().unwrap_or(user));
    let mut address = format!("{room}?user_id={}&nickname={nickname}", escaped(user));
    if let Some(Position { epoch, seq }) = seen {
        let _ = write!(address, "&epoch={}&seq={seq}", epoch.0);
    }
    address
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// Banned or kicked, room closed, joined from elsewhere, erased.
const fn is_final(code: u16) -> bool {
    matches!(code, 4403 | 4404 | 4409 | 4410)
}

/// Anything up to twice as long as before, so that clients that were cut off together do not come back together.
fn backoff(attempts: u32, random: u64) -> Duration {
    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempts)).min(LAST_WAIT);
    longest.mul_f64(random as f64 / u64::MAX as f64)
}

#[expect(clippy::disallowed_types, reason = "here is where randomness comes from")]
fn random() -> u64 {
    std::hash::RandomState::new().hash_one(())
}
