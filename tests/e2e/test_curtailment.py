"""Curtailment: schedules and calls of the grid, obeyed within their ramps, with what they cost and earn shown before."""
import json
import os
import sqlite3
import subprocess
import time

import pytest

from finding import find_gaufre
from postgres import postgres  # noqa: F401  fixture
from serving import SLOW, wait_for
from test_sites import stored, world  # noqa: F401  fixtures

pytestmark = pytest.mark.sanitize
SITES = """sites:
  - name: fra1
    pue: 1.25
    contracted_mw: 100
    energised_mw: 40
    encumbered_mw: 8
    curtailment_ramp: 1s
    curtailment_credit: 100
    curtailment_clawback: 250
    curtailment_baseline: energised
    curtailment_notice: 10m
    curtailment_calls_a_year: 3
  - {name: osl1}
"""
CONTRACT = """contract: acme-hold
supplier: {name: us}
customer: {name: acme, tenants: [acme]}
signed: 2026-01-01
from: 2026-01-01
until: 2070-01-01
currency: EUR
power_basis: it
shortfall_credit: 0.5
tranches:
  - {name: t1, site: fra1, mw: 16, target: 2026-01-02, delivered: 2026-01-02, price: 60}
  - {name: t2, site: fra1, mw: 8, target: 2026-01-02, delivered: 2026-01-02, price: 30}
  - {name: far, site: osl1, mw: 8, target: 2026-01-02, delivered: 2026-01-02, price: 30}
  - {name: later, site: fra1, mw: 8, target: 2060-01-02, price: 30}
"""
TAIL = "currency: EUR\nroutes: [{route: order}]\n"


SOON = 3 if SLOW < 20 else 10  # seconds, in which a command is through


def moment(after):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + after))


def curtail(w, *args, ok=True):
    text = w.site("curtail", *args, "--json", ok=ok)
    return [json.loads(x) for x in text.splitlines()] if ok else text


def factor(w, site="fra1"):
    return w.show(site)["capacity_factor"]


def phases(w):
    return [x.split(" phase=")[1].split()[0] for x in w.server.read_log().splitlines() if " site curtailment " in x]


def test_a_call_of_the_grid(stored):  # noqa: F811
    """It begins in a moment, goes down within its ramp, holds over a restart, and is cancelled."""
    w = stored(SITES, tail=TAIL).serve()
    assert factor(w) == 1 and w.show("fra1")["curtailment"] is None
    call, = curtail(w, "fra1", "--to", "10", "--from", moment(SOON), "--for", "1h", "--ramp", "2s")
    assert call["id"] == 1 and call["state"] == "called" and call["target_mw"] == 10 and call["short_notice"]
    assert factor(w) == 1  # it has not begun
    seen = set()

    def held():
        seen.add(factor(w))
        return factor(w) == 0.25
    wait_for("it is down", held)
    site = w.show("fra1")
    assert site["places"] == 16 and site["said"]["curtailment"]["capacity_factor"] == 0.25
    assert (site["curtailment"]["phase"], site["curtailment"]["id"], site["curtailment"]["until"]) == ("hold", 1, call["until"])
    assert all(0.25 <= f <= 1 for f in seen)
    assert w.server.metric("gaufre_site_curtailed", site="fra1") == 1 and w.server.metric("gaufre_site_curtailment_factor", site="fra1") == 0.25
    assert w.ask()[:2] == (200, "fra1")  # with 16 places
    assert "hold until" in w.site("show", "fra1") and phases(w) == ["ramp_down", "hold"]
    factors = [x for x in w.server.read_log().splitlines() if " site factor " in x]
    assert len(factors) == 1 and "capacity_factor=0.25" in factors[0] and "by=curtailment" in factors[0]  # one line, not one for each step of the ramp
    w.stop()
    with sqlite3.connect(w.folder / "ledger.db") as db:  # what it lost is the grid's doing
        lost = db.execute("SELECT sum(curtailment_uj), sum(environment_uj + maintenance_uj + operator_uj) FROM power WHERE site = 'fra1'").fetchone()
    assert lost[0] > 0 and lost[1] == 0
    w.serve()
    assert factor(w) == 0.25  # from the first request on
    gone, = curtail(w, "fra1", "--cancel", "1")
    assert gone["cancelled_at"] and gone["state"] in ("ramp_up", "cancelled")
    wait_for("it is up", lambda: factor(w) == 1)
    assert curtail(w, "fra1")[0]["state"] == "cancelled" and w.show("fra1")["curtailment"] is None
    assert phases(w)[-2:] == ["ramp_up", "over"]
    changes = [json.loads(x) for x in w.cli("audit", "--changes", "--json").splitlines()]
    assert [(c["action"], c["id"], c["after"]["target"]) for c in changes if c["kind"] == "site"] == [("curtail", "fra1", "10.00 MW"), ("cancel", "fra1", "10.00 MW")]
    assert "was cancelled before" in w.site("curtail", "fra1", "--cancel", "1", ok=False)


