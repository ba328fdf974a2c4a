//! One event as one line: `{"event":{...},"crc":"e3069283"}`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::crc32c::crc32c;

/// What a line is read as. Members that we do not know are ignored, so that lines may grow.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
    /// CRC-32C of the exact bytes of `event`, as eight hexadecimal digits; verified where it is present.
    crc: Option<&'a str>,
    /// The one sink that the event is for; without it, or with one that nobody knows, it is for all.
    #[serde(borrow, default)]
    sink: Option<&'a RawValue>,
}

/// What stands in a line.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Record<'a> {
    /// Nothing: white space, or the zeros that a crash may leave where a file grew and its data did not arrive.
    Blank,
    /// An event was here, and was forgotten: tabs and nothing else, which other readers take for a blank line.
    Erased,
    /// The exact bytes of an event.
    Event(&'a str),
    /// Something that no event can be read from.
    Bad,
}

/// Appends an event to `lines`, and says how many bytes the event itself has.
///
/// # Errors
///
/// The event cannot be written as JSON; `lines` is as it was.
pub(crate) fn encode<E: Serialize + ?Sized>(
    event: &E,
    has_checksum: bool,
    lines: &mut Vec<u8>,
) -> Result<usize, serde_json::Error> {
    let begin = lines.len();
    lines.extend_from_slice(br#"{"event":"#);
    let start = lines.len();
    if let Err(error) = serde_json::to_writer(&mut *lines, event) {
        lines.truncate(begin);
        return Err(error);
    }
    let event = lines.get_mut(start..).unwrap_or_default();
    // Only a `RawValue` brings line feeds, and as JSON it has them only where a space does as well.
    if event.contains(&b'\n') {
        event.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    }
    let (length, crc) = (event.len(), has_checksum.then(|| crc32c(event)));
    if let Some(crc) = crc {
        lines.extend_from_slice(br#","crc":""#);
        lines.extend(hexadecimal(crc));
        lines.push(b'"');
    }
    lines.extend_from_slice(b"}\n");
    Ok(length)
}

/// Reads a line, with or without its line feed.
pub(crate) fn decode(line: &[u8]) -> Record<'_> {
    decode_addressed(line).0
}

/// Reads a line, and the name of the one sink that it is for, if any.
pub(crate) fn decode_addressed(line: &[u8]) -> (Record<'_>, Option<&str>) {
    if line.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        let is_erased = is_forgotten(line);
        return (if is_erased { Record::Erased } else { Record::Blank }, None);
    }
    match serde_json::from_slice::<Line<'_>>(line) {
        Ok(line) if line.fits() => {
            let sink = line.sink.and_then(|sink| sink.get().strip_prefix('"')?.strip_suffix('"'));
            (Record::Event(line.event.get()), sink)
        }
        _ => (Record::Bad, None),
    }
}

/// Makes a line one of a forgotten event.
pub(crate) fn forget(line: &mut [u8]) {
    let end = line.strip_suffix(b"\n").unwrap_or(line).len();
    line.iter_mut().take(end).for_each(|byte| *byte = b'\t');
}

fn is_forgotten(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    !line.is_empty() && line.iter().all(|byte| *byte == b'\t')
}

/// What is wrong with a line that no event can be read from.
pub(crate) fn fault(line: &[u8]) -> LineFault {
    match serde_json::from_slice::<Line<'_>>(line) {
        Ok(_) => LineFault::Checksum,
        Err(_) if std::str::from_utf8(line).is_err() => LineFault::NotText,
        Err(_) => LineFault::NotAnEvent,
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LineFault {
    /// It is not UTF-8.
    NotText,
    /// It is not a JSON object with a member `event`.
    NotAnEvent,
    /// The event is not the one that its checksum was made of.
    Checksum,
    /// It is longer than 1 MiB.
    TooLong,
}

impl std::fmt::Display for LineFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotText => "is not UTF-8",
            Self::NotAnEvent => "is no JSON object with an event",
            Self::Checksum => "does not fit its checksum",
            Self::TooLong => "is longer than 1 MiB",
        })
    }
}

impl Line<'_> {
    fn fits(&self) -> bool {
        self.crc.is_none_or(|crc| crc.as_bytes() == hexadecimal(crc32c(self.event.get().as_bytes())))
    }
}

