//! What is watched: the configuration, the objects that it leads to, the operator's own
//! Deployment, and whether there are objects of the kind `ServiceMonitor`.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ObjectMeta};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{Store, store::Writer};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::render::{METRICS_SERVICE, OPERATOR, WEBHOOK, WEBHOOK_SERVICE};
use crate::api::SecurityProfilesOperatorDaemon;
use crate::cluster::queue::Queue;
use crate::cluster::watch::{Change, Wish, store, watch};
use crate::controller::status::DAEMONS;
use crate::telemetry::metrics::Metrics;

/// The definition of `ServiceMonitor`.
const MONITORS: &str = "servicemonitors.monitoring.coreos.com";

/// A configuration, which this version may be unable to read.
pub(super) type Guarded = DeserializeGuard<SecurityProfilesOperatorDaemon>;

/// What is known of the cluster.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) configurations: Store<Guarded>,
    pub(super) daemons: Store<DaemonSet>,
    pub(super) deployments: Store<Deployment>,
    pub(super) services: Store<Service>,
    pub(super) definitions: Store<CustomResourceDefinition>,
}

/// Watches that run.
pub(super) struct Watches {
    pub(super) stores: Stores,
    pub(super) tasks: JoinSet<()>,
    /// Each is cancelled when a watch has told all that is there.
    pub(super) complete: Vec<CancellationToken>,
    queue: Queue<()>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Watches {
    /// Starts them.
    pub(super) fn start(context: &Context, queue: Queue<()>, stop: CancellationToken) -> Self {
        let (client, namespace) = (&context.client, &context.namespace);
        let (configurations, configurations_writer) = store();
        let (daemons, daemons_writer) = store();
        let (deployments, deployments_writer) = store();
        let (services, services_writer) = store();
        let (definitions, definitions_writer) = store();
        let stores = Stores {
            configurations,
            daemons,
            deployments,
            services,
            definitions,
        };
        let mut watches = Self {
            stores,
            tasks: JoinSet::new(),
            complete: Vec::new(),
            queue,
            metrics: context.metrics.clone(),
            stop,
        };
        let named = |name: &str| Some(format!("metadata.name={name}"));
        let own = Api::namespaced(client.clone(), namespace);
        watches.of(
            own,
            named(DAEMONS),
            configurations_writer,
            |_: &mut Guarded| true,
        );
        let own = Api::namespaced(client.clone(), namespace);
        watches.of(own, named(DAEMONS), daemons_writer, |_: &mut DaemonSet| {
            true
        });
        let own = Api::namespaced(client.clone(), namespace);
        watches.of(
            own,
            None,
            deployments_writer,
            |deployment: &mut Deployment| {
                [OPERATOR, WEBHOOK].contains(&deployment.name_any().as_str())
            },
        );
        let own = Api::namespaced(client.clone(), namespace);
        watches.of(own, None, services_writer, |service: &mut Service| {
            [METRICS_SERVICE, WEBHOOK_SERVICE].contains(&service.name_any().as_str())
        });
        let all = Api::all(client.clone());
        watches.of(all, named(MONITORS), definitions_writer, trim);
        watches
    }

    fn of<K>(
        &mut self,
        api: Api<K>,
        fields: Option<String>,
        writer: Writer<K>,
        trim: fn(&mut K) -> bool,
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let wish = Wish {
            fields,
            ..Wish::default()
        };
        self.complete.push(wish.complete.clone());
        let queue = self.queue.clone();
        let changed = move |_: Change<'_, K>| queue.add(());
        let metrics = self.metrics.clone();
        let failed = move |resource: &str| metrics.watch_failed(resource);
        let stop = self.stop.clone();
        self.tasks
            .spawn(watch(api, wish, writer, stop, trim, changed, failed));
    }
}

/// That the definition is there is enough, and that the server has taken it.
fn trim(definition: &mut CustomResourceDefinition) -> bool {
    let conditions = definition
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let is_established = conditions
        .into_iter()
        .any(|condition| condition.type_ == "Established" && condition.status == "True");
    *definition = CustomResourceDefinition {
        metadata: ObjectMeta {
            name: definition.metadata.name.take(),
            resource_version: definition.metadata.resource_version.take(),
            ..ObjectMeta::default()
        },
        ..CustomResourceDefinition::default()
    };
    is_established
}
