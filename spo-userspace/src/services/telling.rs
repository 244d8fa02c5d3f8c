//! What a process tells about itself over HTTP: whether it is alive, its metrics, and where its
//! time goes.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kube::Client;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::server::{LeastTls, Limits, Tls, listen, serve};
use crate::telemetry::http::{Access, health, metrics};
use crate::telemetry::metrics::{Metrics, of_process};
use crate::telemetry::profiling::{self, MOST_SECONDS};

/// Connections at a time.
const CONNECTIONS: usize = 64;

/// Where a process tells what.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/healthz` and `/readyz`.
    pub health: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
    /// The folder of the metrics' certificate.
    pub certificates: PathBuf,
    /// Whether everybody may read metrics, without TLS.
    pub insecure: bool,
    /// Profiles, if anybody wants any.
    pub profiling: Option<SocketAddr>,
}

/// Why a process cannot tell anything.
#[derive(Debug, Error)]
pub enum TellError {
    /// The address is taken, or is not ours.
    #[error("cannot listen at {address}, for {what}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What for.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The versions of TLS do not go together with the ciphers.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// Two metrics have one name.
    #[error("cannot set up metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Tells everything until `stop`, by tasks.
pub(super) async fn tell(
    places: Places,
    client: Client,
    counted: &Metrics,
    ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), TellError> {
    let Places {
        health: health_address,
        metrics: address,
        certificates,
        insecure,
        profiling,
    } = places;
    let limits = Limits {
        connections: CONNECTIONS,
        ..Limits::default()
    };
    let listener = bind(health_address, "health").await?;
    tasks.spawn(serve(listener, None, health(ready), limits, stop.clone()));

    let listener = bind(address, "metrics").await?;
    let (tls, access) = if insecure {
        tracing::warn!(%address, "everybody may read metrics, without TLS");
        (None, None)
    } else {
        let tls = Tls::new(&certificates, LeastTls::V1_2).map_err(TellError::Tls)?;
        if !tls.is_ready() {
            let folder = certificates.display();
            tracing::info!(%folder, "metrics wait for their certificate, the Secret metrics-server-cert; nothing else does");
        }
        (Some(tls), Some(Arc::new(Access::new(client))))
    };
    let router = metrics(of_process()?, counted.registry(), access);
    tasks.spawn(serve(listener, tls, router, limits, stop.clone()));
    if let Some(address) = profiling {
        profile(address, tasks, stop).await?;
    }
    Ok(())
}

/// Makes profiles for whoever asks.
pub(super) async fn profile(
    address: SocketAddr,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), TellError> {
    let listener = bind(address, "profiling").await?;
    let limits = Limits {
        connections: 4,
        request: Duration::from_secs(MOST_SECONDS + 60),
        // Nobody waits for a profile of a process that ends.
        drain: Duration::ZERO,
        ..Limits::default()
    };
    let router: Router = profiling::router();
    tasks.spawn(serve(listener, None, router, limits, stop.clone()));
    tracing::warn!(%address, "everybody who reaches this address may have the process profiled");
    Ok(())
}

async fn bind(
    address: SocketAddr,
    what: &'static str,
) -> Result<tokio::net::TcpListener, TellError> {
    listen(address).await.map_err(|source| TellError::Listen {
        address,
        what,
        source,
    })
}
