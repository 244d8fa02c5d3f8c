//! The programs that are recorded, and how each is made to work.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use spo::profile::arch::Arch;
use spo_kernel_tests::spo::Finished;

/// How long a program may take to do something.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program.
pub(super) struct Program {
    /// A name for messages and folders.
    pub(super) name: &'static str,
    /// What must be installed.
    pub(super) needs: &'static [&'static str],
    /// The table of its calls.
    pub(super) abi: Arch,
    prepare: fn(&Path) -> Run,
}

/// One run of a program: its command, and what is done with it meanwhile.
pub(super) struct Run {
    pub(super) command: Vec<String>,
    drive: Box<dyn FnOnce() + Send>,
}

impl Program {
    /// Prepares a run in a folder.
    pub(super) fn prepare(&self, folder: &Path) -> Run {
        (self.prepare)(folder)
    }
}

impl Run {
    /// Starts a command that runs the program, works with the program, and waits for the end.
    pub(super) fn drive(self, command: &mut Command) -> Finished {
        let Self { drive, .. } = self;
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .expect("the command starts");
        let driver = std::thread::spawn(drive);
        let finished = Finished::of(child);
        assert!(finished.status.success(), "{command:?}: {finished:?}");
        driver
            .join()
            .unwrap_or_else(|_| panic!("working with the program failed: {finished:?}"));
        finished
    }
}

fn program(
    name: &'static str,
    needs: &'static [&'static str],
    prepare: fn(&Path) -> Run,
) -> Program {
    Program {
        name,
        needs,
        abi: Arch::X86_64,
        prepare,
    }
}

fn run(command: &[&str]) -> Run {
    run_with(command, || ())
}

fn run_with(command: &[&str], drive: impl FnOnce() + Send + 'static) -> Run {
    Run {
        command: command.iter().map(|text| (*text).to_owned()).collect(),
        drive: Box::new(drive),
    }
}

pub(super) fn ls_recursive() -> Program {
    program("ls-recursive", &["ls"], |_| {
        run(&["ls", "-R", "-l", "/etc"])
    })
}

pub(super) fn python_http_server() -> Program {
    program("python-http-server", &["/usr/bin/python3"], |_| {
        let port = free_port();
        let script = source("serve.py");
        run_with(
            &["/usr/bin/python3", &script, &port.to_string()],
            move || {
                for _ in 0..3 {
                    let answer = request(port, "GET / HTTP/1.0\r\n\r\n");
                    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
                }
            },
        )
    })
}

pub(super) fn curl() -> Program {
    program("curl", &["curl"], |_| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        run_with(&["curl", "-sS", "--fail", &url], move || {
            listener
                .set_nonblocking(true)
                .expect("a listener that does not wait");
            let mut stream = None;
            wait_until("a request", || {
                stream = listener.accept().ok();
                stream.is_some()
            });
            let (mut stream, _) = stream.expect("a request");
            stream.set_nonblocking(false).expect("a stream that waits");
            let mut request = [0; 1024];
            let _length = stream.read(&mut request).expect("a request");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes")
                .expect("an answer");
        })
    })
}

pub(super) fn nginx() -> Program {
    program("nginx", &["nginx", "sh"], |folder| {
        let port = free_port();
        let root = folder.join("nginx");
        std::fs::create_dir_all(root.join("html")).expect("a folder");
        std::fs::write(root.join("html/index.html"), "works").expect("a page");
        let config = format!(
            "pid {0}/pid; error_log {0}/error.log; worker_processes 2; daemon off; user root;
             events {{ worker_connections 64; }}
             http {{ access_log {0}/access.log;
               client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c;
               uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;
               server {{ listen 127.0.0.1:{port}; root {0}/html; }} }}",
            root.display()
        );
        std::fs::write(root.join("nginx.conf"), config).expect("a configuration");
        let stop = root.join("stop");
        if !stop.exists() {
            let made = Command::new("mkfifo")
                .arg(&stop)
                .status()
                .expect("mkfifo runs");
            assert!(made.success());
        }
        // The process id within a container is not the one outside: it is stopped from within.
        let script = format!(
            "nginx -c {0}/nginx.conf & server=$!; read line < {0}/stop; kill -QUIT $server; wait $server",
            root.display()
        );
        run_with(&["sh", "-c", &script], move || {
            for _ in 0..5 {
                let answer = request(port, "GET / HTTP/1.0\r\n\r\n");
                assert!(answer.ends_with("works"), "{answer}");
            }
            std::fs::write(&stop, "stop\n").expect("nginx is told to stop");
        })
    })
}

