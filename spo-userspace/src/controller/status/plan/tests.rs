use super::*;

mod allowed;

const NODE: &str = "one";

/// An enabled profile, installed on the only node, with everything written.
fn settled() -> Observed {
    let mut observed = Observed {
        generation: 2,
        deleted: false,
        finalizers: vec![FINALIZER.to_owned()],
        state: State::Enabled,
        partial: false,
        unsupported: None,
        installable: true,
        usage: Some(("localhostProfile", "operator/a.json".to_owned())),
        syscalls: None,
        known: Known::default(),
        reports: vec![report(NODE, ProfileStatus::Installed)],
        nodes: Nodes {
            names: [NODE.to_owned()].into(),
            desired: 1,
        },
        pods: BTreeSet::new(),
        now: Timestamp::UNIX_EPOCH,
    };
    observed.known = plan(&observed).status.unwrap();
    observed
}

fn report(node: &str, status: ProfileStatus) -> Report {
    Report {
        object: format!("seccompprofile-a-{node}"),
        node: node.to_owned(),
        status: Some(status),
        reason: None,
        message: None,
        generation: Some(2),
        current: true,
    }
}

/// What a change of what is observed makes of the status.
fn after(change: impl FnOnce(&mut Observed)) -> Plan {
    let mut observed = settled();
    change(&mut observed);
    plan(&observed)
}

fn told(plan: &Plan) -> (ProfileStatus, String) {
    let status = plan.status.as_ref().expect("the status changes");
    let [condition] = status.conditions.as_slice() else {
        panic!("one condition: {:?}", status.conditions)
    };
    let text = format!(
        "{} {}: {}",
        condition.status, condition.reason, condition.message
    );
    (status.status.unwrap(), text)
}

#[test]
fn what_is_settled_costs_nothing() {
    assert_eq!(plan(&settled()), Plan::default());
    let known = settled().known;
    assert_eq!(known.status, Some(ProfileStatus::Installed));
    assert_eq!(
        known.nodes,
        Some(NodeCount {
            ready: 1,
            desired: 1
        })
    );
    assert_eq!(known.usage.as_deref(), Some("operator/a.json"));
}

#[test]
fn a_new_profile_gets_a_finalizer_and_a_status() {
    let plan = after(|observed| {
        observed.finalizers.clear();
        observed.known = Known::default();
        observed.reports.clear();
        observed.syscalls = Some("[]".to_owned());
    });
    assert_eq!(plan.finalizers, Some(vec![FINALIZER.to_owned()]));
    assert_eq!(plan.syscalls.as_deref(), Some("[]"));
    let expected = (
        ProfileStatus::Pending,
        "False Creating: waiting for one".to_owned(),
    );
    assert_eq!(told(&plan), expected);
}

#[test]
fn progress_is_told_apart_from_news() {
    let half = |observed: &mut Observed| {
        observed
            .nodes
            .names
            .extend(["three".to_owned(), "two".to_owned()]);
        observed.nodes.desired = 3;
    };
    let mut observed = settled();
    half(&mut observed);
    let first = plan(&observed);
    // It was installed everywhere, and is not any more.
    assert!(!first.is_progress(&observed.known));
    observed.known = first.status.unwrap();
    assert!(!plan(&observed).is_progress(&observed.known));
    observed
        .reports
        .push(report("two", ProfileStatus::Installed));
    let second = plan(&observed);
    assert!(second.is_progress(&observed.known));
    let mut changed = observed.clone();
    changed.generation = 3;
    assert!(!plan(&changed).is_progress(&changed.known));
    let mut changed = observed.clone();
    changed.pods.insert("default/pod".to_owned());
    assert!(!plan(&changed).is_progress(&changed.known));
    let mut changed = observed.clone();
    changed.finalizers.clear();
    assert!(!plan(&changed).is_progress(&changed.known));
    observed.known = second.status.unwrap();
    observed
        .reports
        .push(report("three", ProfileStatus::Installed));
    let last = plan(&observed);
    assert!(!last.is_progress(&observed.known), "the last node is news");
}

