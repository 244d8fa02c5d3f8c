//! What a migration would do.

use std::fmt;

use serde_json::{Map, Value as Json};

use super::Error;
use super::definition::{self, Action};
use super::server::{Server, text};
use crate::api;
use crate::api::convert::{Converted, Note, to_v1};
use crate::api::crds::{Definition, definitions};
use crate::profile::diagnostic::{Severity, escape};
use crate::profile::object::{API_VERSION, GROUP};

/// What a migration would do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The definitions of all kinds.
    pub definitions: Vec<DefinitionPlan>,
    /// The objects that are written in `v1`.
    pub objects: Vec<ObjectPlan>,
}

/// What happens to a definition.
#[derive(Clone, Debug)]
pub struct DefinitionPlan {
    /// The kind.
    pub kind: &'static str,
    /// What is done.
    pub action: Action,
    /// The versions that objects may be stored in.
    pub stored: Vec<String>,
    /// Why it cannot be done.
    pub problems: Vec<String>,
    /// As it is in the cluster.
    pub found: Json,
}

/// What happens to an object.
#[derive(Clone, Debug)]
pub struct ObjectPlan {
    /// The kind.
    pub kind: &'static str,
    /// The namespace, if the kind has any.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The version in which it was read.
    pub from: String,
    /// What is different in `v1`.
    pub changes: Vec<Note>,
    /// Why it cannot be converted.
    pub problems: Vec<String>,
    /// As it was read.
    pub old: Json,
    /// In `v1`, if it can be converted.
    pub new: Option<Json>,
}

/// Its kind, namespace and name.
impl fmt::Display for ObjectPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
            ..
        } = self;
        match namespace {
            Some(namespace) => write!(formatter, "{kind} {namespace}/{name}"),
            None => write!(formatter, "{kind} {name}"),
        }
    }
}

impl Plan {
    /// Whether everything can be done.
    pub fn is_possible(&self) -> bool {
        self.definitions.iter().all(|plan| plan.problems.is_empty())
            && self.objects.iter().all(|plan| plan.problems.is_empty())
    }

    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        let nothing = |plan: &DefinitionPlan| {
            plan.problems.is_empty() && matches!(plan.action, Action::Absent | Action::Keep)
        };
        self.definitions.iter().all(nothing)
    }
}

/// Asks the cluster what there is to do; changes nothing.
pub async fn plan(server: &Server) -> Result<Plan, Error> {
    let mut plan = Plan {
        definitions: Vec::new(),
        objects: Vec::new(),
    };
    for definition in definitions() {
        let found = server.definition(&definition.plural).await?;
        let (step, objects) = plan_kind(server, definition, found).await?;
        plan.definitions.push(step);
        plan.objects.extend(objects);
    }
    Ok(plan)
}

async fn plan_kind(
    server: &Server,
    definition: &'static Definition,
    found: Option<Json>,
) -> Result<(DefinitionPlan, Vec<ObjectPlan>), Error> {
    let kind = definition.kind;
    let mut step = DefinitionPlan {
        kind,
        action: Action::Absent,
        stored: Vec::new(),
        problems: Vec::new(),
        found: Json::Null,
    };
    let mut objects = Vec::new();
    let Some(crd) = found else {
        return Ok((step, objects));
    };
    step.stored = definition::stored(&crd)
        .into_iter()
        .map(str::to_owned)
        .collect();
    step.action = Action::Convert;
    if definition::other_scope(&crd, definition) {
        step.problems.push(format!(
            "its objects are in namespaces, as up to release 0.8, which cannot be changed in place: \
             keep them (`kubectl get {plural} -A -o yaml`), delete them and the definition {name}, \
             apply deploy/crds/{plural}.yaml, and apply what `spo convert` makes of them",
            plural = definition.plural,
            name = definition::name(definition),
        ));
    } else if step.stored == ["v1"] {
        // The server says what it would make of ours: old ones leave parts of it out.
        let ours = definition::ours(&crd, definition);
        let would = server.replace_definition(&ours, true).await?;
        let same = would["spec"] == crd["spec"]
            && would["metadata"]["annotations"] == crd["metadata"]["annotations"];
        step.action = if same { Action::Keep } else { Action::Replace };
    } else {
        match read(server, definition, &crd).await? {
            Ok(found) => {
                let planned = found.into_iter().map(|object| convert(definition, object));
                objects.extend(planned);
            }
            Err(problem) => step.problems.push(problem),
        }
        let next = definition::on_its_way(&crd, definition);
        server.replace_definition(&next, true).await?;
    }
    step.found = crd;
    Ok((step, objects))
}

