//! A thousand members, fifty of whom stop to read.

use std::net::SocketAddr;

use tokio::sync::mpsc;

use crate::{
    client::{Client, Heard},
    server::Server,
    world::manage,
};

const MEMBERS: usize = 1_000;
const STUCK: usize = 50;
/// So many messages of 8 KiB do not fit into a queue and the buffers of a socket that nobody reads.
const MESSAGES: usize = 100;
const MIB: u64 = 1 << 20;

async fn member(address: SocketAddr, room: &str, user: &str) -> Client {
    let mut client = Client::narrow(address, room, user).await;
    client.until("WelcomeInfo").await;
    client
}

#[tokio::test]
async fn who_does_not_read_is_closed_and_the_others_miss_nothing() {
    let server = Server::start(&[]);
    let body = r#"{"room_name":"Hall","admin_user_ids":["root"]}"#;
    let (status, made) = manage(server.address, "POST /management/rooms", body).await;
    assert_eq!(status, 200, "{made}");
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let room = made["room_id"].as_str().expect("an id").to_owned();
    let empty = server.resident();
    let mut root = Client::join(server.address, &room, "root").await;
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        members.push(member(server.address, &room, &format!("user-{number}")).await);
    }
    let idle = server.resident();
    println!("{} bytes of memory for an idle member", (idle - empty) / MEMBERS as u64);

    let stuck: Vec<_> = members.drain(..STUCK).collect();
    // Whoever reads is as fast as what is said.
    let (read, mut reads) = mpsc::unbounded_channel();
    let readers: Vec<_> = members
        .into_iter()
        .map(|mut member| {
            let read = read.clone();
            tokio::spawn(async move {
                let mut seen = 0;
                while seen < MESSAGES {
                    let text = member.text().await;
                    if text.contains(r#""type":"Message""#) {
                        seen += 1;
                        assert!(
                            text.contains(&format!(r#""seq":{seen},"#)),
                            "{seen}: {}",
                            &text[text.len() - 99..]
                        );
                        read.send(()).expect("the test goes on");
                    }
                    member.heard.clear();
                }
                member
            })
        })
        .collect();
    drop(read);
    let content = "x".repeat(8 * 1024);
    let say = serde_json::json!({ "type": "SendMessage", "payload": { "content": content } }).to_string();
    let mut most = 0;
    for number in 1..=MESSAGES {
        root.say(&say).await;
        root.until(&format!(r#""seq":{number},"#)).await;
        for _ in STUCK..MEMBERS {
            reads.recv().await.expect("a reader");
        }
        most = most.max(server.resident());
    }
    let mut kept = Vec::new();
    for reader in readers {
        kept.push(reader.await.expect("all messages, in order"));
    }
    for mut member in stuck {
        let (texts, code) = member.rest().await;
        assert!(texts.len() < MESSAGES, "it was not closed");
        assert!(matches!(code, None | Some(1013)), "{code:?}");
    }
    // It may have been told between two messages.
    let left = format!(r#""current_users":{},"peak_users":{}"#, MEMBERS + 1 - STUCK, MEMBERS + 1);
    if !root.heard.iter().any(|heard| matches!(heard, Heard::Text(text) if text.contains(&left))) {
        root.until(&left).await;
    }
    let after = server.resident();
    println!(
        "{} MiB more at most, {} MiB more in the end",
        (most - idle) / MIB,
        after.saturating_sub(idle) / MIB
    );
    assert!(most - idle < 64 * MIB);
    assert!(after.saturating_sub(idle) < 32 * MIB);
    drop(kept);
}
