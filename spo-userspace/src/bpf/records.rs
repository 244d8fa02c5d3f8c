//! From the bytes of a record to an event. A record is checked before a single field of it is believed.

use spo_common::ABI_VERSION;
use spo_common::event::{self as raw, EventHeader, EventKind};
use spo_common::subject::Abi as RawAbi;

use crate::event::{Abi, Call, Comm, Denial, FirstSight};

/// A record of a recorder of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// A subject made a call for the first time.
    FirstSight(FirstSight),
    /// The subject with this index began.
    Started(u32),
    /// The subject with this index used a capability for the first time, at this time.
    FirstUse(u32, u64),
    /// A map is fuller than it was asked to be.
    Crowded,
}

/// Reads a record of the type that its kind stands for.
trait Record: Sized + Copy {
    const KIND: EventKind;
}

impl Record for raw::FirstSight {
    const KIND: EventKind = EventKind::FIRST_SIGHT;
}

impl Record for raw::Denial {
    const KIND: EventKind = EventKind::DENIAL;
}

impl Record for raw::Started {
    const KIND: EventKind = EventKind::STARTED;
}

impl Record for raw::FirstUse {
    const KIND: EventKind = EventKind::FIRST_USE;
}

impl Record for raw::Crowded {
    const KIND: EventKind = EventKind::CROWDED;
}

/// What happened, or nothing if the bytes are anything else.
pub(super) fn happening(bytes: &[u8]) -> Option<Happening> {
    if let Some(sight) = first_sight(bytes) {
        return Some(Happening::FirstSight(sight));
    }
    if let Some(raw::Started { subject, .. }) = read(bytes) {
        return Some(Happening::Started(subject));
    }
    if let Some(raw::FirstUse {
        header, subject, ..
    }) = read(bytes)
    {
        return Some(Happening::FirstUse(subject, header.time_ns));
    }
    read::<raw::Crowded>(bytes).map(|_| Happening::Crowded)
}

/// A first sight, or nothing if the bytes are anything else.
pub(super) fn first_sight(bytes: &[u8]) -> Option<FirstSight> {
    let raw::FirstSight {
        header,
        subject,
        abi,
        number,
        tgid,
        tid: _,
        reserved: _,
        comm,
    } = read(bytes)?;
    Some(FirstSight {
        subject,
        call: Call {
            abi: self::abi(abi)?,
            number,
        },
        time_ns: header.time_ns,
        tgid,
        comm: Comm(comm),
    })
}

/// A denial, or nothing if the bytes are anything else.
pub(super) fn denial(bytes: &[u8]) -> Option<Denial> {
    let raw::Denial {
        header: _,
        result,
        abi,
        number,
        tgid,
        tid: _,
        killed,
        reserved: _,
        comm,
    } = read(bytes)?;
    Some(Denial {
        call: Call {
            abi: self::abi(abi)?,
            number,
        },
        result,
        killed: killed != 0,
        tgid,
        comm: Comm(comm),
    })
}

/// The ABI with an index.
pub(super) fn abi(index: u32) -> Option<Abi> {
    RawAbi::ALL
        .into_iter()
        .find(|abi| *abi as u32 == index)
        .map(|abi| match abi {
            RawAbi::Native => Abi::Native,
            RawAbi::Compat => Abi::Compat,
            RawAbi::X32 => Abi::X32,
        })
}

fn read<T: Record>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<EventHeader>() || bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: the slice is long enough, the header holds integers only, and the read is unaligned.
    let header: EventHeader = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
    if header.kind != T::KIND
        || header.abi_version != ABI_VERSION
        || header.size as usize != size_of::<T>()
    {
        return None;
    }
    // SAFETY: the same of a whole record; every type here holds integers only.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(record: &raw::FirstSight) -> Vec<u8> {
        // SAFETY: a record is made of integers without padding between them.
        unsafe {
            std::slice::from_raw_parts((&raw const *record).cast(), size_of::<raw::FirstSight>())
        }
        .to_vec()
    }

    fn record() -> raw::FirstSight {
        raw::FirstSight {
            header: EventHeader {
                size: 64,
                kind: EventKind::FIRST_SIGHT,
                abi_version: ABI_VERSION,
                reserved: 0,
                time_ns: 7,
            },
            subject: 2,
            abi: 1,
            number: 5,
            tgid: 10,
            tid: 11,
            reserved: 0,
            comm: *b"a\x1b[31m\0\0\0\0\0\0\0\0\0\0",
        }
    }

    #[test]
    fn a_whole_record_is_read_and_its_name_is_escaped() {
        let event = first_sight(&bytes(&record())).unwrap();
        assert_eq!(
            event.call,
            Call {
                abi: Abi::Compat,
                number: 5
            }
        );
        assert_eq!(event.comm.to_string(), "a\\x1b[31m");
    }

    #[test]
    fn what_happens_is_told_apart() {
        let header = |kind, size| EventHeader {
            size,
            kind,
            ..record().header
        };
        let started = raw::Started {
            header: header(EventKind::STARTED, 32),
            subject: 9,
            reserved: 0,
        };
        // SAFETY: as in `bytes`.
        let started = unsafe { std::slice::from_raw_parts((&raw const started).cast(), 32) };
        assert_eq!(happening(started), Some(Happening::Started(9)));
        assert_eq!(happening(&started[..31]), None);
        let crowded = header(EventKind::CROWDED, 24);
        // SAFETY: as in `bytes`.
        let crowded = unsafe { std::slice::from_raw_parts((&raw const crowded).cast(), 24) };
        assert_eq!(happening(crowded), Some(Happening::Crowded));
        assert!(matches!(
            happening(&bytes(&record())),
            Some(Happening::FirstSight(_))
        ));
    }

    #[test]
    fn anything_else_is_nothing() {
        let good = bytes(&record());
        assert_eq!(first_sight(&good[..63]), None);
        assert_eq!(first_sight(&[]), None);
        assert_eq!(denial(&[good.clone(), good.clone()].concat()), None);
        for (position, value) in [(0, 65), (4, 9), (8, 200), (28, 3)] {
            let mut bad = good.clone();
            bad[position] = value;
            assert_eq!(first_sight(&bad), None, "byte {position}");
        }
    }
}
