//! What was done and what is left, as a table and as JSON.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::profile::diagnostic::escape;
use crate::profile::few::few;
use crate::uninstall::{Action, Outcome, Plan, State, Step};

pub(super) fn json(plan: &Plan, outcome: Option<&Outcome>) -> Json {
    let steps = match outcome {
        Some(outcome) => json!(outcome.steps),
        None => json!(plan.steps),
    };
    let error = outcome.and_then(|outcome| outcome.error.as_ref());
    json!({
        "refused": plan.refused,
        "steps": steps,
        "done": outcome.map(Outcome::is_done),
        "error": error.map(ToString::to_string),
    })
}

/// Steps of which the same is to be said are one line.
pub(super) fn table(plan: &Plan, outcome: Option<&Outcome>) -> String {
    let mut order = Vec::new();
    let mut rows: BTreeMap<(&str, &str, String), Vec<String>> = BTreeMap::new();
    let steps: Vec<(&Step, Option<&State>)> = match outcome {
        Some(outcome) => {
            let steps = outcome.steps.iter();
            steps.map(|done| (&done.step, Some(&done.state))).collect()
        }
        None => plan.steps.iter().map(|step| (step, None)).collect(),
    };
    for (step, state) in steps {
        let done = match state {
            None => "",
            Some(State::Done(_)) => "yes",
            Some(State::Left(_) | State::Waiting) => "NO",
        };
        let key = (done, step.kind.as_str(), what(step, state));
        if !rows.contains_key(&key) {
            order.push(key.clone());
        }
        let name = match &step.namespace {
            Some(namespace) => format!("{namespace}/{}", step.name),
            None => step.name.clone(),
        };
        rows.entry(key).or_default().push(escape(&name));
    }
    let lines = order.into_iter().map(|key| {
        let names = few(rows.get(&key).into_iter().flatten().collect::<Vec<_>>());
        let (done, kind, what) = key;
        [done.to_owned(), kind.to_owned(), names, what]
    });
    draw(&lines.collect::<Vec<_>>(), outcome.is_some())
}

fn what(step: &Step, state: Option<&State>) -> String {
    let what = match step.action {
        Action::Stop => "is stopped",
        Action::Delete => "is deleted",
        Action::Release => "stays, without our finalizers",
        Action::Clean => "is cleaned of our files",
        Action::Unreachable => "is not reached",
        Action::Foreign => "is not ours, and stays",
    };
    let mut said = vec![what.to_owned()];
    said.extend(step.note.clone());
    match state {
        Some(State::Done(Some(more)) | State::Left(more)) => said.push(more.clone()),
        Some(State::Waiting) => said.push("not tried".to_owned()),
        Some(State::Done(None)) | None => {}
    }
    escape(&said.join("; "))
}

fn draw(rows: &[[String; 4]], tried: bool) -> String {
    let heads = ["DONE", "KIND", "NAME", "WHAT HAPPENS"].map(str::to_owned);
    let mut widths = [0; 4];
    let lines: Vec<_> = [&heads].into_iter().chain(rows).collect();
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line.iter()) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).skip(usize::from(!tried));
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
