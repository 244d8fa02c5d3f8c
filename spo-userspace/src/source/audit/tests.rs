use super::*;
use crate::enrich::audit::{Kind, Record, Told};
use crate::event::{Abi, Avc, AvcAnswer, Call, Process, Stamp, Verdict};

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
    assert_eq!(reader.came, [Audited::Seccomp(verdict(5, Comm::default()))]);
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
    assert_eq!(reader.came, [Audited::Seccomp(verdict(6, Comm::default()))]);
    assert_eq!(reader.losses.foreign, 1);
    assert_eq!(reader.losses.lost(), 0);
    // Its numbers are not ours.
    assert_eq!(reader.serials.waited_for(), 0);
}

fn avc(serial: u32, permission: &str, exe: Option<&[u8]>) -> Avc {
    Avc {
        stamp: Some(Stamp { at_ms: 1, serial }),
        answer: AvcAnswer::Denied,
        permissions: vec![permission.to_owned()],
        process: Process {
            tgid: 7,
            comm: Comm::default(),
            exe: exe.map(<[u8]>::to_vec),
        },
        told: false,
        scontext: "a".to_owned(),
        tcontext: "b".to_owned(),
        tclass: "file".to_owned(),
        details: Vec::new(),
    }
}

fn of_event(serial: u32, kind: Kind) -> Told<'static> {
    Told::Record(Record {
        node: None,
        stamp: Some(Stamp { at_ms: 1, serial }),
        kind,
    })
}

#[test]
fn who_made_the_call_is_told_behind() {
    let exe = Some(&b"/bin/cat"[..]);
    let caller = |tgid| {
        let mut process = avc(0, "read", exe).process;
        process.tgid = tgid;
        Kind::Caller(Box::new(process))
    };
    let denied =
        |serial, permission| of_event(serial, Kind::Avc(Box::new(avc(serial, permission, None))));
    let told = |serial, permission, exe| Audited::Selinux(avc(serial, permission, exe));
    let mut reader = reader();
    for permission in ["read", "open"] {
        reader.take(Source::AuditLog, denied(5, permission));
    }
    assert!(reader.came.is_empty());
    reader.take(Source::AuditLog, of_event(5, caller(7)));
    // Another source has it without, and later.
    reader.take(Source::KernelLog, denied(5, "open"));
    assert_eq!(reader.came, [told(5, "read", exe), told(5, "open", exe)]);
    // Of another process or event, or of none.
    reader.came.clear();
    reader.take(Source::AuditLog, denied(6, "read"));
    reader.take(Source::AuditLog, of_event(6, caller(8)));
    reader.take(Source::AuditLog, denied(7, "read"));
    reader.take(Source::AuditLog, of_event(8, caller(7)));
    reader.take(Source::AuditLog, denied(9, "read"));
    reader.drained(0);
    let all = [6, 7, 9].map(|serial| told(serial, "read", None));
    assert_eq!(reader.came, all);
    // Where nobody says it, nobody waits.
    reader.came.clear();
    reader.take(Source::KernelLog, denied(10, "read"));
    assert_eq!(reader.came, [told(10, "read", None)]);
}

#[test]
fn what_waits_is_bounded() {
    let mut reader = reader();
    for index in 0..3 * 64 {
        let record = avc(5, &format!("p{index}"), None);
        reader.take(Source::Netlink, of_event(5, Kind::Avc(Box::new(record))));
    }
    assert_eq!(reader.came.len(), 3 * 64);
}

#[test]
fn what_the_kernel_says_it_dropped_is_lost() {
    let mut reader = reader();
    reader.take(Source::KernelLog, Told::Dropped);
    assert_eq!((reader.losses.dropped, reader.losses.lost()), (1, 1));
}
