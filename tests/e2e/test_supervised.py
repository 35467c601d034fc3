"""Under a service manager: what systemd is told, and that a frozen engine is not told to be well."""
import re
import shutil
import signal
import socket
import subprocess

import pytest

from finding import ROOT
from freezing import freeze
from serving import MODEL, SLOW, model_path, wait_for

pytestmark = pytest.mark.sanitize
UNIT = ROOT / "deploy/systemd/gaufre.service"


class Manager:
    """The socket of a manager, and what it was told in order."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.told = []

    def env(self, **more):
        return {"NOTIFY_SOCKET": self.path, **more}

    def read(self):
        while True:
            try:
                self.told.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.told

    def count(self, what):
        return sum(what in t.splitlines() for t in self.read())

    def events(self):
        """Without the watchdog's."""
        return [t.splitlines()[0] for t in self.read() if t != "WATCHDOG=1"]


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
