//! `KEY=VALUE` as the kernel's audit writes it (`kernel/audit.c`): what a process chose is quoted, or in
//! hexadecimal digits where quoting would not hold it (`audit_log_n_untrustedstring`); what the kernel
//! chose may be quoted as well, with spaces in it, and is a bare word else.

use super::line::split;
use crate::event::Comm;

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'f> {
    pub(super) key: &'f [u8],
    pub(super) value: Value<'f>,
}

/// A value as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'f> {
    Quoted(&'f [u8]),
    Bare(&'f [u8]),
}

impl<'f> Value<'f> {
    /// What stands there.
    pub(super) fn bytes(self) -> &'f [u8] {
        match self {
            Self::Quoted(text) | Self::Bare(text) => text,
        }
    }

    /// A text that a process chose; none if it is of neither form.
    pub(super) fn chosen(self) -> Option<Vec<u8>> {
        match self {
            Self::Quoted(text) => Some(text.to_vec()),
            Self::Bare(digits) => from_digits(digits),
        }
    }
}

/// Fields one after the other. Words without `=` are passed over. The end of a text that was cut within
/// quotes is an error.
pub(super) struct Fields<'f>(pub(super) &'f [u8]);

/// A quote without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut;

impl<'f> Iterator for Fields<'f> {
    type Item = Result<Field<'f>, Cut>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = self.0.trim_ascii_start();
            if text.is_empty() {
                return None;
            }
            let word = text.iter().position(u8::is_ascii_whitespace);
            let word = &text[..word.unwrap_or(text.len())];
            let Some((key, _)) = split(word, b"=") else {
                self.0 = &text[word.len()..];
                continue;
            };
            let value = &text[key.len() + 1..];
            let (value, rest) = if let Some(quoted) = value.strip_prefix(b"\"") {
                let Some((quoted, rest)) = split(quoted, b"\"") else {
                    self.0 = &[];
                    return Some(Err(Cut));
                };
                (Value::Quoted(quoted), rest)
            } else {
                (Value::Bare(&word[key.len() + 1..]), &text[word.len()..])
            };
            self.0 = rest;
            return Some(Ok(Field { key, value }));
        }
    }
}

/// A text that a process chose (`audit_log_untrustedstring`), as it stands.
pub(super) fn chosen(value: &[u8]) -> Option<Vec<u8>> {
    match value.strip_prefix(b"\"") {
        Some(quoted) => quoted.strip_suffix(b"\"").map(<[u8]>::to_vec),
        None => from_digits(value),
    }
}

/// The name of a task, which is cut to what the kernel keeps.
pub(super) fn task_name(name: Vec<u8>) -> Comm {
    let mut comm = Comm::default();
    // The last byte stays 0.
    for (to, from) in comm.0.iter_mut().take(15).zip(name) {
        *to = from;
    }
    comm
}

/// Two digits a byte.
fn from_digits(digits: &[u8]) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Result<(String, String), Cut>> {
        let owned = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = Fields(text.as_bytes());
        fields
            .map(|field| {
                field.map(|Field { key, value }| {
                    let text = value.chosen().unwrap_or_else(|| value.bytes().to_vec());
                    (owned(key), owned(&text))
                })
            })
            .collect()
    }

    #[test]
    fn fields_of_all_forms() {
        let text = r#" a=1 word b="2 = 3"  c=2F746D702F6120 d= e="" f=(null) g=F h="x"i=5"#;
        let pairs = [
            ("a", "1"),
            ("b", "2 = 3"),
            ("c", "/tmp/a "),
            ("d", ""),
            ("e", ""),
            ("f", "(null)"),
            ("g", "F"),
            ("h", "x"),
            ("i", "5"),
        ];
        let expected: Vec<_> = pairs
            .iter()
            .map(|(key, value)| Ok(((*key).to_owned(), (*value).to_owned())))
            .collect();
        assert_eq!(all(text), expected);
        assert_eq!(all(""), []);
        assert_eq!(all(r#"a="1"#), [Err(Cut)]);
    }
}
