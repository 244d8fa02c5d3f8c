//! Kubernetes events, of which there is a budget: what does not fit is counted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, ResourceExt as _};
use prometheus::IntCounter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::MANAGER;
use super::error::told;

/// Events that may be written at once.
const BURST: u32 = 50;
/// The time after which there may be one more.
const REFILL: Duration = Duration::from_secs(1);
/// Notes that wait for being written, of whoever does not wait for that.
const WAITING: usize = 200;

/// Writes events.
pub struct Events {
    recorder: Recorder,
    budget: Mutex<Budget>,
    over_budget: IntCounter,
    /// The server is an old one, for which even objects without a namespace must name that of
    /// their events. Newer clients find those events by their namespace only.
    wants_namespace: AtomicBool,
}

/// What to say of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody has to do something.
    pub warning: bool,
    /// Why, as one word that programs compare.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

impl Events {
    /// Events of the process that runs on a node, or in a pod; what is left out is counted.
    pub fn new(client: Client, instance: &str, over_budget: IntCounter) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            budget: Mutex::new(Budget::new(Instant::now())),
            over_budget,
            wants_namespace: AtomicBool::new(false),
        }
    }

    /// Tells a note about an object. What repeats within minutes is one event with a count.
    pub async fn tell(&self, object: &ObjectReference, note: Note) {
        let Note {
            warning,
            reason,
            message,
        } = note;
        // Warnings are never left out: they are few, or something is very wrong.
        if !warning && !self.take() {
            self.over_budget.inc();
            return;
        }
        let event = Event {
            type_: if warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: reason.clone(),
            note: Some(shortened(message)),
            action: reason,
            secondary: None,
        };
        if let Err(error) = self.publish(&event, object).await {
            let (name, error) = (object.name.as_deref().unwrap_or_default(), told(&error));
            tracing::warn!(
                error,
                object = name,
                reason = event.reason,
                "cannot write an event"
            );
        }
    }

    /// Server 1.20 refuses events in `default` that regard an object without a namespace.
    async fn publish(&self, event: &Event, object: &ObjectReference) -> Result<(), kube::Error> {
        let with_namespace = || ObjectReference {
            namespace: Some("default".to_owned()),
            ..object.clone()
        };
        if object.namespace.is_some() {
            return self.recorder.publish(event, object).await;
        }
        if self.wants_namespace.load(Ordering::Relaxed) {
            return self.recorder.publish(event, &with_namespace()).await;
        }
        match self.recorder.publish(event, object).await {
            Err(kube::Error::Api(status))
                if status.code == 422 && status.message.contains("involvedObject.namespace") =>
            {
                self.wants_namespace.store(true, Ordering::Relaxed);
                self.recorder.publish(event, &with_namespace()).await
            }
            result => result,
        }
    }

    fn take(&self) -> bool {
        let mut budget = match self.budget.lock() {
            Ok(budget) => budget,
            Err(poisoned) => poisoned.into_inner(),
        };
        budget.take(Instant::now())
    }
}

/// Takes notes of whoever has no time to wait until they are written. There is room for some; what finds
/// none is counted.
#[derive(Clone)]
pub struct Notes {
    sender: mpsc::Sender<(ObjectReference, Note)>,
    over_budget: IntCounter,
}

impl Notes {
    /// Takes a note about an object.
    pub fn leave(&self, object: ObjectReference, note: Note) {
        if self.sender.try_send((object, note)).is_err() {
            self.over_budget.inc();
        }
    }
}

impl Events {
    /// Where notes are left, and what writes them, one after the other: until `stop`, and then those that
    /// are left.
    pub fn later(
        self,
        stop: CancellationToken,
    ) -> (Notes, impl Future<Output = ()> + Send + 'static) {
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let notes = Notes {
            sender,
            over_budget: self.over_budget.clone(),
        };
        let write = async move {
            loop {
                let left = tokio::select! {
                    () = stop.cancelled(), if !receiver.is_closed() => {
                        receiver.close();
                        continue;
                    }
                    left = receiver.recv() => left,
                };
                let Some((object, note)) = left else { return };
                self.tell(&object, note).await;
            }
        };
        (notes, write)
    }
}

/// The pod, for an event.
pub fn pod_reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.name_any()),
        namespace: pod.namespace(),
        uid: pod.uid(),
        ..ObjectReference::default()
    }
}

/// As long as an event's note may be: 1 kB.
fn shortened(mut text: String) -> String {
    const MOST: usize = 1024;
    if text.len() > MOST {
        let mut end = MOST - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[derive(Debug)]
struct Budget {
    left: u32,
    counted: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            counted: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.duration_since(self.counted) >= REFILL {
            self.left += 1;
            self.counted += REFILL;
        }
        if self.left == BURST {
            self.counted = now;
        }
        let there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_comes_back() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let taken = (0..100).filter(|_| budget.take(start)).count();
        assert_eq!(taken, 50);
        let later = start + Duration::from_secs(3);
        assert_eq!((0..10).filter(|_| budget.take(later)).count(), 3);
        let much_later = start + Duration::from_hours(1);
        assert_eq!((0..100).filter(|_| budget.take(much_later)).count(), 50);
    }

    #[test]
    fn notes_without_room_are_counted() {
        let (sender, receiver) = mpsc::channel(2);
        let over_budget = IntCounter::new("a", "a").unwrap();
        let notes = Notes {
            sender,
            over_budget: over_budget.clone(),
        };
        let leave = || {
            let note = Note {
                warning: true,
                reason: "A".to_owned(),
                message: String::new(),
            };
            notes.leave(ObjectReference::default(), note);
            over_budget.get()
        };
        assert_eq!([leave(), leave(), leave()], [0, 0, 1]);
        drop(receiver);
        assert_eq!(leave(), 2);
    }

    #[test]
    fn long_notes_end_at_a_character() {
        let text = shortened("ä".repeat(1000));
        assert!(text.len() <= 1024 && text.ends_with('…'), "{}", text.len());
        assert_eq!(shortened("short".to_owned()), "short");
    }
}
