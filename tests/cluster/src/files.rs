//! Files with objects, and what they say about themselves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// How the first line of a file begins that the server must refuse; the rest is the path of the
/// field that its answer must name.
const REJECTED: &str = "# rejected: ";

/// A file with one object.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// For people: the path below the root of the repository.
    pub name: String,
    /// What it holds.
    pub object: Value,
    /// The field that the server's answer must name, if it must refuse the object.
    pub rejected: Option<String>,
}

impl File {
    fn read(name: String, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("failed to read {name}"))?;
        Self::parse(name, &text)
    }

    fn parse(name: String, text: &str) -> Result<Self> {
        let object = serde_saphyr::from_str(text)
            .with_context(|| format!("{name} is not one YAML document"))?;
        let rejected = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix(REJECTED))
            .map(|expected| expected.trim().to_owned());
        if let Some(expected) = &rejected {
            ensure!(!expected.is_empty(), "{name} does not say what is wrong");
        }
        Ok(Self {
            name,
            object,
            rejected,
        })
    }
}

/// The YAML files of a folder below the root of the repository, by name. An empty folder is an
/// error.
pub fn folder(path: &str) -> Result<Vec<File>> {
    let folder = root().join(path);
    let context = || format!("failed to read the folder {path}");
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(context)? {
        let file = entry.with_context(context)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let name = file.file_name().with_context(context)?.to_string_lossy();
            files.push(File::read(format!("{path}/{name}"), &file)?);
        }
    }
    ensure!(!files.is_empty(), "{path} has no file *.yaml");
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// One YAML file below the root of the repository, which holds one object.
pub fn file(path: &str) -> Result<File> {
    File::read(path.to_owned(), &root().join(path))
}

/// The objects of one YAML file below the root of the repository.
pub fn documents(path: &str) -> Result<Vec<Value>> {
    let text =
        fs::read_to_string(root().join(path)).with_context(|| format!("failed to read {path}"))?;
    let documents = text.split("\n---\n").map(serde_saphyr::from_str);
    documents
        .collect::<Result<_, _>>()
        .with_context(|| format!("{path} is not YAML"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[cfg(test)]
mod tests {
    use super::File;

    fn parse(text: &str) -> anyhow::Result<File> {
        File::parse("a.yaml".to_owned(), text)
    }

    #[test]
    fn a_file_says_what_is_to_become_of_it() {
        let valid = parse("# a comment\nkind: A\n").unwrap();
        assert_eq!(valid.rejected, None);
        let invalid = parse("# rejected: spec.a[0]\nkind: A\n").unwrap();
        assert_eq!(invalid.rejected.as_deref(), Some("spec.a[0]"));
        assert!(parse("# rejected: \nkind: A\n").is_err());
        assert!(parse("kind: A\n---\nkind: B\n").is_err());
    }
}
