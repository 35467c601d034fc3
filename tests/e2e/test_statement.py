"""Statements of contracts: what a period comes to, recomputed here from the raw tables with fractions."""
import csv
import datetime
import hashlib
import io
import json
import os
import random
import re
import sqlite3
import struct
import subprocess
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from finding import find_gaufre
from serving import Server

MEASURED = ("environment", "curtailment", "maintenance", "operator")
CAUSES = (*MEASURED, "force-majeure", "supplier", "customer")
US = 10 ** 6
POWER = ("seq, chain, at_us, site, from_us, until_us, contracted_uj, energised_uj, encumbered_uj, ready_uj, environment_uj, curtailment_uj,"
         " maintenance_uj, operator_uj, cause, reason")
CONTRACT = """contract: acme
time_zone: Europe/Berlin
from: 2026-01-01
until: 2029-01-01
signed: 2025-12-01
currency: EUR
supplier: {name: us}
customer: {name: acme, tenants: [acme]}
indexation_percent: 10
indexation_from: 2026-03-11
late_credit: 0.5
shortfall_credit: 1.5
credit_cap: 0.15
take_or_pay: 0.25
lend_share: 0.3
spillover: pay
spillover_input: 1
spillover_output: 2
tranches:
  - {name: a, mw: 3, site: fra1, target: 2026-01-01, delivered: 2026-01-01, price: 95.5}
  - {name: b, mw: 1.5, site: fra1, target: 2026-03-05, delivered: 2026-03-08, price: 80}
  - {name: c, mw: 2, region: eu, target: 2026-01-01, delivered: 2026-02-01, until: 2026-03-25, price: 70}
  - {name: d, mw: 2, site: fra1, target: 2026-03-01, price: 60}
"""


def gaufre(folder, *args, ok=True):
    env = {**os.environ, "GAUFRE_HOME": str(folder)}
    r = subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, env=env, check=False)
    assert (r.returncode == 0) == ok, r.stdout + r.stderr
    return r.stdout if ok else r.stderr


def statement(folder, *args, name="acme"):
    return json.loads(gaufre(folder, "contract", "statement", name, *args, "--json"))


def at(day, zone="Europe/Berlin"):
    return int(datetime.datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp())


