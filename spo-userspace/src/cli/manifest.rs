//! Manifests with objects of older versions.

use anyhow::{Context as _, Result, bail};

use super::progress::line;
use crate::api::convert::{Converted, to_v1};
use crate::profile::documents;
use crate::profile::object::{API_VERSION, Identity};
use crate::profile::tree::Parsed;

/// The manifest with every object of ours in `v1`. What is of somebody else's or in `v1` already
/// stays as it is, to the letter. There is nothing if it holds no object of ours.
pub(super) fn upgrade(name: &str, source: &[u8]) -> Result<Option<String>> {
    let mut text = String::new();
    let mut ours = 0;
    for part in documents::split(source) {
        let parsed = Parsed::of(name, part.text);
        let Some(root) = &parsed.root else {
            let mut found = parsed.found;
            part.place(&mut found);
            for diagnostic in found {
                line(format_args!("{diagnostic}"));
            }
            bail!("{name} is not valid");
        };
        let identity = Identity::of(root);
        let is_ours = identity.kind.is_some() && !identity.is_foreign();
        ours += usize::from(is_ours);
        if !is_ours || identity.api_version.as_deref() == Some(API_VERSION) {
            push(&mut text, &String::from_utf8_lossy(part.text));
            continue;
        }
        let kind = identity.kind.unwrap_or_default();
        let object = serde_saphyr::from_slice(part.text)
            .with_context(|| format!("failed to read a {kind} of {name}"))?;
        let Converted { object, notes } =
            to_v1(object).with_context(|| format!("failed to convert a {kind} of {name}"))?;
        for note in notes {
            line(format_args!("{kind}: {} {}", note.path, note.text));
        }
        let options = serde_saphyr::ser_options! { compact_list_indent: true };
        let yaml = serde_saphyr::to_string_with_options(&object, options)
            .context("failed to write YAML")?;
        push(&mut text, &yaml);
    }
    Ok((ours > 0).then_some(text))
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
