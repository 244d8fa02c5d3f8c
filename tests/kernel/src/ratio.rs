//! Ratios of what is added, and their spread.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// What something adds, against what something else adds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratio {
    /// Of the medians.
    pub median: f64,
    /// The ends of the interval that holds 95 % of 500 resamplings of the rounds.
    pub low: f64,
    /// Its other end.
    pub high: f64,
}

impl Ratio {
    /// Of samples, one a round: of what is asked about, of what it is held against, and of neither.
    pub fn of(cost: &[f64], empty: &[f64], nothing: &[f64]) -> Self {
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
        Self {
            median: of(&|samples| quantile(samples, 0.5)),
            low: quantile(&resampled, 0.025),
            high: quantile(&resampled, 0.975),
        }
    }
}

impl Display for Ratio {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { median, low, high } = self;
        f.pad(&format!("{median:.2} ({low:.2} to {high:.2})"))
    }
}

/// The sample below which this share of the samples is.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few samples"
)]
pub fn quantile(samples: &[f64], at: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = (at * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(position).copied().unwrap_or(f64::NAN)
}
