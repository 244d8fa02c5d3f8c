//! The objects of an installation that have fixed names and are in no manifest: the operator makes
//! them.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error, Resource, ResourceExt as _};

use super::known;
use super::plan::Phase;
use crate::api::SecurityProfilesOperatorDaemon;
use crate::api::webhooks::{DEPLOYMENT as WEBHOOK, MUTATING, SERVICE, VALIDATING};
use crate::cluster::MANAGER;
use crate::controller::certificates::{AUTHORITY, METRICS, WEBHOOK as WEBHOOK_CERTIFICATE};
use crate::controller::status::DAEMONS;

/// An object with a fixed name.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) phase: Phase,
    pub(super) resource: ApiResource,
    pub(super) name: &'static str,
    place: Place,
}

/// Where it is, and how it is known to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Of the cluster; the name is ours.
    Cluster,
    /// In the operator's namespace; the name is ours.
    Named,
    /// There as well, under a name that others may use: ours have our label.
    Labelled,
}

/// What there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    Ours,
    /// It is somebody else's.
    Foreign,
}

pub(super) fn all() -> Vec<Own> {
    use Place::{Cluster, Labelled, Named};
    let monitors = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor");
    vec![
        of::<ValidatingWebhookConfiguration>(Phase::Webhooks, VALIDATING, Cluster),
        of::<MutatingWebhookConfiguration>(Phase::Webhooks, MUTATING, Cluster),
        of::<DaemonSet>(Phase::Daemons, DAEMONS, Labelled),
        of::<Deployment>(Phase::Daemons, WEBHOOK, Labelled),
        of::<Service>(Phase::Rest, SERVICE, Labelled),
        of::<Service>(Phase::Rest, "metrics", Labelled),
        of::<PodDisruptionBudget>(Phase::Rest, WEBHOOK, Labelled),
        Own {
            phase: Phase::Rest,
            resource: ApiResource::from_gvk_with_plural(&monitors, "servicemonitors"),
            name: "security-profiles-operator-monitor",
            place: Labelled,
        },
        of::<Secret>(Phase::Rest, WEBHOOK_CERTIFICATE, Named),
        of::<Secret>(Phase::Rest, METRICS, Named),
        of::<Secret>(Phase::Rest, AUTHORITY, Named),
        of::<Lease>(Phase::Rest, "security-profiles-operator-lock", Named),
        // Of the reference.
        of::<Lease>(
            Phase::Rest,
            "security-profiles-operator-webhook-lock",
            Named,
        ),
        // Last: it says how pods are to run on nodes, which a further run has to know.
        of::<SecurityProfilesOperatorDaemon>(Phase::Rest, DAEMONS, Named),
    ]
}

fn of<K: Resource<DynamicType = ()>>(phase: Phase, name: &'static str, place: Place) -> Own {
    Own {
        phase,
        resource: ApiResource::erase::<K>(&()),
        name,
        place,
    }
}

impl Own {
    pub(super) fn is_namespaced(&self) -> bool {
        self.place != Place::Cluster
    }

    pub(super) fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if self.is_namespaced() {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        } else {
            Api::all_with(client.clone(), &self.resource)
        }
    }

    /// Whether it is there. A trial deletion tells that too, and needs no right to read what is in
    /// it: among these are keys.
    pub(super) async fn presence(
        &self,
        client: &Client,
        namespace: &str,
    ) -> Result<Presence, Error> {
        let api = self.api(client, namespace);
        if self.place == Place::Labelled {
            let found = known(api.get(self.name).await)?;
            return Ok(found.map_or(Presence::Absent, |object| {
                if object.labels().get("app").is_some_and(|app| app == MANAGER) {
                    Presence::Ours
                } else {
                    Presence::Foreign
                }
            }));
        }
        let trial = DeleteParams::default().dry_run();
        let found = known(api.delete(self.name, &trial).await)?;
        Ok(if found.is_some() {
            Presence::Ours
        } else {
            Presence::Absent
        })
    }
}
