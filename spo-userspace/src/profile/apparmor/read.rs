//! Reading objects.

use std::collections::BTreeSet;

use super::check::{self, Refusal};
use super::model::{
    Abstract, AppArmorProfile, AppArmorSpec, Capabilities, Executable, Filesystem, Mode, Network,
};
use super::words::Word;
use super::{KIND, lint, read_rules};
use crate::profile::diagnostic::{Diagnostic, quoted};
use crate::profile::fields::{Fields, Problems};
use crate::profile::lint::silence;
use crate::profile::named::Named;
use crate::profile::object::{self, Object};
use crate::profile::state::State;
use crate::profile::tree::{Node, Parsed, Place, Value};

/// What a file with an object holds.
pub type Document = AppArmorProfile;

/// A list of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    Executables,
    Libraries,
    ReadOnly,
    WriteOnly,
    ReadWrite,
}

/// Where the values stand that lints are about.
#[derive(Default)]
pub(super) struct Places {
    pub(super) paths: Vec<(String, List, Place)>,
    pub(super) capabilities: Vec<(Word, Place)>,
}

/// Reads an object of the kind [`KIND`] as YAML or JSON, and tells everything that is wrong with
/// it. There is a document if nothing of that is an error.
///
/// `file` is the name to use in messages.
pub fn read(file: &str, source: &[u8]) -> (Option<Document>, Vec<Diagnostic>) {
    read_parsed(Parsed::of(file, source), false)
}

/// Like [`read`], and tells what is allowed but likely not meant: see [`LINTS`](super::LINTS).
pub fn read_and_lint(file: &str, source: &[u8]) -> (Option<Document>, Vec<Diagnostic>) {
    read_parsed(Parsed::of(file, source), true)
}

/// The same of a tree that may not be the file's any more, but has its places.
pub(crate) fn read_parsed(parsed: Parsed<'_>, lints: bool) -> (Option<Document>, Vec<Diagnostic>) {
    let source = parsed.source;
    let (root, mut problems) = Problems::continued(parsed);
    let mut places = Places::default();
    let document = root.and_then(|root| document(&root, &mut problems, &mut places));
    let document = document.filter(|_| !problems.any_error());
    if lints && document.is_some() {
        lint::lint(&places, &mut problems);
    }
    (document, silence(source, problems.finish()))
}

fn document(
    root: &Node,
    problems: &mut Problems<'_>,
    places: &mut Places,
) -> Option<AppArmorProfile> {
    if matches!(root.value, Value::Null) {
        problems.error(root.place, "the file is empty".to_owned(), None);
        return None;
    }
    let fields = problems.fields(root, "a profile", None)?;
    let (metadata, spec_fields) = object::read(&fields, &KIND, problems)?;
    let spec = spec_fields.and_then(|fields| spec(&fields, problems, places));
    Some(Object {
        metadata: metadata?,
        spec: spec?,
    })
}

fn spec(
    fields: &Fields<'_>,
    problems: &mut Problems<'_>,
    places: &mut Places,
) -> Option<AppArmorSpec> {
    fields.refuse_unknown(&[object::NAMESPACES, "state", "mode", "abstract"], problems);
    let state = named_or(fields, "state", State::Enabled, problems);
    let mode = named_or(fields, "mode", Mode::Enforce, problems);
    let abstract_ = match section(fields, "abstract", problems) {
        Some(fields) => abstract_of(&fields, problems, places),
        None => Abstract::default(),
    };
    Some(AppArmorSpec {
        state: state?,
        mode: mode?,
        abstract_,
    })
}

fn named_or<T: Named>(
    fields: &Fields<'_>,
    name: &str,
    default: T,
    problems: &mut Problems<'_>,
) -> Option<T> {
    fields.get(name).map_or(Some(default), |node| {
        problems.named(node, &format!("`{name}`"))
    })
}

/// The fields of a map that may be missing.
pub(super) fn section<'a>(
    fields: &Fields<'a>,
    name: &str,
    problems: &mut Problems<'_>,
) -> Option<Fields<'a>> {
    let node = fields.get(name)?;
    problems.fields(node, &format!("`{name}`"), fields.place_of(name))
}

