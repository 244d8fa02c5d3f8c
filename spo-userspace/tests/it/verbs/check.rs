//! `spo check` on what folders and clusters hold, and on hostile files.

use std::io::Read as _;

use super::*;

/// What `kubectl get -o yaml` prints of several objects.
pub(super) const PRINTED: &str = "\
apiVersion: v1
items:
- apiVersion: security-profiles-operator.x-k8s.io/v1
  kind: SeccompProfile
  metadata:
    annotations:
      kubectl.kubernetes.io/last-applied-configuration: |
        {\"apiVersion\":\"security-profiles-operator.x-k8s.io/v1\",\"kind\":\"SeccompProfile\"}
    creationTimestamp: \"2026-01-31T12:00:00Z\"
    finalizers:
    - in-use-by-active-pods
    generation: 2
    managedFields:
    - apiVersion: security-profiles-operator.x-k8s.io/v1
      fieldsType: FieldsV1
      fieldsV1:
        f:metadata:
          f:annotations:
            .: {}
            f:kubectl.kubernetes.io/last-applied-configuration: {}
        f:spec:
          .: {}
          f:defaultAction: {}
      manager: kubectl-client-side-apply
      operation: Update
      time: \"2026-01-31T12:00:00Z\"
    name: printed
    resourceVersion: \"4711\"
    uid: 8a1bd1a3-6c0f-4c3e-9d6f-3c6f4f3a2b11
  spec:
    defaultAction: SCMP_ACT_ERRNO
    syscalls:
    - action: SCMP_ACT_ALLOW
      names:
      - read
  status:
    conditions:
    - lastTransitionTime: \"2026-01-31T12:00:01Z\"
      reason: Available
      status: \"True\"
      type: Ready
    localhostProfile: operator/printed.json
    status: Installed
- apiVersion: v1
  kind: Pod
  metadata:
    name: foreign
kind: List
metadata:
  resourceVersion: \"\"
";

fn problems(answer: &Answer) -> Vec<Value> {
    let report: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    report["problems"].as_array().expect("a list").clone()
}

fn places(answer: &Answer) -> Vec<String> {
    let place = |problem: &Value| {
        let file = problem["file"].as_str().expect("text");
        format!("{file}:{}:{}", problem["line"], problem["column"])
    };
    problems(answer).iter().map(place).collect()
}

#[test]
fn what_kubectl_prints_is_read() {
    let broken = PRINTED.replace("SCMP_ACT_ERRNO", "SCMP_ACT_ERNO");
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
{"apiVersion": "security-profiles-operator.x-k8s.io/v1", "kind": "ProfileRecording",
"metadata": {"name": "r"}, "spec": {"kind": "SecompProfile", "podSelector": {}}}]}"#;
    let folder = Folder::with(&[
        ("printed.yaml", PRINTED),
        ("broken.yaml", &format!("{POD}---\n{broken}")),
        ("list.json", json),
    ]);
    let answer = folder.run("check printed.yaml");
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""));
    assert!(answer.stderr.contains("1 file: 0 errors, 0 warnings"));
    let answer = folder.run("check --allow same-object -o json broken.yaml list.json");
    assert_eq!(places(&answer), ["broken.yaml:36:20", "list.json:3:45"]);
    let answer = folder.run("diff printed.yaml printed.yaml");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
}

/// An object of ours that hardly says so is not somebody else's: nothing would be told of it.
#[test]
fn slips_of_the_pen_are_told() {
    const VERSION: &str = "apiVersion: security-profiles-operator.x-k8s.io/v1\n";
    for (from, to, place, told) in [
        (VERSION, "", "15:1", "missing field `apiVersion`"),
        (
            VERSION,
            "apiVersion: v1\n",
            "15:13",
            "unknown API version `v1`",
        ),
        (
            "profiles-operator",
            "profile-operator",
            "15:13",
            "unknown API version",
        ),
        (
            "kind: Sec",
            "kind: Sek",
            "16:7",
            "did you mean `SeccompProfile`?",
        ),
        (
            "kind: SeccompProfile",
            "kind: SELinuxProfile",
            "16:7",
            "did you mean `SelinuxProfile`?",
        ),
        (
            "kind: SeccompProfile",
            "kind: Seccomp",
            "16:7",
            "SeccompProfile, ",
        ),
    ] {
        let other = WRITE_OBJECT
            .replace("name: web", "name: other")
            .replace(from, to);
        let folder = Folder::with(&[("x.yaml", &format!("{WRITE_OBJECT}---\n{other}"))]);
        let answer = folder.run("check -o json x.yaml");
        assert_eq!(answer.code, 1, "{to}");
        assert_eq!(places(&answer), [format!("x.yaml:{place}")], "{to}");
        assert!(answer.stdout.contains(told), "{to}: {}", answer.stdout);
    }
    // Whoever has a kind of that name in another group means that one.
    let other = WRITE_OBJECT.replace("security-profiles-operator.x-k8s.io", "example.org");
    let folder = Folder::with(&[("x.yaml", &format!("{WRITE_OBJECT}---\n{other}"))]);
    assert_eq!(folder.run("check x.yaml").code, 0);
}

