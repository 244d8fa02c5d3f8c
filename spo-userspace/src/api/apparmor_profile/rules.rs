//! Rules that the fields of the reference cannot say: the field `rules` of an abstract. What they
//! mean, and which of them go together, is [`profile::apparmor`](crate::profile::apparmor)'s to say.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::profile::apparmor::Access;
use crate::profile::apparmor::words::{self, Word};

/// What is allowed and denied besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// What is allowed besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "!has(self.capability) || size(self.capability) == 0",
        "message": "capabilities that are allowed have a field of their own: move them to capability.allowedCapabilities"
    }]))]
    pub allow: Option<RuleSet>,
    /// What is denied, even where something else allows it. Not in the mode `Complain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "!has(self.file) || self.file.all(rule, !has(rule.owner) || !rule.owner)",
        "message": "a rule that denies cannot depend on the owner: leave owner out, and deny it for all"
    }]))]
    pub deny: Option<RuleSet>,
}

/// Rules of all families. In a rule, what is left out means: any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleSet {
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub file: Vec<FileRule>,
    /// Capabilities, in lower case and without `CAP_`. Only in `deny`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub capability: Vec<String>,
    /// Sockets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub network: Vec<NetworkRule>,
    /// Signals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub signal: Vec<SignalRule>,
    /// Tracing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ptrace: Vec<PtraceRule>,
    /// Mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub mount: Vec<MountRule>,
    /// Unix sockets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub unix: Vec<UnixRule>,
    /// D-Bus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub dbus: Vec<DbusRule>,
}

/// Access to files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileRule {
    /// A pattern that begins with `/` or with a variable.
    #[schemars(length(min = 1))]
    pub path: String,
    /// What it is about.
    #[schemars(schema_with = "file_access")]
    pub access: Vec<String>,
    /// Only files that belong to the process's user. Only in `allow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<bool>,
}

/// Use of sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRule {
    /// The family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "family")]
    pub family: Option<String>,
    /// The type, or a protocol of the family `inet`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "socket_type")]
    pub kind: Option<String>,
}

/// Signals from and to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalRule {
    /// What it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "signal_access")]
    pub access: Vec<String>,
    /// The signals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "signals")]
    pub signals: Vec<String>,
    /// A pattern for the other side's profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// Tracing of and by others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PtraceRule {
    /// What it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "ptrace_access")]
    pub access: Vec<String>,
    /// A pattern for the other side's profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// Mounts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MountRule {
    /// What it is about.
    #[schemars(schema_with = "mount_operation")]
    pub operation: String,
    /// Types of file systems. Not with `pivot_root`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub fstype: Vec<String>,
    /// Options. Not with `pivot_root`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "mount_options")]
    pub options: Vec<String>,
    /// What is mounted; with `pivot_root`, where the old root goes. Only with these two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The mount point; with `pivot_root`, the new root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Use of unix sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnixRule {
    /// What it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "unix_access")]
    pub access: Vec<String>,
    /// The type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "unix_type")]
    pub kind: Option<String>,
    /// The own address: `none`, or a pattern that begins with `@`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The other side's address. Only for access that has another side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// A pattern for the other side's profile. Only for access that has another side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// Use of D-Bus: messages, or the owning of a name, or eavesdropping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DbusRule {
    /// What it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "dbus_access")]
    pub access: Vec<String>,
    /// The bus: `system`, `session` or another's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// The object's path. Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The interface. Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The member. Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The name to own. Not with messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The other side's name on the bus. Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_name: Option<String>,
    /// A pattern for the other side's profile. Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

fn file_access(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<Word> = Access::WORDS.iter().map(|(_, word, _)| *word).collect();
    let mut schema = many(&words);
    schema.insert("minItems".to_owned(), 1.into());
    schema
}

/// The schemas of fields whose values are words of tables.
macro_rules! fields {
    ($($name:ident: $shape:ident of $table:ident,)+) => {
        $(fn $name(_: &mut SchemaGenerator) -> Schema {
            $shape(words::$table)
        })+
    };
}

fields!(
    family: one of FAMILIES,
    socket_type: one of SOCKET_TYPES,
    signal_access: many of SIGNAL_ACCESS,
    signals: many of SIGNALS,
    ptrace_access: many of PTRACE_ACCESS,
    mount_operation: one of MOUNT_OPERATIONS,
    mount_options: many of MOUNT_OPTIONS,
    unix_access: many of UNIX_ACCESS,
    unix_type: one of UNIX_TYPES,
    dbus_access: many of DBUS_ACCESS,
);

fn one(words: &[Word]) -> Schema {
    json_schema!({ "type": "string", "enum": words })
}

fn many(words: &[Word]) -> Schema {
    json_schema!({ "type": "array", "x-kubernetes-list-type": "set", "items": one(words) })
}