class Ledger:
    """Rows written behind the server's back, with the chains and sums that it would have made."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "c.yaml").write_text('suppliers: [{name: s, base_url: "http://127.0.0.1:9", models: [m]}]\n')
        assert Server(str(folder), "-c", folder / "c.yaml", models=[]).stop() == 0  # makes the tables
        self.db = sqlite3.connect(folder / "ledger.db")
        self.db.row_factory = sqlite3.Row
        self.links = {"power": bytes(16), "usage": bytes(16)}
        self.seq = {"power": 0, "usage": 0}

    def commit(self):
        self.db.execute("UPDATE tree SET base = ?", (self.seq["usage"],))  # as rows of before there was a tree of receipts
        self.db.execute("UPDATE power_tree SET base = ?", (self.seq["power"],))
        self.db.commit()

    def link(self, table, data):
        self.links[table] = hashlib.blake2b(self.links[table] + data, digest_size=16).digest()
        self.seq[table] += 1
        return self.seq[table], self.links[table].hex()

    def power(self, place, start, end, numbers, cause="", reason="", recorded=None):
        """numbers: contracted, energised, encumbered, ready and what was lost by cause, in microjoules."""
        values = [recorded or end, start, end, *numbers]
        data = b"".join(t.encode() + b"\0" for t in (place, cause, reason)) + struct.pack("<11q", *values)
        self.db.execute(f"INSERT INTO power ({POWER}) VALUES ({','.join('?' * 16)})",
                        (*self.link("power", data), values[0], place, *values[1:], cause, reason))

    def piece(self, place, start, end, energised, encumbered, ready, factor, cause):
        us = end - start
        encumbered = min(encumbered, energised)
        lost = [0] * 4
        lost[MEASURED.index(cause)] = (energised - encumbered) * us * (US - factor) // US
        self.power(place, start, end, [energised * us, energised * us, encumbered * us, ready * us, *lost])

    def request(self, when, tenant, contract, tranche, lent, tokens, charge, energy, currency="EUR"):
        name = f"req_{self.seq['usage']}"
        method = 0 if energy is None else 4
        numbers = [when, tokens, 0, 0, energy or 0, 200, 0, 0, 0, 1, charge, 0]
        data = b"".join(t.encode() + b"\0" for t in (name, tenant, "k", "m", "s/m", currency)) + struct.pack("<12q", *numbers)
        data += b"fra1\0" + struct.pack("<5q", 0, method, 0, -1, -1)
        data += b"\xff" + contract.encode() + b"\0" + tranche.encode() + b"\0" + struct.pack("<q", lent)
        seq, chain = self.link("usage", data)
        row = {"request_id": name, "at_us": when, "tenant": tenant, "key_id": "k", "model": "m", "supplier": "s/m",
               "prompt_tokens": tokens, "cached_tokens": 0, "completion_tokens": 0, "energy_uj": energy or 0, "status": 200,
               "charge_nano": charge, "cost_nano": 0, "currency": currency, "energy_method": method, "site": "fra1",
               "contract": contract, "tranche": tranche, "lent": lent, "seq": seq, "chain": chain}
        self.db.execute(f"INSERT INTO usage ({','.join(row)}) VALUES ({','.join('?' * len(row))})", list(row.values()))
        moves = [("tokens", tokens, "supplier:s/m", f"tenant:{tenant}"), (currency, charge, "platform:revenue", f"tenant:{tenant}")]
        if energy is not None:
            moves.append(("energy", energy, "supplier:s/m", f"tenant:{tenant}"))
        for unit, n, a, b in moves:
            for account, amount in ((a, -n), (b, n)) if n or unit == "energy" else ():
                self.db.execute("INSERT INTO account VALUES (?, ?, ?) ON CONFLICT (account, unit) DO UPDATE SET"
                                " amount = amount + excluded.amount", (account, unit, amount))
        self.db.execute("INSERT INTO balance VALUES (?, 1, ?, 0, 0, ?) ON CONFLICT (tenant) DO UPDATE SET n_requests ="
                        " n_requests + 1, prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
                        " energy_uj = energy_uj + excluded.energy_uj", (tenant, tokens, energy or 0))


# ---- the same by another way ---------------------------------------------------------------------

def rounded(x):
    """To a whole number, half away from 0."""
    n = int(abs(x) + Fraction(1, 2))
    return n if x >= 0 else -n


def nano(text):
    return int(Fraction(text) * 10 ** 9)


class Again:
    """The lines of a period, from the tables and these terms: parts, each of (from, until, tranches, terms)."""

    def __init__(self, db, parts, terms, prepaid=0):
        self.lines, self.db = [], db
        for i, (start, end, growth, tranches) in enumerate(parts):
            self.part(i, start, end, growth, tranches, terms)
        fee = sum(a for k, _, _, _, a in self.lines if k == "capacity")
        credit = -sum(a for k, _, _, _, a in self.lines if k in ("late", "shortfall"))
        cap = rounded(fee * Fraction(terms.get("credit_cap", 0)))
        if terms.get("credit_cap") and credit > cap:
            self.lines.append(("credit-cap", None, None, None, credit - cap))
        total = sum(line[4] for line in self.lines)
        if prepaid > 0 and total > 0:
            self.lines.append(("prepayment", None, None, None, -min(prepaid, total)))
        self.total = sum(line[4] for line in self.lines)

    def note(self, place, when):
        row = self.db.execute("SELECT cause FROM power WHERE site = ? AND cause <> '' AND from_us <= ? AND until_us > ?"
                              " ORDER BY seq DESC LIMIT 1", (place, when, when)).fetchone()
        return row["cause"] if row and row["cause"] != "none" else None

    def energies(self, start, end, tranches):
        """Of each tranche microjoules: ready, watched, and short by cause."""
        ret = {t["name"]: {"ready": 0, "watched": 0, "short": dict.fromkeys(CAUSES, 0)} for t in tranches}
        for t in tranches:
            a, b = max(start, t["ready"]), min(end, t["end"])
            ret[t["name"]]["ready"] = max(0, b - a) * t["watts"] * US
        for p in self.db.execute("SELECT * FROM power WHERE cause = '' AND until_us > ? AND from_us < ?", (start * US, end * US)):
            need = {}
            for t in (t for t in tranches if t["place"] == p["site"]):
                us = min(p["until_us"], min(end, t["end"]) * US) - max(p["from_us"], max(start, t["ready"]) * US)
                need[t["name"]] = max(0, us) * t["watts"]
            everything = max(p["ready_uj"], sum(need.values()))
            lost = {c: p[f"{c}_uj"] for c in MEASURED}
            usable = p["energised_uj"] - p["encumbered_uj"] - sum(lost.values())
            weight = {**dict.fromkeys(CAUSES, 0), **lost,
                      "supplier": p["encumbered_uj"] + max(0, everything - p["energised_uj"])}
            note = self.note(p["site"], p["from_us"])
            for name, n in ((k, v) for k, v in need.items() if v):
                short = n - int(Fraction(n * usable, everything)) if usable < everything else 0
                to = ret[name]["short"]
                ret[name]["watched"] += n
                if note:
                    to[note] += short
                elif short:
                    shares = {c: int(Fraction(short * w, sum(weight.values()))) for c, w in weight.items()}
                    most = max(weight.values())
                    order = ("supplier", *CAUSES)
                    rest = next(c for c in order if weight[c] == most)
                    shares[rest] += short - sum(shares.values())
                    for c, v in shares.items():
                        to[c] += v
        return ret

    def part(self, i, start, end, growth, tranches, terms):
        energies = self.energies(start, end, tranches)
        used = dict.fromkeys(energies, 0)
        rows = self.db.execute("SELECT * FROM usage WHERE contract = 'acme' AND at_us >= ? AND at_us < ?",
                               (start * US, end * US)).fetchall()
        unmetered = sum(r["lent"] == 0 and not r["energy_method"] for r in rows)
        for r in rows:
            if r["lent"] == 0 and r["tranche"] in used:
                used[r["tranche"]] += r["energy_uj"]
        for t in tranches:
            x, price = energies[t["name"]], rounded(nano(t["price"]) * growth)
            short = {c: v // US for c, v in x["short"].items()}
            ready, unknown = x["ready"] // US, (x["ready"] - x["watched"]) // US
            delivered = ready - unknown - sum(short.values())
            late = max(0, min(end, t["ready"], t["end"]) - max(start, t["due"])) * t["watts"]

            def put(kind, joules, share, cause=None, sign=1, t=t, price=price):
                if joules:
                    amount = rounded(Fraction(joules, 3600 * US) * price * Fraction(share))
                    self.lines.append((kind, t["name"], cause, joules, sign * amount))

            put("capacity", ready, 1)
            put("late", late, terms["late_credit"], sign=-1)
            for c in CAUSES:
                put("shortfall", short[c], 0 if c in ("force-majeure", "customer") else terms["shortfall_credit"], c, -1)
            paid = max(used[t["name"]] // US, -int(-delivered * Fraction(terms["take_or_pay"]) // 1))
            if not unmetered and paid < delivered:
                put("not-taken", delivered - paid, 1, sign=-1)
        above = sum(r["charge_nano"] for r in rows if r["lent"] == 2)
        if any(r["lent"] == 2 for r in rows):
            self.lines.append(("spillover", None, None, None, above))
        lent = [r["charge_nano"] for r in rows if r["lent"] == 1 and r["tenant"] != "acme"]
        if lent:
            self.lines.append(("lent-share", None, None, None, -rounded(sum(lent) * Fraction(terms["lend_share"]))))


TERMS = {"late_credit": "0.5", "shortfall_credit": "1.5", "credit_cap": "0.15", "take_or_pay": "0.25", "lend_share": "0.3"}


def told(s):
    return [(line["kind"], line.get("tranche"), line.get("cause"), line.get("joules"), nano(line["amount"]))
            for line in s["lines"] if line.get("note") is None]


def tranche(name, watts, place, price, ready, end="2029-01-01", due=None):
    far = 1 << 40
    return {"name": name, "watts": watts, "place": place, "price": price, "ready": at(ready) if ready else far,
            "end": at(end), "due": at(due or ready)}


def tranches():
    return [tranche("a", 3000000, "fra1", "95.5", "2026-01-01"),
            tranche("b", 1500000, "fra1", "80", "2026-03-08", due="2026-03-05"),
            tranche("c", 2000000, "region:eu", "70", "2026-02-01", end="2026-03-25"),
            tranche("d", 2000000, "fra1", "60", None, due="2026-03-01")]


@pytest.fixture(name="world")
def make_world(tmp_path):
    (tmp_path / "acme.yaml").write_text(CONTRACT)
    gaufre(tmp_path, "contract", "amend", tmp_path / "acme.yaml")
    ledger = Ledger(tmp_path)
    yield tmp_path, ledger
    ledger.db.close()


def fill(ledger, seed, metered=True):
    """Some minutes of March and its edges, at random."""
    dice = random.Random(seed)
    first, last = at("2026-02-28"), at("2026-04-02")
    starts = sorted({first + 60 * dice.randrange((last - first) // 60) for _ in range(800)}
                    | {at(d) + k for d in ("2026-03-01", "2026-03-29", "2026-04-01", "2026-03-08", "2026-03-25") for k in (-60, 0)})
    for place in ("fra1", "region:eu", "oslo"):
        for s in starts:
            if dice.random() < 0.9:
                a, b = (s * US + dice.randrange(20 * US), (s + 60) * US) if dice.random() < 0.3 else (s * US, (s + 60) * US)
                ledger.piece(place, a, b, dice.randrange(9000000), dice.choice([0, dice.randrange(900000)]),
                             dice.choice([0, 4500000, 8000000]), dice.choice([US, dice.randrange(US + 1)]), dice.choice(MEASURED))
    for _ in range(30):
        s = dice.choice(starts) * US
        ledger.power(dice.choice(["fra1", "region:eu"]), s, s + 60 * US * dice.randrange(1, 4000), [0] * 8,
                     dice.choice([*CAUSES, "none"]), "why")
    for _ in range(300):
        lent = dice.choice([0, 0, 1, 2])
        ledger.request((first + dice.randrange(last - first)) * US, dice.choice(["acme", "other"]) if lent == 1 else "acme",
                       dice.choice(["acme", "acme", "lab"]), dice.choice("abcx"), lent, dice.randrange(1, 5000),
                       0 if lent == 0 else dice.randrange(10 ** 12), dice.randrange(10 ** 15) if metered or dice.random() < 0.9 else None)
    ledger.commit()


@pytest.mark.parametrize("seed", range(4))
def test_a_month_is_what_it_comes_to(world, seed):
    """March has a day of 23 hours in Berlin, prices grow within it, a tranche is late and one ends."""
    folder, ledger = world
    fill(ledger, seed, metered=seed != 3)
    s = statement(folder, "--month", "2026-03")
    start, end = at("2026-03-01"), at("2026-04-01")
    assert (s["from_s"], s["until_s"]) == (start, end) and end - start == 31 * 86400 - 3600
    assert [p["from"] for p in s["parts"]] == ["2026-03-01"]  # prices grow in a year
    again = Again(ledger.db, [(start, end, 1, tranches())], TERMS)
    assert told(s) == again.lines
    assert nano(s["total"]) == again.total == sum(line[4] for line in again.lines)
    for t in s["parts"][0]["tranches"]:
        assert t["committed_joules"] == t["ready_joules"] + t["late_joules"]
        assert t["ready_joules"] == t["delivered_joules"] + t["unknown_joules"] + sum(t["missing_joules"].values())
    assert any(line["kind"] == "not-taken" for line in s["lines"]) == (seed != 3)


def test_parts(world):
    """An amendment within the period, and prices that grow: each part by its own terms."""
    folder, ledger = world
    fill(ledger, 9)
    (folder / "v2.yaml").write_text(CONTRACT.replace("price: 95.5", "price: 50").replace("shortfall_credit: 1.5", "shortfall_credit: 0.25")
                                    .replace("indexation_from: 2026-03-11", "indexation_from: 2026-01-20"))
    gaufre(folder, "contract", "amend", folder / "v2.yaml", "--effective", "2026-03-15")
    cut = int(datetime.datetime(2026, 3, 15, tzinfo=datetime.timezone.utc).timestamp())  # days of --effective are of UTC
    s = statement(folder, "--from", "2026-02-28", "--until", "2026-04-02")
    assert [p["version"] for p in s["parts"]] == [1, 2]
    first = Again(ledger.db, [(at("2026-02-28"), cut, 1, tranches())], {**TERMS, "credit_cap": 0})
    later = [dict(t, price="50") if t["name"] == "a" else t for t in tranches()]
    second = Again(ledger.db, [(cut, at("2026-04-02"), 1, later)], {**TERMS, "shortfall_credit": "0.25", "credit_cap": 0})
    assert [line for line in told(s) if line[0] != "credit-cap"] == first.lines + second.lines
    assert nano(s["total"]) == sum(line[4] for line in told(s))
    # Nothing of it was known then: it is recorded today.
    assert "no contract" in gaufre(folder, "contract", "statement", "acme", "--month", "2026-03", "--known-on", "2026-03-20", ok=False)


def test_prices_grow(world):
    folder, ledger = world
    text = CONTRACT.replace("acme\n", "grown\n", 1).replace("from: 2026-01-01\nuntil", "from: 2024-01-01\nuntil")
    text = text.replace("2025-12-01", "2023-12-01").replace("2026-03-11", "2024-02-11")
    (folder / "grown.yaml").write_text(text)
    gaufre(folder, "contract", "amend", folder / "grown.yaml")
    s = statement(folder, "--month", "2026-02", name="grown")
    assert [p["from"] for p in s["parts"]] == ["2026-02-01", "2026-02-11"]
    prices = {(line["part"], line["tranche"]): line["price"] for line in s["lines"] if line["kind"] == "capacity"}
    assert prices[0, "a"] == "105.05" and prices[1, "a"] == "115.555"


def test_leap_day_and_edges(world):
    folder, ledger = world
    text = CONTRACT.replace("acme\n", "leap\n", 1).replace("2026-01-01", "2024-01-01").replace("2025-12-01", "2023-12-01")
    text = re.sub(r"indexation.*\n", "", text).replace("2026-02-01", "2024-02-01")
    (folder / "leap.yaml").write_text(text)
    gaufre(folder, "contract", "amend", folder / "leap.yaml")
    month = statement(folder, "--month", "2024-02", name="leap")
    assert month["until_s"] - month["from_s"] == 29 * 86400
    assert next(t for t in month["parts"][0]["tranches"] if t["tranche"] == "a")["ready_joules"] == 29 * 86400 * 3000000
    day = statement(folder, "--from", "2024-02-29", "--until", "2024-03-01", name="leap")
    assert next(t for t in day["parts"][0]["tranches"] if t["tranche"] == "a")["ready_joules"] == 86400 * 3000000
    autumn = statement(folder, "--month", "2024-10", name="leap")
    assert autumn["until_s"] - autumn["from_s"] == 31 * 86400 + 3600  # a day of 25 hours
    # Half-open: two months one after the other are the two of them.
    both = statement(folder, "--from", "2024-02-01", "--until", "2024-04-01", name="leap")
    march = statement(folder, "--month", "2024-03", name="leap")
    ready = [sum(t["ready_joules"] for p in s["parts"] for t in p["tranches"]) for s in (month, march, both)]
    assert ready[0] + ready[1] == ready[2]


def test_prepayment(world):
    folder, ledger = world
    text = CONTRACT.replace("acme\n", "paid\n", 1).replace("late_credit", "prepayment: 300000\nlate_credit")
    (folder / "paid.yaml").write_text(text)
    gaufre(folder, "contract", "amend", folder / "paid.yaml")
    left = nano("300000")
    for month in ("2026-01", "2026-02", "2026-03"):
        s = statement(folder, "--month", month, name="paid")
        assert nano(s["prepaid_before"]) == left
        drawn = [nano(line["amount"]) for line in s["lines"] if line["kind"] == "prepayment"]
        owed = sum(nano(line["amount"]) for line in s["lines"] if line["kind"] != "prepayment")
        assert drawn == ([-min(left, owed)] if left else [])
        assert nano(s["total"]) == owed + sum(drawn)
        left += sum(drawn)
    assert left == 0


def test_known_on(world):
    """What is recorded later than --known-on changes nothing, and what ended later is no part of it."""
    folder, ledger = world
    fill(ledger, 7)
    now = int(datetime.datetime.now().timestamp())
    tomorrow = datetime.datetime.fromtimestamp(now + 86400, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = statement(folder, "--month", "2026-03", "--known-on", tomorrow)
    assert before == {**statement(folder, "--month", "2026-03"), "made_s": before["made_s"]}
    ledger.power("fra1", at("2026-03-01") * US, at("2026-03-20") * US, [0] * 8, "customer", recorded=(now + 2 * 86400) * US)
    ledger.commit()
    again = statement(folder, "--month", "2026-03", "--known-on", tomorrow)
    assert again == {**before, "made_s": again["made_s"]}
    assert statement(folder, "--month", "2026-03")["total"] != before["total"]


TURNS = """tranches:
  - {name: a, mw: 3, site: fra1, target: 2026-01-01, delivered: 2026-01-01, until: 2026-03-05, price: 95.5}
  - {name: a, mw: 2, site: fra1, target: 2026-03-05, delivered: 2026-03-05, price: 80}
