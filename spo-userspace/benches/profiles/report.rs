//! Medians, ratios, and the comparison with the baseline.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

const BASELINE: &str = include_str!("../baseline.json");
/// How much of its baseline a ratio may become.
const MOST: f64 = 1.5;
/// How long a hostile file of 10 MiB may take. Smaller ones may be read, and take what they take.
const LONGEST: Duration = Duration::from_secs(1);

/// What was measured of a case.
pub(crate) struct Samples {
    name: &'static str,
    hostile: bool,
    took: Vec<f64>,
    fixed: Vec<f64>,
    longest: Duration,
    longest_part: String,
    /// Files of 10 MiB that took too long.
    late: BTreeSet<String>,
}

impl Samples {
    pub(crate) fn new(name: &'static str, hostile: bool) -> Self {
        Self {
            name,
            hostile,
            took: Vec::new(),
            fixed: Vec::new(),
            longest: Duration::ZERO,
            longest_part: String::new(),
            late: BTreeSet::new(),
        }
    }

    /// The time of a part, of which the longest counts.
    pub(crate) fn part(&mut self, what: &str, took: Duration) {
        if took > LONGEST && what.ends_with(", 10 MiB") {
            self.late.insert(what.to_owned());
        }
        if took > self.longest {
            self.longest = took;
            what.clone_into(&mut self.longest_part);
        }
    }

    /// The time of a round, and that of the fixed work in front of it.
    pub(crate) fn add(&mut self, took: Duration, fixed: Duration) {
        self.took.push(took.as_secs_f64() * 1e3);
        self.fixed.push(fixed.as_secs_f64() * 1e3);
    }
}

/// A case in `baseline.json`, and in the output as JSON, which is the same.
#[derive(Debug, Deserialize, Serialize)]
struct Row {
    case: String,
    /// The median.
    milliseconds: f64,
    /// The time against that of the fixed work, with the interval that holds 95 % of resamplings.
    ratio: f64,
    low: f64,
    high: f64,
    /// The part that took longest, and how long, in the worst round.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    slowest: Option<Slowest>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Slowest {
    file: String,
    milliseconds: f64,
}

/// Prints the figures; the exit code tells whether all are as they should be.
pub(crate) fn print(samples: &[Samples], json: bool) -> Result<ExitCode> {
    let baseline: Vec<Row> =
        serde_json::from_str(BASELINE).context("failed to read the baseline")?;
    let rows: Vec<Row> = samples.iter().map(row).collect();
    let mut bad = Vec::new();
    let mut output = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut output, &rows)?;
        writeln!(output)?;
    } else {
        writeln!(
            output,
            "{:<24} {:>7}  {:<24} {:>8} {:>7}  slowest file",
            "case", "ms", "ratio to the fixed work", "baseline", "change"
        )?;
    }
    for (row, samples) in rows.iter().zip(samples) {
        let before = baseline.iter().find(|known| known.case == row.case);
        let change = before.map(|before| row.ratio / before.ratio);
        if change.is_some_and(|change| change > MOST) {
            bad.push(format!("{}: more than {MOST} times its baseline", row.case));
        }
        let late = samples.late.iter();
        bad.extend(late.map(|what| format!("{}: {what}: longer than a second", row.case)));
        if json {
            continue;
        }
        let ratio = format!("{:.3} ({:.3} to {:.3})", row.ratio, row.low, row.high);
        let slowest = row
            .slowest
            .as_ref()
            .map(|slowest| format!("{:.0} ms: {}", slowest.milliseconds, slowest.file));
        writeln!(
            output,
            "{:<24} {:>7.1}  {ratio:<24} {:>8} {:>7}  {}",
            row.case,
            row.milliseconds,
            before.map_or("none".to_owned(), |before| format!("{:.3}", before.ratio)),
            change.map_or(String::new(), |change| format!("x {change:.2}")),
            slowest.unwrap_or_default()
        )?;
    }
    for one in &bad {
        eprintln!("{one}");
    }
    Ok(if bad.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn row(samples: &Samples) -> Row {
    let Samples {
        name,
        hostile,
        took,
        fixed,
        longest,
        longest_part,
        late: _,
    } = samples;
    // Each round against the fixed work just before it, so that a busy machine slows both.
    let ratios: Vec<f64> = took.iter().zip(fixed).map(|(a, b)| a / b).collect();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let resampled: Vec<f64> = (0..500)
        .map(|_| {
            let picked: Vec<f64> = ratios
                .iter()
                .map(|_| {
                    let at = super::next(&mut seed) >> 33;
                    ratios[usize::try_from(at).unwrap_or_default() % ratios.len()]
                })
                .collect();
            quantile(&picked, 0.5)
        })
        .collect();
    Row {
        case: (*name).to_owned(),
        milliseconds: quantile(took, 0.5),
        ratio: quantile(&ratios, 0.5),
        low: quantile(&resampled, 0.025),
        high: quantile(&resampled, 0.975),
        slowest: hostile.then(|| Slowest {
            file: longest_part.clone(),
            milliseconds: longest.as_secs_f64() * 1e3,
        }),
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
