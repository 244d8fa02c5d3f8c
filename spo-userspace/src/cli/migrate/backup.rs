//! The folder with what was there before.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
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
/// File systems take names of 255 bytes; objects have names of up to 253.
const LONGEST: usize = 220;

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
        let parts = [DEFINITIONS, OBJECTS].map(|part| temporary.path().join(part));
        for written in parts.iter().map(PathBuf::as_path).chain([temporary.path()]) {
            sync(written).with_context(context)?;
        }
        // An empty folder that somebody made meanwhile may be replaced; a full one is not.
        fs::rename(temporary.path(), folder).with_context(context)?;
        let _moved = temporary.keep();
        sync(parent).with_context(context)?;
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

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Names of namespaces and objects have no underscores. Long ones are cut, and told apart by a
/// number.
fn file_name(object: &ObjectPlan) -> String {
    let ObjectPlan {
        kind,
        namespace,
        name,
        ..
    } = object;
    let mut whole = match namespace {
        Some(namespace) => format!("{kind}_{namespace}_{name}"),
        None => format!("{kind}_{name}"),
    };
    if whole.len() > LONGEST {
        let mut hasher = DefaultHasher::new();
        whole.hash(&mut hasher);
        let cut: String = whole.chars().take(LONGEST).collect();
        whole = format!("{cut}_{:016x}", hasher.finish());
    }
    whole + ".yaml"
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Backup, file_name};
    use crate::migrate::{ObjectPlan, Plan};

    fn object(namespace: Option<&str>, name: &str) -> ObjectPlan {
        ObjectPlan {
            kind: "ProfileBinding",
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            from: "v1alpha1".to_owned(),
            changes: Vec::new(),
            problems: Vec::new(),
            old: json!({ "metadata": { "name": name, "uid": "1", "labels": { "a": "true" } } }),
            new: None,
        }
    }

    #[test]
    fn a_backup_is_whole_and_never_replaces_one() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan {
            definitions: Vec::new(),
            objects: vec![object(Some("shop"), "web"), object(None, "web")],
        };
        let path = folder.path().join("backup");
        let backup = Backup::write(&path, &plan).unwrap();
        let read = |name: &str| -> Value {
            let text = std::fs::read_to_string(path.join(name)).unwrap();
            serde_saphyr::from_str(&text).unwrap()
        };
        assert_eq!(
            read("objects/ProfileBinding_shop_web.yaml"),
            json!({ "metadata": { "name": "web", "labels": { "a": "true" } } })
        );
        backup.add(&object(None, "late")).unwrap();
        assert_eq!(
            read("stored/ProfileBinding_late.yaml")["metadata"]["name"],
            "late"
        );
        let error = Backup::write(&path, &plan).unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn long_names_make_different_files() {
        let long = "a".repeat(252);
        let names = ["b", "c"].map(|end| file_name(&object(Some("shop"), &format!("{long}{end}"))));
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() < 256));
    }
}
