//! The Jobs that recordings wait for: each is watched, as long as somebody waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Context, Key, failed};
use crate::cluster::queue::Queue;
use crate::cluster::watch::{Wish, store, watch};

/// How a Job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobEnd {
    /// When.
    pub(super) at: Timestamp,
    /// Whether it failed.
    pub(super) failed: bool,
}

/// Who waits for which Job.
pub(super) struct Jobs {
    queue: Queue<Key>,
    stop: CancellationToken,
    watched: Mutex<HashMap<Key, Watched>>,
}

struct Watched {
    name: String,
    /// The last one of that name that ended. It may be gone since.
    end: Arc<Mutex<Option<JobEnd>>>,
    _watch: DropGuard,
}

impl Jobs {
    /// Nobody waits yet. Whoever waited is put into the queue.
    pub(super) fn new(queue: Queue<Key>, stop: CancellationToken) -> Self {
        Self {
            queue,
            stop,
            watched: Mutex::default(),
        }
    }

    /// Has a recording wait for a Job of its namespace, or for none. How the Job ended, if it did.
    pub(super) fn wait(&self, context: &Context, key: &Key, name: Option<&str>) -> Option<JobEnd> {
        let mut watched = lock(&self.watched);
        let Some(name) = name else {
            watched.remove(key);
            return None;
        };
        if watched.get(key).is_none_or(|known| known.name != name) {
            watched.insert(key.clone(), self.watch(context, key, name));
        }
        watched.get(key).and_then(|known| *lock(&known.end))
    }

    fn watch(&self, context: &Context, key: &Key, name: &str) -> Watched {
        let stop = self.stop.child_token();
        let end = Arc::<Mutex<Option<JobEnd>>>::default();
        let wish = Wish {
            fields: Some(format!("metadata.name={name}")),
            ..Wish::default()
        };
        let (_, writer) = store();
        let (queue, known, waiting) = (self.queue.clone(), end.clone(), key.clone());
        tokio::spawn(watch(
            Api::<Job>::namespaced(context.client.clone(), &key.namespace),
            wish,
            writer,
            stop.clone(),
            |job| {
                trim(job);
                true
            },
            move |change| {
                // Some are deleted as soon as they have ended: what was seen last counts.
                if let Some(end) = end_of(change.object()) {
                    *lock(&known) = Some(end);
                    queue.add(waiting.clone());
                }
            },
            failed(context),
        ));
        Watched {
            name: name.to_owned(),
            end,
            _watch: stop.drop_guard(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what nobody here reads.
fn trim(job: &mut Job) {
    job.spec = None::<JobSpec>;
    if let Some(status) = &mut job.status {
        *status = JobStatus {
            conditions: status.conditions.take(),
            ..JobStatus::default()
        };
    }
}

fn end_of(job: &Job) -> Option<JobEnd> {
    let conditions = job.status.as_ref()?.conditions.iter().flatten();
    let mut ends = conditions.filter(|condition| condition.status == "True");
    ends.find_map(|condition| {
        let failed = match condition.type_.as_str() {
            "Complete" => false,
            "Failed" => true,
            _ => return None,
        };
        let at = condition.last_transition_time.as_ref();
        let at = at.map_or_else(Timestamp::now, |time| time.0);
        Some(JobEnd { at, failed })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn jobs_end_when_a_condition_says_so() {
        let of = |kind: &str, status: &str| {
            let mut job: Job = serde_json::from_value(json!({
                "metadata": { "name": "e2e" },
                "spec": { "template": {} },
                "status": {
                    "succeeded": 1,
                    "conditions": [{
                        "type": kind, "status": status, "lastTransitionTime": "2026-01-31T12:00:00Z",
                    }],
                },
            }))
            .unwrap();
            trim(&mut job);
            assert!(job.spec.is_none());
            end_of(&job).map(|end| (end.at.to_string(), end.failed))
        };
        let at = "2026-01-31T12:00:00Z".to_owned();
        assert_eq!(of("Complete", "True"), Some((at.clone(), false)));
        assert_eq!(of("Failed", "True"), Some((at, true)));
        assert_eq!(of("Complete", "False"), None);
        assert_eq!(of("Suspended", "True"), None);
    }
}
