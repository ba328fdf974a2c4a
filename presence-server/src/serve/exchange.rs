//! One request and its answer.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;
use tower::ServiceExt;

use super::body::{Timed, Tracked};
use super::framing::Verdict;
use super::progress::{Answering, Progress};

/// How requests of one connection are answered.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) app: Router,
    pub(super) body_timeout: Duration,
    pub(super) progress: Arc<Progress>,
    pub(super) request_timeout: Duration,
}

impl Exchange {
    /// Answers `request`, whatever the handler does.
    ///
    /// `answering` was made when the head was read, not when this is first polled: between the two the connection
    /// is not idle.
    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
        (answering, verdict): (Answering, Verdict),
    ) -> Response<Tracked> {
        let is_connect = request.method() == Method::CONNECT;
        let mut response = match verdict {
            Verdict::Ambiguous => {
                self.progress.leave_unread();
                closed(problem(StatusCode::BAD_REQUEST))
            }
            Verdict::Bounded | Verdict::Unbounded => self.handle(request).await,
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            || (is_connect && response.status().is_success())
        {
            self.progress.upgrade();
        } else if verdict == Verdict::Unbounded {
            response = closed(response);
        }
        response.map(|body| Tracked::new(body, answering))
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let is_late = Arc::new(AtomicBool::new(false));
        let request = request.map(|body| {
            if body.is_end_stream() {
                Body::empty()
            } else {
                let progress = Arc::clone(&self.progress);
                Body::new(Timed::new(body, self.body_timeout, Arc::clone(&is_late), progress))
            }
        });
        let answer = timeout(self.request_timeout, caught(self.app.clone().oneshot(request))).await;
        match answer {
            Err(_elapsed) => {
                tracing::warn!("a request took too long");
                let mut response = closed(problem(StatusCode::SERVICE_UNAVAILABLE));
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
            // The payload of the panic may quote the request, so it stays out of the log.
            Ok(Err(Panicked)) => {
                tracing::error!("a handler panicked");
                problem(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Ok(Ok(Ok(response))) => {
                if !is_late.load(Relaxed) {
                    response
                } else if response.status().is_success() {
                    // It was done without the rest of the body, and saying otherwise would invite a repetition.
                    closed(response)
                } else {
                    closed(problem(StatusCode::REQUEST_TIMEOUT))
                }
            }
            Ok(Ok(Err(never))) => match never {},
        }
    }
}

#[derive(Debug)]
struct Panicked;

/// Turns a panic of `future` into an error. The future is not polled again, so what it left half-done inside itself
/// is only dropped.
async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_payload) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// The answer has no more to say than its status.
fn problem(status: StatusCode) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = format!(r#"{{"type":"about:blank","title":"{title}","status":{}}}"#, status.as_u16());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn closed(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
