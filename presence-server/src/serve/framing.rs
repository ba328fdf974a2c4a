//! Where one request ends and the next head begins, and whether a head is one.
//!
//! hyper answers a head that does not parse by itself, without a body. It also merges two equal `Content-Length`
//! lines and removes one that stands beside `Transfer-Encoding` before any handler sees the request, and keeps the
//! connection; a proxy in front that goes by the other header then takes a part of one client's request for the
//! start of another's. So heads are judged here, in the raw bytes, by rules that are stricter than hyper's: what
//! passes is a request to hyper as well, and what does not is answered like every other error.

use axum::http::Uri;

use super::limits::Limits;
use super::verdict::Verdict;

/// What the bytes that were received are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// The front of a head that goes on: nothing may be read yet.
    Part,
    /// So many bytes of a body, or of what nobody looks at: they may be read.
    Body(usize),
    /// A head of so many bytes, which may be read unless the verdict refuses it. Nothing is looked at after a refusal.
    Head(usize, Verdict),
}

/// Tells heads from bodies in the bytes of a connection.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    head_bytes: usize,
    max_headers: usize,
}

#[derive(Debug)]
enum State {
    Head(Head),
    Body(u64),
    Opaque,
}

impl Framing {
    pub(super) fn new(limits: &Limits) -> Self {
        let state = State::Head(Head::default());
        Self { state, head_bytes: limits.head_bytes, max_headers: limits.max_headers }
    }

    /// Whether a head has begun and not ended; empty lines before one begin nothing.
    pub(super) fn has_started(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.has_begun)
    }

    /// Whether the client may be in the middle of something: a head, a body, or what nobody looks at.
    pub(super) fn is_inside(&self) -> bool {
        self.has_started() || self.is_body()
    }

    /// Whether what is next is no head.
    pub(super) fn is_body(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    /// Whether what is next is looked at by nobody: it follows an upgrade, or a body without a length.
    pub(super) const fn is_opaque(&self) -> bool {
        matches!(self.state, State::Opaque)
    }

    /// Whether there is something to look at in what was received.
    pub(super) fn is_unseen(&self, bytes: &[u8]) -> bool {
        match &self.state {
            State::Head(head) => bytes.len() > head.seen,
            State::Body(_) | State::Opaque => !bytes.is_empty(),
        }
    }

    /// Gives up on the head that has begun: nothing is looked at from here on.
    pub(super) fn give_up(&mut self, verdict: Verdict) -> Found {
        self.state = State::Opaque;
        Found::Head(0, verdict)
    }

    /// Looks at all bytes that were received and may not be read yet; there is at least one. After [`Found::Part`] the
    /// same bytes come again, with more behind them.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Found {
        match &mut self.state {
            State::Opaque => Found::Body(bytes.len()),
            State::Body(left) => {
                let passed = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left = left.saturating_sub(passed as u64);
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                Found::Body(passed)
            }
            State::Head(head) => {
                let found = head.look(bytes, self.head_bytes, self.max_headers);
                if let Found::Head(_, verdict) = found {
                    self.state = match verdict {
                        Verdict::Bounded if head.length > 0 => State::Body(head.length),
                        Verdict::Bounded => State::Head(Head::default()),
                        _ => State::Opaque,
                    };
                }
                found
            }
        }
    }
}

/// A head, as far as its lines are known.
#[derive(Debug, Default)]
struct Head {
    /// Bytes that were looked at.
    seen: usize,
    /// Where the line begins that has not ended.
    line: usize,
    has_begun: bool,
    has_request_line: bool,
    is_http_10: bool,
    is_upgrade: bool,
    headers: usize,
    hosts: usize,
    lengths: usize,
    length: u64,
    encodings: usize,
}

impl Head {
    fn look(&mut self, bytes: &[u8], head_bytes: usize, max_headers: usize) -> Found {
        // hyper refuses what is too large as well, but at its own limits.
        while let Some(length) = bytes.get(self.seen..).and_then(|new| memchr::memchr(b'\n', new)) {
            let (begin, end) = (self.line, self.seen.saturating_add(length));
            self.seen = end.saturating_add(1);
            self.line = self.seen;
            if self.seen > head_bytes {
                return Found::Head(self.seen, Verdict::TooLarge);
            }
            // Some take a bare LF for the end of a line, and some do not.
            let Some(line) = bytes.get(begin..end).and_then(|line| line.strip_suffix(b"\r")) else {
                return Found::Head(self.seen, Verdict::Malformed);
            };
            if let Some(verdict) = self.line(line, max_headers) {
                return Found::Head(self.seen, verdict);
            }
        }
        self.seen = bytes.len();
        let first = bytes.get(self.line).copied();
        self.has_begun = self.has_request_line || first.is_some_and(|first| first != b'\r');
        if self.seen > head_bytes {
            Found::Head(self.seen, Verdict::TooLarge)
        } else if first.is_some_and(|first| first != b'\r' && !is_token(first)) {
            // What speaks another protocol, TLS for one, may never end a line.
            Found::Head(self.seen, Verdict::Malformed)
        } else {
            Found::Part
        }
    }

