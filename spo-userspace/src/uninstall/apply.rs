//! Does what was planned.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::ApiResource;
use kube::runtime::watcher;
use serde::Serialize;
use serde_json::json;

use super::nodes::{Workshop, names};
use super::observe::{self, Seen, kinds};
use super::own;
use super::plan::{Action, Phase, Plan, REPORTS, Step, foreign, used};
use super::pods::until;
use super::{Error, Keep, Options, known, request};
use crate::api::SecurityProfileNodeStatus;
use crate::api::webhooks::DEPLOYMENT as WEBHOOK;
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::controller::status::DAEMONS;
use crate::profile::few::few;

/// Objects, and nodes, that are worked on at a time.
const AT_ONCE: usize = 16;
/// How often an object is tried again that somebody else writes to.
const TRIES: u32 = 10;
/// Finalizers by which the cluster itself puts off the end of what has parts.
const OF_THE_CLUSTER: [&str; 2] = ["foregroundDeletion", "orphan"];

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It is done, and there may be something to know.
    Done(Option<String>),
    /// It is not, or not wholly; why, and what is left.
    Left(String),
    /// It was not tried.
    Waiting,
}

/// A step, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The step.
    #[serde(flatten)]
    pub step: Step,
    /// What became of it.
    pub state: State,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All steps.
    pub steps: Vec<Done>,
    /// Why it went no further.
    pub error: Option<Error>,
}

impl Outcome {
    /// Whether all is as it was to be.
    pub fn is_done(&self) -> bool {
        let mut steps = self.steps.iter();
        self.error.is_none() && steps.all(|done| matches!(done.state, State::Done(_)))
    }
}

/// Carries a plan out that is not refused. `say` is told what it does and waits for.
pub async fn apply(
    client: &Client,
    seen: &Seen,
    plan: &Plan,
    options: &Options,
    say: &mut (dyn FnMut(&str) + Send),
) -> Outcome {
    let mut run = Run {
        client,
        seen,
        plan,
        options,
        say,
        steps: Vec::new(),
    };
    let mut error = None;
    for phase in Phase::ALL {
        if let Err(failure) = run.phase(phase).await {
            error = Some(failure);
            break;
        }
    }
    let mut steps = run.steps;
    let tried: BTreeSet<_> = steps.iter().map(|done| key(&done.step)).collect();
    let rest = plan.steps.iter().filter(|step| !tried.contains(&key(step)));
    let rest: Vec<_> = rest.cloned().collect();
    steps.extend(rest.into_iter().map(|step| Done {
        step,
        state: State::Waiting,
    }));
    Outcome { steps, error }
}

fn key(step: &Step) -> (String, Option<String>, String) {
    (step.kind.clone(), step.namespace.clone(), step.name.clone())
}

struct Run<'r> {
    client: &'r Client,
    seen: &'r Seen,
    plan: &'r Plan,
    options: &'r Options,
    say: &'r mut (dyn FnMut(&str) + Send),
    steps: Vec<Done>,
}

