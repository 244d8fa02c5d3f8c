//! The webhooks: their names and paths, and the objects that register them with the API server.
//! Whoever serves them, installs them or is configured about them takes them from here.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};

use super::crds::Definition;
use super::daemon::WebhookOptions;
use super::names::{ENABLE_BINDING, ENABLE_RECORDING};
use crate::profile::object::GROUP;

/// The object that registers the webhooks that only judge.
pub const VALIDATING: &str = "spo-validating-webhook-configuration";
/// The object that registers the webhooks that change pods.
pub const MUTATING: &str = "spo-mutating-webhook-configuration";
/// The Deployment of the webhook's pods, and its `PodDisruptionBudget`.
pub const DEPLOYMENT: &str = "security-profiles-operator-webhook";
/// The service in front of the webhook's pods, in the operator's namespace.
pub const SERVICE: &str = "webhook-service";
/// Which namespaces may use a profile.
pub const POLICY: &str = "profilepolicy.spo.io";
/// Where [`POLICY`] is served.
pub const POLICY_PATH: &str = "/validate-v1-pod-profilepolicy";
/// Puts containers under the profiles that bindings give them.
pub const BINDING: &str = "binding.spo.io";
/// Where [`BINDING`] is served.
pub const BINDING_PATH: &str = "/mutate-v1-pod-binding";
/// Checks bindings.
pub const BINDINGS: &str = "profilebinding-validation.spo.io";
/// Marks the containers of pods that are recorded.
pub const RECORDING: &str = "recording.spo.io";
/// Where [`RECORDING`] is served.
pub const RECORDING_PATH: &str = "/mutate-v1-pod-recording";
/// Checks recordings.
pub const RECORDINGS: &str = "profilerecording-validation.spo.io";
/// The label that every namespace has its own name in, and that nobody can change, since Kubernetes
/// 1.21.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// How long the API server waits.
const SECONDS: i32 = 5;

/// The webhooks that change pods, which are older than the others.
const MUTATING_NAMES: [&str; 4] = [
    BINDING,
    RECORDING,
    "execmetadata.spo.io",
    "nodedebuggingpod.spo.io",
];

/// A webhook that checks the objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Its name.
    pub name: &'static str,
    /// Where it is served.
    pub path: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// What happens when it does not answer. The reference has one of these webhooks, which fails;
    /// the daemon refuses everything that the others do.
    failure: &'static str,
}

const fn validation(
    name: &'static str,
    path: &'static str,
    kind: &'static str,
    failure: &'static str,
) -> Validation {
    Validation {
        name,
        path,
        kind,
        failure,
    }
}

/// The webhooks that check objects.
pub const VALIDATIONS: [Validation; 7] = [
    validation(
        "rawselinuxprofile-validation.spo.io",
        "/validate-rawselinuxprofile",
        "RawSelinuxProfile",
        FAIL,
    ),
    validation(
        "seccompprofile-validation.spo.io",
        "/validate-seccompprofile",
        "SeccompProfile",
        IGNORE,
    ),
    validation(
        "selinuxprofile-validation.spo.io",
        "/validate-selinuxprofile",
        "SelinuxProfile",
        IGNORE,
    ),
    validation(
        "apparmorprofile-validation.spo.io",
        "/validate-apparmorprofile",
        "AppArmorProfile",
        IGNORE,
    ),
    validation(
        BINDINGS,
        "/validate-profilebinding",
        "ProfileBinding",
        IGNORE,
    ),
    validation(
        RECORDINGS,
        "/validate-profilerecording",
        "ProfileRecording",
        IGNORE,
    ),
    validation(
        "securityprofilesoperatordaemon-validation.spo.io",
        "/validate-securityprofilesoperatordaemon",
        "SecurityProfilesOperatorDaemon",
        IGNORE,
    ),
];

const FAIL: &str = "Fail";
const IGNORE: &str = "Ignore";

/// Every webhook that the configuration may name.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    let validations = VALIDATIONS.iter().map(|validation| validation.name);
    MUTATING_NAMES
        .into_iter()
        .chain(validations)
        .chain([POLICY])
}

