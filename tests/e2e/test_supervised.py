"""Under a service manager: what systemd is told, and that a frozen engine is not told to be well."""
import http.client
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

from finding import ROOT
from freezing import freeze
from serving import MODEL, SLOW, model_path, wait_for
from test_upgrade import Replaced

pytestmark = pytest.mark.sanitize
UNIT = ROOT / "deploy/systemd/gaufre.service"


class Manager:
    """The socket of a manager, and what it was told in order, and by which process."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.told, self.by = [], []

    def env(self, **more):
        return {"NOTIFY_SOCKET": self.path, **more}

    def read(self):
        while True:
            try:
                text, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(struct.calcsize("3i")))
            except BlockingIOError:
                return self.told
            self.told.append(text.decode())
            self.by.append(struct.unpack("3i", ancillary[0][2])[0])

    def count(self, what):
        return sum(what in t.splitlines() for t in self.read())

    def events(self, pid=None):
        """Without the watchdog's."""
        return [t.splitlines()[0] for t, by in zip(self.read(), self.by) if t != "WATCHDOG=1" and pid in (None, by)]

    def beats(self, pid):
        return sum(t == "WATCHDOG=1" and by == pid for t, by in zip(self.read(), self.by))


@pytest.fixture
def manager(tmp_path):
    m = Manager(tmp_path)
    yield m
    m.socket.close()


def test_ready_reloading_stopping(start, manager, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(f"models: [{{model: {model_path()}, id: {MODEL}}}]\n")
    s = start("--config", config, models=[], env=manager.env())
    wait_for("ready", lambda: manager.count("READY=1"))
    assert s.get("/ready")[0] == 200  # it was not told before it was so
    assert f"STATUS=Serving 1 model on port {s.port}." in manager.told[0].splitlines()
    s.process.send_signal(signal.SIGHUP)
    wait_for("reloaded", lambda: manager.count("READY=1") == 2)
    config.write_text("nonsense: 1\n")  # refused: still it serves, and says so
    s.process.send_signal(signal.SIGHUP)
    wait_for("reloaded", lambda: manager.count("READY=1") == 3)
    assert s.stop() == 0
    assert manager.events() == ["READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    for t in manager.told:
        assert "RELOADING" not in t or re.search(r"^MONOTONIC_USEC=\d+$", t, re.M)
    assert manager.count("WATCHDOG=1") == 0  # nobody asked for it


def test_the_new_process_becomes_the_main_one(manager, tmp_path):
    """Over an upgrade: who is told of, who beats for the watchdog, and that who only finishes what runs says nothing more."""
    s = Replaced(str(tmp_path), "--kv-memory", "128M", "--idle-timeout", "1h", env=manager.env(WATCHDOG_USEC="500000"))
    old = s.process.pid
    began = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    s.process.send_signal(signal.SIGHUP)
    wait_for("reloaded", lambda: manager.events() == ["READY=1", "RELOADING=1", "READY=1"])
    at = int(re.search(r"^MONOTONIC_USEC=(\d+)$", manager.told[manager.told.index(next(
        t for t in manager.told if t.startswith("RELOADING=1")))], re.M).group(1))
    assert began <= at <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000  # by the clock that systemd compares it with

    held = http.client.HTTPConnection("127.0.0.1", s.port, timeout=120 * SLOW)  # by whom the old one stays
    held.request("GET", "/health")
    held.getresponse().read()
    assert s.upgrade().returncode == 0
    new, = s.pids
    wait_for("MAINPID", lambda: f"MAINPID={new}" in manager.events(old))
    n_old, n_new = manager.beats(old), manager.beats(new)
    wait_for("the new one beats", lambda: manager.beats(new) > n_new + 2)
    assert manager.beats(old) <= n_old + 1  # the manager would not hear it: it is not the main process
    held.request("GET", "/health")
    assert held.getresponse().read()
    wait_for("the old one has ended", lambda: manager.read() and s.process.poll() is not None)
    s.stop_all()
    assert s.process.returncode == 0
    assert manager.events(old) == ["READY=1", "RELOADING=1", "READY=1", f"MAINPID={new}"]  # and never that it stops
    assert manager.events(new) == ["READY=1", "STOPPING=1"]
    told = manager.events()
    assert told.index(f"MAINPID={new}") > 2 and told[-1] == "STOPPING=1"


def test_the_watchdog_hears_nothing_while_the_engine_is_frozen(start, manager):
    s = start(env=manager.env(WATCHDOG_USEC="100000"))
    wait_for("alive", lambda: manager.count("WATCHDOG=1") >= 5)
    thaw = freeze(s.process.pid, "gaufre-engine")
    try:
        wait_for("unhealthy", lambda: s.get("/health")[0] == 503)
        wait_for("told so", lambda: "the watchdog is not told that all is well" in s.read_log())
        before = manager.count("WATCHDOG=1")
        n = s.read_log().count("the watchdog is not told")
        wait_for("told again", lambda: s.read_log().count("the watchdog is not told") > n + 3)
        assert manager.count("WATCHDOG=1") == before
    finally:
        thaw()
    wait_for("alive", lambda: manager.count("WATCHDOG=1") > before)
    assert s.stop() == 0


def test_a_manager_that_is_gone_stops_nothing(start, manager):
    manager.socket.close()
    s = start(env=manager.env(WATCHDOG_USEC="100000"))
    wait_for("noticed", lambda: "the service manager was not told" in s.read_log())
    assert s.chat("hi", max_tokens=1)[0] == 200
    assert s.stop() == 0


def test_the_unit_is_hardened():
    """systemd's own judge: below 2 of 10; the lower, the less a broken server can do."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    done = subprocess.run(["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=19", str(UNIT)],
                          capture_output=True, text=True, timeout=60 * SLOW)
    assert "Overall exposure level for gaufre.service" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_knows_our_times_and_names():
    text = UNIT.read_text()
    of = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"\w+=", line))
    assert int(of["TimeoutStopSec"]) > 60  # drain_timeout
    assert of["Type"] == "notify" and of["ExecStart"].split()[1:] == ["serve", "--config", "/etc/gaufre/gaufre.yaml"]
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(UNIT)], capture_output=True, text=True,
                              timeout=60 * SLOW)
        said = [line for line in done.stderr.splitlines()
                if "gaufre.service" in line and "is not executable" not in line]
        assert said == []