impl Run<'_> {
    async fn phase(&mut self, phase: Phase) -> Result<(), Error> {
        let steps = self.plan.steps.iter();
        let steps: Vec<_> = steps.filter(|step| step.phase == phase).cloned().collect();
        match phase {
            Phase::Operator => {
                for step in steps {
                    (self.say)("the operator gets no replicas");
                    self.stop().await?;
                    self.add(step, State::Done(None));
                }
                self.end_of(&[MANAGER]).await
            }
            Phase::Nodes => self.nodes(steps).await,
            Phase::Webhooks => self.objects(steps, "webhooks").await,
            Phase::Daemons => {
                self.objects(steps, "daemons and the webhook's Deployment")
                    .await?;
                self.end_of(&[DAEMONS, WEBHOOK]).await
            }
            Phase::Objects => {
                self.objects(steps, "profiles, and what belongs to them")
                    .await
            }
            Phase::Rest => {
                self.objects(steps, "services, certificates, the configuration")
                    .await
            }
        }
    }

    fn add(&mut self, step: Step, state: State) {
        if let State::Left(why) = &state {
            (self.say)(&format!("{} {}: {why}", step.kind, step.name));
        }
        self.steps.push(Done { step, state });
    }

    async fn stop(&self) -> Result<(), Error> {
        let deployments: Api<Deployment> =
            Api::namespaced(self.client.clone(), &self.seen.namespace);
        let patch = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        let patched = deployments
            .patch_scale(MANAGER, &PatchParams::default(), &patch)
            .await;
        known(patched)
            .map(drop)
            .map_err(request("stop the operator"))
    }

    /// Waits until the pods are gone, but for those of nodes that do not answer.
    async fn end_of(&mut self, of: &[&str]) -> Result<(), Error> {
        let away = self.seen.nodes.iter().filter(|node| !node.is_ready);
        let away: BTreeSet<_> = away.map(|node| node.name.clone()).collect();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.seen.namespace);
        let labels = format!("app={MANAGER},name in ({})", of.join(","));
        let patience = self.options.patience;
        let say = &mut *self.say;
        let mut told = usize::MAX;
        let config = watcher::Config::default().labels(&labels);
        let gone = until(pods, config, patience, |pods| {
            let left = pods.values().filter(|pod| {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
                node.is_none_or(|node| !away.contains(node))
            });
            let left: Vec<_> = left.map(kube::ResourceExt::name_any).collect();
            if left.is_empty() {
                return Some(());
            }
            if left.len() < told {
                told = left.len();
                let seconds = patience.as_secs();
                say(&format!(
                    "waits for pods to end, at most {seconds} s: {}",
                    few(&left)
                ));
            }
            None
        });
        gone.await.map_err(|late| {
            let error = late.error.as_ref().map(|error| format!(" ({error})"));
            let error = error.unwrap_or_default();
            Error::Late {
                what: format!(
                    "the pods of {} are gone: {}{error}",
                    of.join(" and "),
                    names(&late)
                ),
                patience,
            }
        })
    }

    async fn nodes(&mut self, steps: Vec<Step>) -> Result<(), Error> {
        if steps.is_empty() {
            return Ok(());
        }
        if self.options.keep != Keep::All {
            // Whoever began to use a profile meanwhile keeps it.
            let uses = observe::uses(self.client).await?;
            let new: BTreeSet<_> = used(&uses).difference(&self.plan.keep).cloned().collect();
            if !new.is_empty() {
                return Err(Error::InUse(few(uses.iter().map(|one| &one.pod))));
            }
        }
        let (steps, away): (Vec<_>, Vec<_>) = steps
            .into_iter()
            .partition(|step| step.action == Action::Clean);
        for step in away {
            let why = "the node is not ready: files of profiles and the folder are left there, \
                       until it is back and this runs again";
            self.add(step, State::Left(why.to_owned()));
        }
        if steps.is_empty() {
            return Ok(());
        }
        let patience = self.options.patience;
        let all = steps.len();
        (self.say)(&format!(
            "cleans up nodes ({all}), each in at most {} s",
            patience.as_secs()
        ));
        let workshop = Workshop::open(self.client, self.seen, &self.plan.keep, patience).await?;
        let mut work = futures_util::stream::iter(steps)
            .map(|step| {
                let workshop = &workshop;
                async move {
                    let state = workshop.clean(&step.name).await;
                    (step, state)
                }
            })
            .buffer_unordered(AT_ONCE);
        let mut done = 0;
        while let Some((step, state)) = work.next().await {
            done += 1;
            (self.say)(&format!("{done}/{all} node {}", step.name));
            self.add(step, state);
        }
        drop(work);
        workshop.close().await
    }

    async fn objects(&mut self, steps: Vec<Step>, what: &str) -> Result<(), Error> {
        if steps.is_empty() {
            return Ok(());
        }
        (self.say)(&format!("removes {what}: {} objects", steps.len()));
        let (client, namespace) = (self.client, self.seen.namespace.as_str());
        let one = |step: Step| async move {
            let state = object(client, namespace, &step).await;
            let state = state.unwrap_or_else(|error| State::Left(told(&error)));
            (step, state)
        };
        // The last ones wait for the others: see `own::all`.
        let (last, steps): (Vec<_>, Vec<_>) = steps
            .into_iter()
            .partition(|step| step.kind == "SecurityProfilesOperatorDaemon");
        for part in [steps, last] {
            let mut work = futures_util::stream::iter(part)
                .map(one)
                .buffer_unordered(AT_ONCE);
            while let Some((step, state)) = work.next().await {
                self.add(step, state);
            }
        }
        Ok(())
    }
}

