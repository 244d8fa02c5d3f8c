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
const VALID: &str = "tests/data/crds/valid";
const INVALID: &str = "tests/data/crds/invalid";

#[tokio::test]
async fn the_server_judges_objects_as_their_files_say() -> Result<()> {
    let folders = [folder(DEFINITIONS)?, folder(VALID)?, folder(INVALID)?];
    let [Some(definitions), Some(valid), Some(invalid)] = folders else {
        // Either all of them are there or none is.
        ensure!(
            folders.iter().all(Option::is_none),
            "one of {DEFINITIONS}, {VALID} and {INVALID} is missing"
        );
        println!("skipped: crds: {DEFINITIONS} does not exist, so that there is nothing to apply");
        return Ok(());
    };
    let admin = admin().await?;
    let mut kinds = Vec::new();
    for File { name, object, .. } in &definitions {
        let applied = crd::apply(&admin, object).await;
        kinds.push(applied.with_context(|| format!("failed to apply {name}"))?);
    }
    let namespace = namespace(&admin).await?;
    let knows_cel = crd::knows_cel(&admin).await?;
    let (mut problems, mut passed_over) = (Vec::new(), Vec::new());
    let mut seen = 0_usize;
    for file in valid.iter().chain(&invalid) {
        if file.needs_cel && !knows_cel {
            passed_over.push(file.name.as_str());
            continue;
        }
        seen += 1;
        if let Err(problem) = judge(&admin, &kinds, &namespace, file).await {
            problems.push(format!("{}: {problem:#}", file.name));
        }
    }
    remove_namespace(&admin, &namespace).await?;
    println!("{} kinds, {seen} files", kinds.len());
    if !passed_over.is_empty() {
        println!(
            "skipped: {} files that need CEL, which this API server does not know: {}",
            passed_over.len(),
            passed_over.join(", ")
        );
    }
    ensure!(
        problems.is_empty(),
        "{} of {seen} files:\n{}",
        problems.len(),
        problems.join("\n")
    );
    Ok(())
}

/// Fails if the server does not do with a file's object what the file says.
async fn judge(client: &Client, kinds: &[Kind], namespace: &str, file: &File) -> Result<()> {
    let File {
        name,
        object,
        rejected,
        needs_cel: _,
    } = file;
    ensure!(
        rejected.is_some() == name.starts_with(INVALID),
        "the first line of a file in {INVALID}, and only there, says what is wrong"
    );
    let group = object["apiVersion"].as_str().unwrap_or_default();
    let kind = kinds
        .iter()
        .find(|kind| object["kind"] == kind.kind && group.starts_with(&format!("{}/", kind.group)))
        .with_context(|| format!("no definition defines {} of {group}", object["kind"]))?;
    match (rejected, try_out(client, kind, namespace, object).await?) {
        (None, Outcome::Kept { lost }) => ensure!(lost.is_empty(), "{}", lost.join("; ")),
        (None, Outcome::Refused(refusal)) => bail!("is refused: {refusal}"),
        (Some(_), Outcome::Kept { .. }) => bail!("is not refused"),
        (Some(expected), Outcome::Refused(refusal)) => ensure!(
            refusal.message.contains(expected),
            "is refused, but not with {expected:?}: {refusal}"
        ),
    }
    Ok(())
}
