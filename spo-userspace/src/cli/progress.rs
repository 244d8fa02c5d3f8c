//! What a person sees of long work, on standard error.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use super::exit::{FAILED, Failure};

/// Prints a line of ours.
pub(super) fn line(text: fmt::Arguments<'_>) {
    // In one piece, because the command may write to the same place; and a closed standard error must not end a recording.
    let _closed = io::stderr()
        .write_all(format!("spo: {text}\n").as_bytes())
        .is_err();
}

/// A number of things, each called so.
pub(super) fn count(number: impl TryInto<u64>, thing: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = match (number, thing.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {thing}{plural}")
}

/// Prints a result. Whoever reads it may have had enough.
pub(super) fn output(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(FAILED, error)),
        _ => Ok(()),
    }
}

/// A line that is drawn again and again on a terminal; elsewhere, now and then a line.
#[derive(Debug)]
pub(super) struct Live {
    terminal: bool,
    drawn: bool,
    plain: Option<String>,
}

/// On anything but a terminal, so many updates pass between two lines.
pub(super) const UPDATES_PER_PLAIN_LINE: u32 = 20;

impl Live {
    pub(super) fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            drawn: false,
            plain: None,
        }
    }

    /// Draws, with the cursor left at the beginning, so that a command's own output covers it.
    pub(super) fn update(&mut self, tick: u32, text: &str) {
        if self.terminal {
            let _closed = io::stderr()
                .write_all(format!("\r\x1b[2Kspo: {text}\r").as_bytes())
                .is_err();
            self.drawn = true;
        } else if tick.is_multiple_of(UPDATES_PER_PLAIN_LINE)
            && tick > 0
            && self.plain.as_deref() != Some(text)
        {
            line(format_args!("{text}"));
            self.plain = Some(text.to_owned());
        }
    }

    /// Removes the line.
    pub(super) fn clear(&mut self) {
        if self.drawn {
            let _closed = io::stderr().write_all(b"\r\x1b[2K").is_err();
            self.drawn = false;
        }
    }
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
