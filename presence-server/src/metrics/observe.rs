//! What every request goes through: its id, the cap, the clock, the log, and its problem's body.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use axum::{
    extract::{MatchedPath, Request},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{Route, future::RouteFuture},
};
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{access, requests};
use crate::{
    AppState,
    problem::{self, Problem, URI_BYTES},
    request_id::RequestId,
};

/// The ends of the routes that tell how the server is: they answer when it is full, and say nothing in the log.
const OPERATIONS: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

/// Observes every request to the routes that it is laid over.
#[derive(Clone, Debug)]
pub(crate) struct Observe {
    state: AppState,
}

impl Observe {
    pub(crate) const fn new(state: AppState) -> Self {
        Self { state }
    }
}

impl Layer<Route> for Observe {
    type Service = Observed;

    fn layer(&self, inner: Route) -> Observed {
        Observed { inner, endpoint: Arc::new(Endpoint::new(self.state.clone())) }
    }
}

/// One endpoint: all that asks it shares the route that the first request finds.
#[derive(Debug)]
pub(crate) struct Endpoint {
    state: AppState,
    found: OnceLock<Found>,
}

#[derive(Debug)]
struct Found {
    route: Arc<requests::Route>,
    is_operation: bool,
}

impl Endpoint {
    pub(crate) const fn new(state: AppState) -> Self {
        Self { state, found: OnceLock::new() }
    }

    /// Finds the route by its template, where no request has; says whether it tells how the server is.
    pub(crate) fn find<'a>(&self, template: impl FnOnce() -> &'a str) -> bool {
        let found = self.found.get_or_init(|| {
            let template = template();
            let is_operation = OPERATIONS.iter().any(|operation| template.ends_with(operation));
            Found { route: self.state.metrics().requests.route(template), is_operation }
        });
        found.is_operation
    }
}

/// An endpoint whose requests are observed.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    inner: Route,
    endpoint: Arc<Endpoint>,
}

impl Service<Request> for Observed {
    type Response = Response;
    type Error = Infallible;
    type Future = Observation;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request) -> Observation {
        let state = &self.endpoint.state;
        let id = state.traffic().ids.of(request.headers(), request.extensions());
        let matched = || request.extensions().get::<MatchedPath>();
        let is_operation = self.endpoint.find(|| matched().map_or(access::NO_ROUTE, MatchedPath::as_str));
        let mut seen = Seen::new(&self.endpoint, request.method(), request.uri().clone(), id, Instant::now());
        let step = match seen.admit(is_operation) {
            Ok(()) => Step::Handling(self.inner.call(request)),
            Err(problem) => Step::Refused(Some(problem.into_response())),
        };
        Observation { step, seen }
    }
}

/// A request on its way to its answer.
pub(crate) struct Observation {
    step: Step,
    seen: Seen,
}

enum Step {
    Handling(RouteFuture<Infallible>),
    /// Taken by the first poll.
    Refused(Option<Response>),
}

impl Future for Observation {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { step, seen } = self.get_mut();
        let response = match step {
            Step::Refused(response) => response.take(),
            Step::Handling(future) => {
                // What a handler left half-done inside itself is only dropped.
                match catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx))) {
                    Ok(Poll::Pending) => return Poll::Pending,
                    Ok(Poll::Ready(Ok(response))) => Some(response),
                    Ok(Poll::Ready(Err(never))) => match never {},
                    Err(_payload) => Some(seen.panicked()),
                }
            }
        };
        // A future is not polled again after its answer.
        let response = response.unwrap_or_default();
        Poll::Ready(Ok(seen.answer(response)))
    }
}

/// What is known of a request while it is handled. It is counted and logged when it is answered, or dropped.
#[derive(Debug)]
pub(crate) struct Seen {
    endpoint: Arc<Endpoint>,
    method: &'static str,
    uri: Uri,
    id: RequestId,
    begun: Instant,
    is_in_flight: bool,
    is_answered: bool,
}

