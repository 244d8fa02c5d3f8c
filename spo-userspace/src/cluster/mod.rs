//! What every process that runs in a cluster needs of the Kubernetes API: a client, watches that
//! feed queues, events, and a lease that says who leads. Nothing here knows what profiles are.

pub mod election;
pub mod error;
pub mod events;
pub mod queue;
pub mod watch;

use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use kube::client::ClientBuilder;
use kube::{Client, Config};
use thiserror::Error;
use tower::timeout::TimeoutLayer;

/// The name under which our fields of objects are managed, and under which we are known to the
/// server.
pub const MANAGER: &str = "security-profiles-operator";

/// How long an answer may take to begin: longer than the server itself takes at most, a minute.
/// Without this, a request to a server that fell silent would wait for ever.
const ANSWER: Duration = Duration::from_secs(75);
/// How long nothing may arrive of an answer that has begun.
const SILENCE: Duration = Duration::from_mins(5);

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nothing says where the cluster is.
    #[error(
        "found no cluster: in a pod there is a service account, elsewhere KUBECONFIG names a file"
    )]
    NotFound(#[source] kube::config::InferConfigError),
    /// The configuration is no use.
    #[error("cannot make a client for the cluster")]
    Client(#[source] kube::Error),
}

/// A client for the cluster that this runs in, or that `KUBECONFIG` or `~/.kube/config` names.
pub async fn connect() -> Result<Client, ConnectError> {
    let mut config = Config::infer().await.map_err(ConnectError::NotFound)?;
    let agent = HeaderValue::from_static(concat!("spo/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    // Of a watch, something arrives within the time for which the server keeps one: 290 seconds.
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    let stack = ClientBuilder::try_from(config).map_err(ConnectError::Client)?;
    Ok(stack.with_layer(&TimeoutLayer::new(ANSWER)).build())
}
