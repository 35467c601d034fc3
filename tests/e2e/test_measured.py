"""What was measured of a contract's basket: recorded, shown with what follows from it, and found when it was changed."""
import copy
import json
import pathlib
import re
import sqlite3
from fractions import Fraction

import pytest

from postgres import postgres  # noqa: F401  fixture

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRACT = """
contract: acme
from: 2026-01-01
until: 2030-01-01
signed: 2026-01-01
currency: USD
supplier: {name: s}
customer: {name: c}
basket:
  - {model: small, input: 100, output: 50, weight: 3, ttft_ms: 500}
  - {model: large, input: 400, output: 20, cached: 0.5, tpot_ms: 100}
tranches:
  - {name: first, mw: 2, site: oslo, hardware: gpu-1, target: 2026-03-01, longstop: 2026-06-01, delivered: 2026-03-05, price: 100}
  - {name: second, mw: 0.5, region: north, target: 2026-09-01, price: 100}
  - {name: more, kind: option, mw: 4, site: oslo, target: 2029-01-01, exercise_from: 2028-01-01, exercise_until: 2028-06-01, price: 90}
"""


def record(**more):
    def point(rate, joules, ttft, tpot):
        return {"requests": 10, "input_tokens": 1000, "cached_tokens": 0, "output_tokens": 1000, "window_us": 10_000_000,
                "window_tokens": rate * 10, "energy_uj": round(joules * 1000 * 1e6), "uncertainty_permille": 50,
                "ttft_p50_us": ttft // 2, "ttft_p99_us": ttft, "tpot_p50_us": tpot // 2, "tpot_p99_us": tpot}
    return {
        "measurement": 1, "contract": "acme", "contract_version": 1, "site": "oslo", "hardware": "gpu-1", "engine": "1.0.0",
        "from_s": 1790000000, "until_s": 1790000100, "energy": {"method": "redfish", "boundary": "it", "pue_permille": 0},
        "basket": [{"model": "small", "input": 100, "output": 50, "weight": 3, "ttft_ms": 500},
                   {"model": "large", "input": 400, "output": 20, "cached": 0.5, "tpot_ms": 100, "weight": 1}],
        "levels": [{"concurrency": 1, "rows": [point(50, 4, 100_000, 20_000), point(10, 20, 200_000, 90_000)]},
                   {"concurrency": 8, "rows": [point(200, 1, 300_000, 40_000), point(40, 5, 900_000, 100_000)]},
                   {"concurrency": 64, "rows": [point(800, 0.5, 501_000, 80_000), point(160, 2, 2_000_000, 100_000)]}],
        **more}


@pytest.fixture
def store(cli, tmp_path):
    where = str(tmp_path / "accounts.db")
    path = tmp_path / "acme.yaml"
    path.write_text(CONTRACT)

    def run(*args, ok=True):
        done = cli(*args, "-a", where)
        assert (done.returncode == 0) == ok, done.stderr
        return done.stdout if ok else done.stderr
    run("contract", "amend", str(path))
    run.where = where

    def put(value, ok=True):
        (tmp_path / "m.json").write_text(value if isinstance(value, str) else json.dumps(value))
        return run("contract", "record", str(tmp_path / "m.json"), ok=ok)
    run.put = put
    return run


def rows(store, *args):
    return [json.loads(line) for line in store(*args, "--json").splitlines()]


def test_what_follows(store):
    store.put(record())
    shown, = rows(store, "contract", "measurements", "acme")
    # By the formula, computed here from the counts.
    for level, raw in zip(shown["levels"], shown["record"]["levels"]):
        rate = [Fraction(p["window_tokens"] * 1_000_000, p["window_us"]) for p in raw["rows"]]
        joules = [Fraction(p["energy_uj"], 1_000_000 * p["output_tokens"]) for p in raw["rows"]]
        assert level["tokens_per_second"] == pytest.approx(float(4 / (3 / rate[0] + 1 / rate[1])), abs=0.001)
        assert level["joules_per_token"] == pytest.approx(float((3 * joules[0] + joules[1]) / 4), abs=1e-6)
        assert level["tokens_per_second_per_megawatt"] == pytest.approx(1e6 / level["joules_per_token"], abs=0.001)
    # The fullest load is too slow for the first row, so that of the one before holds.
    assert [x["keeps_limits"] for x in shown["levels"]] == [True, True, False] and shown["levels"][2]["too_slow"] == "small"
    first, more = shown["entitlement"]  # both are at oslo; the second tranche is of a region
    assert (first["tranche"], first["load"], first["tokens_per_second"]) == ("first", 8, 1_000_000)
    assert first["at_least"] == pytest.approx(1_000_000 / 1.05, abs=0.001)
    machines = 2_000_000 / (100 * 2)  # of 100 tokens/s for 2 J each
    assert first["requests_at_once"] == 8 * machines and more["tranche"] == "more" and more["watts"] == 4_000_000
    text = store("contract", "measurements", "acme")
    assert shown["formula"] in text and "tranche first: 2 MW make 1000000.0 tokens/s" in text and "not kept: small" in text
    # What measurements prints can be recorded again, and is the same then.
    store.put(shown)
    again = rows(store, "contract", "measurements", "acme")
    assert [x["id"] for x in again] == [1, 2] and again[0]["record"] == again[1]["record"]


def test_stale_and_unknown(store):
    store.put(record())
    store.put(record(engine="1.1.0", site=None, region="north"))

    def tranches(*args):
        return {t["tranche"]: (t["measured"], t["tokens_per_second"]) for t in rows(store, "tranche", "list", "--as-of", "2026-11-30", *args)}
    assert tranches() == {"first": ("yes", 1_000_000), "second": ("yes", 250_000), "more": ("yes", 2_000_000)}
    # It was measured on 2026-09-21: the day before nobody knew it, and of what was recorded later neither.
    assert {t["measured"] for t in rows(store, "tranche", "list", "--as-of", "2026-09-20")} == {"no"}
    assert {t["measured"] for t in rows(store, "tranche", "list", "--as-of", "2026-09-22")} == {"yes"}
    # Another version of the engine: what was measured before is shown, and entitles to nothing.
    assert tranches("--engine", "1.1.0") == {"first": ("stale", None), "second": ("yes", 250_000), "more": ("stale", None)}
    assert "STALE" in store("contract", "measurements", "acme", "--engine", "1.1.0")
    assert [x["is_stale"] for x in rows(store, "contract", "measurements", "acme", "--engine", "1.1.0")] == [True, False]
    unknown = record(engine="1.2.0", energy={"method": "unknown", "boundary": "it"})
    for level in unknown["levels"]:
        for p in level["rows"]:
            p["energy_uj"] = None
    store.put(unknown)
    shown = rows(store, "contract", "measurements", "acme")[-1]
    assert shown["levels"][0]["joules_per_token"] is None and shown["levels"][0]["tokens_per_second"] > 0
    assert "energy of a token is not known" in shown["entitlement"][0]["why"] and shown["entitlement"][0]["tokens_per_second"] is None
    assert tranches("--engine", "1.2.0")["first"] == ("yes", None)


def test_profiles(store):
    """What each generation of hardware makes at each site: the last measurement of each, at all loads."""
    slower = record()
    slower["levels"] = slower["levels"][:1]
    store.put(record(hardware="gpu-2", engine="1.1.0"))
    store.put(slower)
    store.put(record())
    store.put(record(site=None, region="north"))
    told = rows(store, "contract", "profiles", "--engine", "1.0.0")
    assert [(p["measurement"], p["site"], p["region"], p["hardware"], p["is_stale"]) for p in told[::6]] == \
        [(1, "oslo", None, "gpu-2", True), (3, "oslo", None, "gpu-1", False), (4, None, "north", "gpu-1", False)]
    assert [(p["model"], p["load"], p["tokens_per_second"], p["joules_per_token"]) for p in told[:6]] == \
        [("small", 1, 50, 4), ("small", 8, 200, 1), ("small", 64, 800, 0.5), ("large", 1, 10, 20), ("large", 8, 40, 5), ("large", 64, 160, 2)]
    assert {p["boundary"] for p in told} == {"it"} and {p["uncertainty"] for p in told} == {0.05}
    assert {p["hardware"] for p in rows(store, "contract", "profiles", "acme", "--site", "oslo", "--hardware", "gpu-2")} == {"gpu-2"}
    assert rows(store, "contract", "profiles", "other") == []
    text = store("contract", "profiles", "--engine", "1.0.0").splitlines()
    assert len(text) == 19 and sum("stale" in line for line in text) == 6


def test_a_basket_that_was_amended(store, tmp_path):
    store.put(record())
    path = tmp_path / "acme.yaml"
    path.write_text(CONTRACT.replace("ttft_ms: 500", "ttft_ms: 600"))  # another limit needs no new measurement
    store("contract", "amend", str(path))
    assert rows(store, "contract", "measurements", "acme")[0]["entitlement"][0]["load"] == 64
    path.write_text(CONTRACT.replace("cached: 0.5", "cached: 0.6"))  # other work does
    store("contract", "amend", str(path))
    shown, = rows(store, "contract", "measurements", "acme")
    assert "was not measured" in shown["not_matched"] and shown["entitlement"][0]["tokens_per_second"] is None


def test_refused(store):
    bad = record()
    bad["levels"][1]["rows"][0]["window_us"] = 0
    assert "window_us" in store.put(bad, ok=False)
    bad = copy.deepcopy(record())
    bad["levels"][0]["rows"].pop()
    assert "rows" in store.put(bad, ok=False)
    assert "has no contract 'other'" in store.put(record(contract="other"), ok=False)
    assert "m.json" in store.put("{", ok=False)
    assert "only 'accept' records" in store.put(record(acceptance={"passed": True, "promised_mtps": 1, "made_mtps": 1}), ok=False)
    assert store("contract", "measurements", "acme", "--json") == ""
    assert "has no contract 'other'" in store("contract", "measurements", "other", ok=False)


def test_changed_behind_its_back(cli, store):
    store.put(record())
    assert cli("audit", "--changes", "-a", store.where).returncode == 0
    assert "measure measurement acme" in cli("audit", "--changes", "-a", store.where).stdout
    with sqlite3.connect(store.where) as db:
        db.execute("UPDATE measurement SET text = replace(text, '\"window_tokens\":8000', '\"window_tokens\":9000')")
    db.close()
    done = cli("audit", "--changes", "-a", store.where)
    assert done.returncode == 1 and "measurement 1 of contract acme is not as it was written" in done.stderr


def test_in_postgres(cli, postgres, tmp_path):  # noqa: F811
    where = postgres.database()
    (tmp_path / "acme.yaml").write_text(CONTRACT)
    (tmp_path / "m.json").write_text(json.dumps(record()))
    assert cli("contract", "amend", tmp_path / "acme.yaml", "-a", where).returncode == 0
    for n in 1, 2:
        done = cli("contract", "record", tmp_path / "m.json", "-a", where)
        assert done.returncode == 0 and f"measurement {n} of contract acme is recorded" in done.stderr
    tranche, = [json.loads(line) for line in cli("tranche", "show", "acme", "first", "--json", "-a", where).stdout.splitlines()]
    assert (tranche["measured"], tranche["tokens_per_second"]) == ("yes", 1_000_000)
    assert cli("audit", "--changes", "-a", where).returncode == 0
    postgres.sql(where, "DELETE FROM measurement WHERE id = 1")
    done = cli("audit", "--changes", "-a", where)
    assert done.returncode == 1 and "have not the same measurements" in done.stderr


def test_tranches(store):
    listed = rows(store, "tranche", "list", "--as-of", "2026-11-30")
    of = {t["tranche"]: t for t in listed}
    assert [t["tranche"] for t in listed] == ["first", "second", "more"]
    assert (of["first"]["state"], of["first"]["days_late"], of["first"]["delivered"], of["first"]["longstop"]) == \
        ("active", 4, "2026-03-05", "2026-06-01")
    assert (of["second"]["state"], of["second"]["days_late"], of["second"]["until"]) == ("late", 90, "2030-01-01")
    assert (of["more"]["state"], of["more"]["kind"], of["more"]["exercise_until"], of["more"]["measured"]) == \
        ("option", "option", "2028-06-01", "no")
    # As it was known: on that day the first was not delivered yet.
    assert rows(store, "tranche", "list", "--as-of", "2026-03-03")[0]["days_late"] == 2
    shown, = rows(store, "tranche", "show", "acme", "second", "--as-of", "2026-11-30")
    assert shown == of["second"]
    assert re.search(r"days late +90\n", store("tranche", "show", "acme", "second", "--as-of", "2026-11-30"))
    table = store("tranche", "list", "acme", "--as-of", "2026-11-30")
    assert len(table.splitlines()) == 4 and "90 d" in table
    assert "there is no tranche third" in store("tranche", "show", "acme", "third", ok=False)
    assert "wants list" in store("tranche", "show", "acme", ok=False)