#[test]
fn numbers_and_json_that_others_would_take_are_explained() {
    let octal = WRITE_OBJECT.replace(
        "names: [write]",
        "names: [chmod]\n    args: [{index: 1, value: 0644, op: SCMP_CMP_EQ}]",
    );
    let comments = READ.replace("\"syscalls\"", "/* the calls */ \"syscalls\"");
    let folder = Folder::with(&[("octal.yaml", &octal), ("comments.json", &comments)]);
    let answer = folder.run("check octal.yaml");
    assert!(answer.stdout.contains("a leading 0"), "{}", answer.stdout);
    // YAML, and so JSON, could have such a key: the profile would be one without rules.
    let answer = folder.run("check comments.json");
    assert_eq!(answer.code, 1);
    assert!(
        answer.stdout.contains("JSON has no comments"),
        "{}",
        answer.stdout
    );
}

/// Container engines' profiles are for all machines, also for those that spo does not know.
#[test]
fn engines_know_more_architectures() {
    let profile = |architecture: &str| {
        let map = format!("{{\"archMap\": [{{\"architecture\": \"{architecture}\"}}], ");
        READ.replacen('{', &map, 1)
    };
    let folder = Folder::with(&[
        ("other.json", &profile("SCMP_ARCH_LOONGARCH64")),
        ("wrong.json", &profile("SCMP_ARCH_X87")),
    ]);
    let answer = folder.run("check other.json");
    assert_eq!(answer.code, 0, "{}", answer.stdout);
    assert!(answer.stdout.contains("passed over"), "{}", answer.stdout);
    assert_eq!(folder.run("check wrong.json").code, 1);
}

/// A wrong path in a script must not look like a clean result.
#[test]
fn a_folder_without_profiles_is_not_clean() {
    let folder = Folder::with(&[("d/values.yaml", "a: 1\n")]);
    let answer = folder.run("check d");
    assert_eq!(answer.code, 1);
    let told = "no profile was found";
    assert!(answer.stderr.contains(told), "{}", answer.stderr);
}

#[test]
fn lists_are_bounded_and_silenced() {
    let item = "- apiVersion: security-profiles-operator.x-k8s.io/v1\n  kind: SeccompProfile\n";
    let many = format!("apiVersion: v1\nkind: List\nitems:\n{}", item.repeat(1001));
    let printed = PRINTED.replace("    status: Installed\n", "    status: Installed\n  x: y\n");
    let silenced = format!("{PRINTED}# spo: allow(missing-futex, missing-exit-group)\n");
    let folder = Folder::with(&[
        ("many.yaml", &many),
        ("x.yaml", &printed),
        ("silenced.yaml", &silenced),
    ]);
    let answer = folder.run("check many.yaml");
    assert!(answer.stdout.contains("1001 objects"), "{}", answer.stdout);
    let answer = folder.run("check -o json x.yaml");
    assert_eq!(places(&answer), ["x.yaml:44:3"]);
    let answer = folder.run("check --strict silenced.yaml");
    assert!(
        !answer.stdout.contains("missing-futex"),
        "{}",
        answer.stdout
    );
}

