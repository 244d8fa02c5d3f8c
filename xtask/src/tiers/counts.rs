//! How many tests there were, as the test programs say it.

use super::failures;
use crate::table::Outcome;

/// What to make of a run by what it said; those that failed are named, and told again.
pub(super) fn outcome(said: &str, failure: Option<String>) -> Outcome {
    match Counts::read(said).outcome(failure) {
        Outcome::Failed(mut why) => {
            let names = failures::names(said);
            if !names.is_empty() {
                why = format!("{}: {why}", names.join(", "));
            }
            Outcome::Failed(why + &failures::sections(said, &names))
        }
        outcome => outcome,
    }
}

/// Tests by result.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// What tests that passed say they left out, because this machine has not what it takes.
    left_out: usize,
}

impl Counts {
    /// Adds up the summaries of libtest (`test result: ok. 3 passed; 0 failed; 1 ignored; ...`)
    /// and nextest (`Summary [ 0.1s] 3 tests run: 2 passed, 1 failed, 1 skipped`).
    fn read(said: &str) -> Self {
        let mut sum = Self::default();
        for line in said.lines().map(str::trim) {
            sum.left_out += usize::from(line.starts_with("skipped: "));
            let Some(fields) = line
                .strip_prefix("test result: ")
                .or_else(|| line.strip_prefix("Summary ["))
            else {
                continue;
            };
            let words: Vec<_> = fields
                .split([' ', ',', ';', ':'])
                .filter(|word| !word.is_empty())
                .collect();
            for pair in words.windows(2) {
                let Ok(number) = pair[0].parse::<usize>() else {
                    continue;
                };
                match pair[1] {
                    "passed" => sum.passed += number,
                    "failed" | "timed" => sum.failed += number,
                    "ignored" | "skipped" => sum.ignored += number,
                    _ => {}
                }
            }
        }
        sum
    }

    /// What to make of these: no test at all is a failure, too.
    fn outcome(self, failure: Option<String>) -> Outcome {
        let Self {
            passed,
            failed,
            ignored,
            left_out,
        } = self;
        let count = |number: usize, what: &str| {
            if number == 0 {
                String::new()
            } else {
                format!(", {number} {what}")
            }
        };
        let skipped =
            count(ignored, "ignored") + &count(left_out, "left out (\"skipped: ...\" above)");
        match failure {
            Some(failure) if failed > 0 => Outcome::Failed(format!(
                "{failed} of {} tests failed{skipped} ({failure})",
                passed + failed
            )),
            Some(failure) if passed == 0 => Outcome::Failed(failure),
            Some(failure) => Outcome::Failed(format!("{failure}, after {passed} passed{skipped}")),
            None if failed > 0 => Outcome::Failed(format!(
                "{failed} of {} tests failed{skipped}",
                passed + failed
            )),
            None if passed == 0 => Outcome::Failed(format!("no test was run{skipped}")),
            None => Outcome::Passed(format!("{passed} passed{skipped}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, outcome};
    use crate::table::Outcome;

    #[test]
    fn reads_libtest_and_nextest() {
        let said = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(
            Counts::read(said),
            Counts {
                passed: 5,
                failed: 1,
                ignored: 1,
                ..Counts::default()
            }
        );
        let said = "     Summary [   0.011s] 9 tests run: 7 passed, 2 failed, 1 skipped\n";
        assert_eq!(
            Counts::read(said),
            Counts {
                passed: 7,
                failed: 2,
                ignored: 1,
                ..Counts::default()
            }
        );
        assert_eq!(
            Counts::read("---- a stdout ----\nskipped: a: not in the guest\n"),
            Counts {
                left_out: 1,
                ..Counts::default()
            }
        );
        assert_eq!(Counts::read("a test prints: 7 passed\n"), Counts::default());
    }

    #[test]
    fn a_failure_is_named_first() {
        let said = "failures:\n\n---- a stdout ----\nwhy\n\nfailures:\n    a\n\n\
                    test result: FAILED. 2 passed; 1 failed; 0 ignored\n";
        assert_eq!(
            outcome(said, None),
            Outcome::Failed("a: 1 of 3 tests failed\n---- a stdout ----\nwhy\n\n".to_owned())
        );
        let said = "test result: ok. 2 passed; 0 failed; 0 ignored\n";
        assert_eq!(outcome(said, None), Outcome::Passed("2 passed".to_owned()));
    }

    #[test]
    fn nothing_run_is_a_failure() {
        assert_eq!(
            Counts::default().outcome(None),
            Outcome::Failed("no test was run".to_owned())
        );
        let three = Counts {
            passed: 3,
            failed: 0,
            ignored: 2,
            ..Counts::default()
        };
        assert_eq!(
            three.outcome(None),
            Outcome::Passed("3 passed, 2 ignored".to_owned())
        );
        assert_eq!(
            three.outcome(Some("killed".to_owned())),
            Outcome::Failed("killed, after 3 passed, 2 ignored".to_owned())
        );
    }
}
