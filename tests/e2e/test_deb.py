"""The Debian package and its service: made, judged by lintian, installed on a machine of the test's own that systemd
runs, served from, upgraded, removed and purged."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

from booted import booted  # noqa: F401  fixture
from finding import ROOT, find_gaufre
from freezing import freeze, is_dead, thread_of
from serving import SLOW, model_path, wait_for


def make(folder, **env):
    for tool in ("dpkg-deb", "dpkg-shlibdeps"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool}")
    done = subprocess.run([str(ROOT / "tools/deb.sh"), find_gaufre(), str(folder)], capture_output=True, text=True,
                          timeout=120 * SLOW, env={**os.environ, **env})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def of_version(package, version, folder):
    """The same package, said to be of another version."""
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "-R", package, str(tree)], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), str(folder / "other.deb")], check=True,
                   stdout=subprocess.DEVNULL)
    return str(folder / "other.deb")


def field(package, name):
    return subprocess.run(["dpkg-deb", "-f", package, name], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return make(tmp_path_factory.mktemp("package"))


def test_made_the_same_twice_and_lintian_is_content(package, tmp_path):
    again = make(tmp_path)
    with open(package, "rb") as a, open(again, "rb") as b:
        assert a.read() == b.read()
    version = subprocess.run([find_gaufre(), "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    assert field(package, "Version") == version
    assert {"libcurl4", "adduser"} <= {d.split()[0] for d in field(package, "Depends").split(", ")}
    listing = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout
    assert all(re.match(r"\S+ root/root ", line) for line in listing.splitlines())
    for path in ("./usr/bin/gaufre", "./lib/systemd/system/gaufre.service", "./lib/systemd/system/gaufre.socket",
                 "./etc/gaufre/gaufre.yaml",
                 "./usr/share/man/man1/gaufre.1.gz", "./usr/share/bash-completion/completions/gaufre"):
        assert f" {path}\n" in listing
    if not shutil.which("lintian"):
        pytest.skip("no lintian: the rest was checked")
    done = subprocess.run(["lintian", "--fail-on", "error,warning", "--no-tag-display-limit", package],
                          capture_output=True, text=True, timeout=120 * SLOW)
    assert done.returncode == 0 and not re.search(r"^[EW]:", done.stdout, re.M), done.stdout + done.stderr


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def show(m, *names):
    out = m.run("systemctl", "show", "gaufre", *(f"-p{n}" for n in names)).stdout
    return dict(line.split("=", 1) for line in out.splitlines())


def server_pid(m):
    """Of the service's process, as it is seen from outside."""
    inside = show(m, "MainPID")["MainPID"]
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/status", encoding="ascii", errors="replace") as f:
                status = f.read()
        except OSError:
            continue
        spaces = re.search(r"^NSpid:\t(.*)$", status, re.M)
        if re.search(r"^Name:\tgaufre$", status, re.M) and spaces and spaces.group(1).split()[-1] == inside:
            if os.path.samefile(f"/proc/{entry}/ns/pid", f"/proc/{m.pid}/ns/pid"):
                return int(entry)
    raise AssertionError(f"no process {inside}")


def ask(port):
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    r = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(),
                               {"Content-Type": "application/json"})
    with urllib.request.urlopen(r, timeout=120 * SLOW) as a:
        return json.load(a)["usage"]["completion_tokens"]


def ask_or_wait(port):
    """1: answered; 0: the server ends, or its model is being loaded. Anything else fails, as a refused connection does."""
    try:
        return ask(port) > 0
    except urllib.error.HTTPError as e:
        with e:
            assert e.code == 503 and json.load(e)["code"] in ("shutting_down", "model_loading")
        return 0


def booked(m):
    out = m.run("runuser", "-u", "gaufre", "--", "env", "GAUFRE_HOME=/var/lib/gaufre", "gaufre", "usage", "--json").stdout
    return sum(json.loads(line)["requests"] for line in out.splitlines())


