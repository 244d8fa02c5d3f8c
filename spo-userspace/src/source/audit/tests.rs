use super::*;
use crate::event::{Abi, Call, Stamp};

fn reader() -> Reader {
    Reader::new(Kernel { arch: 0xc000_003e })
}

fn verdict(serial: u32, comm: Comm) -> Verdict {
    Verdict {
        stamp: Some(Stamp { at_ms: 1, serial }),
        call: Call {
            abi: Abi::Native,
            number: 1,
        },
        code: 0x7ffc_0000,
        signal: 0,
        tgid: 7,
        comm,
        exe: None,
    }
}

fn told(node: Option<&[u8]>, verdict: Verdict) -> Told<'_> {
    Told::Record(Record {
        node,
        stamp: verdict.stamp,
        kind: Kind::Seccomp(Box::new(verdict)),
    })
}

const MARK: Comm = Comm(*b"spo0123456789ab\0");

#[test]
fn a_record_of_two_sources_is_told_once() {
    let mut reader = reader();
    for source in [Source::Netlink, Source::AuditLog] {
        reader.take(source, told(None, verdict(5, Comm::default())));
    }
    assert_eq!(reader.came, [verdict(5, Comm::default())]);
}

#[test]
fn our_own_record_is_not_told() {
    let mut reader = reader();
    reader.mark = Some((MARK, BTreeSet::new()));
    reader.take(Source::Netlink, told(None, verdict(5, MARK)));
    reader.take(Source::KernelLog, told(None, verdict(5, MARK)));
    assert!(reader.came.is_empty());
    let had = reader.mark.map(|(_, had)| had);
    assert_eq!(had, Some([Source::Netlink, Source::KernelLog].into()));
    // Of another one, or when nothing is awaited, it is like any other.
    reader.mark = None;
    reader.take(Source::Netlink, told(None, verdict(6, MARK)));
    assert_eq!(reader.came.len(), 1);
}

#[test]
fn records_of_other_machines_are_left_out() {
    let mut reader = reader();
    let other = || told(Some(b"other"), verdict(50, Comm::default()));
    reader.mark = Some((MARK, BTreeSet::new()));
    reader.take(Source::AuditLog, told(Some(b"own"), verdict(5, MARK)));
    reader.take(Source::AuditLog, other());
    reader.take(
        Source::AuditLog,
        told(Some(b"own"), verdict(6, Comm::default())),
    );
    assert_eq!(reader.came, [verdict(6, Comm::default())]);
    assert_eq!(reader.losses.foreign, 1);
    assert_eq!(reader.losses.lost(), 0);
    // Its numbers are not ours.
    assert_eq!(reader.serials.waited_for(), 0);
}

#[test]
fn what_the_kernel_says_it_dropped_is_lost() {
    let mut reader = reader();
    reader.take(Source::KernelLog, Told::Dropped);
    assert_eq!((reader.losses.dropped, reader.losses.lost()), (1, 1));
}
