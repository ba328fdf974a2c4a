//! One connection: a request, its answer, the next request.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A keep-alive HTTP/1.1 connection without pipelining. It reads no more of an answer than it must: the status, the
/// length, and the body as bytes.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 4096], filled: 0 })
    }

    /// Sends `request`, and waits for the whole answer.
    pub(super) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let mut whole = None;
        let (status, head, end) = loop {
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
            if read == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed a connection"));
            }
            self.filled += read;
            if whole.is_none() {
                whole = parse(&self.buffer[..self.filled])?;
            }
            if let Some((status, head, end)) = whole
                && self.filled >= end
            {
                break (status, head, end);
            }
        };
        Ok(Answer { status, body: &self.buffer[head..end] })
    }
}

/// The status, where the body begins, and where it ends; `None` where the head is not whole.
fn parse(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let invalid = |text| io::Error::new(io::ErrorKind::InvalidData, text);
    let Some(head) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { return Ok(None) };
    let head = str::from_utf8(&bytes[..head]).map_err(|_| invalid("a head that is not text"))?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| invalid("no HTTP/1.1 status"))?;
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = match length {
        None if status == 204 => 0,
        length => length.ok_or_else(|| invalid("an answer without Content-Length"))?,
    };
    let start = head.len() + 4;
    Ok(Some((status, start, start + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_by_its_length() {
        let answer = b"HTTP/1.1 201 Created\r\nX: 1\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(parse(answer).unwrap(), Some((201, answer.len() - 2, answer.len())));
        assert_eq!(parse(&answer[..40]).unwrap(), None);
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Some((204, 27, 27)));
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse(b"SSH-2.0\r\n\r\n").is_err());
    }
}
