//! Namespaces, what binds their pods, and who is asked about them.

use serde_json::{Value, json};
use spo::api::names::ENABLE_BINDING;
use spo_cluster_tests::installed::object;

/// The bindings of a namespace that has many.
pub(crate) const MANY: usize = 1000;
/// On namespaces whose pods the webhook for the namespaces of profiles is asked about.
pub(crate) const HELD: &str = "spo-bench/held";
/// On namespaces that bindings of the operator's select.
pub(crate) const SELECTED: &str = "spo-bench/selected";
/// The profile that a node has, and one that none has.
pub(crate) const INSTALLED: &str = "installed";
const NOWHERE: &str = "nowhere";
/// What every pod runs.
pub(crate) const IMAGE: &str = "registry.example.com/shop/web:1.25@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The binding that counts.
const ONE: &str = "one";

/// A namespace, and what is asked about its pods.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) namespace: &'static str,
    labels: &'static [&'static str],
    /// The bindings that do not count, by their number.
    others: Option<fn(usize) -> Value>,
    /// The one that does.
    one: Option<fn() -> Value>,
}

const NOTHING: Case = Case {
    name: "no webhook",
    namespace: "nothing",
    labels: &[],
    others: None,
    one: None,
};
const NAMES: Case = Case {
    name: "1,000 names, 1 counts",
    namespace: "names",
    labels: &[ENABLE_BINDING, SELECTED],
    others: Some(of_name),
    one: Some(name),
};

/// Bindings are in the pods' own namespaces. The first has no webhook.
pub(crate) fn of_namespaces() -> Vec<Case> {
    let case = |name, namespace, others, one| Case {
        name,
        namespace,
        labels: &[ENABLE_BINDING],
        others,
        one,
    };
    vec![
        NOTHING,
        Case {
            name: "not opted in, as installed",
            namespace: "held",
            labels: &[HELD],
            ..NOTHING
        },
        case("no binding", "empty", None, None),
        case("1 binding, which counts", "single", None, Some(name)),
        case("1,000 names, none counts", "none", Some(of_name), None),
        NAMES,
        case(
            "1,000 patterns, 1 counts",
            "patterns",
            Some(of_pattern),
            Some(|| spec(INSTALLED, "*/web:1.*", &Value::Null)),
        ),
        case(
            "1,000 digests, 1 counts",
            "digests",
            Some(of_digest),
            Some(|| {
                let (name, digest) = IMAGE.split_once('@').unwrap_or_default();
                let name = name.trim_end_matches(":1.25");
                spec(INSTALLED, &format!("{name}@{digest}"), &Value::Null)
            }),
        ),
        case(
            "1,000 names and `*`, which counts",
            "wildcard",
            Some(of_name),
            Some(|| spec(INSTALLED, "*", &Value::Null)),
        ),
        case(
            "1,000 pod selectors, 1 counts",
            "selectors",
            Some(of_selector),
            Some(|| selecting(&json!({ "app": "web" }))),
        ),
        case(
            "1,000 names, 1 counts, on no node",
            "waiting",
            Some(of_name),
            Some(|| spec(NOWHERE, image(), &Value::Null)),
        ),
        Case {
            name: "1,000 names, 1 counts, as installed",
            namespace: "installed",
            labels: &[ENABLE_BINDING, HELD],
            ..NAMES
        },
    ]
}

/// As many again are in the operator's namespace.
pub(crate) fn of_all() -> Vec<Case> {
    vec![
        NOTHING,
        Case {
            name: "1,000 names and 1,000 from elsewhere",
            ..NAMES
        },
    ]
}

/// Namespaces that have bindings, and no pods.
pub(crate) fn unused() -> Vec<Case> {
    let case = |namespace| Case { namespace, ..NAMES };
    vec![case("unused-1"), case("unused-2")]
}

/// A binding in the operator's namespace that is for no image of ours.
pub(crate) fn of_others(number: usize) -> Value {
    let mut binding = of_name(number);
    binding["spec"]["namespaceSelector"] = json!({ "matchExpressions": [{
        "key": SELECTED, "operator": "Exists",
    }] });
    binding
}

impl Case {
    /// The namespace's object.
    pub(crate) fn object(&self) -> Value {
        let labels = self.labels.iter().map(|label| (*label, ""));
        let labels: std::collections::BTreeMap<_, _> = labels.collect();
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": self.namespace, "labels": labels },
        })
    }

    pub(crate) fn bindings(&self) -> Vec<Value> {
        let one = self.one.map(|one| object("ProfileBinding", ONE, &one()));
        let left = MANY - usize::from(one.is_some());
        let others = self.others.into_iter();
        let others = others.flat_map(|other| (0..left).map(other));
        // The one that counts is neither the first nor the last.
        let mut all: Vec<_> = others.collect();
        let middle = all.len() / 2;
        all.splice(middle..middle, one);
        all
    }

    /// The binding that its pods tell of.
    pub(crate) fn counts(&self) -> Option<String> {
        self.one.map(|_| format!("{}/{ONE}", self.namespace))
    }
}

fn image() -> &'static str {
    IMAGE.split_once('@').map_or(IMAGE, |(name, _)| name)
}

fn spec(profile: &str, image: &str, pods: &Value) -> Value {
    let mut spec = json!({
        "profileRef": { "kind": "SeccompProfile", "name": profile }, "image": image,
    });
    if !pods.is_null() {
        spec["podSelector"] = json!({ "matchLabels": pods });
    }
    spec
}

fn name() -> Value {
    spec(INSTALLED, image(), &Value::Null)
}

fn selecting(labels: &Value) -> Value {
    spec(INSTALLED, image(), labels)
}

fn other(number: usize, spec: &Value) -> Value {
    object("ProfileBinding", &format!("other-{number}"), spec)
}

fn of_name(number: usize) -> Value {
    let image = format!("registry.example.com/shop/other-{number}:1.25");
    other(number, &spec(INSTALLED, &image, &Value::Null))
}

/// Most patterns fail late.
fn of_pattern(number: usize) -> Value {
    let pattern = format!("*/web:*-{number}");
    other(number, &spec(INSTALLED, &pattern, &Value::Null))
}

fn of_digest(number: usize) -> Value {
    let pattern = format!("registry.example.com/shop/web@sha256:{number:064x}");
    other(number, &spec(INSTALLED, &pattern, &Value::Null))
}

fn of_selector(number: usize) -> Value {
    let labels = json!({ "app": format!("other-{number}") });
    other(number, &selecting(&labels))
}
