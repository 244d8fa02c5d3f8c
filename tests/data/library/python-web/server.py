"""A web server as they are written in Python: a master, workers that share its socket, threads.

What it does for a request is what the standard library offers to applications.
"""

import asyncio
import concurrent.futures
import ctypes
import gzip
import hashlib
import http.server
import json
import logging.handlers
import mmap
import multiprocessing
import os
import random
import secrets
import select
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
import zipfile

PORT, SECURE = 8000, 8443
WORKERS = 2
FOLDER = "/work"
USER = 65535
LOG = logging.getLogger("web")


def square(number):
    return number * number


def database():
    with tempfile.TemporaryDirectory() as folder:
        for mode in ("DELETE", "WAL"):
            base = sqlite3.connect(f"{folder}/{mode}", timeout=5)
            base.execute(f"PRAGMA journal_mode={mode}")
            base.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
            with base:
                base.executemany("INSERT INTO t (b) VALUES (?)", [("x" * 100,)] * 500)
            with base:
                base.execute("DELETE FROM t WHERE a % 2 = 0")
            base.execute("VACUUM")
            (count,) = base.execute("SELECT count(*) FROM t").fetchone()
            base.close()
    return count


def files():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "a")
    with open(path, "w+b") as file:
        file.write(b"text\n" * 1000)
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
        with mmap.mmap(file.fileno(), 0) as mapped:
            mapped[0] = 0
            mapped.flush()
        file.seek(10)
        file.truncate(100)
        os.posix_fallocate(file.fileno(), 0, 4096)
        os.pread(file.fileno(), 10, 0)
        os.pwrite(file.fileno(), b"a", 0)
        os.fchmod(file.fileno(), 0o600)
    os.chmod(path, 0o640)
    os.utime(path)
    os.chown(path, os.getuid(), os.getgid())
    os.access(path, os.R_OK)
    os.symlink("a", f"{folder}/link")
    os.link(path, f"{folder}/b")
    os.readlink(f"{folder}/link")
    os.rename(f"{folder}/b", f"{folder}/c")
    os.replace(f"{folder}/c", f"{folder}/d")
    os.makedirs(f"{folder}/e/f")
    shutil.copy2(path, f"{folder}/e/f/a")
    shutil.copytree(f"{folder}/e", f"{folder}/g")
    shutil.move(f"{folder}/g", f"{folder}/h")
    shutil.disk_usage(folder)
    with zipfile.ZipFile(f"{folder}/zip", "w") as packed:
        packed.write(path)
    with gzip.open(f"{folder}/gz", "wb") as packed:
        packed.write(b"text")
    handler = logging.handlers.RotatingFileHandler(f"{folder}/log", maxBytes=10, backupCount=2)
    for _ in range(3):
        handler.emit(logging.makeLogRecord({"msg": "a line of a log"}))
    handler.close()
    found = sum(len(entries) for _, *rest in os.walk(folder) for entries in rest)
    shutil.rmtree(folder)
    return found


def programs():
    said = subprocess.run(["sh", "-c", "echo $0; cat"], input=b"text", stdout=subprocess.PIPE, check=True)
    subprocess.run(["true"], check=True, cwd="/tmp", start_new_session=True, close_fds=False)
    subprocess.run(["true"], check=True, preexec_fn=os.getpid)
    os.popen("true").close()
    os.system("true")
    slow = subprocess.Popen(["sleep", "100"])
    try:
        slow.wait(0.05)
    except subprocess.TimeoutExpired:
        # asyncio of Python 3.12 waits for its children so.
        with open(os.pidfd_open(slow.pid)) as ended:
            slow.kill()
            select.select([ended], [], [])
        os.waitid(os.P_PID, slow.pid, os.WEXITED | os.WNOWAIT)
        slow.wait()
    return said.stdout.decode()


def pools():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        total = sum(pool.map(square, range(20)))
    # Forks of a process with threads may wait for each other forever.
    apart = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=apart) as pool:
        total += sum(pool.map(square, range(5)))
    queue = apart.Queue()
    child = apart.Process(target=queue.put, args=(1,))
    child.start()
    queue.get()
    child.join()
    waiting = threading.Event()
    waiting.wait(0.05)
    return total


