//! What a configuration asks for that this version does not have. It is told, never left out in
//! silence.

use crate::api::daemon::{
    Enricher, LogSource, Security, SecurityProfilesOperatorDaemonSpec, anything,
};

/// Where daemons see processes, unless somebody says otherwise.
const PROC: &str = "/proc";

/// The fields that have no effect.
pub(super) fn unsupported(spec: &SecurityProfilesOperatorDaemonSpec) -> Vec<&'static str> {
    let SecurityProfilesOperatorDaemonSpec {
        verbosity: _,
        enable_profiling: _,
        enable_memory_optimization: _,
        enable_insecure_metrics_access: _,
        enable_app_armor,
        enable_verifier: _,
        host_proc_volume_path,
        image_pull_secrets: _,
        daemon_resource_requirements: _,
        selinux,
        enricher,
        webhook: _,
        scheduling: _,
        security,
    } = spec;
    let unsigned = security.as_ref();
    let unsigned = unsigned.is_some_and(|one| one.disable_oci_artifact_signature_verification);
    let limited = |field: fn(&Security) -> &String| {
        let field = security.as_ref().map(field);
        field.is_some_and(|field| *field != anything())
    };
    let other_proc = host_proc_volume_path.as_deref().unwrap_or(PROC) != PROC;
    let selinux = selinux.as_ref().and_then(|selinux| selinux.enable);
    let Enricher {
        enable_log_enricher,
        enable_json_enricher,
        enable_bpf_recorder: _,
        log_enricher_source,
        log_enricher_filters,
        json_enricher_filters: _,
        json_enricher_options: _,
    } = enricher.clone().unwrap_or_default();
    [
        (*enable_app_armor, "spec.enableAppArmor"),
        (selinux == Some(true), "spec.selinux.enable"),
        (
            log_enricher_source == Some(LogSource::Bpf),
            "spec.enricher.logEnricherSource",
        ),
        (
            log_enricher_filters.is_some(),
            "spec.enricher.logEnricherFilters",
        ),
        (enable_json_enricher, "spec.enricher.enableJsonEnricher"),
        // Only whoever reads audit records needs it.
        (
            other_proc && !enable_log_enricher,
            "spec.hostProcVolumePath",
        ),
        (
            unsigned,
            "spec.security.disableOciArtifactSignatureVerification",
        ),
        (
            limited(|security| &security.allowed_identity_regexp),
            "spec.security.allowedIdentityRegexp",
        ),
        (
            limited(|security| &security.allowed_oidc_issuer_regexp),
            "spec.security.allowedOidcIssuerRegexp",
        ),
    ]
    .into_iter()
    .filter_map(|(asked, field)| asked.then_some(field))
    .collect()
}
