//! A server as a process, its clients, and what they were told.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

/// Long for a server that answers, short for somebody who waits for a hanging one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What operators show.
pub(crate) const KEY: &str = "K7pWx2eRt9yUi4oPa6sDf8gHj1kLz3xC";

/// A running server, killed when the test ends.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(database: &Path, more: &[(&str, &str)]) -> Self {
        let url = format!("sqlite:{}", database.display());
        Self::start_on(&url, database.parent().expect("a folder"), more)
    }

    /// On the store that this URL names, in this folder.
    pub(crate) fn start_on(url: &str, folder: &Path, more: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_presence-server"));
        command.env_clear().current_dir(folder);
        command.env("BIND_ADDRESS", "127.0.0.1:0").env("DATABASE_URL", url);
        command.env("LOG_FORMAT", "json").envs(more.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).expect("text") > 0, "the server ended before it listened");
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.split('"').next().expect("an address").to_owned();
            }
        };
        // The log is read to its end, so that the server never waits for us.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address).expect("a server that listens")
    }

    /// Tells it to end, and gives the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.expect("kill").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept alive.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> std::io::Result<Self> {
        Ok(Self { stream: BufReader::new(TcpStream::connect(address)?) })
    }

    /// One request; status and body.
    pub(crate) fn ask(&mut self, line: &str, body: &str) -> std::io::Result<(u16, String)> {
        self.ask_with(line, "", body)
    }

    /// The same as an operator.
    pub(crate) fn manage(&mut self, line: &str, body: &str) -> std::io::Result<(u16, String)> {
        self.ask_with(line, &format!("X-Api-Key: {KEY}\r\n"), body)
    }

    fn ask_with(&mut self, line: &str, headers: &str, body: &str) -> std::io::Result<(u16, String)> {
        let head = format!("{line} HTTP/1.1\r\nHost: test\r\n{headers}Content-Type: application/json\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        self.stream.get_mut().write_all(request.as_bytes())?;
        let gone = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(gone)?;
        let mut length = 0;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(gone());
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(|_| gone())?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body).map_err(|_| gone())?))
    }
}

/// What writers were told, by user: the numbers of their reports that were answered 201, in order.
#[derive(Clone, Default)]
pub(crate) struct Acknowledged(Arc<(Mutex<Numbers>, Condvar)>);

pub(crate) type Numbers = BTreeMap<String, Vec<u64>>;

impl Acknowledged {
    pub(crate) fn add(&self, user: &str, number: u64) {
        let (numbers, added) = &*self.0;
        numbers.lock().expect("a lock").entry(user.to_owned()).or_default().push(number);
        added.notify_all();
    }

    pub(crate) fn count(&self) -> usize {
        self.numbers().values().map(Vec::len).sum()
    }

    pub(crate) fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.0.lock().expect("a lock")
    }

    /// Waits until so many were acknowledged. Writers whose server fails panic, and would leave this waiting for ever.
    pub(crate) fn wait_for(&self, count: usize) {
        let is_short = |numbers: &mut Numbers| numbers.values().map(Vec::len).sum::<usize>() < count;
        let waited = self.0.1.wait_timeout_while(self.numbers(), PATIENCE, is_short).expect("a lock");
        assert!(!waited.1.timed_out(), "fewer than {count} acknowledged in {PATIENCE:?}");
    }
}

/// All that is stored about a user: head and body. An export is chunked, so its connection is read to the end.
pub(crate) fn export(server: &Server, user: &str) -> (String, String) {
    let mut stream = TcpStream::connect(&server.address).expect("a server that listens");
    let request = format!("GET /users/{user}/export HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, chunks) = answer.split_once("\r\n\r\n").expect("a head");
    // A chunk is its length in hexadecimal on a line, and then that many bytes.
    let (mut body, mut rest) = (String::new(), chunks);
    while let Some((length, chunk)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        body.push_str(&chunk[..length]);
        rest = chunk[length..].trim_start();
    }
    (head.to_owned(), body)
}

/// What a script of the examples prints.
pub(crate) fn walked(script: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder.path().join("presence.db"), &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(script);
    let mut walk = Command::new("sh");
    let output = walk.arg(script).env("BASE", format!("http://{}", server.address)).output().expect("sh");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    println!("{shown}");
    shown
}
