//! What the roles of `deploy/` let accounts do, one verb of one kind at a time.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::manifests::Objects;

use super::OWN;
use super::audit::Request;

/// What the daemons' account is bound to while a recorder or the verifier is switched on.
const BESIDE: [&str; 2] = ["spo-recorder", "spo-verifier"];

/// One verb of one kind, of one object if a name is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    account: String,
    /// Whether it holds in the account's own namespace alone.
    own_namespace: bool,
    verb: String,
    group: String,
    resource: String,
    name: Option<String>,
}

impl Display for Grant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            account,
            own_namespace,
            verb,
            group,
            resource,
            name,
        } = self;
        let group = if group.is_empty() { "core" } else { group };
        let name = name.as_deref().unwrap_or("any");
        let place = if *own_namespace {
            "in its namespace"
        } else {
            "everywhere"
        };
        write!(f, "{account}: {verb} {resource} ({group}), {name}, {place}")
    }
}

impl Grant {
    /// Whether the request needed this right. To bind a role is to write its binding, which has its name.
    pub(crate) fn covers(&self, request: &Request) -> bool {
        if self.verb == "bind" && request.resource == "clusterrolebindings" {
            let binds = request.verb == "update" && request.group == self.group;
            let names_it = self.name.as_ref() == Some(&request.name);
            return self.account == request.account && binds && names_it;
        }
        let names_it = self.name.as_ref().is_none_or(|name| *name == request.name);
        let place = !self.own_namespace || request.own_namespace;
        self.account == request.account
            && self.is_of_resource(request)
            && self.verb == request.verb
            && names_it
            && place
    }

    /// Whether it is about the same kind of objects.
    pub(crate) fn is_of_resource(&self, request: &Request) -> bool {
        self.group == request.group && self.resource == request.resource
    }
}

/// All of them.
pub(crate) struct Grants {
    pub(crate) grants: BTreeSet<Grant>,
    /// What is no object; for people.
    pub(crate) lookups: BTreeSet<String>,
}

impl Grants {
    /// Everybody who may do something to objects.
    pub(crate) fn accounts(&self) -> BTreeSet<String> {
        let accounts = self.grants.iter().map(|grant| grant.account.clone());
        accounts.collect()
    }
}

/// Follows all bindings to accounts, and the roles that they name.
pub(crate) fn of(objects: &Objects) -> Result<Grants> {
    let mut all = Grants {
        grants: BTreeSet::new(),
        lookups: BTreeSet::new(),
    };
    for ((kind, namespace, name), binding) in objects {
        if kind != "RoleBinding" && kind != "ClusterRoleBinding" {
            continue;
        }
        let own_namespace = kind == "RoleBinding";
        ensure!(
            !own_namespace || namespace == OWN,
            "{name} is in {namespace}: this test knows rights in {OWN} and everywhere"
        );
        let role = &binding["roleRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let role_namespace = if role["kind"] == "Role" { OWN } else { "" };
        let key = (
            text(&role["kind"]),
            role_namespace.to_owned(),
            text(&role["name"]),
        );
        let role = objects
            .get(&key)
            .with_context(|| format!("{name} is bound to a role that is not there: {key:?}"))?;
        let mut subjects = items(&binding["subjects"]);
        if subjects.is_empty() {
            // The operator writes whom it is for.
            ensure!(BESIDE.contains(&name.as_str()), "{name} is for nobody");
            subjects.push(json!({ "kind": "ServiceAccount", "name": "spod", "namespace": OWN }));
        }
        for subject in subjects {
            ensure!(
                subject["kind"] == "ServiceAccount" && subject["namespace"] == OWN,
                "{name} is for others than our accounts: {subject}"
            );
            for rule in items(&role["rules"]) {
                add(&mut all, &text(&subject["name"]), own_namespace, &rule);
            }
        }
    }
    Ok(all)
}

fn add(all: &mut Grants, account: &str, own_namespace: bool, rule: &Value) {
    let texts = |field: &str| -> Vec<String> {
        let found = items(&rule[field]);
        found
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    for path in texts("nonResourceURLs") {
        let verbs = texts("verbs").join(", ");
        all.lookups.insert(format!("{account}: {verbs} {path}"));
    }
    let mut names: Vec<_> = texts("resourceNames").into_iter().map(Some).collect();
    if names.is_empty() {
        names.push(None);
    }
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            for verb in texts("verbs") {
                for name in &names {
                    all.grants.insert(Grant {
                        account: account.to_owned(),
                        own_namespace,
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                    });
                }
            }
        }
    }
}

fn items(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
