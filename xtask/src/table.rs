//! The table that the verbs `test`, `check` and `ci` end with.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With what was seen, such as the number of tests.
    Passed(String),
    /// With what went wrong.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

/// Steps that were run, in order.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    outcome: Outcome,
    time: Duration,
}

impl Table {
    /// Runs a step and keeps its outcome; an error is a failure.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Outcome>) {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let outcome = work().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        match &outcome {
            Outcome::Passed(_) => {}
            Outcome::Failed(why) => eprintln!("{name}: failed: {why}"),
            Outcome::Skipped(why) => eprintln!("{name}: skipped: {why}"),
        }
        self.rows.push(Row {
            name: name.to_owned(),
            outcome,
            time: start.elapsed(),
        });
    }

    /// Prints the table; the exit code says whether anything failed.
    pub(crate) fn finish(&self) -> ExitCode {
        println!("\n{}", self.render());
        if self
            .rows
            .iter()
            .any(|row| matches!(row.outcome, Outcome::Failed(_)))
        {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn render(&self) -> String {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0);
        let mut text = String::new();
        let mut counts = [0_usize; 3];
        for Row {
            name,
            outcome,
            time,
        } in &self.rows
        {
            let (kind, word, detail) = match outcome {
                Outcome::Passed(detail) => (0, "passed", detail),
                Outcome::Failed(detail) => (1, "FAILED", detail),
                Outcome::Skipped(detail) => (2, "skipped", detail),
            };
            counts[kind] += 1;
            // Text of more than one line is above the table already.
            let detail = detail.lines().next().unwrap_or("");
            writeln!(
                text,
                "{name:width$}  {word:7}  {:>5} s  {detail}",
                time.as_secs()
            )
            .expect("a String takes every write");
        }
        write!(
            text,
            "{} passed, {} failed, {} skipped",
            counts[0], counts[1], counts[2]
        )
        .expect("a String takes every write");
        text
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use anyhow::anyhow;

    use super::{Outcome, Table};

    #[test]
    fn an_error_is_a_failure_and_a_skip_is_none() {
        let mut table = Table::default();
        table.step("one", || Ok(Outcome::Passed("3 tests".to_owned())));
        table.step("number two", || {
            Ok(Outcome::Skipped("no such machine".to_owned()))
        });
        assert_eq!(table.finish(), ExitCode::SUCCESS);
        table.step("three", || Err(anyhow!("broken\nwith details")));
        assert_eq!(table.finish(), ExitCode::FAILURE);
        let expected = "\
one         passed       0 s  3 tests
number two  skipped      0 s  no such machine
three       FAILED       0 s  broken
1 passed, 1 failed, 1 skipped";
        assert_eq!(table.render(), expected);
    }
}
