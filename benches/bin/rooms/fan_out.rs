//! How fast everybody in a room hears what is said: ours, and beside it what a user would pick instead, in turns.

use std::{
    env,
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use presence_benches::{
    load::Histogram,
    room::{Kind, Member, masked, whole},
    server::{Program, Server, beside},
    table::{self, median},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::{JoinSet, yield_now},
    time::sleep,
};

use super::{now, room, runtime};

const MEMBERS: usize = 1000;
/// What a message has in bytes.
const LENGTH: usize = 160;
/// How many messages are on their way at a time.
const WINDOWS: [usize; 2] = [1, 16];
const TIME: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
/// More than any of them manages in `TIME`.
const MOST: usize = 50_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Ours,
    SocketIo,
    Ws,
    Socketioxide,
}

/// What was measured of a side at a window.
#[derive(Clone, Debug)]
struct Figures {
    /// Deliveries per second.
    rate: f64,
    /// Processor time of the server per delivery, in microseconds.
    cpu: f64,
    /// From saying to hearing.
    latency: Histogram,
}

impl Side {
    const PEERS: [Self; 3] = [Self::SocketIo, Self::Ws, Self::Socketioxide];

    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::SocketIo => "Socket.IO",
            Self::Ws => "ws",
            Self::Socketioxide => "socketioxide",
        }
    }

    /// What our deliveries per second are to be, as a part of its own, with one message and with 16 on their way.
    const fn goals(self) -> [Option<f64>; 2] {
        match self {
            Self::Ours => [None, None],
            Self::SocketIo => [Some(1.5), Some(6.0)],
            Self::Ws => [Some(1.0), Some(5.0)],
            Self::Socketioxide => [None, Some(1.0)],
        }
    }

    const fn is_socket_io(self) -> bool {
        matches!(self, Self::SocketIo | Self::Socketioxide)
    }

    fn start(self) -> io::Result<Server> {
        match self {
            Self::Ours => Server::start(Program::Memory, "0"),
            Self::Socketioxide => Server::other(&beside("beside-socketioxide")?, &[], "0"),
            Self::SocketIo => Server::other(&node()?, &[&script("socketio.js")?], "0"),
            Self::Ws => Server::other(&node()?, &[&script("ws.js")?], "0"),
        }
    }

    /// What a member sends to say `content`.
    fn said(self, content: &str) -> Vec<u8> {
        let text = match self {
            Self::Ours => format!(r#"{{"type":"SendMessage","payload":{{"content":"{content}"}}}}"#),
            Self::Ws => content.to_owned(),
            Self::SocketIo | Self::Socketioxide => format!(r#"42["pub","{content}"]"#),
        };
        masked(Kind::Text, text.as_bytes())
    }

    async fn join(self, server: &Server, room: &str, user: &str, number: u64) -> io::Result<Member> {
        let target = match self {
            Self::Ours => format!("/ws/rooms/{room}?user_id={user}&nickname={user}"),
            Self::Ws => "/".to_owned(),
            Self::SocketIo | Self::Socketioxide => "/socket.io/?EIO=4&transport=websocket".to_owned(),
        };
        let mut member = Member::connect(server.address, &target, number).await?;
        if self == Self::Ours {
            member.hear("WelcomeInfo").await?;
        }
        if self.is_socket_io() {
            member.hear("sid").await?;
            member.say("40").await?;
            member.hear("40").await?;
        }
        Ok(member)
    }
}

fn node() -> io::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join("node")).find(|node| node.is_file());
    found.ok_or_else(|| io::Error::other("there is no node"))
}

fn script(name: &str) -> io::Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("beside_node");
    if !folder.join("node_modules").is_dir() {
        return Err(io::Error::other("`npm ci --prefix benches/beside_node` first"));
    }
    Ok(folder.join(name).display().to_string())
}

/// Messages on their way, and who has heard them.
struct Said {
    begun: Instant,
    /// When each was said, in nanoseconds.
    at: Vec<AtomicU64>,
    heard: Vec<AtomicU32>,
    /// How many everybody has heard.
    done: AtomicUsize,
    /// What all listeners share, so that a thousand of them fit into the cache.
    desk: Mutex<Desk>,
}

struct Desk {
    latency: Histogram,
    buffer: Vec<u8>,
}

impl Said {
    fn new() -> Self {
        Self {
            begun: now(),
            at: (0..MOST).map(|_| AtomicU64::new(0)).collect(),
            heard: (0..MOST).map(|_| AtomicU32::new(0)).collect(),
            done: AtomicUsize::new(0),
            desk: Mutex::new(Desk { latency: Histogram::default(), buffer: vec![0; 16 * 1024] }),
        }
    }