/// How the API server gets to the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Through [`SERVICE`] in this namespace, the operator's.
    Service(String),
    /// At a URL, without the path: for tests, and for servers outside of the cluster.
    Url(String),
}

/// The object that registers the webhooks that only judge.
///
/// `namespace` is the operator's, whose own pods no policy holds back. `bundle` is what the API
/// server is to trust, as PEM; without it the object has none, for somebody else to fill in.
/// `options` is `spec.webhook.options` of the configuration.
pub fn validating(
    reach: &Reach,
    namespace: &str,
    bundle: Option<&[u8]>,
    options: &[WebhookOptions],
) -> ValidatingWebhookConfiguration {
    let webhook = |name: &str, path, rules, failure: &str, namespaces| {
        let options = options.iter().find(|options| options.name == name);
        let policy = options.and_then(|options| options.failure_policy.as_deref());
        let namespace_selector = options.and_then(|options| options.namespace_selector.clone());
        ValidatingWebhook {
            name: name.to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: client(reach, path, bundle),
            failure_policy: Some(policy.unwrap_or(failure).to_owned()),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: namespace_selector.or(namespaces),
            object_selector: options.and_then(|options| options.object_selector.clone()),
            rules: Some(rules),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(SECONDS),
            ..ValidatingWebhook::default()
        }
    };
    let mut webhooks: Vec<_> = VALIDATIONS
        .iter()
        .filter_map(|validation| {
            let Validation {
                name,
                path,
                kind,
                failure,
            } = *validation;
            let definition = Definition::of(kind)?;
            let rules = vec![rule(&["CREATE", "UPDATE"], GROUP, &definition.plural)];
            Some(webhook(name, path, rules, failure, None))
        })
        .collect();
    let rules = vec![
        rule(&["CREATE"], "", "pods"),
        rule(&["UPDATE"], "", "pods/ephemeralcontainers"),
    ];
    let others = Some(not_in(namespace));
    webhooks.push(webhook(POLICY, POLICY_PATH, rules, IGNORE, others));
    ValidatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: Some(VALIDATING.to_owned()),
            ..ObjectMeta::default()
        },
        webhooks: Some(webhooks),
    }
}

/// The object that registers the webhooks that change pods. See [`validating`]. The one for recording is
/// there only if something `records`: pods are refused while nobody answers it.
pub fn mutating(
    reach: &Reach,
    namespace: &str,
    bundle: Option<&[u8]>,
    options: &[WebhookOptions],
    records: bool,
) -> MutatingWebhookConfiguration {
    let webhook = |name: &str, path, label, operations: &[&str], effects: &str| {
        let options = options.iter().find(|options| options.name == name);
        let options = options.cloned().unwrap_or_default();
        let opted_in = || LabelSelector {
            match_expressions: Some(vec![expression(label, "Exists", &[])]),
            match_labels: None,
        };
        // Whatever selector is asked for: what is there must come up while nobody answers.
        let mut namespaces = options.namespace_selector.unwrap_or_else(opted_in);
        let expressions = namespaces.match_expressions.get_or_insert_default();
        expressions.push(elsewhere(namespace));
        // The webhook must not be needed to start itself.
        let own = [
            "security-profiles-operator",
            "security-profiles-operator-webhook",
        ];
        let others = LabelSelector {
            match_expressions: Some(vec![expression("name", "NotIn", &own)]),
            match_labels: None,
        };
        MutatingWebhook {
            name: name.to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: client(reach, path, bundle),
            failure_policy: options.failure_policy.or_else(|| Some(FAIL.to_owned())),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(namespaces),
            object_selector: options.object_selector.or(Some(others)),
            // Containers that another webhook adds count as well.
            reinvocation_policy: Some("IfNeeded".to_owned()),
            rules: Some(vec![
                rule(operations, "", "pods"),
                rule(&["UPDATE"], "", "pods/ephemeralcontainers"),
            ]),
            side_effects: effects.to_owned(),
            timeout_seconds: Some(SECONDS),
            ..MutatingWebhook::default()
        }
    };
    let (create, both) = (["CREATE"], ["CREATE", "UPDATE"]);
    // Refusals are told by events.
    let effects = "NoneOnDryRun";
    let binding = webhook(BINDING, BINDING_PATH, ENABLE_BINDING, &create, effects);
    let mut webhooks = vec![binding];
    if records {
        let recording = webhook(RECORDING, RECORDING_PATH, ENABLE_RECORDING, &both, "None");
        webhooks.push(recording);
    }
    MutatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: Some(MUTATING.to_owned()),
            ..ObjectMeta::default()
        },
        webhooks: Some(webhooks),
    }
}

