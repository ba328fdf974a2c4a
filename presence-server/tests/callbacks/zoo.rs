//! Receivers of every kind: what becomes of a delivery, and that every attempt is the same delivery.

use std::time::Duration;

use presence_server::callbacks::Outcome;

use crate::receiver::{Receiver, SECRET, Step, Step::*, answer, answer_with, delivery, now, text};

/// How an outcome reads: `delivered`, `gone`, `refused: answered 400`, `retry in 7 s: answered 503`.
fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered => "delivered".to_owned(),
        Outcome::Gone => "gone".to_owned(),
        Outcome::Refused { reason, .. } => format!("refused: {reason}"),
        Outcome::Retry { after, reason, .. } => format!("retry in {} s: {reason}", after.as_secs()),
        other => format!("{other:?}"),
    }
}

/// Whether time moves by itself while nothing else happens, from [`Step::Signal`] on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Time {
    Real,
    Leaps,
}

struct Animal {
    name: &'static str,
    does: Vec<Step>,
    scheme: &'static str,
    time: Time,
    outcome: &'static str,
}

fn animal(name: &'static str, outcome: &'static str, does: Vec<Step>) -> Animal {
    Animal { name, does, scheme: "http", time: Time::Real, outcome }
}

fn slow(name: &'static str, outcome: &'static str, does: Vec<Step>) -> Animal {
    Animal { time: Time::Leaps, ..animal(name, outcome, does) }
}

fn with_tls(name: &'static str, outcome: &'static str, does: Vec<Step>) -> Animal {
    Animal { scheme: "https", ..animal(name, outcome, does) }
}

