//! The folder with what was there before.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use crate::cli::held::shown;
use crate::migrate::{ObjectPlan, Plan};

/// As the plan has it.
const OBJECTS: &str = "objects";
/// As it turned out to be stored, where the plan has less, or something else.
const STORED: &str = "stored";
const DEFINITIONS: &str = "definitions";

/// A folder with everything of a plan.
#[derive(Debug)]
pub(super) struct Backup {
    folder: PathBuf,
}

impl Backup {
    /// Makes the folder, whole or not at all. It must not be there before.
    pub(super) fn write(folder: &Path, plan: &Plan) -> Result<Self> {
        let name = shown(folder.as_os_str());
        let context = || format!("failed to write the backup {name}");
        if fs::symlink_metadata(folder).is_ok() {
            bail!("{name} exists already: name a new folder for the backup");
        }
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            .prefix(".spo-backup-")
            .tempdir_in(parent)
            .with_context(context)?;
        for part in [DEFINITIONS, OBJECTS] {
            fs::create_dir(temporary.path().join(part)).with_context(context)?;
        }
        for definition in plan
            .definitions
            .iter()
            .filter(|plan| plan.found.is_object())
        {
            let file = temporary.path().join(DEFINITIONS).join(definition.kind);
            write(&file.with_extension("yaml"), &definition.found).with_context(context)?;
        }
        for object in &plan.objects {
            let file = temporary.path().join(OBJECTS).join(file_name(object));
            write(&file, &object.old).with_context(context)?;
        }
        // An empty folder that somebody made meanwhile may be replaced; a full one is not.
        fs::rename(temporary.keep(), folder).with_context(context)?;
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .with_context(context)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Adds an object that is stored in another way than the plan has it.
    pub(super) fn add(&self, object: &ObjectPlan) -> io::Result<()> {
        let folder = self.folder.join(STORED);
        fs::create_dir_all(&folder)?;
        write(&folder.join(file_name(object)), &object.old)
    }
}

/// Names of kinds have no dots, and those of namespaces and objects no underscores.
fn file_name(object: &ObjectPlan) -> String {
    let ObjectPlan {
        kind,
        namespace,
        name,
        ..
    } = object;
    match namespace {
        Some(namespace) => format!("{kind}_{namespace}_{name}.yaml"),
        None => format!("{kind}_{name}.yaml"),
    }
}

/// Writes what can be put back with `kubectl replace`, or `create` where the object is gone.
fn write(file: &Path, object: &Json) -> io::Result<()> {
    let mut object = object.clone();
    if let Some(Json::Object(metadata)) = object.get_mut("metadata") {
        for name in ["managedFields", "resourceVersion", "uid"] {
            metadata.remove(name);
        }
    }
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    let text = serde_saphyr::to_string_with_options(&object, options).map_err(io::Error::other)?;
    let mut file = File::create(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
