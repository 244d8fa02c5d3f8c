use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::event::{Abi, Call, Comm};

const KERNEL: Kernel = Kernel { arch: 0xc000_003e };
/// As Linux 6.18 wrote it.
const FIELDS: &str = r#"auid=4294967295 uid=0 gid=0 ses=4294967295 pid=26954 comm="python3" exe="/usr/bin/python3.11" sig=0 arch=c000003e syscall=110 compat=0 ip=0x7f1f7dcf34f7 code=0x7ffc0000"#;

fn comm(name: &[u8]) -> Comm {
    let mut comm = Comm::default();
    comm.0[..name.len()].copy_from_slice(name);
    comm
}

fn plain() -> Verdict {
    Verdict {
        stamp: Some(Stamp {
            at_ms: 1_795_837_010_887,
            serial: 109,
        }),
        call: Call {
            abi: Abi::Native,
            number: 110,
        },
        code: 0x7ffc_0000,
        signal: 0,
        tgid: 26954,
        comm: comm(b"python3"),
        exe: Some(b"/usr/bin/python3.11".to_vec()),
    }
}

fn read(line: &str) -> Option<Record<'_>> {
    match file_line(line.as_bytes(), KERNEL) {
        Told::Record(record) => Some(record),
        Told::Dropped | Told::Other => None,
    }
}

fn kind(fields: &str) -> Kind {
    let line = format!("type=SECCOMP msg=audit(1.000:1): {fields}");
    read(&line).unwrap().kind
}

fn of(fields: &str) -> Verdict {
    match kind(fields) {
        Kind::Seccomp(verdict) => *verdict,
        other => panic!("{other:?}: {fields}"),
    }
}

#[test]
fn all_forms_say_the_same() {
    let stamp = "audit(1795837010.887:109):";
    for line in [
        format!("type=SECCOMP msg={stamp} {FIELDS}"),
        format!("type=1326 msg={stamp} {FIELDS}"),
        format!("type=UNKNOWN[1326] msg={stamp} {FIELDS}"),
        format!(
            "type=SECCOMP msg={stamp} {FIELDS}\u{1d}AUID=\"unset\" UID=\"root\" ARCH=x86_64 SYSCALL=getppid"
        ),
        format!("Nov 28 03:34:30 host kernel: [17498.252683] audit: type=1326 {stamp} {FIELDS}"),
        format!("Nov 28 03:34:30 host kernel: [   98.252683] audit: type=1326 {stamp} {FIELDS}"),
        format!("Nov 28 03:34:30 host kernel: audit: type=1326 {stamp} {FIELDS}"),
        format!(
            "2026-11-28T03:34:30.12+00:00 host kernel: [1.2] audit: type=1326 {stamp} {FIELDS}"
        ),
        format!("Nov 28 03:34:30 host audisp-syslog[77]: type=SECCOMP msg={stamp} {FIELDS} "),
    ] {
        let expected = Record {
            node: None,
            stamp: plain().stamp,
            kind: Kind::Seccomp(Box::new(plain())),
        };
        assert_eq!(read(&line), Some(expected), "{line}");
    }
    let line = format!("node=one.example type=SECCOMP msg={stamp} {FIELDS}");
    let record = read(&line).unwrap();
    assert_eq!(record.node, Some(&b"one.example"[..]));
    assert_eq!(record.kind, Kind::Seccomp(Box::new(plain())));
    let line = format!("Nov 28 03:34:30 host audit[26954]: SECCOMP {FIELDS}");
    let unstamped = Verdict {
        stamp: None,
        ..plain()
    };
    let expected = Kind::Seccomp(Box::new(unstamped));
    assert_eq!(read(&line).unwrap().kind, expected);
}

#[test]
fn messages_of_netlink() {
    let text = format!("audit(1795837010.887:109): {FIELDS}");
    let message = |of: u16, rest: &[u8]| {
        let mut message = vec![0; HEADER];
        message[4..6].copy_from_slice(&of.to_ne_bytes());
        message.extend_from_slice(rest);
        message
    };
    for rest in [text.clone(), format!("{text}\0")] {
        let bytes = message(1326, rest.as_bytes());
        let Told::Record(record) = netlink(&bytes, KERNEL) else {
            panic!("{rest}");
        };
        assert_eq!(record.kind, Kind::Seccomp(Box::new(plain())));
    }
    let bytes = message(1400, text.as_bytes());
    let Told::Record(record) = netlink(&bytes, KERNEL) else {
        panic!("{text}");
    };
    assert_eq!((record.stamp, record.kind), (plain().stamp, Kind::Other));
    assert_eq!(netlink(&[0; 15], KERNEL), Told::Other);
    let bytes = message(1326, b"gibberish");
    let unreadable = Record {
        node: None,
        stamp: None,
        kind: Kind::Unreadable,
    };
    assert_eq!(netlink(&bytes, KERNEL), Told::Record(unreadable));
}

