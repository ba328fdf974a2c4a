//! Whether the server is there, and whether it can work.

use axum::{Json, extract::State};
use presence_core::Window;
use serde::Serialize;

use crate::{AppState, problem::Problem};

/// The server is there.
#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
    service: &'static str,
    timestamp: String,
}

/// `GET /health`, `GET /api/v1/health`: the server answers.
pub(crate) async fn health(State(state): State<AppState>) -> Json<Health> {
    let timestamp = state.tracker().now().to_string();
    Json(Health { status: "ok", service: "presence-service", timestamp })
}

/// `GET /livez`: the process runs.
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// `GET /readyz`: the store answers.
pub(crate) async fn ready(State(state): State<AppState>) -> Result<&'static str, Problem> {
    let nobody = presence_core::UserId::new("readiness")?;
    state.tracker().status(&nobody, Window::all()).await?;
    Ok("ok")
}