def test_installed_started_upgraded_removed_and_purged(booted, package, tmp_path):
    m, port = booted, free_port()
    m.run("rm", "-f", "/var/lib/man-db/auto-update")  # else dpkg reads the manuals of all packages each time
    m.run("dpkg", "--purge", "gaufre", code=None)  # where this machine has it
    m.run("rm", "-f", "/usr/sbin/policy-rc.d")  # of container images: nothing is started by packages
    m.bring(package, "/run/1.deb")
    m.run("dpkg", "-i", "/run/1.deb")
    assert show(m, "ActiveState", "UnitFileState") == {"ActiveState": "inactive", "UnitFileState": "disabled"}
    assert m.run("stat", "-c", "%U %a", "/var/lib/gaufre").stdout.split() == ["gaufre", "700"]

    m.run("runuser", "-u", "gaufre", "--", "mkdir", "/var/lib/gaufre/models")
    m.bring(model_path(), "/var/lib/gaufre/models/smollm2-135m.gguf")
    m.write("/etc/gaufre/gaufre.yaml", f"port: {port}\nkv_memory: 256M\nlog_file: /var/log/gaufre/gaufre.log\n"
            "models: [{model: smollm2-135m, id: small}]\n")
    m.run("systemctl", "enable", "gaufre")
    m.run("systemctl", "start", "gaufre")  # comes back when it is ready
    assert ask(port) > 0

    # Every restriction is in force, and what makes it fast works under them.
    pid = server_pid(m)
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status", encoding="ascii") if ":\t" in line)
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2" and int(status["CapBnd"], 16) == 0
    log = m.run("cat", "/var/log/gaufre/gaufre.log").stdout
    assert "model loaded" in log and "denied" not in log
    names = {open(p, encoding="ascii").read().strip() for p in
             (f"/proc/{pid}/task/{t}/comm" for t in os.listdir(f"/proc/{pid}/task"))}
    assert "gaufre-engine" in names
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled", encoding="ascii") as f:
            has_huge = "[never]" not in f.read()
    except OSError:
        has_huge = False
    if has_huge:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            assert int(re.search(r"AnonHugePages:\s+(\d+)", f.read()).group(1)) > 0

    m.run("systemctl", "reload", "gaufre")
    wait_for("reloaded", lambda: "configuration in force" in m.run("cat", "/var/log/gaufre/gaufre.log").stdout)
    assert server_pid(m) == pid

    # A killed server comes back, and so does one whose engine is frozen.
    wait_for("booked", lambda: booked(m) == 1)
    os.kill(pid, signal.SIGKILL)
    wait_for("started anew", lambda: int(show(m, "NRestarts")["NRestarts"]) == 1
             and show(m, "ActiveState")["ActiveState"] == "active")
    assert ask(port) > 0
    m.run("mkdir", "/run/systemd/system/gaufre.service.d")
    m.write("/run/systemd/system/gaufre.service.d/watchdog.conf", "[Service]\nWatchdogSec=3\nStartLimitBurst=100\n")
    m.run("systemctl", "daemon-reload")
    m.run("systemctl", "restart", "gaufre")
    engine = thread_of(server_pid(m), "gaufre-engine")
    freeze(server_pid(m), "gaufre-engine")
    wait_for("killed by the watchdog", lambda: is_dead(engine))
    wait_for("started anew", lambda: int(show(m, "NRestarts")["NRestarts"]) >= 1
             and show(m, "ActiveState")["ActiveState"] == "active")
    assert ask(port) > 0
    m.run("rm", "-r", "/run/systemd/system/gaufre.service.d")
    m.run("systemctl", "daemon-reload")
    wait_for("booked", lambda: booked(m) == 3)

    # An upgrade: what the administrator wrote stays, and what ran runs, with the new program.
    before = server_pid(m)
    m.bring(of_version(package, "99.0", tmp_path), "/run/2.deb")
    m.run("dpkg", "-i", "/run/2.deb")
    assert show(m, "ActiveState", "UnitFileState") == {"ActiveState": "active", "UnitFileState": "enabled"}
    assert server_pid(m) != before and ask(port) > 0
    assert f"port: {port}" in m.run("cat", "/etc/gaufre/gaufre.yaml").stdout
    wait_for("booked", lambda: booked(m) == 4)

    # systemd's own socket: while the service is started anew nobody is refused.
    m.run("systemctl", "stop", "gaufre")
    other = free_port()
    m.run("mkdir", "/run/systemd/system/gaufre.socket.d")
    m.write("/run/systemd/system/gaufre.socket.d/port.conf", f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{other}\n")
    m.run("systemctl", "daemon-reload")
    m.run("systemctl", "start", "gaufre.socket")
    assert show(m, "ActiveState")["ActiveState"] == "inactive"
    wait_for("served", lambda: ask_or_wait(other))  # the first connection starts it
    restart = threading.Thread(target=lambda: m.run("systemctl", "restart", "gaufre"))
    restart.start()
    n = 1
    while restart.is_alive():
        n += ask_or_wait(other)
    wait_for("served", lambda: ask_or_wait(other))
    wait_for("booked", lambda: booked(m) == 4 + 1 + n)
    m.run("systemctl", "stop", "gaufre.socket", "gaufre.service")

    m.run("dpkg", "-r", "gaufre")
    assert not m.exists("/usr/bin/gaufre") and show(m, "ActiveState")["ActiveState"] == "inactive"
    assert m.exists("/var/lib/gaufre/ledger.db") and m.exists("/etc/gaufre/gaufre.yaml")
    m.run("dpkg", "-i", "/run/1.deb")  # and back: the ledger is there
    assert booked(m) == 4 + 1 + n
    m.run("dpkg", "-P", "gaufre")
    for path in ("/var/lib/gaufre", "/var/log/gaufre", "/etc/gaufre", "/etc/logrotate.d/gaufre", "/usr/share/doc/gaufre",
                 "/etc/systemd/system/multi-user.target.wants/gaufre.service"):
        assert not m.exists(path), path
    assert m.run("getent", "passwd", "gaufre", code=None).returncode