#[test]
fn records_of_the_kernel_log() {
    let text = format!("audit: type=1326 audit(1795837010.887:109): {FIELDS}");
    let own = format!("5,1234,17498252683,-;{text}\n SUBSYSTEM=x\n");
    let told = kernel_record(own.as_bytes(), KERNEL);
    assert!(matches!(told, Told::Record(_)));
    // Written by a program.
    let forged = format!("13,1235,17498252683,-;{text}\n");
    assert_eq!(kernel_record(forged.as_bytes(), KERNEL), Told::Other);
    for prefix in ["", "5", ",1", "x,1,1,-;", "-1,1;", " 5,1;"] {
        let broken = format!("{prefix}{text}\n");
        let told = kernel_record(broken.as_bytes(), KERNEL);
        assert_eq!(told, Told::Other, "{broken:?}");
    }
}

#[test]
fn the_kernel_says_that_it_dropped_records() {
    for said in ["backlog limit exceeded", "rate limit exceeded"] {
        let line = format!("Nov 28 03:34:30 host kernel: [1.2] audit: {said}");
        assert_eq!(file_line(line.as_bytes(), KERNEL), Told::Dropped, "{line}");
    }
    let line = b"Nov 28 03:34:30 host app: audit: backlog limit exceeded";
    assert_eq!(file_line(line, KERNEL), Told::Other);
}

#[test]
fn lines_about_something_else() {
    let stamp = "audit(1795837010.887:109):";
    for line in [
        String::new(),
        "type=".to_owned(),
        "node=".to_owned(),
        "node=a".to_owned(),
        "type=SECCOMP".to_owned(),
        "type=SECCOMP hello".to_owned(),
        // auditd's own, with numbers of its own.
        format!("type=DAEMON_START msg={stamp} op=start"),
        format!("Nov 28 03:34:30 host app[1]: audit: type=1326 {stamp} {FIELDS}"),
        format!("Nov 28 03:34:30 host app[1]: kernel: audit: type=1326 {stamp} {FIELDS}"),
        format!("Nov 28 03:34:30 host kernel: [1.2] oom: audit: type=1326 {stamp} {FIELDS}"),
        format!("x type=SECCOMP msg={stamp} {FIELDS}"),
    ] {
        assert_eq!(file_line(line.as_bytes(), KERNEL), Told::Other, "{line}");
    }
    let line = format!("type=PATH msg={stamp} item=0 name=\"/\" pid=2");
    assert_eq!(read(&line).unwrap().kind, Kind::Other);
}

#[test]
fn calling_conventions() {
    let call = |arch: &str, number: &str| {
        of(&format!(
            "pid=1 comm=\"a\" arch={arch} syscall={number} code=0x0"
        ))
        .call
    };
    for (arch, number, abi, expected) in [
        ("c000003e", "0", Abi::Native, 0),
        ("40000003", "0", Abi::Compat, 0),
        ("c000003e", "1073741825", Abi::X32, 1),
        ("c000003e", "-1", Abi::Native, -1),
        ("40000003", "-1", Abi::Compat, -1),
        ("40000003", "1073741825", Abi::Compat, 1_073_741_825),
    ] {
        let expected = Call {
            abi,
            number: expected,
        };
        assert_eq!(call(arch, number), expected, "{arch} {number}");
    }
}

