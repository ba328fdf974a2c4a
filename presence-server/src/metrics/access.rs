//! The access log: one line per request.

use std::time::Duration;

use axum::http::{Method, StatusCode};

use super::requests::method_name;
use crate::request_id::RequestId;

/// The target of the access log, by which it can be switched off.
pub(crate) const TARGET: &str = "presence_server::access";

/// How a request without a route is called.
pub(super) const NO_ROUTE: &str = "none";

/// What the log says of a request. Nothing else: the path and the query hold user ids, and headers hold secrets.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) id: &'a RequestId,
    pub(crate) method: &'static str,
    /// The template of the route, never the path.
    pub(crate) route: &'a str,
    /// `None` where the request was dropped before it was answered.
    pub(crate) status: Option<StatusCode>,
    pub(crate) duration: Duration,
    /// Whether it only asked how the server is; that is asked all the time.
    pub(crate) is_operation: bool,
}

impl<'a> Line<'a> {
    /// A request that was answered at the door.
    pub(crate) fn unrouted(id: &'a RequestId, method: &Method, status: StatusCode) -> Self {
        let (method, duration) = (method_name(method), Duration::ZERO);
        Self { id, method, route: NO_ROUTE, status: Some(status), duration, is_operation: false }
    }
}

pub(crate) fn log(line: &Line<'_>) {
    macro_rules! write_at {
        ($level:expr) => {
            tracing::event!(
                target: TARGET,
                $level,
                request.id = line.id.as_str(),
                request.method = line.method,
                request.route = line.route,
                status = line.status.map(|status| status.as_u16()),
                duration_ms = line.duration.as_micros() as f64 / 1000.0,
                "request"
            )
        };
    }
    if line.is_operation { write_at!(tracing::Level::DEBUG) } else { write_at!(tracing::Level::INFO) }
}
