//! Keys and certificates of a cluster: made once, when its folder is.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// How the API server's service is called inside of the cluster, and the address that it has there.
const SERVER_NAMES: [&str; 6] = [
    "127.0.0.1",
    super::components::SERVICE_ADDRESS,
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
];

/// The folder with the files.
#[derive(Debug, Clone)]
pub(super) struct Pki {
    folder: PathBuf,
}

/// Who a certificate is for.
#[derive(Debug)]
pub(super) struct Identity {
    /// The name of its files.
    pub(super) file: &'static str,
    user: &'static str,
    group: Option<&'static str>,
}

const fn identity(file: &'static str, user: &'static str, group: Option<&'static str>) -> Identity {
    Identity { file, user, group }
}

/// For people, and for the tests' own needs.
pub(super) const ADMIN: Identity = identity("admin", "admin", Some("system:masters"));
pub(super) const CONTROLLER_MANAGER: Identity =
    identity("controller-manager", "system:kube-controller-manager", None);
pub(super) const SCHEDULER: Identity = identity("scheduler", "system:kube-scheduler", None);
pub(super) const KUBELET: Identity =
    identity("kubelet", "system:node:spo-node", Some("system:nodes"));
pub(super) const PROXY: Identity = identity("kube-proxy", "system:kube-proxy", None);
/// What the API server shows to the kubelet.
pub(super) const KUBELET_CLIENT: Identity = identity(
    "kubelet-client",
    "kube-apiserver-kubelet-client",
    Some("system:masters"),
);
/// What the API server shows to servers behind it.
const FRONT_PROXY: Identity = identity("front-proxy-client", "front-proxy-client", None);
/// What the control plane's servers show; etcd has an authority of its own.
const SERVER: Identity = identity("server", "kube-apiserver", None);
const ETCD: Identity = identity("etcd", "etcd", None);

type Authority = Issuer<'static, KeyPair>;

impl Pki {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file of a certificate.
    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension("crt")
    }

    /// The file of a private key.
    pub(super) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension("key")
    }

    /// The file of the public key that tokens are checked with.
    pub(super) fn token_key(&self) -> PathBuf {
        self.folder.join("tokens.pub")
    }

    /// Makes everything, into a folder that nobody else may enter; for a node too, if there is one
    /// at this address.
    pub(super) fn create(&self, node: Option<Ipv4Addr>) -> Result<()> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("failed to make the folder {}", self.folder.display()))?;
        let ca = self.authority("ca")?;
        for identity in [ADMIN, CONTROLLER_MANAGER, SCHEDULER] {
            self.sign(&ca, &identity, &[])?;
        }
        let address = node.map(|address| address.to_string());
        let address = address.as_deref();
        let names: Vec<_> = SERVER_NAMES.into_iter().chain(address).collect();
        self.sign(&ca, &SERVER, &names)?;
        if let Some(address) = address {
            self.sign(&ca, &KUBELET, &[address])?;
            self.sign(&ca, &PROXY, &[])?;
            self.sign(&ca, &KUBELET_CLIENT, &[])?;
        }
        let front_proxy = self.authority("front-proxy-ca")?;
        self.sign(&front_proxy, &FRONT_PROXY, &[])?;
        let etcd = self.authority("etcd-ca")?;
        self.sign(&etcd, &ETCD, &["127.0.0.1"])?;

        let tokens = KeyPair::generate().context("failed to make the key for tokens")?;
        write(&self.key("tokens"), &tokens.serialize_pem())?;
        write(&self.token_key(), &tokens.public_key_pem())
    }

    fn authority(&self, name: &str) -> Result<Authority> {
        let context = || format!("failed to make the authority {name}");
        let mut params = params(name, None, &[]).with_context(context)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().with_context(context)?;
        let certificate = params.self_signed(&key).with_context(context)?;
        write(&self.certificate(name), &certificate.pem())?;
        write(&self.key(name), &key.serialize_pem())?;
        Ok(Issuer::new(params, key))
    }

    fn sign(&self, authority: &Authority, identity: &Identity, names: &[&str]) -> Result<()> {
        let Identity { file, user, group } = identity;
        let context = || format!("failed to make the certificate {file}");
        let mut params = params(user, *group, names).with_context(context)?;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate().with_context(context)?;
        let certificate = params.signed_by(&key, authority).with_context(context)?;
        write(&self.certificate(file), &certificate.pem())?;
        write(&self.key(file), &key.serialize_pem())
    }
}

/// What all certificates have. They outlast every cluster of this kind.
fn params(
    user: &str,
    group: Option<&str>,
    names: &[&str],
) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<_> = names.iter().copied().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(group) = group {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    params.distinguished_name.push(DnType::CommonName, user);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    Ok(params)
}

/// Writes a file that only its owner reads.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let context = || format!("failed to write {}", path.display());
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)
}