#[test]
fn two_objects_of_one_name() {
    let recording = |namespace: &str| {
        format!(
            "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: ProfileRecording\n\
             metadata:\n  name: r\n  namespace: {namespace}\nspec:\n  kind: SeccompProfile\n  \
             podSelector: {{}}\n"
        )
    };
    let other = WRITE_OBJECT.replace("name: web", "name: other");
    let folder = Folder::with(&[
        (
            "twice.yaml",
            &format!("{WRITE_OBJECT}---\n{other}---\n{WRITE_OBJECT}"),
        ),
        ("a.yaml", WRITE_OBJECT),
        (
            "spaces.yaml",
            &format!("{}---\n{}", recording("a"), recording("b")),
        ),
        ("again.yaml", &recording("a")),
        (
            "silenced.yaml",
            &format!("# spo: allow(same-object)\n{WRITE_OBJECT}"),
        ),
    ]);
    let answer = folder.run("check twice.yaml");
    assert_eq!(answer.code, 1);
    for text in [
        "error[same-object]: there is another SeccompProfile `web`",
        "twice.yaml:32:9",
        "the first is at twice.yaml:4:9",
    ] {
        assert!(answer.stdout.contains(text), "{text}: {}", answer.stdout);
    }
    let told = folder
        .run("check a.yaml twice.yaml silenced.yaml again.yaml")
        .stdout;
    assert_eq!(told.matches("error[same-object]").count(), 1, "{told}");
    let bad = WRITE_OBJECT.replace("ERRNO", "ERNO");
    fs::write(folder.path("bad.yaml"), bad).expect("a file");
    let told = folder.run("check bad.yaml twice.yaml").stdout;
    // A blank line between the files.
    assert_eq!(told.matches("\n\nerror").count(), 1, "{told}");
    let answer = folder.run("check -o json a.yaml twice.yaml");
    assert_eq!(places(&answer), ["twice.yaml:32:9"]);
    assert_eq!(folder.run("check spaces.yaml").code, 0);
    // Of another file, it is advice.
    assert_eq!(folder.run("check spaces.yaml again.yaml").code, 0);
    let told = folder.run("check --strict spaces.yaml again.yaml").stdout;
    assert!(told.contains("warning[same-object]"), "{told}");
    // The same file is no second one.
    assert_eq!(folder.run("check a.yaml ./a.yaml").code, 0);
    assert_eq!(folder.run("check --allow same-object twice.yaml").code, 0);
    assert_eq!(folder.run("check a.yaml silenced.yaml").code, 0);
}

#[test]
fn charts_and_kustomizations_are_passed_over() {
    let group = "security-profiles-operator.x-k8s.io";
    let kustomization = format!("resources: [a.yaml]\npatches:\n- target: {{group: {group}}}\n");
    let values = "profile:\n  defaultAction: SCMP_ACT_ERRNO\n";
    let template = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: SeccompProfile\n\
                    metadata:\n  name: {{ .Release.Name }}\nspec:\n  {{- toYaml .x }}\n";
    let alternatives = OLD
        .replace("/etc/passwd", "'/{{a,b},c}'")
        .replace("name: old", "name: O");
    let folder = Folder::with(&[
        ("d/kustomization.yaml", &kustomization),
        ("d/values.yaml", values),
        ("d/templates/p.yaml", template),
        ("d/good.yaml", WRITE_OBJECT),
    ]);
    let answer = folder.run("check d");
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""));
    let sum = "1 file: 0 errors, 0 warnings; 2 files without a profile, passed over; \
               1 file with templates, passed over";
    assert!(answer.stderr.contains(sum), "{}", answer.stderr);
    for (words, told) in [
        ("check d/kustomization.yaml", "this is no seccomp profile"),
        ("check d/values.yaml", "this is no seccomp profile"),
        ("check d/templates/p.yaml", "error"),
    ] {
        let answer = folder.run(words);
        assert_eq!(answer.code, 1, "{words}");
        assert!(answer.stdout.contains(told), "{words}: {}", answer.stdout);
    }
    // A real error is told, also beside a template in another document, and beside two braces.
    fs::write(
        folder.path("d/good.yaml"),
        format!("{template}---\n{alternatives}"),
    )
    .expect("a file");
    let answer = folder.run("check d");
    assert_eq!(answer.code, 1);
    assert!(
        answer.stdout.contains("`O` cannot be an object's name"),
        "{}",
        answer.stdout
    );
}

