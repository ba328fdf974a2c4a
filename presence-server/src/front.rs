//! What answers requests behind the port: the routes, and before them the one that is asked more often than all others
//! together.
//!
//! A router finds a route by its path, puts what was found beside the request, and calls through layers that each copy
//! themselves and box their future. That costs more than a heartbeat. So this one goes past it, through the same steps:
//! the request is admitted, counted and logged by [`Seen`], guarded and read as of any route, and taken by the same
//! function.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use axum::{
    BoxError, Router,
    body::HttpBody,
    http::{Method, Request, header::HeaderMap},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    AppState, app,
    auth::guard,
    extract::{BATCH_BYTES, read_json},
    metrics::{Endpoint, Seen},
    problem::Problem,
    request_id::RequestId,
    routes::presence,
};

/// What a port serves: any router, or all of [`app`](crate::app) and its most frequent request by a shorter way.
#[derive(Clone, Debug)]
pub struct Front {
    router: Router,
    beat: Option<Beat>,
}

impl Front {
    /// The routes over `state`, as [`app`](crate::app) has them, with the same answers; at the root.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use presence_server::{AppState, Front, serve::{Limits, listen, serve}};
    /// use tokio_util::sync::CancellationToken;
    ///
    /// # async fn run(state: AppState) -> std::io::Result<()> {
    /// let listener = listen(([127, 0, 0, 1], 8080).into())?;
    /// let traffic = Arc::clone(state.traffic());
    /// serve(listener, Front::new(state), Limits::default(), traffic, CancellationToken::new()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(state: AppState) -> Self {
        // What browsers are told of other servers' pages is a layer of the router.
        let is_shorter = state.settings().cors_origins.is_empty();
        let endpoint = || Arc::new(Endpoint::new(state.clone()));
        let beat = is_shorter.then(|| Beat { endpoint: endpoint(), state: state.clone() });
        Self { router: app(state), beat }
    }

    pub(crate) const fn router(&self) -> &Router {
        &self.router
    }

    /// The shorter way, where there is one for this request.
    pub(crate) fn beat<B>(&self, request: &Request<B>) -> Option<&Beat> {
        let is_beat = request.method() == Method::POST && request.uri().path() == presence::HEARTBEAT;
        self.beat.as_ref().filter(|_| is_beat)
    }
}

impl From<Router> for Front {
    fn from(router: Router) -> Self {
        Self { router, beat: None }
    }
}

/// `POST /api/v1/presence/heartbeat`.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    endpoint: Arc<Endpoint>,
    state: AppState,
}

impl Beat {
    pub(crate) async fn answer<B>(&self, id: RequestId, request: Request<B>, begun: Instant) -> Response
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        self.endpoint.find(|| presence::HEARTBEAT);
        let mut seen = Seen::new(&self.endpoint, &parts.method, parts.uri, id, begun);
        let response = match seen.admit(false) {
            Err(problem) => problem.into_response(),
            Ok(()) => match caught(self.take(&parts.headers, body)).await {
                Ok(taken) => taken.into_response(),
                Err(Panicked) => seen.panicked(),
            },
        };
        seen.answer(response)
    }

    async fn take<B>(&self, headers: &HeaderMap, body: B) -> Result<Response, Problem>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let principal = guard::user(&self.state, headers)?;
        let body = read_json(headers, body, BATCH_BYTES).await?;
        presence::take(&self.state, &principal, &body).await
    }
}

#[derive(Debug)]
pub(crate) struct Panicked;

