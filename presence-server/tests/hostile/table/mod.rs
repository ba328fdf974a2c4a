//! What must be refused, as data: the bytes, and the answer.

mod bodies;
mod heads;
pub(crate) mod items;
pub(crate) mod taken;
mod targets;

use crate::client::post;

/// What is sent, and what must come back.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Whether the client closes its side when it has sent all.
    pub(crate) is_half_closed: bool,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
}

impl Case {
    fn new(name: impl Into<String>, bytes: impl AsRef<[u8]>, status: u16, code: &'static str) -> Self {
        let (name, bytes) = (name.into(), bytes.as_ref().to_vec());
        Self { name, bytes, is_half_closed: false, status, code }
    }

    fn half_closed(self) -> Self {
        Self { is_half_closed: true, ..self }
    }
}

/// Everything that must be refused, at this time in Unix seconds.
pub(crate) fn refused(now: i64) -> Vec<Case> {
    let mut cases = heads::cases();
    cases.extend(bodies::cases(now));
    cases.extend(targets::cases());
    for (item, code) in items::items(now) {
        cases.push(Case::new(format!("item: {item}"), post("/api/v1/presence/heartbeat", &item), 400, code));
    }
    cases
}

/// A text for a path: every byte that is no letter or digit is percent-encoded.
pub(crate) fn encoded(text: &str) -> String {
    let escape = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(escape).collect()
}
