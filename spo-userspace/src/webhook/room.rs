//! How much of requests is held at a time. Whoever reaches the port may send some, without saying who
//! he is: what he sends must not take the memory that the requests of others need.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use prometheus::IntCounter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every request may send, whatever others do: that is enough for most pods.
const FREE: usize = 16 << 10;
/// What requests may send beyond that, all together.
const BODIES: usize = 8 << 20;
/// What bodies may take while they are read and judged, all together, in bytes as [`weight`] has them.
/// The limit of the container's memory follows from it.
const VALUES: usize = 48 << 20;

/// What is left for requests.
pub(super) struct Room {
    bodies: Semaphore,
    values: Arc<Semaphore>,
    refused: IntCounter,
}

impl Room {
    /// Room for all requests of a process; those that found none are counted.
    pub(super) fn new(refused: IntCounter) -> Self {
        Self {
            bodies: Semaphore::new(BODIES),
            values: Arc::new(Semaphore::new(VALUES)),
            refused,
        }
    }

    /// The body; nothing if there is no room for it.
    async fn body(&self, body: Body) -> Result<Bytes, Response> {
        let mut chunks = body.into_data_stream();
        let mut whole = Vec::new();
        let mut taken = None;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                tracing::debug!(%error, "a body ended early");
                StatusCode::BAD_REQUEST.into_response()
            })?;
            let beyond = (whole.len() + chunk.len()).saturating_sub(FREE.max(whole.len()));
            match (self.take(beyond), &mut taken) {
                (None, _) => return Err(self.refuse()),
                (Some(more), None) => taken = Some(more),
                (Some(more), Some(taken)) => taken.merge(more),
            }
            whole.extend_from_slice(&chunk);
        }
        // From here on it counts by its weight.
        Ok(whole.into())
    }

    fn take(&self, bytes: usize) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.bodies
            .try_acquire_many(u32::try_from(bytes).ok()?)
            .ok()
    }

    /// Waits until what is being judged leaves room for this body. Nothing if it never does.
    async fn values(&self, body: &[u8]) -> Option<OwnedSemaphorePermit> {
        let weight = weight(body);
        if weight > VALUES {
            return None;
        }
        let weight = u32::try_from(weight).ok()?;
        Arc::clone(&self.values)
            .acquire_many_owned(weight)
            .await
            .ok()
    }

    fn refuse(&self) -> Response {
        self.refused.inc();
        let text = "there is no room for this request now\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

/// Reads a request's body and has it judged when there is room for that.
pub(super) async fn make_room(
    State(room): State<Arc<Room>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let body = match room.body(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let Some(values) = room.values(&body).await else {
        room.refused.inc();
        let text = "the request has more values than can be held\n";
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    };
    // Whoever goes away does not end what was begun, so that it counts until it ends.
    let judged = tokio::spawn(async move {
        let response = next.run(Request::from_parts(head, body.into())).await;
        drop(values);
        response
    });
    judged.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a review did not come to its end");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

/// What a body takes at most while it is read and judged, in bytes: as values of JSON, of which a
/// small one takes many times its text, and once more with the places of its parts.
fn weight(body: &[u8]) -> usize {
    let each = body.iter().map(|byte| match byte {
        // A map has place for eleven entries, also if it has one.
        b'{' => 1400,
        b'[' => 300,
        b',' | b':' => 200,
        _ => 3,
    });
    each.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Room {
        Room::new(IntCounter::new("a", "a").unwrap())
    }

    #[tokio::test]
    async fn small_bodies_always_have_room_and_large_ones_together_only_so_much() {
        let room = room();
        let body = |size: usize| Body::from(vec![b'a'; size]);
        let all = room.take(BODIES).unwrap();
        assert_eq!(room.body(body(FREE)).await.unwrap().len(), FREE);
        assert_eq!(room.refused.get(), 0);
        let refused = room.body(body(FREE + 1)).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(room.refused.get(), 1);
        drop(all);
        assert_eq!(
            room.body(body(FREE + BODIES)).await.unwrap().len(),
            FREE + BODIES
        );
        assert!(room.body(body(FREE + BODIES + 1)).await.is_err());
        assert_eq!(room.bodies.available_permits(), BODIES);
    }

    #[tokio::test]
    async fn chunks_count_as_they_come() {
        let room = room();
        let chunk = |size: usize| Ok::<_, std::io::Error>(vec![b'a'; size]);
        let chunks = [chunk(FREE - 1), chunk(2), chunk(10)];
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        let all = room.take(BODIES - 11).unwrap();
        assert_eq!(room.body(body).await.unwrap().len(), FREE + 11);
        let chunks = [chunk(FREE - 1), chunk(2), chunk(11)];
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        assert!(room.body(body).await.is_err());
        drop(all);
    }

    #[tokio::test]
    async fn what_can_never_be_held_does_not_wait() {
        let room = room();
        assert!(room.values(&vec![b'{'; VALUES / 1400 + 1]).await.is_none());
        let held = room.values(&vec![b'{'; VALUES / 1400]).await.unwrap();
        let next = vec![b'{'; 1000];
        let waiting = room.values(&next);
        let waiting = std::pin::pin!(waiting);
        assert!(futures_util::FutureExt::now_or_never(waiting).is_none());
        drop(held);
        assert!(room.values(&next).await.is_some());
    }
}
