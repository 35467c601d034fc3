"""What the power of sites became: a server writes it, `gaufre power` adds it up, and the parts are the whole."""
import json
import os
import signal
import sqlite3
import subprocess
import time

import pytest

from finding import find_gaufre
from mock_upstream import Mock
from serving import Server, wait_for

pytestmark = pytest.mark.sanitize
SITES = """sites:
  - {name: fra1, region: eu, contracted_mw: 4, energised_mw: 3, capacity_factor: 0.75}
  - {name: osl1, region: eu, contracted_mw: 2, energised_mw: 1}
  - {name: rome, region: it}
suppliers:
  - {name: s, base_url: "URL", models: [m], site: fra1, input_joules: 9, output_joules: 9}
"""
CONTRACT = """contract: acme-2026
from: 2026-01-01
until: 2036-01-01
signed: 2026-01-01
currency: EUR
supplier: {name: us}
customer: {name: acme, tenants: [acme]}
tranches:
  - {name: t1, mw: 1, site: fra1, target: 2026-01-01, delivered: 2026-01-01, price: 90}
  - {name: t2, mw: 0.5, region: eu, target: 2026-01-01, delivered: 2026-01-01, price: 90}
"""
PARTS = ("used", "lent", "backstop", "sold", "idle", "curtailed", "encumbered")


def gaufre(folder, *args, ok=True):
    env = {**os.environ, "GAUFRE_HOME": str(folder)}
    r = subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, env=env, check=False)
    assert (r.returncode == 0) == ok, r.stdout + r.stderr
    return r.stdout if ok else r.stderr


def rows(folder, *args):
    return [json.loads(line) for line in gaufre(folder, "power", *args, "--json").splitlines()]


@pytest.fixture
def world(tmp_path):
    mock = Mock()
    (tmp_path / "c.yaml").write_text(SITES.replace("URL", mock.url))
    (tmp_path / "acme.yaml").write_text(CONTRACT)
    gaufre(tmp_path, "contract", "amend", tmp_path / "acme.yaml")
    gaufre(tmp_path, "tenant", "new", "acme")
    yield tmp_path
    mock.stop() if hasattr(mock, "stop") else None


def test_hours_are_written_and_sum(world):
    key = gaufre(world, "key", "new", "k", "--tenant", "acme").strip()
    server = Server(str(world), "-c", world / "c.yaml", "--accounts", world / "accounts.db", models=[])
    for _ in range(3):
        assert server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]},
                           {"Authorization": f"Bearer {key}"})[0] == 200
    time.sleep(1.2)
    assert server.stop() == 0  # what was seen so far is written then
    pieces = rows(world, "rows")
    assert {p["place"] for p in pieces} == {"fra1", "osl1", "region:eu"}  # of rome no watts are said
    for p in pieces:
        us = p["until_us"] - p["from_us"]
        mw = {"fra1": 3, "osl1": 1, "region:eu": 4}[p["place"]] * 1000000
        ready = {"fra1": 1000000, "osl1": 0, "region:eu": 1500000}[p["place"]]
        assert us > 0 and p["energised_uj"] == us * mw and p["encumbered_uj"] == 0
        assert p["operator_uj"] in ({"osl1": (0,)}.get(p["place"], range(us * 750000 - 60, us * 750000 + 1)))
        assert p["environment_uj"] == p["curtailment_uj"] == p["maintenance_uj"] == 0
        assert p["ready_uj"] == us * ready
    fra1 = [p for p in pieces if p["place"] == "fra1"]
    assert 1e6 <= sum(p["until_us"] - p["from_us"] for p in fra1) < 60e6
    hours = rows(world, "hours", "fra1")
    for h in hours:
        assert sum(int(h[f"{p}_uj"]) for p in PARTS) == int(h["energised_uj"])
    assert sum(int(h["energised_uj"]) for h in hours) == sum(p["energised_uj"] for p in fra1)
    assert sum(h["unknown_s"] for h in hours) == pytest.approx(
        3600 * len(hours) - sum(p["until_us"] - p["from_us"] for p in fra1) / 1e6)
    # The admin API tells the same.
    root = gaufre(world, "key", "new", "root", "--tenant", "acme", "--admin", "yes").strip()
    server = Server(str(world), "-c", world / "c.yaml", "--accounts", world / "accounts.db", models=[])
    for query, want in (("?site=fra1", {"fra1"}), ("", {"fra1", "osl1"}), ("?site=fra1&from=1970-01-01", {"fra1"}), ("?from=2020-01-01&to=2020-01-03", set()),
                        ("?site=nowhere", set()), ("?site=region:eu", set()), ("?from=2099-01-01", set()), ("?from=2026-02-30", "a day"), ("?to=soon", "a day")):
        status, _, body = server.request("GET", f"/admin/v1/power{query}", None, {"Authorization": f"Bearer {root}"})
        if isinstance(want, str):
            assert status == 400 and want in json.loads(body)["error"]["message"]
            continue
        data = json.loads(body)["data"]
        assert status == 200 and {h["site"] for h in data} == want
        assert all(sum(int(h[f"{p}_uj"]) for p in PARTS) == int(h["energised_uj"]) for h in data)
        assert sum(int(h["energised_uj"]) for h in data if h["site"] == "fra1") >= (sum(int(h["energised_uj"]) for h in hours) if "fra1" in want else 0)
    assert server.stop() == 0
    db = sqlite3.connect(world / "ledger.db")
    drew = db.execute("SELECT sum(energy_uj) FROM usage WHERE site = 'fra1'").fetchone()[0]
    db.close()
    assert drew > 0
    assert sum(int(h["used_uj"]) + int(h["beyond_uj"]) for h in hours) == drew
    assert "sum" in gaufre(world, "power", "hours")
    assert "every one as it was written" in gaufre(world, "audit")


