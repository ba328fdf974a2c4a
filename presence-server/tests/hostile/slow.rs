//! Clients that take their time: closed by their deadlines, and in nobody's way.

use std::time::Duration;

use presence_server::serve::Limits;
use tokio::{io::AsyncWriteExt, sync::watch, task::JoinSet, time::Instant};

use crate::{client::Client, server::Server};

/// The limits that the test waits for; all others are the real ones.
const HEAD: Duration = Duration::from_millis(300);
const BODY: Duration = Duration::from_millis(600);
const EACH: usize = 30;

/// A client that takes its time.
struct Slow {
    first: &'static str,
    /// What it sends byte by byte from then on, over and over.
    then: &'static [u8],
    /// The code that it is told at the end.
    told: Option<&'static str>,
    limit: Duration,
}

const SLOW: [Slow; 5] = [
    Slow { first: "", then: b"", told: None, limit: HEAD },
    Slow { first: "GET /livez HTT", then: b"", told: Some("HEAD_TIMED_OUT"), limit: HEAD },
    // Empty lines begin nothing.
    Slow { first: "\r\n", then: b"\r\n", told: None, limit: HEAD },
    Slow {
        first: "GET /livez HTTP/1.1\r\nHost: a\r\nX: ",
        then: b"x",
        told: Some("HEAD_TIMED_OUT"),
        limit: HEAD,
    },
    Slow {
        first: "POST /users/mallory/checkpoints HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Content-Length: 60000\r\n\r\n",
        then: b" ",
        told: Some("BODY_TIMED_OUT"),
        limit: BODY,
    },
];

impl Slow {
    /// Sends a byte whenever somebody else was served, until the server closes.
    async fn run(&self, mut client: Client, mut served: watch::Receiver<usize>) {
        let begun = Instant::now();
        client.send(self.first.as_bytes()).await;
        let Client { mut reader, mut writer } = client;
        let trickle = async {
            for byte in self.then.iter().cycle() {
                if served.changed().await.is_err() || writer.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let answers = tokio::select! {
            () = trickle => unreachable!("it waits"),
            answers = reader.answers() => answers,
        };
        let waited = begun.elapsed();
        assert!(waited >= self.limit / 2 && waited < self.limit * 50, "{waited:?} for {:?}", self.first);
        let told: Vec<_> = answers.iter().map(|answer| answer.problem().expect("a problem")).collect();
        assert_eq!(
            told.iter().map(String::as_str).collect::<Vec<_>>(),
            self.told.as_slice(),
            "{:?}",
            self.first
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_closed_by_their_deadlines_while_others_are_served() {
    let limits = Limits { header_timeout: HEAD, body_timeout: BODY, ..Limits::default() };
    let server = Server::start(limits).await;
    let before = server.kept().await;
    let (serve, served) = watch::channel(0);
    let mut slow = JoinSet::new();
    for kind in &SLOW {
        for _ in 0..EACH {
            slow.spawn(kind.run(server.connect().await, served.clone()));
        }
    }
    let mut client = server.connect().await;
    let mut count = 0;
    while !slow.is_empty() {
        assert_eq!(client.ask(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
        count += 1;
        serve.send(count).expect("somebody who listens");
        while let Some(ended) = slow.try_join_next() {
            ended.expect("closed as it should be");
        }
    }
    println!("{count} requests of another were served meanwhile");
    assert_eq!(server.kept().await, before);
}
