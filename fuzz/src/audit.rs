//! Lines of logs, and records of the kernel's.

use spo::enrich::audit::{Kernel, Kind, Told, file_line, kernel_record, netlink};
use spo::event::{Comm, Detail, Process};

/// Reads each line in all forms. What is read is shown without text that could steer a terminal.
pub fn audit(source: &[u8]) {
    let kernel = Kernel { arch: 0xc000_003e };
    for line in source.split(|byte| *byte == b'\n') {
        for told in [
            file_line(line, kernel),
            kernel_record(line, kernel),
            netlink(line, kernel),
        ] {
            check(&told, line);
        }
        for of in [1107_u16, 1300, 1326, 1400] {
            let mut header = [0; 16];
            header[4..6].copy_from_slice(&of.to_ne_bytes());
            check(&netlink(&[&header[..], line].concat(), kernel), line);
        }
    }
}

fn check(told: &Told<'_>, line: &[u8]) {
    let Told::Record(record) = told else {
        return;
    };
    match &record.kind {
        Kind::Seccomp(verdict) => {
            assert_eq!(verdict.stamp, record.stamp);
            name(verdict.comm);
            assert!(is_within(verdict.exe.as_deref(), line));
        }
        Kind::Avc(avc) => {
            assert_eq!(avc.stamp, record.stamp);
            process(&avc.process, line);
            words([&avc.tclass].into_iter().chain(&avc.permissions));
            details(&avc.details, line);
        }
        Kind::AppArmor(told) => {
            assert_eq!(told.stamp, record.stamp);
            process(&told.process, line);
            words([&told.word, &told.operation]);
            assert!(is_within(told.name.as_deref(), line));
            details(&told.details, line);
        }
        Kind::Caller(caller) => process(caller, line),
        Kind::Unreadable | Kind::UnreadableAccess | Kind::Other => {}
    }
}

fn process(process: &Process, line: &[u8]) {
    name(process.comm);
    assert!(is_within(process.exe.as_deref(), line));
}

fn name(comm: Comm) {
    assert_eq!(comm.0[15], 0);
    assert!(!comm.to_string().chars().any(char::is_control));
}

/// What is shown as it stands.
fn words<'w>(words: impl IntoIterator<Item = &'w String>) {
    for word in words {
        assert!(!word.contains(|letter: char| letter.is_control() || !letter.is_ascii()));
    }
}

fn details(details: &[Detail], line: &[u8]) {
    words(details.iter().map(|detail| &detail.key));
    let length: usize = details.iter().map(|detail| detail.value.len()).sum();
    assert!(length <= line.len());
}

fn is_within(text: Option<&[u8]>, line: &[u8]) -> bool {
    text.is_none_or(|text| text.len() <= line.len())
}