def test_a_killed_server_loses_no_written_minute(world):
    """Killed again and again: no time is told twice, and what is not known is not told."""
    for i in range(4):
        server = Server(str(world), "-c", world / "c.yaml", "--accounts", world / "accounts.db", models=[])
        time.sleep(0.2 + 0.3 * i)
        if i == 1:  # one that ends well, whose seconds are then there
            assert server.stop() == 0
        else:
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
    gaufre(world, "audit")
    pieces = [p for p in rows(world, "rows", "fra1")]
    assert pieces
    for a, b in zip(pieces, pieces[1:]):
        assert a["until_us"] <= b["from_us"]
    assert sum(h["unknown_s"] for h in rows(world, "hours", "fra1")) > 3500


def test_a_minute_is_written_while_it_serves(world):
    server = Server(str(world), "-c", world / "c.yaml", "--accounts", world / "accounts.db", models=[])
    try:
        wait_for("a minute", lambda: rows(world, "rows", "fra1"), seconds=75)
        piece = rows(world, "rows", "fra1")[0]
        assert piece["until_us"] % 60000000 == 0  # the minute's end
    finally:
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    assert rows(world, "rows", "fra1")[0] == piece
    # Of a place that nobody has watched there is nothing to say.
    span = ("--from", "2026-03-01T10:00:00Z", "--until", "2026-03-01T12:00:00Z")
    for place in ("fra2", "region:fra1", "osl"):
        assert f"no power of '{place}'; it has that of fra1" in gaufre(world, "power", "note", place, "--cause", "customer", *span, ok=False)
    assert rows(world, "notes") == []
    gaufre(world, "audit")


def test_notes(world):
    server = Server(str(world), "-c", world / "c.yaml", "--accounts", world / "accounts.db", models=[])
    assert server.stop() == 0
    span = ["--from", "2026-03-01T10:00:00Z", "--until", "2026-03-01T12:00:00Z"]
    gaufre(world, "power", "note", "fra1", "--cause", "maintenance", *span, "--reason", "pump 2")
    gaufre(world, "power", "note", "fra1", "--cause", "none", *span)
    notes = rows(world, "notes")
    assert [(n["place"], n["cause"], n["reason"]) for n in notes] == [("fra1", "maintenance", "pump 2"), ("fra1", "none", "")]
    for bad in (["note", "fra1", "--cause", "weather", *span], ["note", "fra1", *span], ["note", "fra1", "--cause", "customer"],
                ["note", "fra1", "--cause", "customer", "--from", "2026-03-01T10:00:30Z", "--until", "2026-03-02"],
                ["note", "fra/1", "--cause", "customer", *span],
                ["note", "fra1", "--cause", "customer", "--from", "2126-03-01", "--until", "2126-03-02"],
                ["note", "fra1", "--cause", "customer", "--from", "2026-02-29", "--until", "2026-03-02"],
                ["note", "fra1", "--cause", "customer", "--from", "1969-03-01", "--until", "2026-03-02"], ["hours", "region:eu"],
                ["hours", "--from", "2026-02-30"], ["hours", "--from", "2026-03-02", "--until", "2026-03-01"]):
        gaufre(world, "power", *bad, ok=False)
    assert len(rows(world, "notes")) == 2
    db = sqlite3.connect(world / "ledger.db")
    db.execute("UPDATE power SET cause = 'customer' WHERE cause = 'maintenance'")
    db.commit()
    db.close()
    assert "of its power (of fra1) is not as it was written" in gaufre(world, "audit", ok=False)
