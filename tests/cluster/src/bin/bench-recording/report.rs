//! What was measured, for people and for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use spo_cluster_tests::meter::{Memory, mebibytes};
use spo_kernel_tests::ratio::{Ratio, quantile};

use crate::many::Many;
use crate::redis::Samples;

/// What a recorder may take longer, against an empty program.
const RATIO: f64 = 1.5;
/// Of the recorder with 100 containers.
const MEBIBYTES: f64 = 60.0;
const CORES: f64 = 0.05;

#[derive(Debug)]
pub(crate) struct Report {
    /// Of the machine, before and after. Far above one for each CPU, times mean little.
    pub(crate) load: [f64; 2],
    pub(crate) redis: Samples,
    pub(crate) many: Many,
}

/// A setting.
#[derive(Debug, Serialize)]
struct Row {
    setting: &'static str,
    /// Microseconds a request, the median of the rounds.
    taken: f64,
    requests_per_second: f64,
    /// How many of the requests a second are lost, in percent.
    lost_percent: f64,
    /// What it adds, against what the empty program adds.
    ratio: Option<Ratio>,
}

impl Report {
    fn rows(&self) -> Vec<Row> {
        let Samples {
            nothing,
            empty,
            another,
            this,
        } = &self.redis;
        let base = quantile(nothing, 0.5);
        // Of each round by itself: its settings met the same server.
        let added = |samples: &[f64]| -> Vec<f64> {
            let pairs = samples.iter().zip(nothing);
            pairs.map(|(with, without)| with - without).collect()
        };
        let none = vec![0.0; nothing.len()];
        let row = |setting, samples: &[f64], is_recorded: bool| {
            let taken = quantile(samples, 0.5);
            Row {
                setting,
                taken,
                requests_per_second: 1e6 / taken,
                lost_percent: (1.0 - base / taken) * 100.0,
                ratio: is_recorded.then(|| Ratio::of(&added(samples), &added(empty), &none)),
            }
        };
        vec![
            row("nothing", nothing, false),
            row("empty", empty, false),
            row("another pod recorded", another, true),
            row("this pod recorded", this, true),
        ]
    }

    fn goals(&self) -> Vec<(String, f64, f64)> {
        let rows = self.rows();
        let ratios = rows.iter().filter_map(|row| {
            let ratio = row.ratio?;
            Some((format!("{}, to empty", row.setting), ratio.median, RATIO))
        });
        let mut goals: Vec<_> = ratios.collect();
        let memory = mebibytes(self.many.memory.all);
        goals.push(("100 containers, MiB".to_owned(), memory, MEBIBYTES));
        let cores = self.many.cores;
        goals.push(("100 containers, CPUs".to_owned(), cores, CORES));
        goals
    }

    pub(crate) fn goals_are_met(&self) -> bool {
        self.goals().iter().all(|(_, is, most)| is <= most)
    }

    pub(crate) fn print(&self, json: bool) -> Result<()> {
        let mut output = std::io::stdout().lock();
        if json {
            let all = json!({
                "load": self.load,
                "redis": { "rows": self.rows(), "microseconds": self.redis },
                "many": self.many,
            });
            serde_json::to_writer_pretty(&mut output, &all)?;
            writeln!(output)?;
            return Ok(());
        }
        output.write_all(self.text()?.as_bytes())?;
        Ok(())
    }

    fn text(&self) -> Result<String> {
        let mut text = String::new();
        let out = &mut text;
        let [before, after] = self.load;
        let rounds = self.redis.nothing.len();
        writeln!(
            out,
            "Load of the machine: {before:.1} before, {after:.1} after\n\n\
             Redis in a pod, {rounds} rounds; ratio of what is added to what the empty program adds\n\
             (95 % interval)\n\n\
             {:<22} {:>11} {:>15} {:>7}   ratio",
            "attached", "us/request", "requests/s", "lost",
        )?;
        for row in self.rows() {
            let ratio = row
                .ratio
                .map_or_else(String::new, |ratio| ratio.to_string());
            let line = format!(
                "{:<22} {:>11.2} {:>15.0} {:>5.1} %   {ratio}",
                row.setting, row.taken, row.requests_per_second, row.lost_percent,
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        let Many {
            before,
            memory,
            cores,
            requests,
        } = &self.many;
        writeln!(
            out,
            "\nThe recorder with 100 containers, two programs a second in each"
        )?;
        let megabytes = |what: &str, memory: &Memory| {
            format!(
                "resident, {what}: {:.1} MiB, {:.1} of it anonymous; at most {:.1}",
                mebibytes(memory.all),
                mebibytes(memory.anonymous),
                mebibytes(memory.peak)
            )
        };
        writeln!(out, "  {}", megabytes("nothing recorded", before))?;
        writeln!(out, "  {}", megabytes("all recorded", memory))?;
        writeln!(out, "  CPUs: {cores:.3}")?;
        let asked: Vec<_> = requests
            .iter()
            .map(|(what, times)| format!("{times} {what}"))
            .collect();
        writeln!(out, "  requests in a minute: {}\n", asked.join(", "))?;
        writeln!(out, "{:<44} {:>7} {:>8}", "goal", "is", "at most")?;
        for (what, is, most) in self.goals() {
            let missed = if is <= most { "" } else { "  MISSED" };
            writeln!(out, "{what:<44} {is:>7.2} {most:>8}{missed}")?;
        }
        Ok(text)
    }
}