#[test]
fn a_folder_too_deep_does_not_end_the_check() {
    let folder = Folder::with(&[("d/a.yaml", WRITE_OBJECT)]);
    let mut deep = folder.path("d");
    (0..70).for_each(|_| deep.push("x"));
    fs::create_dir_all(&deep).expect("folders");
    let bad = WRITE_OBJECT.replace("ERRNO", "ERNO");
    fs::write(folder.path("d/z.yaml"), bad.replace("web", "z")).expect("a file");
    let answer = folder.run("check -o json d");
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    let problems = problems(&answer);
    assert_eq!(problems.len(), 2, "{problems:?}");
    let message = problems[0]["message"].as_str().expect("text");
    assert!(message.contains("folders nest deeper than 64"), "{message}");
    assert!(
        answer.stderr.contains("2 files: 2 errors"),
        "{}",
        answer.stderr
    );
}

#[test]
fn sarif_says_where_files_are() {
    let bad = READ.replace("ERRNO", "ERNO");
    let folder = Folder::with(&[("in/a b.json", &bad), ("out/c.json", &bad)]);
    let uris = |words: &[&str]| {
        let answer = Command::new(SPO)
            .args(["check", "-o", "sarif"])
            .args(words)
            .current_dir(folder.path("in"))
            .output()
            .expect("spo runs");
        let log: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
        let results = log["runs"][0]["results"]
            .as_array()
            .expect("a list")
            .clone();
        let uri = |result: &Value| {
            let place = &result["locations"][0]["physicalLocation"];
            place["artifactLocation"]["uri"]
                .as_str()
                .expect("text")
                .to_owned()
        };
        results.iter().map(uri).collect::<Vec<_>>()
    };
    let inside = folder.path("in/a b.json").canonicalize().expect("a path");
    let outside = folder.path("out/c.json").canonicalize().expect("a path");
    let outside = format!("file://{}", outside.to_str().expect("text"));
    assert_eq!(uris(&["."]), ["a%20b.json"]);
    assert_eq!(uris(&[inside.to_str().expect("text")]), ["a%20b.json"]);
    assert_eq!(uris(&["../out"]), [outside.as_str()]);
    assert_eq!(
        uris(&["../in/a b.json", "../out/c.json"]),
        ["a%20b.json", &outside]
    );
}

/// What `spo check` prints on a terminal.
fn on_terminal(folder: &Folder, variables: &[(&str, &str)]) -> String {
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut child = Command::new(SPO)
        .args(["check", "bad.json"])
        .current_dir(folder.0.path())
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(variables.iter().copied())
        .stdout(terminal.slave)
        .stderr(Stdio::null())
        .spawn()
        .expect("spo runs");
    let mut text = Vec::new();
    // The other end is gone when the command is: that is an error on a terminal.
    let _ended = fs::File::from(terminal.master)
        .read_to_end(&mut text)
        .is_err();
    child.wait().expect("it ends");
    String::from_utf8(text).expect("text")
}

#[test]
fn colours_can_be_switched_off() {
    let folder = Folder::with(&[("bad.json", &READ.replace("ERRNO", "ERNO"))]);
    for (variables, colours) in [
        (&[][..], true),
        (&[("NO_COLOR", "1")], false),
        (&[("NO_COLOR", "")], true),
        (&[("TERM", "dumb")], false),
    ] {
        let text = on_terminal(&folder, variables);
        assert!(text.contains("is not an action"), "{text}");
        assert_eq!(text.contains('\u{1b}'), colours, "{variables:?}: {text}");
    }
}

#[test]
fn line_ends_and_directives() {
    let bad = WRITE_OBJECT.replace("ERRNO", "ERNO");
    let next = bad.replace("name: web", "name: next");
    let manifest = format!("%YAML 1.2\n---\n{bad}...\n# next\n%YAML 1.2\n---\n{next}");
    let folder = Folder::with(&[
        ("lf.yaml", &manifest),
        ("crlf.yaml", &manifest.replace('\n', "\r\n")),
        ("mark.yaml", &format!("\u{feff}{manifest}")),
    ]);
    for name in ["lf.yaml", "crlf.yaml", "mark.yaml"] {
        let answer = folder.run(&format!("check -o json {name}"));
        let expected = [format!("{name}:12:18"), format!("{name}:29:18")];
        assert_eq!(places(&answer), expected, "{}", answer.stdout);
        let shown = folder.run(&format!("check {name}")).stdout;
        assert!(
            shown.contains("12 |   defaultAction: SCMP_ACT_ERNO\n"),
            "{shown}"
        );
        assert!(
            shown.contains("   |                  ^^^^^^^^^^^^^\n"),
            "{shown}"
        );
    }
}

