//! Heads that are none, or that say too much.

use super::Case;

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

/// Bytes that are no request line.
const LINES: &[(&str, &[u8])] = &[
    ("a word", b"hello\r\n\r\n"),
    ("an empty head of spaces", b"   \r\n\r\n"),
    ("NULs", b"\0\0\0\0"),
    ("the start of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("the start of SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
    ("an answer", b"HTTP/1.1 200 OK\r\n\r\n"),
    ("HTTP/0.9", b"GET /livez\r\n"),
    ("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/2.0 in words", b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("HTTP/1.2", b"GET /livez HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("HTTP/9.9", b"GET /livez HTTP/9.9\r\nHost: a\r\n\r\n"),
    ("HTTP/01.1", b"GET /livez HTTP/01.1\r\nHost: a\r\n\r\n"),
    ("HTTP/1.10", b"GET /livez HTTP/1.10\r\nHost: a\r\n\r\n"),
    ("HTTP/1.", b"GET /livez HTTP/1.\r\nHost: a\r\n\r\n"),
    ("a version in lower case", b"GET /livez http/1.1\r\nHost: a\r\n\r\n"),
    ("a version and a space", b"GET /livez HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ("a version and a word", b"GET /livez HTTP/1.1 x\r\nHost: a\r\n\r\n"),
    ("two spaces", b"GET  /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("tabs", b"GET\t/livez\tHTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space before the method", b" GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no method", b"/livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a method with a bracket", b"GE(T /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a method with a NUL", b"G\0T /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a method that is not ASCII", b"G\xc3\x8bT /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no target", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a target without a slash", b"GET livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an asterisk for GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space in the target", b"GET /li vez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a NUL in the target", b"GET /li\0vez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a DEL in the target", b"GET /li\x7fvez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an escape in the target", b"GET /li\x1b[31mvez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("bare UTF-8 in the target", b"GET /li\xc3\xa9vez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("bare Latin-1 in the target", b"GET /li\xe9vez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an address without a host", b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("LF alone", b"GET /livez HTTP/1.1\nHost: a\n\n"),
    ("LF after the request line", b"GET /livez HTTP/1.1\nHost: a\r\n\r\n"),
    ("LF after a header", b"GET /livez HTTP/1.1\r\nHost: a\n\r\n"),
    ("LF for the empty line", b"GET /livez HTTP/1.1\r\nHost: a\r\n\n"),
    ("LF before the request", b"\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("CR alone", b"GET /livez HTTP/1.1\rHost: a\r\r\n\r\n"),
    ("CR twice", b"GET /livez HTTP/1.1\r\r\nHost: a\r\n\r\n"),
];

/// Header lines that are none.
const HEADERS: &[(&str, &[u8])] = &[
    ("no colon", b"Nonsense"),
    ("no name", b": x"),
    ("a space before the colon", b"X-A : x"),
    ("a tab before the colon", b"X-A\t: x"),
    ("a space in the name", b"X A: x"),
    ("a bracket in the name", b"X(A: x"),
    ("a NUL in the name", b"X\0A: x"),
    ("a name that is not ASCII", b"X-\xc3\xa9: x"),
    ("a NUL in the value", b"X-A: x\0y"),
    ("a CR in the value", b"X-A: x\ry"),
    ("an escape in the value", b"X-A: \x1b[31m"),
    ("a DEL in the value", b"X-A: x\x7fy"),
    ("a folded line", b"X-A: x\r\n folded"),
    ("a folded line with a tab", b"X-A: x\r\n\tfolded"),
    ("a fold after Content-Length", b"Content-Length: 0\r\n 5"),
    ("a vertical tab before chunked", b"Transfer-Encoding: \x0bchunked"),
    ("a space before Content-Length's colon", b"Content-Length : 5"),
];

const LENGTHS: &[&str] = &[
    "-1",
    "+1",
    "0x5",
    "1e2",
    "5.0",
    "1 1",
    "1,1",
    "5, 6",
    "",
    "five",
    "1_000",
    "\"5\"",
    "5;",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999",
];

const ENCODINGS: &[&str] = &[
    "gzip",
    "gzip, chunked",
    "chunked, gzip",
    "chunked, chunked",
    "identity",
    "xchunked",
    "chunked;q=1",
    "\"chunked\"",
    "",
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bytes) in LINES {
        cases.push(Case::new(format!("line: {name}"), bytes, 400, "MALFORMED_REQUEST"));
    }
    for (name, line) in HEADERS {
        let head = [b"GET /livez HTTP/1.1\r\nHost: a\r\n", *line, b"\r\n\r\n"].concat();
        cases.push(Case::new(format!("header: {name}"), head, 400, "MALFORMED_REQUEST"));
    }
    let report = "POST /users/mallory/checkpoints HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    for length in LENGTHS {
        let head = format!("{report}Content-Length: {length}\r\n\r\n{{\"state\":\"Working\"}}");
        cases.push(Case::new(format!("length: {length:?}"), head, 400, "AMBIGUOUS_REQUEST"));
    }
    for encoding in ENCODINGS {
        let head = format!("{report}Transfer-Encoding: {encoding}\r\n\r\n0\r\n\r\n");
        cases.push(Case::new(format!("encoding: {encoding:?}"), head, 400, "UNSUPPORTED_TRANSFER_ENCODING"));
    }
    let body = r#"{"state":"Working"}"#;
    let many = |count: usize| (1..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    let ambiguous = "AMBIGUOUS_REQUEST";
    let too_large = "HEAD_TOO_LARGE";
    cases.extend(
        [
            (
                "two equal lengths",
                format!("{report}Content-Length: 19\r\nContent-Length: 19\r\n\r\n{body}"),
                400,
                ambiguous,
            ),
            (
                "two lengths",
                format!("{report}Content-Length: 19\r\nContent-Length: 3\r\n\r\n{body}"),
                400,
                ambiguous,
            ),
            ("a length before chunks", format!("{report}Content-Length: 5\r\n{CHUNKED}"), 400, ambiguous),
            (
                "chunks before a length",
                format!("{report}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
                400,
                ambiguous,
            ),
            ("chunked twice", format!("{report}Transfer-Encoding: chunked\r\n{CHUNKED}"), 400, ambiguous),
            (
                "chunks in HTTP/1.0",
                format!("{}{CHUNKED}", report.replace("/1.1", "/1.0")),
                400,
                "UNSUPPORTED_TRANSFER_ENCODING",
            ),
            ("no host", "GET /livez HTTP/1.1\r\n\r\n".to_owned(), 400, "INVALID_HOST"),
            (
                "two hosts",
                "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
                400,
                "INVALID_HOST",
            ),
            (
                "two equal hosts",
                "GET /livez HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n".to_owned(),
                400,
                "INVALID_HOST",
            ),
            (
                "two hosts in HTTP/1.0",
                "GET /livez HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
                400,
                "INVALID_HOST",
            ),
            (
                "an expectation",
                format!("{report}Expect: 200-ok\r\nContent-Length: 19\r\n\r\n"),
                417,
                "EXPECTATION_FAILED",
            ),
            (
                "two expectations",
                format!("{report}Expect: 100-continue, x\r\nContent-Length: 19\r\n\r\n"),
                417,
                "EXPECTATION_FAILED",
            ),
            (
                "an empty expectation",
                format!("{report}Expect:\r\nContent-Length: 19\r\n\r\n"),
                417,
                "EXPECTATION_FAILED",
            ),
            ("65 headers", format!("GET /livez HTTP/1.1\r\nHost: a\r\n{}\r\n", many(65)), 431, too_large),
            ("101 headers", format!("GET /livez HTTP/1.1\r\nHost: a\r\n{}\r\n", many(101)), 431, too_large),
            (
                "10,000 headers",
                format!("GET /livez HTTP/1.1\r\nHost: a\r\n{}\r\n", many(10_000)),
                431,
                too_large,
            ),
            (
                "a value of 16 KiB",
                format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(16 * 1024)),
                431,
                too_large,
            ),
            (
                "a name of 20 KiB",
                format!("GET /livez HTTP/1.1\r\nHost: a\r\n{}: y\r\n\r\n", "x".repeat(20_000)),
                431,
                too_large,
            ),
            (
                "a target of 20 KiB",
                format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000)),
                431,
                too_large,
            ),
            (
                "a method of 20 KiB",
                format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "X".repeat(20_000)),
                431,
                too_large,
            ),
            ("a line of 300 KiB that never ends", "x".repeat(300 * 1024), 431, too_large),
            ("empty lines without end", "\r\n".repeat(10_000), 431, too_large),
            (
                "a tunnel",
                "CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
                404,
                "ROUTE_NOT_FOUND",
            ),
            ("an asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404, "ROUTE_NOT_FOUND"),
            (
                "somebody else's address",
                "GET http://example.com/nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
                404,
                "ROUTE_NOT_FOUND",
            ),
        ]
        .map(|(name, bytes, status, code)| Case::new(name, bytes, status, code)),
    );
    cases
}
