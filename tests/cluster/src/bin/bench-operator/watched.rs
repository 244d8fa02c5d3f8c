//! Waiting for what happens, without asking for it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::TryStreamExt as _;
use http::Request;
use inotify::{EventMask, Inotify, WatchMask};
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_mins(5);

/// Names of which something is so, in the order in which it became so, and since when.
pub(crate) struct Watched {
    what: &'static str,
    receiver: UnboundedReceiver<(String, Instant)>,
    seen: HashMap<String, Instant>,
}

impl Watched {
    /// Objects at a path, as soon as the server shows one of which `is` holds.
    pub(crate) async fn objects(
        client: &Client,
        path: &str,
        what: &'static str,
        is: fn(&Value) -> bool,
    ) -> Result<Self> {
        let context = || format!("failed to watch {path}");
        let list = Request::get(format!("{path}?limit=1")).body(Vec::new())?;
        let list: Value = client.request(list).await.with_context(context)?;
        let version = list["metadata"]["resourceVersion"].as_str();
        let version = version.with_context(context)?;
        // Longer than the whole measurement.
        let uri = format!("{path}?watch=1&resourceVersion={version}&timeoutSeconds=36000");
        let request = Request::get(uri).body(Vec::new())?;
        let events = client.request_events::<Value>(request).await;
        let events = events.with_context(context)?;
        let (sender, receiver) = unbounded_channel();
        tokio::spawn(async move {
            let mut events = pin!(events);
            loop {
                let event = events.try_next().await;
                let now = Instant::now();
                let object = match event {
                    Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object))) => object,
                    Ok(Some(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_))) => continue,
                    // The server ends watches whose events are not taken fast enough.
                    ended => {
                        eprintln!("the watch for {what} ended: {ended:?}");
                        return;
                    }
                };
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                if is(&object) && sender.send((name.to_owned(), now)).is_err() {
                    return;
                }
            }
        });
        Ok(Self::of(what, receiver))
    }

    /// Files that get a name in a folder.
    pub(crate) fn files(folder: &Path) -> Result<Self> {
        let context = || format!("failed to watch {}", folder.display());
        let inotify = Inotify::init().with_context(context)?;
        let mask = WatchMask::MOVED_TO | WatchMask::CLOSE_WRITE;
        inotify.watches().add(folder, mask).with_context(context)?;
        let (sender, receiver) = unbounded_channel();
        std::thread::spawn(move || take(inotify, &sender));
        Ok(Self::of("a file", receiver))
    }

    fn of(what: &'static str, receiver: UnboundedReceiver<(String, Instant)>) -> Self {
        Self {
            what,
            receiver,
            seen: HashMap::new(),
        }
    }

    /// When it became so, waiting for it if necessary.
    pub(crate) async fn when(&mut self, name: &str) -> Result<Instant> {
        loop {
            if let Some(when) = self.seen.get(name) {
                return Ok(*when);
            }
            match tokio::time::timeout(PATIENCE, self.receiver.recv()).await {
                Ok(Some((seen, when))) => {
                    self.seen.entry(seen).or_insert(when);
                }
                Ok(None) => bail!("the watch for {} broke", self.what),
                Err(_) => bail!("{name} never got {}", self.what),
            }
        }
    }
}

fn take(mut inotify: Inotify, sender: &UnboundedSender<(String, Instant)>) {
    let mut buffer = [0; 4096];
    while let Ok(events) = inotify.read_events_blocking(&mut buffer) {
        let now = Instant::now();
        for event in events {
            let name = event.name.map(OsString::from).unwrap_or_default();
            let ended = sender.send((name.to_string_lossy().into_owned(), now));
            if ended.is_err() || event.mask.contains(EventMask::Q_OVERFLOW) {
                return;
            }
        }
    }
}
