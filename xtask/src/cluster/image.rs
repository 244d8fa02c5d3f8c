//! Container images, made of programs of this machine: nothing is fetched.

use std::fs::{self, File};
use std::io::{BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ring::digest::{SHA256, digest};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::libraries;

/// Who is who in an image. 65535 is the user that runs what needs no privileges.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65535:65535:nonroot:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65535:\n";
const SEARCH_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an image holds, and what it starts.
#[derive(Debug)]
pub(super) struct Image {
    files: Vec<(PathBuf, Content)>,
    entrypoint: Vec<String>,
}

#[derive(Debug)]
enum Content {
    /// A file of this machine.
    Copy(PathBuf),
    Text(&'static str),
    Link(PathBuf),
    /// A folder that everybody may write to.
    Shared,
}

impl Image {
    /// An image with users and a folder for temporary files; it starts what the pod says.
    pub(super) fn new() -> Self {
        let mut image = Self {
            files: Vec::new(),
            entrypoint: Vec::new(),
        };
        image.put("etc/passwd", Content::Text(PASSWD));
        image.put("etc/group", Content::Text(GROUP));
        image.put("tmp", Content::Shared);
        image
    }

    /// An image that starts a program, which lies in its root under its own name.
    pub(super) fn of(program: &Path) -> Result<Self> {
        let name = program
            .file_name()
            .with_context(|| format!("{} names no program", program.display()))?;
        let mut image = Self::new();
        image.add(program, Path::new(name));
        image.entrypoint = vec![format!("/{}", name.to_string_lossy())];
        Ok(image)
    }

    /// A program at a path of the image, with the libraries that it is linked to at their own.
    pub(super) fn add(&mut self, program: &Path, at: &Path) {
        self.put(at, Content::Copy(program.to_owned()));
        for library in libraries::of(program) {
            let at = library.strip_prefix("/").unwrap_or(&library).to_owned();
            if !self.files.iter().any(|(known, _)| *known == at) {
                self.put(at, Content::Copy(library));
            }
        }
    }

    /// A folder at its own path, with all that is in it but what has such a name, and the libraries that
    /// shared objects there are linked to.
    pub(super) fn add_folder(
        &mut self,
        folder: &Path,
        left_out: &impl Fn(&str) -> bool,
    ) -> Result<()> {
        let context = || format!("failed to read {}", folder.display());
        let entries = fs::read_dir(folder).with_context(context)?;
        let entries: std::io::Result<Vec<_>> = entries.collect();
        let mut entries = entries.with_context(context)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let at = path.strip_prefix("/").unwrap_or(&path);
            let kind = entry.file_type().with_context(context)?;
            if left_out(&entry.file_name().to_string_lossy()) {
                continue;
            }
            if kind.is_dir() {
                self.add_folder(&path, left_out)?;
            } else if kind.is_symlink() {
                self.link(at, fs::read_link(&path).with_context(context)?);
            } else if path.extension().is_some_and(|end| end == "so") {
                self.add(&path, at);
            } else if kind.is_file() {
                self.put(at, Content::Copy(path.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn link(&mut self, at: impl Into<PathBuf>, to: impl Into<PathBuf>) {
        self.put(at, Content::Link(to.into()));
    }

    fn put(&mut self, at: impl Into<PathBuf>, content: Content) {
        self.files.push((at.into(), content));
    }

    /// Writes the image as `docker save` does, which is what containerd imports. The same files
    /// give the same bytes.
    pub(super) fn write(&self, name: &str, to: &Path) -> Result<()> {
        let Self { files, entrypoint } = self;
        let layer = layer(files)?;
        let layer_digest = hex(&layer);
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": { "Env": [SEARCH_PATH], "Entrypoint": entrypoint, "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
            "history": [{ "created": "1970-01-01T00:00:00Z" }],
        })
        .to_string();
        let config_name = format!("{}.json", hex(config.as_bytes()));
        let layer_name = format!("{layer_digest}/layer.tar");
        let manifest =
            json!([{ "Config": config_name, "RepoTags": [name], "Layers": [layer_name] }]);

        let context = || format!("failed to write {}", to.display());
        let out = BufWriter::new(File::create(to).with_context(context)?);
        let mut tar = Builder::new(out);
        for (name, bytes) in [
            (&config_name, config.as_bytes()),
            (&layer_name, &layer),
            (&"manifest.json".to_owned(), manifest.to_string().as_bytes()),
        ] {
            put(&mut tar, Path::new(name), 0o644, bytes).with_context(context)?;
        }
        tar.into_inner()
            .and_then(|out| out.into_inner().map_err(IntoInnerError::into_error))
            .with_context(context)
            .map(drop)
    }
}

/// The files, packed.
fn layer(files: &[(PathBuf, Content)]) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for (at, content) in files {
        let context = || format!("failed to put {} into an image", at.display());
        match content {
            Content::Copy(from) => {
                let bytes =
                    fs::read(from).with_context(|| format!("failed to read {}", from.display()))?;
                put(&mut tar, at, 0o755, &bytes)
            }
            Content::Text(text) => put(&mut tar, at, 0o644, text.as_bytes()),
            Content::Link(to) => {
                let mut header = header(EntryType::Symlink, 0o777);
                tar.append_link(&mut header, at, to)
            }
            Content::Shared => {
                let mut header = header(EntryType::Directory, 0o1777);
                tar.append_data(&mut header, at, std::io::empty())
            }
        }
        .with_context(context)?;
    }
    tar.into_inner().context("failed to pack an image")
}

fn put<W: Write>(tar: &mut Builder<W>, at: &Path, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = header(EntryType::Regular, mode);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, at, bytes)
}

/// All belongs to root, and is of the same age.
fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut text = String::new();
    for byte in digest(&SHA256, bytes).as_ref() {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    text
}

/// What images call the architecture of this machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::path::Path;

    use serde_json::Value;
    use tar::Archive;

    use super::{Image, hex};

    #[test]
    fn an_image_names_what_it_holds_by_its_digest() {
        let file = std::env::temp_dir().join(format!("spo-image-{}.tar", std::process::id()));
        let mut image = Image::of(Path::new("/bin/true")).unwrap();
        image.link("bin/yes", "/true");
        image.write("localhost/true:test", &file).unwrap();
        let written = fs::read(&file).unwrap();
        image.write("localhost/true:test", &file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), written, "the same bytes again");
        fs::remove_file(&file).unwrap();

        let mut found = std::collections::BTreeMap::new();
        for entry in Archive::new(written.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            found.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        let manifest: Value = serde_json::from_slice(&found["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "localhost/true:test");
        let config = manifest[0]["Config"].as_str().unwrap();
        assert_eq!(config, format!("{}.json", hex(&found[config])));
        let layer = &found[manifest[0]["Layers"][0].as_str().unwrap()];
        let config: Value = serde_json::from_slice(&found[config]).unwrap();
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            format!("sha256:{}", hex(layer))
        );
        assert_eq!(config["config"]["Entrypoint"][0], "/true");
        let names: Vec<_> = Archive::new(layer.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        for name in ["true", "tmp", "bin/yes", "etc/passwd"] {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
        }
        assert!(
            names.iter().any(|name| name.contains("libc.so")),
            "{names:?}"
        );
    }

    #[test]
    fn a_digest_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
