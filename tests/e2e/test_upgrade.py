"""A server that is replaced while it serves: nothing is refused, nothing is cut, everything is booked once."""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from finding import find_gaufre
from serving import MODEL, SLOW, Server, model_path, wait_for

pytestmark = pytest.mark.sanitize

SHORT = {"model": MODEL, "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 3, "temperature": 0}
LONG = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me a long story."}], "max_tokens": 120,
        "temperature": 0, "stream": True}
N_STREAMS, N_CLIENTS = 4, 2


def upgrade(pid):
    return subprocess.run([find_gaufre(), "upgrade", str(pid)], capture_output=True, text=True, timeout=240)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Replaced(Server):
    """Its later processes are no children of the test."""
    pids = ()

    def upgrade(self):
        done = upgrade(self.pids[-1] if self.pids else self.process.pid)
        if done.returncode == 0:
            self.pids = (*self.pids, int(done.stdout))
        return done

    def stop_all(self):
        for pid in (self.process.pid, *self.pids):
            if is_running(pid):
                os.kill(pid, signal.SIGTERM)
        self.process.wait(timeout=60 * SLOW)
        for pid in self.pids:
            wait_for(f"the end of {pid}", lambda p=pid: not is_running(p))


@pytest.fixture
def server(tmp_path):
    s = Replaced(str(tmp_path), "--kv-memory", "128M", "--idle-timeout", "1h", "--stall-timeout", "1h")
    yield s
    s.stop_all()


class Client(threading.Thread):
    """Asks again and again until told to stop; every failure is kept."""

    def __init__(self, server, keeps):
        super().__init__()
        self.server, self.keeps, self.is_over, self.n, self.failures = server, keeps, False, 0, []

    def run(self):
        c = None
        while not self.is_over:
            try:
                c = c or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120 * SLOW)
                c.request("POST", "/v1/chat/completions", json.dumps(SHORT), {"Content-Type": "application/json"})
                answer = c.getresponse()
                answer.read()
                self.n += 1
                if answer.status != 200:
                    self.failures.append(answer.status)
                if not self.keeps:
                    c.close()
                    c = None
            except Exception as e:  # any of them would be a client that was let down
                self.failures.append(repr(e))
                c = None


class Stream(threading.Thread):
    def __init__(self, server, **more):
        super().__init__()
        self.c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=240 * SLOW)
        self.c.request("POST", "/v1/chat/completions", json.dumps({**LONG, **more}), {"Content-Type": "application/json"})
        self.answer = self.c.getresponse()
        self.first = self.answer.readline()
        self.text = b""

    def run(self):
        self.text = self.answer.read()

    def said(self):
        chunks = [json.loads(line[6:]) for line in self.text.splitlines() if line.startswith(b"data: {")]
        return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])


def test_twice_under_load(server):
    streams, clients = [], [Client(server, keeps=i % 2) for i in range(N_CLIENTS)]
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120 * SLOW)
    idle.request("GET", "/health")
    idle.getresponse().read()
    for c in clients:
        c.start()
    for i in range(2):
        more = [Stream(server) for _ in range(N_STREAMS)]
        for s in more:
            s.start()
        streams += more
        done = server.upgrade()
        assert done.returncode == 0, done.stderr + server.read_log()
        seen = [c.n for c in clients]
        wait_for("answers after the upgrade", lambda: all(c.n > n + 1 for c, n in zip(clients, seen)))
    for s in streams:
        s.join()
    for c in clients:
        c.is_over = True
        c.join()
    assert [c.failures for c in clients] == [[]] * N_CLIENTS
    assert all(s.text.rstrip().endswith(b"data: [DONE]") for s in streams)
    assert len({s.said() for s in streams}) == 1
    # A connection that was idle all the time is asked once more by its client, and then closed.
    idle.request("GET", "/health")
    answer = idle.getresponse()
    assert answer.read() and answer.status == 200 and answer.getheader("connection") == "close"
    idle.close()
    server.stop_all()
    booked = server.balance()["default"]["requests"]
    assert booked == sum(c.n for c in clients) + len(streams)
    done = subprocess.run([find_gaufre(), "audit", "--ledger", server.ledger], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_that_cannot_serve_changes_nothing(tmp_path):
    config = tmp_path / "gaufre.yaml"
    config.write_text("concurrency: 50\n")
    s = Replaced(str(tmp_path), "--kv-memory", "128M", "--config", config)
    config.write_text("concurrency: many\n")
    done = s.upgrade()
    assert done.returncode == 1 and "ended with 2 before it served" in done.stderr
    assert "not upgraded" in s.read_log()
    assert s.chat("hi", max_tokens=2)[0] == 200
    config.write_text("port: 1\n")
    assert s.upgrade().returncode == 0  # the command line's port is what counts
    assert s.chat("hi", max_tokens=2)[0] == 200
    s.stop_all()


def listens(pid, port):
    """Has the process a socket that listens there?"""
    held = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            held.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    except FileNotFoundError:  # it has ended
        return False
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}") as f:
            rows = [line.split() for line in f][1:]
        if any(r[3] == "0A" and int(r[1].rsplit(":")[-1], 16) == port and f"socket:[{r[9]}]" in held for r in rows):
            return True
    return False


