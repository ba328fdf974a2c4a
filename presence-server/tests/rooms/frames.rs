//! Frames as no client should send them: each costs its own connection at most, and no neighbour a word.

use crate::{
    client::{Client, Heard, frame},
    world::World,
};

/// Some bytes, and with what code the connection is closed; `None` where it goes on.
type Case = (String, Vec<u8>, Option<u16>);

/// A frame whose head is written by hand.
fn raw(head: &[u8], payload: &[u8]) -> Vec<u8> {
    [head, payload].concat()
}

fn table() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut case = |name: &str, bytes: Vec<u8>, code: Option<u16>| cases.push((name.to_owned(), bytes, code));
    let text = br#"{"type":"Ping"}"#;
    // What a client has to do, and did not.
    for opcode in [0x81, 0x82, 0x88, 0x89, 0x8a] {
        case(&format!("{opcode:#x}, not masked"), raw(&[opcode, 4], b"{\"a\""), Some(1002));
    }
    // Bits that nobody has given a meaning.
    for bits in 1..8_u8 {
        let first = 0x81 | bits << 4;
        case(&format!("reserved bits {bits:03b}"), frame(first, text), Some(1002));
    }
    for opcode in (3..8).chain(11..16) {
        case(&format!("opcode {opcode}"), frame(0x80 | opcode, b""), Some(1002));
        case(&format!("opcode {opcode}, with something in it"), frame(0x80 | opcode, b"abc"), Some(1002));
        case(&format!("opcode {opcode}, in parts"), frame(opcode, b"abc"), Some(1002));
    }
    // Control frames are whole and short.
    for opcode in [8, 9, 10] {
        case(&format!("a control frame {opcode} in parts"), frame(opcode, b""), Some(1002));
        for length in [126, 127, 200, 1000, 65_536] {
            case(
                &format!("a control frame {opcode} of {length} bytes"),
                frame(0x80 | opcode, &vec![b'x'; length]),
                Some(1002),
            );
        }
    }
    // Parts of messages.
    case("a part of nothing", frame(0x80, b"abc"), Some(1002));
    case("a part of nothing, and more to come", frame(0x00, b"abc"), Some(1002));
    case("a message inside a message", [frame(0x01, b"{"), frame(0x81, b"}")].concat(), Some(1002));
    case("a message in parts", [frame(0x01, &text[..5]), frame(0x80, &text[5..])].concat(), None);
    case(
        "a ping between the parts of a message",
        [frame(0x01, &text[..5]), frame(0x89, b"now"), frame(0x80, &text[5..])].concat(),
        None,
    );
    case("empty parts", [frame(0x01, b""), frame(0x00, b""), frame(0x80, text)].concat(), None);
    let crumbs =
        |parts: usize| [frame(0x01, b""), frame(0x00, b"x").repeat(parts - 2), frame(0x80, b"")].concat();
    case("a message of 64 crumbs", crumbs(64), None);
    case("two messages of 64 crumbs", crumbs(64).repeat(2), None);
    case("a message of 65 crumbs", crumbs(65), Some(1009));
    case("a message of 2,000 crumbs", crumbs(2_000), Some(1009));
    case(
        "parts of nothing, without an end",
        [frame(0x01, b""), frame(0x00, b"").repeat(50_000)].concat(),
        Some(1009),
    );
    // Text is UTF-8, also where it is cut.
    for (name, bytes) in [
        ("a lone continuation", &b"\x80"[..]),
        ("a lone start", b"\xc3"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong NUL", b"\xe0\x80\x80"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("beyond Unicode", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("what is no start", b"\xff"),
        ("text, and then not", b"{\"type\":\"\xfe"),
    ] {
        case(&format!("text with {name}"), frame(0x81, bytes), Some(1007));
        let (start, end) = bytes.split_at(bytes.len() / 2);
        case(
            &format!("text with {name}, cut in two"),
            [frame(0x01, start), frame(0x80, end)].concat(),
            Some(1007),
        );
    }
    let snowman = "{\"type\":\"☃\"}".as_bytes();
    for cut in 9..12 {
        let parts = [frame(0x01, &snowman[..cut]), frame(0x80, &snowman[cut..])].concat();
        case(&format!("a character that is cut after {cut} bytes"), parts, None);
    }
    // Lengths.
    let huge = |length: u64| raw(&[0x81, 0xff], &[length.to_be_bytes().as_slice(), &[0; 4]].concat());
    for (name, length) in [
        ("of 81 KiB", 81 * 1024),
        ("of a mebibyte", 1 << 20),
        ("of 4 GiB", 1 << 32),
        ("of 2^62 bytes", 1 << 62),
        ("of 2^63 bytes", 1 << 63),
        ("of all bytes there are", u64::MAX),
    ] {
        case(&format!("a frame {name}"), huge(length), Some(1009));
    }
    let parts: Vec<u8> = std::iter::repeat_n(frame(0x00, &[b'x'; 8 * 1024]), 12).flatten().collect();
    case("a message of 96 KiB in parts", [frame(0x01, b""), parts].concat(), Some(1009));
    case("more than a member may say", frame(0x81, &[b'x'; 17 * 1024]), Some(1009));
    // Lengths that are written longer than they have to be: nothing is hidden behind them.
    let long = |head: &[u8]| raw(head, &[&[0; 4], &text[..]].concat());
    case("a short length in two bytes", long(&[0x81, 0x80 | 126, 0, text.len() as u8]), None);
    case(
        "a short length in eight bytes",
        long(&[0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, text.len() as u8]),
        None,
    );
    // Closes. The code comes back where it is one.
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        case(&format!("a close of {code}"), frame(0x88, &code.to_be_bytes()), Some(code));
    }
    for code in [0_u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        case(
            &format!("a close of {code}, which nobody may send"),
            frame(0x88, &code.to_be_bytes()),
            Some(1002),
        );
    }
    case("a close without a code", frame(0x88, b""), Some(1005));
    case("a close with half a code", frame(0x88, b"\x03"), Some(1002));
    case("a close with a reason that is no text", frame(0x88, b"\x03\xe8\xff\xfe"), Some(1007));
    case(
        "a close with a long reason",
        frame(0x88, &[b"\x03\xe8".as_slice(), &[b'x'; 123]].concat()),
        Some(1000),
    );
    case(
        "words behind a close",
        [frame(0x88, &1000_u16.to_be_bytes()), frame(0x81, text)].concat(),
        Some(1000),
    );
    // Not what rooms speak.
    case("bytes", frame(0x82, b"abc"), Some(1003));
    case("no bytes at all", frame(0x82, b""), Some(1003));
    for (name, said) in [
        ("nothing", ""),
        ("no JSON", "hello"),
        ("null", "null"),
        ("a number", "1e400"),
        ("an array", "[]"),
        ("half an object", "{\"type\":"),
        ("an unknown type", r#"{"type":"Dance"}"#),
        ("what only the server says", r#"{"type":"UserJoined","payload":{"user_id":"x","nickname":"x"}}"#),
        ("a message of another's", r#"{"type":"Message","payload":{"from":"root","content":"x"}}"#),
        ("a surrogate in JSON", r#"{"type":"SendMessage","payload":{"content":"\ud800"}}"#),
        ("NUL in JSON", r#"{"type":"SendMessage","payload":{"content":"\u0000"}}"#),
        ("an empty message", r#"{"type":"SendMessage","payload":{"content":""}}"#),
        ("a message that is a number", r#"{"type":"SendMessage","payload":{"content":7}}"#),
        ("two types", r#"{"type":"Ping","type":"SendMessage"}"#),
        ("an order that is not for members", r#"{"type":"KickUser","payload":{"user_id":"neighbour"}}"#),
    ] {
        case(&format!("text with {name}"), frame(0x81, said.as_bytes()), None);
    }
    let nested = format!("{{\"type\":\"CustomEvent\",\"payload\":{}", "[".repeat(10_000));
    case("JSON without a bottom", frame(0x81, nested.as_bytes()), None);
    let pings: Vec<u8> = std::iter::repeat_n(frame(0x89, b"ping"), 5_000).flatten().collect();
    case("5,000 pings at once", pings, None);
    let pongs: Vec<u8> = std::iter::repeat_n(frame(0x8a, b""), 5_000).flatten().collect();
    case("5,000 pongs that nobody asked for", pongs, None);
    let asks: Vec<u8> = std::iter::repeat_n(frame(0x81, text), 1_000).flatten().collect();
    case("1,000 pings of rooms at once", asks, None);
    cases
}

#[tokio::test]
async fn a_frame_that_is_none_costs_its_own_connection_at_most() {
    let cases = table();
    assert!(cases.len() >= 120, "{}", cases.len());
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut neighbour = Client::join(world.address, &room, "neighbour").await;
    for (number, (name, bytes, code)) in cases.iter().enumerate() {
        let user = format!("user-{number}");
        let mut client = Client::join(world.address, &room, &user).await;
        client.until(r#""type":"RoomStats""#).await;
        client.send(bytes).await;
        if code.is_none() {
            // It is still there, and understood.
            client.say(&format!(r#"{{"type":"Ping","payload":{{"timestamp":{number}}}}}"#)).await;
            let mut heard = String::new();
            while heard != format!(r#"{{"type":"Pong","payload":{{"timestamp":{number}}}}}"#) {
                match client.hear().await {
                    Heard::Text(text) => heard = text,
                    Heard::Pong(_) | Heard::Ping => {}
                    other => panic!("{name}: {other:?}"),
                }
            }
        } else {
            assert_eq!(client.rest().await.1, *code, "{name}");
        }
        drop(client);
        neighbour.until(&format!(r#""type":"UserLeft","payload":{{"user_id":"{user}""#)).await;
    }
    neighbour.say(r#"{"type":"SendMessage","payload":{"content":"all well"}}"#).await;
    neighbour.until("all well").await;
}

#[tokio::test]
async fn frames_that_come_byte_by_byte_are_the_same_frames() {
    let world = World::start(World::quick());
    let room = world.room(&[]).await;
    let mut alice = Client::join(world.address, &room, "alice").await;
    alice.until(r#""current_users":1"#).await;
    let text = "{\"type\":\"SendMessage\",\"payload\":{\"content\":\"☃\"}}".as_bytes();
    let cut = text.len() - 5; // inside the snowman
    for byte in [frame(0x01, &text[..cut]), frame(0x89, b"now"), frame(0x80, &text[cut..])].concat() {
        alice.send(&[byte]).await;
    }
    assert_eq!(alice.hear().await, Heard::Pong(b"now".to_vec()));
    alice.until("☃").await;
    for byte in frame(0x88, &1000_u16.to_be_bytes()) {
        alice.send(&[byte]).await;
    }
    assert_eq!(alice.rest().await.1, Some(1000));
}
