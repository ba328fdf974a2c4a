//! Where one request ends and the next head begins.
//!
//! hyper merges two equal `Content-Length` lines and removes one that stands beside `Transfer-Encoding` before any
//! handler sees the request, and keeps the connection. A proxy in front that goes by the other header then takes a
//! part of one client's request for the start of another's. So the lines are counted here, in the raw bytes.

/// Header lines are compared up to this length; a framing header that is longer is refused.
const LINE_BYTES: usize = 128;

/// What a head says about the bytes after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Verdict {
    /// A body of known length, or none: the next head can be found.
    Bounded = 1,
    /// A chunked body or an upgrade: what follows is not looked at, so no other request may follow.
    Unbounded = 2,
    /// More than one length: nobody can say where the body ends.
    Ambiguous = 3,
}

#[derive(Debug)]
enum State {
    Head(Head),
    Body(u64),
    Opaque,
}

#[derive(Debug, Default)]
struct Head {
    has_started: bool,
    has_request_line: bool,
    line: Vec<u8>,
    line_length: usize,
    lengths: usize,
    length: u64,
    is_encoded: bool,
    is_upgrade: bool,
    is_malformed: bool,
}

/// Cuts the bytes of a connection so that no read goes past the end of a head or of a body of known length.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { state: State::Head(Head::default()) }
    }

    /// Whether a head has begun and not ended.
    pub(super) fn has_started(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.has_started)
    }

    /// Whether the client may be in the middle of something: a head, a body, or what nobody looks at.
    pub(super) fn is_inside(&self) -> bool {
        self.has_started() || !matches!(self.state, State::Head(_))
    }

    /// Takes from the front of `bytes` what may be read now: at least one byte if there is one. The verdict comes
    /// with the bytes that end a head.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, Option<Verdict>) {
        match &mut self.state {
            State::Opaque => (bytes.len(), None),
            State::Body(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left = left.saturating_sub(taken as u64);
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                (taken, None)
            }
            State::Head(head) => {
                for (index, &byte) in bytes.iter().enumerate() {
                    if head.push(byte) {
                        let verdict = head.verdict();
                        self.state = match verdict {
                            Verdict::Bounded if head.length > 0 => State::Body(head.length),
                            Verdict::Bounded => State::Head(Head::default()),
                            Verdict::Ambiguous | Verdict::Unbounded => State::Opaque,
                        };
                        return (index + 1, Some(verdict));
                    }
                }
                (bytes.len(), None)
            }
        }
    }
}

impl Head {
    /// Whether `byte` ends the head. Lines end as hyper's parser has it: LF, with or without a CR before it, and
    /// empty lines before the request line do not count.
    fn push(&mut self, byte: u8) -> bool {
        self.has_started = true;
        if byte != b'\n' {
            self.line_length = self.line_length.saturating_add(1);
            if self.line.len() < LINE_BYTES {
                self.line.push(byte);
            }
            return false;
        }
        let is_empty = self.line_length == 0 || (self.line_length == 1 && self.line == b"\r");
        if is_empty {
            let is_end = self.has_request_line;
            self.next_line();
            return is_end;
        }
        if self.has_request_line {
            self.header();
        } else {
            self.has_request_line = true;
            self.is_upgrade = self.line.starts_with(b"CONNECT ");
        }
        self.next_line();
        false
    }

    fn next_line(&mut self) {
        self.line.clear();
        self.line_length = 0;
    }

    fn header(&mut self) {
        let Some(colon) = self.line.iter().position(|&byte| byte == b':') else { return };
        let (name, value) = self.line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value[1..].trim_ascii()).ok();
            let length = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            self.lengths = self.lengths.saturating_add(1);
            match length.and_then(|digits| digits.parse().ok()) {
                Some(length) if self.line_length <= LINE_BYTES => self.length = length,
                _ => self.is_malformed = true,
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_encoded = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.is_upgrade = true;
        }
    }

    fn verdict(&self) -> Verdict {
        if self.is_malformed || self.lengths > 1 || (self.lengths == 1 && self.is_encoded) {
            Verdict::Ambiguous
        } else if self.is_encoded || self.is_upgrade {
            Verdict::Unbounded
        } else {
            Verdict::Bounded
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces that reads see, whatever the size of the segments.
    fn pieces(bytes: &str, segment: usize) -> Vec<(String, Option<Verdict>)> {
        let mut framing = Framing::new();
        let mut pieces = Vec::new();
        let mut piece = String::new();
        for segment in bytes.as_bytes().chunks(segment) {
            let mut rest = segment;
            while !rest.is_empty() {
                let (taken, verdict) = framing.take(rest);
                assert!(taken > 0);
                piece.push_str(std::str::from_utf8(&rest[..taken]).unwrap());
                rest = &rest[taken..];
                if verdict.is_some() {
                    pieces.push((std::mem::take(&mut piece), verdict));
                }
            }
        }
        pieces.push((piece, None));
        pieces
    }

    fn verdicts(bytes: &str) -> Vec<Verdict> {
        let whole: Vec<_> =
            pieces(bytes, bytes.len()).into_iter().filter_map(|(_, verdict)| verdict).collect();
        for segment in 1..8 {
            let cut: Vec<_> = pieces(bytes, segment).into_iter().filter_map(|(_, verdict)| verdict).collect();
            assert_eq!(whole, cut, "segments of {segment}");
        }
        whole
    }

    #[test]
    fn a_read_stops_at_the_end_of_a_head_and_of_its_body() {
        let bytes = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\n\nGET";
        let (head, next) = ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", "GET / HTTP/1.1\n\n");
        let mut framing = Framing::new();
        assert_eq!(framing.take(bytes.as_bytes()), (head.len(), Some(Verdict::Bounded)));
        assert_eq!(framing.take(&bytes.as_bytes()[head.len()..]), (2, None));
        assert_eq!(framing.take(&bytes.as_bytes()[head.len() + 2..]), (next.len(), Some(Verdict::Bounded)));
        assert!(!framing.has_started());
        assert_eq!(framing.take(b"GET"), (3, None));
        assert!(framing.has_started());
    }

    #[test]
    fn more_than_one_length_is_ambiguous() {
        for headers in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nX: y\r\ncontent-length:1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "transfer-encoding: chunked\nCONTENT-LENGTH: 1",
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length:",
        ] {
            let bytes = format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n");
            assert_eq!(verdicts(&bytes), [Verdict::Ambiguous], "{headers}");
        }
        let padded = format!("POST / HTTP/1.1\r\nContent-Length:{}1\r\n\r\n", " ".repeat(LINE_BYTES));
        assert_eq!(verdicts(&padded), [Verdict::Ambiguous]);
    }

    #[test]
    fn nothing_follows_a_chunked_body_or_an_upgrade() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        assert_eq!(verdicts(chunked), [Verdict::Unbounded]);
        assert_eq!(verdicts("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x01\n\n"), [Verdict::Unbounded]);
        assert_eq!(verdicts("CONNECT a:1 HTTP/1.1\r\n\r\nx\n\n"), [Verdict::Unbounded]);
    }

    #[test]
    fn empty_lines_before_a_head_belong_to_it() {
        assert_eq!(verdicts("\r\n\nGET / HTTP/1.1\r\n\r\n\r\nGET / HTTP/1.1\n\n"), [Verdict::Bounded; 2]);
    }
}
