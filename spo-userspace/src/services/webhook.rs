//! The admission server.

use std::io;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::reflector::{Store, store::Writer};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stop_on_signals;
use crate::cluster::watch::{Wish, store, watch};
use crate::cluster::{self, ConnectError};
use crate::server::{LeastTls, Limits, Tls, serve};
use crate::telemetry::http::health;
use crate::webhook::{Profiles, State, router};

/// For how long requests are still taken after we were asked to end, so that the cluster has the
/// time to send them elsewhere.
const LEAVING: Duration = Duration::from_secs(3);

/// How the server is reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port of the webhooks.
    pub port: u16,
    /// The port of `/healthz` and `/readyz`, without TLS.
    pub health_port: u16,
    /// The folder of `tls.crt` and `tls.key`.
    pub certificates: PathBuf,
    /// The oldest version of TLS.
    pub least: LeastTls,
}

/// Why the server cannot run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There is no cluster.
    #[error("cannot reach the cluster")]
    Cluster(#[from] ConnectError),
    /// The port is taken, or not ours to use.
    #[error("cannot listen on port {port}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be taken.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// The versions of TLS do not go together with the ciphers.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Serves until the process is asked to end.
pub async fn run(options: Options) -> Result<(), ServeError> {
    let stop = stop_on_signals().map_err(ServeError::Signals)?;
    let Options {
        port,
        health_port,
        certificates,
        least,
    } = options;
    let client = cluster::connect().await?;
    let tls = Tls::new(&certificates, least).map_err(ServeError::Tls)?;
    let (webhooks, checks) = (listen(port).await?, listen(health_port).await?);

    let tasks = TaskTracker::new();
    // The servers end a little later than everything else is told to.
    let end = CancellationToken::new();
    let watches = Watches {
        client: &client,
        tasks: &tasks,
        stop: &end,
    };
    let namespaces = watches.start(|namespace: &mut Namespace| {
        namespace.spec = None;
        namespace.status = None;
        namespace.metadata.annotations = None;
        true
    });
    let profiles = Profiles {
        seccomp: watches.start(trim),
        apparmor: watches.start(trim),
        selinux: watches.start(trim),
        raw_selinux: watches.start(trim),
    };
    let state = Arc::new(State::new(client.clone(), namespaces, profiles));

    let ready = {
        let (state, tls, stop) = (Arc::clone(&state), tls.clone(), stop.clone());
        move || match () {
            () if stop.is_cancelled() => Err("ending".to_owned()),
            () if !tls.is_ready() => Err("there is no certificate yet".to_owned()),
            () if state.synced().now_or_never().is_none() => {
                Err("not all profiles and namespaces are known yet".to_owned())
            }
            () => Ok(()),
        }
    };
    let limits = Limits::default();
    tasks.spawn(serve(checks, None, health(ready), limits, end.clone()));
    tasks.spawn(serve(
        webhooks,
        Some(tls),
        router(&state),
        limits,
        end.clone(),
    ));
    tracing::info!(port, health_port, "serving webhooks");

    stop.cancelled().await;
    tokio::time::sleep(LEAVING).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// All addresses of the machine, both kinds where there are both.
async fn listen(port: u16) -> Result<TcpListener, ServeError> {
    let error = |source| ServeError::Listen { port, source };
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => Ok(listener),
        Err(source) if source.kind() == io::ErrorKind::AddrInUse => Err(error(source)),
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await.map_err(error),
    }
}

struct Watches<'a> {
    client: &'a Client,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
}

impl Watches<'_> {
    /// Watches all objects of a kind.
    fn start<K>(&self, trim: impl Fn(&mut K) -> bool + Send + 'static) -> Store<K>
    where
        K: Resource<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let (store, writer): (_, Writer<K>) = store();
        let failed = |error: &_| {
            let kind = K::kind(&());
            tracing::warn!(%error, %kind, "a watch is broken, and is tried again");
        };
        let api = Api::all(self.client.clone());
        let stop = self.stop.clone();
        let watch = watch(api, Wish::default(), writer, stop, trim, |_| {}, failed);
        self.tasks.spawn(watch);
        store
    }
}

/// What no webhook reads.
fn trim<K: Resource>(object: &mut K) -> bool {
    let metadata = object.meta_mut();
    metadata.annotations = None;
    metadata.labels = None;
    metadata.finalizers = None;
    true
}
