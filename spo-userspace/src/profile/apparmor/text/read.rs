//! Reading files of policy text.

use super::TextProfile;
use super::lint::lint;
use super::parser::Parser;
use crate::profile::diagnostic::Diagnostic;
use crate::profile::fields::Problems;
use crate::profile::format::{BYTE_ORDER_MARK, mark_refused};
use crate::profile::tree::{LARGEST_FILE, Place, place_of_offset};

/// Reads policy text with one profile, and tells everything that is wrong with it. There is a
/// profile if nothing of that is an error.
///
/// `file` is the name to use in messages.
pub fn read_text(file: &str, source: &[u8]) -> (Option<TextProfile>, Vec<Diagnostic>) {
    let (profiles, mut problems) = parse(file, source);
    if let Some(second) = profiles.get(1) {
        let help = "keep one profile per file".to_owned();
        problems.error(
            second.place,
            "this is a second profile".to_owned(),
            Some(help),
        );
    }
    let first = profiles.into_iter().next();
    let profile = first.filter(|_| !problems.any_error());
    (profile, problems.finish())
}

/// Reads policy text with any number of profiles but none, as the kernel's own parser takes it, and
/// tells everything that is wrong with it. There is nothing if any of that is an error.
///
/// With `lints`, what is allowed but likely not meant is told too: see
/// [`LINTS`](crate::profile::apparmor::LINTS). What stands in front of all profiles counts as part
/// of the first one.
pub fn read_texts(file: &str, source: &[u8], lints: bool) -> (Vec<TextProfile>, Vec<Diagnostic>) {
    let (mut profiles, mut problems) = parse(file, source);
    if problems.any_error() {
        profiles.clear();
    }
    if lints {
        for profile in &profiles {
            lint(profile, &mut problems);
        }
    }
    (profiles, problems.finish())
}

fn parse<'f>(file: &'f str, source: &[u8]) -> (Vec<TextProfile>, Problems<'f>) {
    let mut problems = Problems::new(file);
    if source.len() > LARGEST_FILE {
        let message = format!(
            "the file has {} bytes, more than any profile needs",
            source.len()
        );
        problems.error(Place::START, message, Some("the limit is 4 MiB".to_owned()));
        return (Vec::new(), problems);
    }
    let text = match str::from_utf8(source) {
        Ok(text) => text,
        Err(error) => {
            let place = place_of_offset(source, error.valid_up_to());
            problems.error(place, "the file is not UTF-8 text".to_owned(), None);
            return (Vec::new(), problems);
        }
    };
    if text.starts_with(BYTE_ORDER_MARK) {
        let place = Place {
            end: BYTE_ORDER_MARK.len_utf8(),
            ..Place::START
        };
        let help = Some("save the file as UTF-8 without it".to_owned());
        problems.error(place, mark_refused("apparmor_parser"), help);
    }
    let mut parser = Parser::new(file, text, problems);
    let profiles = parser.whole();
    (profiles, parser.problems)
}
