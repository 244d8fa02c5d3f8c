//! Admission: what the API server asks before it takes an object. Nothing here writes anything but
//! events, and nobody waits for those.
//!
//! | file | webhook |
//! |---|---|
//! | `objects.rs` | checks objects of our kinds |
//! | `policy.rs` | holds pods to the namespaces that a profile is for |
//! | `room.rs` | bounds what requests take |
//! | `recording.rs` | marks the containers that are recorded |
//! | `recordings.rs` | holds recordings apart whose profiles would have the same names |
//! | `binding.rs` | puts containers under the profiles that bindings give them |
//! | `bindings.rs` | tells of bindings that bind nothing |

mod binding;
mod bindings;
mod lookup;
mod objects;
mod policy;
mod recording;
mod recordings;
mod review;
mod room;
mod standing;
mod state;
mod told;
mod uses;

use std::collections::BTreeMap;
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

use self::binding::Circumstances;
use self::review::{Answer, Request};
use self::room::{Room, make_room};
use crate::api::names::ENABLE_RECORDING;
use crate::api::webhooks::{
    BINDING_PATH, BINDINGS, POLICY_PATH, RECORDING_PATH, RECORDINGS, VALIDATIONS,
};
use crate::cluster::error::told as cause;

pub use self::state::{Guarded, Profiles, Scoped, State, Stores};

/// All webhooks, each at its path. Requests for which there was no room are counted.
pub fn router(state: &Arc<State>, refused: IntCounter) -> Router {
    let room = Arc::new(Room::new(refused));
    let mut router = Router::new();
    for validation in VALIDATIONS {
        let served = match validation.name {
            RECORDINGS => post(recordings_checked),
            BINDINGS => post(bindings_checked),
            _ => post(async |body: Bytes| blocking(move || check(&body)).await),
        };
        router = router.route(validation.path, served);
    }
    router
        .route(BINDING_PATH, post(bound))
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

async fn bound(With(state): With<Arc<State>>, body: Bytes) -> Response {
    let request = match Request::parse(&body) {
        Ok(request) => request,
        Err(error) => return bad(&error),
    };
    let own = request.namespace == state.namespace;
    if request.is_deleting() || own {
        return axum::Json(Answer::default().of(&request)).into_response();
    }
    match bind(&state, request).await {
        Ok(response) => response,
        Err(error) => {
            let error = cause(&error);
            tracing::warn!(error, "cannot ask for what a pod is to be bound by");
            let text = format!("cannot ask the API server for bindings and profiles: {error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn bind(state: &State, request: Request) -> Result<Response, kube::Error> {
    state.synced().await;
    let server = state.server().await?;
    let labels = state.labels_of(&request.namespace).await;
    if labels.is_none() {
        // Which bindings of the operator's namespace are for it, nobody knows.
        let text = "cannot ask the API server for the labels of the namespace\n";
        return Ok((StatusCode::SERVICE_UNAVAILABLE, text).into_response());
    }
    let bindings = state.bindings_of(&request.namespace).await?;
    let labels_of = labels.as_ref();
    let plan = binding::choose(&request, &bindings, labels_of, &state.namespace, server);
    let profiles = state.profiles(plan.profiles().into_iter()).await?;
    let recorders = state.recorders();
    let mut recorded = BTreeMap::new();
    let loosened = plan.loosened(&request.object);
    // Whoever writes the profile into the pod himself is not recorded for that.
    if !loosened.is_empty() && labels_of.is_some_and(|all| all.contains_key(ENABLE_RECORDING)) {
        let recordings = state.recordings_of(&request.namespace).await;
        recorded = recording::by_logs(&request.object, &loosened, &recordings, recorders);
    }
    let notes = state.notes.clone();
    let work = move || {
        let circumstances = Circumstances {
            labels: labels.as_ref(),
            server,
            recorded: &recorded,
        };
        let decision = binding::decide(&request, plan, &profiles, &circumstances);
        for (object, note) in decision.notes {
            notes.leave(object, note);
        }
        Ok(decision.answer.of(&request))
    };
    Ok(blocking(work).await)
}

async fn bindings_checked(With(state): With<Arc<State>>, body: Bytes) -> Response {
    checked(state, body, |state, request, labels, answer| {
        let known = |kind, name: &str| state.known(kind, name);
        bindings::review(answer, request, &state.namespace, labels, known)
    })
    .await
}

async fn recordings_checked(With(state): With<Arc<State>>, body: Bytes) -> Response {
    checked(state, body, |state, request, labels, answer| {
        let others = state.stores.recordings.state();
        let others = others.iter().map(|other| &**other);
        recordings::review(answer, request, others, state.recorders(), labels)
    })
    .await
}

/// Checks an object of one of our kinds, and adds what follows from others and the labels of its namespace.
async fn checked(
    state: Arc<State>,
    body: Bytes,
    add: impl FnOnce(&State, &Request, Option<&BTreeMap<String, String>>, Answer) -> Answer
    + Send
    + 'static,
) -> Response {
    let request = match Request::parse(&body) {
        Ok(request) => request,
        Err(error) => return bad(&error),
    };
    state.synced().await;
    let labels = state.labels_of(&request.namespace).await;
    let work = move || {
        let answer = objects::review(&request);
        add(&state, &request, labels.as_ref(), answer).of(&request)
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
