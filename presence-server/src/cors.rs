//! What browsers let the pages of other servers do.

use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{config::Origins, routes::DURABILITY};

/// How long a browser may remember an answer about what is allowed; longer ones are cut by some of them.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Answers browsers for pages of `origins`, each compared exactly; nothing where there are none. There are no
/// cookies, so credentials of the browser's own are never allowed; a key of operators is for no page of others.
pub(crate) fn layer(origins: &Origins) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::DELETE, Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("x-request-id"),
        ])
        .expose_headers([
            header::LINK,
            DURABILITY,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            HeaderName::from_static("x-request-id"),
        ])
        .max_age(MAX_AGE);
    Some(cors)
}
