use proptest::prelude::*;

use super::*;
use crate::enrich::audit::line::{Kernel, Told, file_line, kernel_record};

const KERNEL: Kernel = Kernel { arch: 0xc000_003e };

fn kind(of: &str, fields: &str) -> Kind {
    let line = format!("type={of} msg=audit(1.000:1): {fields}");
    match file_line(line.as_bytes(), KERNEL) {
        Told::Record(record) => record.kind,
        other => panic!("{other:?}: {line}"),
    }
}

fn avc(of: &str, fields: &str) -> Avc {
    match kind(of, fields) {
        Kind::Avc(avc) => *avc,
        other => panic!("{other:?}: {fields}"),
    }
}

fn apparmor(of: &str, fields: &str) -> AppArmorRecord {
    match kind(of, fields) {
        Kind::AppArmor(record) => *record,
        other => panic!("{other:?}: {fields}"),
    }
}

/// `KEY=VALUE` one behind the other, with quotes where there were some.
fn shown(details: &[Detail]) -> String {
    let shown = details.iter().map(|Detail { key, value, quoted }| {
        let quote = if *quoted { "'" } else { "" };
        format!("{key}={quote}{}{quote}", value.escape_ascii())
    });
    shown.collect::<Vec<_>>().join(" ")
}

const OPEN: &str = r#"avc:  denied  { read open } for  pid=7 comm="cat" path="/etc/shadow" dev="sda1" ino=9 scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:shadow_t:s0 tclass=file permissive=0"#;

#[test]
fn selinux_in_all_forms() {
    let expected = avc("AVC", OPEN);
    assert_eq!(expected.answer, AvcAnswer::Denied);
    assert_eq!(expected.permissions, ["read", "open"]);
    assert_eq!(expected.process.tgid, 7);
    assert_eq!(expected.process.comm.to_string(), "cat");
    assert_eq!(expected.scontext, "system_u:system_r:container_t:s0:c1,c2");
    assert_eq!(expected.tcontext, "system_u:object_r:shadow_t:s0");
    assert_eq!(expected.tclass, "file");
    assert_eq!(
        shown(&expected.details),
        "path='/etc/shadow' dev='sda1' ino=9"
    );
    let stamp = "audit(1.000:1):";
    for line in [
        format!("type=1400 msg={stamp} {OPEN}"),
        format!("type=AVC msg={stamp} {OPEN}\u{1d}SCONTEXT=x"),
        format!("Nov 28 03:34:30 host kernel: [1.2] audit: type=1400 {stamp} {OPEN}"),
    ] {
        let Told::Record(record) = file_line(line.as_bytes(), KERNEL) else {
            panic!("{line}");
        };
        assert_eq!(record.kind, Kind::Avc(Box::new(expected.clone())), "{line}");
    }
    let own = format!("5,1234,17498252683,-;audit: type=1400 {stamp} {OPEN}\n");
    assert!(matches!(
        kernel_record(own.as_bytes(), KERNEL),
        Told::Record(record) if record.kind == Kind::Avc(Box::new(expected.clone()))
    ));
    let line = format!("Nov 28 03:34:30 host audit[7]: AVC {OPEN}");
    let unstamped = Avc {
        stamp: None,
        ..expected
    };
    assert!(matches!(
        file_line(line.as_bytes(), KERNEL),
        Told::Record(record) if record.kind == Kind::Avc(Box::new(unstamped))
    ));
}

#[test]
fn selinux_answers() {
    let answer = |fields: &str| avc("AVC", fields).answer;
    assert_eq!(
        answer(&OPEN.replace("permissive=0", "permissive=1")),
        AvcAnswer::Permitted
    );
    // Kernels before 3.17 do not say.
    assert_eq!(
        answer(&OPEN.replace(" permissive=0", "")),
        AvcAnswer::Denied
    );
    assert_eq!(
        answer(&OPEN.replace("denied", "granted")),
        AvcAnswer::Granted
    );
}

