//! What the configuration does not allow, or no longer.

use super::*;

#[test]
fn what_is_no_longer_allowed_is_deleted_but_not_what_somebody_changed() {
    let refuse = |observed: &mut Observed, reason: Reason| {
        observed.reports[0].status = Some(ProfileStatus::Error);
        observed.reports[0].reason = Some(reason.to_string());
    };
    let no_longer = Reason::NoLongerAllowed;
    let first = after(|observed| refuse(observed, no_longer));
    assert!(first.delete && first.note.is_some());
    // What the first attempt wrote does not keep the second from it.
    let second = after(|observed| {
        refuse(observed, no_longer);
        observed.known = first.status.clone().unwrap();
    });
    assert!(second.delete && second.status.is_none());
    // Nor does a node that has not got it, or is in error.
    let plan = after(|observed| {
        refuse(observed, no_longer);
        observed.known.status = Some(ProfileStatus::InProgress);
        observed.reports.push(Report {
            reason: Some(Reason::FolderUnusable.to_string()),
            ..report("two", ProfileStatus::Error)
        });
        let names = ["one", "two", "three"].map(str::to_owned);
        observed.nodes = Nodes {
            names: names.into(),
            desired: 3,
        };
    });
    assert!(plan.delete);
    let plan = after(|observed| {
        refuse(observed, no_longer);
        observed.generation = 3;
    });
    assert!(!plan.delete, "it is about what was changed since");
    let plan = after(|observed| {
        refuse(observed, no_longer);
        observed.deleted = true;
    });
    assert!(!plan.delete && plan.note.is_none(), "it is deleted already");
    // It was installed everywhere, and somebody changed the base that it stands on, or it is new.
    for reason in [Reason::BaseNotAllowed, Reason::ProfileNotAllowed] {
        let plan = after(|observed| refuse(observed, reason));
        assert!(!plan.delete && plan.note.is_none(), "{reason}");
        let (status, text) = told(&plan);
        assert_eq!(status, ProfileStatus::Error);
        assert!(text.starts_with("False NotAllowed: "), "{text}");
    }
}
