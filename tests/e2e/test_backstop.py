"""A buyer of last resort: what it takes of each hour, what it owes, and that all of it can be made again from the ledger."""
import json
import os
import sqlite3
import subprocess
from fractions import Fraction

import pytest

from finding import find_gaufre
from serving import Server, wait_for
from test_power import PARTS
from test_sites import world as site_world  # noqa: F401  fixture
from test_statement import US, Ledger, gaufre, nano

pytestmark = pytest.mark.sanitize
HOUR, MW = 3600, 1_000_000
START = 1767225600  # 2026-01-01, of UTC
SITES = """sites:
  - {name: fra1, region: eu, contracted_mw: 9, energised_mw: 4}
  - {name: osl1, region: no, contracted_mw: 9, energised_mw: 2}
suppliers: [{name: s, base_url: "http://127.0.0.1:9", models: [m], site: fra1}]
"""
TERMS = """contract: %s
signed: 2025-05-01
from: %s
until: %s
currency: EUR
supplier: {name: us}
customer: {name: buyer, tenants: [%s]}
backstop: {%s}
tranches:
"""
SOLD = """contract: deal
signed: 2025-12-01
from: 2026-01-01
until: 2076-01-01
currency: EUR
supplier: {name: us}
customer: {name: acme, tenants: [acme]}
tranches:
  - {name: one, mw: 1, site: fra1, target: 2026-01-01, delivered: 2026-01-01, price: 90}
"""


def buyer(name, caps, *tranches, start="2026-01-01", end="2032-01-01", tenant=None):
    return TERMS % (name, start, end, tenant or name, caps) + "".join(
        f"  - {{name: {n}, mw: {mw}, {place}, target: {start}, delivered: {start}, price: {price}{more}}}\n" for n, mw, place, price, more in tranches)


