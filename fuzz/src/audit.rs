//! Lines of logs, and records of the kernel's.

use spo::enrich::audit::{Kernel, Kind, Told, file_line, kernel_record, netlink};

/// Reads each line in all forms. What is read is shown without text that could steer a terminal.
pub fn audit(source: &[u8]) {
    let kernel = Kernel { arch: 0xc000_003e };
    let mut header = [0; 16];
    header[4..6].copy_from_slice(&1326_u16.to_ne_bytes());
    for line in source.split(|byte| *byte == b'\n') {
        let message = [&header[..], line].concat();
        for told in [
            file_line(line, kernel),
            kernel_record(line, kernel),
            netlink(line, kernel),
            netlink(&message, kernel),
        ] {
            check(&told, line);
        }
    }
}

fn check(told: &Told<'_>, line: &[u8]) {
    let Told::Record(record) = told else {
        return;
    };
    if let Kind::Seccomp(verdict) = &record.kind {
        assert_eq!(verdict.stamp, record.stamp);
        assert_eq!(verdict.comm.0[15], 0);
        assert!(!verdict.comm.to_string().chars().any(char::is_control));
        assert!(
            verdict
                .exe
                .as_ref()
                .is_none_or(|exe| exe.len() <= line.len())
        );
    }
}
