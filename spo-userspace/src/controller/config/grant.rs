//! Who may do what recorders and verifiers do: the daemons' account, of which a pod has but one, and only
//! while they are switched on. Roles and bindings are in `deploy/`; the operator writes whom they are for.

use futures_util::FutureExt as _;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Subject};
use kube::api::{Api, PostParams};
use kube::runtime::reflector::Store;
use kube::{Client, Error};
use thiserror::Error;

use super::Context;
use super::render::{RECORDERS, VERIFIERS};
use super::watches::Stores;
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::controller::status::DAEMONS;

/// What containers beside the daemon's may do more than it.
pub(super) struct Role {
    /// The role, and its binding.
    name: &'static str,
    containers: &'static [&'static str],
    /// What they do.
    verb: &'static str,
}

pub(super) const RECORDER: Role = Role {
    name: "spo-recorder",
    containers: RECORDERS,
    verb: "record",
};
pub(super) const VERIFIER: Role = Role {
    name: "spo-verifier",
    containers: VERIFIERS,
    verb: "verify",
};

/// Why it is not as it should be.
#[derive(Debug, Error)]
pub(super) enum GrantError {
    #[error("{}", told(.0))]
    Refused(#[from] Error),
    #[error(
        "there is no ClusterRoleBinding {0}, by which containers get their rights: apply the manifests or the chart of this version"
    )]
    Absent(&'static str),
}

/// Lets the daemons' account do what a role lets it while that is switched on, and until none of its containers
/// runs any more: one that ends needs its rights, to hand in what it has. Whether they still run is to be looked
/// at again, since nobody tells when pods end.
pub(super) async fn settle(
    context: &Context,
    stores: &Stores,
    role: &Role,
    is_on: bool,
) -> Result<bool, String> {
    let runs = if is_on {
        Some(true)
    } else {
        // Where the pods are not known yet, nobody can tell.
        let known = context.pods.wait_until_ready().now_or_never();
        known.map(|_| runs(role, &stores.daemons, &context.pods))
    };
    let Some(runs) = runs else {
        return Ok(true);
    };
    let granted = grant(&context.client, &context.namespace, role, runs).await;
    granted.map_err(|error| {
        let (error, verb) = (error.to_string(), role.verb);
        tracing::warn!(error, "cannot say whether the account {DAEMONS} may {verb}");
        format!("cannot say whether the account {DAEMONS} may {verb}: {error}")
    })?;
    Ok(runs && !is_on)
}

async fn grant(
    client: &Client,
    namespace: &str,
    role: &Role,
    runs: bool,
) -> Result<(), GrantError> {
    let Role { name, verb, .. } = role;
    let api: Api<ClusterRoleBinding> = Api::all(client.clone());
    let Some(mut binding) = api.get_opt(name).await? else {
        // Then nobody has the rights.
        return if runs {
            Err(GrantError::Absent(name))
        } else {
            Ok(())
        };
    };
    let wanted = runs.then(|| subject(namespace));
    if binding.subjects.iter().flatten().eq(&wanted) {
        return Ok(());
    }
    binding.subjects = wanted.map(|subject| vec![subject]);
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    api.replace(name, &parameters, &binding).await?;
    if runs {
        tracing::info!("the account {DAEMONS} may {verb}");
    } else {
        tracing::info!("the account {DAEMONS} may no longer {verb}: nothing runs that does");
    }
    Ok(())
}

fn subject(namespace: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: DAEMONS.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Subject::default()
    }
}

/// Whether one of its containers runs on some node, or is about to.
fn runs(role: &Role, daemons: &Store<DaemonSet>, pods: &Store<Pod>) -> bool {
    let is = |name: &str| role.containers.contains(&name);
    let daemons = daemons.state();
    let templates = daemons.iter().filter_map(|one| one.spec.as_ref());
    let templates = templates.filter_map(|spec| spec.template.spec.as_ref());
    let mut wanted = templates.flat_map(|spec| &spec.containers);
    let pods = pods.state();
    let statuses = pods.iter().filter_map(|pod| pod.status.as_ref());
    let mut there = statuses.flat_map(|status| status.container_statuses.iter().flatten());
    wanted.any(|container| is(&container.name)) || there.any(|container| is(&container.name))
}
