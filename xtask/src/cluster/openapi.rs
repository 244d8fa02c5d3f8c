//! The one file that Kubernetes is built with and its source lacks: the description of all types,
//! which a program of the source itself writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::build::Go;
use super::log::Log;
use super::source::{MODULE, go_files};

/// The program that writes it.
const GENERATOR: &str = "vendor/k8s.io/kube-openapi/cmd/openapi-gen";
/// Where it goes, and how it is called there.
const PACKAGE: &str = "pkg/generated/openapi";
const FILE: &str = "zz_generated.openapi";
/// Where packages with types are.
const FOLDERS: [&str; 4] = ["cmd", "pkg", "plugin", "vendor/k8s.io"];
/// What a file says whose package belongs into it.
const MARK: &str = "+k8s:openapi-gen=";
/// Deeper than any folder of the source, and a bound should it hold a circle of links.
const DEPTH: usize = 16;

/// Writes the file. The generator's list of exceptions must be the one that upstream keeps, which
/// shows that it saw the types that upstream's own build sees.
pub(super) fn generate(go: &Go<'_>, log: &Log) -> Result<()> {
    let generator = go.work.join("openapi-gen");
    log.run(
        go.command("go")
            .args(["build", "-o"])
            .arg(&generator)
            .arg(format!("{MODULE}/{GENERATOR}")),
    )?;
    let mut packages = BTreeSet::new();
    for folder in FOLDERS {
        find_marked(go.source, Path::new(folder), DEPTH, &mut packages)?;
    }
    ensure!(
        !packages.is_empty(),
        "the source has no package with {MARK}"
    );
    let packages: Vec<_> = packages
        .iter()
        .map(|package| format!("{MODULE}/{}", package.display()))
        .collect();
    let report = go.work.join("openapi.report");
    log.run(
        go.command(&generator.to_string_lossy())
            .args(["--v", "0", "--logtostderr", "-i", &packages.join(",")])
            .args(["-p", &format!("{MODULE}/{PACKAGE}"), "-O", FILE])
            .args(["-h", "vendor/k8s.io/code-generator/hack/boilerplate.go.txt"])
            .arg("-r")
            .arg(&report),
    )?;
    log.run(
        Command::new("diff")
            .arg(go.source.join("api/api-rules/violation_exceptions.list"))
            .arg(&report),
    )
    .with_context(|| format!("{FILE}.go is not upstream's"))
}

/// Adds the folders whose Go files have the mark. Packages below `vendor/k8s.io` are links.
fn find_marked(
    source: &Path,
    folder: &Path,
    depth: usize,
    found: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(());
    };
    let path = source.join(folder);
    for file in go_files(&path)? {
        let text = fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
        if has_mark(&String::from_utf8_lossy(&text)) {
            found.insert(folder.to_owned());
            break;
        }
    }
    let context = || format!("failed to read the folder {}", path.display());
    for entry in path.read_dir().with_context(context)? {
        let name = entry.with_context(context)?.file_name();
        let word = name.to_string_lossy();
        // Go passes over the first two as well; samples are servers of their own.
        let passed_over =
            word == "testdata" || word.starts_with('_') || word.starts_with("sample-");
        if !passed_over && path.join(&name).is_dir() {
            find_marked(source, &folder.join(&name), depth, found)?;
        }
    }
    Ok(())
}

fn has_mark(text: &str) -> bool {
    text.lines().any(|line| {
        line.strip_prefix("//")
            .is_some_and(|comment| comment.trim_start_matches(' ').starts_with(MARK))
    })
}

#[cfg(test)]
mod tests {
    use super::has_mark;

    #[test]
    fn a_mark_is_a_comment_of_its_own() {
        assert!(has_mark("package a\n// +k8s:openapi-gen=true\n"));
        assert!(has_mark("//+k8s:openapi-gen=true"));
        assert!(!has_mark("// see +k8s:openapi-gen=true"));
        assert!(!has_mark("\t// +k8s:openapi-gen=true"));
    }
}
