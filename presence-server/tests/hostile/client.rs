//! A client that sends bytes.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// Long for a server that answers, short for somebody who waits for a hanging one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a server that listens");
        stream.set_nodelay(true).expect("a socket");
        let (stream, writer) = stream.into_split();
        Self { reader: Reader { stream, read: Vec::new() }, writer }
    }

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

    /// An answer; `None` where the server closes instead.
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
    let taken = if answer.header("transfer-encoding").is_some() {
        let (body, length) = joined(read.get(end..)?)?;
        answer.body = body;
        end + length
    } else {
        let length: usize =
            answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        answer.body = read.get(end..end + length)?.to_vec();
        end + length
    };
    read.drain(..taken);
    Some(answer)
}

/// A body out of its chunks, and how long they were; `None` where some are missing.
fn joined(chunks: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut place) = (Vec::new(), 0);
    loop {
        let rest = chunks.get(place..)?;
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let length =
            std::str::from_utf8(&rest[..line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.expect("the length of a chunk");
        let chunk = rest.get(line + 2..line + 2 + length)?;
        body.extend_from_slice(chunk);
        place += line + 2 + length + 2;
        if length == 0 {
            return (chunks.len() >= place).then_some((body, place));
        }
    }
}
