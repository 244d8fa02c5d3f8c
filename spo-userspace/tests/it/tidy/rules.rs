//! The rules. Whoever changes MODULES or OUTSIDE changes ARCHITECTURE.md as well.

/// Names that are permitted.
#[derive(Debug)]
pub(super) enum Uses {
    /// These.
    Only(&'static [&'static str]),
    /// All others than these.
    AllBut(&'static [&'static str]),
}

use Uses::{AllBut, Only};

/// Where the rules for source files hold.
pub(super) const SOURCES: &[&str] = &["spo-common/src", "spo-ebpf/src", "spo-userspace/src"];

/// A module at the top of spo-userspace, and which others it may use. A module that is not here
/// has no rule, and none that is here may use it.
pub(super) const MODULES: &[(&str, Uses)] = &[
    ("event", Only(&[])),
    ("profile", Only(&["event"])),
    ("recorder", Only(&["event", "profile"])),
    ("enrich", Only(&["event"])),
    ("api", Only(&["profile"])),
    ("inventory", Only(&["api", "cluster"])),
    ("migrate", Only(&["api", "profile"])),
    ("bpf", Only(&["event", "config"])),
    ("source", Only(&["bpf", "enrich", "event", "node"])),
    ("node", Only(&["enrich", "event", "profile"])),
    ("cluster", Only(&[])),
    (
        "controller",
        Only(&[
            "api",
            "cluster",
            "profile",
            "recorder",
            "node",
            "server",
            "telemetry",
        ]),
    ),
    (
        "uninstall",
        Only(&["api", "cluster", "controller", "node", "profile"]),
    ),
    (
        "verify",
        Only(&[
            "api",
            "bpf",
            "cluster",
            "controller",
            "event",
            "node",
            "profile",
        ]),
    ),
    ("server", Only(&[])),
    (
        "webhook",
        Only(&["api", "cluster", "profile", "server", "telemetry"]),
    ),
    ("telemetry", Only(&["cluster", "server"])),
    ("config", Only(&[])),
    ("cli", AllBut(&["controller", "webhook"])),
    ("services", AllBut(&["cli"])),
];

/// Something outside the crate, and which modules may name it; `main` is src/main.rs.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) path: &'static str,
    pub(super) uses: Uses,
    pub(super) instead: &'static str,
}

const fn outside(path: &'static str, uses: Uses, instead: &'static str) -> Outside {
    Outside {
        path,
        uses,
        instead,
    }
}

/// Modules that compute, and touch nothing.
const PURE: &[&str] = &["event", "profile", "recorder", "enrich"];
const HANDED_IN: &str = "this module is pure: have the value handed in";
const THROUGH_BPF: &str = "only `bpf` talks to the kernel's eBPF: give it a function";
const THROUGH_NODE: &str = "effects on the host are in `node`: give it a function";
const CLUSTER: &[&str] = &[
    "api",
    "cluster",
    "controller",
    "inventory",
    "migrate",
    "services",
    "telemetry",
    "uninstall",
    "verify",
    "webhook",
];

/// The first line that fits a path counts.
pub(super) const OUTSIDE: &[Outside] = &[
    outside("aya", Only(&["bpf", "spo-common"]), THROUGH_BPF),
    outside("aya_obj", Only(&["bpf"]), THROUGH_BPF),
    outside("btf", Only(&["bpf"]), THROUGH_BPF),
    outside(
        "spo_common",
        Only(&["bpf", "spo-ebpf"]),
        "`event` has the types that the others see",
    ),
    outside("kube", Only(CLUSTER), "only they know Kubernetes"),
    outside("k8s_openapi", Only(CLUSTER), "only they know Kubernetes"),
    outside("libseccomp", Only(&["node"]), THROUGH_NODE),
    outside("procfs", Only(&["node", "source", "cli"]), THROUGH_NODE),
    outside(
        "std::fs",
        Only(&["node", "server", "source", "cli", "config"]),
        THROUGH_NODE,
    ),
    // The exit code of `main` is in there, too.
    outside(
        "std::process",
        Only(&["node", "source", "cli", "config", "main"]),
        THROUGH_NODE,
    ),
    outside("std::time::Instant", AllBut(PURE), HANDED_IN),
    outside("std::time::SystemTime", AllBut(PURE), HANDED_IN),
    outside("std::env", AllBut(PURE), HANDED_IN),
    outside("std::net", AllBut(PURE), HANDED_IN),
    outside("std::thread", AllBut(PURE), HANDED_IN),
    outside("tokio", AllBut(PURE), HANDED_IN),
    outside("nix", AllBut(PURE), HANDED_IN),
    outside("libc", AllBut(PURE), HANDED_IN),
];

