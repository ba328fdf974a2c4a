//! Every route on one screen.

use axum::{
    Router, middleware,
    routing::{get, post},
};

use crate::{
    AppState, problem,
    routes::{checkpoints, health, heartbeat, presence, status, summaries, users},
};

/// The routes over `state`: no port is opened and no job is started, so that an application can nest them.
///
/// ```
/// use std::sync::Arc;
/// use presence_core::{Beats, MemoryStore, SystemClock, Tracker};
/// use presence_server::{AppState, Settings, app};
///
/// let beats = Beats::new(Tracker::new(Arc::new(MemoryStore::new()), SystemClock));
/// let router: axum::Router = app(AppState::new(beats, Settings::default()));
/// # let _ = router;
/// ```
pub fn app(state: AppState) -> Router {
    Router::new()
        .route("/users/{user_id}", axum::routing::delete(users::erase))
        .route("/users/{user_id}/checkpoints", get(checkpoints::history).post(checkpoints::report))
        .route("/users/{user_id}/checkpoints/{id}", get(checkpoints::one))
        .route("/users/{user_id}/export", get(users::export))
        .route("/users/{user_id}/heartbeat", post(heartbeat::beat))
        .route("/users/{user_id}/status", get(status::status))
        .route("/users/{user_id}/summaries", get(summaries::summaries))
        .route("/api/v1/presence/heartbeat", post(presence::heartbeat))
        .route("/api/v1/presence/heartbeats", post(presence::heartbeats))
        .route("/api/v1/presence/online-count", get(presence::online_count))
        .route("/api/v1/presence/online-users", get(presence::online_users))
        .route("/api/v1/health", get(health::health))
        .route("/health", get(health::health))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(problem::unknown_route)
        .method_not_allowed_fallback(problem::unknown_method)
        .layer(middleware::from_fn_with_state(state.clone(), problem::finish))
        .with_state(state)
}
