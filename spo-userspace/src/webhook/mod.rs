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

use self::review::{Answer, Request};
use crate::api::webhooks::{POLICY_PATH, VALIDATIONS};

pub use self::state::{Profiles, Scoped, State};

/// All webhooks, each at its path.
pub fn router(state: &Arc<State>) -> Router {
    let mut router = Router::new();
    for validation in VALIDATIONS {
        let answer = move |body: Bytes| answer(body, move |request| objects::review(&request));
        router = router.route(validation.path, post(answer));
    }
    let held = async |With(state): With<Arc<State>>, body: Bytes| {
        let request = match Request::parse(&body) {
            Ok(request) => request,
            Err(error) => return bad(&error),
        };
        state.synced().await;
        let labels = state.labels_of(&request.namespace).await;
        blocking(move || policy::review(&request, labels.as_ref(), &state.profiles).of(&request))
            .await
    };
    router
        .route(POLICY_PATH, post(held))
        .with_state(Arc::clone(state))
}

async fn answer(body: Bytes, review: impl FnOnce(Request) -> Answer + Send + 'static) -> Response {
    match Request::parse(&body) {
        Ok(request) => {
            blocking(move || {
                let uid = request.uid.clone();
                review(request).review(&uid)
            })
            .await
        }
        Err(error) => bad(&error),
    }
}

/// Large objects take their time; others are answered meanwhile.
async fn blocking(work: impl FnOnce() -> Value + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => axum::Json(answer).into_response(),
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