def test_what_it_would_cost_and_earn(world):  # noqa: F811
    """From 32 free MW of 40 energised down to a half, for an hour with a ramp of 6 minutes: 24 MW are promised, 16 are left."""
    w = world(SITES, tail=TAIL)
    (w.folder / "hold.yaml").write_text(CONTRACT)
    w.cli("contract", "amend", w.folder / "hold.yaml")
    w.serve()
    dry, = curtail(w, "fra1", "--to", "20", "--from", moment(3600), "--for", "1h", "--ramp", "6m", "--dry-run")
    e = dry["estimate"]
    assert dry["id"] is None and not dry["short_notice"]
    # All of it: a trapezium of 20 MW, as long as the hour.
    assert e["capacity_lost_mwh"] == pytest.approx(20, abs=1e-6) and e["reduced_mwh"] == pytest.approx(16, abs=1e-6)
    assert e["baseline"] == {"method": "energised", "mw": 32, "days": None} and e["currency"] == "EUR"
    assert (e["credit"], e["clawback_at_most"]) == ("1600.00", "4000.00")
    # Below 24 MW: 8 MW for 54 minutes, and 8 MW on half of each ramp, 3 minutes, two halves of it.
    assert e["shortfall_mwh"] == pytest.approx(8 * 57 / 60, abs=1e-6)
    rows = {r["tranche"]: r for r in e["contracts"]}
    assert set(rows) == {"t1", "t2"} and rows["t1"]["short_mwh"] == pytest.approx(7.6 * 2 / 3, abs=1e-6)
    assert float(rows["t1"]["credit"]) == pytest.approx(7.6 * 2 / 3 * 60 / 2, abs=1e-4)
    assert float(rows["t2"]["credit"]) == pytest.approx(7.6 / 3 * 30 / 2, abs=1e-4)
    assert float(e["shortfall_credits"]) == pytest.approx(float(rows["t1"]["credit"]) + float(rows["t2"]["credit"]), abs=1e-6)
    assert curtail(w, "fra1") == [] and factor(w) == 1  # nothing was taken
    text = w.site("curtail", "fra1", "--to", "50%", "--for", "1h", "--dry-run")
    assert "DRY RUN" in text and "acme-hold/t1" in text and "1600.00 EUR" in text
    half, = curtail(w, "osl1", "--to", "50%", "--for", "1h", "--dry-run")  # nothing is known of its power
    assert half["estimate"]["credit"] is None and half["estimate"]["capacity_lost_mwh"] is None and half["estimate"]["shortfall_mwh"] is None