fn client(reach: &Reach, path: &str, bundle: Option<&[u8]>) -> WebhookClientConfig {
    let (service, url) = match reach {
        Reach::Service(namespace) => {
            let service = ServiceReference {
                name: SERVICE.to_owned(),
                namespace: namespace.clone(),
                path: Some(path.to_owned()),
                port: Some(443),
            };
            (Some(service), None)
        }
        Reach::Url(base) => (None, Some(format!("{base}{path}"))),
    };
    WebhookClientConfig {
        ca_bundle: bundle.map(|bundle| ByteString(bundle.to_owned())),
        service,
        url,
    }
}

fn rule(operations: &[&str], group: &str, resource: &str) -> RuleWithOperations {
    let operations = operations.iter().copied().map(str::to_owned);
    RuleWithOperations {
        api_groups: Some(vec![group.to_owned()]),
        api_versions: Some(vec!["v1".to_owned()]),
        operations: Some(operations.collect()),
        resources: Some(vec![resource.to_owned()]),
        scope: Some("*".to_owned()),
    }
}

/// Every namespace but this one. By a label that its users cannot set; before Kubernetes 1.21, which
/// has no such label, every namespace.
fn not_in(namespace: &str) -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![elsewhere(namespace)]),
        match_labels: None,
    }
}

fn elsewhere(namespace: &str) -> LabelSelectorRequirement {
    expression(NAMESPACE_NAME, "NotIn", &[namespace])
}

fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelectorRequirement {
    let values: Vec<_> = values.iter().copied().map(str::to_owned).collect();
    LabelSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: (!values.is_empty()).then_some(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a selector is about.
    fn keys(selector: Option<&LabelSelector>) -> Vec<&str> {
        let all = selector.and_then(|selector| selector.match_expressions.as_deref());
        let all = all.unwrap_or_default().iter();
        all.map(|one| one.key.as_str()).collect()
    }

    fn registered(options: &[WebhookOptions]) -> Vec<ValidatingWebhook> {
        let reach = Reach::Service("spo".to_owned());
        let object = validating(&reach, "spo", Some(b"pem"), options);
        object.webhooks.unwrap()
    }

    #[test]
    fn the_one_of_the_reference_fails_and_the_others_do_not() {
        for webhook in registered(&[]) {
            let fails = webhook.name == "rawselinuxprofile-validation.spo.io";
            let expected = if fails { "Fail" } else { "Ignore" };
            assert_eq!(
                webhook.failure_policy.as_deref(),
                Some(expected),
                "{}",
                webhook.name
            );
            assert_eq!(webhook.side_effects, "None");
            assert_eq!(webhook.admission_review_versions, ["v1"]);
            let service = webhook.client_config.service.unwrap();
            assert_eq!(
                (&*service.name, &*service.namespace),
                ("webhook-service", "spo")
            );
        }
    }

    #[test]
    fn options_count_for_the_webhook_that_they_name() {
        let selector = LabelSelector {
            match_labels: Some([("a".to_owned(), "b".to_owned())].into()),
            ..LabelSelector::default()
        };
        let options = [WebhookOptions {
            name: POLICY.to_owned(),
            failure_policy: Some("Fail".to_owned()),
            namespace_selector: Some(selector.clone()),
            object_selector: None,
        }];
        for webhook in registered(&options) {
            let named = webhook.name == POLICY;
            assert_eq!(webhook.namespace_selector == Some(selector.clone()), named);
            let fails = named || webhook.name == "rawselinuxprofile-validation.spo.io";
            assert_eq!(webhook.failure_policy.as_deref() == Some("Fail"), fails);
        }
    }

    #[test]
    fn recording_is_for_namespaces_that_want_it_and_never_our_own() {
        let reach = Reach::Service("spo".to_owned());
        let one = |options: &[WebhookOptions]| {
            let object = mutating(&reach, "spo", Some(b"pem"), options, true);
            object.webhooks.unwrap().remove(1)
        };
        let usual = one(&[]);
        let namespaces = keys(usual.namespace_selector.as_ref());
        assert_eq!(namespaces, [ENABLE_RECORDING, NAMESPACE_NAME]);
        assert_eq!(keys(usual.object_selector.as_ref()), ["name"]);
        assert_eq!(usual.failure_policy.as_deref(), Some("Fail"));
        let path = usual.client_config.service.unwrap().path;
        assert_eq!(path.as_deref(), Some("/mutate-v1-pod-recording"));
        let everywhere = WebhookOptions {
            name: RECORDING.to_owned(),
            failure_policy: Some("Ignore".to_owned()),
            namespace_selector: Some(LabelSelector::default()),
            object_selector: Some(LabelSelector::default()),
        };
        let changed = one(&[everywhere]);
        assert_eq!(changed.failure_policy.as_deref(), Some("Ignore"));
        let namespaces = keys(changed.namespace_selector.as_ref());
        assert_eq!(namespaces, [NAMESPACE_NAME]);
        assert_eq!(changed.object_selector, Some(LabelSelector::default()));
    }

    #[test]
    fn binding_is_for_namespaces_that_want_it_and_never_our_own() {
        let reach = Reach::Service("spo".to_owned());
        let all = |options: &[WebhookOptions]| {
            let object = mutating(&reach, "spo", None, options, false);
            object.webhooks.unwrap()
        };
        let usual = all(&[]);
        assert_eq!(usual.len(), 1);
        let usual = &usual[0];
        assert_eq!(usual.name, BINDING);
        assert_eq!(usual.failure_policy.as_deref(), Some("Fail"));
        assert_eq!(usual.side_effects, "NoneOnDryRun");
        assert_eq!(usual.reinvocation_policy.as_deref(), Some("IfNeeded"));
        let path = usual.client_config.service.clone().unwrap().path;
        assert_eq!(path.as_deref(), Some("/mutate-v1-pod-binding"));
        let rules: Vec<_> = usual.rules.iter().flatten().collect();
        assert_eq!(rules[0].operations, Some(vec!["CREATE".to_owned()]));
        assert_eq!(
            rules[1].resources,
            Some(vec!["pods/ephemeralcontainers".to_owned()])
        );
        let namespaces = keys(usual.namespace_selector.as_ref());
        assert_eq!(namespaces, [ENABLE_BINDING, NAMESPACE_NAME]);
        let everywhere = WebhookOptions {
            name: BINDING.to_owned(),
            failure_policy: Some("Ignore".to_owned()),
            namespace_selector: Some(LabelSelector::default()),
            object_selector: None,
        };
        let changed = &all(&[everywhere])[0];
        assert_eq!(changed.failure_policy.as_deref(), Some("Ignore"));
        let namespaces = keys(changed.namespace_selector.as_ref());
        assert_eq!(namespaces, [NAMESPACE_NAME]);
        assert_eq!(changed.object_selector, usual.object_selector);
    }

    #[test]
    fn names_and_paths_are_different() {
        let names: Vec<_> = names().collect();
        let mut paths: Vec<_> = VALIDATIONS.iter().map(|one| one.path).collect();
        paths.extend([POLICY_PATH, RECORDING_PATH, BINDING_PATH]);
        for list in [names, paths] {
            let set: std::collections::BTreeSet<_> = list.iter().collect();
            assert_eq!(set.len(), list.len());
        }
    }
}
