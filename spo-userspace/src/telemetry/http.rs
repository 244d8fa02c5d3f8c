//! Metrics and health over HTTP, and who may read them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus::{Encoder as _, Registry, TextEncoder};

mod access;

pub use self::access::Access;

/// The path of what the process tells about itself.
pub const PROCESS_PATH: &str = "/metrics";
/// The path of what it tells about profiles.
pub const PROFILES_PATH: &str = "/metrics-spod";

/// Metrics: `process` at [`PROCESS_PATH`], `profiles` at [`PROFILES_PATH`]. With `access`, only for
/// those whom the cluster lets get that path; without, for everybody.
pub fn metrics(process: Registry, profiles: Registry, access: Option<Arc<Access>>) -> Router {
    let router = Router::new()
        .route(PROCESS_PATH, get(async move || encoded(&process)))
        .route(PROFILES_PATH, get(async move || encoded(&profiles)));
    match access {
        Some(access) => router.route_layer(from_fn_with_state(access, guard)),
        None => router,
    }
}

/// `/healthz`, which answers as long as the process runs at all, and `/readyz`, which says why the
/// process is not ready.
pub fn health(ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static) -> Router {
    let readyz = async move || match ready() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    };
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
}

async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let path = request.uri().path();
    match access.check(token, path).await {
        Ok(()) => next.run(request).await,
        Err(denied) => denied.into_response(),
    }
}

fn encoded(registry: &Registry) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&registry.gather(), &mut text) {
        Ok(()) => {
            let kind = encoder.format_type().to_owned();
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
