//! Doing it.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::{Instant, sleep};

use super::Error;
use super::definition::{self, Action};
use super::plan::{DefinitionPlan, ObjectPlan, Plan, convert};
use super::server::{Server, text};
use crate::api::crds::Definition;

/// How long a server may take to serve a version.
const PATIENCE: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(100);
/// A server shows a changed definition before it goes by it, and nothing says when it does.
const SETTLING: Duration = Duration::from_secs(2);
/// How often an object that somebody else writes to is tried again.
const TRIES: u32 = 5;
/// How often all objects are looked through until no new ones are found.
const ROUNDS: u32 = 5;

/// Who follows a migration.
pub trait Observer {
    /// An object is about to be written that is not as the plan has it: it is new, was changed, or
    /// has stored fields that were hidden.
    fn hidden(&mut self, object: &ObjectPlan) -> io::Result<()>;
    /// An object is in `v1` now.
    fn written(&mut self, object: &ObjectPlan);
    /// A kind is done.
    fn done(&mut self, kind: &str);
}

/// How far a migration got.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The kinds that are done.
    pub kinds: Vec<&'static str>,
    /// The objects that are in `v1` now.
    pub objects: Vec<ObjectPlan>,
    /// Why it went no further.
    pub error: Option<Error>,
}

/// Carries a plan out, up to the first failure. It must be a possible one.
///
/// No version goes before all objects of all kinds are written: objects name their owners with the
/// version, and a cluster collects those whose owner it cannot find.
pub async fn apply(server: &Server, plan: &Plan, observer: &mut dyn Observer) -> Outcome {
    let mut outcome = Outcome::default();
    for phase in [Phase::Write, Phase::Finish] {
        for step in &plan.definitions {
            let Some(definition) = Definition::of(step.kind) else {
                continue;
            };
            let objects = plan.objects.iter().filter(|known| known.kind == step.kind);
            let known = objects.map(|known| (text(&known.old, "/metadata/uid"), &known.old));
            let mut run = Run {
                server,
                definition,
                known: known.collect(),
                observer: &mut *observer,
                outcome: &mut outcome,
            };
            if let Err(error) = run.kind(step, phase).await {
                outcome.error = Some(error);
                return outcome;
            }
            if phase == Phase::Finish {
                outcome.kinds.push(step.kind);
                if matches!(step.action, Action::Replace | Action::Convert) {
                    observer.done(step.kind);
                }
            }
        }
    }
    outcome
}

/// Part of a migration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Objects are written in `v1`, and older versions are still there.
    Write,
    /// Definitions become ours.
    Finish,
}

struct Run<'r> {
    server: &'r Server,
    definition: &'static Definition,
    /// The objects of the plan by uid.
    known: HashMap<&'r str, &'r Json>,
    observer: &'r mut dyn Observer,
    outcome: &'r mut Outcome,
}

/// What becomes of a definition.
#[derive(Clone, Copy)]
enum Change {
    OnItsWay,
    AllStored,
    Ours,
}

