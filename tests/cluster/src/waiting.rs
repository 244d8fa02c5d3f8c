//! Waiting until something is so.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kube::Client;
use serde_json::Value;

use crate::objects::get;

const INTERVAL: Duration = Duration::from_millis(100);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);

/// Tries until there is something, for as long as `patience` lasts. The API server may be away meanwhile.
pub async fn until<T>(
    patience: Duration,
    what: &str,
    try_it: impl AsyncFn() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let tried = tokio::time::timeout(TRY, try_it()).await;
        let tried = tried.context("nobody answers").and_then(|tried| tried);
        if let Ok(Some(done)) = tried {
            return Ok(done);
        }
        if start.elapsed() > patience {
            let last = tried.err().map(|error| format!(": {error:#}"));
            bail!("it never came to: {what}{}", last.unwrap_or_default());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Waits until what is at a path is as it should be. What is not there is null.
pub async fn becomes(
    client: &Client,
    path: &str,
    patience: Duration,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let last = RefCell::new(Value::Null);
    let done = until(patience, what, async || {
        let object = get(client, path).await?.unwrap_or_default();
        last.replace(object.clone());
        Ok(is(&object).then_some(object))
    });
    let done = done.await;
    done.with_context(|| format!("{path}: {:#}", last.borrow()))
}
