"""Energy and carbon in usage, bills and FOCUS: by tenant, model and site; what nobody measured is said, and is never 0."""
import csv
import io
import json
import sqlite3

import pytest

from test_bill_forms import check_focus, read_focus, run

# request, tenant, model, site, tokens, microjoules, boundary, method, micrograms by the grid and bought
ROWS = [
    ("r1", "acme", "m", "oslo", 100, 3600000000, 1, 1, 250000, 0),
    ("r2", "acme", "m", "oslo", 100, 1800000000, 2, 4, 125000, 0),
    ("r3", "acme", "n", "rome", 100, 900000000, 1, 5, 90000, 70000),
    ("r4", "acme", "n", "rome", 100, 0, 0, 0, -1, -1),  # nobody measured it
    ("r5", "acme", "n", "", 0, 0, 0, 0, -1, -1),  # no tokens: there is nothing to measure
    ("r6", "lab", "m", "rome", 50, 36, 0, 6, -1, 8),
    ("r7", "dark", "m", "rome", 50, 0, 0, 0, -1, -1),
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """As the books room would have written it, but for the chain, which no bill looks at."""
    path = tmp_path_factory.mktemp("bill") / "ledger.db"
    path.touch()
    run("usage", "-l", path)
    db = sqlite3.connect(path)
    for i, (name, tenant, model, site, tokens, uj, boundary, method, location, market) in enumerate(ROWS):
        db.execute("INSERT INTO usage (request_id, at_us, tenant, key_id, model, supplier, prompt_tokens, cached_tokens, completion_tokens,"
                   " energy_uj, status, currency, charge_nano, energy_boundary, energy_method, site, carbon_location_ug, carbon_market_ug)"
                   " VALUES (?, ?, ?, 'k', ?, 'local/m', ?, 0, 0, ?, 200, 'EUR', 0, ?, ?, ?, ?, ?)",
                   (name, 1798761600000000 + i, tenant, model, tokens, uj, boundary, method, site, location, market))
    db.execute("INSERT INTO balance VALUES ('acme', 5, 400, 0, 0, 6300000000), ('lab', 1, 50, 0, 0, 36), ('dark', 1, 50, 0, 0, 0)")
    db.execute("INSERT INTO account VALUES ('tenant:acme', 'energy', 6300000000), ('tenant:acme', 'co2loc', 465000),"
               " ('tenant:acme', 'co2mkt', 70000), ('tenant:lab', 'energy', 36), ('tenant:lab', 'co2mkt', 8)")
    db.commit()
    db.close()
    return path


def bill(ledger, by, *more):
    return {x["key"]: x for x in map(json.loads, run("bill", "--by", by, "--json", "-l", ledger, *more).stdout.splitlines())}


def measured(line):
    return [line[x] for x in ("energy_wh", "energy_boundary", "carbon_location_g", "carbon_market_g", "without_energy",
                              "without_carbon_location", "without_carbon_market")]


def test_by_tenant_model_and_site(ledger):
    by = bill(ledger, "tenant")
    assert measured(by["acme"]) == ["1.75", "it", "0.465", "0.07", 1, 1, 1]
    assert measured(by["lab"]) == ["0.0", "accelerator", None, "0.000008", 0, 1, 0]
    assert measured(by["dark"]) == [None, None, None, None, 1, 1, 1]
    by = bill(ledger, "site")
    assert set(by) == {"oslo", "rome", ""}
    assert measured(by["oslo"]) == ["1.5", "it", "0.375", "0.0", 0, 0, 0]  # what was bought is clean: 0 is known
    assert measured(by["rome"])[:4] == ["0.25", "accelerator", "0.09", "0.070008"]
    assert measured(by[""]) == [None, None, None, None, 0, 0, 0]
    assert set(bill(ledger, "model", "--site", "oslo")) == {"m"}
    assert sum(float(x["energy_wh"] or 0) for x in bill(ledger, "model").values()) == 1.75


def test_text_and_csv(ledger):
    done = run("bill", "--by", "site", "-l", ledger)
    assert " Wh " in done.stdout and any(x.startswith("oslo") and " 1.5 " in x for x in done.stdout.splitlines())
    assert "oslo: CO2e by the grid 0.375 g" in done.stderr and "rome: 2 requests are not in its energy" in done.stderr
    rows = {r["site"]: r for r in csv.DictReader(io.StringIO(run("bill", "--by", "site", "--csv", "-l", ledger).stdout), strict=True)}
    assert (rows["oslo"]["energy_wh"], rows["oslo"]["carbon_market_g"], rows[""]["energy_wh"]) == ("1.5", "0.0", "")
    page = run("bill", "--html", "-l", ledger).stdout
    assert "<th>Wh</th>" in page and "<td>1.5</td>" in page and "<td>1.75</td>" in page


def test_focus_columns(ledger):
    for version in ("1.2", "1.4"):
        rows, _ = read_focus(version, ledger)
        check_focus(version, rows)
        of = {(r["BillingAccountId"], r["x_Model"], r["x_SiteId"]): r for r in rows}
        oslo, dark = of["acme", "m", "oslo"], of["dark", "m", "rome"]
        assert (oslo["x_EnergyWh"], oslo["x_EnergyBoundary"], oslo["x_CarbonGrams"], oslo["x_MarketCarbonGrams"]) == ("1.5", "it", "0.375", "0.0")
        assert (dark["x_EnergyWh"], dark["x_EnergyBoundary"], dark["x_CarbonGrams"], dark["x_UnmeteredRequests"]) == ("", "", "", "1")


def test_usage(ledger):
    rows = {x["tenant"]: x for x in map(json.loads, run("usage", "--json", "-l", ledger).stdout.splitlines())}
    assert [rows["acme"][x] for x in ("energy_uj", "carbon_location_ug", "carbon_market_ug")] == [6300000000, 465000, 70000]
    assert [rows["lab"][x] for x in ("energy_uj", "carbon_location_ug", "carbon_market_ug")] == [36, None, 8]
    assert rows["dark"]["energy_uj"] is None
    text = run("usage", "-l", ledger).stdout.splitlines()
    assert "Wh" in text[0] and any(x.startswith("dark") and x.rstrip().endswith("-") for x in text)
