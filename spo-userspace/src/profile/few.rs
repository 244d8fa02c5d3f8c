//! Lists in messages.

use std::fmt::Display;

/// Names that are told one by one.
const MOST: usize = 3;

/// The first few names, and how many there are besides.
pub(crate) fn few<T: Display>(
    names: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
) -> String {
    let names = names.into_iter();
    let more = names.len().saturating_sub(MOST);
    let shown: Vec<_> = names.take(MOST).map(|name| name.to_string()).collect();
    let shown = shown.join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