#[test]
fn the_lowest_status_of_any_node_counts() {
    use ProfileStatus::{Error, InProgress, Installed, Pending};
    for (reports, expected, text) in [
        (
            vec![],
            Pending,
            "False Creating: waiting for five, four, one and 2 more",
        ),
        (
            vec![("one", Installed)],
            InProgress,
            "False Creating: waiting for five, four, three and 1 more",
        ),
        (
            vec![("one", Installed), ("two", Error)],
            Error,
            "False Unavailable: node two: no reason was given",
        ),
        (
            vec![("one", Error), ("two", Error), ("three", Installed)],
            Error,
            "False Unavailable: node one, and 1 more: no reason was given",
        ),
        (
            vec![
                ("one", Installed),
                ("two", Installed),
                ("three", Installed),
                ("four", Installed),
                ("five", Pending),
            ],
            Pending,
            "False Creating: waiting for five",
        ),
    ] {
        let plan = after(|observed| {
            let names = ["one", "two", "three", "four", "five"];
            observed.nodes.names = names.map(str::to_owned).into();
            observed.nodes.desired = 5;
            observed.reports = reports
                .iter()
                .map(|(node, status)| report(node, *status))
                .collect();
        });
        assert_eq!(told(&plan), (expected, text.to_owned()), "{reports:?}");
    }
}

#[test]
fn a_report_about_an_earlier_version_is_not_the_truth() {
    let plan = after(|observed| observed.generation = 3);
    let (status, text) = told(&plan);
    assert_eq!(status, ProfileStatus::InProgress);
    assert_eq!(text, "False Creating: waiting for one");
    assert_eq!(
        plan.status.unwrap().nodes,
        Some(NodeCount {
            ready: 0,
            desired: 1
        })
    );
}

/// No daemon is to be on a node that is not reached, and what it has is there all the same.
#[test]
fn no_more_nodes_are_ready_than_are_counted() {
    let plan = after(|observed| {
        observed.nodes.names.insert("two".to_owned());
        observed
            .reports
            .push(report("two", ProfileStatus::Installed));
    });
    let nodes = NodeCount {
        ready: 2,
        desired: 2,
    };
    assert_eq!(plan.status.unwrap().nodes, Some(nodes));
}

#[test]
fn an_error_says_why() {
    let plan = after(|observed| {
        let report = &mut observed.reports[0];
        report.status = Some(ProfileStatus::Error);
        report.reason = Some("InvalidSeccompProfile".to_owned());
        report.message = Some("there is no profile `base`".to_owned());
    });
    let text = "False Unavailable: node one: there is no profile `base`";
    assert_eq!(told(&plan), (ProfileStatus::Error, text.to_owned()));
}

#[test]
fn states_that_are_wished_are_told() {
    let plan = after(|observed| {
        observed.partial = true;
        observed.reports = vec![report(NODE, ProfileStatus::Partial)];
    });
    assert_eq!(told(&plan).0, ProfileStatus::Partial);
    let plan = after(|observed| observed.state = State::Disabled);
    let text = "False Unavailable: spec.state is Disabled; still on one, until no pod uses it";
    assert_eq!(told(&plan), (ProfileStatus::Disabled, text.to_owned()));
    let plan = after(|observed| observed.unsupported = Some("no SELinux here".to_owned()));
    let text = "False Unsupported: no SELinux here";
    assert_eq!(told(&plan), (ProfileStatus::Error, text.to_owned()));
}

#[test]
fn the_time_of_a_condition_is_that_of_its_value() {
    let later = Timestamp::from_second(100).unwrap();
    let plan = after(|observed| {
        observed.now = later;
        observed.nodes.desired = 2;
        observed.nodes.names.insert("two".to_owned());
    });
    assert_eq!(
        plan.status.unwrap().conditions[0].last_transition_time.0,
        later
    );
    let plan = after(|observed| {
        observed.now = later;
        observed.pods.insert("default/a".to_owned());
    });
    let time = &plan.status.unwrap().conditions[0].last_transition_time;
    assert_eq!(time.0, Timestamp::UNIX_EPOCH, "it was ready, and is");
}

#[test]
fn pods_that_use_it_hold_it() {
    let use_it = |observed: &mut Observed| {
        observed.pods.insert("default/a".to_owned());
    };
    let plan = after(use_it);
    let both = vec![FINALIZER.to_owned(), IN_USE.to_owned()];
    assert_eq!(plan.finalizers, Some(both.clone()));
    assert_eq!(plan.status.unwrap().pods, ["default/a"]);
    // Deleted, and still used.
    let plan = after(|observed| {
        use_it(observed);
        observed.finalizers.clone_from(&both);
        observed.deleted = true;
    });
    assert_eq!(plan.finalizers, None);
    let text = "False Deleting: it is removed when no pod uses it any more; now default/a";
    assert_eq!(told(&plan), (ProfileStatus::Terminating, text.to_owned()));
    // Even if no node has said that it has it.
    let plan = after(|observed| {
        use_it(observed);
        observed.finalizers.clone_from(&both);
        observed.deleted = true;
        observed.reports.clear();
    });
    assert_eq!(plan.finalizers, None);
    // No longer used: the nodes may remove it.
    let plan = after(|observed| {
        observed.finalizers.clone_from(&both);
        observed.deleted = true;
    });
    assert_eq!(plan.finalizers, Some(vec![FINALIZER.to_owned()]));
    let text = "False Deleting: to be removed on one";
    assert_eq!(told(&plan), (ProfileStatus::Terminating, text.to_owned()));
    let lost = after(|observed| (observed.deleted, observed.nodes.desired) = (true, 0));
    let more = "; more nodes have it than are to have a daemon (0): ";
    assert!(told(&lost).1.starts_with(&format!("{text}{more}")));
}

