//! An API server, and objects on it as JSON: nothing that it stores is lost on the way.

use http::{Method, Request};
use kube::{Client, Config};
use serde_json::Value as Json;

use super::Error;
use crate::profile::object::GROUP;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// Objects in one answer.
const PAGE: usize = 250;

/// An API server.
#[derive(Clone)]
pub struct Server {
    client: Client,
}

impl Server {
    /// The server that `KUBECONFIG` names, or `~/.kube/config`, or of the cluster that this runs in.
    pub async fn connect() -> Result<Self, Error> {
        let config = Config::infer().await?;
        let client = Client::try_from(config)
            .map_err(|error| Error::Request("make a client".to_owned(), Box::new(error)))?;
        Ok(Self { client })
    }

    pub(super) async fn definition(&self, plural: &str) -> Result<Option<Json>, Error> {
        self.get(&format!("{DEFINITIONS}/{plural}.{GROUP}")).await
    }

    /// Replaces a definition, but not its status; returns what it is then.
    pub(super) async fn replace_definition(&self, crd: &Json, dry: bool) -> Result<Json, Error> {
        let name = text(crd, "/metadata/name");
        let dry = if dry { "?dryRun=All" } else { "" };
        self.put(&format!("{DEFINITIONS}/{name}{dry}"), crd).await
    }

    pub(super) async fn replace_definition_status(&self, crd: &Json) -> Result<Json, Error> {
        let name = text(crd, "/metadata/name");
        self.put(&format!("{DEFINITIONS}/{name}/status"), crd).await
    }

    /// All objects of a kind, as a version shows them.
    pub(super) async fn list(&self, plural: &str, version: &str) -> Result<Vec<Json>, Error> {
        let path = format!("/apis/{GROUP}/{version}/{plural}?limit={PAGE}");
        let mut objects = Vec::new();
        let mut next = String::new();
        loop {
            let mut page = self
                .send(Method::GET, &format!("{path}{next}"), None)
                .await?;
            if let Some(Json::Array(items)) = page.get_mut("items").map(Json::take) {
                objects.extend(items);
            }
            let token = text(&page, "/metadata/continue");
            if token.is_empty() {
                return Ok(objects);
            }
            // Tokens are of letters that an address may have.
            next = format!("&continue={token}");
        }
    }

    /// An object, as a version shows it.
    pub(super) async fn object(
        &self,
        plural: &str,
        version: &str,
        like: &Json,
    ) -> Result<Option<Json>, Error> {
        self.get(&path(plural, version, like)).await
    }

    /// Replaces an object, as `v1`.
    pub(super) async fn replace(&self, plural: &str, object: &Json) -> Result<Json, Error> {
        self.put(&path(plural, "v1", object), object).await
    }

    /// Whether a version of a kind is served, and can be read.
    pub(super) async fn serves(&self, plural: &str, version: &str) -> Result<bool, Error> {
        let path = format!("/apis/{GROUP}/{version}/{plural}?limit=1");
        match self.get(&path).await {
            // By the definition before, it asks a webhook still, which may be dead.
            Err(Error::Refused { code, .. }) if code >= 500 => Ok(false),
            found => Ok(found?.is_some()),
        }
    }

    async fn get(&self, path: &str) -> Result<Option<Json>, Error> {
        match self.send(Method::GET, path, None).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::Refused { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, path: &str, body: &Json) -> Result<Json, Error> {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Json>) -> Result<Json, Error> {
        let what = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", "application/json")
            .body(body.map(Json::to_string).unwrap_or_default().into_bytes());
        let answer = match request {
            Ok(request) => self.client.request(request).await,
            Err(error) => Err(kube::Error::HttpError(error)),
        };
        answer.map_err(|error| match error {
            kube::Error::Api(status) => Error::Refused {
                what,
                code: status.code,
                message: status.message,
            },
            error => Error::Request(what, Box::new(error)),
        })
    }
}

/// The text at a pointer; empty if there is none.
pub(super) fn text<'j>(value: &'j Json, pointer: &str) -> &'j str {
    value
        .pointer(pointer)
        .and_then(Json::as_str)
        .unwrap_or_default()
}

fn path(plural: &str, version: &str, object: &Json) -> String {
    let name = text(object, "/metadata/name");
    match text(object, "/metadata/namespace") {
        "" => format!("/apis/{GROUP}/{version}/{plural}/{name}"),
        namespace => format!("/apis/{GROUP}/{version}/namespaces/{namespace}/{plural}/{name}"),
    }
}
