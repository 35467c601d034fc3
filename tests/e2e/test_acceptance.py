"""gaufre contract accept: a tranche is delivered once its basket was run at full power; what was found is signed and kept."""
import base64
import json
import os
import re
import sqlite3
import stat
import subprocess

import pytest

from serving import MODEL

pytestmark = pytest.mark.sanitize
CONTRACT = f"""
contract: acme
from: 2026-01-01
until: 2060-01-01
signed: 2026-01-01
currency: USD
supplier: {{name: s}}
customer: {{name: c}}
basket:
  - {{model: {MODEL}, input: 40, output: 4, ttft_ms: 600000}}
  - {{model: {MODEL}, input: 60, output: 2}}
tranches:
  - {{name: first, mw: 0.000001, site: here, target: 2026-03-01, price: 100}}
  - {{name: old, mw: 0.000001, site: here, target: 2026-03-01, delivered: 2026-03-01, price: 100}}
"""


@pytest.fixture
def store(cli, env, tmp_path):
    where = str(tmp_path / "accounts.db")
    path = tmp_path / "acme.yaml"
    path.write_text(CONTRACT)

    def run(*args, ok=True):
        done = cli(*args, "-a", where)
        assert (done.returncode == 0) == ok, done.stderr
        return done.stdout if ok else done.stderr
    run("contract", "amend", str(path))
    run("tenant", "new", "c")
    env["GAUFRE_API_KEY"] = run("key", "new", "load", "--tenant", "c").split()[-1]
    run.admin = run("key", "new", "root", "--tenant", "c", "--admin", "yes").split()[-1]
    run.where = where
    return run


@pytest.fixture
def server(start, store, tmp_path):
    path = tmp_path / "gaufre.yaml"
    path.write_text('energy: {kind: model, boundary: it, idle_watts: "20", curve: ["1=30", "2=40"]}\n'
                    f"accounts: {tmp_path / 'accounts.db'}\n")
    return start("--config", path)


def states(store):
    return {t["tranche"]: (t["state"], t["accepted"] and t["accepted"]["measurement"])
            for t in map(json.loads, store("tranche", "list", "--json").splitlines())}


def test_accepted(cli, home, server, store, tmp_path):
    accept = ("contract", "accept", "acme", "--tranche", "first", "--url", server.url, "--for", "1s", "--loads", "2")
    assert states(store) == {"first": ("late", None), "old": ("active", None)}
    assert "tranche old is delivered, and no acceptance is on record" in cli("contract", "check", "acme", "-a", store.where).stderr

    # It makes less than was promised: that is kept too, and nothing is delivered.
    told = store(*accept, "--promised", "1000000", "--amend", ok=False)
    assert "tranche first is not accepted: it made fewer tokens/s than were promised" in told
    assert states(store)["first"] == ("late", None)
    assert len(store("contract", "history", "acme", "--json").splitlines()) == 1

    shown = json.loads(store(*accept, "--promised", "0.5", "--amend", "--json"))
    verdict = shown["record"]["acceptance"]
    assert verdict["passed"] and verdict["promised_mtps"] == 500 and verdict["made_mtps"] > 500 and verdict["held_watts"] >= 1
    assert verdict["reasons"] == [] and shown["record"]["tranche"] == "first" and shown["record"]["site"] == "here"
    point, = shown["record"]["levels"]
    assert point["concurrency"] == 2 and all(p["requests"] >= 2 for p in point["rows"])
    # The contract has one version more, which differs in the day of delivery only.
    assert states(store) == {"first": ("active", 2), "old": ("active", None)}
    difference, = json.loads(store("contract", "diff", "acme@1", "acme@2", "--json"))
    assert difference["field"] == "tranches.first.delivered" and difference["was"] is None
    last = [json.loads(line) for line in store("contract", "history", "acme", "--json").splitlines()][-1]
    assert last["reason"] == "acceptance of tranche first: measurement 2"
    text = store("contract", "show", "acme")
    assert re.search(r"tranche first: accepted on \d{4}-\d\d-\d\d, measurement 2, signed by [0-9a-f]{16}", text)
    assert "tranche old: delivered, and no acceptance is on record" in text
    view = json.loads(store("contract", "show", "acme", "--json"))["tranches"]
    assert view[0]["accepted"]["measurement"] == 2 and view[1]["accepted"] is None
    status, _, text = server.get("/admin/v1/contracts/acme", {"Authorization": f"Bearer {store.admin}"})
    assert status == 200 and [t["accepted"] for t in json.loads(text)["tranches"]] == [t["accepted"] for t in view]
    assert "PASSED" in store("contract", "measurements", "acme") and "FAILED" in store("contract", "measurements", "acme")
    assert "has a day of delivery" in store(*accept, "--amend", "--promised", "1", ok=False)

    # The key is its owner's alone; others check with what is public.
    key = home / "acceptance.key"
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600 and re.fullmatch("[0-9a-f]{64}\n", key.read_text())
    assert cli("audit", "--changes", "-a", store.where).returncode == 0
    check_signatures(store.where, tmp_path)


