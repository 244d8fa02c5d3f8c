//! A wire between the daemon and the API server that can be cut, and that can hang.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use anyhow::{Context as _, Result};

/// The wire. It passes on until it is told otherwise.
pub(crate) struct Proxy {
    pub(crate) port: u16,
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
    Cut,
}

impl Proxy {
    /// A wire to a port of this machine.
    pub(crate) fn to(server: u16) -> Result<Self> {
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

    /// Breaks all connections, and lets no new one through.
    pub(crate) fn cut(&self) {
        self.set(Mode::Cut);
        for stream in self.shared.lock().open.drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Passes nothing on any more, and breaks nothing.
    pub(crate) fn hang(&self) {
        self.set(Mode::Hangs);
    }

    /// Passes on again.
    pub(crate) fn mend(&self) {
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
        for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            let shared = self.clone();
            thread::spawn(move || shared.pass(from, to).ok());
        }
        Ok(())
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = from.read(&mut buffer)?;
            let mut state = self.lock();
            while state.mode == Mode::Hangs {
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
