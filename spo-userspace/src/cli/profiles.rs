//! `spo profiles`: what a cluster has of profiles, as a table or as JSON.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::args::{Form, ProfilesArgs};
use super::columns;
use super::exit::{FAILED, Failure};
use super::progress::{line, output};
use crate::inventory::{self, Entry, OnNode};
use crate::profile::diagnostic::escape;
use crate::profile::few::few;

const HEADS: [&str; 5] = ["KIND", "NAME", "STATUS", "NODES", "USED BY"];

/// Prints them; exit code 1 if one of them is in error, so that scripts may ask.
pub(super) fn run(args: &ProfilesArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let entries = runtime.block_on(inventory::read()).map_err(failed)?;
    match args.output {
        Form::Json => {
            let text = serde_json::to_string_pretty(&entries).map_err(failed)?;
            output(&format!("{text}\n"))?;
        }
        Form::Table if entries.is_empty() => line(format_args!("there are no profiles")),
        Form::Table => output(&table(&entries))?,
    }
    let is_error = |entry: &Entry| entry.status.as_deref() == Some("Error");
    Ok(if entries.iter().any(is_error) {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(FAILED, error)
}

fn table(entries: &[Entry]) -> String {
    let entries = entries.iter();
    let rows: Vec<_> = entries.map(|one| (row(one), details(one))).collect();
    columns::table(HEADS, &rows)
}

fn row(entry: &Entry) -> [String; 5] {
    let number = |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let used = entry.pods.iter().map(|(namespace, pods)| {
        let pods = few(pods.iter().map(|pod| escape(pod)));
        format!("{}: {pods}", escape(namespace))
    });
    let used: Vec<_> = used.collect();
    [
        entry.kind.clone(),
        escape(&entry.name),
        entry.status.clone().unwrap_or_else(|| "unknown".to_owned()),
        format!("{}/{}", number(entry.ready), number(entry.desired)),
        if used.is_empty() {
            "-".to_owned()
        } else {
            used.join("; ")
        },
    ]
}

/// What is to be said of a profile that is not simply installed everywhere: nodes that say the
/// same are one line.
fn details(entry: &Entry) -> Vec<String> {
    let mut same: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for (node, report) in &entry.nodes {
        let status = report.status.as_deref().unwrap_or("unknown");
        same.entry((status, why(report))).or_default().push(node);
    }
    let is_simple = same
        .keys()
        .all(|(status, why)| *status == "Installed" && why.is_empty());
    if is_simple && entry.status.as_deref() == Some("Installed") {
        return Vec::new();
    }
    let lines = same.into_iter().map(|((status, why), nodes)| {
        let nodes = few(nodes.into_iter().map(escape));
        if why.is_empty() {
            format!("{status} on {nodes}")
        } else {
            format!("{status} on {nodes}: {why}")
        }
    });
    let mut lines: Vec<_> = lines.collect();
    if let Some(message) = entry.message.as_ref().filter(|_| lines.is_empty()) {
        lines.push(escape(message));
    }
    lines
}

fn why(report: &OnNode) -> String {
    let why = report.message.as_ref().or(report.reason.as_ref());
    why.map(|why| escape(why)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, status: &str, nodes: &[(&str, &str, &str)]) -> Entry {
        let reports = nodes.iter().map(|(node, status, message)| {
            let report = OnNode {
                status: Some((*status).to_owned()),
                message: (!message.is_empty()).then(|| (*message).to_owned()),
                ..OnNode::default()
            };
            ((*node).to_owned(), report)
        });
        Entry {
            kind: "SeccompProfile".to_owned(),
            name: name.to_owned(),
            status: Some(status.to_owned()),
            ready: Some(1),
            desired: Some(2),
            nodes: reports.collect(),
            ..Entry::default()
        }
    }

    #[test]
    fn nodes_that_say_the_same_are_one_line() {
        let mut good = entry(
            "web",
            "Installed",
            &[("a", "Installed", ""), ("b", "Installed", "")],
        );
        let pods = ["p1", "p2", "p3", "p4"].map(str::to_owned).to_vec();
        good.pods.insert("shop".to_owned(), pods);
        let bad = entry(
            "bad\u{1b}[31m",
            "Error",
            &[
                ("a", "Installed", ""),
                ("b", "Error", "no base"),
                ("c", "Error", "no base"),
            ],
        );
        insta::assert_snapshot!(table(&[good, bad]), @"
        KIND            NAME           STATUS     NODES  USED BY
        SeccompProfile  web            Installed  1/2    shop: p1, p2, p3 and 1 more
        SeccompProfile  bad\\u{1b}[31m  Error      1/2    -
          Error on b, c: no base
          Installed on a
        ");
    }
}
