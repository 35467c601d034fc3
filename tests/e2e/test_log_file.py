"""The log in a file: renamed or cut by others while requests are answered, and no line is lost."""
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess

import pytest

from finding import ROOT, find_gaufre
from serving import model_path, wait_for

pytestmark = pytest.mark.sanitize
REQUEST = re.compile(r"\brequest id=(\S+) .*method=POST")


def lines_of(*paths):
    return [line for p in paths for line in open(p, errors="replace").read().splitlines()]


def ids_in(*paths):
    return sorted(m.group(1) for m in map(REQUEST.search, lines_of(*paths)) if m)


def asked(s, n):
    """The ids of n requests, four at a time."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return [a[1]["x-request-id"] for a in pool.map(lambda _: s.chat("hi", max_tokens=1), range(n))]


def is_open(s, path):
    """Has the server this very file open for its log?"""
    want = os.stat(path)
    for fd in glob.glob(f"/proc/{s.process.pid}/fd/*"):
        try:
            have = os.stat(fd)
        except OSError:
            continue
        if (have.st_dev, have.st_ino) == (want.st_dev, want.st_ino):
            return True
    return False


def start_with_log(start, tmp_path):
    """A server whose log is also where its tests look for it."""
    log = str(tmp_path / "0" / "server.log")
    return start("--log-file", log), log


def test_renamed_and_opened_anew_under_load(start, tmp_path):
    s, log = start_with_log(start, tmp_path)
    ids, old = [], []
    with concurrent.futures.ThreadPoolExecutor(1) as load:
        for i in range(5):
            running = load.submit(asked, s, 12)
            old.append(f"{log}.{i}")
            os.rename(log, old[-1])
            s.process.send_signal(signal.SIGHUP)
            wait_for("a new file", lambda: os.path.exists(log) and is_open(s, log))
            ids += running.result()
    assert s.stop() == 0
    assert ids_in(log, *old) == sorted(ids)  # each once, none torn or lost
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+Z (debug|info|warn|error) ", line)
               for line in lines_of(log, *old) if not line.startswith("gaufre "))
    assert os.stat(log).st_mode & 0o777 == 0o640


def test_logrotate_does_it_by_our_rules(start, tmp_path):
    if not shutil.which("logrotate"):
        pytest.skip("no logrotate")
    s, log = start_with_log(start, tmp_path)
    rules = (ROOT / "deploy/logrotate/gaufre").read_text()
    rules, n = re.subn(r"/var/log/gaufre/\*\.log", log, rules)
    rules, m = re.subn(r"systemctl kill .* gaufre\.service", f"kill -HUP {s.process.pid}", rules)
    assert (n, m) == (1, 1)
    conf = tmp_path / "logrotate.conf"
    conf.write_text(rules)
    conf.chmod(0o644)
    first = asked(s, 4)
    wait_for("written", lambda: len(ids_in(log)) == 4)
    done = subprocess.run(["logrotate", "--force", "--state", str(tmp_path / "state"), str(conf)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wait_for("a new file", lambda: os.path.exists(log) and is_open(s, log))
    second = asked(s, 4)
    assert s.stop() == 0
    assert ids_in(log + ".1") == sorted(first) and ids_in(log) == sorted(second)


@pytest.mark.parametrize("flag", [True, False])
def test_cut_by_others_it_begins_at_its_first_byte(start, tmp_path, flag):
    """logrotate's copytruncate, also where the log is stderr that goes into a file."""
    s = start_with_log(start, tmp_path)[0] if flag else start()
    asked(s, 3)
    wait_for("written", lambda: len(ids_in(s.log_path)) == 3)
    os.truncate(s.log_path, 0)
    ids = asked(s, 3)
    wait_for("written", lambda: len(ids_in(s.log_path)) == 3)
    assert ids_in(s.log_path) == sorted(ids)
    assert b"\0" not in open(s.log_path, "rb").read()
    assert s.stop() == 0


def test_a_file_that_cannot_be_opened_anew_is_told_in_the_old_one(start, tmp_path):
    s, log = start_with_log(start, tmp_path)
    os.rename(log, log + ".1")
    os.mkdir(log)
    s.process.send_signal(signal.SIGHUP)
    wait_for("told", lambda: any("log not opened anew" in line for line in lines_of(log + ".1")))
    ids = asked(s, 2)
    assert s.stop() == 0
    assert ids_in(log + ".1") == sorted(ids)


@pytest.mark.parametrize("what", ["folder", "pipe", "nowhere/log"])
def test_what_is_no_file_is_refused_at_the_start(tmp_path, what):
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    done = subprocess.run([find_gaufre(), "serve", model_path(), "--log-file", str(path), "--ledger", "off", "--port", "0"],
                          capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
                          env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
    assert done.returncode == 1 and "log file" in done.stderr, done.stderr
