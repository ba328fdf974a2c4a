//! The accept loop over real sockets. Nothing sleeps: tests wait for what the server does, mostly for it to close.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use hyper_util::rt::TokioIo;
use presence_server::serve::{Drained, Limits, listen, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Long for a test, short for somebody who waits for a hanging one.
const PATIENCE: Duration = Duration::from_secs(20);
/// A limit that a test waits for.
const SOON: Duration = Duration::from_millis(100);
/// A limit that no test waits for.
const LATER: Duration = Duration::from_secs(3600);

/// What handlers and tests tell each other.
#[derive(Clone, Default)]
struct Signals {
    dropped: Arc<Notify>,
    release: Arc<Notify>,
    started: Arc<Notify>,
}

struct Server {
    address: SocketAddr,
    running: JoinHandle<io::Result<Drained>>,
    shutdown: CancellationToken,
    signals: Signals,
}

fn limits() -> Limits {
    Limits {
        header_timeout: LATER,
        body_timeout: LATER,
        keep_alive: LATER,
        drain: LATER,
        request_timeout: LATER,
        ..Limits::default()
    }
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let signals = Signals::default();
        let app = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/big", get(big))
            .route("/echo", post(|body: String| async { body }))
            .route("/gate", get(gate))
            .route("/number/{number}", get(|Path(number): Path<u32>| async move { number.to_string() }))
            .route("/panic", get(panics))
            .route("/stuck", get(stuck))
            .route("/upgrade", get(upgrade))
            .with_state(signals.clone());
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(serve(listener, app, limits, Arc::default(), shutdown.clone()));
        Self { address, running, shutdown, signals }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    async fn drained(self) -> Drained {
        timeout(PATIENCE, self.running).await.expect("the server ends").unwrap().unwrap()
    }

    /// One request of a client that does everything right.
    async fn assert_alive(&self) {
        let mut client = self.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    }
}

async fn gate(State(signals): State<Signals>) -> &'static str {
    signals.started.notify_one();
    signals.release.notified().await;
    "released"
}

async fn stuck(State(signals): State<Signals>) {
    signals.started.notify_one();
    pending().await
}

async fn panics() {
    panic!("a bug")
}

const BIG: usize = 64 * 1024 * 1024;

/// More than socket buffers take, and a sign when the server lets go of it.
async fn big(State(signals): State<Signals>) -> Bytes {
    struct Owner(Vec<u8>, Arc<Notify>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.1.notify_one();
        }
    }
    Bytes::from_owner(Owner(vec![b'a'; BIG], signals.dropped))
}

