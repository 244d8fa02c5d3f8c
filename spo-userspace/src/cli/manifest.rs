//! Manifests with objects of older versions.

use anyhow::{Context as _, Result, bail};

use super::input;
use super::progress::line;
use crate::api;
use crate::profile::diagnostic::{Severity, has_errors};
use crate::profile::documents;
use crate::profile::object::{API_VERSION, Identity};
use crate::profile::tree::Parsed;

/// The manifest with every object of ours in `v1`. What is of somebody else's or in `v1` already
/// stays as it is, to the letter. There is nothing if it holds no object of ours.
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
    let mut valid = true;
    for part in parts {
        let mut parsed = Parsed::of(name, part.text);
        let identity = parsed.root.as_ref().map(Identity::of).unwrap_or_default();
        let is_ours = identity.kind.is_some() && !identity.is_foreign();
        ours |= is_ours;
        let is_older = is_ours && identity.api_version.as_deref() != Some(API_VERSION);
        if is_older {
            api::upgrade(&mut parsed);
        }
        part.place(&mut parsed.found);
        for diagnostic in &parsed.found {
            line(format_args!("{diagnostic}"));
        }
        valid &= !has_errors(&parsed.found);
        match &parsed.root {
            Some(root) if is_older => {
                let options = serde_saphyr::ser_options! { compact_list_indent: true };
                let yaml = serde_saphyr::to_string_with_options(&api::as_json(root), options);
                push(&mut text, &yaml.context("failed to write YAML")?);
            }
            _ => push(&mut text, &String::from_utf8_lossy(part.text)),
        }
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

/// Adds a document, with a line in front of it that ends the one before.
fn push(text: &mut String, document: &str) {
    if !text.is_empty() {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if !document.starts_with("---") {
            text.push_str("---\n");
        }
    }
    text.push_str(document);
}
