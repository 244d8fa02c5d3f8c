use super::*;

fn start() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn names() -> Vec<String> {
    vec!["a.b.svc".to_owned(), "a.b".to_owned()]
}

/// What is stored after a plan was carried out, and why it was written.
fn done(found: Option<&Stored>, plan: Plan) -> (Stored, Option<Reason>) {
    match plan.write {
        Some((stored, reason)) => (stored, Some(reason)),
        None => (found.unwrap().clone(), None),
    }
}

fn new_authority_at(now: Timestamp) -> Stored {
    done(None, authority(None, now).unwrap()).0
}

fn serving_reason(found: &Stored, authority: &Stored, now: Timestamp) -> Option<Reason> {
    let plan = serving(Some(found), authority, &names(), now).unwrap();
    if let Some((stored, _)) = &plan.write {
        // What is written is always fine at once.
        let again = serving(Some(stored), authority, &names(), now).unwrap();
        assert_eq!(again.write, None);
        assert!(again.due > now);
    }
    plan.write.map(|(_, reason)| reason)
}

#[test]
fn new_ones_are_made_and_then_left_alone() {
    let now = start();
    let plan = authority(None, now).unwrap();
    let due = plan.due;
    let (own, reason) = done(None, plan);
    assert_eq!(reason, Some(Reason::Missing));
    assert_eq!(own.bundle, own.certificate);
    let again = authority(Some(&own), now).unwrap();
    assert_eq!((again.write, again.due), (None, due));

    let plan = serving(None, &own, &names(), now).unwrap();
    let due = plan.due;
    let (server, reason) = done(None, plan);
    assert_eq!(reason, Some(Reason::Missing));
    assert_eq!(server.bundle, own.bundle);
    let again = serving(Some(&server), &own, &names(), now).unwrap();
    assert_eq!((again.write, again.due), (None, due));
    let wait = due.duration_since(now);
    assert!(wait > days(59) && wait < days(61), "{wait:?}");
}

#[test]
fn servers_are_replaced_in_time() {
    let now = start();
    let own = new_authority_at(now);
    let (server, _) = done(None, serving(None, &own, &names(), now).unwrap());
    for (day, expected) in [
        (0, None),
        (59, None),
        (61, Some(Reason::Old)),
        (89, Some(Reason::Old)),
        (91, Some(Reason::Expired)),
        (-1, Some(Reason::Expired)),
    ] {
        let at = add(now, days(day));
        assert_eq!(serving_reason(&server, &own, at), expected, "day {day}");
    }
}

#[test]
fn what_is_no_use_is_replaced() {
    let now = start();
    let own = new_authority_at(now);
    let (server, _) = done(None, serving(None, &own, &names(), now).unwrap());
    let (other, _) = done(None, serving(None, &own, &names(), now).unwrap());
    let corrupt = [
        Stored {
            certificate: b"nonsense".to_vec(),
            ..server.clone()
        },
        Stored {
            key: Vec::new(),
            ..server.clone()
        },
        // The key of another certificate.
        Stored {
            key: other.key,
            ..server.clone()
        },
        Stored::default(),
    ];
    for corrupt in corrupt {
        let reason = serving_reason(&corrupt, &own, now);
        assert_eq!(reason, Some(Reason::Corrupt));
    }
    let (narrow, _) = done(None, serving(None, &own, &names()[..1], now).unwrap());
    assert_eq!(serving_reason(&narrow, &own, now), Some(Reason::Names));
    let stranger = new_authority_at(now);
    let (strange, _) = done(None, serving(None, &stranger, &names(), now).unwrap());
    assert_eq!(serving_reason(&strange, &own, now), Some(Reason::Authority));
}

#[test]
fn a_new_authority_leaves_the_old_ones_certificates_in_use() {
    let now = start();
    let first = new_authority_at(now);
    let late = add(now, AUTHORITY_LIFE / 3 * 2 + days(1));
    let (server, _) = done(
        None,
        serving(None, &first, &names(), add(late, -days(10))).unwrap(),
    );

    let plan = authority(Some(&first), late).unwrap();
    let (second, reason) = done(Some(&first), plan);
    assert_eq!(reason, Some(Reason::Old));
    assert_ne!(second.key, first.key);
    assert_eq!(certificates(&second.bundle).len(), 2);
    assert!(second.bundle.starts_with(&second.certificate));

    // The server keeps its certificate, and learns what clients are to trust.
    assert_eq!(serving_reason(&server, &second, late), Some(Reason::Bundle));
    let plan = serving(Some(&server), &second, &names(), late).unwrap();
    let (server, _) = done(Some(&server), plan);
    let at = add(late, days(40));
    assert_eq!(serving_reason(&server, &second, at), None);

    // Once all that the old one signed is over, it goes.
    let plan = authority(Some(&second), at).unwrap();
    assert_eq!(plan.write, None);
    assert!(plan.due < add(late, days(92)), "{}", plan.due);
    let (third, reason) = done(
        Some(&second),
        authority(Some(&second), add(late, days(92))).unwrap(),
    );
    assert_eq!(reason, Some(Reason::Bundle));
    assert_eq!(third.bundle, second.certificate);
}

#[test]
fn a_lost_authority_is_replaced() {
    let now = start();
    let own = new_authority_at(now);
    let lost = Stored {
        key: b"gone".to_vec(),
        ..own.clone()
    };
    let (new, reason) = done(Some(&lost), authority(Some(&lost), now).unwrap());
    assert_eq!(reason, Some(Reason::Corrupt));
    // What it signed is trusted as long as it may be in use.
    assert_eq!(certificates(&new.bundle).len(), 2);
    let expired = add(now, AUTHORITY_LIFE + days(1));
    let (new, reason) = done(Some(&own), authority(Some(&own), expired).unwrap());
    assert_eq!(reason, Some(Reason::Expired));
    assert_eq!(new.bundle, new.certificate);
}

#[test]
fn strange_bundles_do_not_grow_and_do_no_harm() {
    let now = start();
    let own = new_authority_at(now);
    let mut found = own.clone();
    found.bundle = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\nhello".to_vec();
    for _ in 0..20 {
        found.bundle.extend(new_authority_at(now).certificate);
    }
    let (tidied, reason) = done(Some(&found), authority(Some(&found), now).unwrap());
    assert_eq!(reason, Some(Reason::Bundle));
    assert_eq!(certificates(&tidied.bundle).len(), MOST_AUTHORITIES);
    assert!(tidied.bundle.starts_with(&own.certificate));
}

#[test]
fn no_bytes_are_taken_for_a_certificate() {
    let own = new_authority_at(start());
    let whole = CertificateDer::from_pem_slice(&own.certificate).unwrap();
    let (from, until) = der::validity(&whole).unwrap();
    assert_eq!(from, add(start(), -SKEW));
    assert_eq!(until, add(start(), AUTHORITY_LIFE));
    for end in 0..whole.len() {
        assert_eq!(der::validity(&whole[..end]), None, "{end}");
    }
    for at in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0x80, 0x84, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[at] = byte;
            // Whatever it says: it comes to an end.
            der::validity(&bytes);
        }
    }
}
