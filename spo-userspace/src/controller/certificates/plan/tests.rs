use super::*;

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn registration(bundle: &[u8]) -> Registration {
    Registration {
        version: Some("7".to_owned()),
        injected: false,
        webhooks: vec![
            ("one".to_owned(), bundle.to_vec()),
            ("two".to_owned(), b"other".to_vec()),
        ],
    }
}

fn ours(stored: Stored) -> Seen {
    Seen::Ours {
        stored,
        version: Some("3".to_owned()),
    }
}

/// What there is once all was written.
fn applied(observed: &Observed, plan: Plan) -> Observed {
    let secret = |seen: &Seen, write: Option<Write>| match write {
        Some(write) => ours(write.stored),
        None => seen.clone(),
    };
    let taught = |old: &Option<Registration>, trust: Option<Trust>| {
        let mut new = old.clone()?;
        if let Some(trust) = trust {
            for (name, bundle) in &mut new.webhooks {
                if trust.webhooks.contains(name) {
                    bundle.clone_from(&trust.bundle);
                }
            }
        }
        Some(new)
    };
    Observed {
        authority: secret(&observed.authority, plan.authority),
        webhook: secret(&observed.webhook, plan.webhook),
        metrics: secret(&observed.metrics, plan.metrics),
        mutating: taught(&observed.mutating, plan.mutating),
        validating: taught(&observed.validating, plan.validating),
    }
}

fn is_idle(plan: &Plan) -> bool {
    let Plan {
        authority,
        mutating,
        validating,
        webhook,
        metrics,
        due: _,
    } = plan;
    authority.is_none()
        && mutating.is_none()
        && validating.is_none()
        && webhook.is_none()
        && metrics.is_none()
}

#[test]
fn everything_is_made_once() {
    let observed = Observed {
        validating: Some(registration(b"")),
        ..Observed::default()
    };
    let first = plan(&observed, "spo", now()).unwrap();
    let made = first.authority.clone().unwrap();
    assert_eq!((made.version, made.reason), (None, Reason::Missing));
    let trust = first.validating.clone().unwrap();
    assert_eq!(trust.webhooks, ["one", "two"]);
    assert_eq!(trust.bundle, made.stored.bundle);
    assert_eq!(first.mutating, None);
    let observed = applied(&observed, first);
    let second = plan(&observed, "spo", now()).unwrap();
    assert!(is_idle(&second), "{second:?}");
    assert!(second.due > now());
}

#[test]
fn only_webhooks_that_trust_something_else_are_changed() {
    let mut observed = Observed::default();
    observed = applied(&observed, plan(&observed, "spo", now()).unwrap());
    let Seen::Ours { stored, .. } = &observed.authority else {
        panic!("{observed:?}");
    };
    observed.mutating = Some(registration(&stored.bundle));
    let trust = plan(&observed, "spo", now()).unwrap().mutating.unwrap();
    assert_eq!(trust.webhooks, ["two"]);
    assert_eq!(trust.version.as_deref(), Some("7"));
}

#[test]
fn what_others_keep_is_left_alone() {
    let foreign = Observed {
        webhook: Seen::Foreign {
            certificate: Vec::new(),
        },
        validating: Some(registration(b"theirs")),
        ..Observed::default()
    };
    let part = plan(&foreign, "spo", now()).unwrap();
    assert!(part.webhook.is_none() && part.validating.is_none());
    assert!(part.metrics.is_some() && part.authority.is_some());

    let all = Observed {
        metrics: Seen::Foreign {
            certificate: Vec::new(),
        },
        ..foreign.clone()
    };
    assert!(is_idle(&plan(&all, "spo", now()).unwrap()));
    let taken = Observed {
        authority: Seen::Foreign {
            certificate: Vec::new(),
        },
        ..Observed::default()
    };
    assert!(is_idle(&plan(&taken, "spo", now()).unwrap()));

    let injected = Observed {
        validating: Some(Registration {
            injected: true,
            ..registration(b"")
        }),
        ..Observed::default()
    };
    let plan = plan(&injected, "spo", now()).unwrap();
    assert!(plan.validating.is_none() && plan.webhook.is_some());
}

#[test]
fn what_is_replaced_is_the_version_that_was_seen() {
    let mut observed = Observed::default();
    observed = applied(&observed, plan(&observed, "spo", now()).unwrap());
    let late = now() + jiff::SignedDuration::from_hours(24 * 75);
    let plan = plan(&observed, "spo", late).unwrap();
    assert_eq!(plan.authority, None);
    for write in [plan.webhook.unwrap(), plan.metrics.unwrap()] {
        assert_eq!(write.version.as_deref(), Some("3"));
        assert_eq!(write.reason, Reason::Old);
    }
}
