//! Problems in the forms that programs read.

use serde::Serialize;
use serde_json::json;

use crate::cli::args::lints;
use crate::profile::diagnostic::{Diagnostic, Severity};

/// What a problem that no lint found is called where a name is needed.
const NO_RULE: &str = "profile";

/// Everything about one problem.
#[derive(Serialize)]
struct Problem<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

fn severity(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A JSON object with the number of files and the list of problems.
pub(super) fn json(files: usize, diagnostics: &[Diagnostic]) -> String {
    let problems: Vec<_> = diagnostics
        .iter()
        .map(|diagnostic| Problem {
            file: &diagnostic.file,
            line: diagnostic.line,
            column: diagnostic.column,
            severity: severity(diagnostic),
            rule: diagnostic.rule,
            message: &diagnostic.message,
            help: diagnostic.help.as_deref(),
        })
        .collect();
    pretty(&json!({ "files": files, "problems": problems }))
}

/// A SARIF log, version 2.1.0 (OASIS), with one run. `uri` tells the URI of a file by its name.
pub(super) fn sarif(diagnostics: &[Diagnostic], uri: impl Fn(&str) -> String) -> String {
    let mut rules: Vec<&str> = diagnostics
        .iter()
        .map(|diagnostic| diagnostic.rule.unwrap_or(NO_RULE))
        .collect();
    rules.sort_unstable();
    rules.dedup();
    let rules: Vec<_> = rules
        .iter()
        .map(|id| match lints().find(|rule| rule.id == *id) {
            Some(rule) => json!({ "id": id, "shortDescription": { "text": rule.reason } }),
            None => json!({ "id": id }),
        })
        .collect();
    let results: Vec<_> = diagnostics
        .iter()
        .map(|diagnostic| {
            json!({
                "ruleId": diagnostic.rule.unwrap_or(NO_RULE),
                "level": severity(diagnostic),
                "message": { "text": text(diagnostic) },
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": { "uri": uri(&diagnostic.file) },
                        "region": {
                            "startLine": diagnostic.line,
                            "startColumn": diagnostic.column,
                        },
                    },
                }],
            })
        })
        .collect();
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "spo",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                },
            },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

/// Commands that a GitHub workflow turns into annotations of the changed files.
pub(super) fn github(diagnostics: &[Diagnostic]) -> String {
    let mut commands = String::new();
    for diagnostic in diagnostics {
        commands.push_str(
            &format_args!(
                "::{} file={},line={},col={},title={}::{}\n",
                severity(diagnostic),
                property(&diagnostic.file),
                diagnostic.line,
                diagnostic.column,
                property(diagnostic.rule.unwrap_or(NO_RULE)),
                data(&text(diagnostic)),
            )
            .to_string(),
        );
    }
    commands
}

fn text(diagnostic: &Diagnostic) -> String {
    match &diagnostic.help {
        Some(help) => format!("{}; {help}", diagnostic.message),
        None => diagnostic.message.clone(),
    }
}

/// The escapes of workflow commands (actions/toolkit, `command.ts`): a message could begin another.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            rule: Some("some-rule"),
            file: "a b,c:d%.yaml".to_owned(),
            line: 3,
            column: 7,
            span: 0..0,
            message: "bad\n::error::worse".to_owned(),
            help: Some("100 % sure".to_owned()),
        }
    }

    #[test]
    fn workflow_commands_stay_one() {
        assert_eq!(
            github(&[hostile()]),
            "::warning file=a b%2Cc%3Ad%25.yaml,line=3,col=7,title=some-rule::\
             bad%0A::error::worse; 100 %25 sure\n"
        );
    }

    #[test]
    fn sarif_names_rules_and_places() {
        let mut plain = hostile();
        plain.rule = None;
        plain.severity = Severity::Error;
        let log: serde_json::Value =
            serde_json::from_str(&sarif(&[hostile(), plain, hostile()], |name| {
                name.replace(' ', "+")
            }))
            .unwrap();
        let run = &log["runs"][0];
        assert_eq!(
            run["tool"]["driver"]["rules"],
            json!([{ "id": "profile" }, { "id": "some-rule" }])
        );
        let known = Diagnostic {
            rule: Some("same-object"),
            ..hostile()
        };
        let known: serde_json::Value =
            serde_json::from_str(&sarif(&[known], str::to_owned)).unwrap();
        let rule = &known["runs"][0]["tool"]["driver"]["rules"][0];
        let reason = rule["shortDescription"]["text"].as_str().unwrap();
        assert!(reason.contains("applied last"), "{reason}");
        assert_eq!(run["results"][0]["level"], "warning");
        assert_eq!(run["results"][1]["level"], "error");
        assert_eq!(run["results"][1]["ruleId"], "profile");
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a+b,c:d%.yaml");
        assert_eq!(place["region"], json!({ "startLine": 3, "startColumn": 7 }));
    }

    #[test]
    fn json_has_everything() {
        let report: serde_json::Value = serde_json::from_str(&json(2, &[hostile()])).unwrap();
        assert_eq!(report["files"], 2);
        assert_eq!(
            report["problems"][0],
            json!({
                "file": "a b,c:d%.yaml", "line": 3, "column": 7, "severity": "warning",
                "rule": "some-rule", "message": "bad\n::error::worse", "help": "100 % sure",
            })
        );
    }
}
