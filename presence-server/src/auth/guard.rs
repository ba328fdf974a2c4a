//! The credential that a group of routes asks for, before anything else of a request is looked at.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{Route, future::RouteFuture},
};
use futures_util::future::Either;
use tower::{Layer, Service};

use super::{Denied, Principal, tokens::ADMIN};
use crate::{AppState, problem::Problem};

/// The credential that a group of routes asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Credential {
    /// None.
    Open,
    /// The token of a user, where users are asked for tokens.
    Token,
    /// The same, which browsers can only show as a subprotocol of a WebSocket.
    SocketToken,
    /// The same, with the scope for all users.
    AdminToken,
    /// The key of an operator.
    OperatorKey,
    /// The same, unless what is for operations is open.
    OperationsKey,
}

impl Credential {
    /// The name of its scheme in the OpenAPI document, and the scopes.
    pub(crate) const fn scheme(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Open => None,
            Self::Token | Self::SocketToken => Some(("bearer", &[])),
            Self::AdminToken => Some(("bearer", &[ADMIN])),
            Self::OperatorKey | Self::OperationsKey => Some(("adminKey", &[])),
        }
    }

    /// Closes all `routes` to whoever does not have it.
    pub(crate) fn guard(self, routes: Router<AppState>, state: &AppState) -> Router<AppState> {
        match self {
            Self::Open => routes,
            credential => routes.route_layer(Guard { credential, state: state.clone() }),
        }
    }
}

/// What a request lacks, in `WWW-Authenticate`.
pub(crate) const MISSING: &str = "Bearer";
/// The same where there was something; it says no more than that.
const REFUSED: &str = r#"Bearer error="invalid_token""#;
/// The key of an operator has no registered scheme.
const KEY: &str = "ApiKey";

/// Lets a request through to its route, or answers it.
#[derive(Clone, Debug)]
struct Guard {
    credential: Credential,
    state: AppState,
}

impl Layer<Route> for Guard {
    type Service = Guarded;

    fn layer(&self, inner: Route) -> Guarded {
        Guarded { inner, guard: self.clone() }
    }
}

impl Guard {
    fn admit(&self, request: &mut Request) -> Result<(), Problem> {
        let state = &self.state;
        match self.credential {
            Credential::Open => Ok(()),
            Credential::Token | Credential::SocketToken | Credential::AdminToken => {
                let is_socket = self.credential == Credential::SocketToken;
                let principal = if is_socket {
                    socket_user(state, request.headers())
                } else {
                    user(state, request.headers())
                };
                let principal = principal?;
                if self.credential == Credential::AdminToken && !principal.is_admin() {
                    return Err(Problem::forbidden());
                }
                request.extensions_mut().insert(principal);
                Ok(())
            }
            Credential::OperationsKey if !state.settings().access.operations_need_key() => Ok(()),
            Credential::OperatorKey | Credential::OperationsKey => operator(state, request),
        }
    }
}

/// A route behind its guard. Not `from_fn`, which boxes and clones what stands behind it for each request.
#[derive(Clone, Debug)]
struct Guarded {
    inner: Route,
    guard: Guard,
}

impl Service<Request> for Guarded {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<RouteFuture<Infallible>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.guard.admit(&mut request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(problem) => Either::Right(ready(Ok(problem.into_response()))),
        }
    }
}

/// Who shows the token of a user in these headers.
pub(crate) fn user(state: &AppState, headers: &HeaderMap) -> Result<Principal, Problem> {
    let user = state.settings().access.user(headers, state.tracker().now());
    user.map_err(|denied| problem(denied, MISSING))
}

fn socket_user(state: &AppState, headers: &HeaderMap) -> Result<Principal, Problem> {
    let user = state.settings().access.socket_user(headers, state.tracker().now());
    user.map_err(|denied| problem(denied, MISSING))
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
        Denied::Missing | Denied::Key if missing == KEY => Problem::no_operator(KEY),
        Denied::Missing | Denied::Key => Problem::unauthorized(missing),
    }
}
