//! What a person sees of long work, on standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write as _};

use super::exit::{FAILED, Failure};

/// Prints a line of ours.
pub(super) fn line(text: fmt::Arguments<'_>) {
    // In one piece, because the command may write to the same place; and a closed standard error must not end a recording.
    let _closed = io::stderr()
        .write_all(format!("spo: {text}\n").as_bytes())
        .is_err();
}

/// Prints a result. Whoever reads it may have had enough.
pub(super) fn output(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(FAILED, error)),
        _ => Ok(()),
    }
}

/// Whether a stream takes colours: a terminal that knows them, of a person who has not said
/// otherwise (no-color.org).
pub(super) fn colors(stream: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
    stream.is_terminal() && !unwanted && !dumb
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
            terminal: io::stderr().is_terminal()
                && std::env::var_os("TERM").is_some_and(|name| name != "dumb"),
            drawn: false,
            plain: None,
        }
    }

    /// Whether lines are drawn and removed again.
    pub(super) fn is_on_terminal(&self) -> bool {
        self.terminal
    }

    /// Draws, with the cursor left at the beginning, so that a command's own output covers it.
    pub(super) fn update(&mut self, tick: u32, text: &str) {
        if self.terminal {
            // A line that wraps could not be removed.
            let width = terminal_size::terminal_size_of(io::stderr())
                .map_or(80, |(terminal_size::Width(width), _)| usize::from(width));
            let text: String = text.chars().take(width.saturating_sub(6)).collect();
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
