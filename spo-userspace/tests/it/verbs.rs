//! The verbs that read and write profiles, as programs and people call them.

mod check;
mod rewrite;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const SPO: &str = env!("CARGO_BIN_EXE_spo");

/// A folder with files, in which the command runs.
struct Folder(TempDir);

struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        for (name, text) in files {
            let path = folder.path(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }

    fn run(&self, words: &str) -> Answer {
        self.run_as(Path::new(SPO), words)
    }

    fn run_as(&self, program: &Path, words: &str) -> Answer {
        let output = Command::new(program)
            .args(words.split_whitespace())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .expect("spo runs");
        Answer {
            code: output.status.code().expect("an exit code"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

const READ: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO",
 "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;
const READ_WRITE: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO",
 "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}]}"#;
const WRITE_OBJECT: &str = "\
apiVersion: security-profiles-operator.x-k8s.io/v1
kind: SeccompProfile
metadata:
  name: web
  annotations:
    spo.x-k8s.io/recording-lost: '2'
    spo.x-k8s.io/recording-kernel: '6.1'
    mine: kept
spec:
  defaultAction: SCMP_ACT_ERRNO
  syscalls:
  - action: SCMP_ACT_ALLOW
    names: [write]
";
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x # as it was\n";
const OLD: &str = "\
apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: AppArmorProfile
metadata:
  name: old
spec:
  complainMode: true
  abstract:
    filesystem:
      readOnlyPaths: [/etc/passwd]
";

#[test]
fn check_finds_profiles_in_folders() {
    let folder = Folder::with(&[
        ("good.json", READ),
        ("manifests/all.yaml", &format!("{POD}---\n{WRITE_OBJECT}")),
        ("manifests/chart.yaml", "{{ .Values.nothing }}\n"),
        ("manifests/pod.yaml", POD),
        ("manifests/policy.cil", "(block web\n  (type process)\n"),
        ("notes.txt", "nothing"),
    ]);
    let answer = folder.run("check -o json .");
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    let report: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!(report["files"], 3);
    let problems = report["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["file"], "./manifests/policy.cil");
    assert_eq!(
        (&problems[0]["line"], &problems[0]["column"]),
        (&1.into(), &1.into())
    );
    assert!(
        answer
            .stderr
            .contains("3 files: 1 error, 0 warnings; 2 files without a profile")
    );
    fs::remove_file(folder.path("manifests/policy.cil")).expect("it is there");
    assert_eq!(folder.run("check .").code, 0);
}

#[test]
fn check_says_what_a_named_file_is_not() {
    let folder = Folder::with(&[("pod.yaml", POD), ("empty.yaml", "")]);
    for (words, told) in [
        ("check pod.yaml", "there is no profile in this file"),
        ("check empty.yaml", "the file is empty"),
        ("check missing.yaml", "failed to read missing.yaml"),
    ] {
        let answer = folder.run(words);
        assert_eq!(answer.code, 1, "{words}");
        assert!(answer.stdout.contains(told), "{words}: {}", answer.stdout);
    }
    let answer = folder.run("check --allow no-such-rule pod.yaml");
    assert_eq!(answer.code, 2);
    assert!(
        answer.stderr.contains("io-uring-bypass"),
        "{}",
        answer.stderr
    );
}

#[test]
fn lints_are_asked_for_and_silenced() {
    let folder = Folder::with(&[("p.yaml", WRITE_OBJECT)]);
    assert_eq!(folder.run("check p.yaml").code, 0);
    let answer = folder.run("check --strict p.yaml");
    assert_eq!(answer.code, 1);
    assert!(
        answer.stdout.contains("warning[missing-futex]"),
        "{}",
        answer.stdout
    );
    let allowed = "missing-futex,missing-exit-group,libc-drift,errno-enosys";
    let answer = folder.run(&format!("check --strict --allow {allowed} p.yaml"));
    assert_eq!(answer.code, 0, "{}", answer.stdout);
    let silenced = format!("{WRITE_OBJECT}# spo: allow({allowed})\n");
    fs::write(folder.path("p.yaml"), silenced).expect("a file");
    assert_eq!(folder.run("check --strict p.yaml").code, 0);
}

#[test]
fn reports_for_programs() {
    let folder = Folder::with(&[("p.json", &READ.replace("ERRNO", "ERNO"))]);
    let sarif: Value =
        serde_json::from_str(&folder.run("check -o sarif p.json").stdout).expect("JSON");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["level"], "error");
    let github = folder.run("check -o github p.json").stdout;
    assert_eq!(
        github,
        "::error file=p.json,line=1,col=19,title=profile::`SCMP_ACT_ERNO` is not an action; did \
         you mean `SCMP_ACT_ERRNO`?\n"
    );
}

#[test]
fn merge_keeps_the_form_of_the_first() {
    let folder = Folder::with(&[("read.json", READ), ("write.yaml", WRITE_OBJECT)]);
    let raw = folder.run("merge read.json write.yaml");
    assert_eq!(raw.code, 0, "{}", raw.stderr);
    let raw: Value = serde_json::from_str(&raw.stdout).expect("JSON");
    assert_eq!(
        raw["syscalls"][0]["names"],
        serde_json::json!(["read", "write"])
    );
    let answer = folder.run("merge -o all.yaml write.yaml read.json");
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""));
    let object = folder.read("all.yaml");
    for text in [
        "name: web",
        "mine: kept",
        "recording-lost: \"2\"",
        "- read\n",
    ] {
        assert!(object.contains(text), "{object}");
    }
    assert!(!object.contains("recording-kernel"), "{object}");
}

#[test]
fn merge_checks_whether_a_profile_is_wide_enough() {
    let folder = Folder::with(&[("committed.json", READ_WRITE), ("new.json", READ)]);
    let answer = folder.run("merge --check committed.json new.json");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let answer = folder.run("merge --check new.json committed.json");
    assert_eq!(answer.code, 1);
    assert!(
        answer
            .stderr
            .contains("write: SCMP_ACT_ERRNO -> SCMP_ACT_ALLOW")
    );
    assert_eq!(folder.read("new.json"), READ);
}

#[test]
fn merge_refuses_what_does_not_fit() {
    let folder = Folder::with(&[
        ("a.json", READ),
        ("b.cil", "(block b (type process))"),
        ("old.yaml", OLD),
        ("bad.json", "{"),
    ]);
    for (words, told) in [
        (
            "merge a.json old.yaml",
            "of different kinds: seccomp and AppArmor",
        ),
        ("merge b.cil", "policy in CIL cannot be merged"),
        ("merge a.json bad.json", "bad.json is not valid"),
        ("merge a.json missing.json", "failed to read missing.json"),
        (
            "merge -o no/such/folder a.json",
            "cannot write no/such/folder",
        ),
    ] {
        let answer = folder.run(words);
        assert_eq!(answer.code, 1, "{words}: {}", answer.stderr);
        assert!(answer.stderr.contains(told), "{words}: {}", answer.stderr);
        assert_eq!(answer.stdout, "", "{words}");
    }
}

#[test]
fn convert_changes_the_form() {
    let folder = Folder::with(&[
        ("w.yaml", WRITE_OBJECT),
        ("r.json", READ),
        ("old.yaml", OLD),
    ]);
    let raw: Value = serde_json::from_str(&folder.run("convert w.yaml").stdout).expect("JSON");
    assert_eq!(raw["syscalls"][0]["names"], serde_json::json!(["write"]));
    let answer = folder.run("convert --to object -p reader r.json");
    assert!(
        answer.stdout.contains("  name: reader\n"),
        "{}",
        answer.stdout
    );
    let answer = folder.run("convert --to object r.json");
    assert_eq!(answer.code, 1);
    assert!(
        answer.stderr.contains("--program-name"),
        "{}",
        answer.stderr
    );
    let text = folder.run("convert old.yaml").stdout;
    assert!(text.contains("profile old flags=(complain"), "{text}");
    fs::write(folder.path("old.apparmor"), text).expect("a file");
    let object = folder
        .run("convert --to object -p again old.apparmor")
        .stdout;
    assert!(
        object.contains("mode: Complain") && object.contains("name: again"),
        "{object}"
    );
}

/// The advice leads to the end: what it says can be done.
#[test]
fn a_profile_with_a_base_has_a_raw_form_once_they_are_merged() {
    let child = WRITE_OBJECT.replace("spec:\n", "spec:\n  baseProfileName: base\n");
    let base = WRITE_OBJECT
        .replace("name: web", "name: base")
        .replace("[write]", "[read]");
    let alone = WRITE_OBJECT;
    let folder = Folder::with(&[("c.yaml", &child), ("b.yaml", &base), ("a.yaml", alone)]);
    let answer = folder.run("convert c.yaml");
    assert_eq!(answer.code, 1);
    let advice = "take `baseProfileName` out, and `spo merge` what is left with base";
    assert!(answer.stderr.contains(advice), "{}", answer.stderr);
    assert_eq!(folder.run("merge -o m.yaml a.yaml b.yaml").code, 0);
    let raw: Value = serde_json::from_str(&folder.run("convert m.yaml").stdout).expect("JSON");
    assert_eq!(
        raw["syscalls"][0]["names"],
        serde_json::json!(["read", "write"])
    );
}

#[test]
fn convert_brings_manifests_to_the_current_version() {
    let manifest = format!("{POD}---\n{OLD}---\n{WRITE_OBJECT}");
    let folder = Folder::with(&[("all.yaml", &manifest), ("pod.yaml", POD)]);
    let answer = folder.run("convert --to object all.yaml");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stdout.starts_with(POD), "{}", answer.stdout);
    assert!(answer.stdout.ends_with(WRITE_OBJECT), "{}", answer.stdout);
    assert!(answer.stdout.contains("mode: Complain"));
    assert!(!answer.stdout.contains("v1alpha1"));
    assert_eq!(folder.run("convert --to object pod.yaml").code, 1);
}

#[test]
fn convert_to_complain_mode_and_back() {
    let folder = Folder::with(&[("w.yaml", WRITE_OBJECT)]);
    let answer = folder.run("convert --complain --keep-blocked bpf -o c.yaml w.yaml");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let complaining = folder.read("c.yaml");
    assert!(
        complaining.contains("defaultAction: SCMP_ACT_LOG"),
        "{complaining}"
    );
    assert!(complaining.contains("- bpf"), "{complaining}");
    let answer = folder.run("convert --enforce -o back.yaml c.yaml");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_eq!(folder.run("diff w.yaml back.yaml").code, 0);
    let answer = folder.run("convert --complain --keep-blocked bfp w.yaml");
    assert_eq!(answer.code, 2);
    assert!(
        answer.stderr.contains("did you mean `bpf`?"),
        "{}",
        answer.stderr
    );
}

#[test]
fn diff_tells_both_ways() {
    let folder = Folder::with(&[
        ("r.json", READ),
        ("w.yaml", WRITE_OBJECT),
        ("bad.json", "["),
    ]);
    let answer = folder.run("diff r.json r.json");
    assert_eq!(
        (answer.code, answer.stdout.as_str()),
        (0, "no difference\n")
    );
    let answer = folder.run("diff r.json w.yaml");
    assert_eq!(answer.code, 1);
    assert!(
        answer
            .stdout
            .contains("write: SCMP_ACT_ERRNO -> SCMP_ACT_ALLOW")
    );
    assert!(
        answer
            .stdout
            .contains("read: SCMP_ACT_ALLOW -> SCMP_ACT_ERRNO")
    );
    let answer: Value =
        serde_json::from_str(&folder.run("diff -o json r.json w.yaml").stdout).expect("JSON");
    assert_eq!(
        (&answer["same"], &answer["widens"]),
        (&false.into(), &true.into())
    );
    // What a container engine makes of its profile depends on the container.
    let engine = READ.replacen('}', r#", "excludes": {"caps": ["CAP_BPF"]}}"#, 1);
    fs::write(folder.path("engine.json"), engine).expect("a file");
    let answer = folder.run("diff r.json engine.json");
    assert!(
        answer.stderr.contains("depends on the machine"),
        "{}",
        answer.stderr
    );
    assert_eq!(folder.run("diff r.json bad.json").code, 3);
    assert_eq!(folder.run("diff r.json missing.json").code, 3);
}

const SELINUX: &str = "\
apiVersion: security-profiles-operator.x-k8s.io/v1
kind: SelinuxProfile
metadata:
  name: web
spec:
  allow:
    '@self': {tcp_socket: [listen]}
    var_log_t: {file: [read, open]}
";

#[test]
fn diff_takes_policies_in_cil() {
    let raw = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: RawSelinuxProfile\n\
               metadata:\n  name: web\nspec:\n  policy: |\n    (blockinherit container)\n    \
               (allow process var_log_t (file (open read)))\n";
    let call = "(block web\n(blockinherit container)\n(call macro (process)))\n";
    let folder = Folder::with(&[
        ("se.yaml", SELINUX),
        ("raw.yaml", raw),
        ("call.cil", call),
        ("own.cil", "(block web (type process))"),
        ("two.cil", "(block web)(block other)"),
        ("r.json", READ),
    ]);
    assert_eq!(folder.run("convert -o se.cil se.yaml").code, 0);
    assert_eq!(folder.run("convert --complain -o c.yaml se.yaml").code, 0);
    assert_eq!(folder.run("convert -o c.cil c.yaml").code, 0);
    for (words, code, told) in [
        ("diff se.yaml se.cil", 0, "no difference"),
        ("diff c.cil c.yaml", 0, "no difference"),
        ("diff se.cil c.cil", 1, "Permissive"),
        ("diff raw.yaml se.cil", 1, "+ listen on tcp_socket"),
        ("diff se.yaml raw.yaml", 1, "- listen on tcp_socket"),
        ("diff raw.yaml raw.yaml", 0, "no difference"),
        (
            "diff call.cil se.yaml",
            3,
            "call.cil cannot be compared: line 3",
        ),
        (
            "diff se.yaml own.cil",
            3,
            "own.cil cannot be compared: line 1",
        ),
        ("diff se.yaml two.cil", 3, "not one block"),
        (
            "diff se.yaml r.json",
            3,
            "of different kinds: SELinux and seccomp",
        ),
    ] {
        let answer = folder.run(words);
        assert_eq!(answer.code, code, "{words}: {}", answer.stderr);
        let all = answer.stdout + &answer.stderr;
        assert!(all.contains(told), "{words}: {all}");
    }
}

#[test]
fn the_reference_s_merge_and_convert() {
    let folder = Folder::with(&[
        ("a.json", READ),
        ("b.json", READ_WRITE),
        ("w.yaml", WRITE_OBJECT),
    ]);
    let spoc = folder.path("spoc");
    std::os::unix::fs::symlink(SPO, &spoc).expect("a link");
    let answer = folder.run_as(&spoc, "m -o out.json a.json b.json");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(folder.read("out.json").contains("write"));
    assert_eq!(folder.run_as(&spoc, "merge --check a.json b.json").code, 1);
    let answer = folder.run_as(&spoc, "c w.yaml");
    assert!(answer.stdout.starts_with('{'), "{}", answer.stdout);
}

/// Words that older parsers take for something else stay what they are.
#[test]
fn convert_changes_no_scalar() {
    let manifest = "\
apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: ProfileRecording
metadata:
  name: r
  namespace: n
  labels: {app: yes, era: '1.10'}
spec:
  kind: SeccompProfile
  recorder: bpf
  podSelector: {}
";
    let folder = Folder::with(&[("r.yaml", manifest)]);
    let answer = folder.run("convert --to object r.yaml");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    fs::write(folder.path("new.yaml"), &answer.stdout).expect("a file");
    assert_eq!(folder.run("check new.yaml").code, 0, "{}", answer.stdout);
    assert!(answer.stdout.contains("recorder: Bpf"), "{}", answer.stdout);
    for text in ["namespace: \"n\"", "app: \"yes\"", "era: \"1.10\""] {
        let plain = text.replace('"', "");
        let quoted = text.replace('"', "'");
        assert!(
            [text, &plain, &quoted]
                .iter()
                .any(|text| answer.stdout.contains(*text)),
            "{text}: {}",
            answer.stdout
        );
    }
}

#[test]
fn convert_writes_nothing_that_is_not_valid() {
    let twice = WRITE_OBJECT.replace(
        "  defaultAction",
        "  defaultAction: SCMP_ACT_LOG\n  defaultAction",
    );
    let raw = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: RawSelinuxProfile\n\
               metadata:\n  name: raw\nspec:\n  policy: |\n    (type process)\n";
    let listener = READ.replacen('{', r#"{"listenerPath": "/run/agent.sock", "#, 1);
    let folder = Folder::with(&[
        ("twice.yaml", &twice),
        ("a.json", READ),
        ("raw.yaml", raw),
        ("listener.json", &listener),
        ("w.yaml", WRITE_OBJECT),
    ]);
    for (words, told) in [
        ("convert --to object twice.yaml", "is there twice"),
        (
            "convert --to object -p ../x a.json",
            "cannot be an object's name",
        ),
        (
            "convert --to object -p x listener.json",
            "is not allowed as `listenerPath`",
        ),
        (
            "merge w.yaml listener.json",
            "is not allowed as `listenerPath`",
        ),
        (
            "convert --to object -p Web a.json",
            "cannot be an object's name",
        ),
    ] {
        let answer = folder.run(words);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{words}");
        assert!(answer.stderr.contains(told), "{words}: {}", answer.stderr);
    }
    let object = folder.run("convert --to object -p other raw.yaml").stdout;
    assert!(object.contains("kind: RawSelinuxProfile") && object.contains("name: other"));
}

#[test]
fn a_denial_in_complain_mode_is_kept() {
    let text = "profile x flags=(complain) {\n  /a r,\n  deny /b w,\n}\n";
    let without = text.replace("  deny /b w,\n", "");
    let folder = Folder::with(&[("x.apparmor", text), ("y.apparmor", &without)]);
    assert_eq!(folder.run("diff x.apparmor y.apparmor").code, 1);
    let object = folder.run("convert --to object -p x x.apparmor").stdout;
    assert!(object.contains("/b"), "{object}");
}

#[test]
fn apparmor_text_survives_complain_mode() {
    let text = "\
#include <tunables/global>

profile x flags=(enforce, attach_disconnected, mediate_deleted) {
  #include <abstractions/base>

  /a r,
  deny /a wlk,
  deny /b w,
  deny network raw,
  network tcp,
}
";
    let folder = Folder::with(&[("x.apparmor", text)]);
    let answer = folder.run("convert --complain -o c.apparmor x.apparmor");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let complaining = folder.read("c.apparmor");
    assert!(
        complaining.contains("\n  # spo: once enforced: deny /b w,\n"),
        "{complaining}"
    );
    assert!(!complaining.contains("\n  deny"), "{complaining}");
    let answer = folder.run("convert --enforce -o back.apparmor c.apparmor");
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
    folder.run("convert --enforce -o same.apparmor x.apparmor");
    assert_eq!(folder.read("back.apparmor"), folder.read("same.apparmor"));
    // Whoever enforces it by hand is told of the comments.
    let by_hand = complaining.replace("complain,", "enforce,");
    fs::write(folder.path("hand.apparmor"), by_hand).expect("a file");
    let answer = folder.run("check hand.apparmor");
    assert!(
        answer.stdout.contains("this denial is a comment only"),
        "{}",
        answer.stdout
    );
    // The kernel enforces denials in complain mode, which objects do not.
    let denying = text.replace("enforce,", "complain,");
    fs::write(folder.path("d.apparmor"), denying).expect("a file");
    let answer = folder.run("convert --complain d.apparmor");
    assert!(
        answer.stderr.contains("denies nothing in complain mode"),
        "{}",
        answer.stderr
    );
}

#[test]
fn an_error_number_that_is_given_anyway_needs_no_field() {
    let with = |number: u32| READ.replacen('{', &format!("{{\"defaultErrnoRet\": {number}, "), 1);
    let folder = Folder::with(&[
        ("one.json", &with(1)),
        ("other.json", &with(38)),
        ("w.yaml", WRITE_OBJECT),
    ]);
    let answer = folder.run("convert --to object -p one -o one.yaml one.json");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(!folder.read("one.yaml").contains("rrno"));
    assert_eq!(folder.run("diff one.json one.yaml").code, 0);
    let answer = folder.run("merge w.yaml one.json");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    for words in [
        "convert --to object -p other other.json",
        "merge w.yaml other.json",
    ] {
        let answer = folder.run(words);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{words}");
        for told in ["no field for `defaultErrnoRet: 38`", "`errnoRet: 38`"] {
            assert!(answer.stderr.contains(told), "{words}: {}", answer.stderr);
        }
    }
    assert_eq!(folder.run("merge other.json w.yaml").code, 0);
}

#[test]
fn policy_text_is_linted_and_not_empty() {
    let folder = Folder::with(&[
        ("x.apparmor", "profile x {\n  capability bpf,\n}\n"),
        ("x.cil", "(block x (type other))\n"),
        ("empty.cil", "; nothing\n"),
        ("empty.apparmor", "# nothing\n"),
    ]);
    for (file, told) in [
        ("x.apparmor", "warning[broad-capability]"),
        ("x.cil", "warning[no-process]"),
    ] {
        assert_eq!(folder.run(&format!("check {file}")).code, 0);
        let answer = folder.run(&format!("check --strict {file}"));
        assert_eq!(answer.code, 1);
        assert!(answer.stdout.contains(told), "{}", answer.stdout);
    }
    for (file, told) in [
        ("empty.cil", "there is nothing in the file"),
        ("empty.apparmor", "there is no profile in the file"),
    ] {
        let answer = folder.run(&format!("check {file}"));
        assert_eq!(answer.code, 1);
        assert!(answer.stdout.contains(told), "{}", answer.stdout);
    }
}

#[test]
fn several_profiles_in_a_file_are_checked() {
    let two = "profile a {\n  /a r,\n}\nprofile b {\n  /b q,\n}\n";
    let folder = Folder::with(&[("two", two), ("good", &two.replace('q', "r"))]);
    let answer = folder.run("check two");
    assert_eq!(answer.code, 1);
    assert!(answer.stdout.contains("two:5:6"), "{}", answer.stdout);
    let answer = folder.run("check good");
    assert_eq!(answer.code, 0, "{}", answer.stdout);
    for words in ["diff good good", "convert good", "merge good good"] {
        let answer = folder.run(words);
        assert_ne!(answer.code, 0);
        let told = "several profiles: give one per file";
        assert!(answer.stderr.contains(told), "{words}: {}", answer.stderr);
    }
}

#[test]
fn both_values_of_a_field_are_told() {
    let disabled = |text: &str| text.replace("spec:\n", "spec:\n  state: Disabled\n");
    let apparmor = OLD.replace("v1alpha1", "v1");
    let apparmor = apparmor.replace("  complainMode: true\n", "");
    let complaining = apparmor.replace("spec:\n", "spec:\n  mode: Complain\n");
    let selinux = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: SelinuxProfile\n\
                   metadata:\n  name: se\nspec:\n  allow: {}\n";
    let based = WRITE_OBJECT.replace("spec:\n", "spec:\n  baseProfileName: runc\n");
    let folder = Folder::with(&[
        ("s.yaml", WRITE_OBJECT),
        ("s-off.yaml", &disabled(WRITE_OBJECT)),
        ("s-base.yaml", &based),
        ("a.yaml", &apparmor),
        ("a-off.yaml", &disabled(&apparmor)),
        ("a-complain.yaml", &complaining),
        ("se-off.yaml", &disabled(selinux)),
    ]);
    for (words, told) in [
        ("diff s.yaml s-off.yaml", "state: `Enabled` -> `Disabled`"),
        (
            "diff s.yaml s-base.yaml",
            "baseProfileName: nothing -> `runc`",
        ),
        (
            "diff a.yaml a-off.yaml",
            "the state is Enabled in A and Disabled in B: B is not installed",
        ),
        (
            "diff a-off.yaml a.yaml",
            "the state is Disabled in A and Enabled in B: A is not installed",
        ),
        (
            "diff a.yaml a-complain.yaml",
            "the mode is Enforce in A and Complain in B: B denies nothing, and only logs",
        ),
    ] {
        let answer = folder.run(words);
        assert_eq!(answer.code, 1, "{words}");
        assert!(answer.stdout.contains(told), "{words}: {}", answer.stdout);
    }
    for file in ["s-off.yaml", "a-off.yaml", "se-off.yaml"] {
        let answer = folder.run(&format!("convert {file}"));
        assert_eq!(answer.code, 0, "{file}: {}", answer.stderr);
        assert!(
            answer.stderr.contains("the profile is disabled"),
            "{file}: {}",
            answer.stderr
        );
    }
}

#[test]
fn what_enforcing_denies_without_the_annotation_is_named() {
    let logging = WRITE_OBJECT.replace("ERRNO", "LOG").replace(
        "[write]",
        "[write]\n  - action: SCMP_ACT_LOG\n    names: [bpf, mount]",
    );
    let folder = Folder::with(&[("l.yaml", &logging)]);
    let answer = folder.run("convert --enforce l.yaml");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    for told in [
        "there is no annotation spo.x-k8s.io/complain-of",
        "calls without a rule were logged, and are denied now",
        "bpf: was logged, and is denied now",
        "mount: was logged, and is denied now",
    ] {
        assert!(answer.stderr.contains(told), "{}", answer.stderr);
    }
}

#[test]
fn losses_that_nobody_can_read_stay_unknown() {
    let broken = WRITE_OBJECT.replace("lost: '2'", "lost: many");
    let folder = Folder::with(&[("known.yaml", WRITE_OBJECT), ("broken.yaml", &broken)]);
    for words in [
        "merge known.yaml broken.yaml",
        "merge broken.yaml known.yaml",
        "merge broken.yaml",
    ] {
        let merged = folder.run(&format!("{words} -o merged.yaml"));
        assert_eq!(merged.code, 0, "{}", merged.stderr);
        let merged = folder.read("merged.yaml");
        assert!(merged.contains("recording-lost: unknown"), "{merged}");
    }
    let again = folder.run("merge merged.yaml known.yaml").stdout;
    assert!(again.contains("recording-lost: unknown"), "{again}");
}

#[test]
fn merged_objects_say_what_all_recordings_say() {
    let object = |lost: &str, partial: &str| {
        OLD.replace("v1alpha1", "v1")
            .replace("  complainMode: true\n", "")
            .replace(
                "  name: old\n",
                &format!(
                    "  name: old\n  annotations:\n    spo.x-k8s.io/recording-lost: '{lost}'\n    \
                     spo.x-k8s.io/recording-partial: {partial}\n"
                ),
            )
    };
    let folder = Folder::with(&[
        ("a.yaml", &object("3", "one")),
        ("b.yaml", &object("4", "two")),
    ]);
    let merged = folder.run("merge a.yaml b.yaml").stdout;
    assert!(merged.contains("recording-lost: \"7\""), "{merged}");
    assert!(merged.contains("one; two"), "{merged}");
}

#[test]
fn too_many_documents_are_refused() {
    let folder = Folder::with(&[("many.yaml", &"---\na: b\n".repeat(2000))]);
    for words in ["check many.yaml", "convert --to object many.yaml"] {
        let answer = folder.run(words);
        assert_eq!(answer.code, 1);
        let told = format!("{}{}", answer.stdout, answer.stderr);
        assert!(told.contains("2000 documents"), "{told}");
    }
}