"""


def test_one_tranche_after_another(world):
    """Two of one name: what requests used counts for the one whose turn it was. More than 64 bits of microjoules, too."""
    folder, ledger = world
    text = CONTRACT.replace("acme\n", "turns\n", 1)
    (folder / "turns.yaml").write_text(text[:text.index("tranches:")] + TURNS)
    gaufre(folder, "contract", "amend", folder / "turns.yaml")
    most = 2 ** 63 - 1
    for day, energy in (("2026-03-04", 7), ("2026-03-05", 11), ("2026-03-06", 13), ("2026-03-06", most), ("2026-03-06", most)):
        ledger.request(at(day) * US, "acme", "turns", "a", 0, 10, 0, energy)
    ledger.commit()
    s = statement(folder, "--from", "2026-03-01", "--until", "2026-03-08", name="turns")
    assert [int(t["used_microjoules"]) for t in s["parts"][0]["tranches"]] == [7, 24 + 2 * most]
    hour, = [h for h in map(json.loads, gaufre(folder, "power", "hours", "fra1", "--from", "2026-03-05T23:00:00Z", "--until",
                                               "2026-03-06T00:00:00Z", "--json").splitlines())]
    assert int(hour["beyond_uj"]) == 13 + 2 * most


def test_days_of_23_and_25_hours(world):
    """Days are of the contract's zone; the command's moments are of UTC."""
    folder, ledger = world
    (folder / "paris.yaml").write_text(CONTRACT.replace("acme\n", "paris\n", 1).replace("Europe/Berlin", "Europe/Paris"))
    for day, hours in (("2026-03-28", 24), ("2026-03-29", 23), ("2026-03-30", 24)):
        after = (datetime.date.fromisoformat(day) + datetime.timedelta(days=1)).isoformat()
        s = statement(folder, "--from", day, "--until", after, name=str(folder / "paris.yaml"))
        assert (s["from_s"], s["until_s"] - s["from_s"]) == (at(day, "Europe/Paris"), hours * 3600)
        assert next(t for t in s["parts"][0]["tranches"] if t["tranche"] == "a")["ready_joules"] == hours * 3600 * 3000000
    s = statement(folder, "--from", "2026-03-29T00:30:00Z", "--until", "2026-03-29T01:30:00Z", name=str(folder / "paris.yaml"))
    assert s["until_s"] - s["from_s"] == 3600


@pytest.mark.parametrize("args", [("--month", "2026-13"), ("--month", "2026-3"), ("--month", ""), ("--month", "9999-01"),
                                  ("--from", "2026-02-29", "--until", "2026-03-01"), ("--from", "2026-03-02", "--until", "2026-03-01"),
                                  ("--from", "2026-03-01T01:30:00", "--until", "2026-03-02"), ("--from", "2026-03-01"),
                                  ("--month", "2026-03", "--known-on", "2026-02-30"), ("--month", "2026-03", "--from", "2026-03-01")])
def test_periods_that_cannot_be(world, args):
    folder, _ = world
    gaufre(folder, "contract", "statement", "acme", *args, ok=False)


def test_it_can_be_made_again(world):
    folder, ledger = world
    fill(ledger, 5)
    text = gaufre(folder, "contract", "statement", "acme", "--month", "2026-03", "--json")
    path = folder / "s.json"
    path.write_text(text)
    ok = gaufre(folder, "audit", "--statement", path)
    assert "the statement is what these rows" in ok and "the contract's text is that of the store" in ok
    other = gaufre(folder, "audit", "--statement", path, "--accounts", folder / "other.db", ok=False)
    assert "acme" in other or "versions" in other
    # What is written later changes the month, and not the statement that was made before.
    ledger.request(at("2026-03-05") * US, "acme", "acme", "a", 2, 100, 10 ** 9, 5)
    ledger.power("fra1", at("2026-03-01") * US, at("2026-03-20") * US, [0] * 8, "customer")
    ledger.commit()
    assert statement(folder, "--month", "2026-03")["total"] != json.loads(text)["total"]
    gaufre(folder, "audit", "--statement", path)
    s = json.loads(text)
    for change in (lambda s: s.update(total="1.00"), lambda s: s["lines"][0].update(amount="1.00"), lambda s: s["lines"].pop(),
                   lambda s: s["parts"][0]["tranches"][0].update(delivered_joules=1), lambda s: s["upto"].update(usage=5),
                   lambda s: s["versions"][0].update(text=s["versions"][0]["text"].replace("95.5", "95.4")),
                   lambda s: s.update(until_s=s["until_s"] - 1), lambda s: s.update(more=1)):
        changed = json.loads(text)
        change(changed)
        path.write_text(json.dumps(changed))
        assert "differs" in gaufre(folder, "audit", "--statement", path, ok=False)
    # A statement of another text comes to itself, and is not that of the store.
    changed = json.loads(text)
    changed["versions"][0]["text"] += "# longer"
    changed["versions"][0]["sha256"] = hashlib.sha256(changed["versions"][0]["text"].encode()).hexdigest()
    path.write_text(json.dumps(changed))
    assert "version 1 of the contract is not what the store has" in gaufre(folder, "audit", "--statement", path, ok=False)
    (folder / "accounts.db").rename(folder / "away.db")
    done = subprocess.run([find_gaufre(), "audit", "--statement", path], capture_output=True, text=True, env={**os.environ, "GAUFRE_HOME": str(folder)},
                          check=True)
    assert "compared with nothing: there is no store here" in done.stderr and not (folder / "accounts.db").exists()
    (folder / "away.db").rename(folder / "accounts.db")
    for broken in ("{}", "[", "", json.dumps({**s, "format": 2}), json.dumps({**s, "versions": []}), json.dumps({**s, "from_s": -1}),
                   json.dumps({**s, "versions": [{**s["versions"][0], "text": "nonsense"}]}), json.dumps({**s, "made_s": 5})):
        path.write_text(broken)
        gaufre(folder, "audit", "--statement", path, ok=False)
    path.write_text(text)
    ledger.db.execute("UPDATE power SET ready_uj = ready_uj + 1 WHERE seq = 7")
    ledger.commit()
    assert "row 7 of its power" in gaufre(folder, "audit", "--statement", path, ok=False)


def test_forms_and_rows(world):
    folder, ledger = world
    fill(ledger, 6)
    s = statement(folder, "--month", "2026-03")
    table = list(csv.DictReader(io.StringIO(gaufre(folder, "contract", "statement", "acme", "--month", "2026-03", "--csv"))))
    assert sum(Fraction(r["BilledCost"]) for r in table) == Fraction(s["total"])
    assert [int(r["x_Joules"]) for r in table] == [line.get("joules", 0) for line in s["lines"]]
    text = gaufre(folder, "contract", "statement", "acme", "--month", "2026-03")
    page = gaufre(folder, "contract", "statement", "acme", "--month", "2026-03", "--html")
    assert s["total"] in text and s["total"] in page and "<script" not in page
    # A line's command lists the rows behind it.
    power = next(line for line in s["lines"] if line["kind"] == "capacity" and line["tranche"] == "b")["rows"]
    rows = [json.loads(x) for x in gaufre(folder, *power["command"].split()[1:], "--json").splitlines()]
    mine = [r for r in rows if r["until_us"] > at("2026-03-08") * US]
    assert (len(mine), min(r["seq"] for r in mine), max(r["seq"] for r in mine)) == (power["n"], power["first"], power["last"])
    usage = next(line for line in s["lines"] if line["kind"] == "spillover")["rows"]
    rows = [json.loads(x) for x in gaufre(folder, *usage["command"].split()[1:], "--json").splitlines()]
    mine = [r["seq"] for r in rows if r["power"] == "above"]
    assert (len(mine), min(mine), max(mine)) == (usage["n"], usage["first"], usage["last"])


def test_bad_input(world):
    folder, ledger = world
    for args in (["acme", "--month", "2026-13"], ["acme", "--month", "2026-3"], ["acme", "--month", "2026-03", "--from", "2026-03-01"],
                 ["acme", "--from", "2026-03-02", "--until", "2026-03-01"], ["acme", "--from", "2026-02-30", "--until", "2026-03-03"],
                 ["acme", "--month", "2028-01"], ["nobody", "--month", "2026-03"], ["acme", "--from", "2024-01-01", "--until", "2026-01-01"],
                 ["none.yaml", "--month", "2026-03"]):
        assert gaufre(folder, "contract", "statement", *args, ok=False)
    # Of a file, and of charges in another currency.
    ledger.request(at("2026-03-05") * US, "acme", "acme", "a", 2, 100, 10 ** 9, 5, currency="USD")
    ledger.commit()
    s = json.loads(gaufre(folder, "contract", "statement", folder / "acme.yaml", "--month", "2026-03", "--json"))
    assert s["parts"][0]["other_currency"] == 1
    assert [line["amount"] for line in s["lines"] if line["kind"] == "spillover"] == ["0.00"]
