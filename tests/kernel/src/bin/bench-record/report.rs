//! Medians, ratios and their spread.

use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;
use spo_kernel_tests::ratio::{Ratio, quantile};

/// One case.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    case: &'static str,
    /// Nanoseconds per call with nothing attached.
    nothing_ns: f64,
    /// Added nanoseconds per call.
    empty_ns: f64,
    recorded_ns: f64,
    unrecorded_ns: f64,
    /// Added cost against that of the empty program, with the middle half of the rounds.
    recorded_ratio: Ratio,
    unrecorded_ratio: Ratio,
}

impl Row {
    /// From the samples of the four settings: nothing, empty, recorded, unrecorded.
    pub(crate) fn new(case: &'static str, samples: &[Vec<f64>; 4]) -> Self {
        let [nothing, empty, recorded, unrecorded] = samples;
        let base = quantile(nothing, 0.5);
        Self {
            case,
            nothing_ns: base,
            empty_ns: quantile(empty, 0.5) - base,
            recorded_ns: quantile(recorded, 0.5) - base,
            unrecorded_ns: quantile(unrecorded, 0.5) - base,
            recorded_ratio: Ratio::of(recorded, empty, nothing),
            unrecorded_ratio: Ratio::of(unrecorded, empty, nothing),
        }
    }
}

pub(crate) fn print(rows: &[Row], json: bool) -> Result<()> {
    let mut output = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut output, rows)?;
        writeln!(output)?;
        return Ok(());
    }
    writeln!(
        output,
        "Nanoseconds a system call, added by what is attached; ratio to the empty program (95 % interval)\n"
    )?;
    writeln!(
        output,
        "{:<22} {:>8} {:>7} {:>9} {:>11}   {:<22} {:<22}",
        "case", "nothing", "empty", "recorded", "unrecorded", "recorded/empty", "unrecorded/empty"
    )?;
    for row in rows {
        writeln!(
            output,
            "{:<22} {:>8.0} {:>7.0} {:>9.0} {:>11.0}   {:<22} {:<22}",
            row.case,
            row.nothing_ns,
            row.empty_ns,
            row.recorded_ns,
            row.unrecorded_ns,
            row.recorded_ratio.to_string(),
            row.unrecorded_ratio.to_string()
        )?;
    }
    let worst = rows
        .iter()
        .flat_map(|row| [row.recorded_ratio.median, row.unrecorded_ratio.median])
        .fold(0.0, f64::max);
    writeln!(output, "\nworst ratio: {worst:.2} (bound 1.5, goal 1.25)")?;
    Ok(())
}
