//! Servers: HTTP/1.1 over TLS, with certificates of our own, and without TLS for what is nobody's
//! secret. Everything that a client can make us wait for or hold is bounded.

pub mod certificates;
mod tls;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use self::tls::{CertificateError, LeastTls, Tls};

/// The largest request: an object of the largest size that the API server takes, 3 MiB, and one of
/// the largest that it stores, 1.5 MiB, with room for what JSON adds.
const LARGEST_REQUEST: usize = 5 << 20;
/// The most bytes of a request's head, and those that are read at a time.
const LARGEST_HEAD: usize = 16 << 10;
/// How long to wait after no connection could be accepted, such as for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; others wait.
    pub connections: usize,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for the head of a request, and between two requests.
    pub head: Duration,
    /// Time for the rest of a request and its answer.
    pub request: Duration,
    /// Time for what runs when the server is asked to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            handshake: Duration::from_secs(10),
            head: Duration::from_mins(1),
            request: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// Takes an address. In place of all addresses of both kinds, those of IPv4 where there is no other.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if error.kind() != io::ErrorKind::AddrInUse
                && address.ip() == Ipv6Addr::UNSPECIFIED =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        taken => taken,
    }
}

/// Serves until `stop`; with `tls` over TLS. What is being answered then is answered first.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let wait = limits.request;
    let router = router
        .layer(from_fn(move |request, next| bounded(wait, request, next)))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST));
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, tls, router, limits, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain, drained).await.is_err() {
        tracing::warn!("connections did not end in time, and are cut");
        connections.shutdown().await;
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

async fn bounded(wait: Duration, request: Request, next: Next) -> Response {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > LARGEST_REQUEST) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    match timeout(wait, next.run(request)).await {
        Ok(response) => response,
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    // Answers are small, and written at once.
    stream.set_nodelay(true).ok();
    let Some(tls) = tls else {
        return http(stream, router, limits, stop).await;
    };
    let handshake = TlsAcceptor::from(tls.config()).accept(stream);
    match timeout(limits.handshake, handshake).await {
        Ok(Ok(stream)) => http(stream, router, limits, stop).await,
        // Probes and scanners do this all the time.
        Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
        Err(_) => tracing::debug!("the TLS handshake took too long"),
    }
}

async fn http<S>(stream: S, router: Router, limits: Limits, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
