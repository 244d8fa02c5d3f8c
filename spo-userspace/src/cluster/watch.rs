//! Watches: a store that is kept current, and a word for each change.

use std::fmt::Debug;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::error::told;

/// Something happened to an object.
#[derive(Debug)]
pub enum Change<'a, K> {
    /// It is there, new or changed, or was there when the watch began.
    Present(&'a K),
    /// It is gone. The object is as it was last seen; the store no longer has it.
    Gone(&'a K),
}

impl<'a, K> Change<'a, K> {
    /// The object.
    pub fn object(&self) -> &'a K {
        match self {
            Self::Present(object) | Self::Gone(object) => object,
        }
    }
}

/// What a watch asks for, and what it leaves out of what it gets.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Only objects with these labels.
    pub labels: Option<String>,
    /// Only objects with these fields.
    pub fields: Option<String>,
    /// Is cancelled when all objects that are there have been told for the first time.
    pub complete: CancellationToken,
}

/// Watches until `stop`. The store has the object by the time that `changed` is called for it.
///
/// `trim` removes from each object what nobody here reads, and says whether the object is of
/// interest at all; one that is not, or no longer, is as good as gone. Objects that vanished while
/// the watch was broken are told as gone when it works again. What the server refuses is logged, told to
/// `failed` by what was watched, and tried again, later each time.
pub async fn watch<K>(
    api: Api<K>,
    wish: Wish,
    writer: Writer<K>,
    stop: CancellationToken,
    trim: impl Fn(&mut K) -> bool + Send,
    mut changed: impl FnMut(Change<'_, K>) + Send,
    failed: impl FnMut(&str) + Send,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Default + Debug,
{
    let mut stored = Stored {
        store: writer.as_reader(),
        writer,
        before: Vec::new(),
    };
    let take = move |event| stored.take(event, &trim, &mut changed);
    watch_events(api, wish, stop, take, failed).await;
}

/// Watches until `stop`, and keeps nothing. `take` is given what the server sends, without who wrote
/// which field.
pub async fn watch_events<K>(
    api: Api<K>,
    wish: Wish,
    stop: CancellationToken,
    mut take: impl FnMut(Event<K>) + Send,
    mut failed: impl FnMut(&str) + Send,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let Wish {
        labels,
        fields,
        complete,
    } = wish;
    let config = watcher::Config {
        label_selector: labels,
        field_selector: fields,
        ..watcher::Config::default()
    };
    let mut events = pin!(watcher(api, config).default_backoff());
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        let Some(event) = event else { return };
        let mut event = match event {
            Ok(event) => event,
            Err(error) => {
                let kind = K::DynamicType::default();
                let resource = K::plural(&kind);
                let error = told(&error);
                tracing::warn!(%resource, error, "the watch broke, and is tried again");
                failed(&resource);
                continue;
            }
        };
        if let Event::Apply(object) | Event::InitApply(object) = &mut event {
            object.managed_fields_mut().clear();
        }
        let is_complete = matches!(event, Event::InitDone);
        take(event);
        if is_complete {
            complete.cancel();
        }
    }
}

/// A store, and what was in it when the server began to list all objects.
struct Stored<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store: Store<K>,
    writer: Writer<K>,
    before: Vec<Arc<K>>,
}

impl<K> Stored<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone + Default,
{
    fn take(
        &mut self,
        mut event: Event<K>,
        trim: impl Fn(&mut K) -> bool,
        changed: &mut impl FnMut(Change<'_, K>),
    ) {
        let is_of_interest = match &mut event {
            Event::Apply(object) | Event::InitApply(object) => trim(object),
            _ => true,
        };
        if !is_of_interest {
            let Event::Apply(object) = event else {
                return;
            };
            if !self.has(&object) {
                return;
            }
            event = Event::Delete(object);
        }
        if matches!(event, Event::Init) {
            self.before = self.store.state();
        }
        self.writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(object) => changed(Change::Present(object)),
            Event::Delete(object) => changed(Change::Gone(object)),
            Event::InitDone => {
                for object in std::mem::take(&mut self.before) {
                    if !self.has(&object) {
                        changed(Change::Gone(&object));
                    }
                }
                for object in self.store.state() {
                    changed(Change::Present(&object));
                }
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }

    fn has(&self, object: &K) -> bool {
        self.store.get(&ObjectRef::from_obj(object)).is_some()
    }
}

/// A store that is filled by [`watch`].
pub fn store<K>() -> (Store<K>, Writer<K>)
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone + Default,
{
    kube::runtime::reflector::store()
}
