//! What a cluster has of profiles: on which nodes they are, and who uses them.

mod read;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::read::{Error, read};

/// A profile, on all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How far it got on all nodes together; none if no operator has said so yet.
    pub status: Option<String>,
    /// Why, for people.
    pub message: Option<String>,
    /// Nodes that have it as it is now.
    pub ready: Option<u32>,
    /// Nodes that should have it.
    pub desired: Option<u32>,
    /// What each node says, by its name.
    pub nodes: BTreeMap<String, OnNode>,
    /// The pods that use it, by their namespace.
    pub pods: BTreeMap<String, Vec<String>>,
}

/// A profile on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnNode {
    /// How far it got.
    pub status: Option<String>,
    /// Why, in one word.
    pub reason: Option<String>,
    /// Why, for people.
    pub message: Option<String>,
    /// The digest of its file.
    pub digest: Option<String>,
    /// When that began.
    pub since: Option<String>,
}
