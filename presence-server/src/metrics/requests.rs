//! Requests by method, route and what became of them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::MetricEncoder;

use super::histogram::Histogram;

/// The methods that any route has. All others are one, so that clients cannot make series.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", OTHER];
const OTHER: &str = "other";
/// What became of a request: the class of its status, or it was dropped before it had one, because its client left or
/// its time was up.
const OUTCOMES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "dropped"];

/// The name of a method in the log and the metrics.
pub(super) fn method_name(method: &Method) -> &'static str {
    METHODS.into_iter().find(|name| method == name).unwrap_or(OTHER)
}

/// The requests of all routes.
#[derive(Debug, Default)]
pub(super) struct Requests {
    routes: Mutex<BTreeMap<String, Arc<Route>>>,
}

/// The requests of one route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) template: String,
    durations: [[Histogram; OUTCOMES.len()]; METHODS.len()],
}

impl Requests {
    /// The route of a template; to be asked once and kept. Templates are those of the router: none is made of a path.
    pub(super) fn route(&self, template: &str) -> Arc<Route> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let route = || Route { template: template.to_owned(), durations: Default::default() };
        Arc::clone(routes.entry(template.to_owned()).or_insert_with(|| Arc::new(route())))
    }

    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (template, route) in routes {
            for (method, outcomes) in METHODS.iter().zip(&route.durations) {
                for (outcome, durations) in OUTCOMES.iter().zip(outcomes) {
                    let labels = [("method", *method), ("route", &template), ("status", *outcome)];
                    durations.encode(&mut encoder, &labels)?;
                }
            }
        }
        Ok(())
    }
}

impl Route {
    /// A request was answered with `status`, or dropped where there is none.
    pub(super) fn observe(&self, method: &'static str, status: Option<StatusCode>, duration: Duration) {
        // A method that the route does not have is the client's invention, whatever its name.
        let is_unknown = status == Some(StatusCode::METHOD_NOT_ALLOWED);
        let method = if is_unknown { OTHER } else { method };
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        let outcome = class.checked_sub(1).filter(|class| *class < 5).unwrap_or(5);
        let method = METHODS.iter().position(|name| *name == method).unwrap_or(METHODS.len() - 1);
        if let Some(durations) = self.durations.get(method).and_then(|outcomes| outcomes.get(outcome)) {
            durations.observe(duration);
        }
    }
}
