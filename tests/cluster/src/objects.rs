//! Objects as JSON, and what becomes of them on the server.

use anyhow::{Context as _, Result, anyhow};
use http::{Method, Request};
use kube::{Client, Error};
use serde_json::Value;

use crate::crd::Kind;

/// Why the API server did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer, such as 422.
    pub code: u16,
    /// What it says about the object.
    pub message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, message } = self;
        write!(f, "{code}: {message}")
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// Whether it is about the field at a path, such as `spec.rules[0].name`. The numbers in
    /// brackets do not count: servers before 1.21 leave them out.
    pub fn is_about(&self, path: &str) -> bool {
        let path = without_indices(path);
        let message = without_indices(&self.message);
        let part_of_a_name =
            |character: char| character.is_ascii_alphanumeric() || "._[".contains(character);
        message.match_indices(&path).any(|(start, found)| {
            let before = message.get(..start).and_then(|text| text.chars().last());
            let after = message.get(start + found.len()..);
            !before.is_some_and(part_of_a_name)
                && !after.is_some_and(|text| text.starts_with(part_of_a_name))
        })
    }
}

/// The text without `[0]`, `[1]` and so on.
fn without_indices(text: &str) -> String {
    let mut pieces = text.split('[');
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(']') {
            Some((index, rest))
                if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                kept.push_str(rest);
            }
            _ => {
                kept.push('[');
                kept.push_str(piece);
            }
        }
    }
    kept
}

/// Asks for something at a path; `Err` inside is the server's own answer.
pub async fn send(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Result<Value, Refusal>> {
    let context = || format!("failed to {method} {path}");
    let request = Request::builder()
        .method(&method)
        .uri(path)
        .header("Content-Type", "application/json")
        .body(body.map(Value::to_string).unwrap_or_default().into_bytes())
        .with_context(context)?;
    match client.request(request).await {
        Ok(answer) => Ok(Ok(answer)),
        Err(Error::Api(status)) => Ok(Err(Refusal {
            code: status.code,
            message: status.message,
        })),
        Err(error) => Err(error).with_context(context),
    }
}

/// Creates an object in a collection.
pub async fn create(client: &Client, path: &str, object: &Value) -> Result<Result<Value, Refusal>> {
    send(client, Method::POST, path, Some(object)).await
}

/// Replaces an object.
pub async fn replace(
    client: &Client,
    path: &str,
    object: &Value,
) -> Result<Result<Value, Refusal>> {
    send(client, Method::PUT, path, Some(object)).await
}

/// What is at a path; `None` if nothing is.
pub async fn get(client: &Client, path: &str) -> Result<Option<Value>> {
    match send(client, Method::GET, path, None).await? {
        Ok(object) => Ok(Some(object)),
        Err(refusal) if refusal.code == 404 => Ok(None),
        Err(refusal) => Err(anyhow!("failed to get {path}: {refusal}")),
    }
}

/// What became of an object that was created, read back and removed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it, but for the fields that it took away or changed, by their paths.
    Kept {
        /// All of them.
        lost: Vec<String>,
    },
    /// The server does not take it.
    Refused(Refusal),
    /// The server takes it, but not its status.
    StatusRefused(Refusal),
}

/// Creates an object of a kind, in `namespace` if its kind is in namespaces, with its status; reads
/// it back, and removes it.
pub async fn try_out(
    client: &Client,
    kind: &Kind,
    namespace: &str,
    object: &Value,
) -> Result<Outcome> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let version = api_version
        .strip_prefix(&format!("{}/", kind.group))
        .with_context(|| format!("apiVersion {api_version:?} is not of {}", kind.group))?;
    let has_status = kind
        .has_status(version)
        .with_context(|| format!("{} has no served version {version}", kind.kind))?;
    let mut object = object.clone();
    if kind.is_namespaced() {
        object["metadata"]["namespace"] = namespace.into();
    }
    let collection = kind.path(version, Some(namespace));
    let made = match create(client, &collection, &object).await? {
        Ok(made) => made,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let name = made["metadata"]["name"]
        .as_str()
        .context("what was created has no name")?;
    let path = format!("{collection}/{name}");
    // A status of its own is not taken with the rest.
    let mut refusal = None;
    if has_status && !object["status"].is_null() {
        let mut with_status = made.clone();
        with_status["status"] = object["status"].clone();
        let answer = replace(client, &format!("{path}/status"), &with_status).await?;
        refusal = answer.err();
    }
    let read = get(client, &path).await?;
    send(client, Method::DELETE, &path, None)
        .await?
        .with_context(|| format!("failed to remove {path}"))?;
    if let Some(refusal) = refusal {
        return Ok(Outcome::StatusRefused(refusal));
    }
    let read = read.with_context(|| format!("{path} is gone at once"))?;
    Ok(Outcome::Kept {
        lost: lost(&object, &read),
    })
}

/// The paths of what was written and is not there, or is not the same. What the server adds, such as
/// defaults, is none of it, and a `null` says as much as nothing.
pub fn lost(written: &Value, read: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    compare(written, read, "", &mut paths);
    paths
}

/// The depth is that of the written object, which the server has bounded.
fn compare(written: &Value, read: &Value, path: &str, lost: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (name, value) in written {
                let path = format!("{path}.{name}");
                match read.get(name) {
                    _ if value.is_null() => {}
                    Some(read) => compare(value, read, &path, lost),
                    None => lost.push(format!("{path} is gone")),
                }
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (index, (written, read)) in written.iter().zip(read).enumerate() {
                compare(written, read, &format!("{path}[{index}]"), lost);
            }
        }
        (Value::Number(written), Value::Number(read)) if written.as_f64() == read.as_f64() => {}
        _ if written == read => {}
        _ => lost.push(format!("{path} was {written}, and is {read}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Refusal, lost};

    #[test]
    fn a_refusal_is_about_a_whole_path() {
        let refusal = |message: &str| Refusal {
            code: 422,
            message: message.to_owned(),
        };
        let old = refusal("\"a\" is invalid: spec.rules.names in body must be of type string");
        assert!(old.is_about("spec.rules[0].names[12]"));
        assert!(!old.is_about("spec.rules"));
        assert!(!old.is_about("rules.names"));
        let new = refusal("\"a\" is invalid: spec.rules[0].names[12]: Invalid value");
        assert!(new.is_about("spec.rules[0].names[12]"));
        assert!(!new.is_about("spec.rules[0].name"));
        assert!(refusal("spec.allow[proc_t]: a").is_about("spec.allow[proc_t]"));
    }

    #[test]
    fn what_is_lost_is_named_and_what_is_added_is_not() {
        let written = json!({ "a": { "b": [{ "c": 1 }, 2.0], "d": "x" }, "e": [1], "f": {} });
        let read = json!({ "a": { "b": [{ "g": 1 }, 2], "d": "y", "h": 0 }, "e": [1, 2], "f": {} });
        assert_eq!(
            lost(&written, &read),
            [
                ".a.b[0].c is gone",
                ".a.d was \"x\", and is \"y\"",
                ".e was [1], and is [1,2]"
            ]
        );
        assert!(lost(&written, &written).is_empty());
        assert!(lost(&json!({ "a": null }), &json!({})).is_empty());
    }
}
