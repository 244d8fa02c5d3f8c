//! Certificates of our own: an authority, and what it signs for our servers. Nothing here knows
//! where they are kept; the time is handed in.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error as TlsError, RootCertStore};
use thiserror::Error;

mod der;

/// How long an authority lasts.
pub const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(5 * 365 * 24);
/// How long a server's certificate lasts.
pub const LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// By how much others' clocks may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_hours(1);
const AUTHORITY_NAME: &str = "security-profiles-operator";
/// More in a bundle is not ours.
const MOST_AUTHORITIES: usize = 10;

/// A certificate, as a Secret has it: all of it PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// `tls.crt`
    pub certificate: Vec<u8>,
    /// `tls.key`
    pub key: Vec<u8>,
    /// `ca.crt`: the authorities that clients are to trust. In the authority's own Secret, itself and
    /// those before it, as long as certificates of theirs may be in use.
    pub bundle: Vec<u8>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is to be stored; nothing if it is fine as it is.
    pub write: Option<(Stored, Reason)>,
    /// When to look again.
    pub due: Timestamp,
}

/// Why something is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There was nothing.
    Missing,
    /// It is no certificate with its key.
    Corrupt,
    /// It is not valid any more, or not yet.
    Expired,
    /// Two thirds of its life are over.
    Old,
    /// It is for other names.
    Names,
    /// No authority in the bundle signed it.
    Authority,
    /// The certificate stays; what clients are to trust has changed.
    Bundle,
}

/// Why no certificate could be made.
#[derive(Debug, Error)]
#[error("cannot make a certificate")]
pub struct MakeError(#[from] rcgen::Error);

/// What to do about an authority.
pub fn authority(found: Option<&Stored>, now: Timestamp) -> Result<Plan, MakeError> {
    let known = found.map(|found| bundle(&found.bundle)).unwrap_or_default();
    let current = match found {
        None => Err(Reason::Missing),
        Some(found) => Pair::read(found).ok_or(Reason::Corrupt).and_then(|pair| {
            let Pair { from, until, .. } = pair;
            fresh(from, until, now).map(|due| (found, from, due))
        }),
    };
    let (mut stored, from, mut due, reason) = match current {
        Ok((found, from, due)) => (found.clone(), from, due, None),
        Err(reason) => {
            let (stored, from, until) = new_authority(now)?;
            (stored, from, two_thirds(from, until), Some(reason))
        }
    };
    // An earlier authority is needed as long as what it signed lasts.
    let others_until = add(from, LIFE + SKEW);
    let own = certificates(&stored.certificate);
    let mut blocks = own.clone();
    for (block, until) in known {
        let needed = others_until.min(until);
        if !own.contains(&block) && !blocks.contains(&block) && needed > now {
            due = due.min(needed);
            blocks.push(block);
        }
    }
    blocks.truncate(MOST_AUTHORITIES);
    stored.bundle = blocks.concat().into_bytes();
    let changed = found.is_none_or(|found| found.bundle != stored.bundle);
    let reason = reason.or(changed.then_some(Reason::Bundle));
    Ok(Plan {
        write: reason.map(|reason| (stored, reason)),
        due,
    })
}

/// What to do about a server's certificate for these DNS names.
pub fn serving(
    found: Option<&Stored>,
    authority: &Stored,
    names: &[String],
    now: Timestamp,
) -> Result<Plan, MakeError> {
    let current = match found {
        None => Err(Reason::Missing),
        Some(found) => examine(found, authority, names, now).map(|due| (found, due)),
    };
    match current {
        Ok((found, due)) => {
            let changed = found.bundle != authority.bundle;
            let stored = Stored {
                bundle: authority.bundle.clone(),
                ..found.clone()
            };
            Ok(Plan {
                write: changed.then_some((stored, Reason::Bundle)),
                due,
            })
        }
        Err(reason) => {
            let (stored, due) = new_serving(authority, names, now)?;
            Ok(Plan {
                write: Some((stored, reason)),
                due,
            })
        }
    }
}

/// Until when the first certificate of a text is valid, if there is one.
pub fn end(pem: &[u8]) -> Option<Timestamp> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    der::validity(&der).map(|(_, until)| until)
}

/// A certificate whose key is the right one.
struct Pair {
    chain: CertifiedKey,
    from: Timestamp,
    until: Timestamp,
}

