//! The definitions of our kinds: the server takes what is valid, loses nothing of it, and refuses
//! what is not.
#![expect(
    clippy::print_stdout,
    reason = "what a test passes over is counted by its printed line"
)]

use anyhow::{Context as _, Result, bail, ensure};
use kube::Client;
use spo_cluster_tests::access::{admin, namespace, remove_namespace};
use spo_cluster_tests::crd::{self, Kind};
use spo_cluster_tests::files::{File, folder};
use spo_cluster_tests::objects::{Outcome, try_out};

const DEFINITIONS: &str = "deploy/crds";

/// What the server must say to the objects of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It keeps every field, those of the status too.
    Kept,
    /// It refuses them.
    Refused,
    /// It takes them, and refuses the status.
    StatusRefused,
}

const FOLDERS: [(&str, Verdict); 3] = [
    ("tests/data/crds/valid", Verdict::Kept),
    ("tests/data/crds/invalid", Verdict::Refused),
    ("tests/data/crds/invalid-status", Verdict::StatusRefused),
];

/// What is refused here breaks a rule in CEL.
const RULES: &str = "tests/data/crds/rules";

#[tokio::test]
async fn the_server_judges_objects_as_their_folders_say() -> Result<()> {
    let admin = admin().await?;
    let mut kinds = Vec::new();
    for File { name, object, .. } in folder(DEFINITIONS)? {
        let applied = crd::apply(&admin, &object).await;
        kinds.push(applied.with_context(|| format!("failed to apply {name}"))?);
    }
    ensure!(kinds.len() == 8, "{} of 8 kinds are defined", kinds.len());
    let mut files = Vec::new();
    for (path, verdict) in FOLDERS {
        files.extend(folder(path)?.into_iter().map(|file| (file, verdict)));
    }
    let rules = folder(RULES)?;
    if crd::knows_cel(&admin).await? {
        files.extend(rules.into_iter().map(|file| (file, Verdict::Refused)));
    } else {
        println!(
            "skipped: {} files of {RULES}: this API server does not know CEL",
            rules.len()
        );
    }
    let namespace = namespace(&admin).await?;
    let mut problems = Vec::new();
    for (file, verdict) in &files {
        if let Err(problem) = judge(&admin, &kinds, &namespace, file, *verdict).await {
            problems.push(format!("{}: {problem:#}", file.name));
        }
    }
    remove_namespace(&admin, &namespace).await?;
    println!("{} kinds, {} files", kinds.len(), files.len());
    ensure!(
        problems.is_empty(),
        "{} of {} files:\n{}",
        problems.len(),
        files.len(),
        problems.join("\n")
    );
    Ok(())
}

/// Fails if the server does not do with a file's object what it must.
async fn judge(
    client: &Client,
    kinds: &[Kind],
    namespace: &str,
    file: &File,
    verdict: Verdict,
) -> Result<()> {
    let File {
        name: _,
        object,
        rejected,
    } = file;
    let group = object["apiVersion"].as_str().unwrap_or_default();
    let kind = kinds
        .iter()
        .find(|kind| object["kind"] == kind.kind && group.starts_with(&format!("{}/", kind.group)))
        .with_context(|| format!("no definition defines {} of {group}", object["kind"]))?;
    let outcome = try_out(client, kind, namespace, object).await?;
    let refusal = match (verdict, outcome) {
        (Verdict::Kept, Outcome::Kept { lost }) => {
            ensure!(rejected.is_none(), "it says that it is rejected");
            ensure!(lost.is_empty(), "{}", lost.join("; "));
            return Ok(());
        }
        (Verdict::Refused, Outcome::Refused(refusal))
        | (Verdict::StatusRefused, Outcome::StatusRefused(refusal)) => refusal,
        (_, outcome) => bail!("is to be {verdict:?}, and is {outcome:?}"),
    };
    let path = rejected
        .as_deref()
        .context("the first line does not say which field is wrong")?;
    ensure!(
        refusal.is_about(path),
        "is refused, but not for {path}: {refusal}"
    );
    Ok(())
}
