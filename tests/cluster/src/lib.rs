//! What the tests share that talk to the API server of a real cluster, which `KUBECONFIG` names.
//!
//! Objects go there and come back as JSON, not as types, so that nothing is lost on the way that
//! the server keeps.

pub mod access;
pub mod bench;
pub mod crd;
pub mod files;
pub mod installed;
pub mod manifests;
pub mod meter;
pub mod node;
pub mod objects;
pub mod observer;
pub mod proxy;
pub mod waiting;
pub mod web;
