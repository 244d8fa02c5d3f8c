//! TLS with a certificate that may change while the server runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use thiserror::Error;

/// Why a certificate is no use.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file is not there or cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not PEM, or has nothing in it.
    #[error("there is no {what} in {path}", path = .path.display())]
    Content {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The key is of no known kind, or of another certificate.
    #[error("the certificate and the key do not go together")]
    Pair(#[source] rustls::Error),
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeastTls {
    /// 1.2.
    #[default]
    V1_2,
    /// 1.3.
    V1_3,
}

/// How connections are secured.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    files: Arc<Files>,
}

impl Tls {
    /// The certificate and the key are `tls.crt` and `tls.key` in a folder, as a mounted Secret has
    /// them. They are looked at again whenever a connection begins, and read if they changed. Until
    /// they are there for the first time, no connection succeeds.
    pub fn new(folder: &Path, least: LeastTls) -> Result<Self, rustls::Error> {
        let files = Arc::new(Files {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            held: Mutex::default(),
        });
        let versions: &[_] = match least {
            LeastTls::V1_2 => &[&TLS13, &TLS12],
            LeastTls::V1_3 => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&files) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            files,
        })
    }

    /// Whether there is a certificate to show.
    pub fn is_ready(&self) -> bool {
        self.files.current().is_some()
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    held: Mutex<Held>,
}

/// What was read last.
#[derive(Debug, Default)]
struct Held {
    tried: bool,
    /// The files then; nothing if one was not there.
    seen: Option<[Identity; 2]>,
    pair: Option<Arc<CertifiedKey>>,
}

/// By which one sees that a file is another one. The kubelet replaces the folder that the files of
/// a Secret are links to, so that they get new inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl Files {
    /// The certificate, read again if it changed. One that cannot be used does not replace one that
    /// can: it may be half of a change.
    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = [identity(&self.certificate), identity(&self.key)];
        let seen = match seen {
            [Some(certificate), Some(key)] => Some([certificate, key]),
            _ => None,
        };
        if held.tried && seen == held.seen {
            return held.pair.clone();
        }
        held.tried = true;
        match read(&self.certificate, &self.key) {
            Ok(pair) => {
                tracing::info!(certificate = %self.certificate.display(), "the certificate was read");
                held.pair = Some(Arc::new(pair));
            }
            Err(error) => {
                let kept = held.pair.is_some();
                let reason = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, reason, kept, "the certificate cannot be used");
            }
        }
        held.seen = seen;
        held.pair.clone()
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::metadata(path).ok()?;
    Some(Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        changed: (metadata.mtime(), metadata.mtime_nsec()),
        size: metadata.len(),
    })
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let file = |path: &Path| {
        fs::read(path).map_err(|source| CertificateError::File {
            path: path.to_owned(),
            source,
        })
    };
    let content = |what, path: &Path| CertificateError::Content {
        what,
        path: path.to_owned(),
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&file(certificate)?)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if chain.is_empty() {
        return Err(content("certificate", certificate));
    }
    let Ok(private) = PrivateKeyDer::from_pem_slice(&file(key)?) else {
        return Err(content("private key", key));
    };
    CertifiedKey::from_der(chain, private, &ring::default_provider())
        .map_err(CertificateError::Pair)
}
