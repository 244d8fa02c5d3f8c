//! A recorder of containers that come and go: who is who, and does each set hold what its container did, and nothing else?
#![cfg(target_arch = "x86_64")]

#[path = "containers/capabilities.rs"]
mod capabilities;
#[path = "containers/ended.rs"]
mod ended;
#[path = "containers/entered.rs"]
mod entered;
#[path = "containers/node.rs"]
mod node;
#[path = "containers/oci.rs"]
mod oci;
#[path = "containers/reused.rs"]
mod reused;
#[path = "containers/started.rs"]
mod started;
