//! A way to the server that can be watched, and that breaks when it is told to.
//!
//! It runs on threads of its own, so that a test may stop its runtime's time.

use std::{
    collections::HashSet,
    fmt,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{Database, Server};

/// What happens to a statement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// It does not reach the server.
    Request,
    /// It is done, but its answer does not come back.
    Answer,
    /// The same, of a statement that commits rows of a history.
    Commit,
}

#[derive(Default)]
struct Switches {
    /// How many statements were run, by the `Bind` of each.
    statements: AtomicU64,
    /// How many statements go through until one is cut; 0 for none.
    cut_request: AtomicU64,
    cut_answer: AtomicU64,
    cut_commit: AtomicU64,
    /// Connections that are open now carry nothing any more, and stay open; later ones do.
    silenced: AtomicU64,
    opened: AtomicU64,
}

/// A TCP port whose other end is the server of a database.
pub struct Proxy {
    url: String,
    switches: Arc<Switches>,
}

impl Proxy {
    /// A database and the way to it, on a server that the tests of this process share.
    ///
    /// # Panics
    ///
    /// PostgreSQL is not installed, or does not start.
    #[must_use]
    pub fn fresh() -> (Self, Database) {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let server = SERVER.get_or_init(Server::start);
        let database = server.database();
        (Self::to(server, &database), database)
    }

    /// The way to a database on a server of one's own, whose socket is known.
    ///
    /// # Panics
    ///
    /// No port is to be had.
    #[must_use]
    pub fn to(server: &Server, database: &Database) -> Self {
        let socket = server.folder().join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let url = format!("postgres://postgres@127.0.0.1:{port}/{}?sslmode=disable", database.name());
        let switches = Arc::new(Switches::default());
        let shared = Arc::clone(&switches);
        // It ends with the process; a test has one or two.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // While the server is down, its clients are turned away.
                let Ok(server) = UnixStream::connect(&socket) else { continue };
                let number = shared.opened.fetch_add(1, Ordering::SeqCst) + 1;
                let pipe = Pipe {
                    number,
                    switches: Arc::clone(&shared),
                    waits: Arc::default(),
                    commits: Arc::default(),
                };
                let (requests, answers) = (pipe.clone(), pipe);
                let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { continue };
                thread::spawn(move || requests.carry_requests(from, to));
                thread::spawn(move || answers.carry_answers(server, client));
            }
        });
        Self { url, switches }
    }

    /// Where it listens: `postgres://...`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many statements were run.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.switches.statements.load(Ordering::SeqCst)
    }

    /// Breaks the connection of a statement: 1 is the next one that is run.
    pub fn cut(&self, cut: Cut, number: u64) {
        self.switch(cut).store(number, Ordering::SeqCst);
    }

    /// Whether such a statement is still to be cut.
    #[must_use]
    pub fn will_cut(&self, cut: Cut) -> bool {
        self.switch(cut).load(Ordering::SeqCst) > 0
    }

    fn switch(&self, cut: Cut) -> &AtomicU64 {
        match cut {
            Cut::Request => &self.switches.cut_request,
            Cut::Answer => &self.switches.cut_answer,
            Cut::Commit => &self.switches.cut_commit,
        }
    }

    /// Lets all connections that are open go silent, as when a firewall forgets them.
    pub fn silence(&self) {
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
    /// The names of the prepared statements that commit rows of a history.
    commits: Arc<Mutex<HashSet<Vec<u8>>>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Pipe {
    fn is_silenced(&self) -> bool {
        self.number <= self.switches.silenced.load(Ordering::SeqCst)
    }

    /// A `Parse` is a name and a statement.
    fn note_commit(&self, message: &[u8]) {
        const MARK: &[u8] = b"INSERT INTO checkpoints";
        let mut texts = message[5..].split(|byte| *byte == 0);
        if let (Some(name), Some(statement)) = (texts.next(), texts.next())
            && statement.windows(MARK.len()).any(|part| part == MARK)
        {
            self.commits.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        }
    }

    /// A `Bind` is the name of a portal, and that of a statement.
    fn is_commit(&self, message: &[u8]) -> bool {
        let statement = message[5..].split(|byte| *byte == 0).nth(1);
        let commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        statement.is_some_and(|name| commits.contains(name))
    }

    fn carry_requests(&self, mut client: TcpStream, mut server: UnixStream) {
        let mut is_first = true;
        while let Ok((kind, message)) = read(&mut client, is_first) {
            is_first = false;
            if self.is_silenced() {
                continue;
            }
            if kind == b'P' {
                self.note_commit(&message);
            }
            if kind == b'B' {
                self.switches.statements.fetch_add(1, Ordering::SeqCst);
                if is_due(&self.switches.cut_request) {
                    break;
                }
                if is_due(&self.switches.cut_answer)
                    || (self.is_commit(&message) && is_due(&self.switches.cut_commit))
                {
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
