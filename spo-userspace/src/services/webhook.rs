//! The admission server.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{Store, store::Writer};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stop_on_signals;
use super::telling::{TellError, profile};
use crate::api::names::CONFIGURATION;
use crate::api::{ProfileBinding, ProfileRecording};
use crate::cluster::error::told;
use crate::cluster::events::Events;
use crate::cluster::watch::{Change, Wish, store, watch};
use crate::cluster::{self, ConnectError};
use crate::server::{LeastTls, Limits, Tls, listen, serve};
use crate::telemetry::http::{Access, health, metrics};
use crate::telemetry::metrics::{Metrics, of_process};
use crate::webhook::{Guarded, Profiles, State, Stores, router};

/// For how long requests are still taken after we were asked to end, so that the cluster has the
/// time to send them elsewhere.
const LEAVING: Duration = Duration::from_secs(3);

/// Connections at a time; others wait. Each takes some 64 KiB, whatever it sends.
const CONNECTIONS: usize = 256;
/// Time for a request. The API server waits for five seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the server is reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of the operator and its configuration.
    pub namespace: String,
    /// A name that no other replica has: that of its pod.
    pub identity: String,
    /// The port of the webhooks.
    pub port: u16,
    /// The port of `/healthz` and `/readyz`, without TLS.
    pub health_port: u16,
    /// The folder of `tls.crt` and `tls.key`.
    pub certificates: PathBuf,
    /// The oldest version of TLS.
    pub least: LeastTls,
    /// Where profiles of the process's own time are made, if anybody wants any.
    pub profiling: Option<SocketAddr>,
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
    /// Two metrics have one name.
    #[error("cannot set up metrics")]
    Metrics(#[from] prometheus::Error),
    /// Profiles cannot be made.
    #[error(transparent)]
    Profiling(#[from] TellError),
}

/// Serves until the process is asked to end.
pub async fn run(options: Options) -> Result<(), ServeError> {
    let stop = stop_on_signals().map_err(ServeError::Signals)?;
    let Options {
        namespace,
        identity,
        port,
        health_port,
        certificates,
        least,
        profiling,
    } = options;
    let client = cluster::connect().await?;
    let tls = Tls::new(&certificates, least).map_err(ServeError::Tls)?;
    let at = async |port| {
        let listening = listen((Ipv6Addr::UNSPECIFIED, port).into()).await;
        listening.map_err(|source| ServeError::Listen { port, source })
    };
    let (webhooks, checks) = (at(port).await?, at(health_port).await?);

    let counted = Arc::new(Metrics::new("")?);
    let tasks = TaskTracker::new();
    // The servers end a little later than everything else is told to.
    let end = CancellationToken::new();
    let watches = Watches {
        client: &client,
        tasks: &tasks,
        metrics: &counted,
        stop: &end,
    };
    let trim_namespace = |namespace: &mut Namespace| {
        namespace.spec = None;
        namespace.status = None;
        namespace.metadata.annotations = None;
        true
    };
    let namespaces = watches.all(trim_namespace, |_| {});
    let trim_binding = |binding: &mut DeserializeGuard<ProfileBinding>| {
        trim(binding);
        if let Ok(binding) = &mut binding.0 {
            binding.status = None;
        }
        true
    };
    let profiles = Profiles {
        seccomp: watches.profiles(),
        apparmor: watches.profiles(),
        selinux: watches.profiles(),
        raw_selinux: watches.profiles(),
    };
    let own = Api::namespaced(client.clone(), &namespace);
    let spod = Some(format!("metadata.name={CONFIGURATION}"));
    let stores = Stores {
        namespaces,
        profiles,
        recordings: watches.all(|_: &mut DeserializeGuard<ProfileRecording>| true, |_| {}),
        bindings: watches.all(trim_binding, |_| {}),
        configurations: watches.start(own, spod, |_| true, |_| {}),
    };
    let events = Events::new(client.clone(), &identity, counted.events_over_budget());
    let (notes, written) = events.later(end.clone());
    tasks.spawn(written);
    let state = Arc::new(State::new(client.clone(), namespace, stores, notes));

    let ready = {
        let (state, tls, stop) = (Arc::clone(&state), tls.clone(), stop.clone());
        move || match () {
            () if stop.is_cancelled() => Err("ending".to_owned()),
            () if !tls.is_ready() => Err("there is no certificate yet".to_owned()),
            () if state.synced().now_or_never().is_none() => Err(
                "not all profiles, namespaces, recordings and bindings are known yet".to_owned(),
            ),
            () => Ok(()),
        }
    };
    let limits = Limits {
        connections: CONNECTIONS,
        request: PATIENCE,
        ..Limits::default()
    };
    tasks.spawn(serve(checks, None, health(ready), limits, end.clone()));
    let access = Some(Arc::new(Access::new(client.clone())));
    let metrics = metrics(of_process()?, counted.registry(), access);
    let router = router(&state, counted.requests_refused()).merge(metrics);
    tasks.spawn(serve(webhooks, Some(tls), router, limits, end.clone()));
    if let Some(address) = profiling {
        profile(address, &tasks, &end).await?;
    }
    tracing::info!(port, health_port, "serving webhooks");

    stop.cancelled().await;
    tokio::time::sleep(LEAVING).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

struct Watches<'a> {
    client: &'a Client,
    tasks: &'a TaskTracker,
    metrics: &'a Arc<Metrics>,
    stop: &'a CancellationToken,
}

impl Watches<'_> {
    /// Watches all profiles of a kind. One that cannot be read is there, too, and is told once.
    fn profiles<K>(&self) -> Store<Guarded<K>>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + 'static,
        Guarded<K>: Resource<DynamicType = ()> + Clone + DeserializeOwned + Send + Sync,
    {
        let metrics = Arc::clone(self.metrics);
        let mut unreadable = HashSet::new();
        let changed = move |change: Change<'_, Guarded<K>>| {
            let profile = change.object();
            let name = profile.name_any();
            let error = match (&change, &profile.0) {
                (Change::Present(_), Err(invalid)) => Some(told(invalid)),
                _ => None,
            };
            let Some(error) = error else {
                if unreadable.remove(&name) {
                    metrics.unreadable(&K::plural(&()), unreadable.len());
                }
                return;
            };
            if unreadable.insert(name.clone()) {
                let kind = K::kind(&());
                tracing::warn!(%kind, name, error, "this version cannot read for which namespaces a profile is: pods that name it are refused");
                metrics.unreadable(&K::plural(&()), unreadable.len());
            }
        };
        let trim = |profile: &mut Guarded<K>| {
            match &mut profile.0 {
                Ok(profile) => profile.trim(),
                Err(_) => trim(profile),
            }
            true
        };
        self.all(trim, changed)
    }

    /// Watches all objects of a kind.
    fn all<K>(
        &self,
        trim: impl Fn(&mut K) -> bool + Send + 'static,
        changed: impl FnMut(Change<'_, K>) + Send + 'static,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        self.start(Api::all(self.client.clone()), None, trim, changed)
    }

    /// Watches the objects with some fields.
    fn start<K>(
        &self,
        api: Api<K>,
        fields: Option<String>,
        trim: impl Fn(&mut K) -> bool + Send + 'static,
        changed: impl FnMut(Change<'_, K>) + Send + 'static,
    ) -> Store<K>
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
        let metrics = Arc::clone(self.metrics);
        let failed = move |resource: &str| metrics.watch_failed(resource);
        let wish = Wish {
            fields,
            ..Wish::default()
        };
        let stop = self.stop.clone();
        let watch = watch(api, wish, writer, stop, trim, changed, failed);
        self.tasks.spawn(watch);
        store
    }
}

/// Leaves out what no webhook reads.
fn trim<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.annotations = None;
    metadata.labels = None;
    metadata.finalizers = None;
}