fn hexadecimal(crc: u32) -> [u8; 8] {
    let mut digits = [0; 8];
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        let value = (crc >> (place * 4)) as u8 & 0xf;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
    }
    digits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(event: &serde_json::Value, has_checksum: bool) -> String {
        let mut line = Vec::new();
        encode(event, has_checksum, &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn an_event_is_one_line() {
        let event = json!({"text": "two\nlines"});
        assert_eq!(line(&event, false), "{\"event\":{\"text\":\"two\\nlines\"}}\n");
        let sealed = line(&event, true);
        assert!(
            sealed.starts_with("{\"event\":{\"text\":\"two\\nlines\"},\"crc\":\"")
                && sealed.ends_with("\"}\n")
        );
        assert_eq!(decode(sealed.as_bytes()), Record::Event(r#"{"text":"two\nlines"}"#));
    }

    #[test]
    fn the_checksum_is_of_the_event_alone() {
        assert_eq!(line(&json!(123_456_789), true), "{\"event\":123456789,\"crc\":\"e3069283\"}\n");
    }

    #[test]
    fn raw_json_keeps_its_bytes_but_for_line_feeds() {
        let raw = RawValue::from_string("{\n \"a\": 1.50 }".to_owned()).unwrap();
        let mut line = Vec::new();
        assert_eq!(encode(&raw, false, &mut line).unwrap(), 14);
        assert_eq!(decode(&line), Record::Event("{  \"a\": 1.50 }"));
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
        let mut lines = b"before".to_vec();
        assert!(encode(&odd, true, &mut lines).is_err());
        assert_eq!(lines, b"before");
    }

    #[test]
    fn lines_are_judged() {
        let event = |event| Record::Event(event);
        for (line, expected) in [
            ("", Record::Blank),
            ("  \t\r\n", Record::Blank),
            ("\0\0\0", Record::Blank),
            ("\t\n", Record::Erased),
            ("\t\t\t", Record::Erased),
            ("\t\r\n", Record::Blank),
            ("\n", Record::Blank),
            (r#"{"event":{"a":1}}"#, event(r#"{"a":1}"#)),
            ("{\"event\":{\"a\":1}}\r\n", event(r#"{"a":1}"#)),
            (r#" {"v":2, "event" : 7 , "seq":[1]} "#, event("7")),
            (r#"{"event":null}"#, event("null")),
            (r#"{"event":123456789,"crc":"e3069283"}"#, event("123456789")),
            (r#"{"event":123456788,"crc":"e3069283"}"#, Record::Bad),
            (r#"{"event":123456789,"crc":"E3069283"}"#, Record::Bad),
            (r#"{"event":123456789,"crc":17}"#, Record::Bad),
            ("{not-json}", Record::Bad),
            (r#"{"event":{"a":1}"#, Record::Bad),
            (r#"{"event":{"a":1}}{"event":{"a":2}}"#, Record::Bad),
            (r#"{"event":1,"event":2}"#, Record::Bad),
            ("{}", Record::Bad),
            ("7", Record::Bad),
            ("\0{\"event\":1}", Record::Bad),
        ] {
            assert_eq!(decode(line.as_bytes()), expected, "{line:?}");
        }
        assert_eq!(decode(b"{\"event\":\"\xff\"}"), Record::Bad, "no UTF-8");
    }

    #[test]
    fn a_line_that_is_forgotten_keeps_its_length() {
        for line in [line(&json!({"user": "u1"}), true), "{}\r\n".to_owned(), "{torn".to_owned()] {
            let mut bytes = line.clone().into_bytes();
            forget(&mut bytes);
            assert_eq!((decode(&bytes), bytes.len()), (Record::Erased, line.len()));
            assert_eq!(bytes.ends_with(b"\n"), line.ends_with('\n'));
        }
    }

    #[test]
    fn a_line_may_be_for_one_sink() {
        for (line, sink) in [
            (r#"{"event":1,"sink":"webhook"}"#, Some("webhook")),
            (r#"{"sink" : "kafka", "event":1}"#, Some("kafka")),
            (r#"{"event":1}"#, None),
            (r#"{"event":1,"sink":null}"#, None),
            (r#"{"event":1,"sink":7}"#, None),
            (r#"{"event":1,"sink":{"a":"\u0000"}}"#, None),
            (r#"{"event":{"sink":"webhook"}}"#, None),
        ] {
            assert_eq!(decode_addressed(line.as_bytes()), (decode(line.as_bytes()), sink), "{line}");
            assert!(matches!(decode(line.as_bytes()), Record::Event(_)), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_has_a_name() {
        for (line, expected) in [
            (&b"{\"event\":1,\"crc\":\"00000000\"}"[..], LineFault::Checksum),
            (b"{\"event\":\"\xff\"}", LineFault::NotText),
            (b"{\"event\":", LineFault::NotAnEvent),
        ] {
            assert_eq!(fault(line), expected);
        }
    }
}
