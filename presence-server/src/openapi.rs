//! The OpenAPI document: made of the list of routes, completed by rules that hold for all of them.
//!
//! A handler's annotation says what is its own: parameters, body, what it answers where all is well, and the refusals
//! that only it knows. What follows from the kind of a route is added here, once: the statuses of bad input, of
//! credentials and of faults, and the shape of every problem.

pub(crate) mod schemas;

use std::sync::LazyLock;

use utoipa::{
    OpenApi as _, ToSchema as _,
    openapi::{
        Components, OpenApi, Ref, RefOr, Response, ResponseBuilder,
        content::ContentBuilder,
        header::HeaderBuilder,
        path::{Operation, Parameter, PathItem},
        schema::{ObjectBuilder, Type},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use crate::{AppState, auth::Credential, problem, router};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "presence-server",
        description = "Who is online, what they are doing and for how long.\n\n\
            Each surface keeps its case and its units: `/users` speaks snake_case and Unix seconds, `/api/v1` camelCase. \
            Unknown fields of a body and unknown parameters of a query are ignored. A stamp up to 300 s ahead of the \
            server is taken as now, beyond that it is refused.\n\n\
            Every answer has an `X-Request-Id`: the request's own, where it is 1 to 64 letters, digits, `-`, `_` or `.`, \
            else a new one. Every refusal is problem JSON (RFC 9457) with a stable `code`, and nothing was written. A path \
            that no route has is 404, a method that a route does not have 405 with `Allow`. What is not one HTTP request \
            beyond doubt is 400, a head above 16 KiB 431, before any route is found."
    ),
    tags(
        (name = "checkpoints", description = "What users are doing, and for how long."),
        (name = "presence", description = "Who is online."),
        (name = "rooms", description = "Who is in a room, and who may speak."),
        (name = "analytics", description = "Who was active."),
        (name = "operations", description = "For those who run the server."),
    ),
    components(schemas(
        problem::Document,
        schemas::CheckpointId,
        schemas::Code,
        schemas::Content,
        schemas::Count,
        schemas::CountByRegion,
        schemas::Cursor,
        schemas::DateTime,
        schemas::Day,
        schemas::Durability,
        schemas::EventId,
        schemas::EventName,
        schemas::EventProperties,
        schemas::HeaderEventId,
        schemas::InstallId,
        schemas::Instant,
        schemas::Interval,
        schemas::Limit,
        schemas::Member,
        schemas::Period,
        schemas::Seconds,
        schemas::Source,
        schemas::State,
        schemas::StatsVersion,
        schemas::TimeZone,
        schemas::UnixMillis,
        schemas::UnixSeconds,
        schemas::UserId,
        schemas::UserIdOrNumber,
        schemas::WindowSeconds,
    ))
)]
struct About;

/// Says of every operation of `group` which credential it asks for.
fn secured(credential: Credential, mut group: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    let requirement =
        |(scheme, scopes): (&str, &[&str])| SecurityRequirement::new(scheme, scopes.iter().copied());
    let requirements: Vec<_> = credential.scheme().map(requirement).into_iter().collect();
    for operation in operations(group.get_openapi_mut()) {
        operation.security = Some(requirements.clone());
    }
    group
}

/// The document as it is served, printed and kept beside the source: JSON, indented.
///
/// ```
/// assert!(presence_server::openapi().contains(r#""openapi": "3.1.0""#));
/// ```
#[must_use]
pub fn openapi() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        let groups = router::groups().map(|(credential, group)| secured(credential, group));
        let about = OpenApiRouter::with_openapi(About::openapi());
        let mut document = groups.into_iter().fold(about, OpenApiRouter::merge).into_openapi();
        complete(&mut document);
        // A document of maps and text always serialises.
        document.to_pretty_json().unwrap_or_default() + "\n"
    });
    &DOCUMENT
}

/// An answer that follows from what an operation is.
struct Shared {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    applies: fn(&Operation) -> bool,
}