async fn object(client: &Client, namespace: &str, step: &Step) -> Result<State, kube::Error> {
    if step.action == Action::Foreign {
        return Ok(State::Done(None));
    }
    if step.kind == REPORTS {
        return reports(client).await;
    }
    let own = own::all()
        .into_iter()
        .find(|own| own.resource.kind == step.kind && own.name == step.name);
    if let Some(own) = own {
        return delete(&own.api(client, namespace), &step.name).await;
    }
    let Some(resource) = kinds().into_iter().find(|known| known.kind == step.kind) else {
        return Ok(State::Left("nobody knows how to remove it".to_owned()));
    };
    let api = api(client, &resource, step.namespace.as_deref());
    match step.action {
        Action::Release => release(&api, &step.name).await,
        _ => delete(&api, &step.name).await,
    }
}

fn api(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// What nodes report, all at once: there are as many as nodes times profiles.
async fn reports(client: &Client) -> Result<State, kube::Error> {
    let api: Api<SecurityProfileNodeStatus> = Api::all(client.clone());
    let found = api
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await;
    known(found).map(|_| State::Done(None))
}

/// Deletes an object, and takes our finalizers from it.
async fn delete(api: &Api<DynamicObject>, name: &str) -> Result<State, kube::Error> {
    for _try in 0..TRIES {
        let deleted = known(api.delete(name, &DeleteParams::background()).await)?;
        // Nothing holds what is gone at once.
        let left = match deleted {
            Some(deleted) => deleted.left(),
            None => None,
        };
        let Some(left) = left else {
            return Ok(State::Done(None));
        };
        if let Some(state) = free(api, &left).await? {
            return Ok(state);
        }
    }
    Ok(State::Left("somebody changes it all the time".to_owned()))
}

/// Takes our finalizers from an object that stays.
async fn release(api: &Api<DynamicObject>, name: &str) -> Result<State, kube::Error> {
    for _try in 0..TRIES {
        let one = ListParams::default().fields(&format!("metadata.name={name}"));
        let Some(found) = api.list(&one).await?.items.pop() else {
            return Ok(State::Done(None));
        };
        match free(api, &found).await? {
            Some(State::Left(why)) if found.metadata.deletion_timestamp.is_some() => {
                return Ok(State::Left(why));
            }
            Some(_) => return Ok(State::Done(None)),
            None => {}
        }
    }
    Ok(State::Left("somebody changes it all the time".to_owned()))
}

/// Takes our finalizers from an object as it was seen; nothing if somebody changed it since. Those
/// of others hold it still.
async fn free(
    api: &Api<DynamicObject>,
    object: &DynamicObject,
) -> Result<Option<State>, kube::Error> {
    let finalizers = object.finalizers();
    let rest = foreign(finalizers);
    if rest.len() < finalizers.len() {
        let patch = json!({ "metadata": {
            "finalizers": rest,
            "resourceVersion": object.resource_version(),
        } });
        let patched = api
            .patch(
                &object.name_any(),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await;
        match known(patched) {
            Err(kube::Error::Api(status)) if status.is_conflict() => return Ok(None),
            patched => {
                if patched?.is_none() {
                    return Ok(Some(State::Done(None)));
                }
            }
        }
    }
    let rest: Vec<_> = rest
        .into_iter()
        .filter(|name| !OF_THE_CLUSTER.contains(&name.as_str()))
        .collect();
    if rest.is_empty() {
        return Ok(Some(State::Done(None)));
    }
    let why = format!("finalizers of others hold it: {}", few(&rest));
    Ok(Some(State::Left(why)))
}