impl Run<'_> {
    async fn kind(&mut self, step: &DefinitionPlan, phase: Phase) -> Result<(), Error> {
        match (phase, step.action) {
            (_, Action::Absent | Action::Keep) | (Phase::Write, Action::Replace) => {}
            (Phase::Write, Action::Convert) => {
                let mut crd = step.found.clone();
                if definition::raw(&crd).is_none() {
                    crd = self.change(Change::OnItsWay).await?;
                    self.served(&crd).await?;
                }
                self.objects(&crd).await?;
            }
            (Phase::Finish, action) => {
                if action == Action::Convert {
                    self.change(Change::AllStored).await?;
                }
                self.change(Change::Ours).await?;
            }
        }
        Ok(())
    }

    /// Changes the definition, also while the server writes to its status.
    async fn change(&self, change: Change) -> Result<Json, Error> {
        let Self {
            server, definition, ..
        } = *self;
        let mut tries = 0;
        loop {
            let Some(crd) = server.definition(&definition.plural).await? else {
                return Err(Error::NotServed(definition.kind.to_owned()));
            };
            let changed = match change {
                Change::OnItsWay => {
                    let next = definition::on_its_way(&crd, definition);
                    server.replace_definition(&next, false).await
                }
                Change::AllStored => {
                    let next = definition::all_stored(&crd);
                    server.replace_definition_status(&next).await
                }
                Change::Ours => {
                    let next = definition::ours(&crd, definition);
                    server.replace_definition(&next, false).await
                }
            };
            tries += 1;
            match changed {
                Err(Error::Refused { code: 409, .. }) if tries < TRIES => {}
                changed => return changed,
            }
        }
    }

    /// Waits until the server goes by a definition.
    async fn served(&self, crd: &Json) -> Result<(), Error> {
        let plural = &self.definition.plural;
        let start = Instant::now();
        for version in ["v1"].into_iter().chain(definition::raw(crd)) {
            while !self.server.serves(plural, version).await? {
                if start.elapsed() > PATIENCE {
                    return Err(Error::NotServed(self.definition.kind.to_owned()));
                }
                sleep(INTERVAL).await;
            }
        }
        sleep(SETTLING).await;
        Ok(())
    }

    /// Writes all objects in `v1`, until there is none that this run has not written.
    async fn objects(&mut self, crd: &Json) -> Result<(), Error> {
        let kind = self.definition.kind;
        let plural = &self.definition.plural;
        let Some(version) = definition::raw(crd) else {
            return Err(Error::NotServed(kind.to_owned()));
        };
        let mut written: HashMap<String, String> = HashMap::new();
        for _round in 0..ROUNDS {
            let mut all = self.server.list(plural, version).await?;
            all.retain(|object| {
                let resource_version = text(object, "/metadata/resourceVersion");
                let known = written.get(text(object, "/metadata/uid"));
                known.is_none_or(|known| known != resource_version)
            });
            if all.is_empty() {
                return Ok(());
            }
            for object in all {
                let uid = text(&object, "/metadata/uid").to_owned();
                if let Some(resource_version) = self.object(object, version).await? {
                    written.insert(uid, resource_version);
                }
            }
        }
        Err(Error::Busy(format!("one of the objects of {kind}")))
    }

    /// Writes an object in `v1`, and looks whether that is what is there then. Returns its
    /// resource version, if it is not gone meanwhile.
    async fn object(&mut self, mut raw: Json, version: &str) -> Result<Option<String>, Error> {
        let plural = &self.definition.plural;
        let mut differs = Vec::new();
        let mut shown = String::new();
        for _try in 0..TRIES {
            let plan = convert(self.definition, raw);
            shown = plan.to_string();
            let Some(new) = &plan.new else {
                return Err(Error::Stored {
                    object: shown,
                    problems: plan.problems,
                });
            };
            let known = self.known.get(text(&plan.old, "/metadata/uid"));
            if known.is_none_or(|known| !lost(&plan.old, known).is_empty()) {
                let kept = self.observer.hidden(&plan);
                kept.map_err(|error| Error::Backup(shown.clone(), error))?;
            }
            match self.server.replace(plural, new).await {
                Ok(_) => {
                    let Some(read) = self.server.object(plural, "v1", new).await? else {
                        return Ok(None);
                    };
                    differs = lost(new, &read);
                    if differs.is_empty() {
                        self.observer.written(&plan);
                        self.outcome.objects.push(plan);
                        return Ok(Some(text(&read, "/metadata/resourceVersion").to_owned()));
                    }
                    // Somebody wrote in between, or another server does not know our schema yet.
                    sleep(SETTLING).await;
                }
                Err(Error::Refused { code: 404, .. }) => return Ok(None),
                Err(Error::Refused { code: 409, .. }) => {}
                Err(error) => return Err(error),
            }
            match self.server.object(plural, version, new).await? {
                Some(found) => raw = found,
                None => return Ok(None),
            }
        }
        Err(if differs.is_empty() {
            Error::Busy(shown)
        } else {
            Error::Differs {
                object: shown,
                lost: differs,
            }
        })
    }
}

/// What one object says and another does not: paths, and what is there instead. What servers
/// count for themselves is none of it.
fn lost(written: &Json, read: &Json) -> Vec<String> {
    let mut paths = Vec::new();
    compare(written, read, "", &mut paths);
    paths
}

/// The depth is that of stored objects, which the server has bounded.
fn compare(written: &Json, read: &Json, path: &str, lost: &mut Vec<String>) {
    const OWN: [&str; 4] = [
        "apiVersion",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ];
    match (written, read) {
        _ if OWN.contains(&path) => {}
        (Json::Object(written), Json::Object(read)) => {
            for (name, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                let path = match path {
                    "" => name.clone(),
                    _ => format!("{path}.{name}"),
                };
                match read.get(name) {
                    Some(read) => compare(value, read, &path, lost),
                    None if OWN.contains(&path.as_str()) => {}
                    None => lost.push(format!("{path} is gone")),
                }
            }
        }
        (Json::Array(written), Json::Array(read)) if written.len() == read.len() => {
            for (index, (written, read)) in written.iter().zip(read).enumerate() {
                compare(written, read, &format!("{path}[{index}]"), lost);
            }
        }
        (Json::Number(written), Json::Number(read)) if written.as_f64() == read.as_f64() => {}
        _ if written == read => {}
        _ => lost.push(format!("{path} was {written}, and is {read}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lost;

    #[test]
    fn what_is_lost_is_named_and_what_servers_count_is_not() {
        let written = json!({
            "apiVersion": "a/v1alpha1",
            "metadata": { "name": "a", "resourceVersion": "1", "labels": { "b": "c" } },
            "spec": { "list": [1, { "d": 2 }], "nothing": null },
        });
        let mut read = json!({
            "apiVersion": "a/v1",
            "metadata": { "name": "a", "labels": { "b": "c" }, "generation": 2 },
            "spec": { "list": [1.0, { "d": 2, "default": 3 }] },
        });
        assert_eq!(lost(&written, &read), [""; 0]);
        read["metadata"]["labels"] = json!({});
        read["spec"]["list"][1]["d"] = json!(3);
        assert_eq!(
            lost(&written, &read),
            [
                "metadata.labels.b is gone",
                "spec.list[1].d was 2, and is 3"
            ]
        );
    }
}
