//! One request and its answer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;
use tower::ServiceExt;

use super::body::{Timed, Tracked};
use super::deadline::{Shared, after};
use super::progress::{Answering, Progress};
use super::verdict::Verdict;
use crate::front::{Front, Panicked, caught};
use crate::metrics::access;
use crate::problem::{self, Problem};
use crate::request_id::RequestId;
use crate::traffic::Traffic;

/// How requests of one connection are answered.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The timer of the bodies.
    pub(super) body_deadline: Shared,
    pub(super) body_timeout: Duration,
    pub(super) front: Front,
    pub(super) peer: SocketAddr,
    pub(super) progress: Arc<Progress>,
    /// The timer of the answers.
    pub(super) request_deadline: Shared,
    pub(super) request_timeout: Duration,
    pub(super) traffic: Arc<Traffic>,
}

impl Exchange {
    /// Answers `request`, whatever the handler does.
    ///
    /// `answering` was made when the head was read, not when this is first polled: between the two the connection
    /// is not idle.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        (answering, verdict): (Answering, Verdict),
    ) -> Response<Tracked> {
        let is_connect = request.method() == Method::CONNECT;
        let asked = Asked {
            id: self.traffic.ids.of(request.headers(), request.extensions()),
            uri: request.uri().clone(),
        };
        let mut response = match verdict.refusal() {
            Some(problem) => self.refused(problem, verdict, &asked, request.method()),
            None => self.handle(request, &asked).await,
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

    async fn handle(&self, request: Request<Incoming>, asked: &Asked) -> Response<Body> {
        let is_late = Arc::new(AtomicBool::new(false));
        let now = Instant::now();
        let timed = |body| {
            let progress = Arc::clone(&self.progress);
            let (deadline, due) = (self.body_deadline.clone(), after(now, self.body_timeout));
            Timed::new(body, deadline, due, Arc::clone(&is_late), progress)
        };
        let answer = async {
            if let Some(beat) = self.front.beat(&request) {
                return Ok(beat.answer(asked.id.clone(), request.map(timed), now).await);
            }
            let mut request =
                request.map(|body| if body.is_end_stream() { Body::empty() } else { Body::new(timed(body)) });
            // Whoever speaks of this request calls it by this name.
            request.extensions_mut().insert(asked.id.clone());
            request.extensions_mut().insert(ConnectInfo(self.peer));
            self.front.router().clone().oneshot(request).await
        };
        let due = after(now, self.request_timeout);
        let mut answer = pin!(caught(answer));
        let answer = poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => self.request_deadline.poll(due, cx).map(|()| None),
        });
        match answer.await {
            None => {
                tracing::warn!(request.id = %asked.id, "a request took too long");
                closed(self.problem(Problem::timed_out(), asked))
            }
            // The payload of the panic may quote the request, so it stays out of the log.
            Some(Err(Panicked)) => {
                self.traffic.panics.add(1);
                tracing::error!(request.id = %asked.id, "a handler panicked");
                self.problem(Problem::internal(), asked)
            }
            Some(Ok(Ok(response))) => {
                if !is_late.load(Relaxed) {
                    response
                } else if response.status().is_success() || response.status() == StatusCode::REQUEST_TIMEOUT {
                    // It was done without the rest of the body, and saying otherwise would invite a repetition; or the
                    // handler has said it.
                    closed(response)
                } else {
                    closed(self.problem(Problem::body_timed_out(), asked))
                }
            }
            Some(Ok(Err(never))) => match never {},
        }
    }

    /// The answer to a head that is no request. What stands in for it says nothing of what was asked.
    fn refused(&self, problem: Problem, verdict: Verdict, asked: &Asked, method: &Method) -> Response<Body> {
        let count = if verdict == Verdict::Late { &self.traffic.timed_out } else { &self.traffic.malformed };
        count.add(1);
        let response = problem::finish(problem.into_response(), "", &asked.id, &self.traffic);
        access::log(&access::Line::unrouted(&asked.id, method, response.status()));
        closed(response)
    }

    /// An answer that no handler gives.
    fn problem(&self, problem: Problem, asked: &Asked) -> Response<Body> {
        problem::finish(problem.into_response(), asked.uri.path(), &asked.id, &self.traffic)
    }
}

/// What is left of a request when its handler has it.
#[derive(Debug)]
struct Asked {
    id: RequestId,
    uri: Uri,
}

fn closed(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