def test_what_is_agreed_and_what_is_wrong(world):  # noqa: F811
    w = world(SITES, tail=TAIL).serve()
    for i in range(3):
        call, = curtail(w, "fra1", "--to", "20", "--from", moment(3600 + i), "--for", "1h")
        assert call["id"] == i + 1 and not call["short_notice"]
    assert "3 calls begin in that year, as many as were agreed" in w.site("curtail", "fra1", "--to", "20", "--from", moment(3700), "--for", "1h", ok=False) \
        or time.gmtime(time.time() + 3700).tm_year != time.gmtime(time.time() + 3600).tm_year
    curtail(w, "fra1", "--cancel", "2")  # before it began: it does not count
    assert curtail(w, "fra1", "--to", "20", "--from", moment(3700), "--for", "1h")[0]["id"] == 4
    status, answer = w.admin("POST", "/sites/fra1/curtailments", {"for_seconds": 60, "target_mw": 1})
    assert status == 409, answer
    for body, why in (({"target_mw": 20}, "until or for_seconds"), ({"for_seconds": 60}, "target_mw or target_share"),
                      ({"for_seconds": 60, "target_mw": 2, "target_share": 0.5}, "one of them"), ({"for_seconds": 60, "target_mw": 41}, "more than is energised"),
                      ({"for_seconds": 60, "target_mw": -1}, "from 0"), ({"for_seconds": 60, "target_share": 1.1}, "from 0 to 1"),
                      ({"for_seconds": 0, "target_share": 1}, "until"), ({"for_seconds": 1e9, "target_share": 1}, "for_seconds"),
                      ({"until": "2020-01-01T00:00:00Z", "target_share": 1}, "until: is not after"), ({"from": "2020-01-01T00:00:00Z", "for_seconds": 9, "target_share": 1}, "in the past"),
                      ({"from": "2026-02-30", "for_seconds": 9, "target_share": 1}, "from: wants a moment"), ({"from": "2099-01-01", "for_seconds": 9, "target_share": 1}, "a year ahead"),
                      ({"for_seconds": 60, "target_share": 1, "ramp_seconds": 3601}, "ramp_seconds"), ({"for_seconds": 60, "target_share": 1, "color": 1}, "color"),
                      ({"for_seconds": 60, "target_share": 1, "dry_run": "yes"}, "dry_run"), ([], "object")):
        status, answer = w.admin("POST", "/sites/fra1/curtailments", body)
        assert status == 400 and why in answer["error"]["message"], (body, answer)
    status, answer = w.admin("POST", "/sites/osl1/curtailments", {"for_seconds": 60, "target_mw": 1})
    assert status == 400 and "does not say how many megawatts" in answer["error"]["message"]
    assert w.admin("POST", "/sites/nowhere/curtailments", {"for_seconds": 60, "target_share": 1})[0] == 404
    assert w.admin("GET", "/sites/nowhere/curtailments")[0] == 404
    for number in ("99", "x", "-1", "1x"):
        assert w.admin("GET", f"/curtailments/{number}")[0] == 404 and w.admin("DELETE", f"/curtailments/{number}")[0] == 404
    assert w.server.request("POST", "/admin/v1/sites/fra1/curtailments", {"for_seconds": 60, "target_share": 0}, {"Authorization": f"Bearer {w.keys['acme']}"})[0] == 403
    for args in (("curtail",), ("curtail", "fra1", "--to", "5"), ("curtail", "fra1", "--to", "x", "--for", "1h"), ("curtail", "fra1", "--to", "5", "--for", "long"),
                 ("curtail", "fra1", "--cancel", "1", "--call", "2"), ("show", "fra1", "--to", "5"), ("curtail", "fra1", "--to", "120%", "--for", "1h")):
        w.site(*args, ok=False)
    assert factor(w) == 1
    assert [c["state"] for c in curtail(w, "fra1")] == ["called", "cancelled", "called", "called"]


def hours(before, after):
    return f"{time.strftime('%H:%M', time.gmtime(time.time() - before))}-{time.strftime('%H:%M', time.gmtime(time.time() + after))}"


def test_schedules(world):  # noqa: F811
    """Hours of days, and one event; the lowest of them and of a call holds."""
    today = time.strftime("%a", time.gmtime()).lower()
    other = "mon" if today not in ("mon", "sun", "tue") else "thu"
    w = world(f"""sites:
  - name: fra1
    energised_mw: 40
    curtailment:
      - {{hours: "{hours(7200, 7200)}", target_mw: 24, ramp: 0s}}
      - {{hours: "{hours(7200, 7200)}", days: [{other}], target_share: 0}}
      - {{from: "{moment(-3600)}", for: 2h, target_share: 0.75, ramp: 1s}}
      - {{from: "{moment(86400)}", for: 2h, target_share: 0.1}}
  - {{name: osl1}}
""", tail=TAIL).serve()
    assert factor(w) == 0.6 and w.show("fra1")["curtailment"]["id"] is None
    call, = curtail(w, "fra1", "--to", "25%", "--for", "1h", "--ramp", "0s")
    wait_for("the call is lower", lambda: factor(w) == 0.25)
    w.site("set", "fra1", "--capacity-factor", "0.125")
    assert factor(w) == 0.125
    w.site("set", "fra1", "--capacity-factor", "none")
    curtail(w, "fra1", "--cancel", call["id"])
    wait_for("the schedule is left", lambda: factor(w) == 0.6)


