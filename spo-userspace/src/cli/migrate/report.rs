//! What a migration does, as a table and as JSON.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use crate::migrate::{Action, DefinitionPlan, ObjectPlan, Outcome, Plan};
use crate::profile::diagnostic::escape;

/// What there is to do, and how much of it was done, if it was tried.
pub(super) struct Report<'r> {
    plan: &'r Plan,
    outcome: Option<&'r Outcome>,
    /// The kinds and objects that are done.
    kinds: HashSet<&'r str>,
    objects: HashSet<String>,
}

impl<'r> Report<'r> {
    pub(super) fn new(plan: &'r Plan, outcome: Option<&'r Outcome>) -> Self {
        let kinds = outcome.into_iter().flat_map(|outcome| &outcome.kinds);
        let objects = outcome.into_iter().flat_map(|outcome| &outcome.objects);
        Self {
            plan,
            outcome,
            kinds: kinds.copied().collect(),
            objects: objects.map(ToString::to_string).collect(),
        }
    }

    pub(super) fn json(&self) -> Json {
        let definitions = self.plan.definitions.iter().map(|step| {
            json!({
                "kind": step.kind,
                "storedVersions": step.stored,
                "action": word(step.action),
                "problems": step.problems,
                "done": self.is_done(step),
            })
        });
        let definitions: Vec<_> = definitions.collect();
        let objects: Vec<_> = self
            .objects()
            .map(|object| {
                let changes: Vec<_> = object
                    .changes
                    .iter()
                    .map(|note| json!({ "path": note.path, "text": note.text }))
                    .collect();
                json!({
                    "kind": object.kind,
                    "namespace": object.namespace,
                    "name": object.name,
                    "from": object.from,
                    "changes": changes,
                    "problems": object.problems,
                    "done": self.objects.contains(&object.to_string()),
                })
            })
            .collect();
        let error = self.outcome.and_then(|outcome| outcome.error.as_ref());
        json!({
            "definitions": definitions,
            "objects": objects,
            "error": error.map(ToString::to_string),
        })
    }

    pub(super) fn table(&self) -> String {
        let mut rows = Vec::new();
        for step in &self.plan.definitions {
            let mut said = vec![match step.action {
                Action::Absent => continue,
                Action::Keep => "stays as it is".to_owned(),
                Action::Replace => "is replaced".to_owned(),
                Action::Convert => "is replaced, after all its objects are in v1".to_owned(),
            }];
            said.extend(problems(&step.problems));
            let done = self.is_done(step);
            rows.push(Row {
                done: self.outcome.map(|_| done),
                what: step.kind.to_owned(),
                name: "(definition)".to_owned(),
                from: step.stored.join(", "),
                said,
            });
        }
        for object in self.objects() {
            let changes = object.changes.iter();
            let mut said: Vec<_> = changes
                .map(|note| escape(&format!("{} {}", note.path, note.text)))
                .collect();
            said.extend(problems(&object.problems));
            if said.is_empty() {
                said.push("nothing but the version".to_owned());
            }
            let done = self.objects.contains(&object.to_string());
            rows.push(Row {
                done: self.outcome.map(|_| done),
                what: object.kind.to_owned(),
                name: match &object.namespace {
                    Some(namespace) => format!("{namespace}/{}", object.name),
                    None => object.name.clone(),
                },
                from: object.from.clone(),
                said,
            });
        }
        draw(&rows)
    }

    fn is_done(&self, step: &DefinitionPlan) -> bool {
        matches!(step.action, Action::Absent | Action::Keep) || self.kinds.contains(step.kind)
    }

    /// As they were written, or else as they are planned.
    fn objects(&self) -> impl Iterator<Item = &'r ObjectPlan> {
        let mut seen: HashSet<_> = HashSet::new();
        let written = self.outcome.into_iter();
        let written = written.flat_map(|outcome| &outcome.objects);
        written
            .chain(&self.plan.objects)
            .filter(move |object| seen.insert(object.to_string()))
    }
}

struct Row {
    done: Option<bool>,
    what: String,
    name: String,
    from: String,
    said: Vec<String>,
}

fn problems(problems: &[String]) -> impl Iterator<Item = String> {
    problems.iter().map(|problem| format!("ERROR: {problem}"))
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Absent => "absent",
        Action::Keep => "keep",
        Action::Replace => "replace",
        Action::Convert => "convert",
    }
}

fn draw(rows: &[Row]) -> String {
    let width = |text: fn(&Row) -> &str, head: &str| {
        let widths = rows.iter().map(|row| text(row).chars().count());
        widths.chain([head.len()]).max().unwrap_or_default()
    };
    let what = width(|row| &row.what, "KIND");
    let name = width(|row| &row.name, "NAME");
    let from = width(|row| &row.from, "FROM");
    let tried = rows.iter().any(|row| row.done.is_some());
    let line = |done: &str, cells: [&str; 4]| {
        let [a, b, c, d] = cells;
        let done = if tried {
            format!("{done:<4}  ")
        } else {
            String::new()
        };
        format!("{done}{a:<what$}  {b:<name$}  {c:<from$}  {d}\n")
    };
    let mut text = line("DONE", ["KIND", "NAME", "FROM", "WHAT HAPPENS"]);
    for row in rows {
        let mut said = row.said.iter();
        let first = said.next().map(String::as_str).unwrap_or_default();
        let done = if row.done == Some(true) { "yes" } else { "NO" };
        text += &line(done, [&row.what, &row.name, &row.from, first]);
        for more in said {
            text += &line("", ["", "", "", more]);
        }
    }
    text
}
