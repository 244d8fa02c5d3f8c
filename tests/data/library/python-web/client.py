"""Asks the web server for all that it can do, and tells its processes what people tell them."""

import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE
WORK = ("database", "files", "programs", "pools", "network", "asyncio", "numbers")


def until(what, done):
    for _ in range(1200):
        try:
            if result := done():
                return result
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"in vain: {what}")


def connection(secure=False):
    if secure:
        return http.client.HTTPSConnection("127.0.0.1", 8443, timeout=60, context=UNVERIFIED)
    return http.client.HTTPConnection("127.0.0.1", 8000, timeout=60)


def ask(method, path, body=None, secure=False, expected=200):
    asked = connection(secure)
    asked.request(method, path, body, {"Connection": "close"})
    answer = asked.getresponse()
    content = answer.read()
    assert answer.status == expected, (method, path, answer.status, content[:500])
    asked.close()
    return content


def worker():
    return json.loads(ask("GET", "/json"))["pid"]


def master():
    with open(f"/proc/{worker()}/status") as status:
        (pid,) = (int(line.split()[1]) for line in status if line.startswith("PPid:"))
    return pid


def everything():
    assert ask("GET", "/") == b"works\n"
    for secure in (False, True):
        assert len(ask("GET", "/big", secure=secure)) == 3_000_000
        assert json.loads(ask("POST", "/", os.urandom(500_000), secure)) == 500_000
    assert len(ask("GET", "/sendfile")) == 3_000_000
    ask("GET", "/folder/")
    ask("HEAD", "/big")
    ask("GET", "/folder", expected=301)
    ask("GET", "/missing", expected=404)
    for path in WORK:
        print(path, ask("GET", f"/{path}"))
    kept = connection()
    for _ in range(5):
        kept.request("GET", "/json")
        kept.getresponse().read()
    kept.close()
    for text in (b"nonsense\r\n\r\n", b""):
        other = socket.create_connection(("127.0.0.1", 8000))
        other.sendall(text)
        other.close()
    early = socket.create_connection(("127.0.0.1", 8000))
    early.sendall(b"GET /sendfile HTTP/1.0\r\n\r\n")
    early.close()
    many = [threading.Thread(target=ask, args=("GET", "/big")) for _ in range(10)]
    for one in many:
        one.start()
    for one in many:
        one.join()


def told():
    """Its workers are replaced, one is killed, and all are stopped for a while."""
    before, parent = worker(), master()
    os.kill(parent, signal.SIGHUP)
    until("another worker", lambda: not os.path.exists(f"/proc/{before}") and worker())
    print("replaced")
    killed = worker()
    os.kill(killed, signal.SIGKILL)
    until("another worker", lambda: worker() != killed)
    print("killed")
    stopped = (parent, worker())
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in stopped:
            os.kill(pid, number)
        time.sleep(0.2)


until("the server serves", lambda: ask("GET", "/"))
everything()
told()
assert len(ask("GET", "/big")) == 3_000_000
ended = master()
os.kill(ended, signal.SIGTERM)
until("the server ends", lambda: not os.path.exists(f"/proc/{ended}"))
