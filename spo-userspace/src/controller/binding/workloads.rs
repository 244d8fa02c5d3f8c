//! Which pods a binding counts for: its status, and the finalizer by which it stays as long as there
//! are any.

use std::collections::BTreeSet;

use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Error, Resource as _};
use serde_json::{Value, json};

use super::watches::Stores;
use super::{Context, Key};
use crate::api::ProfileBinding;
use crate::api::names::BOUND;
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::cluster::queue::Outcome;
use crate::controller::usage::MOST_PODS;

/// What is known of a binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Observed {
    deleted: bool,
    finalizers: Vec<String>,
    /// `status.activeWorkloads`, and how many there are of them in all.
    said: (Vec<String>, u32),
    /// The pods that it counts for, as `namespace/pod`.
    pods: BTreeSet<String>,
    /// Whether some of them hold it: those of its own namespace. Of others, anybody could say that they are
    /// its pods, and keep it for ever.
    held: bool,
}

/// What to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    finalizers: Option<Vec<String>>,
    workloads: Option<(Vec<String>, u32)>,
}

fn plan(observed: &Observed) -> Plan {
    let Observed {
        deleted,
        finalizers,
        said,
        pods,
        held,
    } = observed;
    let others = finalizers.iter().filter(|name| *name != BOUND).cloned();
    let has = finalizers.iter().any(|name| name == BOUND);
    let wanted: Vec<_> = match (held, has) {
        (false, _) => others.collect(),
        // None can be added to what is being deleted.
        (true, false) if !deleted => others.chain([BOUND.to_owned()]).collect(),
        (true, _) => finalizers.clone(),
    };
    let all = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    let workloads = (pods.iter().take(MOST_PODS).cloned().collect(), all);
    let gone = *deleted && wanted.is_empty();
    Plan {
        finalizers: (wanted != *finalizers).then_some(wanted),
        workloads: (workloads != *said && !gone).then_some(workloads),
    }
}

pub(super) async fn reconcile(context: &Context, stores: &Stores, key: &Key) -> Outcome {
    let object = ObjectRef::new(&key.name).within(&key.namespace);
    let Some(binding) = stores.bindings.get(&object) else {
        return Outcome::Done;
    };
    let meta = binding.meta();
    let status = binding.0.as_ref().ok().and_then(|one| one.status.clone());
    let status = status.unwrap_or_default();
    let mut pods = stores.indexes().pods.of(key);
    let is_own = |pod: &String| Key::read(pod).is_some_and(|pod| pod.namespace == key.namespace);
    // What a pod says of itself, anybody can have written into it.
    pods.retain(|pod| key.namespace == context.namespace || is_own(pod));
    let held = pods.iter().any(is_own);
    let plan = plan(&Observed {
        deleted: meta.deletion_timestamp.is_some(),
        finalizers: meta.finalizers.clone().unwrap_or_default(),
        said: (status.active_workloads, status.pods.unwrap_or_default()),
        pods,
        held,
    });
    let identity = (meta.uid.clone(), meta.resource_version.clone());
    match apply(context, key, identity, &plan).await {
        Ok(()) => Outcome::Done,
        Err(Error::Api(status)) if status.is_not_found() => Outcome::Done,
        Err(Error::Api(status)) if status.is_conflict() => Outcome::Failed,
        Err(error) => {
            let error = told(&error);
            tracing::warn!(binding = %key, error, "cannot write which pods a binding counts for");
            Outcome::Failed
        }
    }
}

async fn apply(
    context: &Context,
    key: &Key,
    (uid, mut version): (Option<String>, Option<String>),
    plan: &Plan,
) -> Result<(), Error> {
    let api: Api<ProfileBinding> = Api::namespaced(context.client.clone(), &key.namespace);
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    // The status first: without its last finalizer the object may be gone.
    if let Some((pods, all)) = &plan.workloads {
        let pods = (!pods.is_empty()).then_some(pods);
        let all = (*all > 0).then_some(all);
        let status = json!({ "activeWorkloads": pods, "pods": all });
        let metadata = json!({ "uid": uid, "resourceVersion": version });
        let patch: Patch<Value> = Patch::Merge(json!({ "metadata": metadata, "status": status }));
        let patched = api.patch_status(&key.name, &parameters, &patch).await?;
        version = patched.metadata.resource_version;
    }
    if let Some(finalizers) = &plan.finalizers {
        let metadata = json!({ "finalizers": finalizers, "uid": uid, "resourceVersion": version });
        let patch: Patch<Value> = Patch::Merge(json!({ "metadata": metadata }));
        api.patch_metadata(&key.name, &parameters, &patch).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(finalizers: &[&str], said: u32, pods: usize) -> Observed {
        let pod = |number| format!("shop/{number:05}");
        Observed {
            deleted: false,
            finalizers: finalizers.iter().map(ToString::to_string).collect(),
            said: ((0..said as usize).map(pod).collect(), said),
            pods: (0..pods).map(pod).collect(),
            held: pods > 0,
        }
    }

    #[test]
    fn it_is_held_as_long_as_there_are_pods() {
        let first = plan(&seen(&["example.com/a"], 0, 1));
        assert_eq!(first.finalizers.unwrap(), ["example.com/a", BOUND]);
        assert_eq!(first.workloads.unwrap(), (vec!["shop/00000".to_owned()], 1));
        assert_eq!(plan(&seen(&[BOUND], 1, 1)), Plan::default());
        let last = plan(&seen(&["example.com/a", BOUND], 1, 0));
        assert_eq!(last.finalizers.unwrap(), ["example.com/a"]);
        assert_eq!(last.workloads.unwrap(), (Vec::new(), 0));
    }

    #[test]
    fn what_is_being_deleted_waits_for_its_pods_and_gets_no_finalizer() {
        let deleted = |observed| Observed {
            deleted: true,
            ..observed
        };
        let held = plan(&deleted(seen(&[BOUND], 2, 1)));
        assert_eq!(held.finalizers, None);
        assert_eq!(held.workloads.unwrap().1, 1);
        assert_eq!(plan(&deleted(seen(&["a"], 0, 1))).finalizers, None);
        let released = plan(&deleted(seen(&[BOUND], 1, 0)));
        assert_eq!(released.finalizers.unwrap(), Vec::<String>::new());
        assert_eq!(released.workloads, None, "it is gone then");
        assert_eq!(
            plan(&deleted(seen(&["a", BOUND], 1, 0)))
                .finalizers
                .unwrap(),
            ["a"]
        );
    }

    #[test]
    fn pods_of_other_namespaces_are_counted_and_hold_nothing() {
        let elsewhere = Observed {
            held: false,
            ..seen(&[BOUND], 0, 3)
        };
        let plan = plan(&elsewhere);
        assert_eq!(plan.finalizers.unwrap(), Vec::<String>::new());
        assert_eq!(plan.workloads.unwrap().1, 3);
    }

    #[test]
    fn of_many_pods_some_are_named_and_all_are_counted() {
        let (named, all) = plan(&seen(&[BOUND], 0, MOST_PODS + 7)).workloads.unwrap();
        assert_eq!((named.len(), all as usize), (MOST_PODS, MOST_PODS + 7));
    }
}
