//! Who may do what recorders do: the daemons' account, of which a pod has but one, and only while a
//! recorder is switched on. Role and binding are in `deploy/`; the operator writes whom it is for.

use futures_util::FutureExt as _;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Subject};
use kube::api::{Api, PostParams};
use kube::runtime::reflector::Store;
use kube::{Client, Error};
use thiserror::Error;

use super::Context;
use super::render::RECORDERS;
use super::watches::Stores;
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::controller::status::DAEMONS;

/// The role, and its binding.
const NAME: &str = "spo-recorder";

/// Why it is not as it should be.
#[derive(Debug, Error)]
pub(super) enum GrantError {
    #[error("{}", told(.0))]
    Refused(#[from] Error),
    #[error(
        "there is no ClusterRoleBinding {NAME}, by which recorders get their rights: apply the manifests or the chart of this version"
    )]
    Absent,
}

/// Lets the daemons' account record while that is switched on, and until no recorder runs any more: one
/// that ends needs its rights, to hand in what it has. Whether recorders still run is to be looked at again,
/// since nobody tells when pods end.
pub(super) async fn settle(
    context: &Context,
    stores: &Stores,
    is_on: bool,
) -> Result<bool, String> {
    let runs = if is_on {
        Some(true)
    } else {
        // Where the pods are not known yet, nobody can tell.
        let known = context.pods.wait_until_ready().now_or_never();
        known.map(|_| runs(&stores.daemons, &context.pods))
    };
    let Some(records) = runs else {
        return Ok(true);
    };
    let granted = grant(&context.client, &context.namespace, records).await;
    granted.map_err(|error| {
        let error = error.to_string();
        tracing::warn!(error, "cannot say whether the account {DAEMONS} may record");
        format!("cannot say whether the account {DAEMONS} may record: {error}")
    })?;
    Ok(records && !is_on)
}

async fn grant(client: &Client, namespace: &str, records: bool) -> Result<(), GrantError> {
    let api: Api<ClusterRoleBinding> = Api::all(client.clone());
    let Some(mut binding) = api.get_opt(NAME).await? else {
        // Then nobody has the rights.
        return if records {
            Err(GrantError::Absent)
        } else {
            Ok(())
        };
    };
    let wanted = records.then(|| subject(namespace));
    if binding.subjects.iter().flatten().eq(&wanted) {
        return Ok(());
    }
    binding.subjects = wanted.map(|subject| vec![subject]);
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    api.replace(NAME, &parameters, &binding).await?;
    if records {
        tracing::info!("the account {DAEMONS} may record");
    } else {
        tracing::info!("the account {DAEMONS} may no longer record: no recorder runs");
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

/// Whether a recorder runs on some node, or is about to.
fn runs(daemons: &Store<DaemonSet>, pods: &Store<Pod>) -> bool {
    let is = |name: &str| RECORDERS.contains(&name);
    let daemons = daemons.state();
    let templates = daemons.iter().filter_map(|one| one.spec.as_ref());
    let templates = templates.filter_map(|spec| spec.template.spec.as_ref());
    let mut wanted = templates.flat_map(|spec| &spec.containers);
    let pods = pods.state();
    let statuses = pods.iter().filter_map(|pod| pod.status.as_ref());
    let mut there = statuses.flat_map(|status| status.container_statuses.iter().flatten());
    wanted.any(|container| is(&container.name)) || there.any(|container| is(&container.name))
}
