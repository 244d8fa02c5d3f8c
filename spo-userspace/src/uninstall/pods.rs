//! Pods that are waited for.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};

/// How it was when the time was over.
#[derive(Debug, Default)]
pub(super) struct Late {
    pub(super) pods: BTreeMap<String, Pod>,
    /// Why nothing was told, if so.
    pub(super) error: Option<String>,
}

/// Watches pods until `done` says so.
pub(super) async fn until<T>(
    api: Api<Pod>,
    config: watcher::Config,
    patience: Duration,
    mut done: impl FnMut(&BTreeMap<String, Pod>) -> Option<T>,
) -> Result<T, Late> {
    let mut late = Late::default();
    let watching = async {
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut is_whole = false;
        while let Some(event) = events.next().await {
            match event {
                Err(error) => late.error = Some(error.to_string()),
                Ok(Event::Init) => {
                    is_whole = false;
                    late.pods.clear();
                }
                Ok(Event::InitApply(pod) | Event::Apply(pod)) => {
                    late.pods.insert(pod.name_any(), pod);
                }
                Ok(Event::Delete(pod)) => {
                    late.pods.remove(&pod.name_any());
                }
                Ok(Event::InitDone) => {
                    is_whole = true;
                    late.error = None;
                }
            }
            if is_whole && let Some(value) = done(&late.pods) {
                return Some(value);
            }
        }
        None
    };
    match tokio::time::timeout(patience, watching).await {
        Ok(Some(value)) => Ok(value),
        _ => Err(late),
    }
}
