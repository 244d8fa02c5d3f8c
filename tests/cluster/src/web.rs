//! Servers of ours: how they are asked, and how they get their certificates.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use spo::server::certificates::{Stored, authority, serving};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What the certificates of metrics are for.
const METRICS: &str = "metrics.security-profiles-operator.svc";

/// A port that nobody listens at. None of those that the kernel gives to clients, or another test's client
/// may have it before it is listened at; and each test gets another one.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: std::ops::Range<u32> = 16_000..32_000;
    let size = PORTS.end - PORTS.start;
    for _ in 0..size {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        // Processes begin far from each other.
        let offset = std::process::id().wrapping_mul(997).wrapping_add(next) % size;
        let port = u16::try_from(PORTS.start + offset)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

/// Asks without TLS, and gives back all that is said.
pub async fn plain_get(port: u16, path: &str, headers: &[String]) -> Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let answer = get(stream, path, headers).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What the metrics are asked with: who is trusted to be whom, and which protocols are offered.
pub struct Tls<'a> {
    /// The authorities.
    pub authorities: &'a [u8],
    /// The server's name.
    pub name: &'a str,
    /// As ALPN has them; none at all if there is none.
    pub protocols: &'a [&'a str],
}

/// An authority, and what it signed for whoever serves metrics.
pub fn certificate() -> Result<(Stored, Stored)> {
    let now = Timestamp::now();
    let (authority, _) = authority(None, now)?.write.context("no authority")?;
    let names = [METRICS.to_owned()];
    let (signed, _) = serving(None, &authority, &names, now)?
        .write
        .context("no certificate")?;
    Ok((authority, signed))
}

/// Metrics are asked so, with the protocols that there are.
pub fn trusting(authority: &Stored) -> Tls<'_> {
    Tls {
        authorities: &authority.bundle,
        name: METRICS,
        protocols: &["h2", "http/1.1"],
    }
}

/// Asks with TLS, and gives back the protocol that was agreed on and all that is said.
pub async fn https_get(
    port: u16,
    tls: &Tls<'_>,
    path: &str,
    headers: &[String],
) -> Result<(String, String)> {
    let stream = connect(port, tls).await?;
    let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default();
    let agreed = String::from_utf8_lossy(agreed).into_owned();
    let answer = get(stream, path, headers).await?;
    Ok((agreed, String::from_utf8_lossy(&answer).into_owned()))
}

/// A connection with TLS.
pub async fn connect(port: u16, tls: &Tls<'_>) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(tls.authorities) {
        roots.add(authority?)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let offered = tls.protocols.iter();
    config.alpn_protocols = offered.map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(tls.name.to_owned())?;
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let connector = TlsConnector::from(Arc::new(config));
    Ok(connector.connect(name, stream).await?)
}

/// Asks, and gives back head and body as they come.
pub async fn get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    headers: &[String],
) -> Result<Vec<u8>> {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Mounts a Secret as the kubelet does.
pub fn mount(folder: &Path, generation: u32, secret: &Stored) -> Result<()> {
    let data = folder.join(format!("..{generation}"));
    fs::create_dir_all(&data).context("failed to make a folder")?;
    fs::write(data.join("tls.crt"), &secret.certificate)?;
    fs::write(data.join("tls.key"), &secret.key)?;
    let link = folder.join("..new");
    std::os::unix::fs::symlink(&data, &link)?;
    fs::rename(&link, folder.join("..data"))?;
    for file in ["tls.crt", "tls.key"] {
        let path = folder.join(file);
        if !path.exists() {
            std::os::unix::fs::symlink(Path::new("..data").join(file), path)?;
        }
    }
    Ok(())
}
