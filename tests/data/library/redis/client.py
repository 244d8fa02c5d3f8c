"""Asks Redis for all that it can do, beside another one, its replica and then its master."""

import os
import signal
import socket
import ssl
import time

SERVER = ("127.0.0.1", 6379)
PEER = ("127.0.0.1", 6380)
SECURE = ("127.0.0.1", 6390)


def until(what, done):
    for _ in range(1200):
        try:
            if result := done():
                return result
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"in vain: {what}")


class Client:
    def __init__(self, address, secure=False):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout=60)
        if secure:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
        self.socket.sendall(b"".join(parts))

    def answer(self):
        line = self.file.readline()
        kind, text = line[:1], line[1:].strip()
        if kind == b"-":
            raise RuntimeError(text.decode())
        if kind == b"$":
            length = int(text)
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(text))]
        assert kind in (b"+", b":"), line
        return text

    def ask(self, *words):
        self.send(*words)
        return self.answer()

    def info(self, name):
        lines = self.ask("INFO", "everything").decode().splitlines()
        (value,) = (line.split(":", 1)[1] for line in lines if line.startswith(f"{name}:"))
        return value


def keys(redis):
    redis.ask("SET", "key", "value")
    assert redis.ask("GET", "key") == b"value"
    for index in range(200):
        redis.send("SET", f"many:{index}", os.urandom(20_000), "EX", 600)
    for index in range(200):
        redis.answer()
    for index in range(2000):
        redis.send("RPUSH", "list", index)
        redis.send("ZADD", "sorted", index, index)
        redis.send("XADD", "stream", "*", "index", index)
    for index in range(6000):
        redis.answer()
    assert redis.ask("EVAL", "return redis.call('GET', KEYS[1])", 1, "key") == b"value"
    for words in (
        ("SORT", "list", "LIMIT", 0, 5, "DESC"),
        ("SCAN", 0, "COUNT", 100),
        ("OBJECT", "ENCODING", "list"),
        ("MEMORY", "DOCTOR"),
        ("MEMORY", "PURGE"),
        ("MEMORY", "STATS"),
        ("LATENCY", "DOCTOR"),
        ("SLOWLOG", "GET"),
        ("CLIENT", "LIST"),
        ("ACL", "LIST"),
        ("COMMAND", "COUNT"),
        ("TIME",),
        ("DEBUG", "SLEEP", "0.1"),
        ("UNLINK", "list", "sorted"),
    ):
        redis.ask(*words)
    # It expires, and is waited for in vain.
    redis.ask("SET", "short", "value", "PX", 50)
    assert not redis.ask("BLPOP", "nothing", "0.2")


def clients(redis):
    for address, secure in ((SERVER, False), ("/work/redis.sock", False), (SECURE, True)):
        other = Client(address, secure)
        assert other.ask("PING") == b"PONG"
        assert other.ask("GET", "key") == b"value"
        other.socket.close()
    listens = Client(SERVER)
    listens.ask("SUBSCRIBE", "channel")
    redis.ask("PUBLISH", "channel", "hello")
    assert listens.answer()[2] == b"hello"
    many = [Client(SERVER) for _ in range(50)]
    for _ in range(20):
        for one in many:
            one.send("GET", "many:1")
        for one in many:
            one.answer()
    # One that is told to go, one that reads nothing of much, and one that makes no sense.
    redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    for _ in range(200):
        many[0].send("GET", "many:1")
    time.sleep(0.1)
    many[0].socket.close()
    many[1].socket.sendall(b"*1\r\nnonsense\r\n")


def saved(redis):
    def idle():
        fields = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
        return all(redis.info(field) == "0" for field in fields)

    def save(command):
        """Redis saves by itself as well, and does one at a time."""

        def taken():
            try:
                return redis.ask(command)
            except RuntimeError as error:
                assert "in progress" in str(error) or "active" in str(error), error

        until(command, taken)

    save("BGSAVE")
    redis.ask("SET", "meanwhile", "value")
    until("it is saved", idle)
    assert redis.info("rdb_last_bgsave_status") == "ok"
    save("BGREWRITEAOF")
    redis.ask("SET", "meanwhile", "another")
    until("it is rewritten", idle)
    assert redis.info("aof_last_bgrewrite_status") == "ok"
    save("SAVE")
    redis.ask("DEBUG", "RELOAD")
    for policy in ("always", "no", "everysec"):
        redis.ask("CONFIG", "SET", "appendfsync", policy)
        redis.ask("SET", "policy", policy)
    redis.ask("CONFIG", "SET", "appendonly", "no")
    redis.ask("CONFIG", "SET", "appendonly", "yes")
    until("it is on again", idle)
    redis.ask("CONFIG", "SET", "maxclients", "2000")
    redis.ask("CONFIG", "REWRITE")
    # What is being saved is given up.
    redis.ask("CONFIG", "SET", "rdb-key-save-delay", 100_000)
    save("BGSAVE")
    assert redis.info("rdb_bgsave_in_progress") == "1"
    redis.ask("FLUSHALL")
    redis.ask("CONFIG", "SET", "rdb-key-save-delay", 0)
    until("nothing is saved", idle)
    assert redis.info("aof_last_write_status") == "ok"


def replicated(redis):
    """With files and without, first as a master, then as a replica."""
    peer = until("the other one listens", lambda: Client(PEER))
    for diskless in ("no", "yes"):
        for one in (redis, peer):
            one.ask("CONFIG", "SET", "repl-diskless-sync", diskless)
            one.ask("CONFIG", "SET", "repl-diskless-sync-delay", 0)
            one.ask("CONFIG", "SET", "repl-diskless-load", "swapdb" if diskless == "yes" else "disabled")
        for master, replica, address in ((redis, peer, SERVER), (peer, redis, PEER)):
            replica.ask("REPLICAOF", *address)
            until("they are one", lambda: replica.info("master_link_status") == "up")
            master.ask("SET", "replicated", diskless)
            assert master.ask("WAIT", 1, 20_000) == b"1"
            assert replica.ask("GET", "replicated") == diskless.encode()
            replica.ask("REPLICAOF", "NO", "ONE")
    redis.ask("SET", "goes", "away")
    redis.ask("MIGRATE", *PEER, "goes", 0, 5000)
    assert redis.ask("GET", "goes") is None and peer.ask("GET", "goes") == b"away"


def servers():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if file.read().split(b" ")[0].endswith(b"redis-server"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def tell(told):
    for pid in servers():
        os.kill(pid, told)


redis = until("Redis listens", lambda: Client(SERVER))
until("it is loaded", lambda: redis.info("loading") == "0")
keys(redis)
clients(redis)
saved(redis)
replicated(redis)
tell(signal.SIGSTOP)
time.sleep(0.2)
tell(signal.SIGCONT)
keys(redis)
redis.ask("FLUSHALL", "ASYNC")
redis.ask("SET", "last", "value")
# Longer than it takes to be saved by the rule, and to be written by the second.
time.sleep(1.5)
tell(signal.SIGTERM)
until("both end", lambda: not servers())
