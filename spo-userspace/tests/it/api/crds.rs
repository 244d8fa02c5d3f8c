//! The files in `deploy/crds`.

use std::collections::BTreeSet;
use std::{env, fs};

use serde_json::{Value, json};
use spo::api::crds::{Definition, definitions};

use super::repository;

/// Set by `cargo xtask codegen`: write the files instead of comparing them.
const WRITE: &str = "SPO_WRITE_CRDS";

#[test]
fn the_files_are_what_the_types_say() {
    let folder = repository("deploy/crds");
    let write = env::var_os(WRITE).is_some();
    let mut names = BTreeSet::new();
    for definition in definitions() {
        let name = format!("{}.yaml", definition.plural);
        let path = folder.join(&name);
        let text = definition.yaml().unwrap();
        if write && fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let file = fs::read_to_string(&path).unwrap_or_default();
        assert!(file == text, "{name}: rerun `cargo xtask codegen`");
        names.insert(name);
    }
    assert_eq!(names.len(), 8);
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "{name} is none of the definitions");
    }
}

/// A column's name, path, type and priority.
type Column = (&'static str, &'static str, &'static str, u64);

const AGE: Column = ("Age", ".metadata.creationTimestamp", "date", 0);
const STATUS: Column = ("Status", ".status.status", "string", 0);
const USAGE: Column = ("Usage", ".status.usage", "string", 0);
const STATE: Column = ("State", ".status.status", "string", 0);
const READY: Column = ("Ready", ".status.nodes.ready", "integer", 0);
const NODES: Column = ("Nodes", ".status.nodes.desired", "integer", 0);

/// Names and scopes are those of the reference, and so are columns, after which ours may follow.
#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn kinds_are_those_of_the_reference() {
    let columns = |columns: &[Column]| {
        let column = |(name, path, kind, priority): &Column| {
            let mut column = json!({ "name": name, "jsonPath": path, "type": kind });
            if *priority > 0 {
                column["priority"] = json!(priority);
            }
            column
        };
        columns.iter().map(column).collect::<Vec<_>>()
    };
    let seccomp = [
        STATUS,
        AGE,
        ("LocalhostProfile", ".status.localhostProfile", "string", 10),
        READY,
        NODES,
    ];
    let node = [
        STATUS,
        AGE,
        ("Node", ".spec.nodeName", "string", 10),
        ("Reason", ".status.reason", "string", 10),
    ];
    let recording = [("PodSelector", ".spec.podSelector", "string", 10)];
    let daemon = [("State", ".status.state", "string", 0)];
    for (kind, plural, short, namespaced, required, expected) in [
        (
            "SeccompProfile",
            "seccompprofiles",
            Some("sp"),
            false,
            true,
            &seccomp[..],
        ),
        (
            "SelinuxProfile",
            "selinuxprofiles",
            None,
            false,
            false,
            &[USAGE, STATE, READY, NODES],
        ),
        (
            "RawSelinuxProfile",
            "rawselinuxprofiles",
            None,
            false,
            false,
            &[USAGE, STATE, READY, NODES],
        ),
        (
            "AppArmorProfile",
            "apparmorprofiles",
            Some("aa"),
            false,
            false,
            &[STATUS, READY, NODES],
        ),
        ("ProfileBinding", "profilebindings", None, true, true, &[]),
        (
            "ProfileRecording",
            "profilerecordings",
            None,
            true,
            true,
            &recording,
        ),
        (
            "SecurityProfileNodeStatus",
            "securityprofilenodestatuses",
            Some("spns"),
            false,
            true,
            &node,
        ),
        (
            "SecurityProfilesOperatorDaemon",
            "securityprofilesoperatordaemons",
            Some("spod"),
            true,
            false,
            &daemon,
        ),
    ] {
        let crd = &Definition::of(kind).unwrap().crd;
        let group = "security-profiles-operator.x-k8s.io";
        assert_eq!(crd["metadata"]["name"], format!("{plural}.{group}"));
        let spec = &crd["spec"];
        assert_eq!(spec["group"], group);
        assert_eq!(spec["names"]["plural"], plural);
        assert_eq!(spec["names"]["singular"], kind.to_lowercase());
        let short = short.map_or(Value::Null, |short| json!([short]));
        assert_eq!(spec["names"]["shortNames"], short, "{kind}");
        let scope = if namespaced { "Namespaced" } else { "Cluster" };
        assert_eq!(spec["scope"], scope, "{kind}");
        assert_eq!(spec.get("conversion"), None, "{kind}");
        let [version] = spec["versions"].as_array().unwrap().as_slice() else {
            panic!("{kind}: one version")
        };
        assert_eq!(version["name"], "v1");
        assert_eq!(
            (&version["served"], &version["storage"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(version["subresources"], json!({ "status": {} }), "{kind}");
        let found = version.get("additionalPrinterColumns");
        let found = found.map_or(&[][..], |found| found.as_array().unwrap());
        assert_eq!(found, columns(expected), "{kind}");
        let schema = Definition::of(kind).unwrap().schema();
        let expected = if required {
            json!(["spec"])
        } else {
            Value::Null
        };
        assert_eq!(schema["required"], expected, "{kind}");
    }
}

/// What API servers want of a schema, and what the reference does not have.
#[test]
fn schemas_are_structural() {
    fn walk(schema: &Value, path: &str) {
        let map = schema.as_object().unwrap();
        for name in map.keys() {
            let known = [
                "additionalProperties",
                "anyOf",
                "default",
                "description",
                "enum",
                "format",
                "items",
                "maxItems",
                "maxLength",
                "minItems",
                "minLength",
                "minProperties",
                "minimum",
                "pattern",
                "properties",
                "required",
                "type",
                "x-kubernetes-int-or-string",
                "x-kubernetes-list-map-keys",
                "x-kubernetes-list-type",
                "x-kubernetes-map-type",
                "x-kubernetes-validations",
            ];
            assert!(known.contains(&name.as_str()), "{path}: {name}");
        }
        let amount = map.contains_key("x-kubernetes-int-or-string");
        assert_eq!(map.contains_key("type"), !amount, "{path}");
        if let Some(format) = map.get("format") {
            let formats = ["int32", "int64", "date-time"];
            assert!(
                formats.contains(&format.as_str().unwrap()),
                "{path}: {format}"
            );
        }
        if map.get("type") == Some(&json!("integer")) {
            assert!(map.contains_key("format"), "{path}");
        }
        if let Some(names) = map.get("enum") {
            assert!(
                names.as_array().unwrap().iter().all(Value::is_string),
                "{path}"
            );
        }
        let properties = map.get("properties").and_then(Value::as_object);
        for name in map
            .get("required")
            .into_iter()
            .flat_map(|names| names.as_array().unwrap())
        {
            let schema = &properties.unwrap()[name.as_str().unwrap()];
            assert_eq!(schema.get("default"), None, "{path}.{name}");
        }
        if let Some(keys) = map.get("x-kubernetes-list-map-keys") {
            assert_eq!(map["x-kubernetes-list-type"], "map", "{path}");
            for key in keys.as_array().unwrap() {
                let items = &map["items"];
                let required = items["required"].as_array();
                let required = required.is_some_and(|names| names.contains(key));
                let default = items["properties"][key.as_str().unwrap()].get("default");
                assert!(required || default.is_some(), "{path}");
            }
        }
        for (name, schema) in properties.into_iter().flatten() {
            if path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
                continue;
            }
            walk(schema, &format!("{path}.{name}"));
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(schema) = map.get(inner) {
                walk(schema, &format!("{path}[{inner}]"));
            }
        }
    }
    for definition in definitions() {
        walk(definition.schema(), "");
    }
}

/// Every field has a description, but for those that are Kubernetes' own.
#[test]
fn fields_are_described() {
    fn walk(schema: &Value, path: &str) {
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if ["apiVersion", "kind", "metadata"].contains(&name.as_str()) && path.len() <= 11 {
                continue;
            }
            assert!(schema.get("description").is_some(), "{path}");
            let own = [
                "affinity",
                "conditions",
                "daemonResourceRequirements",
                "imagePullSecrets",
                "namespaceSelector",
                "objectSelector",
                "podSelector",
                "tolerations",
            ];
            if !own.contains(&name.as_str()) {
                walk(schema, &path);
                walk(&schema["items"], &path);
            }
        }
    }
    for definition in definitions() {
        walk(definition.schema(), "");
    }
}
