//! A wire between a process and the API server that can be cut, and that can hang.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use kube::config::Kubeconfig;

/// The wire. It passes on until it is told otherwise.
pub struct Proxy {
    /// Where it is.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    open: Vec<TcpStream>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Passes,
    Hangs,
    /// What is asked hangs, and what is answered passes.
    Swallows,
    Cut,
}

impl Proxy {
    /// A wire to a port of this machine.
    pub fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to listen")?;
        let port = listener.local_addr().context("no address")?.port();
        let state = State {
            mode: Mode::Passes,
            open: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Who is not connected sees the end at once.
                accepting.connect(client, server).ok();
            }
        });
        Ok(Self { port, shared })
    }

    /// Puts a wire into the way to the server, and the authority where every user can read it.
    pub fn before(config: &mut Kubeconfig, files: &Path) -> Result<Self> {
        let cluster = config.clusters.first_mut().context("no cluster")?;
        let cluster = cluster.cluster.as_mut().context("no cluster")?;
        let address = cluster.server.as_deref().context("no address")?;
        let uri: http::Uri = address.parse()?;
        ensure!(
            uri.host() == Some("127.0.0.1"),
            "the server is not on this machine: {address}"
        );
        let proxy = Self::to(uri.port_u16().context("no port")?)?;
        cluster.server = Some(format!("https://127.0.0.1:{}", proxy.port));
        if let Some(authority) = &mut cluster.certificate_authority {
            let copy = files.join("ca.crt");
            fs::write(&copy, fs::read(&*authority)?)?;
            *authority = copy.to_string_lossy().into_owned();
        }
        Ok(proxy)
    }

    /// Breaks all connections, and lets no new one through.
    pub fn cut(&self) {
        self.set(Mode::Cut);
        for stream in self.shared.lock().open.drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Passes nothing on any more, and breaks nothing.
    pub fn hang(&self) {
        self.set(Mode::Hangs);
    }

    /// Lets no request through any more, while watches go on to tell what happens.
    pub fn swallow(&self) {
        self.set(Mode::Swallows);
    }

    /// Passes on again.
    pub fn mend(&self) {
        self.set(Mode::Passes);
    }

    fn set(&self, mode: Mode) {
        self.shared.lock().mode = mode;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the lock")
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: u16) -> std::io::Result<()> {
        if self.lock().mode == Mode::Cut {
            return Ok(());
        }
        let server = TcpStream::connect(("127.0.0.1", server))?;
        let both = [client.try_clone()?, server.try_clone()?];
        self.lock().open.extend(both);
        let asked = (client.try_clone()?, server.try_clone()?, true);
        for (from, to, is_asked) in [asked, (server, client, false)] {
            let shared = self.clone();
            thread::spawn(move || shared.pass(from, to, is_asked).ok());
        }
        Ok(())
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, is_asked: bool) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = from.read(&mut buffer)?;
            let mut state = self.lock();
            while state.mode == Mode::Hangs || (is_asked && state.mode == Mode::Swallows) {
                state = self
                    .changed
                    .wait(state)
                    .expect("nobody panics with the lock");
            }
            drop(state);
            if count == 0 {
                return to.shutdown(Shutdown::Write);
            }
            to.write_all(&buffer[..count])?;
        }
    }
}
