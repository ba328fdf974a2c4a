//! The real server on a real port over a real file, and a client that sends bytes.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use presence_core::{Beats, SystemClock, Tracker};
use presence_server::{
    AppState, Settings, app, jobs,
    serve::{Drained, Limits, listen, serve},
};
use presence_sqlite::{
    SqliteStore,
    rusqlite::{Connection, types::ValueRef},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Long for a server that answers, short for somebody who waits for a hanging one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server without jobs of its own: nothing is written that nobody asked for.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: AppState,
    running: JoinHandle<std::io::Result<Drained>>,
    shutdown: CancellationToken,
    store: Arc<SqliteStore>,
    path: PathBuf,
    folder: TempDir,
}

impl Server {
    pub(crate) async fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("presence.db");
        let store = Arc::new(SqliteStore::open(&path).await.expect("a store"));
        let tracker = Tracker::new(store.clone(), SystemClock);
        let beats = Beats::new(tracker).backed_by(store.clone());
        let state = AppState::new(beats, Settings::default());
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (shutdown, traffic) = (CancellationToken::new(), Arc::clone(state.traffic()));
        let running = tokio::spawn(serve(listener, app(state.clone()), limits, traffic, shutdown.clone()));
        Self { address, state, running, shutdown, store, path, folder }
    }

    pub(crate) async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.expect("a server that listens");
        stream.set_nodelay(true).expect("a socket");
        let (stream, writer) = stream.into_split();
        Client { reader: Reader { stream, read: Vec::new() }, writer }
    }

    /// Everything that is kept: all tables as another connection sees them, row by row, and how many are online.
    pub(crate) async fn kept(&self) -> String {
        jobs::flush(&self.state).await.expect("a store that works");
        let online = self.state.beats().online_count(Duration::from_secs(86_400)).await;
        let online = online.expect("a store that works");
        let file = Connection::open(&self.path).expect("a second connection");
        format!("{online} online\n{}", dump(&file))
    }

    /// A client that does everything right is served.
    pub(crate) async fn assert_alive(&self) {
        let mut client = self.connect().await;
        let beat = post("/users/witness/heartbeat", "{}");
        for request in [beat.as_slice(), b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"] {
            client.send(request).await;
            assert_eq!(client.reader.answer().await.status, 200);
        }
    }

    /// Ends the server and closes the store, so that all that was begun is done; gives the file.
    pub(crate) async fn end(self) -> (TempDir, Connection) {
        self.shutdown.cancel();
        let ended = timeout(PATIENCE, self.running).await.expect("it ends in time");
        ended.expect("no panic").expect("a listener that works");
        drop(self.state);
        self.store.close().await;
        (self.folder, Connection::open(&self.path).expect("a file"))
    }
}

/// All tables, row by row.
fn dump(file: &Connection) -> String {
    let mut tables = file.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").expect("a file");
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).expect("names");
    let mut dump = String::new();
    for table in tables.map(|table| table.expect("a name")) {
        let mut rows = file.prepare(&format!("SELECT * FROM \"{table}\"")).expect("a table");
        let columns = rows.column_count();
        let mut rows = rows.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let values = (0..columns).map(|column| row.get_ref(column).expect("a value"));
            let values: Vec<_> = values.map(|value: ValueRef<'_>| format!("{value:?}")).collect();
            dump.push_str(&format!("{table} {}\n", values.join(" ")));
        }
    }
    dump
}

/// A request with a body of JSON.
pub(crate) fn post(target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let line = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n");
    let mut request = format!("{line}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    request
}

/// A connection that looks at every byte.
pub(crate) struct Client {
    pub(crate) reader: Reader,
    pub(crate) writer: OwnedWriteHalf,
}

pub(crate) struct Reader {
    stream: OwnedReadHalf,
    read: Vec<u8>,
}

impl Client {
    /// Sends all of it; a server that has closed meanwhile is found out by who reads.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.writer.write_all(bytes)).await.expect("a server that reads");
    }

    /// Closes its own side: nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        // A server that has closed already needs no telling.
        let _ = self.writer.shutdown().await;
    }

    /// Sends, and reads the first answer meanwhile.
    pub(crate) async fn ask(&mut self, bytes: &[u8]) -> Answer {
        let send = async {
            let _ = self.writer.write_all(bytes).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = send => unreachable!("it waits"),
            answer = self.reader.answer() => answer,
        }
    }
}

impl Reader {
    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        let answer = timeout(PATIENCE, self.next()).await.expect("an answer in time");
        answer.expect("an answer before the server closes")
    }

    /// The answers that are left, until the server closes.
    pub(crate) async fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = timeout(PATIENCE, self.next()).await.expect("a close in time") {
            answers.push(answer);
        }
        answers
    }

    /// An answer with a known length; `None` where the server closes instead.
    async fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = take_answer(&mut self.read) {
                return Some(answer);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await.expect("no reset") {
                0 if self.read.is_empty() => return None,
                0 => panic!("half an answer: {}", String::from_utf8_lossy(&self.read)),
                length => self.read.extend_from_slice(&bytes[..length]),
            }
        }
    }
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The code of a problem of the client's making, in the one shape.
    pub(crate) fn problem(&self) -> Result<String, String> {
        let fault =
            |what: &str| Err(format!("{what}: {} {}", self.head, String::from_utf8_lossy(&self.body)));
        if !(400..500).contains(&self.status)
            || self.header("content-type") != Some("application/problem+json")
        {
            return fault("no problem of the client's making");
        }
        let Ok(problem) = serde_json::from_slice::<Value>(&self.body) else { return fault("no JSON") };
        let is_text = |field: &&str| problem[*field].as_str().is_some_and(|text| !text.is_empty());
        if problem["status"] != self.status
            || !["type", "title", "detail", "error", "code"].iter().all(is_text)
        {
            return fault("a field is missing");
        }
        let code = problem["code"].as_str().unwrap_or_default();
        let is_code = code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        if is_code { Ok(code.to_owned()) } else { fault("no code") }
    }
}

fn take_answer(read: &mut Vec<u8>) -> Option<Answer> {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(read[..end].to_vec()).expect("a head of text");
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let mut answer = Answer { status: status.expect("a status"), head, body: Vec::new() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    if read.len() < end + length {
        return None;
    }
    answer.body = read[end..end + length].to_vec();
    read.drain(..end + length);
    Some(answer)
}
