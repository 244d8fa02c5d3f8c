//! Schemas of what is not ours, and what the derived ones lack.

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::common::{ProfileKind, ProfileStatus};
use super::daemon::{DaemonState, LogSource};
use super::profile_binding::{BindingMode, WhenNotInstalled};
use super::profile_recording::{MergeStrategy, Recorder};
use super::selinux_profile::{PolicyKind, SelinuxMode};
use crate::api::apparmor_profile::AppArmorMode;
use crate::profile::named::Named;
use crate::profile::seccomp::{Action, Architecture, Flag, Operator};
use crate::profile::state::State;

/// Amounts such as `64Mi`, as the reference checks them.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

macro_rules! schemas {
    ($($type:ty),+ $(,)?) => {
        $(impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let names: Vec<_> = <$type>::ALL.iter().map(|(_, name)| *name).collect();
                json_schema!({ "type": "string", "enum": names })
            }
        })+
    };
}

schemas!(
    Action,
    AppArmorMode,
    Architecture,
    BindingMode,
    DaemonState,
    Flag,
    LogSource,
    MergeStrategy,
    Operator,
    PolicyKind,
    ProfileKind,
    ProfileStatus,
    Recorder,
    SelinuxMode,
    State,
    WhenNotInstalled,
);

/// The default of `state`.
pub(super) fn enabled() -> State {
    State::Enabled
}

/// Conditions, with the limits that Kubernetes sets for its own.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "message": { "type": "string", "maxLength": 32_768 },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
                },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
                }
            }
        }
    })
}

/// A time such as `1h30m`, and none that is no time at all. Servers older than CEL refuse it as well.
pub(super) fn period(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "pattern": "^([1-9][0-9]{0,4}h)?([1-9][0-9]{0,4}m)?([1-9][0-9]{0,4}s)?$"
    })
}

/// A label selector.
pub(super) fn selector(generator: &mut SchemaGenerator) -> Schema {
    foreign::<LabelSelector>(generator)
}

/// A label selector with rules: one that cannot be would be taken, and then match nothing.
pub(super) fn checked_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = selector(generator);
    schema.insert(
        "x-kubernetes-validations".to_owned(),
        json!([
            {
                "rule": "!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator == 'In' || e.operator == 'NotIn' || e.operator == 'Exists' || e.operator == 'DoesNotExist')",
                "message": "no selector knows such an operator: use In, NotIn, Exists or DoesNotExist"
            },
            {
                "rule": "!has(self.matchExpressions) || self.matchExpressions.all(e, (e.operator != 'In' && e.operator != 'NotIn') || (has(e.values) && size(e.values) > 0))",
                "message": "the operators In and NotIn compare with values: give some, or use Exists or DoesNotExist"
            },
            {
                "rule": "!has(self.matchExpressions) || self.matchExpressions.all(e, (e.operator != 'Exists' && e.operator != 'DoesNotExist') || !has(e.values) || size(e.values) == 0)",
                "message": "the operators Exists and DoesNotExist compare with no values: remove them, or use In or NotIn"
            }
        ]),
    );
    schema
}

/// References to secrets.
pub(super) fn secrets(_: &mut SchemaGenerator) -> Schema {
    // The key of such a list must be required or have a default. The reference's default is empty
    // text, which names no secret, and which some API servers do not take as a default.
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "required": ["name"],
            "properties": { "name": { "type": "string" } }
        }
    })
}

/// Resources of a container.
pub(super) fn resources(generator: &mut SchemaGenerator) -> Schema {
    foreign::<ResourceRequirements>(generator)
}

/// Tolerations of a pod.
pub(super) fn tolerations(generator: &mut SchemaGenerator) -> Schema {
    let items = foreign::<Toleration>(generator);
    json_schema!({ "type": "array", "x-kubernetes-list-type": "atomic", "items": items })
}

/// The affinity of a pod.
pub(super) fn affinity(generator: &mut SchemaGenerator) -> Schema {
    foreign::<Affinity>(generator)
}

/// The schema of a type of Kubernetes, as the API server has it for its own objects: without the
/// descriptions, which are long and to be found there, but with what the derived one lacks.
fn foreign<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut value = T::json_schema(generator).to_value();
    complete(&mut value);
    value.try_into().unwrap_or_default()
}

fn complete(value: &mut Value) {
    let Value::Object(schema) = value else {
        return;
    };
    schema.remove("description");
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        schema.insert("pattern".to_owned(), QUANTITY.into());
    }
    if schema.get("type") == Some(&"array".into()) {
        let (list, keys) = if is_claims(schema) {
            ("map", Some(json!(["name"])))
        } else {
            ("atomic", None)
        };
        schema.insert("x-kubernetes-list-type".to_owned(), list.into());
        if let Some(keys) = keys {
            schema.insert("x-kubernetes-list-map-keys".to_owned(), keys);
        }
    }
    let has = |name: &str| {
        let properties = schema.get("properties");
        properties.is_some_and(|properties| properties.get(name).is_some())
    };
    // Label selectors, node selectors and their terms are replaced as a whole.
    if has("matchLabels") || has("matchFields") || has("nodeSelectorTerms") {
        schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(complete);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            complete(inner);
        }
    }
}

/// The list of a container's resource claims is the only one here that has a key.
fn is_claims(list: &Map<String, Value>) -> bool {
    let properties = list.get("items").and_then(|items| items.get("properties"));
    properties.is_some_and(|properties| properties.get("request").is_some())
}
