//! A way to the server that can be watched, and that breaks when it is told to.
//!
//! It runs on threads of its own, so that a test may stop its runtime's time.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use presence_postgres_testing::{Database, Server};

/// What happens to a statement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cut {
    /// It does not reach the server.
    Request,
    /// It is done, but its answer does not come back.
    Answer,
}

#[derive(Default)]
struct Switches {
    /// How many statements were run, by the `Bind` of each.
    statements: AtomicU64,
    /// How many statements go through until one is cut; 0 for none.
    cut_request: AtomicU64,
    cut_answer: AtomicU64,
    /// Connections that are open now carry nothing any more, and stay open; later ones do.
    silenced: AtomicU64,
    opened: AtomicU64,
}

/// A TCP port whose other end is the server of a database.
pub(crate) struct Proxy {
    url: String,
    switches: Arc<Switches>,
}

impl Proxy {
    /// A database and the way to it, on a server of our own, whose socket is known.
    pub(crate) fn fresh() -> (Self, Database) {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let server = SERVER.get_or_init(Server::start);
        let (socket, database) = (server.folder().join(".s.PGSQL.5432"), server.database());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("postgres://postgres@127.0.0.1:{port}/{}?sslmode=disable", database.name());
        let switches = Arc::new(Switches::default());
        let shared = Arc::clone(&switches);
        // It ends with the process; a test has one or two.
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), UnixStream::connect(&socket).unwrap());
                let number = shared.opened.fetch_add(1, Ordering::SeqCst) + 1;
                let answers = Pipe { number, switches: Arc::clone(&shared), waits: Arc::default() };
                let requests = answers.clone();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || requests.carry_requests(from, to));
                thread::spawn(move || answers.carry_answers(server, client));
            }
        });
        (Self { url, switches }, database)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn statements(&self) -> u64 {
        self.switches.statements.load(Ordering::SeqCst)
    }

    /// Breaks the connection of a statement: 1 is the next one that is run.
    pub(crate) fn cut(&self, cut: Cut, number: u64) {
        let switch = match cut {
            Cut::Request => &self.switches.cut_request,
            Cut::Answer => &self.switches.cut_answer,
        };
        switch.store(number, Ordering::SeqCst);
    }

    /// Lets all connections that are open go silent, as when a firewall forgets them.
    pub(crate) fn silence(&self) {
        self.switches.silenced.store(self.switches.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// One connection.
#[derive(Clone)]
struct Pipe {
    number: u64,
    switches: Arc<Switches>,
    /// The answer to a statement that was let through is to be swallowed.
    waits: Arc<AtomicBool>,
}

impl Pipe {
    fn is_silenced(&self) -> bool {
        self.number <= self.switches.silenced.load(Ordering::SeqCst)
    }

    fn carry_requests(&self, mut client: TcpStream, mut server: UnixStream) {
        let mut is_first = true;
        while let Ok((kind, message)) = read(&mut client, is_first) {
            is_first = false;
            if self.is_silenced() {
                continue;
            }
            if kind == b'B' {
                self.switches.statements.fetch_add(1, Ordering::SeqCst);
                if is_due(&self.switches.cut_request) {
                    break;
                }
                if is_due(&self.switches.cut_answer) {
                    self.waits.store(true, Ordering::SeqCst);
                }
            }
            if server.write_all(&message).is_err() {
                break;
            }
        }
        if !self.is_silenced() {
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
    }

    fn carry_answers(&self, mut server: UnixStream, mut client: TcpStream) {
        while let Ok((kind, message)) = read(&mut server, false) {
            if self.waits.load(Ordering::SeqCst) {
                // "Ready for query": the server has committed.
                if kind == b'Z' {
                    break;
                }
                continue;
            }
            if !self.is_silenced() && client.write_all(&message).is_err() {
                break;
            }
        }
        if !self.is_silenced() {
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
    }
}

/// Counts one down, and says whether it was the last.
fn is_due(countdown: &AtomicU64) -> bool {
    let count = |left: u64| left.checked_sub(1);
    countdown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) == Ok(1)
}

/// A whole message; the first one of a client has no kind.
fn read(from: &mut impl Read, is_first: bool) -> io::Result<(u8, Vec<u8>)> {
    let head = if is_first { 4 } else { 5 };
    let mut message = vec![0; head];
    from.read_exact(&mut message)?;
    let length = u32::from_be_bytes(message[head - 4..].try_into().expect("four bytes")) as usize;
    message.resize(head + length - 4, 0);
    from.read_exact(&mut message[head..])?;
    Ok((if is_first { 0 } else { message[0] }, message))
}
