//! What an endpoint does beside understanding its receiver.

use std::{env, process::Command, sync::Arc, time::Duration};

use futures_util::future::join_all;
use presence_core::Timestamp;
use presence_server::callbacks::{CallbackPolicy, Outcome, Reason};
use tokio::{net::TcpListener, time::Instant};

use crate::receiver::{
    Receiver, SECRET, Step::*, answer, answer_with, delivery, endpoint, now, policy, text,
};

/// A secret that follows [`SECRET`].
const NEXT: &str = "whsec_K7pWx2eRt9yUi4oPa6sDf8gHj1kLz3xCQmN5vB0=";
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_delivery_reaches_its_receiver() {
    let receiver = Receiver::start(Vec::new()).await;
    let endpoint = receiver.endpoint("http", PATIENCE);
    assert_eq!(endpoint.post(&delivery("one"), now).await, Outcome::Delivered);
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen.iter().all(|request| request.is_signed_with(SECRET)));
    let agent = format!("presence-server/{}", env!("CARGO_PKG_VERSION"));
    assert!(seen.iter().all(|request| request.header("user-agent") == Some(&agent)));
}

#[tokio::test]
async fn a_delivery_has_an_id_and_a_date_though_it_is_not_signed() {
    let receiver = Receiver::start(Vec::new()).await;
    let unsigned = CallbackPolicy { secrets: None, ..policy() };
    let endpoint = endpoint(&format!("http://{}/", receiver.address), &unsigned);
    let at = || Timestamp::from_millis(1_790_000_000_999).unwrap();
    assert_eq!(endpoint.post(&delivery("one"), at).await, Outcome::Delivered);
    let [request] = &receiver.seen()[..] else { panic!("one request") };
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| request.header(name));
    assert_eq!(headers, [Some("one"), Some("1790000000"), None]);
}

