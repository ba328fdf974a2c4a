//! One place that callbacks go to.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use axum::http::header;
use presence_core::Timestamp;
use reqwest::{Client, Response, Url, dns::Resolve, redirect, retry, tls};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use super::{
    CallbackUrl, Delivery, Guard, Outcome, Reason, SigningSecrets,
    guard::{Blocked, GuardedDns},
};

/// How many deliveries are under way at once, each on a connection of its own.
pub(super) const CONNECTIONS: usize = 4;
/// How long connecting and the head of the answer may take, whatever the whole may take.
const HEAD: Duration = Duration::from_secs(15);
/// How much of an answer's body is read, so that the connection can be used again; nothing in it is looked at.
const BODY: usize = 64 * 1024;
/// How long a connection waits for the next delivery. Common receivers close theirs after 5 s, and one that is closed
/// at the moment it is used costs an attempt.
const IDLE: Duration = Duration::from_secs(4);
/// Who is calling.
const AGENT: &str = concat!("presence-server/", env!("CARGO_PKG_VERSION"));

/// How callbacks are delivered, wherever they go.
#[derive(Clone, Debug)]
pub struct CallbackPolicy {
    /// Where they may go. Default: public addresses only, by TLS.
    pub guard: Guard,
    /// What they are signed with; without it they are not. Default: none.
    pub secrets: Option<SigningSecrets>,
    /// How long an attempt may take; connecting and the head of the answer have at most 15 s of it. Default: 30 s.
    pub timeout: Duration,
}

impl Default for CallbackPolicy {
    fn default() -> Self {
        Self { guard: Guard::default(), secrets: None, timeout: Duration::from_secs(30) }
    }
}

/// A URL, and the connections to it.
///
/// Redirects are not followed, and proxies that the environment names are not used: both would lead to where the guard
/// has not looked.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use presence_core::{Clock, SystemClock};
/// use presence_server::callbacks::{CallbackPolicy, CallbackUrl, Delivery, DeliveryId, Endpoint, SystemDns};
///
/// let (url, policy): (CallbackUrl, _) = ("https://hooks.example/events".parse()?, CallbackPolicy::default());
/// policy.guard.check(&url)?;
/// let endpoint = Endpoint::new(&url, &policy, Arc::new(SystemDns::default()))?;
/// let delivery = Delivery { id: DeliveryId::new("event-1")?, body: r#"{"text":"hello"}"#.into() };
/// let outcome = endpoint.post(&delivery, || SystemClock.now()).await;
/// # Ok(())
/// # }
/// ```
pub struct Endpoint {
    url: Url,
    secrets: Option<SigningSecrets>,
    timeout: Duration,
    client: Client,
    permits: Semaphore,
}

/// Why an endpoint cannot be called: TLS is not to be had, because the machine trusts no certificate authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("no client for callbacks: does this machine have certificates of authorities?")]
pub struct EndpointError(#[source] reqwest::Error);

impl Endpoint {
    /// Readies calls to `url`, whose names `dns` resolves. Nothing is connected or resolved yet.
    ///
    /// The URL has passed [`Guard::check`]; what its name leads to is looked at on every connection.
    ///
    /// # Errors
    ///
    /// There is no TLS.
    pub fn new(
        url: &CallbackUrl,
        policy: &CallbackPolicy,
        dns: Arc<dyn Resolve>,
    ) -> Result<Self, EndpointError> {
        let mut client = Client::builder()
            .dns_resolver(GuardedDns { guard: policy.guard, dns })
            .redirect(redirect::Policy::none())
            .no_proxy()
            // An attempt is one attempt: who counts them is the caller.
            .retry(retry::never())
            // With HTTP/2 an attempt that ran out of time leaves its connection to the next one, dead or not.
            .http1_only()
            .tls_version_min(tls::Version::TLS_1_2)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(CONNECTIONS)
            .pool_idle_timeout(IDLE)
            .user_agent(AGENT);
        client = match policy.guard.allows_private() {
            true => client,
            false => client.https_only(true),
        };
        if !url.is_https() {
            // A machine without certificates can still call what needs none.
            client = client.tls_certs_only([]);
        }
        Ok(Self {
            url: url.as_url().clone(),
            secrets: policy.secrets.clone(),
            timeout: policy.timeout,
            client: client.build().map_err(EndpointError)?,
            permits: Semaphore::new(CONNECTIONS),
        })
    }

    /// Delivers once, and says what became of it. Four at a time are under way, others wait; `now` is asked when the
    /// turn has come, for receivers refuse what is dated five minutes back.
    ///
    /// What counts is the status. Of the body at most 64 KiB are read, while there is time. Dropped half way, the
    /// attempt may have been delivered.
    pub async fn post(&self, delivery: &Delivery, now: impl FnOnce() -> Timestamp) -> Outcome {
        // Never closed; where it were, nobody would wait.
        let _permit = self.permits.acquire().await;
        let (now, end) = (now(), Instant::now() + self.timeout);
        let sent = timeout(HEAD.min(self.timeout), self.request(delivery, now).send()).await;
        let answer = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Outcome::without_answer(reason(&error)),
            Err(_) => return Outcome::without_answer(Reason::Timeout),
        };
        let asked = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let outcome = Outcome::of_answer(answer.status().as_u16(), asked, now);
        // A body that does not end in time takes its connection with it, and nothing else.
        let _ = timeout_at(end, drain(answer)).await;
        outcome
    }

    fn request(&self, delivery: &Delivery, now: Timestamp) -> reqwest::RequestBuilder {
        let Delivery { id, body } = delivery;
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id.as_str())
            .header("webhook-timestamp", now.as_secs());
        let request = match &self.secrets {
            Some(secrets) => request.header("webhook-signature", secrets.sign(id, now, body)),
            None => request,
        };
        request.body(body.clone())
    }
}

/// Its URL is not shown: it may be what lets somebody in.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Reads what is left of an answer, up to the limit.
async fn drain(mut answer: Response) {
    let mut rest = BODY;
    while let Ok(Some(chunk)) = answer.chunk().await {
        match rest.checked_sub(chunk.len()) {
            Some(less) => rest = less,
            None => return,
        }
    }
}

/// What was in the way; the text of the error names the URL, and stays here.
fn reason(error: &reqwest::Error) -> Reason {
    if is_blocked(error.source()) {
        Reason::Blocked
    } else if error.is_connect() {
        Reason::Unreachable
    } else {
        Reason::Broken
    }
}

/// Whether the guard is among the causes.
fn is_blocked(cause: Option<&(dyn Error + 'static)>) -> bool {
    cause.is_some_and(|cause| cause.is::<Blocked>() || is_blocked(cause.source()))
}
