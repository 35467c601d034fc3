"""The drill: a copy is made under load, the machine is lost, and another one goes on from the copy."""
import json
import os
import re
import sqlite3
import subprocess
import threading

import pytest

from finding import find_gaufre
from mock_upstream import Mock
from serving import Server, wait_for

pytestmark = pytest.mark.sanitize
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
CONFIG = """suppliers:
  - {{name: far, base_url: {url}, models: [m]}}
currency: EUR
prices:
  - {{model: m, input: 0.10, output: 0.40}}
  - {{side: buy, supplier: far, model: m, input: 0.05, output: 0.20}}
"""


def answer(a):
    a.reply(200, {"id": "c", "object": "chat.completion", "usage": USAGE, "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]})


class Machine:
    """A home, the commands run there, and the server that uses it."""

    def __init__(self, folder, far):
        folder.mkdir()
        self.folder, self.server = folder, None
        (folder / "c.yaml").write_text(CONFIG.format(url=far.url))

    def cli(self, *args, code=0):
        done = subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "GAUFRE_HOME": str(self.folder)}, check=False)
        assert done.returncode == code, (args, done.stdout, done.stderr)
        return done.stdout if not code else done.stderr

    def start(self):
        self.server = Server(str(self.folder), "-c", self.folder / "c.yaml", models=[])

    def ask(self, key, code=200):
        status, headers, _ = self.server.request(
            "POST", "/v1/chat/completions", {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]},
            {"Authorization": f"Bearer {key}"})
        assert status == code, status
        return headers["x-request-id"]

    def balances(self):
        return sorted(self.cli("usage", "--json").splitlines())


class Load:
    """Clients that ask until they are told to stop; what was answered to them, by id."""

    def __init__(self, machine, keys):
        self.machine, self.stop, self.ids, self.failed = machine, threading.Event(), [], []
        self.threads = [threading.Thread(target=self.run, args=(key,)) for key in keys]
        for t in self.threads:
            t.start()

    def run(self, key):
        while not self.stop.is_set():
            try:
                self.ids.append(self.machine.ask(key))
            except (OSError, AssertionError) as e:
                if not self.stop.is_set():
                    self.failed.append(e)
                return

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        assert not self.failed, self.failed


def ids_of(path):
    with sqlite3.connect(path) as db:
        return {row[0] for row in db.execute("SELECT request_id FROM usage")}


@pytest.fixture
def machine(tmp_path):
    """machine(name): a home of that name, whose server ends with the test."""
    far, made = Mock(answer), []

    def make(name):
        made.append(Machine(tmp_path / name, far))
        return made[-1]

    yield make
    for m in made:
        if m.server and m.server.process.poll() is None:
            m.server.process.kill()
            m.server.process.wait()


def test_the_drill(tmp_path, machine):
    old = machine("old")
    old.cli("tenant", "new", "acme", "--budget-per-month", "50.00EUR")
    old.cli("tenant", "new", "lab", "--tokens-per-day", "100000000")
    alice, bob = old.cli("key", "new", "alice", "--tenant", "acme").strip(), old.cli("key", "new", "bob", "--tenant", "lab").strip()
    old.start()
    load = Load(old, [alice, alice, bob])
    copies = []
    for i in range(3):
        n = len(load.ids)
        wait_for("answers", lambda: len(load.ids) >= n + 20)
        # What a new tenant's key has bought before the copy begins is in the copy, and so is the key.
        old.cli("tenant", "new", f"t{i}")
        key = old.cli("key", "new", f"k{i}", "--tenant", f"t{i}").strip()
        wait_for("the key is known", lambda: old.server.get("/v1/models", {"Authorization": f"Bearer {key}"})[0] == 200)
        mine = old.ask(key)
        wait_for("booked", lambda: old.server.balance().get(f"t{i}"))
        before = set(load.ids[:n])
        folder = tmp_path / f"backup{i}"
        said = old.cli("backup", folder)
        assert int(re.search(r"ledger\.db: (\d+) rows, audited", said).group(1)) >= n
        copies.append((folder, key, mine, before))
    load.end()
    answered = set(load.ids) | {mine for _, _, mine, _ in copies}
    old.server.process.kill()  # the machine is lost
    old.server.process.wait()

    for i, (folder, key, mine, before) in enumerate(copies):
        assert sorted(os.listdir(folder)) == ["accounts.db", "ledger.db"]
        assert os.stat(folder).st_mode & 0o777 == 0o700
        assert all(os.stat(folder / f).st_mode & 0o077 == 0 for f in os.listdir(folder))
        kept = ids_of(folder / "ledger.db")
        assert mine in kept and before <= kept and kept - answered <= set()
        new = machine(f"new{i}")
        for f in os.listdir(folder):
            (new.folder / f).write_bytes((folder / f).read_bytes())
        sums = new.balances()
        assert sum(json.loads(b)["requests"] for b in sums) == len(kept)
        new.cli("audit")
        new.cli("audit", "--changes")
        new.start()
        assert new.balances() == sums
        for k in (alice, bob, key):  # keys and what they may are as they were
            new.ask(k)
        wait_for("booked", lambda: sum(json.loads(b)["requests"] for b in new.balances()) == len(kept) + 3)
        assert new.server.stop() == 0
        new.cli("audit")
        assert "50.00" in new.cli("tenant", "show", "acme")
        assert f"k{i + 1}" not in new.cli("key", "list")  # made after the copy


def test_what_is_refused(tmp_path, machine):
    m = machine("m")
    assert "no ledger" in m.cli("backup", tmp_path / "b", code=1)
    assert not (tmp_path / "b").exists()
    m.cli("tenant", "new", "acme")
    m.cli("backup", tmp_path / "b")
    assert os.listdir(tmp_path / "b") == ["accounts.db"]
    assert "exists" in m.cli("backup", tmp_path / "b", code=1).lower()
    m.cli("backup", tmp_path / "no" / "b", code=1)
    m.cli("backup", tmp_path / "c", "-a", tmp_path / "none.db", code=1)
    assert not (tmp_path / "c").exists() and not (tmp_path / "none.db").exists()


def test_a_store_that_was_changed_is_not_copied_as_if_it_were_well(tmp_path, machine):
    m = machine("m")
    m.cli("tenant", "new", "acme")
    with sqlite3.connect(m.folder / "accounts.db") as db:
        table = next(n for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if "audit" in n)
        assert db.execute(f"UPDATE {table} SET actor = 'nobody'").rowcount == 1
    m.cli("backup", tmp_path / "b", code=1)
    assert not (tmp_path / "b").exists()