def test_baseline_and_settlement_by_the_ledger(world):  # noqa: F811
    """The mean of the same hour of the last days of its kind; what was used above the target is clawed back."""
    w = world(SITES.replace("curtailment_baseline: energised", "curtailment_baseline_days: 3").replace("energised_mw: 40", "energised_mw: 0.00004")
              .replace("encumbered_mw: 8", "encumbered_mw: 0").replace("100\n", "1000\n", 1).replace("curtailment_credit: 1000", "curtailment_credit: 100"), tail=TAIL).serve()
    assert w.ask()[0] == 200
    wait_for("booked", lambda: w.server.metric("gaufre_ledger_rows_in_journal") == 0 and w.show("fra1")["requests"])
    dry, = curtail(w, "fra1", "--to", "0.00001", "--for", "100s", "--ramp", "0s", "--dry-run")
    assert dry["estimate"]["baseline"] == {"method": "like_days", "mw": None, "days": 0} and dry["estimate"]["credit"] is None
    now = int(time.time())
    start = now - 400  # a call that was 300 s long, and is over

    def like(day, other):
        return (time.gmtime(day).tm_wday >= 5) == (time.gmtime(other).tm_wday >= 5)
    days = [start - 86400 * k for k in range(1, 60) if like(start - 86400 * k, start)][:3]
    w.stop()
    with sqlite3.connect(w.folder / "ledger.db") as db:
        db.row_factory = sqlite3.Row
        row = dict(db.execute("SELECT * FROM usage").fetchone())

        def put(name, at, joules, boundary=1):
            more = {**row, "request_id": name, "at_us": at * 1000000, "energy_uj": joules * 1000000, "energy_method": 1, "energy_boundary": boundary, "seq": 0, "chain": ""}
            db.execute(f"INSERT INTO usage ({', '.join(more)}) VALUES ({', '.join('?' * len(more))})", list(more.values()))
        put("one", days[0] + 10, 9000)
        put("two", days[2] + 299, 3000)
        put("twice", days[2] + 100, 3750, 2)  # of the building: 3000 J of the machines
        put("before", days[2] - 1, 10**6)
        put("held", start + 50, 4500)
    with sqlite3.connect(w.folder / "accounts.db") as db:
        db.execute("INSERT INTO curtailment VALUES (1, 'fra1', ?, ?, ?, 0, 0, '0.00001 MW', 0)", (start - 900, start, start + 300))
    w.serve()
    over, = curtail(w, "fra1", "--call", "1")
    assert over["state"] == "over"
    # Days with 9000 and 6000 J, of the third nothing is known: 25 W. Allowed were 10 W for 300 s.
    s = over["settled"]
    assert s["baseline"] == {"method": "like_days", "mw": 0.000025, "days": 2}
    assert [round(s[k] * 3.6e9) for k in ("used_mwh", "allowed_mwh", "over_mwh", "reduced_mwh")] == [4500, 3000, 1500, 3000]
    assert s["credit"] == f"{3000 / 3.6e9 * 100:.9f}".rstrip("0") and s["clawback"] == f"{1500 / 3.6e9 * 250:.9f}".rstrip("0")
    assert "what came of it" in w.site("curtail", "fra1", "--call", "1")


@pytest.mark.parametrize("row,why", [
    ("{hours: '17:00-25:00', target_share: 0.5}", "c.yaml:4:19: site a: hours: wants two times"),
    ("{hours: '17:00-17:00', target_share: 0.5}", "wants two times"),
    ("{hours: '7-9', target_share: 0.5}", "wants two times"),
    ("{hours: '17:00-19:00', days: [someday], target_share: 0.5}", "days: wants words"),
    ("{hours: '17:00-19:00'}", "target_mw or target_share: one of them"),
    ("{hours: '17:00-19:00', target_share: 1.5}", "'1.5' is no factor"),
    ("{hours: '17:00-19:00', target_mw: 3}", "it is not said how many are energised"),
    ("{hours: '17:00-19:00', for: 1h, target_share: 0.5}", "hours say how long"),
    ("{from: 2026-02-30, for: 1h, target_share: 0.5}", "c.yaml:4:18: site a: from: is no date"),
    ("{from: 2026-02-03, target_share: 0.5}", "for: is missing"),
    ("{from: 2026-02-03, for: 1h, days: [mon], target_share: 0.5}", "days: goes with hours"),
    ("{target_share: 0.5}", "hours, or from and for: one of them"),
    ("{hours: '17:00-19:00', target_share: 0.5, ramp: 2h}", "ramp"),
    ("5", "wants maps"),
])
def test_schedules_that_are_refused(tmp_path, row, why):
    (tmp_path / "c.yaml").write_text("sites:\n  - name: a\n    curtailment:\n        - " + row + "\nsuppliers: [{name: s, base_url: 'http://127.0.0.1:1/v1', models: [m]}]\n")
    r = subprocess.run([find_gaufre(), "serve", "--check", "-c", str(tmp_path / "c.yaml")], capture_output=True, text=True, check=False,
                       env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
    assert r.returncode == 2 and why in r.stderr, r.stderr
