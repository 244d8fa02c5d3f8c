//! What is true of every file, however broken: one function for each group of readers.
//!
//! libFuzzer calls them (`fuzz/targets`), and so do the ordinary tests
//! (`spo-userspace/tests/it/fuzz.rs`), with the inputs that are kept and with changed ones.

mod apparmor_text;
mod audit;
mod cil;
pub mod hostile;
mod objects;
mod seccomp;

pub use self::apparmor_text::apparmor_text;
pub use self::audit::audit;
pub use self::cil::cil;
pub use self::objects::objects;
pub use self::seccomp::seccomp;

use spo::profile::diagnostic::{Diagnostic, has_errors, render};

/// A function that takes any bytes, and panics if something is not as it should be.
pub type Target = fn(&[u8]);

/// All targets, by the names of their folders in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 5] = [
    ("objects", objects),
    ("seccomp", seccomp),
    ("cil", cil),
    ("apparmor_text", apparmor_text),
    ("audit", audit),
];

/// The name of the file in messages.
const FILE: &str = "file";
/// At most as many problems of each severity are told, and one more line about the others, and
/// what keeps the file from being a tree.
const MOST_TOLD: usize = 202;
const MOST_DRAWN: usize = 20;

/// What is read, or why it is not, is told with places in the file and without text that could
/// steer a terminal.
fn checked<T>(source: &[u8], (read, told): (Option<T>, Vec<Diagnostic>)) -> Option<T> {
    check_all(source, &told);
    assert_eq!(read.is_none(), has_errors(&told), "{told:?}");
    read
}

fn check_all(source: &[u8], told: &[Diagnostic]) {
    assert!(told.len() <= MOST_TOLD, "{} problems", told.len());
    for one in told {
        let Diagnostic {
            severity: _,
            rule: _,
            file,
            line,
            column,
            span,
            message,
            help: _,
        } = one;
        assert_eq!(file, FILE);
        assert!(!message.is_empty());
        assert!(
            span.start <= span.end && span.end <= source.len(),
            "{one:?} is not within {} bytes",
            source.len()
        );
        let before = &source[..span.start];
        // YAML also ends lines with a carriage return alone.
        if !source.contains(&b'\r') {
            let lines = before.split(|byte| *byte == b'\n').count();
            assert_eq!(*line, lines, "{one:?}");
        }
        assert!(*column >= 1 && *column <= source.len() + 1, "{one:?}");
        assert!(!one.to_string().chars().any(char::is_control), "{one:?}");
    }
    // To draw them all would take most of the time.
    let shown = render(&told[..told.len().min(MOST_DRAWN)], source, false);
    assert!(
        !shown.chars().any(|one| one.is_control() && one != '\n'),
        "{shown:?}"
    );
}
