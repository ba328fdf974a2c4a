//! Every route on one screen. The same list makes the OpenAPI document.

use axum::Router;
use tower::util::option_layer;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    AppState,
    auth::Credential,
    cors,
    metrics::Observe,
    problem,
    routes::{
        active_users, checkpoints, docs, events, health, heartbeat, metrics, online_history, outbox,
        presence, room_history, rooms, status, summaries, users,
    },
    ws,
};

/// The routes over `state`: no port is opened and no job is started, so that an application can nest them.
///
/// ```
/// use std::sync::Arc;
/// use presence_core::{Activity, Beats, MemoryStore, Rooms, SystemClock, Tracker};
/// use presence_server::{AppState, Settings, app};
///
/// let store = Arc::new(MemoryStore::new());
/// let beats = Beats::new(Tracker::new(store.clone(), SystemClock));
/// let activity = Activity::new(store.clone(), SystemClock);
/// let rooms = Rooms::new(store, SystemClock, "node-1");
/// let router: axum::Router = app(AppState::new(beats, activity, rooms, Settings::default()));
/// # let _ = router;
/// ```
pub fn app(state: AppState) -> Router {
    let guarded = groups().map(|(credential, group)| credential.guard(group.split_for_parts().0, &state));
    let router = guarded.into_iter().fold(Router::new(), Router::merge);
    router
        .fallback(problem::unknown_route)
        .method_not_allowed_fallback(problem::unknown_method)
        .layer(option_layer(cors::layer(&state.settings().cors_origins)))
        .with_state(state.clone())
        .layer(Observe::new(state))
}

/// All routes with what each says of itself, by the credential that they ask for. Methods and paths stand with the
/// handlers.
pub(crate) fn groups() -> [(Credential, OpenApiRouter<AppState>); 8] {
    let users = OpenApiRouter::new()
        .routes(routes!(checkpoints::report, checkpoints::history))
        .routes(routes!(checkpoints::one))
        .routes(routes!(heartbeat::beat))
        .routes(routes!(status::status))
        .routes(routes!(summaries::summaries))
        .routes(routes!(users::export))
        .routes(routes!(users::erase));
    let presence = OpenApiRouter::new()
        .routes(routes!(presence::heartbeat))
        .routes(routes!(presence::heartbeats))
        .routes(routes!(presence::online_count))
        .routes(routes!(online_history::online_history));
    let analytics = OpenApiRouter::new()
        .routes(routes!(events::ingest))
        .routes(routes!(active_users::dau))
        .routes(routes!(active_users::active_users));
    let everybody = OpenApiRouter::new()
        .routes(routes!(presence::online_users))
        .routes(routes!(active_users::recalculate));
    let sockets = OpenApiRouter::new().routes(routes!(ws::join));
    let management = OpenApiRouter::new()
        .routes(routes!(rooms::create, rooms::list))
        .routes(routes!(rooms::one, rooms::close))
        .routes(routes!(rooms::set_admins))
        .routes(routes!(rooms::ban, rooms::unban))
        .routes(routes!(rooms::mute))
        .routes(routes!(rooms::kick))
        .routes(routes!(rooms::tell))
        .routes(routes!(rooms::actions))
        .routes(routes!(room_history::data, room_history::sync))
        .routes(routes!(room_history::infos))
        .routes(routes!(room_history::messages))
        .routes(routes!(room_history::sessions))
        .routes(routes!(outbox::books))
        .routes(routes!(outbox::dead_letters))
        .routes(routes!(outbox::requeue));
    let health = OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::presence_health))
        .routes(routes!(health::management_health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready));
    let operations = OpenApiRouter::new()
        .routes(routes!(metrics::metrics))
        .routes(routes!(docs::document))
        .routes(routes!(docs::find))
        .routes(routes!(docs::page))
        .routes(routes!(docs::file));
    [
        (Credential::Token, users),
        (Credential::Token, presence),
        (Credential::Token, analytics),
        (Credential::AdminToken, everybody),
        (Credential::SocketToken, sockets),
        (Credential::OperatorKey, management),
        (Credential::Open, health),
        (Credential::OperationsKey, operations),
    ]
}