    fn elapsed(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// Reads what has come, in one call of the system where that is all; says whether there may be more one day.
    fn poll_read(&self, cx: &mut Context<'_>, stream: &mut TcpStream, unread: &mut Vec<u8>) -> Poll<bool> {
        // One thread: nobody waits for the lock.
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let Desk { latency, buffer } = &mut *desk;
        let mut filled = ReadBuf::new(buffer);
        let read = match ready!(Pin::new(stream).poll_read(cx, &mut filled)) {
            Ok(()) => filled.filled().len(),
            Err(_) => 0,
        };
        if read == 0 {
            return Poll::Ready(false);
        }
        let (at, begun) = (self.elapsed(), std::mem::take(unread));
        let joined = if begun.is_empty() { begun } else { [&begun, &buffer[..read]].concat() };
        let mut rest = if joined.is_empty() { &buffer[..read] } else { &joined };
        while let Some(frame) = whole(rest) {
            if frame.kind == Kind::Text {
                self.hear(frame.payload, at, latency);
            }
            rest = &rest[frame.end..];
        }
        unread.extend_from_slice(rest);
        Poll::Ready(true)
    }

    /// Takes note that somebody heard the message whose number stands between two `#`.
    fn hear(&self, text: &[u8], at: u64, latency: &mut Histogram) {
        let Some(start) = text.iter().position(|&byte| byte == b'#') else { return };
        let digits = text[start + 1..].iter().take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
        latency.add(Duration::from_nanos(at.saturating_sub(self.at[number].load(Relaxed))));
        if self.heard[number].fetch_add(1, Relaxed) as usize + 1 == MEMBERS {
            self.done.fetch_add(1, Relaxed);
        }
    }
}

/// One who hears, until the connection ends.
async fn listen(mut stream: TcpStream, said: Arc<Said>) {
    let mut unread = Vec::new();
    while poll_fn(|cx| said.poll_read(cx, &mut stream, &mut unread)).await {}
}

/// One side, at both windows.
fn measure(side: Side) -> io::Result<Vec<Figures>> {
    let server = side.start()?;
    let id = if side == Side::Ours { room(server.address, "speaker")? } else { String::new() };
    runtime()?.block_on(async {
        let mut figures = Vec::new();
        for window in WINDOWS {
            let said = Arc::new(Said::new());
            let mut listeners = JoinSet::new();
            for number in 0..MEMBERS as u64 {
                let member = side.join(&server, &id, &format!("member-{number}"), number).await?;
                listeners.spawn(listen(member.stream, Arc::clone(&said)));
            }
            // It hears itself, and that is not counted.
            let speaker = side.join(&server, &id, "speaker", 0).await?.stream;
            let (mut hearing, mut speaking) = speaker.into_split();
            let echo = tokio::spawn(async move {
                let mut buffer = [0; 8192];
                while hearing.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            });
            sleep(Duration::from_millis(1500)).await;
            let padding = "x".repeat(LENGTH - 8);
            let (begun, cpu) = (now(), server.cpu());
            let mut sent = 0;
            loop {
                let (done, is_late) = (said.done.load(Relaxed), begun.elapsed() > TIME);
                if sent == done && (is_late || sent == MOST) || begun.elapsed() > TIME * 4 {
                    break;
                }
                if sent - done < window && !is_late && sent < MOST {
                    let content = format!("#{sent:06}#{padding}");
                    said.at[sent].store(said.elapsed(), Relaxed);
                    speaking.write_all(&side.said(&content)).await?;
                    sent += 1;
                } else {
                    yield_now().await;
                }
            }
            let (took, cpu) = (begun.elapsed().as_secs_f64(), server.cpu() - cpu);
            let done = said.done.load(Relaxed);
            if done < sent {
                return Err(io::Error::other(format!("{}: {done} of {sent} were heard", side.name())));
            }
            let latency = said.desk.lock().unwrap_or_else(PoisonError::into_inner).latency.clone();
            listeners.shutdown().await;
            echo.abort();
            let deliveries = (done * MEMBERS) as f64;
            figures.push(Figures { rate: deliveries / took, cpu: cpu * 1e6 / deliveries, latency });
            sleep(Duration::from_millis(500)).await;
        }
        Ok(figures)
    })
}

pub(crate) fn run() -> io::Result<()> {
    let sides = [Side::Ours, Side::SocketIo, Side::Ws, Side::Socketioxide];
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let round = sides.iter().map(|side| measure(*side)).collect::<io::Result<Vec<_>>>()?;
        rounds.push(round);
    }
    let middle = |pick: &dyn Fn(&Vec<Vec<Figures>>) -> f64| median(rounds.iter().map(pick).collect());
    for (at, window) in WINDOWS.iter().enumerate() {
        for (peer, side) in (1..).zip(Side::PEERS) {
            let against = |pick: &dyn Fn(&Figures) -> f64| {
                let ours = middle(&|round| pick(&round[0][at]));
                let theirs = middle(&|round| pick(&round[peer][at]));
                (ours, theirs, middle(&|round| pick(&round[0][at]) / pick(&round[peer][at])))
            };
            let goal = side.goals()[at].map_or(String::new(), |goal| format!(">= {goal}"));
            let (ours, theirs, ratio) = against(&|figures| figures.rate);
            let name = format!("room of {MEMBERS}, {window} on the way: deliveries, {}", side.name());
            let thousands = |rate: f64| format!("{:.0} k/s", rate / 1e3);
            table::row(&name, &thousands(ours), &thousands(theirs), &format!("{ratio:.2}"), &goal);
            let (ours, theirs, ratio) = against(&|figures| figures.cpu);
            let micros = |micros: f64| format!("{micros:.2} us");
            table::row(
                "  processor per delivery",
                &micros(ours),
                &micros(theirs),
                &format!("{ratio:.2}"),
                "",
            );
            for (name, part) in [("  p50", 0.5), ("  p99", 0.99)] {
                let (ours, theirs, ratio) =
                    against(&|figures| figures.latency.quantile(part).as_secs_f64() * 1e3);
                let millis = |millis: f64| format!("{millis:.2} ms");
                table::row(name, &millis(ours), &millis(theirs), &format!("{ratio:.2}"), "");
            }
        }
    }
    Ok(())
}
