//! What an `AppArmorProfile` says.

use std::collections::BTreeSet;

use serde::Serialize;

use super::rules::Rules;
use super::words::Word;
use crate::profile::named::named;
use crate::profile::object::Object;
use crate::profile::state::State;

named! {
    /// What happens to what the profile does not allow.
    #[derive(Default)]
    Mode, "a mode" {
        /// It fails.
        #[default]
        Enforce = "Enforce",
        /// It is logged, and goes through.
        Complain = "Complain",
    }
}

/// The Kubernetes object.
pub type AppArmorProfile = Object<AppArmorSpec>;

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppArmorSpec {
    /// Whether the profile is to be installed.
    pub state: State,
    /// What happens to what the profile does not allow.
    pub mode: Mode,
    /// What it allows.
    pub abstract_: Abstract,
}

/// An enabled profile in the mode [`Mode::Enforce`] that allows nothing.
impl Default for AppArmorSpec {
    fn default() -> Self {
        Self {
            state: State::Enabled,
            mode: Mode::default(),
            abstract_: Abstract::default(),
        }
    }
}

/// What a profile allows. Lists are sets: their order means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Abstract {
    /// `executable`
    #[serde(skip_serializing_if = "Executable::is_empty")]
    pub executable: Executable,
    /// `filesystem`
    #[serde(skip_serializing_if = "Filesystem::is_empty")]
    pub filesystem: Filesystem,
    /// `network`. A profile without it has no rule for sockets; one that has it, and does not
    /// allow raw sockets, denies them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// `capability`
    #[serde(skip_serializing_if = "Capabilities::is_empty")]
    pub capability: Capabilities,
    /// `rules`: what the reference's fields cannot say. Its API server drops the field, and what
    /// reads the object there sees the profile without it.
    #[serde(skip_serializing_if = "Rules::is_empty")]
    pub rules: Rules,
}

/// What may be executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Executable {
    /// Programs that may be read, and executed under the same profile.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_executables: BTreeSet<String>,
    /// Files that may be read, and mapped as code.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_libraries: BTreeSet<String>,
}

/// Which files may be used. Changing means writing, locking and making hard links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filesystem {
    /// May be read; changing them is denied, even where another path allows it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub read_only_paths: BTreeSet<String>,
    /// May be changed; reading them is denied, even where another path allows it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub write_only_paths: BTreeSet<String>,
    /// May be read and changed.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub read_write_paths: BTreeSet<String>,
}

/// Which sockets may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// `allowRaw`
    pub allow_raw: bool,
    /// `allowedProtocols.allowTcp`
    pub allow_tcp: bool,
    /// `allowedProtocols.allowUdp`
    pub allow_udp: bool,
}

/// Which capabilities may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Words of [`CAPABILITIES`](super::words::CAPABILITIES). With `sys_rawio` come the rights
    /// to mount and to check file systems, as in the reference.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_capabilities: BTreeSet<Word>,
}

impl Executable {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Filesystem {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Capabilities {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Whole {
            allow_raw: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            allowed_protocols: Option<Protocols>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Protocols {
            allow_tcp: bool,
            allow_udp: bool,
        }
        let Self {
            allow_raw,
            allow_tcp,
            allow_udp,
        } = *self;
        let protocols = Protocols {
            allow_tcp,
            allow_udp,
        };
        let whole = Whole {
            allow_raw,
            allowed_protocols: (allow_tcp || allow_udp).then_some(protocols),
        };
        whole.serialize(serializer)
    }
}

/// The same profile in complain mode: what it does not allow is logged and goes through. Nothing
/// else changes, so that [`enforce`] brings it back; what it denies waits until then.
pub fn complain(spec: &AppArmorSpec) -> AppArmorSpec {
    AppArmorSpec {
        mode: Mode::Complain,
        ..spec.clone()
    }
}

/// The same profile, enforced.
pub fn enforce(spec: &AppArmorSpec) -> AppArmorSpec {
    AppArmorSpec {
        mode: Mode::Enforce,
        ..spec.clone()
    }
}
