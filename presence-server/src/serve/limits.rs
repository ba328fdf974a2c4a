use std::time::Duration;

/// What one server and one connection may use.
///
/// Durations are waits for the client, except [`request_timeout`](Self::request_timeout) and [`drain`](Self::drain),
/// which are waits for the handlers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Open connections, upgraded ones included. Default 100,000; the process needs as many file descriptors.
    pub max_connections: usize,
    /// From the first byte of a request head to its end; for the first head, from the accept. Default 10 s.
    pub header_timeout: Duration,
    /// Bytes of a request head, with the request line and the empty line. Default 16 KiB.
    pub head_bytes: usize,
    /// Header lines of a request. Default 64.
    pub max_headers: usize,
    /// From the end of a request head to the end of its body. Default 15 s.
    pub body_timeout: Duration,
    /// From the end of an answer to the first byte of the next head. Default 75 s.
    pub keep_alive: Duration,
    /// From the shutdown to the abort of what still runs. Default 10 s.
    pub drain: Duration,
    /// From the end of a request head to the head of its answer; also how long a write to a client that does not
    /// read may make no progress. A streamed answer may take longer as a whole. Default 30 s.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            header_timeout: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            max_headers: 64,
            body_timeout: Duration::from_secs(15),
            keep_alive: Duration::from_secs(75),
            drain: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        }
    }
}
