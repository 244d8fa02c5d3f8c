//! What earlier recorders of a node had handed in of pods that are still there.

use std::collections::BTreeSet;

use kube::Client;
use kube::api::{Api, ListParams};

use crate::api::SeccompProfile;
use crate::api::names::{CONTAINER_ID, RECORDING_ID};
use crate::recorder::ANNOTATION_PREFIX;
use crate::recorder::cluster::{HandedIn, POD_ENDED};

/// Objects a page.
const PAGE: u32 = 500;

/// Reads it from the profiles that are there: those of pods that had ended.
pub async fn handed_in(client: &Client, node: &str) -> Result<BTreeSet<HandedIn>, kube::Error> {
    let profiles: Api<SeccompProfile> = Api::all(client.clone());
    let mut found = BTreeSet::new();
    let mut page = ListParams::default().labels(RECORDING_ID).limit(PAGE);
    loop {
        let list = profiles.list_metadata(&page).await?;
        for profile in list.items {
            let labels = profile.metadata.labels.unwrap_or_default();
            let annotations = profile.metadata.annotations.unwrap_or_default();
            let said = |name: &str| annotations.get(&format!("{ANNOTATION_PREFIX}{name}"));
            let is_whole = said("end").is_some_and(|end| end == POD_ENDED);
            if !is_whole || said("node").is_none_or(|of| of != node) {
                continue;
            }
            if let (Some(recording), Some(pod), Some(container)) =
                (said("uid"), said("pod-uid"), labels.get(CONTAINER_ID))
            {
                found.insert(HandedIn {
                    recording: recording.clone(),
                    pod: pod.clone(),
                    container: container.clone(),
                });
            }
        }
        match list.metadata.continue_ {
            Some(next) if !next.is_empty() => page.continue_token = Some(next),
            _ => return Ok(found),
        }
    }
}
