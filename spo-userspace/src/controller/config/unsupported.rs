//! What a configuration asks for that this version does not have. It is told, never left out in
//! silence.

use crate::api::daemon::{Enricher, SecurityProfilesOperatorDaemonSpec};

/// The fields that have no effect.
pub(super) fn unsupported(spec: &SecurityProfilesOperatorDaemonSpec) -> Vec<&'static str> {
    let SecurityProfilesOperatorDaemonSpec {
        verbosity: _,
        enable_profiling: _,
        // Of pods, the daemons know none at all: there is nothing to save.
        enable_memory_optimization: _,
        enable_insecure_metrics_access: _,
        enable_app_armor,
        // Profiles for seccomp are installed without it.
        host_proc_volume_path: _,
        image_pull_secrets: _,
        daemon_resource_requirements: _,
        selinux,
        enricher,
        webhook: _,
        scheduling: _,
        security: _,
    } = spec;
    let selinux = selinux.as_ref().and_then(|selinux| selinux.enable);
    let Enricher {
        enable_log_enricher,
        enable_json_enricher,
        enable_bpf_recorder,
        log_enricher_source: _,
        log_enricher_filters: _,
        json_enricher_filters: _,
        json_enricher_options: _,
    } = enricher.clone().unwrap_or_default();
    [
        (*enable_app_armor, "spec.enableAppArmor"),
        (selinux == Some(true), "spec.selinux.enable"),
        (enable_log_enricher, "spec.enricher.enableLogEnricher"),
        (enable_json_enricher, "spec.enricher.enableJsonEnricher"),
        (enable_bpf_recorder, "spec.enricher.enableBpfRecorder"),
    ]
    .into_iter()
    .filter_map(|(asked, field)| asked.then_some(field))
    .collect()
}
