//! A receiver of callbacks over a real socket that behaves as it is told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use presence_core::{Clock, SystemClock, Timestamp};
use presence_server::callbacks::{
    CallbackPolicy, Delivery, DeliveryId, Endpoint, Guard, SigningSecrets, SystemDns,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The secret of most tests.
pub(crate) const SECRET: &str = "whsec_9b0kW3X1m8ZrT5uQ9wLc2hNf7eJbA6vd";

/// What a receiver does, one after the other, once the first byte of a request is there.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads a request and remembers it.
    Read,
    /// Reads the head of a request only, and remembers nothing.
    ReadHead,
    /// Writes this.
    Write(Vec<u8>),
    /// Writes this, a byte each 20 ms.
    Drip(Vec<u8>),
    /// Writes for as long as somebody reads, up to 64 MiB: more than lies in the buffers of two sockets.
    Endless,
    /// Moves [`Receiver::signal`] on.
    Signal,
    /// Waits until the other side has gone.
    Hang,
    /// Closes the connection with an RST.
    Reset,
    /// Closes the connection.
    Close,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("visible ASCII"))
    }

    /// Whether whoever knows `secret` takes it, as the library of Standard Webhooks judges.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        standardwebhooks::Webhook::new(secret).expect("a secret").verify(&self.body, &self.headers).is_ok()
    }

    /// The same where the sender's clock does not go.
    pub(crate) fn is_signed_once_with(&self, secret: &str) -> bool {
        let webhook = standardwebhooks::Webhook::new(secret).expect("a secret");
        let [id, at] = ["webhook-id", "webhook-timestamp"].map(|name| self.header(name).expect("a header"));
        let signature = webhook.sign(id, at.parse().expect("seconds"), &self.body).expect("a signature");
        self.header("webhook-signature") == Some(&*signature)
    }
}

/// A receiver that does one list of steps for each request, and answers 200 when there are no more lists.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    world: Arc<World>,
}

#[derive(Debug)]
struct World {
    /// What is done next, last first.
    next: Mutex<Vec<Vec<Step>>>,
    seen: Mutex<Vec<Request>>,
    read: watch::Sender<usize>,
    connections: watch::Sender<usize>,
    signal: watch::Sender<usize>,
    swallowed: AtomicBool,
}

impl Receiver {
    pub(crate) async fn start(mut behaviours: Vec<Vec<Step>>) -> Self {
        behaviours.reverse();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let world = Arc::new(World {
            next: Mutex::new(behaviours),
            seen: Mutex::default(),
            read: watch::Sender::new(0),
            connections: watch::Sender::new(0),
            signal: watch::Sender::new(0),
            swallowed: AtomicBool::new(false),
        });
        let owner = Arc::clone(&world);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                owner.connections.send_modify(|count| *count += 1);
                tokio::spawn(receive(stream, Arc::clone(&owner)));
            }
        });
        Self { address, world }
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        *self.world.connections.borrow()
    }

    /// Waits until there have been `count` of them.
    pub(crate) async fn connected(&self, count: usize) {
        self.world
            .connections
            .subscribe()
            .wait_for(|connections| *connections >= count)
            .await
            .expect("it lives");
    }

    /// The requests that were read whole, in order.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.world.seen.lock().expect("nobody panics").clone()
    }

    /// Waits until there have been `count` of them.
    pub(crate) async fn read(&self, count: usize) {
        self.world.read.subscribe().wait_for(|read| *read >= count).await.expect("it lives");
    }

    /// Whether somebody read all of a body without an end.
    pub(crate) fn is_swallowed(&self) -> bool {
        self.world.swallowed.load(Ordering::Relaxed)
    }

    /// Waits until [`Step::Signal`] was done `count` times.
    pub(crate) async fn signal(&self, count: usize) {
        self.world.signal.subscribe().wait_for(|signals| *signals >= count).await.expect("it lives");
    }

    /// An endpoint that leads here, with this much patience.
    pub(crate) fn endpoint(&self, scheme: &str, patience: Duration) -> Endpoint {
        let policy = CallbackPolicy { timeout: patience, ..policy() };
        endpoint(&format!("{scheme}://{}/hook?token=canary", self.address), &policy)
    }
}

/// Private targets, and a secret.
pub(crate) fn policy() -> CallbackPolicy {
    let secrets: SigningSecrets = SECRET.parse().expect("a secret");
    CallbackPolicy { guard: Guard::allowing_private(), secrets: Some(secrets), ..CallbackPolicy::default() }
}

pub(crate) fn endpoint(url: &str, policy: &CallbackPolicy) -> Endpoint {
    let url = url.parse().expect("a URL");
    assert_eq!(policy.guard.check(&url), Ok(()));
    Endpoint::new(&url, policy, Arc::new(SystemDns::default())).expect("a client")
}

pub(crate) fn delivery(id: &str) -> Delivery {
    let body = format!(r#"{{"event_type":"UserJoined","user_id":"canary-of-{id}"}}"#);
    Delivery { id: DeliveryId::new(id).expect("an id"), body: Bytes::from(body) }
}

/// The time, which verifiers compare with their own.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

async fn receive(mut stream: TcpStream, world: Arc<World>) {
    // Until the other side has gone.
    while matches!(stream.peek(&mut [0]).await, Ok(1..)) {
        let steps = world.next.lock().expect("nobody panics").pop();
        for step in steps.unwrap_or_else(|| vec![Step::Read, answer("200 OK", "{}")]) {
            match step {
                Step::Read => {
                    let Some(request) = read(&mut stream).await else { return };
                    world.seen.lock().expect("nobody panics").push(request);
                    world.read.send_modify(|read| *read += 1);
                }
                Step::ReadHead => drop(read_head(&mut stream).await),
                Step::Write(text) => drop(stream.write_all(&text).await),
                Step::Drip(text) => {
                    let mut clock = tokio::time::interval(Duration::from_millis(20));
                    for byte in text {
                        clock.tick().await;
                        if stream.write_all(&[byte]).await.is_err() {
                            return;
                        }
                    }
                }
                Step::Endless => {
                    let mut writes = 0..4096;
                    while writes.next().is_some() && stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
                    world.swallowed.fetch_or(writes.is_empty(), Ordering::Relaxed);
                }
                Step::Signal => world.signal.send_modify(|signals| *signals += 1),
                Step::Hang => while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {},
                Step::Reset => {
                    let socket = socket2::SockRef::from(&stream);
                    socket.set_linger(Some(Duration::ZERO)).expect("a socket");
                    return;
                }
                Step::Close => return,
            }
        }
    }
}

/// An answer with a body, which leaves the connection open.
pub(crate) fn answer(status: &str, body: &str) -> Step {
    answer_with(status, "Content-Type: application/json\r\n", body)
}

/// An answer with more lines in its head.
pub(crate) fn answer_with(status: &str, lines: &str, body: &str) -> Step {
    let length = body.len();
    text(&format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {length}\r\n\r\n{body}"))
}

pub(crate) fn text(text: &str) -> Step {
    Step::Write(text.as_bytes().to_vec())
}

/// A request, unless the connection ends before it.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let head = read_head(stream).await?;
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: HeaderMap = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, value.parse().expect("a value"))
        })
        .collect();
    let length = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { line, headers, body })
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}
