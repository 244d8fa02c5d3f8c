//! How the versions differ, as data.

use crate::profile::tree::Value;

/// How the older versions of a kind differ from `v1`.
pub(super) struct Shape {
    pub(super) kind: &'static str,
    /// The newest first, which is the one that can be written.
    pub(super) older: &'static [&'static str],
    /// Whether the kind was namespaced up to 0.8 and is not now.
    pub(super) cluster: bool,
    pub(super) rules: &'static [Rule],
    /// Fields that only `v1` has, and the default that need not be said.
    pub(super) newer: &'static [(&'static str, Option<Default>)],
}

/// One difference. Paths are names with dots between them.
pub(super) enum Rule {
    /// A field has another place.
    Move {
        old: &'static str,
        new: &'static str,
    },
    /// A boolean has become one of two names.
    Switch {
        old: &'static str,
        new: &'static str,
        off: &'static str,
        on: &'static str,
    },
    /// The values of a field have other names.
    Names {
        at: &'static str,
        names: &'static [(&'static str, &'static str)],
    },
}

/// A default.
#[derive(Clone, Copy)]
pub(super) enum Default {
    False,
    Text(&'static str),
}

impl Default {
    pub(super) fn is(self, value: &Value) -> bool {
        match (self, value) {
            (Self::False, Value::Bool(truth)) => !truth,
            (Self::Text(default), Value::Text(text)) => text == default,
            _ => false,
        }
    }
}

const fn moved(old: &'static str, new: &'static str) -> Rule {
    Rule::Move { old, new }
}

const DISABLED: Rule = Rule::Switch {
    old: "spec.disabled",
    new: "spec.state",
    off: "Enabled",
    on: "Disabled",
};

const ANYTHING: Option<Default> = Some(Default::Text(".*"));

/// Only spo has these, and only in `v1`.
const NAMESPACES: &[(&str, Option<Default>)] = &[("spec.namespaceSelector", None)];

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        kind: "SeccompProfile",
        older: &["v1beta1", "v1alpha1"],
        cluster: true,
        rules: &[DISABLED],
        newer: NAMESPACES,
    },
    Shape {
        kind: "SelinuxProfile",
        older: &["v1alpha2"],
        cluster: true,
        rules: &[
            DISABLED,
            Rule::Switch {
                old: "spec.permissive",
                new: "spec.mode",
                off: "Enforcing",
                on: "Permissive",
            },
        ],
        newer: NAMESPACES,
    },
    Shape {
        kind: "RawSelinuxProfile",
        older: &["v1alpha2"],
        cluster: true,
        rules: &[DISABLED],
        newer: NAMESPACES,
    },
    Shape {
        kind: "AppArmorProfile",
        older: &["v1alpha1"],
        cluster: true,
        rules: &[
            DISABLED,
            Rule::Switch {
                old: "spec.complainMode",
                new: "spec.mode",
                off: "Enforce",
                on: "Complain",
            },
        ],
        newer: &[
            ("spec.namespaceSelector", None),
            ("spec.abstract.rules", None),
        ],
    },
    Shape {
        kind: "ProfileBinding",
        older: &["v1alpha1"],
        cluster: false,
        rules: &[],
        newer: &[
            ("spec.podSelector", None),
            ("spec.mode", None),
            ("spec.namespaceSelector", None),
            ("spec.whenNotInstalled", None),
        ],
    },
    Shape {
        kind: "ProfileRecording",
        older: &["v1alpha1"],
        cluster: false,
        rules: &[
            Rule::Names {
                at: "spec.recorder",
                names: &[("bpf", "Bpf"), ("logs", "Logs")],
            },
            Rule::Names {
                at: "spec.mergeStrategy",
                names: &[("none", "None"), ("containers", "Containers")],
            },
        ],
        newer: &[("spec.finish", None)],
    },
    Shape {
        kind: "SecurityProfileNodeStatus",
        older: &["v1alpha1"],
        cluster: true,
        rules: &[
            moved("nodeName", "spec.nodeName"),
            moved("status", "status.status"),
        ],
        newer: &[],
    },
    Shape {
        kind: "SecurityProfilesOperatorDaemon",
        older: &["v1alpha1"],
        cluster: false,
        rules: DAEMON,
        newer: &[
            ("spec.enableInsecureMetricsAccess", Some(Default::False)),
            ("spec.selinux.enableRawSelinuxProfiles", None),
            ("spec.selinux.customTemplatesConfigMap", None),
            ("spec.selinux.options.deniedTypes", None),
            ("spec.selinux.options.deniedClasses", None),
            ("spec.selinux.options.deniedPermissions", None),
            ("spec.selinux.options.allowedTypes", None),
            ("spec.selinux.options.allowedClasses", None),
            ("spec.selinux.options.allowedPermissions", None),
            ("spec.security.allowedIdentityRegexp", ANYTHING),
            ("spec.security.allowedOidcIssuerRegexp", ANYTHING),
        ],
    },
];

const DAEMON: &[Rule] = &[
    moved("spec.enableSelinux", "spec.selinux.enable"),
    moved("spec.selinuxTypeTag", "spec.selinux.typeTag"),
    moved("spec.selinuxOptions", "spec.selinux.options"),
    moved("spec.enableLogEnricher", "spec.enricher.enableLogEnricher"),
    moved(
        "spec.logEnricherFilters",
        "spec.enricher.logEnricherFilters",
    ),
    moved("spec.logEnricherSource", "spec.enricher.logEnricherSource"),
    moved(
        "spec.enableJsonEnricher",
        "spec.enricher.enableJsonEnricher",
    ),
    moved(
        "spec.jsonEnricherFilters",
        "spec.enricher.jsonEnricherFilters",
    ),
    moved(
        "spec.jsonEnricherOptions",
        "spec.enricher.jsonEnricherOptions",
    ),
    moved("spec.enableBpfRecorder", "spec.enricher.enableBpfRecorder"),
    moved("spec.staticWebhookConfig", "spec.webhook.staticConfig"),
    moved("spec.webhookOptions", "spec.webhook.options"),
    moved("spec.tolerations", "spec.scheduling.tolerations"),
    moved("spec.affinity", "spec.scheduling.affinity"),
    moved(
        "spec.priorityClassName",
        "spec.scheduling.priorityClassName",
    ),
    moved("spec.allowedSyscalls", "spec.security.allowedSyscalls"),
    moved(
        "spec.allowedSeccompActions",
        "spec.security.allowedSeccompActions",
    ),
    moved(
        "spec.disableOciArtifactSignatureVerification",
        "spec.security.disableOciArtifactSignatureVerification",
    ),
    Rule::Names {
        at: "spec.enricher.logEnricherSource",
        names: &[("auditd", "Auditd"), ("bpf", "Bpf")],
    },
    Rule::Names {
        at: "status.state",
        names: &[
            ("PENDING", "Pending"),
            ("CREATING", "Creating"),
            ("UPDATING", "Updating"),
            ("RUNNING", "Running"),
            ("ERROR", "Error"),
        ],
    },
];
