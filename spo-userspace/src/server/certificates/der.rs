//! As much of X.509 as it takes to tell how long a certificate lasts (RFC 5280, 4.1).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// From when and until when a certificate is valid; nothing if it is none.
pub(super) fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let mut outer = Reader(certificate);
    let mut certificate = Reader(outer.next(SEQUENCE)?);
    let mut content = Reader(certificate.next(SEQUENCE)?);
    if content.0.first() == Some(&VERSION) {
        content.next(VERSION)?;
    }
    content.next(INTEGER)?;
    // The algorithm, and who issued it.
    content.next(SEQUENCE)?;
    content.next(SEQUENCE)?;
    let mut validity = Reader(content.next(SEQUENCE)?);
    Some((validity.time()?, validity.time()?))
}

/// What is left of a sequence of values.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next value, which must be of this type.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.any()?;
        (found == tag).then_some(content)
    }

    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            // A long length: as many bytes as the rest of this one says.
            let bytes = usize::from(first & 0x7f);
            if bytes == 0 || bytes > 3 {
                return None;
            }
            let (head, tail) = rest.split_at_checked(bytes)?;
            length = head
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest = tail;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn time(&mut self) -> Option<Timestamp> {
        let (tag, content) = self.any()?;
        let text = str::from_utf8(content).ok()?;
        let text = match (tag, text.len()) {
            // Two digits of the year: from 50 on they are of the last century.
            (UTC_TIME, 13) if text < "5" => format!("20{text}"),
            (UTC_TIME, 13) => format!("19{text}"),
            (GENERALIZED_TIME, 15) => text.to_owned(),
            _ => return None,
        };
        let time = DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }
}