def network():
    with urllib.request.urlopen(f"http://localhost:{PORT}/json", timeout=10) as answer:
        first = answer.status
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(f"https://127.0.0.1:{SECURE}/json", timeout=10, context=context) as answer:
        second = answer.status
    try:
        socket.getaddrinfo("nobody.invalid", 80)
    except OSError:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        datagrams.settimeout(1)
        datagrams.sendto(b"a", datagrams.getsockname())
        datagrams.recvfrom(10)
    left, right = socket.socketpair()
    left.sendmsg([b"a", b"b"])
    right.recvmsg(10)
    select.select([right], [left], [], 0.01)
    poll = select.poll()
    poll.register(right)
    poll.poll(10)
    left.close()
    right.close()
    socket.gethostname()
    return [first, second]


async def concurrently():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"text\n")
    said = await reader.readline()
    writer.close()
    server.close()
    await loop.getaddrinfo("localhost", 80)
    await asyncio.to_thread(time.sleep, 0.01)
    await asyncio.wait_for(asyncio.sleep(0.01), 1)
    child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    out, _ = await child.communicate(b"more")
    return (said + out).decode()


def numbers():
    hashed = hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10).hex()
    text = [secrets.token_hex(), str(uuid.uuid1()), str(uuid.uuid4()), hashed, random.random()]
    libc = ctypes.CDLL(None)
    return [*text, libc.getpid(), os.cpu_count(), os.getloadavg(), os.uname().sysname, os.times().user]


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args, **more):
        super().__init__(*args, directory=FOLDER, **more)

    def log_message(self, form, *args):
        LOG.info(form, *args)

    def do_GET(self):
        made = {
            "/json": lambda: {"pid": os.getpid()},
            "/database": database,
            "/files": files,
            "/programs": programs,
            "/pools": pools,
            "/network": network,
            "/asyncio": lambda: asyncio.run(concurrently()),
            "/numbers": numbers,
        }
        if self.path == "/sendfile":
            return self.sendfile()
        if self.path not in made:
            return super().do_GET()
        return self.answer(json.dumps(made[self.path]()).encode())

    def do_POST(self):
        left = int(self.headers["Content-Length"])
        with tempfile.NamedTemporaryFile(dir=FOLDER) as file, tempfile.SpooledTemporaryFile(10) as spooled:
            while left:
                part = self.rfile.read(min(left, 65536))
                file.write(part)
                spooled.write(part)
                left -= len(part)
            file.flush()
            os.fsync(file.fileno())
            os.link(file.name, f"{file.name}.kept")
            os.unlink(f"{file.name}.kept")
            size = os.stat(file.name).st_size
        self.answer(json.dumps(size).encode())

    def sendfile(self):
        with open(f"{FOLDER}/big", "rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file)

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, listener, context=None):
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener if context is None else context.wrap_socket(listener, server_side=True)


def work(plain, secure, context):
    """A worker: it gives up the master's rights, and serves until it is told to end."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
    servers = [Server(plain), Server(secure, context)]
    threads = [threading.Thread(target=one.serve_forever, args=(0.1,)) for one in servers]
    for thread in threads:
        thread.start()
    alive = tempfile.TemporaryFile()
    while not signal.sigtimedwait([signal.SIGTERM], 0.3):
        # A worker shows its master so that it is alive.
        os.utime(alive.fileno())
    for one in servers:
        one.shutdown()
    for thread in threads:
        thread.join()
    for one in servers:
        one.server_close()


def listening(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(128)
    # Of all workers that see a connection come, one gets it: the others must not wait for the next.
    listener.setblocking(False)
    os.set_inheritable(listener.fileno(), True)
    return listener


def main():
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/conf/tls.crt", "/conf/tls.key")
    plain, secure = listening(PORT), listening(SECURE)
    handled = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD]
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    workers = set()

    def start():
        pid = os.fork()
        if pid == 0:
            try:
                work(plain, secure, context)
            finally:
                logging.shutdown()
                os._exit(0)
        workers.add(pid)

    def bury():
        while workers:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            workers.discard(pid)

    for _ in range(WORKERS):
        start()
    while True:
        told = signal.sigtimedwait(handled, 1)
        bury()
        if told and told.si_signo == signal.SIGHUP:
            for pid in list(workers):
                os.kill(pid, signal.SIGTERM)
        elif told and told.si_signo in (signal.SIGTERM, signal.SIGINT):
            break
        while len(workers) < WORKERS:
            start()
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    while workers:
        bury()
        time.sleep(0.05)


if __name__ == "__main__":
    main()
