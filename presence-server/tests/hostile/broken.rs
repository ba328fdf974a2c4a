//! Requests that break off, run on, or have a byte wrong.

use presence_server::serve::Limits;

use crate::{
    client::{Answer, post},
    server::Server,
};

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_value_costs_its_own_request_and_a_bad_head_all_that_follow() {
    let server = Server::start(Limits::default()).await;
    let good = |user: &str| post(&format!("/users/{user}/checkpoints"), r#"{"state":"Working"}"#);
    let value = post("/users/mallory/checkpoints", r#"{"state":""}"#);
    let head = b"POST /users/mallory/checkpoints HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec();
    let longer = [good("first"), b"surplus\r\n\r\n".to_vec()].concat();
    for (requests, expected) in [
        ([good("a1"), value, good("a2"), head.clone()].concat(), &[201, 400, 201, 400][..]),
        ([good("b1"), head, good("never1")].concat(), &[201, 400]),
        ([longer, good("never2")].concat(), &[201, 400]),
    ] {
        let mut client = server.connect().await;
        client.send(&requests).await;
        assert_eq!(statuses(&client.reader.answers().await), expected);
    }
    let (_folder, file) = server.end().await;
    let users = "SELECT group_concat(user_id, ' ') FROM (SELECT user_id FROM checkpoints ORDER BY user_id)";
    let users: String = file.query_row(users, [], |row| row.get(0)).expect("a name");
    assert_eq!(users, "a1 a2 b1 first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_breaks_off_anywhere_is_written_whole_or_not_at_all() {
    let server = Server::start(Limits::default()).await;
    let json = r#"{"state":"Working","content":7,"event_id":"e-1"}"#;
    let plain = |user: &str| post(&format!("/users/{user}/checkpoints"), json);
    let chunked = |user: &str| {
        let head = format!(
            "POST /users/{user}/checkpoints HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        );
        let (front, back) = json.split_at(20);
        let chunks = format!("{:x}\r\n{front}\r\n{:x}\r\n{back}\r\n0\r\n\r\n", front.len(), back.len());
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes()
    };
    let (mut refused, mut left, mut kept) = (0, Vec::new(), Vec::new());
    for (kind, request) in [("plain", &plain as &dyn Fn(&str) -> Vec<u8>), ("chunked", &chunked)] {
        let length = request(&format!("u-{kind}-000-l")).len();
        for sent in 1..length {
            // One client closes its own side and listens, and one is gone.
            let mut client = server.connect().await;
            client.send(&request(&format!("u-{kind}-{sent:03}-l"))[..sent]).await;
            client.finish().await;
            let answers = client.reader.answers().await;
            assert_eq!(statuses(&answers), [400], "{kind} {sent}: {answers:?}");
            answers[0].problem().expect("a problem");
            refused += 1;
            server.connect().await.send(&request(&format!("u-{kind}-{sent:03}-g"))[..sent]).await;
        }
        for number in 0..50 {
            left.push(format!("u-{kind}-left-{number}"));
            server.connect().await.send(&request(&left[left.len() - 1])).await;
            kept.push(format!("u-{kind}-kept-{number}"));
            let mut client = server.connect().await;
            client.send(&request(&kept[kept.len() - 1])).await;
            assert_eq!(client.reader.answer().await.status, 201);
        }
    }
    server.assert_alive().await;
    let (_folder, file) = server.end().await;
    let count = |table: &str, user: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table} WHERE user_id = ?1");
        file.query_row(&sql, [user], |row| row.get(0)).expect("a count")
    };
    let mut written = 0;
    for user in kept.iter().chain(&left) {
        let counts = ["checkpoints", "user_sessions", "requests"].map(|table| count(table, user));
        let may_miss = left.contains(user);
        assert!(counts == [1; 3] || (may_miss && counts == [0; 3]), "{user}: {counts:?}");
        written += counts[0];
    }
    for table in ["checkpoints", "user_sessions", "requests"] {
        let sql = format!("SELECT count(*) FROM {table} WHERE user_id LIKE 'u-%'");
        let rows: i64 = file.query_row(&sql, [], |row| row.get(0)).expect("a count");
        assert_eq!(rows, written, "rows of requests that broke off in {table}");
    }
    let left_written = written - kept.len() as i64;
    println!("{refused} told of the end; {left_written} of {} reports written whose client left", left.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_byte_is_wrong_the_answer_is_one_of_ours() {
    let server = Server::start(Limits::default()).await;
    let good = post(
        "/users/al%20ice/checkpoints?x=%41",
        r#"{"state":"Idle","timestamp":7,"content":{"a":[1,"b"]}}"#,
    );
    let hostile = b"\0\n\r \t:;,%{}[]\"\\/?#0-Z\x7f\x80\xc0\xff";
    let mut mutants = Vec::new();
    for place in 0..good.len() {
        for &byte in hostile {
            let mut mutant = good.clone();
            mutant[place] = byte;
            mutants.push(mutant);
        }
        let (front, back) = good.split_at(place);
        mutants.push([front, &back[1..]].concat());
        mutants.push([front, &back[..1], back].concat());
        mutants.push([front, b"\r\n", back].concat());
    }
    // What follows is longer than any body that a mutant may wait for, and ends the connection.
    let pad = "x".repeat(9_999);
    let last = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {pad}\r\nConnection: close\r\n\r\n");
    let (mut taken, mut refused) = (0, 0);
    for mutant in &mutants {
        let shown = String::from_utf8_lossy(mutant);
        let mut client = server.connect().await;
        client.send(&[mutant, last.as_bytes()].concat()).await;
        let answers = client.reader.answers().await;
        assert!(!answers.is_empty(), "no answer to {shown:?}");
        for answer in answers {
            if answer.status < 300 {
                taken += 1;
            } else {
                answer.problem().unwrap_or_else(|fault| panic!("{fault} for {shown:?}"));
                refused += 1;
            }
        }
    }
    server.assert_alive().await;
    println!("{} mutants: {taken} taken, {refused} refused", mutants.len());
    assert!(taken > 0 && refused > mutants.len() / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_byte_by_byte_is_taken() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    for byte in post("/users/alice/checkpoints", r#"{"state":"Working"}"#) {
        client.send(&[byte]).await;
    }
    assert_eq!(client.reader.answer().await.status, 201);
}