pub(super) fn redis_server() -> Program {
    program("redis-server", &["redis-server"], |folder| {
        let port = free_port();
        let folder = folder.display().to_string();
        let arguments = [
            "redis-server",
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            &folder,
        ];
        run_with(&arguments, move || {
            assert!(request(port, "SET key value\r\nGET key\r\nQUIT\r\n").contains("value"));
            let _closed = request(port, "SHUTDOWN NOSAVE\r\n");
        })
    })
}

pub(super) fn git_clone() -> Program {
    program("git-clone", &["git"], |folder| {
        let origin = folder.join("origin");
        if !origin.exists() {
            let script = "git init -q \"$1\" && cd \"$1\" && for i in 1 2 3; do echo $i > file$i; git add .; \
                          git -c user.name=a -c user.email=a@b commit -q -m $i; done";
            let made = Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(&origin)
                .status()
                .expect("sh runs");
            assert!(made.success());
        }
        let clone = fresh(folder, "clone");
        run(&[
            "git",
            "clone",
            "-q",
            "--no-hardlinks",
            &origin.display().to_string(),
            &clone,
        ])
    })
}

pub(super) fn bash_pipeline() -> Program {
    program("bash-pipeline", &["bash", "sort", "tail", "wc"], |_| {
        run(&[
            "bash",
            "-c",
            "ls -la /usr/bin | sort -k5 -n | tail -n 20 | wc -l; (exit 3) || echo $$ >/dev/null",
        ])
    })
}

pub(super) fn static_binary() -> Program {
    program("static-binary", &["gcc"], |folder| {
        let binary = compiled(folder, "small", &["-static"], "static");
        run(&[&binary, &fresh(folder, "file")])
    })
}

pub(super) fn binary_32_bit() -> Program {
    let mut program = program("binary-32-bit", &["gcc"], |folder| {
        let binary = compiled(folder, "small", &["-m32"], "32");
        run(&[&binary, &fresh(folder, "file")])
    });
    program.abi = Arch::X86;
    program
}

pub(super) fn threads() -> Program {
    program("threads", &["gcc"], |folder| {
        run(&[&compiled(folder, "threads", &["-pthread"], "threads")])
    })
}

pub(super) fn daemon() -> Program {
    program("daemon", &["gcc", "sh"], |folder| {
        let binary = compiled(folder, "daemon", &[], "daemon");
        let file = fresh(folder, "done");
        let path = PathBuf::from(&file);
        // A container ends with its first process, so that one waits for the daemon.
        let script = "\"$1\" \"$2\"; until [ -s \"$2\" ]; do sleep 0.05; done";
        let check = move || wait_until("the daemon wrote its file", || path.exists());
        run_with(&["sh", "-c", script, "sh", &binary, &file], check)
    })
}

/// Sends a request to a server that may still have to start, and returns all that it answers.
fn request(port: u16, text: &str) -> String {
    let mut stream = None;
    wait_until("the server listens", || {
        stream = TcpStream::connect(("127.0.0.1", port)).ok();
        stream.is_some()
    });
    let mut stream = stream.expect("a connection");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream.write_all(text.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}

/// A path in the folder at which there is nothing.
fn fresh(folder: &Path, name: &str) -> String {
    let path = (0..1000)
        .map(|number| folder.join(format!("{name}{number}")))
        .find(|path| !path.exists());
    path.expect("a free name").display().to_string()
}

fn source(name: &str) -> String {
    format!("{}/programs/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn compiled(folder: &Path, name: &str, options: &[&str], suffix: &str) -> String {
    let binary = folder
        .join(format!("{name}-{suffix}"))
        .display()
        .to_string();
    if !Path::new(&binary).exists() {
        let status = Command::new("gcc")
            .args(["-O1", "-o", &binary, &source(&format!("{name}.c"))])
            .args(options)
            .status()
            .expect("gcc runs");
        assert!(
            status.success(),
            "gcc {options:?} failed: is its 32-bit part installed (cargo xtask setup --tests)?"
        );
    }
    binary
}
