//! What the API server asks, and what it is told: `admission.k8s.io/v1`.

use json_patch::Patch;
use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

/// The API server shortens warnings once all of them together have this many bytes.
const WARNINGS: usize = 4096;
/// A longer warning may be shortened for that.
const WARNING: usize = 256;

/// A question.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    /// By which the answer is recognised.
    pub(super) uid: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(default)]
    pub(super) operation: String,
    /// The namespace of the object; empty if it is in none.
    #[serde(default)]
    pub(super) namespace: String,
    /// The part of the object that is written, such as `status`; empty for the object itself.
    #[serde(default)]
    pub(super) sub_resource: String,
    /// Whether it is only tried out.
    #[serde(default)]
    pub(super) dry_run: bool,
    /// The object as it would be.
    #[serde(default)]
    pub(super) object: Value,
    /// The object as it is.
    #[serde(default)]
    pub(super) old_object: Value,
}

impl Request {
    /// Reads a question.
    pub(super) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Review {
            request: Request,
        }
        serde_json::from_slice(body).map(|Review { request }| request)
    }

    /// Whether the object is on its way out. What would keep its finalizers from being removed would
    /// keep it for ever.
    pub(super) fn is_deleting(&self) -> bool {
        self.operation == "DELETE" || !self.object["metadata"]["deletionTimestamp"].is_null()
    }

    /// Whether the object's `spec` is new or another one, of an object that is to stay.
    pub(super) fn changes_spec(&self) -> bool {
        let unchanged =
            !self.old_object.is_null() && self.object["spec"] == self.old_object["spec"];
        !unchanged && !self.is_deleting() && self.sub_resource.is_empty()
    }
}

/// What is said to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Why the request is refused, if it is.
    pub(super) refusal: Option<String>,
    /// What its author is told besides.
    pub(super) warnings: Vec<String>,
    /// What is changed in the object, if anything is.
    pub(super) patch: Option<Patch>,
}

impl Answer {
    /// The answer to a request, as the API server reads it.
    pub(super) fn of(self, request: &Request) -> Value {
        let Self {
            refusal,
            warnings,
            patch,
        } = self;
        let mut response = json!({ "uid": request.uid, "allowed": refusal.is_none() });
        if let Some(message) = refusal {
            response["status"] = json!({
                "status": "Failure",
                "code": 422,
                "reason": "Invalid",
                "message": message,
            });
        }
        let warnings = bounded(warnings);
        if !warnings.is_empty() {
            response["warnings"] = json!(warnings);
        }
        if let Some(patch) = patch {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(ByteString(json!(patch).to_string().into_bytes()));
        }
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        })
    }
}

fn bounded(warnings: Vec<String>) -> Vec<String> {
    let mut left = WARNINGS;
    let mut kept = Vec::new();
    for warning in warnings {
        let warning = shortened(&warning, WARNING);
        let Some(rest) = left.checked_sub(warning.len()) else {
            break;
        };
        left = rest;
        kept.push(warning);
    }
    kept
}

/// At most so many bytes of a text, with a mark where something was cut off.
pub(super) fn shortened(text: &str, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most - MARK.len());
    format!("{}{MARK}", &text[..end])
}