/// Where `unsafe` may stand.
pub(super) const UNSAFE: &[&str] = &["bpf", "spo-common", "spo-ebpf"];

/// Tables, which may be long.
pub(super) const LONG: &[&str] = &[
    "spo-userspace/src/profile/syscalls/arm.rs",
    "spo-userspace/src/profile/syscalls/ppc64le.rs",
    "spo-userspace/src/profile/syscalls/s390x.rs",
    "spo-userspace/src/profile/syscalls/x86.rs",
    "spo-userspace/src/profile/syscalls/x86_64.rs",
];

/// A text that no file may have; in parts, so that this file does not have it.
#[derive(Debug)]
pub(super) struct Forbidden {
    pub(super) parts: [&'static str; 2],
    pub(super) instead: &'static str,
}

const IN_THE_CLONE: &str = "a newcomer has nothing but the clone: bring it into the repository";
const OWN_MACHINE: &str =
    "that is one person's machine: name a path of the clone or of the user's home";
const OWN_SOURCE: &str =
    "machines have package sources of their own: name the package and its manager";

pub(super) const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        parts: ["../sha", "red"],
        instead: IN_THE_CLONE,
    },
    Forbidden {
        parts: ["/work/", "main"],
        instead: OWN_MACHINE,
    },
    Forbidden {
        parts: ["/work/", "shared"],
        instead: OWN_MACHINE,
    },
    Forbidden {
        parts: ["/root/", ".ca"],
        instead: OWN_MACHINE,
    },
    Forbidden {
        parts: ["/root/", ".rustup"],
        instead: OWN_MACHINE,
    },
    Forbidden {
        parts: ["deb.", "debian.org"],
        instead: OWN_SOURCE,
    },
    Forbidden {
        parts: ["security.", "debian.org"],
        instead: OWN_SOURCE,
    },
    Forbidden {
        parts: ["snapshot.", "debian.org"],
        instead: OWN_SOURCE,
    },
    Forbidden {
        parts: ["archive.", "ubuntu.com"],
        instead: OWN_SOURCE,
    },
    Forbidden {
        parts: ["crates", ".io"],
        instead: OWN_SOURCE,
    },
    Forbidden {
        parts: ["pypi", ".org"],
        instead: OWN_SOURCE,
    },
    Forbidden {
        parts: ["npmjs", ".org"],
        instead: OWN_SOURCE,
    },
    Forbidden {
        parts: ["proxy.", "golang.org"],
        instead: OWN_SOURCE,
    },
];

/// A word that only some files, or directories, may have.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) parts: [&'static str; 2],
    pub(super) files: &'static [&'static str],
    pub(super) instead: &'static str,
}

pub(super) const WORDS: &[Words] = &[
    // Objects that are stubs: made by build.rs, refused by bpf, wanted by one compile check.
    Words {
        parts: ["SPO_", "EBPF"],
        files: &[
            "spo-userspace/build.rs",
            "spo-userspace/src/bpf",
            "xtask/src/bench.rs",
            "xtask/src/check.rs",
            "xtask/src/fuzz.rs",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "docs/building.md",
        ],
        instead: "a build without eBPF objects records nothing; let `cargo xtask setup` find a compiler",
    },
    Words {
        parts: ["spo_ebpf", "_stubs"],
        files: &["spo-userspace/build.rs", "spo-userspace/src/bpf"],
        instead: "ask `bpf` whether it can record",
    },
];
