//! A receiver of callbacks that counts, and behaves as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName};
use serde_json::Value;
use tokio::time::Instant;

use crate::server::PATIENCE;

pub(crate) const SECRET: &str = "whsec_9b0kW3X1m8ZrT5uQ9wLc2hNf7eJbA6vd";

/// What a receiver does with one request instead of answering 200.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Answers this.
    Says(String),
    /// Answers this, and goes on with the body until nobody reads it any more.
    Endless(&'static str),
    /// Answers this, a byte each 50 ms.
    Drip(&'static str),
    /// Answers nothing.
    Hang,
    /// Closes the connection with an RST, before or after it has read the request.
    Reset { is_read: bool },
}

/// A request that was read whole.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The line that it began with.
    pub(crate) line: String,
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
    /// It was answered 200, without more ado.
    pub(crate) is_taken: bool,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

#[derive(Default)]
struct World {
    next: VecDeque<Behaviour>,
    received: Vec<Received>,
    connections: usize,
}

/// It runs until the process ends.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    world: Arc<(Mutex<World>, Condvar)>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let receiver = Self { address, world: Arc::default() };
        let owner = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                owner.lock().connections += 1;
                let owner = owner.clone();
                // What becomes of a connection is what is tested.
                thread::spawn(move || drop(owner.serve(stream)));
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?token=canary", self.address)
    }

    /// The next request is treated so.
    pub(crate) fn expect(&self, behaviour: Behaviour) {
        self.lock().next.push_back(behaviour);
    }

    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    /// All that was received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// Waits until what was received is as `is` says.
    pub(crate) fn wait_for(&self, what: &str, is: impl Fn(&[Received]) -> bool) {
        let waited = self.world.1.wait_timeout_while(self.lock(), PATIENCE, |world| !is(&world.received));
        assert!(!waited.expect("a lock").1.timed_out(), "{what} did not come in {PATIENCE:?}");
    }

    /// What was received under each id: one body, or this fails.
    pub(crate) fn by_id(&self) -> BTreeMap<String, Vec<u8>> {
        let mut bodies = BTreeMap::new();
        for Received { id, body, .. } in self.received() {
            let known = bodies.entry(id.clone()).or_insert_with(|| body.clone());
            assert_eq!(*known, body, "{id} has two bodies");
        }
        bodies
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.0.lock().expect("a lock")
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            if stream.fill_buf()?.is_empty() {
                return Ok(());
            }
            let behaviour = self.lock().next.pop_front();
            if let Some(Behaviour::Reset { is_read: false }) = behaviour {
                socket2::SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
            let received = read(&mut stream, behaviour.is_none())?;
            self.lock().received.push(received);
            self.world.1.notify_all();
            match behaviour {
                None => stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")?,
                Some(Behaviour::Says(answer)) => stream.get_mut().write_all(answer.as_bytes())?,
                Some(Behaviour::Drip(answer)) => {
                    for byte in answer.as_bytes() {
                        stream.get_mut().write_all(&[*byte])?;
                        #[expect(clippy::disallowed_methods, reason = "a receiver that is slow")]
                        thread::sleep(Duration::from_millis(50));
                    }
                }
                Some(Behaviour::Endless(head)) => {
                    stream.get_mut().write_all(head.as_bytes())?;
                    loop {
                        stream.get_mut().write_all(&[b'x'; 4096])?;
                    }
                }
                // Until the other side has gone.
                Some(Behaviour::Hang) => drop(std::io::copy(&mut stream, &mut std::io::sink())?),
                Some(Behaviour::Reset { .. }) => {
                    socket2::SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO))?;
                    return Ok(());
                }
            }
        }
    }
}

/// A request, which is signed, or this fails.
fn read(stream: &mut BufReader<TcpStream>, is_taken: bool) -> std::io::Result<Received> {
    let mut headers = HeaderMap::new();
    let (mut first, mut line) = (String::new(), String::new());
    stream.read_line(&mut first)?;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.insert(name, value.parse().expect("a value"));
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut body = vec![0; text("content-length").parse().unwrap_or_default()];
    stream.read_exact(&mut body)?;
    let verified = standardwebhooks::Webhook::new(SECRET).expect("a secret").verify(&body, &headers);
    // One that is not is counted as none at all, and missed.
    verified.map_err(std::io::Error::other)?;
    let id = text("webhook-id").to_owned();
    Ok(Received { line: first, id, body, at: Instant::now(), is_taken })
}
