"""Asks nginx for all that it can do, and tells its processes what people tell them."""

import base64
import http.client
import os
import signal
import socket
import ssl
import time

BIG = 3_000_000
UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


def until(what, done):
    for _ in range(1200):
        if result := done():
            return result
        time.sleep(0.05)
    raise SystemExit(f"in vain: {what}")


def connection(secure=False):
    if secure:
        return http.client.HTTPSConnection("127.0.0.1", 8443, timeout=60, context=UNVERIFIED)
    return http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)


def ask(method, path, expected, body=None, secure=False, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = connection(secure)
    asked.request(method, path, body, headers)
    answer = asked.getresponse()
    content = answer.read()
    assert answer.status in expected, (method, path, answer.status, content[:200])
    asked.close()
    return content


def get(path, **headers):
    return ask("GET", path, (200, 206), **headers)


def serves():
    try:
        return ask("GET", "/", (200,))
    except OSError:
        return None


def processes(kind):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if file.read().startswith(b"nginx: " + kind):
                    found.append(int(pid))
        except OSError:
            pass
    return sorted(found)


def workers():
    """Those of the newest configuration; none while older ones end."""
    found = processes(b"worker")
    return found if len(found) == 2 else None


def files():
    assert len(get("/big")) == BIG
    for path in ("/", "/folder/", "/status", "/cached-files/page.html", "/no-links/page.html"):
        get(path)
    for kind in ("buffered", "threads", "threads-sendfile", "direct", "cached-files"):
        assert len(get(f"/{kind}/big")) == BIG, kind
    assert get("/big", Range="bytes=10-19") == b"x" * 10
    get("/big", Range="bytes=0-9,100-109")
    get("/folder/text.html", Accept_Encoding="gzip")
    ask("HEAD", "/big", (200,))
    ask("GET", "/page.html", (304,), If_Modified_Since="Fri, 01 Jan 2100 00:00:00 GMT")
    ask("GET", "/missing", (404,))
    ask("GET", "/moved", (301,))
    ask("GET", "/folder", (301,))
    ask("GET", "/no-links/link", (403,))
    for _ in range(4):
        get("/limited/page.html")
    ask("GET", "/secret/page.html", (401,))
    token = base64.b64encode(b"somebody:secret").decode()
    get("/secret/page.html", Authorization=f"Basic {token}")


def uploads():
    body = os.urandom(BIG)
    ask("PUT", "/dav/a/b/file", (201,), body)
    ask("MKCOL", "/dav/c/", (201,))
    ask("COPY", "/dav/a/b/file", (204,), Destination="/dav/c/copy")
    ask("COPY", "/dav/a/", (201, 204), Destination="/dav/d/")
    ask("MOVE", "/dav/c/copy", (204,), Destination="/dav/c/moved")
    ask("DELETE", "/dav/a/b/file", (204,))
    for folder in "acd":
        ask("DELETE", f"/dav/{folder}/", (204,))
    ask("POST", "/proxy/echo", (200,), body)
    ask("POST", "/proxy/echo", (200,), iter([b"a" * 9000, b"b"]))
    ask("POST", "/proxy/echo", (200,), b"small")


def proxied():
    for path in ("proxy", "cache", "cache", "store", "unix", "secure"):
        assert len(get(f"/{path}/big")) == BIG, path
    get("/cache/page.html")
    ask("GET", "/named/page.html", (502, 504))
    ask("GET", "/gone/page.html", (502,))
    # More than the cache may hold, and older than it may be.
    for path in ("folder/text.html", "big?2", "big?3"):
        get(f"/cache/{path}")


def connections():
    assert len(ask("GET", "/big", (200,), secure=True)) == BIG
    ask("PUT", "/dav/e/file", (201,), os.urandom(100_000), secure=True)
    ask("DELETE", "/dav/e/", (204,))
    kept = connection()
    for _ in range(5):
        kept.request("GET", "/page.html")
        kept.getresponse().read()
    # One that reads slowly, one that leaves early, one that makes no sense, and one that says nothing.
    for path in ("/proxy/big", "/big", "/threads/big"):
        slow = socket.create_connection(("127.0.0.1", 8080))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        slow.recv(100)
        time.sleep(0.2)
        slow.close()
    for text in (b"\x16\x03\x01nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b""):
        other = socket.create_connection(("127.0.0.1", 8080))
        other.sendall(text)
        other.shutdown(socket.SHUT_WR)
        other.recv(1000)
        other.close()
    many = [connection() for _ in range(20)]
    for one in many:
        one.request("GET", "/page.html")
    for one in many:
        assert one.getresponse().read() == b"works\n"


def told():
    """Its processes are reloaded, have their logs opened anew, are killed, and stopped for a while."""
    (master,) = processes(b"master")
    before = until("two workers", workers)
    os.kill(master, signal.SIGHUP)
    until("new workers", lambda: (now := workers()) and not set(now) & set(before))
    os.kill(master, signal.SIGUSR1)
    killed = until("two workers", workers)[0]
    os.kill(killed, signal.SIGKILL)
    until("another worker", lambda: (now := workers()) and killed not in now)
    for pid in [master, *workers()]:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(0.2)
    for pid in [master, *workers()]:
        os.kill(pid, signal.SIGCONT)


until("nginx serves", serves)
files()
uploads()
proxied()
connections()
told()
until("nginx serves again", serves)
files()
# What is older than a second is removed from the cache.
time.sleep(1.5)
(master,) = processes(b"master")
os.kill(master, signal.SIGTERM)
until("nginx ends", lambda: not processes(b""))
