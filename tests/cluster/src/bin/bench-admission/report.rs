//! What was measured, for people and for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use spo_cluster_tests::meter::{Memory, mebibytes};
use spo_kernel_tests::ratio::{Added, quantile};

use crate::rounds::Measured;

/// What the webhook may add to one pod of a hundred, in milliseconds.
const MILLISECONDS: f64 = 10.0;

#[derive(Debug)]
pub(crate) struct Report {
    /// Of the machine, before and after. Far above one for each CPU, times mean little.
    pub(crate) load: [f64; 2],
    pub(crate) namespaces: Measured,
    pub(crate) selecting: Measured,
    /// The webhook's: without a binding, with 10,000, and at the end.
    pub(crate) start: Memory,
    pub(crate) filled: Memory,
    pub(crate) end: Memory,
}

/// A namespace.
#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    /// Milliseconds to create the pod.
    median: f64,
    p99: f64,
    /// What that is more than without a webhook, in the same run.
    added_median: Option<Added>,
    added_p99: Option<Added>,
}

impl Measured {
    fn rows(&self) -> Vec<Row> {
        let nothing = self.cases.first();
        let rows = self.cases.iter().enumerate().map(|(index, (case, times))| {
            let added = |at| {
                let (_, nothing) = nothing.filter(|_| index > 0)?;
                Some(Added::of(times, nothing, at))
            };
            Row {
                case,
                median: quantile(times, 0.5),
                p99: quantile(times, 0.99),
                added_median: added(0.5),
                added_p99: added(0.99),
            }
        });
        rows.collect()
    }

    fn rounds(&self) -> usize {
        self.cases.first().map_or(0, |(_, times)| times.len())
    }

    fn text(&self, out: &mut String) -> Result<()> {
        writeln!(
            out,
            "Milliseconds to create a pod, {} rounds; what is added to `no webhook` (95 % interval)\n\n\
             {:<38} {:>7} {:>7}   {:<21} at p99",
            self.rounds(),
            "namespace",
            "median",
            "p99",
            "at the median",
        )?;
        let told = |added: Option<Added>| {
            added.map_or_else(String::new, |Added { is, low, high }| {
                format!("{is:.2} ({low:.2} to {high:.2})")
            })
        };
        for row in self.rows() {
            let Row {
                case,
                median,
                p99,
                added_median,
                added_p99,
            } = row;
            let (added_median, added_p99) = (told(added_median), told(added_p99));
            let line =
                format!("{case:<38} {median:>7.2} {p99:>7.2}   {added_median:<21} {added_p99}");
            writeln!(out, "{}", line.trim_end())?;
        }
        let pods = self.rounds() * self.cases.len();
        let requests: Vec<_> = self.requests.iter().collect();
        let requests: Vec<_> = requests
            .into_iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        writeln!(
            out,
            "{pods} pods; the webhook asks for {}, and is on a CPU for {} ms\n",
            requests.join(", "),
            self.cpu
        )?;
        Ok(())
    }
}

impl Report {
    fn goals(&self) -> Vec<(&'static str, f64)> {
        let all = [&self.namespaces, &self.selecting];
        let rows = all.into_iter().flat_map(Measured::rows);
        rows.filter_map(|row| Some((row.case, row.added_p99?.is)))
            .collect()
    }

    pub(crate) fn goals_are_met(&self) -> bool {
        self.goals().iter().all(|(_, is)| *is < MILLISECONDS)
    }

    pub(crate) fn print(&self, json: bool) -> Result<()> {
        let mut output = std::io::stdout().lock();
        if json {
            let Self {
                load,
                namespaces,
                selecting,
                start,
                filled,
                end,
            } = self;
            let of = |measured: &Measured| json!({ "rows": measured.rows(), "measured": measured });
            let all = json!({
                "load": load,
                "namespaces": of(namespaces),
                "selecting": of(selecting),
                "memory": { "start": start, "filled": filled, "end": end },
            });
            serde_json::to_writer_pretty(&mut output, &all)?;
            writeln!(output)?;
            return Ok(());
        }
        output.write_all(self.text()?.as_bytes())?;
        Ok(())
    }

    fn text(&self) -> Result<String> {
        let [before, after] = self.load;
        let mut text = String::new();
        let out = &mut text;
        writeln!(
            out,
            "Load of the machine: {before:.1} before, {after:.1} after\n"
        )?;
        self.namespaces.text(out)?;
        self.selecting.text(out)?;
        writeln!(
            out,
            "{:<38} {:>7} {:>10} {:>7} {:>7}",
            "the webhook, resident, MiB", "all", "anonymous", "files", "peak"
        )?;
        for (when, memory) in [
            ("no binding", &self.start),
            ("10 namespaces of 1,000 bindings", &self.filled),
            ("after all rounds, 11,000 bindings", &self.end),
        ] {
            let Memory {
                all,
                anonymous,
                file,
                peak,
            } = *memory;
            let [all, anonymous, file, peak] = [all, anonymous, file, peak].map(mebibytes);
            writeln!(
                out,
                "{when:<38} {all:>7.1} {anonymous:>10.1} {file:>7.1} {peak:>7.1}"
            )?;
        }
        writeln!(
            out,
            "\n{:<38} {:>7} {:>8}",
            "goal: ms added at p99", "is", "below"
        )?;
        for (case, is) in self.goals() {
            let missed = if is < MILLISECONDS { "" } else { "  MISSED" };
            writeln!(out, "{case:<38} {is:>7.2} {MILLISECONDS:>8}{missed}")?;
        }
        Ok(text)
    }
}
