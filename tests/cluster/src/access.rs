//! Clients: the tests' own, which may do everything, and those of service accounts, as which
//! everything runs that is tested.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::objects::create;
use crate::waiting::until;

/// Where roles of everywhere are.
pub const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
/// Where they are bound.
pub const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a token is valid; the least that a server takes is ten minutes.
const TOKEN_SECONDS: i64 = 3600;

/// The cluster's administrator.
pub async fn admin() -> Result<Client> {
    // Without the variable, a client would look at the user's own configuration.
    ensure!(
        std::env::var_os("KUBECONFIG").is_some(),
        "KUBECONFIG is not set: run cargo xtask test cluster, or export what \
         cargo xtask cluster kubeconfig prints"
    );
    client(Kubeconfig::read().context("failed to read KUBECONFIG")?).await
}

/// Lets an account do what rules say, everywhere, by a role of this name, which is removed by whoever
/// asked for it.
pub async fn allow(
    admin: &Client,
    (namespace, account): (&str, &str),
    role: &str,
    rules: &Value,
) -> Result<()> {
    let object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": role },
        "rules": rules,
    });
    create(admin, ROLES, &object).await??;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": role },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }],
    });
    create(admin, BINDINGS, &binding).await??;
    let user = format!("system:serviceaccount:{namespace}:{account}");
    until(PATIENCE, "the role counts", async || {
        Ok(may(admin, &user, rules).await?.then_some(()))
    })
    .await
}

/// Whether a user may do something that rules say: servers hear of roles a moment later.
async fn may(admin: &Client, user: &str, rules: &Value) -> Result<bool> {
    let all = rules.as_array().into_iter().flatten();
    let mut all = all.filter(|rule| rule["resourceNames"].is_null());
    let rule = all.find(|rule| rule["resources"].is_array());
    let Some(rule) = rule else { return Ok(true) };
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": { "user": user, "resourceAttributes": {
            "group": rule["apiGroups"][0],
            "resource": rule["resources"][0],
            "verb": rule["verbs"][0],
        }},
    });
    let answer = create(admin, REVIEWS, &review).await??;
    Ok(answer["status"]["allowed"] == true)
}

/// A service account, which is made if it is not there. It may do what roles are bound to it for.
pub async fn service_account(admin: &Client, namespace: &str, name: &str) -> Result<Client> {
    client(service_account_config(admin, namespace, name).await?).await
}

/// The same for a program, as the contents of a `KUBECONFIG`.
pub async fn service_account_config(
    admin: &Client,
    namespace: &str,
    name: &str,
) -> Result<Kubeconfig> {
    let context = || format!("failed to get a token for {namespace}/{name}");
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), namespace);
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    if accounts
        .get_opt(name)
        .await
        .with_context(context)?
        .is_none()
    {
        accounts
            .create(&PostParams::default(), &account)
            .await
            .with_context(context)?;
    }
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let token = accounts
        .create_token_request(name, &PostParams::default(), &request)
        .await
        .with_context(context)?
        .status
        .with_context(context)?
        .token;

    // The same cluster, and no trace of the administrator.
    let mut config = Kubeconfig::read().context("failed to read KUBECONFIG")?;
    for user in &mut config.auth_infos {
        user.auth_info = Some(
            serde_json::from_value(json!({ "token": token })).context("failed to make a user")?,
        );
    }
    Ok(config)
}

/// The header that shows a service account's token.
pub fn bearer(config: &Kubeconfig) -> Result<String> {
    let user = config.auth_infos.first().context("no user")?;
    let user = serde_json::to_value(&user.auth_info)?;
    let token = user["token"].as_str().context("no token")?;
    Ok(format!("Authorization: Bearer {token}"))
}

async fn client(config: Kubeconfig) -> Result<Client> {
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .context("failed to make a client's configuration")?;
    Client::try_from(config).context("failed to make a client")
}

/// A new namespace with a name of its own. Whoever is done with it calls [`remove_namespace`].
pub async fn namespace(admin: &Client) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let new = Namespace {
        metadata: ObjectMeta {
            generate_name: Some("spo-test-".to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let made = namespaces
        .create(&PostParams::default(), &new)
        .await
        .context("failed to make a namespace")?;
    made.metadata.name.context("the namespace has no name")
}

/// Removes a namespace and what is in it, without waiting for the end of that.
pub async fn remove_namespace(admin: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces
        .delete(name, &DeleteParams::background())
        .await
        .with_context(|| format!("failed to remove the namespace {name}"))?;
    Ok(())
}
