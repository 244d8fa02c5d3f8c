//! Manifests with objects of older versions.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::input;
use super::progress::line;
use crate::api;
use crate::profile::diagnostic::{Severity, escape, has_errors};
use crate::profile::documents::{self, objects, opening};
use crate::profile::lint::silenced;
use crate::profile::object::{API_VERSION, Identity};
use crate::profile::tree::Parsed;

/// The manifest with every object of ours in `v1`, also in a `List`, and without what an API server
/// said about it. A document with nothing to change stays as it is, to the letter. There is nothing if it holds no object of ours.
pub(super) fn upgrade(name: &str, source: &[u8]) -> Result<Option<String>> {
    let parts = documents::split(source);
    if parts.len() > documents::MOST {
        bail!(
            "{name} has {} documents, and the limit is {}",
            parts.len(),
            documents::MOST
        );
    }
    let mut text = String::new();
    let mut ours = false;
    let mut lost = BTreeSet::new();
    let mut valid = true;
    for part in parts {
        let mut parsed = Parsed::of(name, part.text);
        let mut changed = false;
        for object in parsed.root.as_mut().map(objects).unwrap_or_default() {
            let identity = Identity::of(object);
            if identity.kind.is_none() || identity.is_foreign() {
                continue;
            }
            ours = true;
            let is_older = identity.api_version.as_deref() != Some(API_VERSION);
            if is_older {
                parsed.found.extend(api::upgrade(name, object));
            }
            if is_older || api::came_from_server(object) {
                api::forget_server(object);
                changed = true;
            }
        }
        part.place(&mut parsed.found);
        for diagnostic in &parsed.found {
            line(format_args!("{diagnostic}"));
        }
        valid &= !has_errors(&parsed.found);
        match &parsed.root {
            Some(root) if changed => {
                let options = serde_saphyr::ser_options! { compact_list_indent: true };
                let yaml = serde_saphyr::to_string_with_options(&api::as_json(root), options);
                push(&mut text, &yaml.context("failed to write YAML")?);
                lost.extend(silenced(part.text));
            }
            _ => push(&mut text, &String::from_utf8_lossy(part.text)),
        }
    }
    if !lost.is_empty() {
        let names: Vec<_> = lost.iter().map(|name| escape(name)).collect();
        line(format_args!(
            "comments in objects of {name} that are converted are not kept, and among them is \
             `spo: allow({})`",
            names.join(", ")
        ));
    }
    for read in input::read_file(name, text.as_bytes(), false) {
        for diagnostic in read.diagnostics {
            if diagnostic.severity == Severity::Error && valid {
                line(format_args!("in the result: {diagnostic}"));
            }
        }
        valid &= read.profile.is_some();
    }
    if !valid {
        bail!("{name} was not converted (see above)");
    }
    Ok(ours.then_some(text))
}

/// Adds a document, with a line in front of it that ends the one before, unless it has one.
fn push(text: &mut String, document: &str) {
    let (opens, directives) = opening(document);
    if !text.is_empty() {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        // Directives may only follow a document's end.
        if directives && text.lines().next_back() != Some("...") {
            text.push_str("...\n");
        }
        if !opens {
            text.push_str("---\n");
        }
    }
    text.push_str(document);
}