/// Turns a panic of `future` into an error. The future is not polled again, so what it left half-done inside itself
/// is only dropped.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_payload) => Poll::Ready(Err(Panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use presence_core::{Activity, Beats, ManualClock, MemoryStore, Rooms, Tracker};
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        Settings,
        auth::{Access, Secret, Tokens},
        metrics::scrape,
    };

    fn state(settings: Settings) -> AppState {
        let store = Arc::new(MemoryStore::new());
        let tracker = Tracker::new(store.clone(), ManualClock::default());
        let activity = Activity::new(store.clone(), ManualClock::default());
        let rooms = Rooms::new(store, ManualClock::default(), "node-1");
        AppState::new(Beats::new(tracker), activity, rooms, settings)
    }

    fn request(content_type: &str, body: &str) -> Request<Body> {
        let request = Request::post(presence::HEARTBEAT).header("x-request-id", "mine");
        request.header("content-type", content_type).body(Body::from(body.to_owned())).unwrap()
    }

    /// The answer as a client sees it; who sends it adds its length where it does not have one.
    async fn told(response: Response) -> String {
        let (mut parts, body) = response.into_parts();
        parts.headers.remove("content-length");
        let mut headers: Vec<_> = parts.headers.iter().map(|header| format!("{header:?}")).collect();
        headers.sort();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        format!("{} {headers:?} {}", parts.status, String::from_utf8_lossy(&body))
    }

    /// What was counted of requests and of heartbeats; how long they took is left out.
    async fn counted(state: &AppState) -> Vec<String> {
        let counts =
            ["presence_http_request_duration_seconds_count", "presence_heartbeats", "presence_problems"];
        let text = scrape(state).await;
        let is_count = |line: &&str| counts.iter().any(|count| line.starts_with(count));
        text.lines().filter(is_count).map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn the_shorter_way_gives_the_answers_of_the_router_and_counts_the_same() {
        let json = "application/json";
        let secret = Secret::new("vd3sY0kqX1m8ZrT5uQ9wLc2hNf7eJbA6").unwrap();
        let day = std::time::Duration::from_secs(86_400);
        let tokens = || Access::open().with_tokens(Tokens::new(&secret, "presence", None, day));
        let settings = || {
            let full = Settings { max_in_flight: 0, ..Settings::default() };
            [Settings::default(), Settings { access: tokens(), ..Settings::default() }, full]
        };
        for (shorter, longer) in settings().into_iter().zip(settings()) {
            let (shorter, longer) = (Front::new(state(shorter)), app_of(longer));
            let beat = shorter.beat.clone().expect("a shorter way");
            for (content_type, body) in [
                (json, r#"{"installId":"phone-4711","appVersion":"1","clientTs":0,"userId":"alice"}"#),
                (json, r#"{"installId":"phone-4711","appVersion":"1","clientTs":0,"userId":"alice"}"#),
                (json, r#"{"installId":"phone-4711","appVersion":"1","clientTs":0}"#),
                (json, r#"{"installId":"phone-4711","appVersion":"","clientTs":0}"#),
                (json, r#"{"installId":"phone-4711","appVersion":"1","clientTs":1e400}"#),
                (json, "[]"),
                (json, ""),
                (json, &" ".repeat(BATCH_BYTES + 1)),
                ("text/plain", "{}"),
            ] {
                let asked = request(content_type, body);
                let id = beat.state.traffic().ids.of(asked.headers(), asked.extensions());
                let short = told(beat.answer(id, asked, Instant::now()).await).await;
                let long = longer.1.clone().oneshot(request(content_type, body)).await.unwrap();
                assert_eq!(short, told(long).await, "{body:.80}");
            }
            let (short, long) = (counted(&beat.state).await, counted(&longer.0).await);
            assert!(short == long && short.len() > 1, "{short:#?} {long:#?}");
        }
    }

    fn app_of(settings: Settings) -> (AppState, Router) {
        let state = state(settings);
        (state.clone(), app(state))
    }

    #[test]
    fn other_requests_go_through_the_router_and_all_do_where_browsers_are_told_of_it() {
        let (plain, settings) = (Front::new(state(Settings::default())), Settings::default());
        assert!(plain.beat(&request("application/json", "{}")).is_some());
        for other in [Request::get(presence::HEARTBEAT), Request::post("/api/v1/presence/heartbeats")] {
            assert!(plain.beat(&other.body(()).unwrap()).is_none());
        }
        let cors_origins = "https://app.example".parse().unwrap();
        let foreign = Front::new(state(Settings { cors_origins, ..settings }));
        assert!(foreign.beat(&request("application/json", "{}")).is_none());
        assert!(
            Front::from(app_of(Settings::default()).1).beat(&request("application/json", "{}")).is_none()
        );
    }
}
