//! Everything in pods of a real node, as `deploy/` installs it, with the rights that it gives. It is
//! installed once; the tests follow one another, and each leaves it as it was.
mod absent;
mod acceptance;
mod binding;
mod binding_cases;
mod certificates;
mod elsewhere;
mod faults;
mod library;
mod life;
mod live;
mod logs;
mod nodes;
mod observed;
mod own_profile;
mod privileged;
mod privileges;
mod prometheus;
mod recording;
mod recording_cases;
mod recording_faults;
mod rollout;
mod second;
mod startup;
mod unhooked;
mod verifier;
mod verify;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Trial};
use spo_cluster_tests::node;
use tokio::runtime::Builder;

use self::world::World;

macro_rules! tests {
    ($runtime:ident, $world:ident, [$($subject:ident::$name:ident,)*]) => {
        vec![$({
            let (runtime, world) = ($runtime.clone(), $world.clone());
            let name = concat!(stringify!($subject), "::", stringify!($name));
            Trial::test(name, move || {
                let done = runtime.block_on($subject::$name(&world));
                done.map_err(|error| format!("{error:#}").into())
            })
        },)*]
    };
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = Arc::new(runtime.context("failed to start the event loop")?);
    let node = if arguments.list {
        None
    } else {
        node::required()?
    };
    let Some(node) = node else {
        return Ok(libtest_mimic::run(&arguments, Vec::new()).exit_code());
    };
    let world = runtime
        .block_on(World::install(node))
        .context("failed to install deploy/")?;
    let world = Arc::new(world);
    let tests = tests!(
        runtime,
        world,
        [
            life::a_profile_gets_to_a_node_binds_a_pod_and_stays_while_it_is_used,
            life::profiles_stay_for_pods_that_name_them_in_any_way,
            life::kinds_that_are_not_there_yet_say_so,
            elsewhere::a_profile_that_was_recorded_elsewhere_says_so,
            acceptance::files_and_folder_are_as_the_references,
            acceptance::a_base_profile_and_a_few_calls_run_a_pod_with_each_runtime,
            acceptance::only_what_is_allowed_is_installed_and_what_no_longer_is_goes,
            acceptance::long_names_are_found_by_their_label,
            acceptance::options_of_one_webhook_are_applied_and_taken_back,
            verify::containers_have_their_profiles_or_it_is_told,
            nodes::a_second_node_joins_late_fails_and_leaves,
            nodes::a_node_that_is_removed_while_its_daemon_runs_is_no_fight,
            startup::a_node_takes_pods_when_its_daemon_is_ready,
            certificates::what_has_expired_is_made_anew_and_trusted,
            faults::a_daemon_that_is_killed_goes_on,
            faults::a_folder_that_is_removed_is_set_up_again,
            faults::an_api_server_that_is_killed_is_waited_for,
            faults::an_etcd_that_is_killed_is_waited_for,
            faults::a_minute_of_silence_is_made_up_for,
            faults::what_the_kubelet_does_not_find_is_set_up_again,
            observed::what_is_recorded_is_what_a_second_observer_saw,
            recording::replicas_become_one_and_a_recording_may_end_early,
            recording::commands_of_the_pod_join_and_those_of_people_are_listed,
            binding::what_is_recorded_is_bound_complains_and_is_enforced,
            binding::what_comes_in_another_order_starts_unaided,
            binding_cases::images_and_all_others_are_bound_where_it_is_wanted,
            rollout::each_version_has_its_profile_forward_and_back,
            absent::a_pod_waits_is_refused_or_runs_without_and_is_told,
            absent::a_profile_that_is_on_some_nodes_only_is_bound_and_missed,
            library::servers_run_under_the_profiles_of_the_library,
            privileged::what_a_privileged_container_used_is_told,
            privileged::a_profile_of_a_privileged_container_is_warned_of,
            recording_cases::each_takes_the_containers_it_names,
            recording_cases::a_static_pod_is_recorded,
            recording_cases::a_deployment_is_scaled_while_it_is_recorded,
            recording_cases::a_pod_of_kubectl_run_that_is_done_is_recorded,
            recording_cases::where_memory_is_saved_labelled_pods_are_recorded,
            privileges::processes_have_what_is_named_and_nothing_more,
            privileges::a_recorder_that_lacks_a_capability_says_so_and_runs_on,
            recording_faults::a_pod_that_ends_while_the_api_server_is_silent_is_whole,
            recording_faults::a_recorder_that_is_replaced_says_what_it_cannot_know,
            recording_faults::a_recorder_that_is_killed_says_what_is_missing,
            prometheus::all_is_read_as_the_monitor_says,
            live::a_job_ends_a_recording_and_the_pod_runs_on,
            live::a_recording_ends_when_nothing_new_comes,
            live::a_profile_is_taken_while_its_container_runs,
            logs::a_pod_runs_under_what_was_logged,
            recording_cases::each_takes_the_containers_it_names_by_logs,
            recording_cases::a_static_pod_is_recorded_by_logs,
            recording_cases::a_deployment_is_scaled_and_merged_by_logs,
            logs::both_recorders_tell_the_same_of_one_container,
            logs::what_was_gone_before_it_was_looked_up_is_told,
            logs::where_nothing_delivers_records_this_is_told,
            recording::switched_off_nothing_of_it_is_left,
            own_profile::it_has_all_that_the_recorder_does,
            unhooked::all_but_admission_works_with_no_webhook,
            verifier::what_is_wrong_is_told_and_what_is_right_is_not,
        ]
    );
    let conclusion = libtest_mimic::run(&arguments, tests);
    runtime
        .block_on(world.remove())
        .context("failed to remove what was installed")?;
    Ok(conclusion.exit_code())
}
