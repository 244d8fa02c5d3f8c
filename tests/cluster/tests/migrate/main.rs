//! `spo migrate`, as a service account with the role of `docs/api.md` and no other.

mod old;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::crd::Kind;
use spo_cluster_tests::files::folder;
use spo_cluster_tests::objects::{create, get, lost, replace};

use self::old::{CRDS, GROUP, Old, definition_path};

const DAEMONS: &str = "securityprofilesoperatordaemons";

#[tokio::test]
async fn a_dry_run_changes_nothing_and_a_run_loses_nothing() -> Result<()> {
    let old = Old::install().await?;
    let before = old.everything().await?;
    let dry = old.spo(&["--dry-run"])?;
    assert!(dry.status.success(), "{}", said(&dry));
    let table = String::from_utf8_lossy(&dry.stdout).into_owned();
    for expected in [
        "spec.disabled is `spec.state: Disabled` now",
        "spec.permissive is `spec.mode: Permissive` now",
        "spec.complainMode is `spec.mode: Complain` now",
        "spec.recorder is `Bpf` now",
        "nodeName is `spec.nodeName: node-1` now",
        "spec.enableSelinux is `spec.selinux.enable` now",
    ] {
        assert!(table.contains(expected), "{expected} is not in:\n{table}");
    }
    let json: Value = serde_json::from_slice(&old.spo(&["--dry-run", "-o", "json"])?.stdout)?;
    assert_eq!(json["objects"].as_array().map(Vec::len), Some(7));
    assert_eq!(old.everything().await?, before);

    let backup = old.backup("backup");
    let run = old.spo(&["--backup", &backup])?;
    assert!(run.status.success(), "{}", said(&run));
    assert!(
        !String::from_utf8_lossy(&run.stdout).contains("NO"),
        "{}",
        said(&run)
    );
    old.is_migrated().await?;
    // What was there before is all in the backup.
    for object in &before {
        let file = old.backed_up("backup", object);
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut kept = object.clone();
        for own in ["uid", "resourceVersion", "managedFields"] {
            kept["metadata"][own] = Value::Null;
        }
        assert_eq!(lost(&kept, &serde_saphyr::from_str(&text)?), [""; 0]);
    }

    let after = old.everything().await?;
    let again = old.spo(&["--backup", &backup])?;
    assert!(again.status.success(), "{}", said(&again));
    assert!(said(&again).contains("nothing to do"), "{}", said(&again));
    assert_eq!(old.everything().await?, after);

    old.restore("backup", &before).await?;
    old.remove().await
}

#[tokio::test]
async fn what_cannot_be_converted_stops_everything() -> Result<()> {
    let old = Old::install().await?;
    let path = format!("/apis/{GROUP}/v1beta1/seccompprofiles");
    let bad = |name: &str, spec: Value| {
        json!({
            "apiVersion": format!("{GROUP}/v1beta1"),
            "kind": "SeccompProfile",
            "metadata": { "name": name },
            "spec": spec,
        })
    };
    for object in [
        bad("bad-action", json!({ "defaultAction": "SCMP_ACT_ALOW" })),
        bad(
            "bad-path",
            json!({ "defaultAction": "SCMP_ACT_LOG", "listenerPath": "/tmp/x" }),
        ),
    ] {
        create(&old.admin, &path, &object).await??;
    }
    let before = old.everything().await?;
    for arguments in [
        vec!["--dry-run".to_owned()],
        vec!["--backup".to_owned(), old.backup("bad")],
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let run = old.spo(&arguments)?;
        assert_eq!(run.status.code(), Some(1), "{}", said(&run));
        for expected in [
            "bad-action",
            "bad-path",
            "SCMP_ACT_ALOW",
            "spec.listenerPath",
        ] {
            assert!(said(&run).contains(expected), "{}", said(&run));
        }
    }
    assert_eq!(old.everything().await?, before);
    assert!(!std::path::Path::new(&old.backup("bad")).exists());
    old.remove().await
}

