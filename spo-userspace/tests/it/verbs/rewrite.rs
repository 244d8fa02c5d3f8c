//! What merge and convert keep of a file that they write anew, and where they write.

use super::check::PRINTED;
use super::*;

#[test]
fn lost_comments_are_told() {
    let silenced = format!("{WRITE_OBJECT}# spo: allow(libc-drift)\n# other\n");
    let old = format!("# spo: allow(broad-write)\n{OLD}");
    let folder = Folder::with(&[
        ("w.yaml", &silenced),
        ("r.json", READ),
        ("all.yaml", &format!("{old}---\n{silenced}")),
    ]);
    for words in [
        "merge w.yaml r.json",
        "merge r.json w.yaml",
        "convert w.yaml",
    ] {
        let answer = folder.run(words);
        assert_eq!(answer.code, 0, "{words}: {}", answer.stderr);
        let told = "comments of w.yaml are not kept, and among them is `spo: allow(libc-drift)`";
        assert!(answer.stderr.contains(told), "{words}: {}", answer.stderr);
    }
    for words in [
        "merge --check w.yaml r.json",
        "diff w.yaml r.json",
        "merge r.json r.json",
    ] {
        let answer = folder.run(words);
        assert!(
            !answer.stderr.contains("not kept"),
            "{words}: {}",
            answer.stderr
        );
    }
    // Only what is converted is written anew.
    let answer = folder.run("convert --to object all.yaml");
    assert!(
        answer.stderr.contains("`spo: allow(broad-write)`"),
        "{}",
        answer.stderr
    );
    assert!(answer.stdout.ends_with("# other\n"), "{}", answer.stdout);
}

#[test]
fn the_name_of_the_output_makes_it_json() {
    let folder = Folder::with(&[
        ("w.yaml", WRITE_OBJECT),
        ("r.json", READ),
        ("old.yaml", OLD),
    ]);
    for (words, name) in [
        ("merge -o m.json w.yaml r.json", "m.json"),
        ("convert --to object -p x -o c.json r.json", "c.json"),
        ("convert --to object -o o.json old.yaml", "o.json"),
    ] {
        let answer = folder.run(words);
        assert_eq!(answer.code, 0, "{words}: {}", answer.stderr);
        let object: Value = serde_json::from_str(&folder.read(name)).expect("JSON");
        assert!(object["metadata"]["name"].is_string(), "{object}");
        assert_eq!(folder.run(&format!("check {name}")).code, 0);
    }
    assert_eq!(folder.run("diff w.yaml m.json").code, 1);
    let answer = folder.run("merge m.json r.json");
    assert!(
        answer.stdout.starts_with("apiVersion:"),
        "{}",
        answer.stdout
    );
}

#[test]
fn links_are_not_written_through() {
    let folder = Folder::with(&[("a.json", READ), ("real.json", "before"), ("sub/x", "")]);
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, folder.path(name)).expect("a link");
    };
    link("real.json", "link.json");
    link("gone.json", "dangling.json");
    link("/dev/null", "null");
    for (name, target) in [("link.json", "real.json"), ("dangling.json", "gone.json")] {
        for verb in ["merge", "convert"] {
            let answer = folder.run(&format!("{verb} -o {name} a.json"));
            assert_eq!(answer.code, 1, "{}", answer.stderr);
            let told =
                format!("{name} is a symbolic link: name the file that it leads to ({target})");
            assert!(answer.stderr.contains(&told), "{}", answer.stderr);
        }
    }
    assert_eq!(folder.read("real.json"), "before");
    assert!(!folder.path("gone.json").exists());
    assert_eq!(folder.run("merge -o null a.json").code, 0);
    let answer = folder.run("merge -o /dev/stdout a.json");
    assert!(answer.stdout.contains("read"), "{}", answer.stderr);
}

#[test]
fn what_a_cluster_says_is_left_out() {
    let first = PRINTED.lines().skip(2);
    let first = first.take_while(|line| *line != "- apiVersion: v1");
    let lines: Vec<_> = first.map(|line| &line[2..]).collect();
    let one = format!("{}\n", lines.join("\n"));
    let old = PRINTED.replace("x-k8s.io/v1\n", "x-k8s.io/v1beta1\n");
    let folder = Folder::with(&[
        ("list.yaml", PRINTED),
        ("one.yaml", &one),
        ("old.yaml", &old),
    ]);
    let noise = [
        "managedFields",
        "uid",
        "status",
        "resourceVersion: \"4711\"",
        "last-applied",
    ];
    for words in [
        "convert --to object list.yaml",
        "convert --to object one.yaml",
        "convert --to object old.yaml",
        "convert --to object -p printed one.yaml",
        "merge one.yaml",
        "merge list.yaml one.yaml",
    ] {
        let answer = folder.run(words);
        assert_eq!(answer.code, 0, "{words}: {}", answer.stderr);
        assert!(
            answer.stdout.contains("name: printed"),
            "{words}: {}",
            answer.stdout
        );
        for noise in noise {
            assert!(
                !answer.stdout.contains(noise),
                "{words}: {noise} in {}",
                answer.stdout
            );
        }
    }
    let list = folder.run("convert --to object old.yaml").stdout;
    assert!(
        list.contains("kind: List") && list.contains("name: foreign"),
        "{list}"
    );
    assert!(!list.contains("v1beta1"), "{list}");
}

#[test]
fn manifests_stay_documents() {
    let manifest = format!(
        "# licence\n---\n{OLD}---\n{POD}...\n%YAML 1.2\n---\n{}...\n%YAML 1.2\n---\n{}",
        OLD.replace("name: old", "name: older"),
        WRITE_OBJECT
    );
    let folder = Folder::with(&[
        ("all.yaml", &manifest),
        ("crlf.yaml", &manifest.replace('\n', "\r\n")),
    ]);
    for name in ["all.yaml", "crlf.yaml"] {
        let answer = folder.run(&format!("convert --to object -o {name} {name}"));
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        let text = folder.read(name);
        let kinds = text.lines().filter(|line| line.starts_with("kind: "));
        assert_eq!(kinds.count(), 4, "{text}");
        assert_eq!(text.matches("---").count(), 3, "{text}");
        let answer = folder.run(&format!(
            "check --strict --allow missing-futex,missing-exit-group,libc-drift,errno-enosys {name}"
        ));
        assert_eq!(answer.code, 0, "{}", answer.stdout);
    }
}
