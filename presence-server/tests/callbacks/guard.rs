//! Name servers that lie: what they say is looked at when it is dialled, and nothing else is dialled.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use presence_server::callbacks::{CallbackPolicy, Endpoint, Guard, Outcome, Reason};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::receiver::{Receiver, delivery, now, policy};

/// A name server that says another thing each time, and at the end the last one for ever.
#[derive(Debug)]
struct Liar {
    answers: Vec<Vec<SocketAddr>>,
    asked: Mutex<Vec<String>>,
}

impl Liar {
    fn new(answers: &[&[SocketAddr]]) -> Arc<Self> {
        Arc::new(Self {
            answers: answers.iter().map(|answer| answer.to_vec()).collect(),
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics").clone()
    }
}

impl Resolve for Liar {
    fn resolve(&self, name: Name) -> Resolving {
        let mut asked = self.asked.lock().expect("nobody panics");
        let answer = self.answers.get(asked.len()).or(self.answers.last()).cloned().unwrap_or_default();
        asked.push(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(answer.into_iter()) as Addrs) })
    }
}

fn endpoint(url: &str, policy: &CallbackPolicy, dns: &Arc<Liar>) -> Endpoint {
    let url = url.parse().expect("a URL");
    assert_eq!(policy.guard.check(&url), Ok(()));
    Endpoint::new(&url, policy, dns.clone()).expect("a client")
}

fn is_blocked(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Retry { reason: Reason::Blocked, .. })
}

/// The canary's port at other addresses that lead to this machine, or nowhere.
fn elsewhere(canary: SocketAddr) -> Vec<SocketAddr> {
    ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "0.0.0.0", "::", "169.254.169.254"]
        .iter()
        .map(|address| SocketAddr::new(address.parse().expect("an address"), canary.port()))
        .collect()
}

#[tokio::test]
async fn a_name_that_leads_into_this_machine_is_not_dialled() {
    let canary = Receiver::start(Vec::new()).await;
    let public = CallbackPolicy { guard: Guard::default(), ..policy() };
    // First one by one, then all at once.
    let one_by_one = elsewhere(canary.address);
    let mut answers: Vec<&[SocketAddr]> = one_by_one.chunks(1).collect();
    answers.push(&one_by_one);
    let dns = Liar::new(&answers);
    // No port is said: the one of the address counts.
    let guarded = endpoint("https://rebind.example/", &public, &dns);
    for round in 1..=answers.len() + 1 {
        assert!(is_blocked(guarded.post(&delivery("one"), now).await), "{round}");
        // Asked once for each attempt: nothing resolves again between the look and the call.
        assert_eq!(dns.asked(), vec!["rebind.example"; round]);
    }
    assert_eq!(canary.connections(), 0);

    // The canary would have heard: TLS with it fails, but it is dialled.
    let dns = Liar::new(&[&one_by_one[..1]]);
    let open = endpoint("https://rebind.example/", &policy(), &dns);
    canary_hears(&canary, open.post(&delivery("one"), now)).await;
}

async fn canary_hears(canary: &Receiver, post: impl Future<Output = Outcome>) {
    let before = canary.connections();
    tokio::select! {
        outcome = post => assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}"),
        () = canary.connected(before + 1) => {}
    }
    canary.connected(before + 1).await;
}

#[tokio::test]
async fn a_name_that_changes_its_mind_between_attempts_is_looked_at_on_each() {
    let receiver = Receiver::start(vec![closing(), closing()]).await;
    let here = [receiver.address];
    let metadata = [SocketAddr::new("169.254.169.254".parse().unwrap(), receiver.address.port())];
    let both = [metadata[0], here[0]];
    let dns = Liar::new(&[&here, &metadata, &both, &[]]);
    let endpoint = endpoint(&format!("http://rebind.example:{}/", receiver.address.port()), &policy(), &dns);
    assert_eq!(endpoint.post(&delivery("one"), now).await, Outcome::Delivered);
    receiver.signal(1).await;
    assert!(is_blocked(endpoint.post(&delivery("two"), now).await));
    // Of several addresses those count that may be dialled.
    assert_eq!(endpoint.post(&delivery("two"), now).await, Outcome::Delivered);
    receiver.signal(2).await;
    assert!(is_blocked(endpoint.post(&delivery("three"), now).await));
    assert_eq!(dns.asked().len(), 4);
    let ids: Vec<_> =
        receiver.seen().iter().map(|request| request.header("webhook-id").map(str::to_owned)).collect();
    assert_eq!(ids, [Some("one".to_owned()), Some("two".to_owned())]);
}

/// A receiver that lets go of its connection, so that the next delivery has to ask for a name.
fn closing() -> Vec<crate::receiver::Step> {
    use crate::receiver::Step::{Close, Read, Signal};
    vec![Read, crate::receiver::answer_with("200 OK", "Connection: close\r\n", "{}"), Signal, Close]
}
