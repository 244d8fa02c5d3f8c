//! What a verifier has to know of the cluster, and what has it look at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{Store, store::Writer};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::names::CONFIGURATION;
use crate::api::{ProfileBinding, SeccompProfile, SecurityProfilesOperatorDaemon};
use crate::cluster::watch::{Change, Wish, store, watch};
use crate::node::profiles;
use crate::telemetry::metrics::Metrics;
use crate::verify::{Bindings, Told};

/// After a change, so long for what belongs to it.
const SETTLE: Duration = Duration::from_millis(500);

/// What concerns a verifier.
pub(super) struct Scope {
    pub(super) node: String,
    /// The operator's.
    pub(super) namespace: String,
    pub(super) folder: PathBuf,
}

/// Watches that run.
pub(super) struct Watches {
    pods: Store<Pod>,
    profiles: Store<DeserializeGuard<SeccompProfile>>,
    bindings: Store<DeserializeGuard<ProfileBinding>>,
    namespaces: Store<PartialObjectMeta<Namespace>>,
    configurations: Store<DeserializeGuard<SecurityProfilesOperatorDaemon>>,
    operator: String,
    /// Each is cancelled when a watch has told all that is there.
    complete: Vec<CancellationToken>,
    changed: Arc<Notify>,
    tasks: Mutex<JoinSet<()>>,
}

/// How watches are begun.
struct Starter<'s> {
    client: &'s Client,
    metrics: &'s Arc<Metrics>,
    stop: &'s CancellationToken,
    complete: Vec<CancellationToken>,
    tasks: JoinSet<()>,
}

impl Starter<'_> {
    fn watch<K>(
        &mut self,
        api: Api<K>,
        fields: Option<String>,
        writer: Writer<K>,
        trim: fn(&mut K),
        mut changed: impl FnMut() + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
        K: Send + Sync + 'static,
    {
        let wish = Wish {
            fields,
            ..Wish::default()
        };
        self.complete.push(wish.complete.clone());
        let metrics = self.metrics.clone();
        self.tasks.spawn(watch(
            api,
            wish,
            writer,
            self.stop.clone(),
            move |object: &mut K| {
                trim(object);
                true
            },
            move |_: Change<'_, K>| changed(),
            move |resource: &str| metrics.watch_failed(resource),
        ));
    }

    fn all<K>(&mut self, writer: Writer<K>, trim: fn(&mut K))
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
        K: Send + Sync + 'static,
    {
        self.watch(Api::all(self.client.clone()), None, writer, trim, || {});
    }
}

impl Watches {
    /// Starts them.
    pub(super) fn start(
        client: &Client,
        scope: &Scope,
        metrics: &Arc<Metrics>,
        stop: &CancellationToken,
    ) -> Self {
        let Scope {
            node,
            namespace,
            folder,
        } = scope;
        let mut starter = Starter {
            client,
            metrics,
            stop,
            complete: Vec::new(),
            tasks: JoinSet::new(),
        };
        let changed = Arc::new(Notify::new());
        let (pods, writer) = store();
        let tell = changed.clone();
        let own = Some(format!("spec.nodeName={node}"));
        let all = Api::all(client.clone());
        starter.watch(all, own, writer, |_| {}, move || tell.notify_one());
        let (profiles, writer) = store();
        starter.all(writer, |profile: &mut DeserializeGuard<SeccompProfile>| {
            // How far it is elsewhere is of no interest, and much.
            if let Ok(profile) = &mut profile.0 {
                profile.status = None;
            }
        });
        let (bindings, writer) = store();
        starter.all(writer, |binding: &mut DeserializeGuard<ProfileBinding>| {
            if let Ok(binding) = &mut binding.0 {
                binding.status = None;
            }
        });
        let (namespaces, writer) = store();
        starter.all(writer, |namespace: &mut PartialObjectMeta<Namespace>| {
            namespace.metadata.annotations = None;
        });
        let (configurations, writer) = store();
        let own = Some(format!("metadata.name={CONFIGURATION}"));
        let api = Api::namespaced(client.clone(), namespace);
        starter.watch(api, own, writer, |_| {}, || {});
        let tell = changed.clone();
        let counted = metrics.clone();
        starter.tasks.spawn(profiles::watch(
            folder.clone(),
            stop.clone(),
            move |_| tell.notify_one(),
            move |error| {
                tracing::warn!(%error, "cannot watch the folder of profiles");
                counted.watch_failed("folder");
            },
        ));
        let Starter {
            complete, tasks, ..
        } = starter;
        Self {
            pods,
            profiles,
            bindings,
            namespaces,
            configurations,
            operator: namespace.clone(),
            complete,
            changed,
            tasks: Mutex::new(tasks),
        }
    }

    /// Waits until all is known that is there; not if it is asked to end before.
    pub(super) async fn complete(&self, stop: &CancellationToken) -> bool {
        for part in &self.complete {
            tokio::select! {
                () = part.cancelled() => {}
                () = stop.cancelled() => return false,
            }
        }
        true
    }

    /// Waits until something changes.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
        tokio::time::sleep(SETTLE).await;
    }

    /// What is known now.
    pub(super) fn told(&self) -> Told {
        let labels = |namespace: &Arc<PartialObjectMeta<Namespace>>| {
            (namespace.name_any(), namespace.labels().clone())
        };
        let namespaces = self.namespaces.state();
        let configuration = self.configurations.state().into_iter().next();
        let profiles = self.profiles.state().into_iter();
        Told {
            pods: self.pods.state(),
            profiles: profiles.map(|one| (one.name_any(), one)).collect(),
            bindings: Bindings::new(
                self.bindings.state(),
                namespaces.iter().map(labels).collect(),
                &self.operator,
                configuration.as_deref(),
            ),
        }
    }

    /// Waits until they have ended.
    pub(super) async fn ended(self) {
        self.tasks.into_inner().join_all().await;
    }
}