#[tokio::test]
async fn while_a_secret_changes_receivers_with_either_are_content() {
    let receiver = Receiver::start(Vec::new()).await;
    let both = CallbackPolicy { secrets: format!("{NEXT},{SECRET}").parse().ok(), ..policy() };
    let endpoint = endpoint(&format!("http://{}/", receiver.address), &both);
    assert_eq!(endpoint.post(&delivery("one"), now).await, Outcome::Delivered);
    let [request] = &receiver.seen()[..] else { panic!("one request") };
    assert!(request.is_signed_with(SECRET) && request.is_signed_with(NEXT));
    assert!(!request.is_signed_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let signatures = request.header("webhook-signature").map(|value| value.split(' ').count());
    assert_eq!(signatures, Some(2));
}

#[tokio::test]
async fn a_connection_is_used_again_unless_its_receiver_closes_it() {
    let receiver = Receiver::start(Vec::new()).await;
    let endpoint = receiver.endpoint("http", PATIENCE);
    for index in 0..10 {
        assert_eq!(endpoint.post(&delivery(&format!("d-{index}")), now).await, Outcome::Delivered);
        // Until the connection is back, which a task of its own brings.
        tokio::task::yield_now().await;
    }
    assert!(receiver.connections() < 10, "{}", receiver.connections());

    let closing = vec![Read, answer("200 OK", "{}"), Signal, Close];
    let receiver = Receiver::start(vec![closing; 50]).await;
    let endpoint = receiver.endpoint("http", PATIENCE);
    for index in 0..50 {
        assert_eq!(endpoint.post(&delivery(&format!("d-{index}")), now).await, Outcome::Delivered);
        receiver.signal(index + 1).await;
    }
    assert_eq!(receiver.seen().len(), 50);
}

#[tokio::test]
async fn four_deliveries_are_under_way_at_once_and_the_others_wait() {
    let waiting = vec![Read, Signal, Hang];
    let receiver = Receiver::start(vec![waiting; 12]).await;
    let endpoint = receiver.endpoint("http", PATIENCE);
    let deliveries: Vec<_> = (0..12).map(|index| delivery(&format!("d-{index}"))).collect();
    let all = join_all(deliveries.iter().map(|delivery| endpoint.post(delivery, now)));
    let looks = async {
        for under_way in [4, 8, 12] {
            receiver.signal(under_way).await;
            // Nothing happens until the first four have run out of time.
            tokio::time::pause();
            assert_eq!(receiver.seen().len(), under_way);
            assert_eq!(receiver.connections(), under_way);
            tokio::time::advance(Duration::from_secs(15)).await;
            tokio::time::resume();
        }
    };
    let (outcomes, ()) = tokio::join!(all, looks);
    for outcome in outcomes {
        assert!(matches!(outcome, Outcome::Retry { reason: Reason::Timeout, .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_delivery_is_dated_when_its_turn_has_come() {
    let receiver = Receiver::start(vec![vec![Read, Signal, Hang]; 4]).await;
    let endpoint = receiver.endpoint("http", PATIENCE);
    let deliveries: Vec<_> = (0..5).map(|index| delivery(&format!("d-{index}"))).collect();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let dated = || {
        asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        now()
    };
    let all = join_all(deliveries.iter().map(|delivery| endpoint.post(delivery, dated)));
    let looks = async {
        receiver.signal(4).await;
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 4);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(15)).await;
        tokio::time::resume();
    };
    let (outcomes, ()) = tokio::join!(all, looks);
    assert_eq!(outcomes.last(), Some(&Outcome::Delivered));
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_silent_receiver_is_given_up_after_fifteen_seconds_or_sooner() {
    let head = text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    for (patience, does, expected, outcome) in [
        (30, vec![Read, Signal, Hang], 15, "Timeout"),
        (3600, vec![Read, Signal, Hang], 15, "Timeout"),
        (7, vec![Read, Signal, Hang], 7, "Timeout"),
        // The head has come: only the body is waited for.
        (30, vec![Read, head.clone(), Signal, Hang], 30, "Delivered"),
        (7, vec![Read, head, Signal, Hang], 7, "Delivered"),
    ] {
        let receiver = Receiver::start(vec![does]).await;
        let endpoint = receiver.endpoint("http", Duration::from_secs(patience));
        let begun = Instant::now();
        let delivery = delivery("one");
        let leap = async {
            receiver.signal(1).await;
            tokio::time::pause();
        };
        let got = tokio::join!(endpoint.post(&delivery, now), leap).0;
        let took = begun.elapsed();
        tokio::time::resume();
        assert!(format!("{got:?}").contains(outcome), "{got:?}");
        // Before time leapt, a little of it passed.
        let expected = Duration::from_secs(expected);
        assert!(took >= expected && took < expected * 2, "{patience}: {took:?}");
    }
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let canary = Receiver::start(Vec::new()).await;
    for status in
        ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let lines = format!("Location: http://{}/canary\r\n", canary.address);
        let receiver = Receiver::start(vec![vec![Read, answer_with(status, &lines, "")]]).await;
        let endpoint = receiver.endpoint("http", PATIENCE);
        let outcome = endpoint.post(&delivery("one"), now).await;
        assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
        assert_eq!(receiver.seen().len(), 1);
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn where_nobody_listens_a_delivery_is_tried_again_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for scheme in ["http", "https"] {
        let endpoint = endpoint(&format!("{scheme}://{address}/"), &policy());
        let outcome = endpoint.post(&delivery("one"), now).await;
        assert!(matches!(outcome, Outcome::Retry { reason: Reason::Unreachable, .. }), "{outcome:?}");
    }
}

/// A test cannot change its own environment: it starts itself again with another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_the_environment_names_gets_nothing() {
    let canary = Receiver::start(Vec::new()).await;
    let proxy = format!("http://{}", canary.address);
    let run = move || {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "stories::a_delivery_reaches_its_receiver"]);
        for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
            command.env_remove(name);
        }
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env(name, &proxy);
        }
        command.output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    assert_eq!(canary.connections(), 0);
}

#[test]
fn an_endpoint_is_shared_by_those_who_deliver() {
    fn is_shared<T: Send + Sync + 'static>(_: &Arc<T>) {}
    is_shared(&Arc::new(endpoint("http://127.0.0.1:1/", &policy())));
}
