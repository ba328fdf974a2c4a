//! Whether the server is there, and whether it can work.

use axum::{Json, extract::State};
use presence_core::Window;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{AppState, openapi::schemas, problem::Problem};

/// The server is there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(pattern = "^ok$")]
    status: &'static str,
    #[schema(pattern = "^presence-service$")]
    service: &'static str,
    #[schema(value_type = schemas::Instant)]
    timestamp: String,
}

/// Says that the server answers.
#[utoipa::path(
    get, path = "/health", operation_id = "getHealth", tag = "operations",
    responses((status = 200, description = "It does.", body = Health)),
)]
pub(crate) async fn health(State(state): State<AppState>) -> Json<Health> {
    let timestamp = state.tracker().now().to_string();
    Json(Health { status: "ok", service: "presence-service", timestamp })
}

/// Says that the server answers, at the path of the presence surface.
#[utoipa::path(
    get, path = "/api/v1/health", operation_id = "getPresenceHealth", tag = "operations",
    responses((status = 200, description = "It does.", body = Health)),
)]
pub(crate) async fn presence_health(state: State<AppState>) -> Json<Health> {
    health(state).await
}

/// Says that the server answers, at the path of the management of rooms.
#[utoipa::path(
    get, path = "/management/health", operation_id = "getManagementHealth", tag = "operations",
    responses((status = 200, description = "It does: `OK`.", body = String)),
)]
pub(crate) async fn management_health() -> &'static str {
    "OK"
}

/// Says that the process runs.
#[utoipa::path(
    get, path = "/livez", operation_id = "getLiveness", tag = "operations",
    responses((status = 200, description = "It does: `ok`.", body = String)),
)]
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// Says that the store answers.
///
/// 503 where it does not: send no requests here.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "operations",
    responses((status = 200, description = "It does: `ok`.", body = String)),
)]
pub(crate) async fn ready(State(state): State<AppState>) -> Result<&'static str, Problem> {
    let nobody = presence_core::UserId::new("readiness")?;
    state.tracker().status(&nobody, Window::all()).await?;
    Ok("ok")
}
