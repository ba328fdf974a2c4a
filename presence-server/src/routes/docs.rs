//! `/openapi.json` and `/docs`: what this server can be asked, for programs and for people.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use utoipa_swagger_ui::Config;

use crate::{extract::Segments, problem::Problem};

/// What the page may load: its own files, and the pictures inside its own style sheet.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
);

/// Describes every route, for programs.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getOpenApi", tag = "operations",
    responses((status = 200, description = "This document: OpenAPI 3.1.", body = Object)),
)]
pub(crate) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], crate::openapi()).into_response()
}

/// Leads to the page.
#[utoipa::path(
    get, path = "/docs", operation_id = "findDocs", tag = "operations",
    responses((status = 303, description = "It is at `docs/`.",
        headers(("Location" = String, description = "Relative to this path.")))),
)]
pub(crate) async fn find() -> Response {
    // Relative, so that it also holds where an application nests the routes.
    (axum::http::StatusCode::SEE_OTHER, [(header::LOCATION, "docs/")]).into_response()
}

/// Describes every route, for people.
#[utoipa::path(
    get, path = "/docs/", operation_id = "getDocs", tag = "operations",
    responses((status = 200, description = "A page that reads the document.", body = String, content_type = "text/html")),
)]
pub(crate) async fn page() -> Result<Response, Problem> {
    serve("index.html")
}

/// A file of the page.
#[utoipa::path(
    get, path = "/docs/{file}", operation_id = "getDocsFile", tag = "operations",
    params(("file" = String, Path, example = "swagger-ui.css")),
    responses(
        (status = 200, description = "The file.",
            content((String = "text/css"), (String = "text/javascript"), (String = "text/html"), (String = "image/png"))),
        (status = 404, description = "The page has no such file (`FILE_NOT_FOUND`)."),
    ),
)]
pub(crate) async fn file(segments: Segments) -> Result<Response, Problem> {
    serve(segments.named("file").unwrap_or_default())
}

fn serve(file: &str) -> Result<Response, Problem> {
    // The page asks nobody else about the document, and has no bar to load another: its logo would want inline styles.
    let config = Config::new(["../openapi.json"]).validator_url("none").use_base_layout();
    let file = utoipa_swagger_ui::serve(file, Arc::new(config)).ok().flatten();
    let file = file.ok_or_else(|| Problem::not_found("FILE_NOT_FOUND", "the page has no such file"))?;
    let kind = HeaderValue::try_from(file.content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)];
    Ok((headers, file.bytes.into_owned()).into_response())
}