    /// Takes one line, and gives the verdict where it is known from here on.
    fn line(&mut self, line: &[u8], max_headers: usize) -> Option<Verdict> {
        match (line.is_empty(), self.has_request_line) {
            // Empty lines before a request are passed over.
            (true, false) => None,
            (true, true) => Some(self.verdict()),
            (false, false) => {
                self.has_request_line = true;
                self.request_line(line)
            }
            (false, true) => {
                self.headers = self.headers.saturating_add(1);
                if self.headers > max_headers { Some(Verdict::TooLarge) } else { self.header(line) }
            }
        }
    }

    fn request_line(&mut self, line: &[u8]) -> Option<Verdict> {
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Some(Verdict::Malformed);
        };
        self.is_http_10 = version == b"HTTP/1.0";
        self.is_upgrade = method == b"CONNECT";
        let is_version = self.is_http_10 || version == b"HTTP/1.1";
        let is_method = !method.is_empty() && method.iter().copied().all(is_token);
        (!is_method || !is_version || !is_target(method, target)).then_some(Verdict::Malformed)
    }

    fn header(&mut self, line: &[u8]) -> Option<Verdict> {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return Some(Verdict::Malformed) };
        // A line that begins with white space would continue the one before it; its name is no token.
        if name.is_empty() || !name.iter().copied().all(is_token) || !value.iter().copied().all(is_text) {
            return Some(Verdict::Malformed);
        }
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths = self.lengths.saturating_add(1);
            match length(value) {
                Some(length) => self.length = length,
                None => return Some(Verdict::Ambiguous),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings = self.encodings.saturating_add(1);
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Some(Verdict::Encoded);
            }
        } else if name.eq_ignore_ascii_case(b"host") {
            self.hosts = self.hosts.saturating_add(1);
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.is_upgrade = true;
        } else if name.eq_ignore_ascii_case(b"expect") && !value.eq_ignore_ascii_case(b"100-continue") {
            return Some(Verdict::Expecting);
        }
        None
    }

    /// The verdict on a head whose lines are all in order.
    fn verdict(&self) -> Verdict {
        if self.lengths.saturating_add(self.encodings) > 1 {
            Verdict::Ambiguous
        } else if self.encodings > 0 && self.is_http_10 {
            Verdict::Encoded
        } else if self.hosts > 1 || (self.hosts == 0 && !self.is_http_10) {
            Verdict::Hostless
        } else if self.encodings > 0 || self.is_upgrade {
            Verdict::Unbounded
        } else {
            Verdict::Bounded
        }
    }
}

/// Digits alone: no sign, no list, and nothing that a signed number of 64 bits does not hold.
fn length(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse::<i64>().ok()?.try_into().ok() } else { None }
}

/// A path, a whole address, or what `CONNECT` and `OPTIONS` have instead.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    let is_form = match target {
        [b'/', ..] => true,
        b"*" => method == b"OPTIONS",
        _ => method == b"CONNECT" || target.windows(3).any(|three| three == b"://"),
    };
    // Nearly every target is a path of these, and needs no parser.
    let is_plain = target.first() == Some(&b'/')
        && target.len() < PLAIN_LENGTH
        && target.iter().all(|&byte| is(byte, PLAIN));
    is_form && (is_plain || (target.iter().all(u8::is_ascii_graphic) && Uri::try_from(target).is_ok()))
}

/// How long a target may be that needs no parser, which allows more.
const PLAIN_LENGTH: usize = 1 << 15;

/// The kind of a byte that a name may have.
const TOKEN: u8 = 1;
/// Of one that any path and any query may have.
const PLAIN: u8 = 2;
/// Of one that a header's value may have: no control characters but the tabulator.
const TEXT: u8 = 4;

/// What the bytes are, looked up: heads are judged byte by byte.
static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let (mut kinds, mut byte) = ([0; 256], 0);
    while byte < kinds.len() {
        kinds[byte] = kind(byte as u8);
        byte += 1;
    }
    kinds
}