#[tokio::test]
async fn what_was_interrupted_is_finished_by_the_next_run() -> Result<()> {
    let old = Old::install().await?;
    // A backup that is there already is never touched.
    std::fs::create_dir(old.backup("taken"))?;
    let run = old.spo(&["--backup", &old.backup("taken")])?;
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert!(said(&run).contains("exists already"), "{}", said(&run));

    // Killed after the first of two profiles.
    let mut child = old
        .command(&["--backup", &old.backup("killed")])
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("a pipe")?).lines();
    let first = lines.find(|line| {
        line.as_ref()
            .is_ok_and(|line| line.contains("SeccompProfile") && line.ends_with("is in v1"))
    });
    child.kill()?;
    child.wait()?;
    first.context("no object was written")??;
    let crd = get(&old.admin, &definition_path("seccompprofiles")).await?;
    let versions = &crd.context("the definition is gone")?["status"]["storedVersions"];
    assert_eq!(versions, &json!(["v1beta1", "v1"]), "was killed too late");

    // Not permitted to write one kind.
    old.permit(|rule| {
        rule["resources"]
            .as_array()
            .is_none_or(|names| !names.contains(&json!(DAEMONS)))
    })
    .await?;
    old.permit_only(DAEMONS, &["get", "list"]).await?;
    let run = old.spo(&["--backup", &old.backup("forbidden")])?;
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    for expected in [DAEMONS, "not finished: AppArmorProfile", "NO "] {
        assert!(said(&run).contains(expected), "{}", said(&run));
    }

    old.permit(|_| true).await?;
    let run = old.spo(&["--backup", &old.backup("finished")])?;
    assert!(run.status.success(), "{}", said(&run));
    old.is_migrated().await?;
    old.remove().await
}

/// Release 1.0 shows objects without the fields of 0.10.1, and its webhook fails.
#[tokio::test]
async fn hidden_fields_come_back() -> Result<()> {
    let old = Old::install().await?;
    let path = definition_path(DAEMONS);
    let mut crd = get(&old.admin, &path).await?.context("no definition")?;
    let ours = folder("deploy/crds")?;
    let ours = ours.iter().find(|file| file.name.contains(DAEMONS));
    let v1 = ours.context("no definition of ours")?.object["spec"]["versions"][0].clone();
    let mut v1alpha1 = v1.clone();
    v1alpha1["name"] = json!("v1alpha1");
    v1alpha1["storage"] = json!(false);
    crd["spec"]["versions"] = json!([v1, v1alpha1]);
    crd["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": { "url": "https://127.0.0.1:1/convert" },
        },
    });
    replace(&old.admin, &path, &crd).await??;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let shown = Kind::of(&crd)?.path("v1alpha1", Some(&old.namespace));
    let shown = get(&old.admin, &format!("{shown}/spod")).await?;
    ensure!(
        shown.is_some_and(|spod| spod["spec"]["enableSelinux"].is_null()),
        "the field is not hidden"
    );

    let run = old.spo(&["--backup", &old.backup("hidden")])?;
    assert!(run.status.success(), "{}", said(&run));
    old.is_migrated().await?;
    let stored = std::fs::read_dir(format!("{}/stored", old.backup("hidden")))?;
    assert!(stored.count() >= 1, "what was hidden is not in the backup");
    old.remove().await
}

#[tokio::test]
async fn profiles_in_namespaces_are_refused_with_advice() -> Result<()> {
    let old = Old::install().await?;
    let path = definition_path("apparmorprofiles");
    let mut crd = old.remove_definition("apparmorprofiles").await?;
    crd["spec"]["scope"] = json!("Namespaced");
    create(&old.admin, CRDS, &crd).await??;
    let before = get(&old.admin, &path).await?;
    let run = old.spo(&["--backup", &old.backup("namespaced")])?;
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert!(
        said(&run).contains("kubectl get apparmorprofiles -A -o yaml"),
        "{}",
        said(&run)
    );
    let after = get(&old.admin, &path).await?;
    let spec = |crd: Option<Value>| crd.map(|crd| crd["spec"].clone());
    assert_eq!(spec(before), spec(after));
    old.remove().await
}

fn said(output: &Output) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let (stdout, stderr) = (
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr),
    );
    format!("{status}\n{stdout}\n{stderr}")
}

impl Old {
    fn command(&self, arguments: &[&str]) -> Command {
        let binary = std::env::var_os("SPO_BIN")
            .expect("SPO_BIN names the binary: run cargo xtask test cluster");
        let mut command = Command::new(binary);
        command
            .arg("migrate")
            .args(arguments)
            .env("KUBECONFIG", self.files.path().join("kubeconfig"))
            .stdin(Stdio::null());
        command
    }

    fn spo(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments)
            .output()
            .context("failed to run spo")
    }
}
