//! Admission: what the API server asks before it takes an object. Nothing here writes anything.
//!
//! | file | webhook |
//! |---|---|
//! | `objects.rs` | checks objects of our kinds |
//! | `policy.rs` | holds pods to the namespaces that a profile is for |

mod objects;
mod policy;
mod review;
mod state;
mod told;
mod uses;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as With;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::Value;

use self::review::Request;
use crate::api::webhooks::{POLICY_PATH, VALIDATIONS};

pub use self::state::{Guarded, Profiles, Scoped, State};

/// All webhooks, each at its path.
pub fn router(state: &Arc<State>) -> Router {
    let mut router = Router::new();
    for validation in VALIDATIONS {
        let checked = async |body: Bytes| blocking(move || check(&body)).await;
        router = router.route(validation.path, post(checked));
    }
    let held = async |With(state): With<Arc<State>>, body: Bytes| {
        let request = match Request::parse(&body) {
            Ok(request) => request,
            Err(error) => return bad(&error),
        };
        state.synced().await;
        let labels = state.labels_of(&request.namespace).await;
        let work = move || policy::review(&request, labels.as_ref(), &state.profiles).of(&request);
        blocking(move || Ok(work())).await
    };
    router
        .route(POLICY_PATH, post(held))
        .with_state(Arc::clone(state))
}

/// The answer to an `AdmissionReview` about an object of one of our kinds, both as JSON.
pub fn check(body: &[u8]) -> Result<Value, serde_json::Error> {
    let request = Request::parse(body)?;
    Ok(objects::review(&request).of(&request))
}

/// Large objects take their time; others are answered meanwhile.
async fn blocking(
    work: impl FnOnce() -> Result<Value, serde_json::Error> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(answer)) => axum::Json(answer).into_response(),
        Ok(Err(error)) => bad(&error),
        Err(error) => {
            tracing::error!(%error, "a review did not come to its end");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn bad(error: &serde_json::Error) -> Response {
    let text = format!("the body is no AdmissionReview with a request: {error}\n");
    (StatusCode::BAD_REQUEST, text).into_response()
}
