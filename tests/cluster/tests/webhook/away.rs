//! A webhook that hangs, whose certificate has expired, and that is gone: who notices, and who does not.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use spo::api::daemon::WebhookOptions;
use spo::api::names::{ENABLE_BINDING, ENABLE_RECORDING};
use spo::api::webhooks::{BINDING, RECORDING, Reach};
use spo::server::certificates::{authority, serving};
use spo_cluster_tests::access::{namespace, remove_namespace};
use spo_cluster_tests::objects::get;
use spo_cluster_tests::waiting::until;

use crate::binding::{Shop, applied, label, pod};
use crate::policy::account;
use crate::server::{Ground, PATIENCE, Webhook, certificate, hurry, register};

/// Longer ago than any certificate of ours lasts.
const LONG: SignedDuration = SignedDuration::from_hours(24 * 365);

/// A shop whose webhook does not answer, and others.
struct Town<'g> {
    shop: Shop<'g>,
    /// The failure policy of both webhooks that change pods.
    policy: Option<&'static str>,
    /// A namespace that wants to be recorded.
    recorded: String,
    /// One that wants nothing.
    other: String,
}

impl<'g> Town<'g> {
    async fn build(ground: &'g Ground, policy: Option<&'static str>) -> Result<Self> {
        let shop = Shop::open(ground, &options(policy)).await?;
        shop.install("web", &json!({}), 1).await?;
        shop.bind("web", "*", &json!({})).await?;
        let recorded = namespace(&ground.admin).await?;
        let other = namespace(&ground.admin).await?;
        for name in [&recorded, &other] {
            account(ground, name).await?;
        }
        label(ground, &recorded, ENABLE_RECORDING).await?;
        // Whatever they have.
        for key in [ENABLE_BINDING, ENABLE_RECORDING] {
            label(ground, &ground.namespace, key).await?;
        }
        Ok(Self {
            shop,
            policy,
            recorded,
            other,
        })
    }

    async fn is_bound(&self) -> Result<bool> {
        let made = self
            .shop
            .dry(&self.shop.name, &pod(&["nginx:1.25"]))
            .await?;
        Ok(made.is_ok_and(|made| !applied(&made).is_empty()))
    }

    /// Waits until pods are bound, or no longer are.
    async fn becomes_bound(&self, bound: bool) -> Result<()> {
        until(PATIENCE, &format!("pods are bound: {bound}"), async || {
            Ok((self.is_bound().await? == bound).then_some(()))
        })
        .await
    }

    /// Nobody answers, and it is said why: pods that wanted an answer are held to the policy, others
    /// are taken as they are.
    async fn goes_by_the_policy(&self, why: &str) -> Result<()> {
        let Self {
            shop,
            policy,
            recorded,
            other,
        } = self;
        let images = pod(&["nginx:1.25"]);
        // The webhook's own pod, in its own namespace.
        let mut own = images.clone();
        own["metadata"]["labels"]["name"] = json!("security-profiles-operator-webhook");
        let operator = &shop.ground.namespace;
        let (bound, marked, plain, own, beside) = tokio::try_join!(
            shop.dry(&shop.name, &images),
            shop.dry(recorded, &images),
            shop.dry(other, &images),
            shop.dry(operator, &own),
            shop.dry(operator, &images),
        )?;
        for (name, answer) in [(BINDING, bound), (RECORDING, marked)] {
            match answer {
                Ok(made) => {
                    ensure!(*policy == Some("Ignore"), "{name}: {made:#}");
                    ensure!(applied(&made).is_empty(), "{made:#}");
                }
                Err(refusal) => {
                    ensure!(policy.is_none(), "{refusal}");
                    for expected in [name, why] {
                        ensure!(refusal.message.contains(expected), "{expected}: {refusal}");
                    }
                }
            }
        }
        let mut untouched = vec![plain, own];
        // By this label, later servers leave out all that is there.
        if labels_of(shop.ground, operator).await?["kubernetes.io/metadata.name"].is_string() {
            untouched.push(beside);
        }
        for answer in untouched {
            let made = answer?;
            ensure!(applied(&made).is_empty(), "{made:#}");
        }
        Ok(())
    }

    async fn remove(self) -> Result<()> {
        let admin = &self.shop.ground.admin;
        for name in [&self.recorded, &self.other] {
            remove_namespace(admin, name).await?;
        }
        self.shop.remove().await
    }
}

fn options(policy: Option<&str>) -> [WebhookOptions; 2] {
    [BINDING, RECORDING].map(|name| WebhookOptions {
        name: name.to_owned(),
        failure_policy: policy.map(str::to_owned),
        ..WebhookOptions::default()
    })
}

async fn labels_of(ground: &Ground, namespace: &str) -> Result<Value> {
    let path = format!("/api/v1/namespaces/{namespace}");
    let mut object = get(&ground.admin, &path).await?.context("no namespace")?;
    Ok(object["metadata"]["labels"].take())
}

/// Shows an expired certificate to the API server, which connects anew.
async fn expire(ground: &Ground, webhook: &Webhook, policy: Option<&str>) -> Result<()> {
    let (now, names) = (Timestamp::now(), ["localhost".to_owned()]);
    let own = &webhook.authority;
    let expired = serving(None, own, &names, now - LONG)?.write;
    webhook.mount(2, &expired.context("no certificate")?.0)?;
    // What was connected stays so, until somebody else is trusted as well.
    let (another, _) = authority(None, now)?.write.context("no authority")?;
    let bundle = [own.bundle.clone(), another.bundle].concat();
    let reach = Reach::Url(webhook.url.clone());
    register(ground, &reach, &bundle, &options(policy)).await
}

#[tokio::test]
async fn without_an_answer_only_namespaces_that_wanted_one_notice() -> Result<()> {
    for policy in [None, Some("Ignore")] {
        let ground = Ground::new().await?;
        let mut town = Town::build(&ground, policy).await?;
        hurry(&ground.admin).await?;
        town.becomes_bound(true).await?;
        town.shop.webhook.freeze()?;
        town.goes_by_the_policy("deadline exceeded").await?;
        town.shop.webhook.thaw()?;
        town.becomes_bound(true).await?;

        expire(&ground, &town.shop.webhook, policy).await?;
        town.becomes_bound(false).await?;
        town.goes_by_the_policy("certificate has expired").await?;
        // A new one counts without a restart.
        let webhook = &town.shop.webhook;
        webhook.mount(3, &certificate(&webhook.authority)?)?;
        town.becomes_bound(true).await?;

        town.shop.webhook.kill()?;
        town.goes_by_the_policy("connection refused").await?;
        town.remove().await?;
        ground.remove().await?;
    }
    Ok(())
}