/// A class of processes has numbers and names of other kinds.
#[test]
fn selinux_objects() {
    for (object, class, details) in [
        ("capability=21  ", "capability", "capability=21"),
        (
            "lport=80 laddr=0.0.0.0 faddr=10.0.0.1 fport=1 netif=eth0",
            "tcp_socket",
            "lport=80 laddr=0.0.0.0 faddr=10.0.0.1 fport=1 netif=eth0",
        ),
        (
            r#"name=2F746D702F6120 dev="tmpfs" ino=5"#,
            "dir",
            "name='/tmp/a ' dev='tmpfs' ino=5",
        ),
        // A number is no text in digits.
        (r#"ino=20 name="20""#, "file", "ino=20 name='20'"),
    ] {
        let fields = format!(
            r#"avc:  denied  {{ use }} for  pid=7 comm="a" {object} scontext=a tcontext=b tclass={class} permissive=0"#
        );
        let read = avc("AVC", &fields);
        assert_eq!(read.tclass, class);
        assert_eq!(shown(&read.details), details, "{fields}");
    }
}

#[test]
fn what_a_program_tells_is_of_the_program() {
    let message = r#"pid=1 uid=0 auid=4294967295 ses=4294967295 subj=system_u:system_r:init_t:s0 msg='avc:  denied  { start } for auid=n/a uid=0 gid=0 path="/usr/lib/systemd/system/a.service" cmdline="systemctl start a" scontext=a tcontext=b tclass=service permissive=0  exe="/usr/lib/systemd/systemd" sauid=0 hostname=? addr=? terminal=?'"#;
    let read = avc("USER_AVC", message);
    assert!(read.told);
    assert_eq!(read.process.tgid, 1);
    assert_eq!(
        (read.scontext.as_str(), read.tclass.as_str()),
        ("a", "service")
    );
    // Whoever may send such records cannot be another process.
    let forged = message.replace("for auid", r#"for pid=99 comm="other" auid"#);
    let read = avc("USER_AVC", &forged);
    assert_eq!(
        (read.process.tgid, read.process.comm),
        (1, crate::event::Comm::default())
    );
    let dbus = r#"pid=400 uid=101 auid=4294967295 ses=4294967295 subj=unconfined msg='apparmor="DENIED" operation="dbus_method_call"  bus="system" path="/org/a" interface="org.a" member="B" mask="send" name="org.a" pid=99 label="p" peer_pid=1 peer_label="unconfined" exe="/usr/bin/dbus-daemon" sauid=101 hostname=? addr=? terminal=?'"#;
    let read = apparmor("USER_AVC", dbus);
    assert!(read.told);
    assert_eq!(read.process.tgid, 400);
    assert_eq!(read.profile, b"p");
    assert_eq!(read.operation, "dbus_method_call");
    assert_eq!(read.name.as_deref(), Some(&b"org.a"[..]));
    for notice in [
        "avc:  received policyload notice (seqno=2)",
        "avc:  op=setenforce lsm=selinux enforcing=0 res=1",
        "op=x",
    ] {
        let fields = format!("pid=1 uid=0 msg='{notice}'");
        assert_eq!(kind("USER_AVC", &fields), Kind::Other, "{notice}");
    }
    for fields in ["", "pid=x msg='avc: '", "uid=0 msg='avc: '", "pid=1 uid=0"] {
        assert_eq!(kind("USER_AVC", fields), Kind::UnreadableAccess, "{fields}");
    }
}

#[test]
fn apparmor_of_all_kinds() {
    // Operation, what stands before pid, what stands behind comm, and what is read of both.
    for (operation, before, behind, name, details) in [
        (
            "open",
            r#" class="file" profile="p" name="/etc/shadow""#,
            r#" requested_mask="r" denied_mask="r" fsuid=0 ouid=0"#,
            Some("/etc/shadow"),
            "class='file' requested_mask='r' denied_mask='r' fsuid=0 ouid=0",
        ),
        (
            "open",
            r#" profile="p" name=2F612062"#,
            r#" requested_mask="wc" denied_mask="wc" fsuid=0 ouid=0"#,
            Some("/a b"),
            "requested_mask='wc' denied_mask='wc' fsuid=0 ouid=0",
        ),
        (
            "capable",
            r#" class="cap" profile="p""#,
            r#" capability=21  capname="sys_admin""#,
            None,
            "class='cap' capability=21 capname='sys_admin'",
        ),
        (
            "create",
            r#" class="net" profile="p""#,
            r#" family="inet" sock_type="raw" protocol=1 requested="create" denied="create" requested_mask="create" denied_mask="create""#,
            None,
            "class='net' family='inet' sock_type='raw' protocol=1 requested='create' denied='create' requested_mask='create' denied_mask='create'",
        ),
        (
            "mount",
            r#" class="mount" info="failed mntpnt match" error=-13 profile="p" name="/mnt/""#,
            r#" fstype="tmpfs" srcname="none" flags="rw, nosuid""#,
            Some("/mnt/"),
            "class='mount' info='failed mntpnt match' error=-13 fstype='tmpfs' srcname='none' flags='rw, nosuid'",
        ),
        (
            "signal",
            r#" class="signal" profile="p""#,
            r#" requested_mask="send" denied_mask="send" signal=term peer="unconfined""#,
            None,
            "class='signal' requested_mask='send' denied_mask='send' signal=term peer='unconfined'",
        ),
        (
            "ptrace",
            r#" class="ptrace" profile="p""#,
            r#" requested_mask="read" denied_mask="read" peer="q""#,
            None,
            "class='ptrace' requested_mask='read' denied_mask='read' peer='q'",
        ),
        (
            "connect",
            r#" class="unix" profile="p""#,
            r#" family="unix" sock_type="stream" protocol=0 requested_mask="send receive connect" denied_mask="send receive connect" addr=none peer_addr="@a" peer="q""#,
            None,
            "class='unix' family='unix' sock_type='stream' protocol=0 requested_mask='send receive connect' denied_mask='send receive connect' addr=none peer_addr='@a' peer='q'",
        ),
        (
            "change_profile",
            r#" info="label not found" error=-2 profile="p" name="q""#,
            "",
            Some("q"),
            "info='label not found' error=-2",
        ),
        (
            "exec",
            r#" class="file" profile="p" name="/bin/sh""#,
            r#" requested_mask="x" denied_mask="x" fsuid=0 ouid=0 target="q""#,
            Some("/bin/sh"),
            "class='file' requested_mask='x' denied_mask='x' fsuid=0 ouid=0 target='q'",
        ),
    ] {
        for (word, answer) in [
            ("DENIED", AppArmorAnswer::Denied { killed: false }),
            ("KILLED", AppArmorAnswer::Denied { killed: true }),
            ("ALLOWED", AppArmorAnswer::Allowed),
            ("AUDIT", AppArmorAnswer::Audit),
        ] {
            let fields = format!(
                r#"apparmor="{word}" operation="{operation}"{before} pid=7 comm="a"{behind}"#
            );
            let read = apparmor("AVC", &fields);
            assert_eq!((read.answer, read.word.as_str()), (answer, word));
            assert_eq!(read.operation, operation);
            assert_eq!(read.profile, b"p");
            assert_eq!(read.name.as_deref(), name.map(str::as_bytes), "{fields}");
            assert_eq!(read.process.tgid, 7);
            assert_eq!(shown(&read.details), details);
            // As older kernels named it.
            assert_eq!(apparmor("APPARMOR_DENIED", &fields), read);
            assert_eq!(apparmor("UNKNOWN[1503]", &fields), read);
        }
    }
    let status = r#"apparmor="STATUS" operation="profile_load" profile="unconfined" name="p" pid=7 comm="apparmor_parser""#;
    let read = apparmor("AVC", status);
    assert_eq!(read.answer, AppArmorAnswer::Other);
    let read = apparmor("AVC", r#"apparmor="STATUS" operation="initialized""#);
    assert_eq!(read.process.tgid, 0);
}

#[test]
fn who_made_the_call() {
    let fields = r#"arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c items=1 ppid=1 pid=7 auid=4294967295 uid=0 tty=(none) ses=4294967295 comm="cat" exe="/usr/bin/cat" subj=a (enforce) pid=8 key=(null)"#;
    let Kind::Caller(caller) = kind("SYSCALL", fields) else {
        panic!("{fields}");
    };
    assert_eq!(caller.tgid, 7);
    assert_eq!(caller.exe.as_deref(), Some(&b"/usr/bin/cat"[..]));
    for fields in ["", "pid=x", r#"exe="/a""#, r#"pid=1 exe="/a"#] {
        assert_eq!(kind("SYSCALL", fields), Kind::Other, "{fields}");
    }
}

#[test]
fn records_that_lack_something() {
    for fields in [
        "avc:  denied  { read",
        "avc:  denied  { read } for  pid=7 comm=\"a\" scontext=a tcontext=b",
        "avc:  denied  { read } for  comm=\"a\" scontext=a tcontext=b tclass=file",
        "avc:  denied  { } for  pid=7 scontext=a tcontext=b tclass=file",
        "avc:  denied  { rea\x1b } for  pid=7 scontext=a tcontext=b tclass=file",
        "avc:  denied  { read  for  pid=7 scontext=a tcontext=b tclass=file",
        "avc:  refused  { read } for  pid=7 scontext=a tcontext=b tclass=file",
        "avc:  denied  { read } for  pid=99999999999 scontext=a tcontext=b tclass=file",
        "avc:  denied  { read } for  pid=7 name=\"/a",
        "apparmor=\"DENIED\" operation=\"open\" profile=\"p\" name=\"/a\"",
        "apparmor=\"DENIED\" operation=\"open\" profile=\"p\" name=\"/a",
        "apparmor=",
    ] {
        assert_eq!(kind("AVC", fields), Kind::UnreadableAccess, "{fields}");
    }
    // Of another module.
    assert_eq!(
        kind("AVC", "lsm=SMACK fn=smack_inode_permission"),
        Kind::Other
    );
    let many = "a=1 ".repeat(DETAILS + 1);
    let fields = format!("avc:  denied  {{ read }} for  pid=7 {many}");
    assert_eq!(kind("AVC", &fields), Kind::UnreadableAccess);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_withstood(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let stamp = Some(Stamp { at_ms: 1, serial: 1 });
        for head in ["", "avc:  denied  { read } for  pid=7 ", "apparmor=\"DENIED\" ", "pid=1 msg='"] {
            let text = [head.as_bytes(), &bytes].concat();
            access(&text, stamp);
            told(&text, stamp);
            caller(&text, stamp);
        }
    }
}