const fn kind(byte: u8) -> u8 {
    let is_word = byte.is_ascii_alphanumeric();
    let is_token = is_word
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    let is_plain =
        is_word || matches!(byte, b'%' | b'&' | b'+' | b','..=b'/' | b':' | b'=' | b'?' | b'_' | b'~');
    let is_text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    TOKEN * is_token as u8 + PLAIN * is_plain as u8 + TEXT * is_text as u8
}

fn is(byte: u8, kind: u8) -> bool {
    KINDS[usize::from(byte)] & kind != 0
}

fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
}

fn is_text(byte: u8) -> bool {
    is(byte, TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing() -> Framing {
        Framing::new(&Limits::default())
    }

    /// The verdicts on these bytes, the same whatever the size of the segments.
    fn verdicts(bytes: &str) -> Vec<Verdict> {
        let judged = |segment: usize| {
            let (mut framing, mut held, mut verdicts) = (framing(), Vec::new(), Vec::new());
            for segment in bytes.as_bytes().chunks(segment) {
                held.extend_from_slice(segment);
                while !held.is_empty() {
                    match framing.look(&held) {
                        Found::Part => break,
                        Found::Body(passed) => held.drain(..passed),
                        Found::Head(passed, verdict) => {
                            verdicts.push(verdict);
                            held.drain(..passed)
                        }
                    };
                }
            }
            verdicts
        };
        let whole = judged(bytes.len());
        (1..8).for_each(|segment| assert_eq!(whole, judged(segment), "segments of {segment}"));
        whole
    }

    #[test]
    fn what_needs_no_parser_is_what_the_parser_takes() {
        for byte in 0..=u8::MAX {
            let takes = |before: &[u8]| Uri::try_from(&[before, &[byte]].concat()[..]).is_ok();
            assert!(!is(byte, PLAIN) || (takes(b"/a") && takes(b"/a?b")), "{byte}");
            let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(super::is_token(byte), is_token, "{byte}: RFC 9110, 5.6.2");
        }
    }

    #[test]
    fn a_read_stops_at_the_end_of_a_head_and_of_its_body() {
        let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.0\r\n\r\nGET";
        let (head, next) = (47, 18);
        let mut framing = framing();
        assert_eq!(framing.look(bytes), Found::Head(head, Verdict::Bounded));
        assert_eq!(framing.look(&bytes[head..]), Found::Body(2));
        assert_eq!(framing.look(&bytes[head + 2..]), Found::Head(next, Verdict::Bounded));
        assert!(!framing.has_started());
        assert_eq!(framing.look(b"GET"), Found::Part);
        assert!(framing.has_started());
        assert_eq!(framing.look(b"GET / HTTP/1.0\r\n\r\n"), Found::Head(18, Verdict::Bounded));
    }

    #[test]
    fn more_than_one_length_is_ambiguous() {
        for headers in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nX: y\r\ncontent-length:1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "transfer-encoding: chunked\r\nCONTENT-LENGTH: 1",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length: 9223372036854775808",
            "Content-Length:",
        ] {
            let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
            assert_eq!(verdicts(&bytes)[0], Verdict::Ambiguous, "{headers}");
        }
    }

    #[test]
    fn nothing_follows_a_chunked_body_or_an_upgrade() {
        let after = "Host: a\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for first in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\n",
            "CONNECT a:1 HTTP/1.1\r\n",
        ] {
            assert_eq!(verdicts(&format!("{first}{after}")), [Verdict::Unbounded]);
        }
    }

    #[test]
    fn empty_lines_before_a_head_belong_to_it() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(verdicts(&format!("\r\n\r\n{head}\r\n{head}")), [Verdict::Bounded; 2]);
        // Some clients end a body with one: nobody waits for the rest of a head then.
        let mut framing = framing();
        for (begun, has_started) in [("\r", false), ("\r\n", false), ("\r\n\r", false), ("\r\n\r\nG", true)] {
            assert_eq!((framing.look(begun.as_bytes()), framing.has_started()), (Found::Part, has_started));
        }
    }

    #[test]
    fn a_head_that_cannot_become_one_is_refused_before_it_ends() {
        for begun in ["\u{16}\u{3}\u{1}", "GET /\r\n", "GET / HTTP/1.1\r\n Host", "GET / HTTP/1.1\n"] {
            assert_eq!(verdicts(begun)[0], Verdict::Malformed, "{begun:?}");
        }
    }
}
