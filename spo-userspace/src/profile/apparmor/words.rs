//! The words that AppArmor's rules are made of, as `apparmor_parser` 3.0 takes them. A value of a
//! profile that is one of them is kept as the table's own text, and can be nothing else.

/// One of the words of a table.
pub type Word = &'static str;

/// Capabilities, as `capabilities(7)` has them, without `CAP_`.
pub const CAPABILITIES: &[Word] = &[
    "audit_control",
    "audit_read",
    "audit_write",
    "block_suspend",
    "bpf",
    "checkpoint_restore",
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "ipc_lock",
    "ipc_owner",
    "kill",
    "lease",
    "linux_immutable",
    "mac_admin",
    "mac_override",
    "mknod",
    "net_admin",
    "net_bind_service",
    "net_broadcast",
    "net_raw",
    "perfmon",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "sys_admin",
    "sys_boot",
    "sys_chroot",
    "sys_module",
    "sys_nice",
    "sys_pacct",
    "sys_ptrace",
    "sys_rawio",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "syslog",
    "wake_alarm",
];

/// The capability that comes with the right to mount and to check file systems.
pub(super) const RAWIO: Word = "sys_rawio";

/// Signals. `exists` is the signal 0, which only asks.
pub const SIGNALS: &[Word] = &[
    "abrt", "alrm", "bus", "chld", "cont", "emt", "exists", "fpe", "hup", "ill", "int", "io",
    "kill", "pipe", "prof", "pwr", "quit", "rtmin+0", "rtmin+1", "rtmin+2", "rtmin+3", "rtmin+4",
    "rtmin+5", "rtmin+6", "rtmin+7", "rtmin+8", "rtmin+9", "rtmin+10", "rtmin+11", "rtmin+12",
    "rtmin+13", "rtmin+14", "rtmin+15", "rtmin+16", "rtmin+17", "rtmin+18", "rtmin+19", "rtmin+20",
    "rtmin+21", "rtmin+22", "rtmin+23", "rtmin+24", "rtmin+25", "rtmin+26", "rtmin+27", "rtmin+28",
    "rtmin+29", "rtmin+30", "rtmin+31", "rtmin+32", "segv", "stkflt", "stop", "stp", "sys", "term",
    "trap", "ttin", "ttou", "urg", "usr1", "usr2", "vtalrm", "winch", "xcpu", "xfsz",
];

/// What a signal rule can allow.
pub const SIGNAL_ACCESS: &[Word] = &["receive", "send"];

/// What a ptrace rule can allow.
pub const PTRACE_ACCESS: &[Word] = &["read", "readby", "trace", "tracedby"];

/// What a rule for unix sockets can allow.
pub const UNIX_ACCESS: &[Word] = &[
    "accept", "bind", "connect", "create", "getattr", "getopt", "listen", "receive", "send",
    "setattr", "setopt", "shutdown",
];
/// The ones of them that can depend on the other side.
pub(super) const UNIX_PEER_ACCESS: &[Word] = &["accept", "connect", "receive", "send"];

/// Types of unix sockets.
pub const UNIX_TYPES: &[Word] = &["dgram", "packet", "raw", "rdm", "seqpacket", "stream"];

/// What a rule for D-Bus can allow.
pub const DBUS_ACCESS: &[Word] = &["bind", "eavesdrop", "receive", "send"];

/// Families of sockets.
pub const FAMILIES: &[Word] = &[
    "alg",
    "appletalk",
    "ash",
    "atmpvc",
    "atmsvc",
    "ax25",
    "bluetooth",
    "bridge",
    "caif",
    "can",
    "econet",
    "ib",
    "ieee802154",
    "inet",
    "inet6",
    "ipx",
    "irda",
    "isdn",
    "iucv",
    "kcm",
    "key",
    "llc",
    "mctp",
    "mpls",
    "netbeui",
    "netlink",
    "netrom",
    "nfc",
    "packet",
    "phonet",
    "pppox",
    "qipcrtr",
    "rds",
    "rose",
    "rxrpc",
    "security",
    "smc",
    "sna",
    "tipc",
    "unix",
    "vsock",
    "wanpipe",
    "x25",
    "xdp",
];
/// Types of sockets, and the protocols that can stand in a type's place.
pub const SOCKET_TYPES: &[Word] = &[
    "dgram",
    "icmp",
    "packet",
    "raw",
    "rdm",
    "seqpacket",
    "stream",
    "tcp",
    "udp",
];
/// The protocols among [`SOCKET_TYPES`]; they are for the family `inet`.
pub(super) const PROTOCOLS: &[Word] = &["icmp", "tcp", "udp"];

/// What a rule for mounts is about.
pub const MOUNT_OPERATIONS: &[Word] = &["mount", "pivot_root", "remount", "umount"];

/// Options of mounts.
pub const MOUNT_OPTIONS: &[Word] = &[
    "acl",
    "async",
    "atime",
    "bind",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "loud",
    "mand",
    "move",
    "noacl",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nomand",
    "norelatime",
    "nosuid",
    "nouser",
    "private",
    "rbind",
    "relatime",
    "remount",
    "ro",
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "sync",
    "unbindable",
    "user",
    "verbose",
];

/// The table's own text of a word.
pub fn find(table: &'static [Word], text: &str) -> Option<Word> {
    table.iter().copied().find(|word| *word == text)
}
