"""Commands that settle, note and amend are killed at any instant beside a server that writes, and the server is: what they
did is there, whole, or not, and the next one goes on."""
import json
import os
import subprocess
import time

import pytest

from finding import find_gaufre
from serving import Server

pytestmark = pytest.mark.sanitize
ROUNDS = 10
CONFIG = """accounts: ACCOUNTS
sites:
  - {name: fra1, region: eu, energised_mw: 3, capacity_factor: 0.5}
suppliers:
  - {name: s, base_url: "http://127.0.0.1:9", models: [m], site: fra1}
"""
CONTRACT = """contract: acme
from: 2026-01-01
until: 2060-01-01
signed: 2026-01-01
currency: EUR
supplier: {name: us}
customer: {name: acme, tenants: [acme]}
shortfall_credit: 1
tranches:
  - {name: t1, mw: 2, site: fra1, target: 2026-01-01, delivered: 2026-01-01, price: 90}
"""
PERIOD = ("--from", "2026-02-01", "--until", "2026-03-01")


@pytest.fixture(name="world")
def make_world(tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG.replace("ACCOUNTS", str(tmp_path / "accounts.db")))
    (tmp_path / "acme.yaml").write_text(CONTRACT)

    def run(*args, ok=True):
        r = subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, check=False,
                           env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
        assert (r.returncode == 0) == ok, r.stdout + r.stderr
        return r.stdout if ok else r.stderr

    def killed(i, took, *args):
        """Killed after a part of the time that it takes: did it end before?"""
        p = subprocess.Popen([find_gaufre(), *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
        time.sleep(took * (i + 1) / ROUNDS)
        p.kill()
        return p.wait() == 0
    run.killed = killed
    run.folder = tmp_path
    run("contract", "amend", tmp_path / "acme.yaml")
    return run


def serve(world):
    return Server(str(world.folder), "-c", world.folder / "c.yaml", models=[])


def rows(world, *args):
    return [json.loads(line) for line in world("power", *args, "--json").splitlines()]


def timed(world, *args):
    began = time.monotonic()
    world(*args)
    return time.monotonic() - began


def test_killed_at_any_instant(world):
    server = serve(world)
    span = ("--from", "2026-02-03T10:00:00Z", "--until", "2026-02-03T12:00:00Z")
    try:
        # Notes.
        took, told = timed(world, "power", "note", "fra1", "--cause", "maintenance", *span, "--reason", "pump 0"), 1
        for i in range(ROUNDS):
            told += world.killed(i, took, "power", "note", "fra1", "--cause", "customer", *span, "--reason", f"pump {i + 1}")
        notes = rows(world, "notes")
        assert told <= len(notes) <= ROUNDS + 1
        assert all(n["reason"] in [f"pump {i}" for i in range(ROUNDS + 1)] and n["until_us"] - n["from_us"] == 7200 * 10 ** 6 for n in notes)
        # Statements: they write nothing.
        want = json.loads(world("contract", "statement", "acme", *PERIOD, "--json"))
        took = timed(world, "contract", "statement", "acme", *PERIOD, "--json")
        for i in range(ROUNDS):
            world.killed(i, took, "contract", "statement", "acme", *PERIOD, "--json")
        again = json.loads(world("contract", "statement", "acme", *PERIOD, "--json"))
        assert [again[k] for k in ("lines", "total", "parts")] == [want[k] for k in ("lines", "total", "parts")]
        # Amendments of a contract that is being served.
        took, told = timed(world, "contract", "amend", world.folder / "acme.yaml", "--reason", "0"), 2
        for i in range(ROUNDS):
            (world.folder / "acme.yaml").write_text(CONTRACT.replace("mw: 2", f"mw: {i + 3}"))
            told += world.killed(i, took, "contract", "amend", world.folder / "acme.yaml", "--reason", f"{i + 1}")
        history = [json.loads(line) for line in world("contract", "history", "acme", "--json").splitlines()]
        assert [v["version"] for v in history] == list(range(1, len(history) + 1)) and told <= len(history) <= ROUNDS + 2
        assert json.loads(world("contract", "statement", "acme", *PERIOD, "--json"))["total"] == want["total"]  # the past
    finally:
        server.process.kill()
        server.process.wait()
    # The server itself, with what it is about to write.
    for _ in range(3):
        server = serve(world)
        server.process.kill()
        server.process.wait()
    # What a command had written as it was killed, and nobody could see yet, may be there since: it was whole.
    world("audit")
    versions = [json.loads(line)["version"] for line in world("contract", "history", "acme", "--json").splitlines()]
    assert versions == list(range(1, len(versions) + 1)) and len(history) <= len(versions) <= ROUNDS + 2
    assert world("audit", "--changes").count("amend contract acme") == len(versions)
    kept = rows(world, "notes")
    assert kept[:len(notes)] == notes and len(kept) <= ROUNDS + 1
    world("power", "note", "fra1", "--cause", "none", *span)  # nothing is locked
    assert rows(world, "notes")[:-1] == kept
