use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use axum::routing::{get, post};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::{Stored, authority, serving};
use super::*;

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start(tls: Option<Tls>, limits: Limits) -> Running {
    let slow = get(async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "slow"
    });
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/slow", slow)
        .route(
            "/size",
            post(async |body: axum::body::Bytes| body.len().to_string()),
        );
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, tls, router, limits, stop.clone()));
    Running {
        address,
        stop,
        task,
    }
}

/// Sends the text, and reads until the other side ends.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

const CLOSE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn short() -> Limits {
    Limits {
        connections: 2,
        handshake: Duration::from_millis(200),
        head: Duration::from_millis(200),
        request: Duration::from_millis(600),
        drain: Duration::from_secs(2),
    }
}

fn made() -> (Stored, Stored) {
    let now = Timestamp::now();
    let (own, _) = authority(None, now).unwrap().write.unwrap();
    let names = ["localhost".to_owned()];
    let (server, _) = serving(None, &own, &names, now).unwrap().write.unwrap();
    (own, server)
}

/// As the kubelet mounts a Secret: files are links through one link that is replaced.
fn mount(folder: &Path, generation: u32, secret: &Stored) {
    let data = folder.join(format!("..{generation}"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("tls.crt"), &secret.certificate).unwrap();
    fs::write(data.join("tls.key"), &secret.key).unwrap();
    let link = folder.join("..new");
    std::os::unix::fs::symlink(&data, &link).unwrap();
    fs::rename(&link, folder.join("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(Path::new("..data").join(file), folder.join(file)).ok();
    }
}

fn client(
    trusted: &Stored,
    protocols: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&trusted.certificate).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    connector: &TlsConnector,
    address: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await?;
    // Whether the server agreed is known with the first byte only.
    stream.flush().await?;
    Ok(stream)
}

#[tokio::test]
async fn certificates_change_while_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::new(folder.path(), LeastTls::V1_2).unwrap();
    assert!(!tls.is_ready());
    let server = start(Some(tls.clone()), Limits::default()).await;
    let (first, shown) = made();
    let (second, next) = made();
    let all: &[_] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    let trusts_first = client(&first, &["h2", "http/1.1"], all);
    let trusts_second = client(&second, &[], all);
    assert!(connect(&trusts_first, server.address).await.is_err());

    mount(folder.path(), 1, &shown);
    assert!(tls.is_ready());
    let mut held = connect(&trusts_first, server.address).await.unwrap();
    assert_eq!(held.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(connect(&trusts_second, server.address).await.is_err());

    // Half of a change is none.
    fs::write(folder.path().join("..data/tls.key"), "nonsense").unwrap();
    connect(&trusts_first, server.address).await.unwrap();

    mount(folder.path(), 2, &next);
    connect(&trusts_second, server.address).await.unwrap();
    assert!(connect(&trusts_first, server.address).await.is_err());
    let answer = exchange(&mut held, CLOSE).await;
    assert!(answer.ends_with("hello"), "{answer}");

    let only_h2 = client(&second, &["h2"], all);
    assert!(connect(&only_h2, server.address).await.is_err());
    server.stop.cancel();
    server.task.await.unwrap();
}

#[tokio::test]
async fn old_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (own, shown) = made();
    mount(folder.path(), 1, &shown);
    for (least, taken) in [(LeastTls::V1_2, true), (LeastTls::V1_3, false)] {
        let tls = Tls::new(folder.path(), least).unwrap();
        let server = start(Some(tls), Limits::default()).await;
        let old = client(&own, &[], &[&rustls::version::TLS12]);
        assert_eq!(connect(&old, server.address).await.is_ok(), taken);
        let new = client(&own, &[], &[&rustls::version::TLS13]);
        let stream = connect(&new, server.address).await.unwrap();
        assert_eq!(
            stream.get_ref().1.protocol_version(),
            Some(ProtocolVersion::TLSv1_3)
        );
        server.stop.cancel();
    }
}

#[tokio::test]
async fn requests_are_bounded() {
    let server = start(None, short()).await;
    let connect = async || TcpStream::connect(server.address).await.unwrap();
    let post = |size: usize| {
        format!(
            "POST /size HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        )
    };
    let answer = exchange(&mut connect().await, &format!("{}{}", post(3), "abc")).await;
    assert!(answer.ends_with("\r\n3"), "{answer}");
    let answer = exchange(&mut connect().await, &post(LARGEST_REQUEST + 1)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Without a length it is counted. Whether the answer arrives before the end of the connection
    // does is up to the network.
    let mut stream = connect().await;
    let head = "POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut chunk = b"100000\r\n".to_vec();
    chunk.resize(chunk.len() + (1 << 20), b'a');
    chunk.extend(b"\r\n");
    let mut taken = 0;
    while taken < 64 && stream.write_all(&chunk).await.is_ok() {
        taken += 1;
    }
    assert!(taken < 64, "{taken} MiB");
    // A body that does not come.
    let answer = exchange(&mut connect().await, &post(10)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // A head that does not come (the connection ends, or this would wait for ever), or is too long.
    let answer = exchange(&mut connect().await, "GET / HTTP/1.1\r\nHost:").await;
    assert!(!answer.contains("200"), "{answer}");
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "a".repeat(4 * LARGEST_HEAD)
    );
    let answer = exchange(&mut connect().await, &long).await;
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn idle_connections_make_room() {
    let server = start(None, short()).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    let answer = timeout(Duration::from_secs(5), exchange(&mut kept, CLOSE))
        .await
        .unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn what_is_being_answered_is_answered_before_the_end() {
    let server = start(None, Limits::default()).await;
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    let asked = tokio::spawn(async move { exchange(&mut busy, request).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.cancel();
    let answer = asked.await.unwrap();
    assert!(answer.ends_with("slow"), "{answer}");
    timeout(Duration::from_secs(2), server.task)
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
