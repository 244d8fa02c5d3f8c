//! What our accounts asked the API server for.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::OWN;

/// How namespaces of tests begin. There an account of one of these names is bound to the very rules
/// of `deploy/base`, which the tests read.
const TESTS: &str = "spo-test-";

/// Of Kubernetes itself: whatever it asks for, it may. A server that begins refuses it all the same,
/// and everybody else, until it has read the roles.
const ITSELF: &str = "system:kube-controller-manager";
/// How long that lasts at most.
const BEGINNING: SignedDuration = SignedDuration::from_secs(1);
/// The server that begins, and what it reads then. Without that nearby, nobody was refused for it.
const SERVER: &str = "system:apiserver";
const READS: &str = "clusterrolebindings";
const NEARBY: SignedDuration = SignedDuration::from_secs(10);

/// A request of one of our accounts.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its name, in whatever namespace.
    pub(crate) account: String,
    /// Whether what is asked for is in the account's own namespace.
    pub(crate) own_namespace: bool,
    pub(crate) verb: String,
    pub(crate) group: String,
    /// With the subresource, such as `pods/log`.
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) code: u64,
    time: Timestamp,
    user: String,
}

impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            account: _,
            own_namespace: _,
            verb,
            group,
            resource,
            name,
            code,
            time,
            user,
        } = self;
        write!(
            f,
            "{user}: {verb} {resource}.{group} {name}: {code} at {time}"
        )
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Those that were let through to the objects.
    pub(crate) ours: Vec<Request>,
    /// Those that no role allowed, while their account had its roles.
    pub(crate) refused: Vec<Request>,
}

/// Reads logs, each that of one cluster, from the first line to the last. `accounts` are ours.
pub(crate) fn read(files: &[PathBuf], accounts: &BTreeSet<String>) -> Result<Requests> {
    let mut requests = Requests::default();
    for file in files {
        read_one(file, accounts, &mut requests)
            .with_context(|| format!("failed to read {}", file.display()))?;
    }
    Ok(requests)
}

fn read_one(file: &Path, accounts: &BTreeSet<String>, requests: &mut Requests) -> Result<()> {
    // Namespaces that a test removes while processes of theirs still run: the roles go first.
    let mut removed: BTreeSet<String> = BTreeSet::new();
    let mut begins = Vec::new();
    let mut reads = Vec::new();
    let mut refused = Vec::new();
    for line in BufReader::new(File::open(file)?).lines() {
        let event: Value = serde_json::from_str(&line?).context("a line is no event")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (verb, object) = (text(&event["verb"]), &event["objectRef"]);
        let name = text(&object["name"]);
        note_removal(&verb, object, &mut removed);
        let user = text(&event["user"]["username"]);
        let is_forbidden = event["annotations"]["authorization.k8s.io/decision"] == "forbid";
        let time: Timestamp = text(&event["requestReceivedTimestamp"]).parse()?;
        if is_forbidden && user == ITSELF {
            begins.push(time);
        }
        if user == SERVER && verb == "list" && object["resource"] == READS {
            reads.push(time);
        }
        let Some((namespace, account)) = ours(&user, accounts) else {
            continue;
        };
        let subresource = object["subresource"].as_str();
        let resource = text(&object["resource"]);
        let request = Request {
            account: account.to_owned(),
            own_namespace: object["namespace"] == namespace,
            verb,
            group: text(&object["apiGroup"]),
            resource: subresource.map_or_else(
                || resource.clone(),
                |subresource| format!("{resource}/{subresource}"),
            ),
            name,
            code: event["responseStatus"]["code"].as_u64().unwrap_or(0),
            time,
            user: user.clone(),
        };
        // An admission webhook, a quota or a namespace that ends answer 403, too.
        if !is_forbidden {
            requests.ours.push(request);
        } else if !removed.contains(namespace) {
            refused.push(request);
        }
    }
    // Lines are in the order of the answers.
    let is_near = |one: Timestamp, others: &[Timestamp], most| {
        let mut others = others.iter();
        others.any(|other| one.duration_since(*other).abs() <= most)
    };
    begins.retain(|begin| is_near(*begin, &reads, NEARBY));
    refused.retain(|request| !is_near(request.time, &begins, BEGINNING));
    requests.refused.append(&mut refused);
    Ok(())
}

/// The namespace and the name of an account that is ours.
fn ours<'u>(user: &'u str, accounts: &BTreeSet<String>) -> Option<(&'u str, &'u str)> {
    let (namespace, account) = user
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')?;
    let is_ours = (namespace == OWN || namespace.starts_with(TESTS)) && accounts.contains(account);
    is_ours.then_some((namespace, account))
}

/// Notes whose rights are taken away, and who gets them again: a test removes a namespace, or roles
/// in it, or roles of everywhere, whose names end with the namespace's.
fn note_removal(verb: &str, object: &Value, removed: &mut BTreeSet<String>) {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (resource, name) = (text("resource"), text("name"));
    let namespace = match resource {
        "namespaces" => Some(name),
        "roles" | "rolebindings" => Some(text("namespace")),
        "clusterroles" | "clusterrolebindings" => {
            name.find(TESTS).and_then(|start| name.get(start..))
        }
        _ => None,
    };
    let Some(namespace) = namespace else {
        return;
    };
    match verb {
        "delete" => {
            removed.insert(namespace.to_owned());
        }
        "create" if resource == "namespaces" => {
            removed.remove(namespace);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_excused_where_a_server_begins_and_nowhere_else() {
        let event = |second: u32, user: &str, verb: &str, resource: &str, decision: &str| {
            let event = json!({
                "requestReceivedTimestamp": format!("2026-01-31T12:00:{second:02}.5Z"),
                "user": { "username": user }, "verb": verb,
                "objectRef": { "resource": resource },
                "annotations": { "authorization.k8s.io/decision": decision },
            });
            format!("{event}\n")
        };
        let own = format!("system:serviceaccount:{OWN}:spod");
        let refused = |events: &[String]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), events.concat()).unwrap();
            let accounts = BTreeSet::from(["spod".to_owned()]);
            let requests = read(&[file.path().to_owned()], &accounts).unwrap();
            requests.refused.len()
        };
        let asks = |second| event(second, &own, "list", "pods", "forbid");
        let others = |second| event(second, ITSELF, "watch", "jobs", "forbid");
        let reads = |second| event(second, SERVER, "list", READS, "allow");
        assert_eq!(refused(&[asks(1)]), 1);
        // A server that reads its roles, and refuses everybody until it has.
        assert_eq!(refused(&[others(1), asks(1), reads(2)]), 0);
        assert_eq!(refused(&[others(1), reads(2), asks(5)]), 1);
        // None begins: that somebody else is refused as well is no excuse.
        assert_eq!(refused(&[others(1), asks(1)]), 1);
        assert_eq!(refused(&[others(1), asks(1), reads(30)]), 1);
        assert_eq!(refused(&[asks(1), reads(1)]), 1);
    }
}