impl Seen {
    /// A request that came at `begun`.
    pub(crate) fn new(
        endpoint: &Arc<Endpoint>,
        method: &Method,
        uri: Uri,
        id: RequestId,
        begun: Instant,
    ) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            method: requests::method_name(method),
            uri,
            id,
            begun,
            is_in_flight: false,
            is_answered: false,
        }
    }

    /// Lets the request in, if its URI is short enough and there is room.
    pub(crate) fn admit(&mut self, is_operation: bool) -> Result<(), Problem> {
        let length = self.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if length > URI_BYTES {
            return Err(Problem::uri_too_long());
        }
        if !is_operation {
            let state = &self.endpoint.state;
            self.is_in_flight = true;
            if state.metrics().in_flight.fetch_add(1, Relaxed) >= state.settings().max_in_flight {
                self.leave();
                return Err(Problem::overloaded());
            }
        }
        Ok(())
    }

    /// Makes room for another request.
    fn leave(&mut self) {
        if std::mem::take(&mut self.is_in_flight) {
            self.endpoint.state.metrics().in_flight.fetch_sub(1, Relaxed);
        }
    }

    /// The payload of the panic may quote the request, so it stays out of the log.
    pub(crate) fn panicked(&self) -> Response {
        self.endpoint.state.traffic().panics.add(1);
        tracing::error!(request.id = %self.id, request.route = self.route(), "a handler panicked");
        Problem::internal().into_response()
    }

    fn route(&self) -> &str {
        self.endpoint.found.get().map_or(access::NO_ROUTE, |found| &found.route.template)
    }

    pub(crate) fn answer(&mut self, response: Response) -> Response {
        let traffic = self.endpoint.state.traffic();
        let response = problem::finish(response, self.uri.path(), &self.id, traffic);
        self.is_answered = true;
        self.done(Some(response.status()));
        response
    }

    /// Counts the request, and writes its line.
    fn done(&mut self, status: Option<StatusCode>) {
        self.leave();
        let Some(Found { route, is_operation }) = self.endpoint.found.get() else { return };
        let duration = self.begun.elapsed();
        route.observe(self.method, status, duration);
        access::log(&access::Line {
            id: &self.id,
            method: self.method,
            route: &route.template,
            status,
            duration,
            is_operation: *is_operation,
        });
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if !self.is_answered {
            self.done(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Body, to_bytes},
        routing::get,
    };
    use presence_core::{Activity, Beats, ManualClock, MemoryStore, Rooms, Tracker};
    use tower::ServiceExt;

    use super::*;
    use crate::{Settings, metrics::scrape};

    async fn panics(axum::extract::Path(word): axum::extract::Path<String>) {
        panic!("{word}")
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_of_its_route_and_its_room_is_free_again() {
        let store = Arc::new(MemoryStore::new());
        let tracker = Tracker::new(store.clone(), ManualClock::default());
        let activity = Activity::new(store.clone(), ManualClock::default());
        let rooms = Rooms::new(store, ManualClock::default(), "node-1");
        let settings = Settings { max_in_flight: 1, ..Settings::default() };
        let state = AppState::new(Beats::new(tracker), activity, rooms, settings);
        let routes = Router::new().route("/panic/{word}", get(panics)).layer(Observe::new(state.clone()));
        let nested = Router::new().nest("/own", routes);
        for _ in 0..3 {
            let request = Request::builder().uri("/own/panic/secret").header("x-request-id", "mine");
            let request = request.body(Body::empty()).unwrap();
            let response = nested.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()["x-request-id"], "mine");
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&problem["code"], &problem["request_id"]), (&"INTERNAL".into(), &"mine".into()));
        }
        let text = scrape(&state).await;
        let count = r#"_count{method="GET",route="/own/panic/{word}",status="5xx"} 3"#;
        assert!(
            text.contains(count) && !text.contains(r#"status="dropped""#) && !text.contains("secret"),
            "{text}"
        );
        assert!(text.contains("presence_panics_total 3\n"), "{text}");
        assert!(text.contains("presence_http_in_flight_requests 0\n"), "{text}");
    }
}
