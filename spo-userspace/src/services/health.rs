//! Says that the process is alive: its event loop turns, or nobody would answer.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Takes the address.
pub(super) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers `/healthz` until `stop`.
pub(super) async fn serve(listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let router = Router::new().route("/healthz", get(|| async { "ok\n" }));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}
