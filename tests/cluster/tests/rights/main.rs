//! What `deploy/` lets our accounts do, held against what they did while all other tests ran: the
//! API server's audit logs tell. Runs last, and reads the logs that `SPO_AUDIT_LOGS` names.
#![expect(
    clippy::print_stdout,
    reason = "what a test passes over is counted by its printed line"
)]

mod audit;
mod grants;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use spo_cluster_tests::manifests::{kustomized, uninstalling};

use self::audit::{Request, Requests};
use self::grants::{Grant, Grants};

/// The namespace that everything is installed into.
const OWN: &str = "security-profiles-operator";

/// What only servers from 1.27 on give an occasion for.
const GATES: &str = "security-profiles-operator: patch pods (core), any, everywhere";

/// What is granted, and what was asked for by the tests before this one; or a line that says that
/// nobody knows.
fn seen() -> Result<Option<(Grants, Requests)>> {
    let logs = std::env::var_os("SPO_AUDIT_LOGS").unwrap_or_default();
    let files: Vec<PathBuf> = std::env::split_paths(&logs)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if files.is_empty() {
        println!("skipped: rights: no audit logs: run cargo xtask test cluster");
        return Ok(None);
    }
    let mut objects = kustomized()?.context("no kubectl")?;
    objects.extend(uninstalling()?.context("no kubectl")?);
    let granted = grants::of(&objects)?;
    let requests = audit::read(&files, &granted.accounts())?;
    Ok(Some((granted, requests)))
}

#[test]
fn every_right_is_used() -> Result<()> {
    let Some((granted, requests)) = seen()? else {
        return Ok(());
    };
    let Grants { grants, lookups } = granted;
    assert!(!grants.is_empty(), "deploy/ grants nothing");
    for lookup in lookups {
        println!(
            "skipped: right: {lookup}: it is looked up by a review, whose object is in no audit log"
        );
    }
    let mut unused = Vec::new();
    for grant in &grants {
        if requests.ours.iter().any(|request| grant.covers(request)) {
            continue;
        }
        if is_unknown(grant, &requests) {
            println!(
                "skipped: right: {grant}: this API server has no such kind: it answered 404 to whoever made one"
            );
            continue;
        }
        if grant.to_string() == GATES {
            println!("skipped: right: {grant}: API server 1.20 has no scheduling gates");
            continue;
        }
        unused.push(grant.to_string());
    }
    assert!(
        unused.is_empty(),
        "of {} rights that deploy/ grants, no test used these; write one, or take them away:\n{}",
        grants.len(),
        unused.join("\n")
    );
    println!(
        "all other rights of {} were used, in {} requests",
        grants.len(),
        requests.ours.len()
    );
    Ok(())
}

/// Whether the server knows no objects of that kind: whoever made one was answered so.
fn is_unknown(grant: &Grant, requests: &Requests) -> bool {
    let mut made = requests
        .ours
        .iter()
        .filter(|request| request.verb == "create" && grant.is_of_resource(request))
        .peekable();
    made.peek().is_some() && made.all(|request| request.code == 404)
}

#[test]
fn nothing_is_asked_for_without_a_right() -> Result<()> {
    let Some((granted, requests)) = seen()? else {
        return Ok(());
    };
    for account in granted.accounts() {
        assert!(
            requests
                .ours
                .iter()
                .any(|request| request.account == account),
            "{account} asked for nothing"
        );
    }
    let refused: BTreeSet<_> = requests.refused.iter().map(Request::to_string).collect();
    assert!(
        refused.is_empty(),
        "these had no right to what they asked for:\n{}",
        refused.into_iter().collect::<Vec<_>>().join("\n")
    );
    Ok(())
}
