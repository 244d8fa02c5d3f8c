//! What the other tests rely on, shown on a small kind of its own.
#![expect(
    clippy::print_stdout,
    reason = "what a test passes over is counted by its printed line"
)]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, Error};
use serde_json::{Value, json};
use spo_cluster_tests::access::{admin, namespace, remove_namespace, service_account};
use spo_cluster_tests::crd::{self, Kind, definition};
use spo_cluster_tests::objects::{Outcome, try_out};

const PATIENCE: Duration = Duration::from_secs(10);

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": { "type": "integer", "minimum": 1 },
                    "colour": { "type": "string", "enum": ["red", "blue"], "default": "red" },
                },
            },
            "status": {
                "type": "object",
                "properties": { "state": { "type": "string" } },
            },
        },
    })
}

fn thing(spec: &Value) -> Value {
    json!({
        "apiVersion": "cluster-tests.example.com/v1",
        "kind": "Thing",
        "metadata": { "name": "thing" },
        "spec": spec,
    })
}

async fn with_kind() -> Result<(Client, Kind, String)> {
    let admin = admin().await?;
    let kind = crd::apply(&admin, &definition("things", "Thing", &schema())).await?;
    let namespace = namespace(&admin).await?;
    Ok((admin, kind, namespace))
}

#[tokio::test]
async fn valid_objects_survive_and_others_are_refused_or_lose_fields() -> Result<()> {
    let (admin, kind, namespace) = with_kind().await?;
    let kept = |lost: &[&str]| Outcome::Kept {
        lost: lost.iter().copied().map(str::to_owned).collect(),
    };
    let object = thing(&json!({ "size": 3 }));
    let outcome = try_out(&admin, &kind, &namespace, &object).await?;
    assert_eq!(outcome, kept(&[]));

    let mut with_status = object.clone();
    with_status["status"] = json!({ "state": "fine" });
    let outcome = try_out(&admin, &kind, &namespace, &with_status).await?;
    assert_eq!(outcome, kept(&[]));
    with_status["status"] = json!({ "state": 5 });
    match try_out(&admin, &kind, &namespace, &with_status).await? {
        Outcome::StatusRefused(refusal) => assert!(refusal.is_about("status.state"), "{refusal}"),
        outcome => panic!("{outcome:?}"),
    }

    let unknown = thing(&json!({ "size": 3, "sise": 4 }));
    let outcome = try_out(&admin, &kind, &namespace, &unknown).await?;
    assert_eq!(outcome, kept(&[".spec.sise is gone"]));

    for (spec, expected) in [
        (json!({ "size": 0 }), "spec.size"),
        (json!({}), "spec.size"),
        (json!({ "size": 1, "colour": "green" }), "spec.colour"),
    ] {
        refused(
            &try_out(&admin, &kind, &namespace, &thing(&spec)).await?,
            expected,
        );
    }
    remove_namespace(&admin, &namespace).await
}

#[track_caller]
fn refused(outcome: &Outcome, expected: &str) {
    match outcome {
        Outcome::Refused(refusal) => assert!(refusal.message.contains(expected), "{refusal}"),
        outcome => panic!("is not refused with {expected}: {outcome:?}"),
    }
}

#[tokio::test]
async fn a_definition_is_replaced() -> Result<()> {
    let admin = admin().await?;
    let namespace = namespace(&admin).await?;
    let mut schema = schema();
    let changing = |schema: &Value| definition("changes", "Change", schema);
    crd::apply(&admin, &changing(&schema)).await?;
    schema["properties"]["spec"]["properties"]["size"]["minimum"] = json!(10);
    let kind = crd::apply(&admin, &changing(&schema)).await?;
    let mut object = thing(&json!({ "size": 3 }));
    object["kind"] = json!("Change");
    refused(
        &try_out(&admin, &kind, &namespace, &object).await?,
        "spec.size",
    );
    // So that the next run begins with the first one.
    schema["properties"]["spec"]["properties"]["size"]["minimum"] = json!(1);
    crd::apply(&admin, &changing(&schema)).await?;
    remove_namespace(&admin, &namespace).await
}

#[tokio::test]
async fn a_server_that_knows_cel_goes_by_it() -> Result<()> {
    let admin = admin().await?;
    if !crd::knows_cel(&admin).await? {
        println!("skipped: this API server does not know CEL");
        return Ok(());
    }
    let mut schema = schema();
    schema["properties"]["spec"]["x-kubernetes-validations"] =
        json!([{ "rule": "self.size < 5", "message": "too large" }]);
    let kind = crd::apply(&admin, &definition("rules", "Rule", &schema)).await?;
    let namespace = namespace(&admin).await?;
    let mut object = thing(&json!({ "size": 7 }));
    object["kind"] = json!("Rule");
    refused(
        &try_out(&admin, &kind, &namespace, &object).await?,
        "too large",
    );
    remove_namespace(&admin, &namespace).await
}

#[tokio::test]
async fn a_service_account_may_do_what_its_roles_say() -> Result<()> {
    let admin = admin().await?;
    let namespace = namespace(&admin).await?;
    let account = service_account(&admin, &namespace, "tested").await?;
    // A client is asked for twice; the account is there by then.
    service_account(&admin, &namespace, "tested").await?;

    let maps: Api<ConfigMap> = Api::namespaced(account.clone(), &namespace);
    let accounts: Api<ServiceAccount> = Api::namespaced(account, &namespace);
    let message = forbidden(maps.list(&ListParams::default()).await)?;
    let user = format!("system:serviceaccount:{namespace}:tested");
    assert!(message.contains(&user), "{message}");

    allow(&admin, &namespace, "tested", "configmaps").await?;
    // A server learns of a new role a moment after it has taken it.
    let start = Instant::now();
    while let Err(error) = maps.list(&ListParams::default()).await {
        if start.elapsed() > PATIENCE {
            return Err(error).context("the role allows that");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    forbidden(accounts.list(&ListParams::default()).await)?;
    remove_namespace(&admin, &namespace).await
}

fn forbidden<T>(answer: Result<T, Error>) -> Result<String> {
    match answer {
        Err(Error::Api(status)) if status.code == 403 => Ok(status.message),
        Err(error) => Err(error).context("something else than a refusal"),
        Ok(_) => bail!("nothing allows that"),
    }
}

/// Binds a role to an account that lets it list something.
async fn allow(admin: &Client, namespace: &str, account: &str, resource: &str) -> Result<()> {
    let metadata = || ObjectMeta {
        name: Some("listing".to_owned()),
        ..ObjectMeta::default()
    };
    let role = Role {
        metadata: metadata(),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec![resource.to_owned()]),
            verbs: vec!["list".to_owned()],
            ..PolicyRule::default()
        }]),
    };
    let binding = RoleBinding {
        metadata: metadata(),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: "listing".to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account.to_owned(),
            namespace: Some(namespace.to_owned()),
            ..Subject::default()
        }]),
    };
    let roles: Api<Role> = Api::namespaced(admin.clone(), namespace);
    roles.create(&PostParams::default(), &role).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), namespace);
    bindings.create(&PostParams::default(), &binding).await?;
    Ok(())
}
