//! A WebSocket client of bytes (RFC 6455), which can also do what no client should.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Long for a server that answers, short for somebody who waits for a hanging one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a server sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    Text(String),
    Ping,
    Pong(Vec<u8>),
    /// Its code; 1005 where it had none.
    Close(u16),
    /// The connection ended.
    End,
}

/// A connection to a room.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    /// All that was heard.
    pub(crate) heard: Vec<Heard>,
}

/// A frame of a client, masked as it has to be.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x1a, 0x2b, 0x3c, 0x4d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

impl Client {
    /// Asks for a WebSocket; the status and the rest of the head of the answer, and of a refusal the body.
    pub(crate) async fn ask(address: SocketAddr, target: &str, headers: &str) -> (u16, String, Self) {
        Self::over(TcpStream::connect(address).await.expect("a server that listens"), target, headers).await
    }

    /// The same over a connection of one's own.
    pub(crate) async fn over(mut stream: TcpStream, target: &str, headers: &str) -> (u16, String, Self) {
        let address = stream.peer_addr().expect("a peer");
        stream.set_nodelay(true).expect("a socket");
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut client = Self { stream, unread: Vec::new(), heard: Vec::new() };
        let head = loop {
            if let Some(end) = client.unread.windows(4).position(|end| end == b"\r\n\r\n") {
                let head: Vec<u8> = client.unread.drain(..end + 4).collect();
                break String::from_utf8(head).expect("text");
            }
            assert!(client.read().await, "an answer");
        };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut answer = head;
        if let Some(length) = length {
            while client.unread.len() < length {
                assert!(client.read().await, "a body");
            }
            let body: Vec<u8> = client.unread.drain(..length).collect();
            answer.push_str(&String::from_utf8(body).expect("text"));
        }
        (status, answer, client)
    }

    /// Joins a room.
    pub(crate) async fn join(address: SocketAddr, room: &str, user: &str) -> Self {
        let target = format!("/ws/rooms/{room}?user_id={user}&nickname={user}");
        let (status, answer, client) = Self::ask(address, &target, "").await;
        assert_eq!(status, 101, "{answer}");
        client
    }

    /// The same with a window so small that what is not read stays with the server.
    pub(crate) async fn narrow(address: SocketAddr, room: &str, user: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small one");
        let stream = socket.connect(address).await.expect("a server that listens");
        let target = format!("/ws/rooms/{room}?user_id={user}&nickname={user}");
        let (status, answer, client) = Self::over(stream, &target, "").await;
        assert_eq!(status, 101, "{answer}");
        client
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send(&frame(0x81, text.as_bytes())).await;
    }

    /// Sends bytes, whatever they are. A server that has closed is no reason to fail.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame of the server.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.parse() {
                self.heard.push(heard.clone());
                return heard;
            }
            if !self.read().await {
                return Heard::End;
            }
        }
    }

    /// The next text. Pings are answered: who waits for somebody slow is asked whether it is there.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.hear().await {
                Heard::Text(text) => return text,
                Heard::Ping => self.send(&frame(0x8a, b"")).await,
                other => panic!("no text: {other:?}"),
            }
        }
    }

    /// Everything up to the frame that holds `part`.
    pub(crate) async fn until(&mut self, part: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            texts.push(self.text().await);
            if texts.last().is_some_and(|text| text.contains(part)) {
                return texts;
            }
        }
    }

    /// Everything to the end: the texts, and the code of the close.
    pub(crate) async fn rest(&mut self) -> (Vec<String>, Option<u16>) {
        let (mut texts, mut code) = (Vec::new(), None);
        loop {
            match self.hear().await {
                Heard::Text(text) => texts.push(text),
                Heard::Close(closed) => {
                    code = Some(closed);
                    self.send(&frame(0x88, &closed.to_be_bytes())).await;
                }
                Heard::End => return (texts, code),
                Heard::Ping | Heard::Pong(_) => {}
            }
        }
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("the server says something");
        let length = read.unwrap_or(0);
        self.unread.extend(&bytes[..length]);
        length > 0
    }

    fn parse(&mut self) -> Option<Heard> {
        let (first, second) = (*self.unread.first()?, *self.unread.get(1)?);
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (length, start) = match second {
            126 => (u16::from_be_bytes(self.unread.get(2..4)?.try_into().ok()?) as usize, 4),
            127 => (u64::from_be_bytes(self.unread.get(2..10)?.try_into().ok()?) as usize, 10),
            length => (length as usize, 2),
        };
        let payload = self.unread.get(start..start + length)?.to_vec();
        self.unread.drain(..start + length);
        Some(match first {
            0x81 => Heard::Text(String::from_utf8(payload).expect("text is UTF-8")),
            0x88 => {
                Heard::Close(payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]])))
            }
            0x89 => Heard::Ping,
            0x8a => Heard::Pong(payload),
            other => panic!("a frame of {other:#x}"),
        })
    }
}