impl Pair {
    fn read(stored: &Stored) -> Option<Self> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&stored.certificate)
            .collect::<Result<_, _>>()
            .ok()?;
        let (from, until) = der::validity(chain.first()?)?;
        let key = PrivateKeyDer::from_pem_slice(&stored.key).ok()?;
        let chain = CertifiedKey::from_der(chain, key, &ring::default_provider()).ok()?;
        Some(Self { chain, from, until })
    }
}

/// When a certificate is to be replaced, if not now.
fn fresh(from: Timestamp, until: Timestamp, now: Timestamp) -> Result<Timestamp, Reason> {
    let due = two_thirds(from, until);
    match () {
        () if now < from || now >= until => Err(Reason::Expired),
        () if now >= due => Err(Reason::Old),
        () => Ok(due),
    }
}

fn two_thirds(from: Timestamp, until: Timestamp) -> Timestamp {
    let life = until.duration_since(from);
    add(from, life / 3 * 2)
}

fn examine(
    found: &Stored,
    authority: &Stored,
    names: &[String],
    now: Timestamp,
) -> Result<Timestamp, Reason> {
    let Pair { chain, from, until } = Pair::read(found).ok_or(Reason::Corrupt)?;
    let due = fresh(from, until, now)?;
    let mut roots = RootCertStore::empty();
    let anchors = CertificateDer::pem_slice_iter(&authority.bundle).filter_map(Result::ok);
    roots.add_parsable_certificates(anchors);
    let verifier = WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::new(ring::default_provider()),
    )
    .build()
    .ok()
    .ok_or(Reason::Authority)?;
    let (first, rest) = chain.cert.split_first().ok_or(Reason::Corrupt)?;
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    for name in names {
        let name = ServerName::try_from(name.as_str())
            .ok()
            .ok_or(Reason::Names)?;
        verifier
            .verify_server_cert(first, rest, &name, &[], time)
            .map_err(|error| match error {
                TlsError::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                ) => Reason::Names,
                _ => Reason::Authority,
            })?;
    }
    Ok(due)
}

fn new_authority(now: Timestamp) -> Result<(Stored, Timestamp, Timestamp), MakeError> {
    let (from, until) = (add(now, -SKEW), add(now, AUTHORITY_LIFE));
    let key = KeyPair::generate()?;
    let mut params = authority_params()?;
    lasts(&mut params, from, until);
    let certificate = params.self_signed(&key)?;
    let stored = Stored {
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
        bundle: Vec::new(),
    };
    Ok((stored, from, until))
}

/// What the certificates of all our authorities have in common.
fn authority_params() -> Result<CertificateParams, MakeError> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name = distinguished(AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn new_serving(
    authority: &Stored,
    names: &[String],
    now: Timestamp,
) -> Result<(Stored, Timestamp), MakeError> {
    let (from, until) = (add(now, -SKEW), add(now, LIFE));
    let pem = String::from_utf8_lossy(&authority.key);
    let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&pem)?);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = distinguished(names.first().map_or(AUTHORITY_NAME, String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    lasts(&mut params, from, until);
    let certificate = params.signed_by(&key, &issuer)?;
    let stored = Stored {
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
        bundle: authority.bundle.clone(),
    };
    Ok((stored, two_thirds(from, until)))
}

fn distinguished(name: &str) -> DistinguishedName {
    /// The longest common name that X.509 has a place for.
    const LONGEST: usize = 64;
    let mut distinguished = DistinguishedName::new();
    let name: String = name.chars().take(LONGEST).collect();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn lasts(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let seconds = |at: Timestamp| u64::try_from(at.as_second()).unwrap_or_default();
    let time = |at| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds(at));
    params.not_before = time(from);
    params.not_after = time(until);
}

fn add(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_add(span).unwrap_or(at)
}

/// The authorities of a bundle, with the ends of their lives. What is none is left out.
fn bundle(pem: &[u8]) -> Vec<(String, Timestamp)> {
    let certificates = certificates(pem).into_iter();
    certificates
        .filter_map(|block| {
            let der = CertificateDer::from_pem_slice(block.as_bytes()).ok()?;
            let (_, until) = der::validity(&der)?;
            Some((block, until))
        })
        .collect()
}

/// The blocks of certificates in a text, each with the end of its last line.
fn certificates(pem: &[u8]) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    text.split(BEGIN)
        .skip(1)
        .filter_map(|rest| rest.split_once(END))
        .map(|(body, _)| format!("{BEGIN}{body}{END}\n"))
        .collect()
}

#[cfg(test)]
mod tests;
