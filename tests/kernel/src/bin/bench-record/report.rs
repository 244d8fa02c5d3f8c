//! Medians, ratios and their spread.

use std::io::Write as _;

use anyhow::Result;
use serde::Serialize;

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

#[derive(Clone, Copy, Debug, Serialize)]
struct Ratio {
    median: f64,
    low: f64,
    high: f64,
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
            recorded_ratio: ratio(recorded, empty, nothing),
            unrecorded_ratio: ratio(unrecorded, empty, nothing),
        }
    }
}

/// The ratio of the medians, and the 95 % interval of it over resampled rounds.
fn ratio(cost: &[f64], empty: &[f64], nothing: &[f64]) -> Ratio {
    let of = |pick: &dyn Fn(&[f64]) -> f64| {
        let base = pick(nothing);
        (pick(cost) - base) / (pick(empty) - base)
    };
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut resampled = Vec::new();
    for _ in 0..500 {
        let picks: Vec<usize> = cost
            .iter()
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                usize::try_from(seed % cost.len() as u64).unwrap_or_default()
            })
            .collect();
        resampled.push(of(&|samples| {
            quantile(
                &picks
                    .iter()
                    .filter_map(|at| samples.get(*at).copied())
                    .collect::<Vec<_>>(),
                0.5,
            )
        }));
    }
    Ratio {
        median: of(&|samples| quantile(samples, 0.5)),
        low: quantile(&resampled, 0.025),
        high: quantile(&resampled, 0.975),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few samples"
)]
fn quantile(samples: &[f64], at: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = (at * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(position).copied().unwrap_or(f64::NAN)
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
            text(row.recorded_ratio),
            text(row.unrecorded_ratio)
        )?;
    }
    let worst = rows
        .iter()
        .flat_map(|row| [row.recorded_ratio.median, row.unrecorded_ratio.median])
        .fold(0.0, f64::max);
    writeln!(output, "\nworst ratio: {worst:.2} (bound 1.5, goal 1.25)")?;
    Ok(())
}

fn text(ratio: Ratio) -> String {
    format!(
        "{:.2} ({:.2} to {:.2})",
        ratio.median, ratio.low, ratio.high
    )
}