/// The objects of a kind, in a version that the server need not convert them to, or why there is
/// none. A conversion webhook may be dead; where all objects are stored in one version, that can
/// be listed without it.
async fn read(
    server: &Server,
    definition: &Definition,
    crd: &Json,
) -> Result<Result<Vec<Json>, String>, Error> {
    let mut problem = "its objects cannot be read: no version is served".to_owned();
    for version in definition::readable(crd) {
        match server.list(&definition.plural, version).await {
            Ok(found) => return Ok(Ok(found)),
            // It is for the administrator to permit that.
            Err(error @ Error::Refused { code: 403, .. }) => return Err(error),
            Err(Error::Refused { message, .. }) => {
                problem = format!(
                    "its objects cannot be read in {version}: {message}; if a webhook is to blame, \
                     take it away: kubectl patch crd {} --type merge -p \
                     '{{\"spec\":{{\"conversion\":{{\"strategy\":\"None\",\"webhook\":null}}}}}}'",
                    definition::name(definition)
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Err(problem))
}

/// What becomes of an object.
pub(super) fn convert(definition: &'static Definition, old: Json) -> ObjectPlan {
    let api_version = text(&old, "/apiVersion");
    let from = api_version.rsplit('/').next().unwrap_or_default();
    let mut plan = ObjectPlan {
        kind: definition.kind,
        namespace: old
            .pointer("/metadata/namespace")
            .and_then(Json::as_str)
            .map(str::to_owned),
        name: text(&old, "/metadata/name").to_owned(),
        from: from.to_owned(),
        changes: Vec::new(),
        problems: Vec::new(),
        old: Json::Null,
        new: None,
    };
    match to_v1(old.clone()) {
        Ok(Converted { object, notes }) => {
            plan.changes = notes;
            let mut new = object;
            prune(definition.schema(), &mut new, "", &mut plan.changes);
            if let Some(Json::Object(metadata)) = new.get_mut("metadata") {
                // The server keeps its own.
                metadata.remove("managedFields");
                owners(metadata);
            }
            plan.problems = problems(&new);
            plan.new = plan.problems.is_empty().then_some(new);
        }
        Err(error) => plan.problems.push(escape(&error.to_string())),
    }
    plan.old = old;
    plan
}

/// Names the owners of our kinds in `v1`: older versions end.
fn owners(metadata: &mut Map<String, Json>) {
    let owners = metadata.get_mut("ownerReferences");
    for owner in owners.and_then(Json::as_array_mut).into_iter().flatten() {
        let version = text(owner, "/apiVersion").split_once('/');
        if version.is_some_and(|(group, _)| group == GROUP) {
            owner["apiVersion"] = API_VERSION.into();
        }
    }
}

/// What the API server would say against an object.
fn problems(object: &Json) -> Vec<String> {
    let text = object.to_string();
    let found = api::check("object", text.as_bytes());
    let errors = found
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error);
    errors
        .map(|problem| match problem.help {
            Some(help) => format!("{}; {help}", problem.message),
            None => problem.message,
        })
        .map(|problem| escape(&problem))
        .collect()
}

/// Takes away what the schema does not know, as the server would, and tells.
fn prune(schema: &Json, value: &mut Json, path: &str, notes: &mut Vec<Note>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    match value {
        Json::Object(fields) => {
            // The metadata is everybody's, and has no properties in our schemas.
            let properties = schema.get("properties").and_then(Json::as_object);
            let additional = schema.get("additionalProperties");
            if properties.is_none() && additional.is_none() {
                return;
            }
            fields.retain(|name, value| {
                let path = match path {
                    "" => name.clone(),
                    _ => format!("{path}.{name}"),
                };
                let schema = properties.and_then(|known| known.get(name)).or(additional);
                match schema {
                    Some(schema) => prune(schema, value, &path, notes),
                    None => notes.push(Note {
                        path,
                        text: "is dropped: no version knows it (the backup has it)".to_owned(),
                    }),
                }
                schema.is_some()
            });
        }
        Json::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                prune(&schema["items"], item, &format!("{path}[{index}]"), notes);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::convert;
    use crate::api::convert::to_v1;
    use crate::api::crds::Definition;

    fn definition(kind: &str) -> &'static Definition {
        Definition::of(kind).unwrap()
    }

    #[test]
    fn fields_that_no_version_knows_are_told_and_dropped() {
        let old = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1alpha1",
            "kind": "AppArmorProfile",
            "metadata": {
                "name": "web",
                "managedFields": [{ "manager": "kubectl" }],
                "labels": { "any": "text" },
            },
            "spec": { "complainMode": true, "abstract": { "speed": 3 }, "stale": [] },
        });
        let plan = convert(definition("AppArmorProfile"), old.clone());
        assert_eq!(plan.problems, [""; 0]);
        let mut dropped: Vec<_> = plan.changes.iter().map(|note| note.path.as_str()).collect();
        dropped.sort_unstable();
        assert_eq!(
            dropped,
            ["spec.abstract.speed", "spec.complainMode", "spec.stale"]
        );
        let new = plan.new.unwrap();
        assert_eq!(new["spec"], json!({ "mode": "Complain", "abstract": {} }));
        assert_eq!(
            new["metadata"],
            json!({ "name": "web", "labels": { "any": "text" } })
        );
        assert_eq!(plan.old, old);
    }

    #[test]
    fn what_was_converted_is_not_converted_again() {
        for (kind, version, mut object) in [
            (
                "SeccompProfile",
                "v1beta1",
                json!({ "spec": { "disabled": true, "defaultAction": "SCMP_ACT_LOG" } }),
            ),
            (
                "SecurityProfileNodeStatus",
                "v1alpha1",
                json!({ "nodeName": "a", "status": "Installed" }),
            ),
            (
                "SecurityProfilesOperatorDaemon",
                "v1alpha1",
                json!({ "spec": { "enableSelinux": true, "logEnricherSource": "bpf" }, "status": { "state": "RUNNING" } }),
            ),
        ] {
            let older = format!("security-profiles-operator.x-k8s.io/{version}");
            object["apiVersion"] = json!(older);
            object["kind"] = json!(kind);
            object["metadata"] = json!({ "name": "a" });
            let first = convert(definition(kind), object);
            let first = first.new.unwrap_or_else(|| panic!("{:?}", first.problems));
            // An object in v1 that is seen through the older version.
            let mut seen = first.clone();
            seen["apiVersion"] = json!(older);
            let second = to_v1(seen).unwrap();
            assert_eq!((second.object, second.notes), (first, Vec::new()));
        }
    }

    #[test]
    fn what_the_server_would_refuse_is_a_problem() {
        let plan = convert(
            definition("SeccompProfile"),
            json!({
                "apiVersion": "security-profiles-operator.x-k8s.io/v1beta1",
                "kind": "SeccompProfile",
                "metadata": { "name": "web" },
                "spec": { "defaultAction": "SCMP_ACT_\u{1b}[2J", "listenerPath": "/tmp/a" },
            }),
        );
        assert_eq!(plan.problems.len(), 2, "{:?}", plan.problems);
        assert!(plan.new.is_none());
        assert!(!plan.problems.concat().contains('\u{1b}'));
    }
}
