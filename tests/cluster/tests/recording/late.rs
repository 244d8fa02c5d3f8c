//! What a node's recorder does not write, with the rights of its roles and no others.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use spo::cluster::events::Events;
use spo::controller::recorder::{Done, Job, Outcome, Writer};
use spo::event::{Abi, Call, Losses, SubjectObservation};
use spo::profile::arch::Arch;
use spo::profile::{labels, syscalls};
use spo::recorder::cluster::{Output, RecordingKey};
use spo::recorder::{ANNOTATION_PREFIX, Settings, record};
use spo::telemetry::metrics::Metrics;
use spo_cluster_tests::access::{BINDINGS, ROLES, allow, service_account};
use spo_cluster_tests::files::documents;
use spo_cluster_tests::objects::{get, send};
use tokio::sync::mpsc::unbounded_channel;

use crate::{World, names};

/// As in `deploy/`, so that `rights` knows whose requests these are.
const ACCOUNT: &str = "spod";

/// A recorder hands in what it has of a pod when the server can be reached again; meanwhile the recording
/// was deleted by force, and made anew.
#[tokio::test]
async fn what_comes_late_of_an_earlier_recording_is_not_written() -> Result<()> {
    let world = World::new().await?;
    let role = format!("{}-node", world.name);
    let client = service_account(&world.admin, &world.name, ACCOUNT).await?;
    let mut rules = Vec::new();
    for file in ["daemon-role.yaml", "recorder-role.yaml"] {
        let all = documents(&format!("deploy/base/{file}"))?;
        let of = all.into_iter().next().context("no role")?["rules"].take();
        rules.extend(of.as_array().cloned().unwrap_or_default());
    }
    allow(&world.admin, (&world.name, ACCOUNT), &role, &json!(rules)).await?;
    let metrics = Metrics::new("")?;
    let events = Events::new(client.clone(), "test", metrics.events_over_budget());
    let writer = Writer::new(client, "node".to_owned(), events);
    let (jobs, to_write) = unbounded_channel();
    let (done, mut written) = unbounded_channel();
    let task = tokio::spawn(writer.run(to_write, done));
    let mut write = async |output: Output| -> Result<Outcome> {
        jobs.send(Job::Profile(Box::new(output)))?;
        let Some(Done { outcome, .. }) = written.recv().await else {
            bail!("the writer has ended");
        };
        Ok(outcome)
    };

    let found = get(&world.admin, &world.recording()).await?;
    let uid = |found: Option<Value>| -> Result<String> {
        let found = found.context("no recording")?;
        Ok(found["metadata"]["uid"]
            .as_str()
            .context("no uid")?
            .to_owned())
    };
    let now = uid(found)?;
    let earlier = output(&world, "00000000-0000-0000-0000-000000000000", "getpid")?;
    let app = world.profile("app");
    // An earlier one has the place until there is something of the later one.
    ensure!(write(earlier.clone()).await? == Outcome::Written);
    let first = get(&world.admin, &app).await?.context("no profile")?;
    ensure!(names(&first).contains(&"getpid"), "{first}");
    ensure!(write(output(&world, &now, "getppid")?).await? == Outcome::Written);
    let second = get(&world.admin, &app).await?.context("no profile")?;
    ensure!(names(&second).contains(&"getppid"), "{second}");
    ensure!(!names(&second).contains(&"getpid"), "{second}");

    ensure!(write(earlier).await? == Outcome::Written);
    let third = get(&world.admin, &app).await?.context("no profile")?;
    ensure!(third == second, "{third}");
    let events = format!("/apis/events.k8s.io/v1/namespaces/{}/events", world.name);
    let told = |found: &Value| {
        let events = found["items"].as_array();
        events.into_iter().flatten().any(|event| {
            event["reason"] == "ProfileTooLate" && event["regarding"]["uid"] == json!(now)
        })
    };
    world.until(&events, told).await?;

    drop(jobs);
    task.await?;
    send(&world.admin, Method::DELETE, &app, None).await??;
    for collection in [ROLES, BINDINGS] {
        let path = format!("{collection}/{role}");
        send(&world.admin, Method::DELETE, &path, None).await??;
    }
    world.remove().await
}

/// What a node has of a pod that made this call.
fn output(world: &World, uid: &str, call: &str) -> Result<Output> {
    let number = syscalls::number(Arch::X86_64, call).context("no call")?;
    let call = Call {
        abi: Abi::Native,
        number: i32::try_from(number)?,
    };
    let subject = SubjectObservation {
        executed: true,
        calls: vec![call],
        ..SubjectObservation::default()
    };
    let settings = Settings {
        name: format!("{}-app", world.name),
        host: Arch::X86_64,
        kernel: "6.1.0".to_owned(),
        container: None,
        base: Vec::new(),
        duration: Duration::from_secs(1),
        last_new: None,
        partial: Vec::new(),
    };
    let mut profile = record(&subject, Losses::default(), &settings).profile;
    let labels = [
        (labels::RECORDING_ID, world.name.clone()),
        (labels::RECORDING_NAMESPACE, world.name.clone()),
        (labels::CONTAINER_ID, "app".to_owned()),
    ];
    let labels = labels.map(|(label, value)| (label.to_owned(), value));
    profile.metadata.labels = labels.into();
    let of = (format!("{ANNOTATION_PREFIX}uid"), uid.to_owned());
    profile.metadata.annotations.extend([of]);
    Ok(Output {
        recording: RecordingKey {
            namespace: world.name.clone(),
            name: world.name.clone(),
        },
        uid: uid.to_owned(),
        pod: format!("pod-of-{uid}"),
        container: "app".to_owned(),
        profile,
        last: true,
    })
}
