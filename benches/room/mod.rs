//! Members of rooms: WebSockets (RFC 6455) with no more around them than they need, so that the server is the limit.

mod frames;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

pub use self::frames::{Kind, masked, whole};

/// From how many addresses members come. Each has 28,000 ports, and a port rests for a minute.
const ADDRESSES: u64 = 100;

/// A WebSocket of a client.
#[derive(Debug)]
pub struct Member {
    /// The connection, from where the answer to the handshake ends.
    pub stream: TcpStream,
    /// What was read and is no whole frame yet.
    pub unread: Vec<u8>,
}

impl Member {
    /// Asks for a WebSocket. `number` chooses the loopback address that it comes from: one address has too few ports.
    ///
    /// # Errors
    ///
    /// The server is not there, or refuses.
    pub async fn connect(address: SocketAddr, target: &str, number: u64) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 1)) + (number % ADDRESSES) as u32);
        socket.bind((IpAddr::from(from), 0).into())?;
        let mut stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut unread = Vec::with_capacity(1024);
        let end = loop {
            if let Some(end) = unread.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut unread).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ends a handshake"));
            }
        };
        if !unread.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other(String::from_utf8_lossy(&unread).into_owned()));
        }
        unread.drain(..end);
        unread.shrink_to_fit();
        Ok(Self { stream, unread })
    }

    /// Sends a text.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(&masked(Kind::Text, text.as_bytes())).await
    }

    /// Reads until `look` has found in a text what it looks for. Pings are answered.
    ///
    /// # Errors
    ///
    /// The connection broke, or the server closed it.
    pub async fn until<T>(&mut self, mut look: impl FnMut(&[u8]) -> Option<T> + Send) -> io::Result<T> {
        loop {
            while let Some(frame) = whole(&self.unread) {
                let (kind, end) = (frame.kind, frame.end);
                let found = (kind == Kind::Text).then(|| look(frame.payload)).flatten();
                let pong = (kind == Kind::Ping).then(|| masked(Kind::Pong, frame.payload));
                if kind == Kind::Close {
                    let code =
                        frame.payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        format!("closed with {code}"),
                    ));
                }
                self.unread.drain(..end);
                if let Some(pong) = pong {
                    self.stream.write_all(&pong).await?;
                }
                if let Some(found) = found {
                    return Ok(found);
                }
            }
            if self.unread.is_empty() {
                // Thousands of members hold nothing while they wait.
                self.unread = Vec::new();
                self.stream.readable().await?;
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits for a text that holds `part`, and gives it.
    ///
    /// # Errors
    ///
    /// As [`until`](Self::until).
    pub async fn hear(&mut self, part: &str) -> io::Result<String> {
        let holds = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            text.contains(part).then(|| text.into_owned())
        };
        self.until(holds).await
    }
}
