//! What to tell a person after a recording.

use std::fmt;
use std::time::Duration;

use super::NamedCall;
use crate::event::Losses;
use crate::profile::arch::Arch;

/// The summary of one profile. Its `Display` is several lines of text.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Name of the profile.
    pub name: String,
    /// Named calls that were seen.
    pub seen: usize,
    /// Base calls that were not among them.
    pub base_added: Vec<String>,
    /// Architectures of the profile.
    pub architectures: Vec<Arch>,
    /// Numbers without a name, and how often they were passed where that was counted.
    pub unnamed: Vec<(NamedCall, Option<u64>)>,
    /// Calls that deserve a second look, with the reason.
    pub risky: Vec<(String, &'static str)>,
    /// What may be missing.
    pub losses: Losses,
    /// Why the recording cannot be complete.
    pub partial: Vec<String>,
    /// How long the recording ran.
    pub duration: Duration,
    /// How long before the end the last new call was made.
    pub last_new: Option<Duration>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            seen,
            base_added,
            architectures,
            unnamed,
            risky,
            losses,
            partial,
            duration,
            last_new,
        } = self;
        write!(
            f,
            "{name}: {} in {:.1} s",
            count(*seen, "syscall"),
            duration.as_secs_f64()
        )?;
        if let Some(last_new) = last_new {
            write!(
                f,
                ", the last new one {:.1} s before the end",
                last_new.as_secs_f64()
            )?;
        }
        let architectures: Vec<&str> = architectures.iter().map(|arch| arch.name()).collect();
        write!(
            f,
            "\n  base added: {}; architectures: {}",
            base_added.len(),
            architectures.join(", ")
        )?;
        if losses.lost() == 0 {
            write!(f, "; lost: 0")?;
        } else {
            write!(
                f,
                "\n  LOST: {} (the profile may lack calls):",
                losses.lost()
            )?;
        }
        for (name, number) in losses.named() {
            if number > 0 {
                write!(f, " {name}={number}")?;
            }
        }
        for reason in partial {
            write!(f, "\n  partial: {reason}")?;
        }
        for (named, times) in unnamed {
            write!(f, "\n  not in the profile: {named}, which has no name")?;
            if let Some(times) = times {
                write!(f, " (called {})", count(*times, "time"))?;
            }
        }
        let (of_base, own): (Vec<_>, Vec<_>) = risky
            .iter()
            .partition(|(name, _)| base_added.contains(name));
        for (name, reason) in own {
            write!(f, "\n  risky: {name}: {reason}")?;
        }
        if !of_base.is_empty() {
            let names: Vec<&str> = of_base.iter().map(|(name, _)| name.as_str()).collect();
            write!(f, "\n  risky, of the base: {}", names.join(", "))?;
        }
        Ok(())
    }
}

/// A number of things, each called so.
pub fn count(number: impl TryInto<u64>, thing: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = match (number, thing.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_and_many() {
        assert_eq!(count(0_u32, "call"), "0 calls");
        assert_eq!(count(1_u32, "process"), "1 process");
        assert_eq!(count(2_usize, "process"), "2 processes");
    }
}