#[test]
fn what_a_process_chose() {
    let named = |comm: &str, exe: &str| {
        let verdict = of(&format!(
            "pid=1 comm={comm} exe={exe} sig=31 arch=c000003e syscall=1 code=0x80000000"
        ));
        (verdict.comm.to_string(), verdict.exe)
    };
    for (comm, exe, expected) in [
        ("\"a\"", "\"/b\"", ("a", Some(&b"/b"[..]))),
        ("612062", "2F62FF0A", ("a b", Some(b"/b\xff\n"))),
        ("1b5b316d", "(null)", (r"\x1b[1m", None)),
        ("\"type=SECCOMP\"", "?", ("type=SECCOMP", None)),
        ("\"pid=7\"", "\"pid=8\"", ("pid=7", Some(b"pid=8"))),
        ("\"abc", "61626", ("", None)),
        ("", "", ("", None)),
        // More than the kernel keeps.
        ("\"0123456789abcdefg\"", "zz", ("0123456789abcde", None)),
    ] {
        let (name, path) = named(comm, exe);
        let expected = (expected.0.to_owned(), expected.1.map(<[u8]>::to_vec));
        assert_eq!((name, path), expected, "{comm} {exe}");
    }
}

/// AppArmor has the mode in the label, with a space; names of its profiles may have more.
#[test]
fn a_label_cannot_speak_for_the_kernel() {
    let verdict = of(
        "auid=0 ses=1 subj==a (enforce) pid=9 syscall=9 arch=9 pid=26954 comm=\"a\" sig=0 arch=c000003e syscall=110 code=0x7ffc0000",
    );
    assert_eq!(
        (verdict.tgid, verdict.call.number, verdict.call.abi),
        (26954, 110, Abi::Native)
    );
}

#[test]
fn records_that_lack_something() {
    for fields in [
        "",
        "pid=1",
        "pid=1 arch=c000003e",
        "pid=1 syscall=1",
        "arch=c000003e syscall=1",
        "pid=x arch=c000003e syscall=1",
        "pid=1 arch=x86_64 syscall=openat",
        "pid=1 arch=c000003e syscall=99999999999",
        "pid=1 arch=+1 syscall=1",
        "pid=99999999999 arch=c000003e syscall=1",
        "pid=1 arch=c000003e syscall=1 code=0xzz",
        "pid=1 arch=c000003e syscall=1 sig=x",
        // Cut off.
        "auid=4294967295 uid=0 gid=0 ses=4294967295 pid=1 comm=\"a\" exe=\"/aaaaaaaaa",
    ] {
        assert_eq!(kind(fields), Kind::Unreadable, "{fields}");
    }
    assert_eq!(
        read("type=SECCOMP msg=audit(1.0:1): pid=1").unwrap().kind,
        Kind::Unreadable
    );
}

/// What the kernel makes of a text (`audit_log_n_untrustedstring`).
fn untrusted(text: &[u8]) -> String {
    let plain = |byte: &u8| *byte != b'"' && (0x21..=0x7e).contains(byte);
    if text.iter().all(plain) {
        format!("\"{}\"", String::from_utf8_lossy(text))
    } else {
        text.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02X}").unwrap();
            hex
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_kernel_writes_is_read(
        name in prop::collection::vec(1_u8..=255, 0..16),
        path in prop::collection::vec(1_u8..=255, 1..100),
        label in "[ -~]{0,40}",
        (tgid, signal, code, number) in (any::<u32>(), 0_u32..64, any::<u32>(), any::<i32>()),
        compat in any::<bool>(),
    ) {
        let name = &name[..name.len().min(15)];
        let arch = if compat { 0x4000_0003 } else { KERNEL.arch };
        let fields = format!(
            "auid=4294967295 uid=0 gid=0 ses=4294967295 subj={label} pid={tgid} comm={} exe={} sig={signal} arch={arch:x} syscall={number} compat={} ip=0x1 code=0x{code:x}",
            untrusted(name), untrusted(&path), u8::from(compat),
        );
        let verdict = of(&fields);
        prop_assert_eq!(verdict.tgid, tgid);
        prop_assert_eq!(verdict.signal, signal);
        prop_assert_eq!(verdict.code, code);
        prop_assert_eq!(&verdict.comm.0[..name.len()], name);
        prop_assert_eq!(verdict.exe, Some(path));
        prop_assert_eq!(verdict.call.abi == Abi::Compat, compat);
        let x32 = verdict.call.abi == Abi::X32;
        let whole = verdict.call.number | if x32 { 0x4000_0000 } else { 0 };
        prop_assert_eq!(whole, number);
    }

    #[test]
    fn any_bytes_are_withstood(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        netlink(&bytes, KERNEL);
        kernel_record(&bytes, KERNEL);
        file_line(&bytes, KERNEL);
        kind(&String::from_utf8_lossy(&bytes));
    }
}