fn abstract_of(fields: &Fields<'_>, problems: &mut Problems<'_>, places: &mut Places) -> Abstract {
    fields.refuse_unknown(
        &["executable", "filesystem", "network", "capability", "rules"],
        problems,
    );
    let mut abstract_ = Abstract::default();
    if let Some(fields) = section(fields, "executable", problems) {
        fields.refuse_unknown(&["allowedExecutables", "allowedLibraries"], problems);
        let mut list = |name, list| paths(&fields, name, list, problems, places);
        abstract_.executable = Executable {
            allowed_executables: list("allowedExecutables", List::Executables),
            allowed_libraries: list("allowedLibraries", List::Libraries),
        };
    }
    if let Some(fields) = section(fields, "filesystem", problems) {
        fields.refuse_unknown(
            &["readOnlyPaths", "writeOnlyPaths", "readWritePaths"],
            problems,
        );
        let mut list = |name, list| paths(&fields, name, list, problems, places);
        abstract_.filesystem = Filesystem {
            read_only_paths: list("readOnlyPaths", List::ReadOnly),
            write_only_paths: list("writeOnlyPaths", List::WriteOnly),
            read_write_paths: list("readWritePaths", List::ReadWrite),
        };
    }
    abstract_.network =
        section(fields, "network", problems).map(|fields| network(&fields, problems));
    if let Some(fields) = section(fields, "capability", problems) {
        fields.refuse_unknown(&["allowedCapabilities"], problems);
        let allowed = capabilities(&fields, "allowedCapabilities", problems);
        places.capabilities.extend(&allowed);
        abstract_.capability = Capabilities {
            allowed_capabilities: allowed.into_iter().map(|(word, _)| word).collect(),
        };
    }
    if let Some(fields) = section(fields, "rules", problems) {
        abstract_.rules = read_rules::rules(&fields, problems);
    }
    abstract_
}

fn network(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Network {
    fields.refuse_unknown(&["allowRaw", "allowedProtocols"], problems);
    let mut network = Network {
        allow_raw: boolean(fields, "allowRaw", problems),
        ..Network::default()
    };
    if let Some(fields) = section(fields, "allowedProtocols", problems) {
        fields.refuse_unknown(&["allowTcp", "allowUdp"], problems);
        network.allow_tcp = boolean(&fields, "allowTcp", problems);
        network.allow_udp = boolean(&fields, "allowUdp", problems);
    }
    network
}

/// A boolean that is false if it is missing.
pub(super) fn boolean(fields: &Fields<'_>, name: &str, problems: &mut Problems<'_>) -> bool {
    fields
        .get(name)
        .and_then(|node| problems.boolean(node, &format!("`{name}`")))
        .unwrap_or_default()
}

fn paths(
    fields: &Fields<'_>,
    name: &str,
    list: List,
    problems: &mut Problems<'_>,
    places: &mut Places,
) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (text, place) in texts(fields, name, problems) {
        if let Err(refusal) = check::listed_path(text, list == List::Executables) {
            tell(problems, place, refusal);
        } else if paths.insert(text.to_owned()) {
            places.paths.push((text.to_owned(), list, place));
        } else {
            twice(problems, place, text);
        }
    }
    paths
}

/// The capabilities of a list, with their places.
pub(super) fn capabilities(
    fields: &Fields<'_>,
    name: &str,
    problems: &mut Problems<'_>,
) -> Vec<(Word, Place)> {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for (text, place) in texts(fields, name, problems) {
        match check::capability(text) {
            Err(refusal) => tell(problems, place, refusal),
            Ok(word) if known.insert(word) => found.push((word, place)),
            Ok(word) => twice(problems, place, word),
        }
    }
    found
}

/// The texts of a list that may be missing.
pub(super) fn texts<'a>(
    fields: &Fields<'a>,
    name: &str,
    problems: &mut Problems<'_>,
) -> Vec<(&'a str, Place)> {
    let Some(node) = fields.get(name) else {
        return Vec::new();
    };
    let list = problems
        .list(node, &format!("`{name}`"))
        .unwrap_or_default();
    let mut texts = Vec::new();
    for node in list {
        if let Some(text) = problems.free_text(node, &format!("a value of `{name}`")) {
            texts.push((text, node.place));
        }
    }
    texts
}

pub(super) fn twice(problems: &mut Problems<'_>, place: Place, text: &str) {
    problems.error(
        place,
        format!("{} is there twice", quoted(text)),
        Some("the list is a set, and the API server refuses it".to_owned()),
    );
}

pub(super) fn tell(problems: &mut Problems<'_>, place: Place, refusal: Refusal) {
    let Refusal { message, help } = refusal;
    problems.error(place, message, help);
}