fn animals() -> Vec<Animal> {
    let status = |line: &str| vec![Read, answer(line, "canary of the answer")];
    let late = "retry in 0 s: did not answer in time";
    let broken = "retry in 0 s: broke the connection or sent no answer";
    let unreachable = "retry in 0 s: cannot be reached";
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n", "x".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(500));
    let drip = b"HTTP/1.1 200 OK\r\nX-Slow: canary\r\n".repeat(100);
    vec![
        // Answers.
        animal("200", "delivered", status("200 OK")),
        animal("201 and nothing", "delivered", vec![Read, answer("201 Created", "")]),
        animal(
            "202 in chunks",
            "delivered",
            vec![
                Read,
                text("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nokay\r\n0\r\n\r\n"),
            ],
        ),
        animal("204", "delivered", vec![Read, text("HTTP/1.1 204 No Content\r\n\r\n")]),
        animal(
            "200 with a page",
            "delivered",
            vec![Read, answer_with("200 OK", "Content-Type: text/html\r\n", "<html>canary</html>")],
        ),
        animal("200 of HTTP/1.0", "delivered", vec![Read, text("HTTP/1.0 200 OK\r\n\r\nokay"), Close]),
        animal(
            "103, and then 200",
            "delivered",
            vec![Read, text("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), answer("200 OK", "{}")],
        ),
        animal(
            "301",
            "refused: answered 301",
            vec![Read, answer_with("301 Moved Permanently", "Location: https://hooks.example/\r\n", "")],
        ),
        animal("304", "refused: answered 304", vec![Read, text("HTTP/1.1 304 Not Modified\r\n\r\n")]),
        animal("400", "refused: answered 400", status("400 Bad Request")),
        animal("401", "refused: answered 401", status("401 Unauthorized")),
        animal("404", "refused: answered 404", status("404 Not Found")),
        animal("408", "retry in 0 s: answered 408", status("408 Request Timeout")),
        animal("410", "gone", status("410 Gone")),
        animal("413", "refused: answered 413", status("413 Content Too Large")),
        animal(
            "413 before it has read the body",
            "refused: answered 413",
            vec![ReadHead, answer("413 Content Too Large", ""), Hang],
        ),
        animal("425", "retry in 0 s: answered 425", status("425 Too Early")),
        animal(
            "429 with seconds",
            "retry in 120 s: answered 429",
            vec![Read, answer_with("429 Too Many Requests", "Retry-After: 120\r\n", "")],
        ),
        animal(
            "429 for ever",
            "retry in 3600 s: answered 429",
            vec![Read, answer_with("429 Too Many Requests", "Retry-After: 86400\r\n", "")],
        ),
        animal("500", "retry in 0 s: answered 500", status("500 Internal Server Error")),
        animal(
            "503 with a date",
            "retry in 3600 s: answered 503",
            vec![
                Read,
                answer_with("503 Service Unavailable", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", ""),
            ],
        ),
        animal(
            "503 with nonsense",
            "retry in 0 s: answered 503",
            vec![Read, answer_with("503 Service Unavailable", "Retry-After: canary\r\n", "")],
        ),
        animal("799", "refused: answered 799", status("799 Whatever")),
        // Bodies.
        animal(
            "200 without an end",
            "delivered",
            vec![Read, text("HTTP/1.1 200 OK\r\n\r\n"), Endless, Signal],
        ),
        animal(
            "500 without an end",
            "retry in 0 s: answered 500",
            vec![Read, text("HTTP/1.1 500 Oh\r\n\r\n"), Endless, Signal],
        ),
        animal(
            "200 with less than it says",
            "delivered",
            vec![Read, text("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"), Close],
        ),
        animal(
            "200 with more than it says",
            "delivered",
            vec![Read, text("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nHTTP/1.1 500 Oh\r\n\r\n")],
        ),
        slow(
            "200 drop by drop",
            "delivered",
            vec![Read, text("HTTP/1.1 200 OK\r\n\r\n"), Signal, Drip(drip.clone())],
        ),
        slow(
            "200 and no body",
            "delivered",
            vec![Read, text("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"), Signal, Hang],
        ),
        // Silence.
        slow("never answers", late, vec![Read, Signal, Hang]),
        slow("never reads", late, vec![Signal, Hang]),
        slow("a head drop by drop", late, vec![Read, Signal, Drip(drip)]),
        slow("100 for ever", late, vec![Read, Signal, Drip(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(200))]),
        // What is no answer.
        animal("closes", broken, vec![Read, Close]),
        animal("resets before it has read", broken, vec![Reset]),
        animal("resets when it has taken it", broken, vec![Read, Reset]),
        animal("half a head", broken, vec![Read, text("HTTP/1.1 20"), Close]),
        animal("half a head, and a reset", broken, vec![Read, text("HTTP/1.1 200 OK\r\nX: "), Reset]),
        animal("speaks another protocol", broken, vec![Read, text("SSH-2.0-canary\r\n"), Hang]),
        animal("a huge header", broken, vec![Read, text(&huge), Hang]),
        animal("500 headers", broken, vec![Read, text(&many), Hang]),
        // TLS.
        with_tls("garbage", unreachable, vec![text("canary canary canary canary"), Hang]),
        with_tls("an answer in the clear", unreachable, vec![answer("200 OK", "{}"), Hang]),
        with_tls("an alert", unreachable, vec![Write(vec![21, 3, 3, 0, 2, 2, 40]), Hang]),
        with_tls("closes", unreachable, vec![Close]),
        with_tls("resets", unreachable, vec![Reset]),
        Animal { time: Time::Leaps, ..with_tls("silence", late, vec![Signal, Hang]) },
    ]
}

#[tokio::test]
async fn every_receiver_gets_the_same_delivery_on_every_attempt_and_is_understood() {
    for (index, animal) in animals().into_iter().enumerate() {
        let Animal { name, does, scheme, time, outcome } = animal;
        let name = &format!("{scheme}: {name}");
        let is_endless = does.iter().any(|step| matches!(step, Endless));
        let is_read = does.iter().any(|step| matches!(step, Read));
        let receiver = Receiver::start(vec![does]).await;
        let endpoint = receiver.endpoint(scheme, Duration::from_secs(30));
        let delivery = delivery(&format!("delivery-{index}"));

        let post = endpoint.post(&delivery, now);
        let first = match time {
            Time::Real => post.await,
            Time::Leaps => {
                let leap = async {
                    receiver.signal(1).await;
                    tokio::time::pause();
                };
                let first = tokio::join!(post, leap).0;
                tokio::time::resume();
                first
            }
        };
        assert_eq!(said(&first), outcome, "{name}");
        if is_endless {
            receiver.signal(1).await;
            assert!(!receiver.is_swallowed(), "{name}");
        }
        // What may be accepted later is accepted on the next attempt.
        let is_tried_again = matches!(first, Outcome::Retry { .. }) && scheme == "http";
        if is_tried_again {
            assert_eq!(endpoint.post(&delivery, now).await, Outcome::Delivered, "{name}");
        }
        let seen = receiver.seen();
        assert_eq!(seen.len(), usize::from(is_read) + usize::from(is_tried_again), "{name}");
        for request in seen {
            assert_eq!(request.line, "POST /hook?token=canary HTTP/1.1", "{name}");
            assert_eq!(request.header("webhook-id"), Some(delivery.id.as_str()), "{name}");
            assert_eq!(request.header("content-type"), Some("application/json"), "{name}");
            assert_eq!(request.body, delivery.body, "{name}");
            assert!(request.is_signed_with(SECRET), "{name}: {request:?}");
        }
        assert!(!format!("{first:?} {endpoint:?}").contains("canary"), "{name}");
    }
}