def check_signatures(where, folder):
    """By another implementation."""
    with sqlite3.connect(where) as db:
        rows = db.execute("SELECT text, signature, public_key FROM measurement").fetchall()
    db.close()
    assert len(rows) == 2
    for text, signature, public in rows:
        der = bytes.fromhex("302a300506032b6570032100" + public)  # RFC 8410
        (folder / "key.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n")
        (folder / "signature").write_bytes(bytes.fromhex(signature))
        for message, ok in (text, True), (text + " ", False):
            (folder / "message").write_bytes(b"gaufre acceptance 1\n" + message.encode())
            done = subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", folder / "key.pem", "-sigfile",
                                   folder / "signature", "-in", folder / "message"], capture_output=True, check=False)
            assert (done.returncode == 0) == ok, done


def test_a_verdict_that_was_changed(cli, server, store):
    """Who can write to the store, and even rewrites nothing else, cannot make a tranche accepted."""
    store("contract", "accept", "acme", "--tranche", "first", "--url", server.url, "--for", "1s", "--loads", "1", "--promised", "1000000", ok=False)
    with sqlite3.connect(store.where) as db:
        db.execute("UPDATE measurement SET text = replace(text, '\"passed\":false', '\"passed\":true')")
    db.close()
    assert states(store)["first"] == ("late", None)
    done = cli("audit", "--changes", "-a", store.where)
    assert done.returncode == 1 and "measurement 1 of contract acme is not as it was written" in done.stderr


def test_what_is_promised_was_measured(server, store):
    """Load and tokens/s are those of the last measurement where nothing is said."""
    accept = ("contract", "accept", "acme", "--tranche", "first", "--url", server.url, "--for", "1s")
    assert "say --promised and --loads" in store(*accept, ok=False)
    assert "say --promised: " in store(*accept, "--loads", "1", ok=False)
    store("contract", "measure", "acme", "--tranche", "first", "--url", server.url, "--loads", "1", "--for", "1s", "--record",
          "--watts", "1", "--engine", "0.0.1")
    assert "with another version of the engine" in store(*accept, ok=False)
    shown = json.loads(store("contract", "measure", "acme", "--tranche", "first", "--url", server.url, "--loads", "2", "--for", "1s", "--record",
                             "--watts", "1", "--json"))
    entitled = shown["entitlement"][0]
    # One watt is all of the tranche, so its load is that of the measurement; machines are as fast as they were, about.
    assert entitled["requests_at_once"] in (1, 2)
    store(*accept, "--promised", "0.5", "--watts", "1")
    done = json.loads(store("contract", "measurements", "acme", "--json").splitlines()[-1])["record"]
    assert done["levels"][0]["concurrency"] == entitled["requests_at_once"] and done["acceptance"]["held_watts"] == 1
    # An acceptance is no measurement of all loads: what counts is still the one before it.
    tranche = json.loads(store("tranche", "show", "acme", "first", "--json"))
    assert tranche["tokens_per_second"] == entitled["tokens_per_second"] and tranche["accepted"]["measurement"] == 3


def test_asked_wrongly(store):
    def fails(*args):
        return store("contract", "accept", *args, "--url", "http://127.0.0.1:1", ok=False)
    assert "say which --tranche" in fails("acme")
    assert "has no tranche 'none'" in fails("acme", "--tranche", "none")
    assert "as it holds, no version" in fails("acme@1", "--tranche", "first")
    assert "has no contract 'other'" in fails("other", "--tranche", "first")
    assert "--loads" in fails("acme", "--tranche", "first", "--loads", "1,2")
    assert "--for wants" in fails("acme", "--tranche", "first", "--for", "1d")
