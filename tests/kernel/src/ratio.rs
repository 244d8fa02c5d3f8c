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
        let of = |pick: &dyn Fn(&[f64]) -> Vec<f64>| {
            let median = |samples| quantile(&pick(samples), 0.5);
            let base = median(nothing);
            (median(cost) - base) / (median(empty) - base)
        };
        let (low, high) = interval(cost.len(), of);
        Self {
            median: of(&<[f64]>::to_vec),
            low,
            high,
        }
    }
}

/// What something adds at a quantile.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Added {
    /// The difference of what is there.
    pub is: f64,
    /// The ends of the interval that holds 95 % of 500 resamplings of the rounds.
    pub low: f64,
    /// Its other end.
    pub high: f64,
}

impl Added {
    /// Of samples, one a round, with it and without it.
    pub fn of(with: &[f64], without: &[f64], at: f64) -> Self {
        let of = |pick: &dyn Fn(&[f64]) -> Vec<f64>| {
            quantile(&pick(with), at) - quantile(&pick(without), at)
        };
        let (low, high) = interval(with.len(), of);
        Self {
            is: of(&<[f64]>::to_vec),
            low,
            high,
        }
    }
}

/// The interval that holds 95 % of what 500 resamplings of so many rounds come to.
fn interval(rounds: usize, of: impl Fn(&dyn Fn(&[f64]) -> Vec<f64>) -> f64) -> (f64, f64) {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut resampled = Vec::new();
    for _ in 0..500 {
        let picks: Vec<usize> = (0..rounds)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                usize::try_from(seed % rounds as u64).unwrap_or_default()
            })
            .collect();
        let pick = |samples: &[f64]| {
            let picked = picks.iter().filter_map(|at| samples.get(*at).copied());
            picked.collect()
        };
        resampled.push(of(&pick));
    }
    (quantile(&resampled, 0.025), quantile(&resampled, 0.975))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_the_difference_of_quantiles_and_lies_in_its_interval() {
        let without: Vec<f64> = (0..200).map(|round| f64::from(round % 10)).collect();
        let with: Vec<f64> = without.iter().map(|time| time * 2.0 + 3.0).collect();
        let Added { is, low, high } = Added::of(&with, &without, 0.5);
        // The middle of 0 to 9, by the rounded position.
        assert!((is - (2.0 * 5.0 + 3.0 - 5.0)).abs() < f64::EPSILON, "{is}");
        assert!(low <= is && is <= high && high - low < 4.0, "{low} {high}");
        let Added { is, .. } = Added::of(&with, &without, 0.99);
        assert!((is - (2.0 * 9.0 + 3.0 - 9.0)).abs() < f64::EPSILON, "{is}");
    }

    #[test]
    fn the_same_has_the_ratio_one() {
        let nothing = [1.0; 50];
        let cost: Vec<f64> = (0..50).map(|round| 2.0 + f64::from(round % 3)).collect();
        let ratio = Ratio::of(&cost, &cost, &nothing);
        for is in [ratio.median, ratio.low, ratio.high] {
            assert!((is - 1.0).abs() < f64::EPSILON, "{is}");
        }
        assert!((Ratio::of(&cost, &[2.0; 50], &nothing).median - 2.0).abs() < f64::EPSILON);
    }
}