#[test]
fn what_is_wrong_is_told_once() {
    let policy = OLD.replace("  complainMode: true\n", "  policy: text\n");
    let number = WRITE_OBJECT
        .replace("/v1", "/v1beta1")
        .replace("    names", "    errnoRet: many\n    names");
    let raw = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: RawSelinuxProfile\n\
               metadata:\n  name: raw\nspec:\n  policy: POLICY\n";
    let folder = Folder::with(&[
        ("policy.yaml", &policy),
        ("number.yaml", &number),
        ("raw1.yaml", &raw.replace("POLICY", "[a]")),
        ("raw2.yaml", &raw.replace("POLICY", "''")),
    ]);
    for name in ["policy.yaml", "number.yaml", "raw1.yaml", "raw2.yaml"] {
        let answer = folder.run(&format!("check -o json {name}"));
        let all = problems(&answer);
        let errors = all.iter().filter(|told| told["severity"] == "error");
        assert_eq!(errors.count(), 1, "{name}: {}", answer.stdout);
    }
}

#[test]
fn standard_input_is_read_once() {
    let folder = Folder::with(&[("a.json", READ)]);
    for words in ["check - -", "merge - a.json -", "diff - -"] {
        let answer = folder.run(words);
        assert_eq!(answer.code, 2, "{words}: {}", answer.stderr);
        assert!(
            answer.stderr.contains("can be read only once"),
            "{}",
            answer.stderr
        );
    }
}

fn many(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect()
}

/// Hostile files end soon: the time is in proportion to the size, and so much is told and no more.
#[test]
fn hostile_files_end_soon() {
    let lints = WRITE_OBJECT.replace("names: [write]", "names: [ptrace, open, bpf]");
    let documents = many(990, |n| {
        format!("---\n{}", lints.replace("web", &format!("p{n}")))
    });
    let mistakes = many(150, |n| format!("  x{n}: y\n"));
    let wrong = many(990, |n| {
        format!("---\n{}{mistakes}", lints.replace("web", &format!("p{n}")))
    });
    let names = many(20_000, |n| format!("\"opennat{n}\","));
    let line = format!(
        "{{\"defaultAction\": \"SCMP_ACT_LOG\", \"x\": \"{}\", \"syscalls\": [{{\"action\": \
         \"SCMP_ACT_ALLOW\", \"names\": [{names} \"read\"]}}]}}",
        "x".repeat(3 << 20)
    );
    let rules = many(14_000, |n| {
        format!(
            "{{\"action\": \"SCMP_ACT_ALLOW\", \"names\": [\"read\"], \"args\": [{{\"index\": 0, \
             \"value\": {n}, \"op\": \"SCMP_CMP_EQ\"}}]}},"
        )
    });
    let rules = format!(
        "{{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{}]}}",
        rules.trim_end_matches(',')
    );
    let folder = Folder::with(&[
        // Each rule looked at all others for the same call.
        ("rules.json", &rules),
        // A comment was looked for once a document.
        (
            "comments.yaml",
            &format!("{}{documents}", "# spo: no\n# x\n".repeat(100_000)),
        ),
        ("wrong.yaml", &wrong),
        // The line was looked at once a problem.
        ("line.json", &line),
        ("large.yaml", &wrong.repeat(5)),
    ]);
    for (name, most) in [
        ("rules.json", 3),
        ("comments.yaml", 1001),
        ("wrong.yaml", 2100),
        ("line.json", 202),
        ("large.yaml", 1),
    ] {
        for form in ["human", "json", "sarif"] {
            let answer = folder.run(&format!("check --strict -o {form} {name}"));
            assert_eq!(answer.code, 1, "{name}");
            if form == "json" {
                assert!(
                    problems(&answer).len() <= most,
                    "{name}: {}",
                    problems(&answer).len()
                );
            }
        }
    }
    let told = folder.run("check wrong.yaml").stdout;
    assert!(told.contains("the file has 1000 errors or more: the rest is not looked at"));
}
