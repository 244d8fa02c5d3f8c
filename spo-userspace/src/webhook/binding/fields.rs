//! Where a pod says under which profile it runs, for each kind: as a whole, and for a container.

use serde_json::{Map, Value, json};

use super::super::lookup::Server;
use crate::api::common::ProfileKind;
use crate::api::names::localhost_profile;
use crate::api::pods::{APPARMOR_CONTAINER, SECCOMP_CONTAINER, SECCOMP_POD, selinux_type};

/// A part of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The pod as a whole.
    Pod,
    /// A container: the list that it is in, its place there, and its name.
    Container(&'static str, usize, String),
}

/// What a part runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Under<'p> {
    /// A profile of ours.
    Profile(&'p str),
    /// The runtime's own.
    RuntimeDefault,
}

/// The security context of a part; `Null` if it has none.
fn context<'v>(pod: &'v Value, part: &Part) -> &'v Value {
    match part {
        Part::Pod => &pod["spec"]["securityContext"],
        Part::Container(list, index, _) => &pod["spec"][*list][*index]["securityContext"],
    }
}

/// What a part says of its profile, as people know it; nothing if it says nothing.
pub(super) fn said(kind: ProfileKind, pod: &Value, part: &Part, server: Server) -> Option<String> {
    let context = context(pod, part);
    let annotation = |key: &str| {
        let value = pod["metadata"]["annotations"][key].as_str();
        value.map(str::to_owned)
    };
    let field = |profile: &Value| {
        let named = profile["localhostProfile"].as_str();
        let named = named.or_else(|| profile["type"].as_str()).unwrap_or("{}");
        (!profile.is_null()).then(|| named.to_owned())
    };
    match (kind, part) {
        (ProfileKind::SelinuxProfile, _) => context["seLinuxOptions"]["type"]
            .as_str()
            .map(str::to_owned),
        (ProfileKind::SeccompProfile, _) => field(&context["seccompProfile"]).or_else(|| {
            let key = seccomp_annotation(part);
            annotation(&key).filter(|_| server.reads_seccomp_annotations())
        }),
        (ProfileKind::AppArmorProfile, Part::Pod) => field(&context["appArmorProfile"]),
        (ProfileKind::AppArmorProfile, Part::Container(_, _, name)) => {
            field(&context["appArmorProfile"])
                .or_else(|| annotation(&format!("{APPARMOR_CONTAINER}{name}")))
        }
    }
}

/// Puts a part under a profile.
pub(super) fn give(
    kind: ProfileKind,
    pod: &mut Value,
    part: &Part,
    under: Under<'_>,
    server: Server,
) {
    match kind {
        ProfileKind::SeccompProfile => {
            let profile = match under {
                Under::Profile(name) => localhost(&localhost_profile(name)),
                Under::RuntimeDefault => json!({ "type": "RuntimeDefault" }),
            };
            set(pod, part, "seccompProfile", profile);
            // Servers that read it refuse a pod in which it says something else.
            forget(pod, &seccomp_annotation(part));
        }
        ProfileKind::SelinuxProfile => {
            let options = selinux(pod, part, under);
            set(pod, part, "seLinuxOptions", options);
        }
        ProfileKind::AppArmorProfile if server.has_apparmor_fields() => {
            let profile = match under {
                Under::Profile(name) => localhost(name),
                Under::RuntimeDefault => json!({ "type": "RuntimeDefault" }),
            };
            set(pod, part, "appArmorProfile", profile);
            if let Part::Container(_, _, name) = part {
                forget(pod, &format!("{APPARMOR_CONTAINER}{name}"));
            }
        }
        ProfileKind::AppArmorProfile => {
            let Part::Container(_, _, name) = part else {
                return;
            };
            let value = match under {
                Under::Profile(name) => format!("localhost/{name}"),
                Under::RuntimeDefault => "runtime/default".to_owned(),
            };
            let annotations = within(within(pod, "metadata"), "annotations");
            *within(annotations, &format!("{APPARMOR_CONTAINER}{name}")) = json!(value);
        }
    }
}

fn localhost(path: &str) -> Value {
    json!({ "type": "Localhost", "localhostProfile": path })
}

/// What a part says besides its type stays: the level keeps pods apart. What a container says is all
/// that counts for it, so that it takes over what the pod says.
fn selinux(pod: &Value, part: &Part, under: Under<'_>) -> Value {
    let own = &context(pod, part)["seLinuxOptions"];
    let inherited = &context(pod, &Part::Pod)["seLinuxOptions"];
    let before = if own.is_null() { inherited } else { own };
    let mut options = before.as_object().cloned().unwrap_or_else(Map::new);
    match under {
        Under::Profile(name) => options.insert("type".to_owned(), json!(selinux_type(name))),
        Under::RuntimeDefault => options.remove("type"),
    };
    Value::Object(options)
}

fn seccomp_annotation(part: &Part) -> String {
    match part {
        Part::Pod => SECCOMP_POD.to_owned(),
        Part::Container(_, _, name) => format!("{SECCOMP_CONTAINER}{name}"),
    }
}

fn set(pod: &mut Value, part: &Part, field: &str, value: Value) {
    let spec = within(pod, "spec");
    let holder = match part {
        Part::Pod => Some(spec),
        Part::Container(list, index, _) => spec.get_mut(list).and_then(|all| all.get_mut(index)),
    };
    if let Some(holder) = holder {
        *within(within(holder, "securityContext"), field) = value;
    }
}

/// Removes an annotation.
pub(super) fn forget(pod: &mut Value, key: &str) {
    let annotations = pod.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.remove(key);
    }
}

/// A field, which is made if it is not there.
pub(super) fn within<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    if !value.is_object() {
        *value = json!({});
    }
    &mut value[name]
}