async fn upgrade(request: Request) -> Response<Body> {
    tokio::spawn(async move {
        let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        let mut bytes = [0; 4];
        while io.read_exact(&mut bytes).await.is_ok() {
            io.write_all(&bytes).await.unwrap();
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "echo")
        .body(Body::empty())
        .unwrap()
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Everything until the server closes; a reset is a failure, because it loses answers.
    async fn rest(&mut self) -> String {
        let mut answer = String::new();
        let read = timeout(PATIENCE, self.0.read_to_string(&mut answer)).await;
        read.expect("the server closes").expect("without a reset");
        answer
    }

    /// One answer, head and body.
    async fn answer(&mut self) -> String {
        let mut answer = String::new();
        while !is_whole(&answer) {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.expect("the server answers");
            answer.push(char::from(byte.unwrap_or_else(|error| panic!("{error} after {answer:?}"))));
        }
        answer
    }
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() == length.map_or(0, |length| length.parse().unwrap())
}

fn assert_closed_with(status: u16, answer: &str) {
    let head = answer.to_lowercase();
    assert!(head.starts_with(&format!("http/1.1 {status} ")), "{answer}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(head.matches("http/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_slow_head_is_closed_at_its_deadline() {
    let server = Server::start(Limits { header_timeout: SOON, ..limits() }).await;
    for bytes in ["", "G", "\r\n", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let mut client = server.connect().await;
        let begun = Instant::now();
        client.send(bytes).await;
        let answer = client.rest().await;
        if bytes.trim().is_empty() {
            assert_eq!(answer, "", "who begins nothing is told nothing");
        } else {
            assert_closed_with(408, &answer);
            assert!(answer.contains(r#""code":"HEAD_TIMED_OUT""#), "{answer}");
        }
        let waited = begun.elapsed();
        assert!(waited >= SOON / 2 && waited < SOON * 50, "{waited:?} for {bytes:?}");
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_deadline_of_a_head() {
    let server = Server::start(Limits { header_timeout: SOON, ..limits() }).await;
    let mut idle = server.connect().await;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.answer().await;

    idle.send("\r\n").await; // an empty line is no head
    assert_eq!(server.connect().await.rest().await, ""); // that took a deadline
    idle.send("GET /number/7 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(idle.answer().await.ends_with("7"));

    idle.send("GET / HT").await; // from here it is a head
    assert_closed_with(408, &idle.rest().await);
}

#[tokio::test]
async fn a_head_that_began_behind_a_request_has_the_deadline_of_a_head() {
    let server = Server::start(Limits { header_timeout: SOON, ..limits() }).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhiGET / HT").await;
    let answers = client.rest().await;
    let (_, late) = answers.split_once("\r\n\r\nhi").expect("the first is answered");
    assert_closed_with(408, late);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_keep_alive() {
    let server = Server::start(Limits { keep_alive: SOON, ..limits() }).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.answer().await;
    let begun = Instant::now();
    assert_eq!(client.rest().await, "");
    assert!(begun.elapsed() >= SOON / 2 && begun.elapsed() < SOON * 50);
}

#[tokio::test]
async fn three_hundred_idle_connections_do_not_slow_others() {
    let server = Server::start(limits()).await;
    let mut idle = Vec::new();
    for number in 0..300 {
        let mut client = server.connect().await;
        client
            .send(
                [
                    "",
                    "GET / HTTP/1.1\r\nhost: ",
                    "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1",
                ][number % 3],
            )
            .await;
        idle.push(client);
    }
    let mut times = Vec::new();
    let mut client = server.connect().await;
    for _ in 0..200 {
        let begun = Instant::now();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.answer().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("median {:?}, p99 {:?}", times[100], times[198]);
    assert!(times[198] < Duration::from_secs(2), "{:?}", times[198]);
}

#[tokio::test]
async fn a_slow_body_is_a_408_and_closes() {
    let server = Server::start(Limits { body_timeout: SOON, ..limits() }).await;
    for framing in ["content-length: 9\r\n\r\n123", "transfer-encoding: chunked\r\n\r\n3\r\n123\r\n"] {
        let mut client = server.connect().await;
        client.send(&format!("POST /echo HTTP/1.1\r\nhost: a\r\n{framing}")).await;
        assert_closed_with(408, &client.rest().await);
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn a_body_in_pieces_arrives() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 6\r\n\r\n").await;
    assert!(client.answer().await.starts_with("HTTP/1.1 100 "));
    client.send("abc").await;
    client.send("def").await;
    assert!(client.answer().await.ends_with("\r\n\r\nabcdef"));

    client
        .send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .await;
    let answer = client.rest().await;
    assert_closed_with(200, &answer);
    assert!(answer.ends_with("abc"));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_a_431() {
    let server = Server::start(limits()).await;
    let with_headers = |count: usize| {
        let headers: String = (1..count).map(|number| format!("x-{number}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
    };
    let with_bytes = |count: usize| {
        let (front, back) = ("GET / HTTP/1.1\r\nhost: a\r\nx: ", "\r\n\r\n");
        format!("{front}{}{back}", "y".repeat(count - front.len() - back.len()))
    };

    for fits in [with_headers(64), with_bytes(16 * 1024)] {
        let mut client = server.connect().await;
        client.send(&fits).await;
        assert!(client.answer().await.starts_with("HTTP/1.1 200 "));
    }
    for too_large in [with_headers(65), with_bytes(16 * 1024 + 1), with_bytes(300 * 1024)] {
        let mut client = server.connect().await;
        client.send(&too_large).await;
        assert_closed_with(431, &client.rest().await);
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn an_ambiguous_or_broken_request_is_a_400_and_closes() {
    let server = Server::start(limits()).await;
    for broken in [
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        "POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length : 3\r\n\r\nabc",
        "hello\r\n\r\n",
        "\u{0}\u{1}\u{7f}\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(broken).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{broken:?} got {answer:?}");
        assert_closed_with(400, &answer);
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn nothing_is_smuggled_behind_an_ambiguous_request() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    let ok = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    let both =
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    client.send(&format!("{ok}{both}GET /number/666 HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    let answers = client.rest().await;
    let (first, second) = answers.split_once("\r\n\r\nhi").expect("the first is answered");
    assert!(first.starts_with("HTTP/1.1 200 "), "{answers}");
    assert_closed_with(400, second);
}

#[tokio::test]
async fn a_burst_of_clients_waits_in_the_queue() {
    // Nobody accepts: each connection that is made has a place.
    let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut burst = Vec::new();
    for number in 0..500 {
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        burst.push(connected.unwrap_or_else(|_| panic!("no place for number {number}")).unwrap());
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    let requests: String =
        (0..50).map(|number| format!("GET /number/{number} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    client
        .send(&format!(
            "{requests}POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\n\r\nend"
        ))
        .await;
    let answers = client.rest().await;
    let bodies: Vec<_> = answers
        .split("HTTP/1.1 200 OK\r\n")
        .skip(1)
        .map(|answer| answer.split_once("\r\n\r\n").unwrap().1)
        .collect();
    let expected: Vec<_> = (0..50).map(|number| number.to_string()).chain(["end".into()]).collect();
    assert_eq!(bodies, expected);
}

#[tokio::test]
async fn a_connection_above_the_cap_is_refused_until_one_is_free() {
    let server = Server::start(Limits { max_connections: 2, ..limits() }).await;
    let mut clients = [server.connect().await, server.connect().await];
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.answer().await;
    }
    // A crowd is not asked to come back as one.
    for after in [1, 2, 3, 4, 5, 6, 7, 8, 1] {
        let mut refused = server.connect().await;
        refused.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = refused.rest().await;
        assert_closed_with(503, &answer);
        assert!(answer.contains(&format!("\r\nretry-after: {after}\r\n")), "{answer}");
    }

    drop(clients);
    // The server learns of it in its own time, and refuses until then.
    let served = async {
        loop {
            let mut client = server.connect().await;
            client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            if client.rest().await.starts_with("HTTP/1.1 200 ") {
                break;
            }
        }
    };
    timeout(PATIENCE, served).await.expect("a slot becomes free");
}

#[tokio::test]
async fn a_shutdown_finishes_what_runs_and_closes_what_is_idle() {
    let server = Server::start(limits()).await;
    let mut fresh = server.connect().await;
    let mut idle = server.connect().await;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.answer().await;
    let mut busy = server.connect().await;
    busy.send("GET /gate HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.signals.started.notified().await;

    server.shutdown.cancel();
    assert_eq!(fresh.rest().await, "");
    assert_eq!(idle.rest().await, "");
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    server.signals.release.notify_one();
    let answer = busy.rest().await;
    assert_closed_with(200, &answer);
    assert!(answer.ends_with("released"));

    let drained = server.drained().await;
    assert_eq!((drained.finished, drained.idle, drained.cut), (1, 2, 0));
}

#[tokio::test]
async fn a_stuck_handler_is_cut_at_the_deadline() {
    let server = Server::start(Limits { drain: SOON, ..limits() }).await;
    let mut client = server.connect().await;
    client.send("GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.signals.started.notified().await;
    server.shutdown.cancel();
    let drained = server.drained().await;
    assert_eq!((drained.finished, drained.idle, drained.cut), (0, 0, 1));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_client_that_leaves_during_the_drain_counts_as_cut() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.signals.started.notified().await;
    server.shutdown.cancel();
    let address = server.address;
    let left = async {
        while TcpStream::connect(address).await.is_ok() {} // until the drain has begun
        drop(client);
    };
    let (drained, ()) = tokio::join!(server.drained(), left);
    assert_eq!((drained.finished, drained.cut), (0, 1));
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_next_request_works() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("a bug"), "{answer}");
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.answer().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_a_503() {
    let server = Server::start(Limits { request_timeout: SOON, ..limits() }).await;
    let mut client = server.connect().await;
    client.send("GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = client.rest().await;
    assert_closed_with(503, &answer);
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let server = Server::start(Limits { request_timeout: SOON, ..limits() }).await;
    let mut client = server.connect().await;
    client.send("GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await;
    timeout(PATIENCE, server.signals.dropped.notified()).await.expect("the server lets go");
    let mut received = Vec::new();
    let _ = timeout(PATIENCE, client.0.read_to_end(&mut received)).await.expect("the server closes");
    assert!(received.len() < BIG);
}

#[tokio::test]
async fn an_upgraded_connection_is_nobodys_idle_connection() {
    let server = Server::start(Limits { keep_alive: SOON, header_timeout: SOON, ..limits() }).await;
    let mut upgraded = server.connect().await;
    upgraded.send("GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
    assert!(upgraded.answer().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(server.connect().await.rest().await, ""); // that took a deadline
    let mut echo = [0; 4];
    for bytes in ["ping", "\r\n\r\n"] {
        upgraded.send(bytes).await;
        timeout(PATIENCE, upgraded.0.read_exact(&mut echo)).await.expect("an echo").unwrap();
        assert_eq!(echo, bytes.as_bytes());
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_is_not_reset() {
    let server = Server::start(limits()).await;
    let headers: String = (0..65).map(|number| format!("x-{number}: y\r\n")).collect();
    for head in [
        format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 99999\r\n{headers}\r\n"),
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 99999\r\ncontent-length: 1\r\n\r\n".to_owned(),
        "POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 99999\r\n\r\n".to_owned(),
    ] {
        let mut client = server.connect().await;
        client.send(&head).await;
        let answer = client.rest().await; // closed on the server's side
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        for _ in 0..5 {
            client.send(&"x".repeat(1000)).await; // the second would fail after a reset
        }
    }
}
