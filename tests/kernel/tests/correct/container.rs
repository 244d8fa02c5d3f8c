//! The same program in a container.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use spo_kernel_tests::spo::Finished;

use super::programs::Program;

/// Runs the program in a container of `runtime` under a profile. What the profile denies is named on the standard error of
/// the result: `spo run`, with a profile that allows everything, watches the runtime and all that descends from it.
pub(super) fn run(runtime: &str, program: &Program, folder: &Path, profile: &Path) -> Finished {
    let run = program.prepare(folder);
    let bundle = folder.join(runtime);
    let root = bundle.join("rootfs");
    std::fs::create_dir_all(&root).expect("a folder");
    let filter: serde_json::Value =
        serde_json::from_slice(&std::fs::read(profile).expect("a profile"))
            .expect("the profile is JSON");
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_NET_BIND_SERVICE",
        "CAP_KILL",
    ];
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": run.command,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "root": { "path": "rootfs" },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }],
            "seccomp": filter,
        },
    });
    std::fs::write(bundle.join("config.json"), config.to_string()).expect("a configuration");
    let everything = folder.join("everything.json");
    std::fs::write(&everything, r#"{ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"] }"#).expect("a profile");
    // The root of the container is this machine's own, in a mount namespace that ends with the test. crun takes no host that
    // has both versions of cgroups; in this namespace there is only one.
    let script = "mount --make-rprivate / && \
                  { ! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified; } && \
                  mount --rbind / \"$1\" && shift && exec \"$@\"";
    let id = format!("spo-test-{}-{runtime}-{}", program.name, std::process::id());
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&root)
        .arg(spo_kernel_tests::spo::binary());
    inside
        .args(["run", "-p"])
        .arg(&everything)
        .args(["--", runtime]);
    if runtime == "crun" {
        inside.arg("--cgroup-manager=disabled");
    }
    inside.args(["run", "--bundle"]).arg(&bundle).arg(&id);
    run.drive(
        inside
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped()),
    )
}
