//! Admission: what the API server asks before it takes an object. Nothing here writes anything.
//!
//! | file | webhook |
//! |---|---|
//! | `objects.rs` | checks objects of our kinds |
//! | `policy.rs` | holds pods to the namespaces that a profile is for |
//! | `room.rs` | bounds what requests take |
//! | `recording.rs` | marks the containers that are recorded |
//! | `recordings.rs` | holds recordings apart whose profiles would have the same names |

mod objects;
mod policy;
mod recording;
mod recordings;
mod review;
mod room;
mod state;
mod told;
mod uses;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as With;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use prometheus::IntCounter;
use serde_json::Value;

use self::review::{Answer, Request};
use self::room::{Room, make_room};
use crate::api::webhooks::{POLICY_PATH, RECORDING_PATH, RECORDINGS, VALIDATIONS};

pub use self::state::{Guarded, Profiles, Scoped, State, Stores};

/// All webhooks, each at its path. Requests for which there was no room are counted.
pub fn router(state: &Arc<State>, refused: IntCounter) -> Router {
    let room = Arc::new(Room::new(refused));
    let mut router = Router::new();
    for validation in VALIDATIONS {
        if validation.name == RECORDINGS {
            continue;
        }
        let checked = async |body: Bytes| blocking(move || check(&body)).await;
        router = router.route(validation.path, post(checked));
    }
    for validation in VALIDATIONS.iter().filter(|one| one.name == RECORDINGS) {
        router = router.route(validation.path, post(recordings_checked));
    }
    router
        .route(POLICY_PATH, post(held))
        .route(RECORDING_PATH, post(recorded))
        .layer(from_fn_with_state(room, make_room))
        .with_state(Arc::clone(state))
}

async fn held(With(state): With<Arc<State>>, body: Bytes) -> Response {
    let request = match Request::parse(&body) {
        Ok(request) => request,
        Err(error) => return bad(&error),
    };
    state.synced().await;
    let labels = state.labels_of(&request.namespace).await;
    let profiles = move || {
        let profiles = &state.stores.profiles;
        policy::review(&request, labels.as_ref(), profiles).of(&request)
    };
    blocking(move || Ok(profiles())).await
}

async fn recorded(With(state): With<Arc<State>>, body: Bytes) -> Response {
    let request = match Request::parse(&body) {
        Ok(request) => request,
        Err(error) => return bad(&error),
    };
    if request.is_deleting() {
        return axum::Json(Answer::default().of(&request)).into_response();
    }
    state.synced().await;
    let recordings = state.recordings_of(&request.namespace).await;
    let recorders = state.recorders();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = seconds.map_or(0, |since| since.as_secs());
    let work = move || recording::review(&request, &recordings, recorders, seconds).of(&request);
    blocking(move || Ok(work())).await
}

async fn recordings_checked(With(state): With<Arc<State>>, body: Bytes) -> Response {
    let request = match Request::parse(&body) {
        Ok(request) => request,
        Err(error) => return bad(&error),
    };
    state.synced().await;
    let labels = state.labels_of(&request.namespace).await;
    let work = move || {
        let answer = objects::review(&request);
        let others = state.stores.recordings.state();
        let others = others.iter().map(|other| &**other);
        let recorders = state.recorders();
        recordings::review(answer, &request, others, recorders, labels.as_ref()).of(&request)
    };
    blocking(move || Ok(work())).await
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