def test_who_comes_after_it_is_the_new_ones(server):
    """The command returns when the old process accepts nobody any more: what ends it then cuts no new client."""
    busy = Stream(server, max_tokens=4000, ignore_eos=True)
    for _ in range(3):
        old = server.pids[-1] if server.pids else server.process.pid
        assert listens(old, server.port)
        assert server.upgrade().returncode == 0
        assert not listens(old, server.port) and listens(server.pids[-1], server.port)
    os.kill(server.process.pid, signal.SIGKILL)
    assert server.chat("hi", max_tokens=2)[0] == 200
    busy.c.close()


def test_the_signal_alone(server):
    server.process.send_signal(signal.SIGUSR2)
    pid = int(wait_for("the new process", lambda: [x for x in server.read_log().splitlines() if " upgraded " in x])[0]
              .rsplit("pid=")[1])
    server.pids = (pid,)
    assert server.chat("hi", max_tokens=2)[0] == 200
    assert server.process.wait(timeout=60 * SLOW) == 0  # nothing was left to do
    assert is_running(pid)


def test_the_old_process_can_be_stopped(tmp_path):
    s = Replaced(str(tmp_path), "--kv-memory", "128M", "--drain-timeout", "0")
    stream = Stream(s, max_tokens=4000, ignore_eos=True)  # not over before the new process serves
    assert s.upgrade().returncode == 0
    again = upgrade(s.process.pid)
    assert again.returncode == 1 and "only finishes what runs" in again.stderr
    s.process.send_signal(signal.SIGTERM)
    assert s.process.wait(timeout=60 * SLOW) == 0
    stream.c.close()
    assert s.chat("hi", max_tokens=2)[0] == 200
    s.stop_all()


def test_others_are_not_touched():
    with subprocess.Popen(["sleep", "600"]) as other:
        done = upgrade(other.pid)
        assert done.returncode == 1 and "is no gaufre server" in done.stderr
        assert other.poll() is None
        other.kill()
    assert upgrade(other.pid).returncode == 1
    assert upgrade("all").returncode == 2


def activated(tmp_path, listener, *flags):
    """A server that is handed a socket as systemd does it."""
    start = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
             "os.execv(sys.argv[2], sys.argv[2:])")
    return subprocess.Popen([sys.executable, "-c", start, str(listener.fileno()), find_gaufre(), "serve", model_path(),
                             "--kv-memory", "128M", "--ledger", str(tmp_path / "ledger.db"), *flags],
                            pass_fds=[listener.fileno()], env={**os.environ, "GAUFRE_HOME": str(tmp_path)},
                            stderr=subprocess.PIPE, text=True)


def test_a_socket_of_the_service_manager(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        early = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=120 * SLOW)
        early.request("GET", "/v1/models")  # before there is anybody to accept it
        p = activated(tmp_path, listener)
        assert early.getresponse().status == 200
        early.close()
        p.terminate()
        p.communicate(timeout=60 * SLOW)
        assert p.returncode == 0
    with socket.create_server(("0.0.0.0", 0)) as listener:  # which others reach, whatever `host` says
        p = activated(tmp_path, listener)
        assert "there are no API keys" in p.communicate(timeout=60 * SLOW)[1]
        assert p.returncode == 2
    with socket.socket() as listener:
        p = activated(tmp_path, listener)
        assert "no TCP socket that listens" in p.communicate(timeout=60 * SLOW)[1]
        assert p.returncode == 1