@pytest.fixture(name="world")
def make_world(tmp_path):
    """A ledger in which two sites were watched for a day: 4 MW and 2 MW, of the first 1 MW is sold and 0.5 MW were drawn by others."""
    (tmp_path / "sold.yaml").write_text(SOLD)
    gaufre(tmp_path, "contract", "amend", tmp_path / "sold.yaml")
    ledger = Ledger(tmp_path)
    (tmp_path / "c.yaml").write_text(SITES)
    for minute in range(24 * 60):
        a, b = (START + minute * 60) * US, (START + minute * 60 + 60) * US
        if not 300 <= minute < 330:  # nobody watched for half an hour
            ledger.piece("fra1", a, b, 4 * MW, 0, MW, US, "operator")
        ledger.piece("osl1", a, b, 2 * MW, 0, 0, US if minute % 60 else US // 2, "curtailment")
    for hour in range(24):
        ledger.request((START + hour * HOUR + 30) * US, "other", "x", "", 2, 10, 5, MW // 2 * HOUR * US + hour)
    ledger.commit()
    yield tmp_path, ledger
    ledger.db.close()


def amend(folder, text):
    (folder / "b.yaml").write_text(text)
    gaufre(folder, "contract", "amend", folder / "b.yaml")


def settle(folder, last="2026-01-01T23:00:00Z"):
    """A server that makes up for the hours that are over; until all of them are, or nothing more comes."""
    server = Server(str(folder), "-c", folder / "c.yaml", "--accounts", folder / "accounts.db", models=[])
    try:
        wait_for("the hours are settled", lambda: [r for r in taken(folder) if r["until_us"] > at(last) * US], seconds=120)
    finally:
        assert server.stop() == 0, server.read_log()[-3000:]
    return server.read_log()


def at(moment):
    return START + int(moment[11:13]) * HOUR


def taken(folder, *args):
    return [json.loads(line) for line in gaufre(folder, "power", "taken", *args, "--from", "2026-01-01", "--until", "2026-01-02", "--json").splitlines()]


def hours(folder, site):
    return [json.loads(line) for line in gaufre(folder, "power", "hours", site, "--from", "2026-01-01", "--until", "2026-01-02", "--json").splitlines()]


def statement(folder, name, *args):
    return json.loads(gaufre(folder, "contract", "statement", name, *(args or ("--from", "2026-01-01", "--until", "2026-01-02")), "--json"))


def idle(site, hour):
    """Joules of an hour that nobody bought, by what was written above."""
    if site == "osl1":
        return 2 * MW * HOUR - MW * 60  # in the first minute half was curtailed
    watched = HOUR - (1800 if hour == 5 else 0)
    return 3 * MW * watched - (MW // 2 * HOUR * US + hour + US - 1) // US


def test_it_takes_what_nobody_bought(world):
    folder, _ = world
    amend(folder, buyer("last", "yearly_mwh: 300000", ("all", 60, "site: fra1", 40, ""), ("north", 1.5, "region: no", 30, "")))
    settle(folder)
    rows = taken(folder)
    for hour in range(24):
        got = {r["tranche"]: r for r in rows if r["from_us"] == (START + hour * HOUR) * US}
        assert got["all"]["joules"] == idle("fra1", hour) and got["north"]["joules"] == min(idle("osl1", hour), 1_500_000 * HOUR)
        assert (got["all"]["site"], got["north"]["site"], got["north"]["price"]) == ("fra1", "osl1", "30.00")
    assert len(rows) == 48
    for site in ("fra1", "osl1"):
        for i, h in enumerate(hours(folder, site)):
            assert sum(int(h[f"{p}_uj"]) for p in PARTS) == int(h["energised_uj"])
            mine = sum(r["joules"] for r in rows if r["site"] == site and r["from_us"] == (START + i * HOUR) * US)
            assert int(h["backstop_uj"]) == mine * US and int(h["beyond_uj"]) == 0
            assert int(h["sold_uj"]) == (MW * (1800 if i == 5 else HOUR) * US if site == "fra1" else 0)
            assert int(h["idle_uj"]) < US if site == "fra1" else int(h["idle_uj"]) == (idle(site, i) - mine) * US
    # The statement has a line of each tranche, recomputable.
    s = statement(folder, "last")
    assert [(line["kind"], line["tranche"], line["joules"], line["price"]) for line in s["lines"]] == [
        ("backstop", n, sum(r["joules"] for r in rows if r["tranche"] == n), p) for n, p in (("all", "40.00"), ("north", "30.00"))]
    for line in s["lines"]:
        exact = Fraction(line["joules"], 3600 * US) * nano(line["price"])
        assert abs(nano(line["amount"]) - exact) <= Fraction(1, 2)
        behind = [json.loads(x) for x in gaufre(folder, *line["rows"]["command"].split()[1:], "--json").splitlines()]
        behind = [r for r in behind if r["tranche"] == line["tranche"]]
        assert (len(behind), behind[0]["seq"], behind[-1]["seq"]) == (line["rows"]["n"], line["rows"]["first"], line["rows"]["last"])
        assert line["rows"]["table"] == "taken"
    assert nano(s["total"]) == sum(nano(line["amount"]) for line in s["lines"])
    assert s["backstop_year"]["taken_joules"] == sum(r["joules"] for r in rows)
    assert s["backstop_year"]["cap_joules"] == 300000 * 3600 * US and s["backstop_year"]["until"] == "2027-01-01"
    text = gaufre(folder, "contract", "statement", "last", "--from", "2026-01-01", "--until", "2026-01-02")
    assert "taken of what nobody bought: all at fra1" in text and "of 300000.00" in text
    page = gaufre(folder, "contract", "statement", "last", "--from", "2026-01-01", "--until", "2026-01-02", "--html")
    assert s["total"] in page
    path = folder / "s.json"
    path.write_text(json.dumps(s))
    gaufre(folder, "audit", "--statement", path)
    gaufre(folder, "audit")
    for change in (lambda s: s["lines"][0].update(joules=1), lambda s: s["upto"].update(taken=5), lambda s: s.update(total="1.00"),
                   lambda s: s["backstop_year"].update(taken_joules=1)):
        changed = json.loads(json.dumps(s))
        change(changed)
        path.write_text(json.dumps(changed))
        assert "differs" in gaufre(folder, "audit", "--statement", path, ok=False)
    # A server that starts again takes nothing twice.
    settle(folder)
    assert taken(folder) == rows
    # Others owe as before, and the one that has it all is promised nothing.
    assert [line["kind"] for line in statement(folder, "deal")["lines"]][0] == "capacity"
    view = json.loads(gaufre(folder, "contract", "show", "last", "--json", "--as-of", "2026-06-01"))
    assert view["ready_watts"] == view["firm_watts"] == 0 and all(float(y["fee"]) == 0 for y in view["years"])
    assert "takes what nobody buys, in a year at most 300000 MWh" in gaufre(folder, "contract", "show", "last")
    report = json.loads(gaufre(folder, "contract", "report", "--json", "--as-of", "2026-01-01"))
    mine = next(c for c in report["contracts"] if c["contract"] == "last")
    assert float(mine["still_to_come"]) == 0 and float(mine["by_backstop_at_most"]) > 1e6
    assert "by_backstop_at_most" not in next(c for c in report["contracts"] if c["contract"] == "deal")
    assert "takes what nobody buys: nothing of that is firm" in gaufre(folder, "contract", "report")
    # What was written is found out when it is changed.
    with sqlite3.connect(folder / "ledger.db") as db:
        db.execute("UPDATE taken SET joules = joules + 1 WHERE seq = 3")
    db.close()
    assert "row 3 of what was taken (by last) is not as it was written" in gaufre(folder, "audit", ok=False)


def test_caps(world):
    """In the middle of an hour the cap is reached; who began later has the rest, up to its money, and then it is idle."""
    folder, _ = world
    amend(folder, buyer("zz", "yearly_mwh: 10", ("a", 60, "site: fra1", 40, ""), start="2025-12-15", tenant="z"))
    amend(folder, buyer("aa", "yearly_money: 1000.5", ("a", 60, "site: fra1", 33, ""), tenant="a"))
    amend(folder, buyer("north", "yearly_mwh: 300000", ("a", 60, "site: osl1", 1, ""), tenant="n"))
    log = settle(folder)
    rows = taken(folder)
    first, second = ([r for r in rows if r["contract"] == n] for n in ("zz", "aa"))
    assert sum(r["joules"] for r in first) == 10 * 3600 * US
    assert first[-1]["from_us"] == second[0]["from_us"] and first[-1]["joules"] + second[0]["joules"] == idle("fra1", len(first) - 1)
    total = sum(r["joules"] for r in second)
    assert Fraction(total, 3600 * US) * 33 <= Fraction("1000.5") < Fraction(total + 1, 3600 * US) * 33
    assert nano(statement(folder, "aa")["total"]) <= nano("1000.5")
    assert log.count("backstop has taken its year's cap") == 2 and "contract=zz" in log
    left = hours(folder, "fra1")[-1]
    assert left["backstop_uj"] == "0" and int(left["idle_uj"]) > idle("fra1", 23) * US - US
    assert [json.loads(x)["contract"] for x in gaufre(folder, "power", "taken", "aa", "--from", "2026-01-01", "--until", "2026-01-02", "--json").splitlines()] == ["aa"] * len(second)


def test_its_horizon(world):
    """In a zone half an hour beside UTC it ends in the middle of an hour, and another begins: the hour is cut."""
    folder, _ = world
    zone = "time_zone: Asia/Kolkata\n"
    amend(folder, zone + buyer("old", "yearly_mwh: 300000", ("a", 60, "site: fra1", 40, ""), start="2025-06-01", end="2026-01-02", tenant="o"))
    amend(folder, zone + buyer("new", "yearly_mwh: 300000", ("a", 60, "site: fra1", 50, ""), start="2026-01-02", tenant="n"))
    settle(folder)
    rows = taken(folder)
    cut = (START + 18 * HOUR + 1800) * US  # midnight there
    assert {r["contract"] for r in rows if r["from_us"] < cut} == {"old"} and {r["contract"] for r in rows if r["from_us"] >= cut} == {"new"}
    old, new = (r for r in rows if (START + 18 * HOUR) * US <= r["from_us"] < (START + 19 * HOUR) * US)
    assert (old["until_us"], new["from_us"]) == (cut, cut)
    # What others drew ended in the first half.
    assert new["joules"] == 3 * MW * 1800 and old["joules"] + new["joules"] == idle("fra1", 18)
    h = hours(folder, "fra1")[18]
    assert int(h["backstop_uj"]) == (old["joules"] + new["joules"]) * US and sum(int(h[f"{p}_uj"]) for p in PARTS) == int(h["energised_uj"])


def test_its_own_work(site_world):  # noqa: F811
    """It is served in the lowest tier on what nobody bought, for nothing; once the caps are reached not at all."""
    w = site_world(tail="routes: [{route: order}]\ncurrency: EUR\nprices: [{input: 1, output: 2}]\n", more={"a": "    concurrency: 4\n"}).serve()
    text = buyer("last", "yearly_mwh: 300000", ("a", 60, "site: fra1", 40, ""), tenant="acme")
    assert w.admin("POST", "/contracts", {"text": text})[0] == 201
    ask = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    key = {"Authorization": f"Bearer {w.keys['acme']}"}
    status, heads, _ = w.server.post("/v1/chat/completions", {**ask, "service_tier": "default"}, key)
    assert (status, heads["x-gaufre-contract"], heads["x-gaufre-tier"], heads["x-gaufre-site"]) == (200, "last/a", "batch", "fra1")
    view = w.admin("GET", "/contracts/last")[1]
    assert view["admission"]["requests"] == 1 and view["admission"]["tokens"] == 15 and view["backstop"] == {"yearly_mwh": 300000}

    def rows():
        with sqlite3.connect(w.server.ledger) as db:
            return db.execute("SELECT contract, tranche, lent, charge_nano, tier FROM usage").fetchall()

    assert wait_for("its row", rows) == [("last", "a", 3, 0, 3)]
    # All of the site is sold: nothing is left that nobody bought.
    assert w.admin("POST", "/contracts", {"text": SOLD.replace("mw: 1,", "mw: 1.5, tokens_per_second: 5,").replace("tenants: [acme]", "tenants: [other]")})[0] == 201
    status, heads, body = w.server.post("/v1/chat/completions", ask, key)
    assert status == 429 and "The tier batch may borrow no more" in body["error"]["message"]
    w.cli("audit", "--ledger", w.server.ledger)


def test_bad_input(tmp_path):
    good = buyer("last", "yearly_mwh: 5", ("a", 60, "site: fra1", 40, ""))

    def check(text):
        (tmp_path / "b.yaml").write_text(text)
        r = subprocess.run([find_gaufre(), "contract", "check", str(tmp_path / "b.yaml")], capture_output=True, text=True, check=False,
                           env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
        return r.returncode, r.stderr

    assert check(good)[0] == 0
    for was, now, says in (("{yearly_mwh: 5}", "{}", ":8:11: backstop: wants yearly_mwh, yearly_money or both"),
                           ("yearly_mwh: 5", "yearly_mwh: -5", ":8:24: yearly_mwh: '-5' is out of bounds"),
                           ("yearly_mwh: 5", "yearly_mwh: much", "yearly_mwh: 'much' wants a number"),
                           ("yearly_mwh: 5", "monthly_mwh: 5", ":8:"), ("{yearly_mwh: 5}", "yes", "wants a map"),
                           ("backstop:", "late_credit: 0.5\nbackstop:", ":9:11: backstop: promises nothing"),
                           ("backstop:", "spillover: borrow\nbackstop:", ":8:12: spillover: is 'reject' for a backstop"),
                           ("price: 40", "price: 40, tokens_per_second: 5", "tokens_per_second: of a backstop no tranche entitles")):
        code, err = check(good.replace(was, now, 1))
        assert code == 1 and says in err, (now, err)
