"""`gaufre top`: what operators see, as text, as JSON and on a terminal that is resized."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Mock
from serving import SLOW, Server, wait_for

pytestmark = pytest.mark.sanitize


@pytest.fixture
def world(tmp_path):
    store = tmp_path / "accounts.db"

    def gaufre(*flags):
        return subprocess.run([find_gaufre(), *flags, "-a", store], check=True, capture_output=True, text=True).stdout.strip()

    gaufre("tenant", "new", "acme", "--token-budget-per-day", "100000")
    admin = gaufre("key", "new", "top", "--admin", "yes", "--read-only", "yes")
    user = gaufre("key", "new", "user", "--tenant", "acme")
    mock = Mock(lambda a: a.reply(200, CHAT))
    (tmp_path / "c.yaml").write_text(f"suppliers: [{{name: far, base_url: '{mock.url}', models: [m]}}]\n")
    server = Server(str(tmp_path), "-c", tmp_path / "c.yaml", "--accounts", store, models=[])
    yield server, admin, user
    assert server.stop() == 0, server.read_log()
    mock.close()


def top(server, key, *flags):
    return subprocess.run([find_gaufre(), "top", "-s", server.url, *flags], capture_output=True, text=True,
                          env={**os.environ, "GAUFRE_ADMIN_KEY": key})


def ask(server, user):
    status = server.request("POST", "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]},
                            {"Authorization": f"Bearer {user}"})[0]
    assert status == 200


def test_once(world):
    server, admin, user = world
    ask(server, user)
    text = wait_for("the request is told", lambda: (t := top(server, admin, "--once").stdout) and "1 answered" in t and t)
    for part in ("far/m", "acme", "tiers", "ledger", "closed", "of its tokens, day"):
        assert part in text, text
    done = top(server, admin, "--once", "--json")
    assert json.loads(done.stdout)["object"] == "overview" and done.returncode == 0


def test_refused(world):
    server, admin, user = world
    for key, why in ((user, " says: "), ("wrong", " says: "), ("", "no variable GAUFRE_ADMIN_KEY"), ("two words", "bytes that do not belong")):
        done = top(server, key, "--once")
        assert done.returncode == 1 and not done.stdout and why in done.stderr and (not key or key not in done.stderr)
    done = subprocess.run([find_gaufre(), "top", "-s", "http://127.0.0.1:1", "--once"], capture_output=True, text=True,
                          env={**os.environ, "GAUFRE_ADMIN_KEY": "x"})
    assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_key_in_a_file(world, tmp_path):
    server, admin, _ = world
    file = tmp_path / "key"
    for text, why in ((admin + "\n", ""), ("wrong\n", " says: "), ("\n", "holds no key"), ("x" * 5000, "cannot read"), (None, "cannot read")):
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        done = top(server, "wrong", "--once", "--key-file", file)
        assert bool(done.returncode) == bool(why) and why in done.stderr, (text, done.stderr)


class Terminal:
    def __init__(self, server, key, columns, lines):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.environ["GAUFRE_ADMIN_KEY"] = key
            os.execv(find_gaufre(), [str(find_gaufre()), "top", "-s", server.url, "-d", "0.1"])
        self.seen = ""
        self.resize(columns, lines)

    def resize(self, columns, lines):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, until, what):
        end = time.monotonic() + 30 * SLOW
        while not until(self.seen) and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode()
                except OSError:  # it has ended
                    break
        assert until(self.seen), (what, self.seen[-3000:])

    def last(self):
        """The last whole frame, as lines."""
        return [re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", s) for s in self.seen.split("\x1b[H")[-2].replace("\r", "").split("\n")]


def test_on_a_terminal(world):
    server, admin, _ = world
    t = Terminal(server, admin, 100, 30)
    t.read(lambda s: s.count("\x1b[H") >= 3 and "far/m" in s, "frames")
    assert t.seen.count("\x1b[2J") == 1  # nothing is wiped between two frames
    for columns, lines in ((40, 8), (20, 3), (150, 60)):
        n = t.seen.count("\x1b[H")
        t.resize(columns, lines)
        t.read(lambda s: s.count("\x1b[H") >= n + 4, "frames of another size")
        assert len(t.last()) <= lines and all(len(s) <= columns for s in t.last()), t.last()
    os.write(t.fd, b"q")
    t.read(lambda s: s.endswith("\x1b[?25h\x1b[?1049l"), "its end")
    assert os.waitstatus_to_exitcode(os.waitpid(t.pid, 0)[1]) == 0
    os.close(t.fd)
