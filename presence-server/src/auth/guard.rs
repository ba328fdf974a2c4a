//! The credential that a group of routes asks for, before anything else of a request is looked at.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};

use super::{Denied, Principal, tokens::ADMIN};
use crate::{AppState, problem::Problem};

/// The credential that a group of routes asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Credential {
    /// None.
    Open,
    /// The token of a user, where users are asked for tokens.
    Token,
    /// The same, with the scope for all users.
    AdminToken,
    /// The key of an operator, unless what is for operations is open.
    OperationsKey,
}

impl Credential {
    /// The name of its scheme in the OpenAPI document, and the scopes.
    pub(crate) const fn scheme(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Open => None,
            Self::Token => Some(("bearer", &[])),
            Self::AdminToken => Some(("bearer", &[ADMIN])),
            Self::OperationsKey => Some(("adminKey", &[])),
        }
    }

    /// Closes all `routes` to whoever does not have it.
    pub(crate) fn guard(self, routes: Router<AppState>, state: &AppState) -> Router<AppState> {
        match self {
            Self::Open => routes,
            Self::Token => routes.route_layer(from_fn_with_state(state.clone(), token)),
            Self::AdminToken => routes.route_layer(from_fn_with_state(state.clone(), admin_token)),
            Self::OperationsKey => routes.route_layer(from_fn_with_state(state.clone(), operations_key)),
        }
    }
}

/// What a request lacks, in `WWW-Authenticate`.
pub(crate) const MISSING: &str = "Bearer";
/// The same where there was something; it says no more than that.
const REFUSED: &str = r#"Bearer error="invalid_token""#;
/// The key of an operator has no registered scheme.
const KEY: &str = "ApiKey";

async fn token(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    match principal(&state, &request) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn admin_token(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    match principal(&state, &request) {
        Ok(principal) if principal.is_admin() => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Ok(_) => Problem::forbidden().into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn operations_key(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let needs_key = state.settings().access.operations_need_key();
    match if needs_key { operator(&state, &request) } else { Ok(()) } {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn principal(state: &AppState, request: &Request) -> Result<Principal, Problem> {
    let principal = state.settings().access.user(request.headers(), state.tracker().now());
    principal.map_err(|denied| problem(denied, MISSING))
}

/// Whether an operator asks: what always needs a key asks this alone.
fn operator(state: &AppState, request: &Request) -> Result<(), Problem> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.ip());
    let taken = state.settings().access.operator(request.headers(), peer, state.tracker().now());
    taken.map_err(|denied| problem(denied, KEY))
}

/// What a client is told: not why a credential is refused, which is in the log for whoever issues them.
fn problem(denied: Denied, missing: &'static str) -> Problem {
    match denied {
        Denied::Token(reason) => {
            tracing::debug!(%reason, "a token is refused");
            Problem::unauthorized(REFUSED)
        }
        Denied::TooMany { retry_after } => Problem::too_many_keys(retry_after),
        Denied::Missing | Denied::Key => Problem::unauthorized(missing),
    }
}