const SHARED: [Shared; 10] = [
    Shared {
        status: "400",
        name: "InvalidRequest",
        description: "A value of the path, the query, a header or the body is not valid; `code` says which.",
        applies: takes_input,
    },
    Shared {
        status: "401",
        name: "Unauthorized",
        description: "The credential is missing or not valid (`UNAUTHORIZED`).",
        applies: is_guarded,
    },
    Shared {
        status: "403",
        name: "Forbidden",
        description: "The token does not reach this user (`FORBIDDEN`).",
        applies: reaches_one_user_or_all,
    },
    Shared {
        status: "408",
        name: "BodyIncomplete",
        description: "The body did not arrive in time (`BODY_TIMED_OUT`).",
        applies: takes_body,
    },
    Shared {
        status: "413",
        name: "BodyTooLarge",
        description: "The body is too large (`BODY_TOO_LARGE`).",
        applies: takes_body,
    },
    Shared {
        status: "415",
        name: "UnsupportedMediaType",
        description: "The body is not JSON in UTF-8, or is compressed (`UNSUPPORTED_MEDIA_TYPE`).",
        applies: takes_body,
    },
    Shared {
        status: "414",
        name: "UriTooLong",
        description: "The path and query have more than 8 KiB (`URI_TOO_LONG`).",
        applies: |_| true,
    },
    Shared {
        status: "429",
        name: "TooManyKeys",
        description: "The address has shown ten wrong keys within a minute (`TOO_MANY_REQUESTS`).",
        applies: |operation| needs(operation, Credential::OperationsKey),
    },
    Shared { status: "500", name: "Fault", description: "A fault of the server.", applies: |_| true },
    Shared {
        status: "503",
        name: "Unavailable",
        description: "Not now (`STORE_UNAVAILABLE`, `OVERLOADED`, `REQUEST_TIMED_OUT`). Whether anything was written is not known: repeat it, with the same event id where it \
            had one.",
        applies: |_| true,
    },
];

fn takes_body(operation: &Operation) -> bool {
    operation.request_body.is_some()
}

fn takes_input(operation: &Operation) -> bool {
    takes_body(operation) || operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty())
}

fn is_guarded(operation: &Operation) -> bool {
    operation.security.as_ref().is_some_and(|requirements| !requirements.is_empty())
}

/// A heartbeat of the presence surface names its user in the body, and says so itself.
fn reaches_one_user_or_all(operation: &Operation) -> bool {
    let is_user = |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(parameter) if parameter.name == "user_id");
    operation.parameters.iter().flatten().any(is_user) || needs(operation, Credential::AdminToken)
}

fn needs(operation: &Operation, credential: Credential) -> bool {
    operation.security.as_ref().is_some_and(|all| *all == requirements(credential))
}

fn requirements(credential: Credential) -> Vec<SecurityRequirement> {
    let requirement =
        |(scheme, scopes): (&str, &[&str])| SecurityRequirement::new(scheme, scopes.iter().copied());
    credential.scheme().map(requirement).into_iter().collect()
}

/// Adds the schemes, the shared answers, and the shape of every problem.
fn complete(document: &mut OpenApi) {
    for operation in operations(document) {
        for (status, response) in &mut operation.responses.responses {
            let RefOr::T(response) = response else { continue };
            if status.starts_with(['4', '5']) {
                with_problem(response);
            }
            response.headers.insert("X-Request-Id".to_owned(), RefOr::Ref(Ref::new(REQUEST_ID)));
        }
        for Shared { status, name, applies, .. } in SHARED {
            if applies(operation) {
                let response = RefOr::Ref(Ref::from_response_name(name));
                operation.responses.responses.insert(status.to_owned(), response);
            }
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    for Shared { status, name, description, .. } in SHARED {
        let mut response = ResponseBuilder::new().description(description).build();
        with_problem(&mut response);
        response.headers.insert("X-Request-Id".to_owned(), RefOr::Ref(Ref::new(REQUEST_ID)));
        if status == "401" {
            let header = HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String)));
            let header = header.description(Some("The kind of credential that is asked for."));
            response.headers.insert("WWW-Authenticate".to_owned(), header.build().into());
        }
        if matches!(status, "429" | "503") {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).build();
            let header = HeaderBuilder::new().schema(Some(seconds)).description(Some("In how many seconds."));
            response.headers.insert("Retry-After".to_owned(), header.build().into());
        }
        components.responses.insert(name.to_owned(), response.into());
    }
    let id = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(64));
    let id = id.pattern(Some("^[A-Za-z0-9._-]+$")).build();
    let request_id = HeaderBuilder::new().schema(Some(id)).description(Some("The name of the request."));
    components.headers.insert("X-Request-Id".to_owned(), request_id.build().into());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    let bearer = bearer.description(Some("`sub` is the user; another user needs the scope `admin`.")).build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme(
        "adminKey",
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key"))),
    );
}

const REQUEST_ID: &str = "#/components/headers/X-Request-Id";

/// Gives `response` the body that every problem has.
fn with_problem(response: &mut Response) {
    let schema = Ref::from_schema_name(problem::Document::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    response.content.insert("application/problem+json".to_owned(), content.into());
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|item| {
        let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
        [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
    })
}