#[test]
fn no_finalizer_is_added_to_what_is_deleted() {
    let plan = after(|observed| {
        observed.deleted = true;
        observed.finalizers.clear();
        observed.pods.insert("default/a".to_owned());
    });
    assert_eq!(plan.finalizers, None);
}

#[test]
fn when_no_node_has_it_any_more_it_goes() {
    let plan = after(|observed| {
        observed.deleted = true;
        observed.reports.clear();
        observed.syscalls = Some("[]".to_owned());
    });
    let expected = Plan {
        finalizers: Some(Vec::new()),
        ..Plan::default()
    };
    assert_eq!(plan, expected);
}

#[test]
fn finalizers_of_others_stay_and_older_ones_of_ours_go() {
    let plan = after(|observed| {
        observed.finalizers = [
            "example.com/x-deleted",
            "node-1-deleted",
            OLD_PARTIAL_FINALIZER,
        ]
        .map(str::to_owned)
        .to_vec();
    });
    let expected = ["example.com/x-deleted", FINALIZER].map(str::to_owned);
    assert_eq!(plan.finalizers, Some(expected.to_vec()));
}

#[test]
fn what_an_older_version_saw_deleted_is_held_by_its_finalizers() {
    let old = Report {
        object: "a-one".to_owned(),
        generation: None,
        current: false,
        ..report(NODE, ProfileStatus::Terminating)
    };
    let was_deleted = |observed: &mut Observed| {
        observed.deleted = true;
        observed.finalizers = vec!["one-deleted".to_owned()];
    };
    for reports in [vec![old], vec![report(NODE, ProfileStatus::Terminating)]] {
        let plan = after(|observed| {
            was_deleted(observed);
            observed.reports = reports;
        });
        assert_eq!(plan.finalizers, None);
        // Without that word, no daemon removes the file.
        assert_eq!(told(&plan).0, ProfileStatus::Terminating);
    }
    let plan = after(|observed| {
        was_deleted(observed);
        observed.reports.clear();
    });
    assert_eq!(plan.finalizers, Some(Vec::new()));
}

#[test]
fn nobody_waits_for_daemons_of_kinds_that_there_are_none_for() {
    let plan = after(|observed| {
        observed.deleted = true;
        observed.installable = false;
    });
    assert_eq!(plan.finalizers, Some(Vec::new()));
    assert_eq!(plan.reports, ["seccompprofile-a-one"]);
    let note = plan.note.unwrap();
    assert_eq!(note.reason, LEFT_ON_NODES);
    assert!(note.message.ends_with("stays on one"), "{}", note.message);
    let plan = after(|observed| {
        observed.installable = false;
    });
    assert_eq!(plan, Plan::default(), "while it lives, what was said stays");
}

#[test]
fn reports_of_nodes_that_left_go() {
    let plan = after(|observed| observed.reports.push(report("gone", ProfileStatus::Error)));
    assert_eq!(plan.reports, ["seccompprofile-a-gone"]);
    assert_eq!(plan.status, None, "it does not count");
}

#[test]
fn reports_of_older_versions_count_until_there_are_newer_ones() {
    let old = Report {
        object: "a-one".to_owned(),
        generation: None,
        current: false,
        ..report(NODE, ProfileStatus::Installed)
    };
    let plan = after(|observed| observed.reports = vec![old.clone()]);
    assert_eq!(plan, Plan::default());
    let plan = after(|observed| observed.reports.push(old));
    assert_eq!(plan.reports, ["a-one"]);
}

#[test]
fn a_status_names_so_many_pods_only() {
    let plan = after(|observed| {
        observed.pods = (0..MOST_PODS + 7)
            .map(|number| format!("default/{number}"))
            .collect();
    });
    let (_, text) = told(&plan);
    assert!(
        text.ends_with("; 7 more pods use it than activeWorkloads names"),
        "{text}"
    );
    assert_eq!(plan.status.unwrap().pods.len(), MOST_PODS);
}
