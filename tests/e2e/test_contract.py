"""gaufre contract: a contract as a file, from the first draft to what is owed, and its versions in the store."""
import csv
import io
import json
import pathlib
import re
import sqlite3
import subprocess
import time
from decimal import Decimal

import pytest
import yaml

from finding import find_gaufre
from postgres import postgres  # noqa: F401  fixture

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = [ROOT / f"examples/contracts/{name}.yaml" for name in ("backstop", "fast-750", "spread-3")]
ALL = sorted((ROOT / "examples/contracts").glob("*.yaml"))


def test_form_is_a_contract(cli, tmp_path):
    form = cli("contract", "new")
    path = tmp_path / "a.yaml"
    path.write_text(form.stdout)
    assert cli("contract", "check", str(path)).returncode == 0
    # Each line that is commented out can be taken in by itself, but for those that need others.
    for line in form.stdout.splitlines():
        key = re.match(r"( *)# ([a-z_]+):", line)
        if not key or key[2] in ("spillover_input", "spillover_output", "indexation_from", "delivered", "exercised",
                                 "termination_fee"):
            continue
        path.write_text(form.stdout.replace(line, line.replace("# ", "", 1)))
        done = cli("contract", "check", str(path))
        assert done.returncode == 0, (line, done.stderr)
    signed = form.stdout
    for key in ("signed", "delivered", "indexation_percent", "indexation_from", "termination_notice_days", "termination_fee",
                "exercised", "spillover_input", "spillover_output"):
        signed = re.sub(f"# ({key}:)", r"\1", signed)
    path.write_text(signed.replace("spillover: reject", "spillover: pay   "))
    done = cli("contract", "check", str(path))
    assert done.returncode == 0, done.stderr


def test_fault_has_a_place(cli, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(cli("contract", "new").stdout.replace("target: 2028-01-01", "target: 2028-02-30"))
    line = next(i for i, s in enumerate(path.read_text().splitlines(), 1) if "2028-02-30" in s)
    done = cli("contract", "check", str(EXAMPLES[0]), str(path))
    assert done.returncode == 1 and f"{path}:{line}:13: target: '2028-02-30' is no day" in done.stderr
    assert cli("contract", "check", str(tmp_path / "none.yaml")).returncode == 1
    assert cli("contract", "check").returncode == 2
    assert cli("contract", "draw", str(path)).returncode == 2
    twice = cli("contract", "check", str(EXAMPLES[0]), str(EXAMPLES[0]))
    assert twice.returncode == 1 and "has this name, too" in twice.stderr


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_examples(cli, tmp_path, path):
    assert cli("contract", "check", str(path)).returncode == 0
    exported = cli("contract", "export", str(path)).stdout
    (tmp_path / "again.json").write_text(exported)
    assert cli("contract", "export", str(tmp_path / "again.json")).stdout == exported
    assert cli("contract", "diff", str(path), str(tmp_path / "again.json")).stdout == ""


def test_as_it_was_known(cli):
    path = str(ROOT / "examples/contracts/fast-750.yaml")

    def on(day):
        view = json.loads(cli("contract", "show", path, "--json", "--as-of", day).stdout)
        return view, {t["name"]: t["state"] for t in view["tranches"]}

    view, states = on("2026-03-31")
    assert states == {"year-1": "late", "year-2": "planned", "year-3": "planned", "beyond": "option"}
    assert view["ready_watts"] == 0 and view["firm_watts"] == 150_000_000
    view, states = on("2026-11-30")
    assert states["year-1"] == "active" and view["ready_watts"] == 150_000_000
    first = view["years"][0]
    late_mwh = 150 * 42 * 24  # 2026-03-01 to 2026-04-12
    assert first["late_joules"] == late_mwh * 3_600_000_000
    assert float(first["late_credit"]) == late_mwh * 1480 / 2
    assert float(first["fee"]) == (150 * 306 * 24 - late_mwh) * 1480
    # A year of it costs more than nine billion; prices grew on the first of March 2027 and 2028.
    hour = [(150 * 1480 + 250 * 1440 + 350 * 1390) * Decimal("1.015") ** n for n in (1, 2)]
    assert Decimal(view["years"][2]["fee"]) == (hour[0] * 60 + hour[1] * 306) * 24
    assert on("2028-01-01")[1]["beyond"] == "lapsed"
    text = cli("contract", "show", path, "--as-of", "2026-11-30").stdout
    assert "150 MW ready of 150 firm" in text and "year-1" in text
    assert cli("contract", "show", path, "--as-of", "soon").returncode == 2


def test_diff(cli, tmp_path):
    path = EXAMPLES[-1]
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text().replace("mw: 20", "mw: 25").replace("take_or_pay: 0.6\n", "").replace("name: burst", "name: surge"))
    changes = {c["field"]: (c["was"], c["is"]) for c in json.loads(cli("contract", "diff", str(path), str(other), "--json").stdout)}
    assert changes["tranches.base.mw"] == (20.0, 25.0) and changes["take_or_pay"] == (0.6, None)
    assert changes["tranches.burst"][1] is None and changes["tranches.surge"][0] is None and len(changes) == 4
    lines = cli("contract", "diff", str(path), str(other)).stdout.splitlines()
    assert len(lines) == 4 and any(re.match(r"tranches.base.mw +20.0 -> 25.0$", s) for s in lines)


def test_csv(cli):
    rows = list(csv.DictReader(io.StringIO(cli("contract", "export", "--csv", *map(str, EXAMPLES)).stdout)))
    assert len(rows) == 8 and {r["contract"] for r in rows} == {"fast-750", "spread-3", "backstop-2032"}
    assert sum(float(r["mw"]) for r in rows if r["contract"] == "fast-750") == 2000


def test_portfolio(cli, tmp_path):
    """Sites and regions of all examples are in the example of a portfolio, whose megawatts are those it speaks of."""
    path = ROOT / "examples/portfolio.yaml"
    config = tmp_path / "c.yaml"  # without its model, which this machine may not have
    config.write_text(path.read_text().replace("models:\n  - smollm2-135m\nsite: sioux-1\n", "suppliers: [{name: s, base_url: 'http://127.0.0.1:1/v1', models: [m], site: sioux-1}]\n"))
    done = cli("contract", "check", "-c", str(config), *map(str, ALL))
    assert done.returncode == 0, done.stderr
    sites = yaml.safe_load(path.read_text())["sites"]
    assert len(sites) == 33 and sum(s["contracted_mw"] for s in sites) == 1600 and sum(s["energised_mw"] for s in sites) == 420
    assert sum("lifecycle" not in s and "dedicated_to" not in s for s in sites) == 5 and sum("dedicated_to" in s for s in sites) == 10
    shares = json.loads(cli("contract", "report", "--json", "--as-of", "2026-11-30", *[str(p) for p in ALL if p.stem.startswith("spread")]).stdout)["concentration"]
    assert {s["name"] for s in shares if s["of"] == "supplier"} == {"great-cloud", "wafer-maker", "neocloud", "chip-cloud", "labs-halls"}


def test_names_what_the_configuration_has(cli, tmp_path):
    config = tmp_path / "gaufre.yaml"
    config.write_text("sites: [{name: montreal, region: ca-east}]\nsuppliers: [{name: s, base_url: 'http://127.0.0.1:1/v1', models: [m]}]\n")
    path = tmp_path / "a.yaml"
    path.write_text(cli("contract", "new").stdout)
    done = cli("contract", "check", "-c", str(config), str(path))
    assert done.returncode == 0, done.stderr
    config.write_text("sites: [{name: oslo, region: ca-east}]\nsuppliers: [{name: s, base_url: 'http://127.0.0.1:1/v1', models: [m]}]\n")
    done = cli("contract", "check", "-c", str(config), str(path))
    assert done.returncode == 1 and "site: the configuration has no site 'montreal'" in done.stderr


def test_every_key_is_documented(cli):
    source = (ROOT / "src/cloud/contract_field.c").read_text()
    text = (ROOT / "docs/contracts.md").read_text()
    keys = re.findall(r'\{"([a-z_]+)", FIELD_', source)
    assert len(keys) > 40 and [k for k in keys if f"`{k}`" not in text] == []


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path):
    """Where it is, and how to change it behind the program's back."""
    if request.param == "sqlite":
        where = str(tmp_path / "accounts.db")

        def change(text):
            with sqlite3.connect(where) as db:
                db.execute(text)
            db.close()
        return where, change
    server = request.getfixturevalue("postgres")
    url = server.database()
    return url, lambda text: server.sql(url, text)


def test_versions(cli, tmp_path, store):
    where, change = store

    def run(*args, ok=True):
        done = cli("contract", *args, "-a", where)
        assert (done.returncode == 0) == ok, done.stderr
        return done.stdout if ok else done.stderr

    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(cli("contract", "new").stdout.replace("# signed: 2026-12-01", "signed: 2026-11-01"))
    second.write_text(first.read_text().replace("mw: 15", "mw: 20"))
    run("amend", str(first), "--reason", 'it is "signed"')
    run("amend", str(second), "--effective", "2027-06-01")
    rows = [json.loads(line) for line in run("history", "acme-2027", "--json").splitlines()]
    assert [(r["version"], r["effective"], r["reason"]) for r in rows] == [(1, "2026-11-01", 'it is "signed"'), (2, "2027-06-01", "")]
    # What held on a day can always be asked, and what was known on one.
    for day, version in ("2027-01-01", 1), ("2027-05-31", 1), ("2027-06-01", 2), ("2040-01-01", 2):
        assert [json.loads(r)["version"] for r in run("list", "--as-of", day, "--json").splitlines()] == [version]
        mw = {t["name"]: t["mw"] for t in json.loads(run("show", "acme-2027", "--as-of", day, "--json"))["tranches"]}
        assert mw["second"] == (15, 20)[version - 1]
    assert run("list", "--as-of", "2026-10-31", "--json") == ""
    assert run("list", "--as-of", "2030-01-01", "--known-on", "2026-01-01", "--json") == ""
    assert run("diff", "acme-2027@1", "acme-2027@2").split() == ["tranches.second.mw", "15.0", "->", "20.0"]
    assert run("diff", "acme-2027@2", str(second)) == ""
    # What cannot be recorded leaves nothing behind.
    assert "amendments follow each other" in run("amend", str(first), "--effective", "2027-05-31", ok=False)
    second.write_text(first.read_text().replace("name: acme\n", "name: other\n"))
    assert f"{second}:19:3: customer: an amendment cannot change who it is" in run("amend", str(second), "--effective", "2028-01-01", ok=False)
    second.write_text(first.read_text().replace("currency: USD", "currency: EUR"))
    assert "currency: an amendment cannot change it" in run("amend", str(second), "--effective", "2028-01-01", ok=False)
    second.write_text("contract: x\n")
    assert f"{second}:1:1: from: is missing" in run("amend", str(second), ok=False)
    assert "wants NAME@VERSION" in run("show", "acme-2027@", ok=False)
    assert "has no contract 'acme-2027' of version 3" in run("show", "acme-2027@3", ok=False)
    assert "has no contract 'nobody'" in run("history", "nobody", ok=False)
    assert len(run("history", "acme-2027", "--json").splitlines()) == 2

    # A version that was changed is found; so is one that was taken out.
    def audit():
        return cli("audit", "--changes", "-a", where)
    assert audit().returncode == 0 and "amend contract acme-2027" in audit().stdout
    change("UPDATE contract SET text = replace(text, 'mw: 10', 'mw: 11') WHERE version = 1")
    assert audit().returncode == 1 and "contract acme-2027, version 1 is not as it was written" in audit().stderr
    change("UPDATE contract SET text = replace(text, 'mw: 11', 'mw: 10') WHERE version = 1")
    assert audit().returncode == 0
    change("UPDATE contract SET effective_s = effective_s + 1 WHERE version = 2")
    assert audit().returncode == 1
    change("UPDATE contract SET effective_s = effective_s - 1 WHERE version = 2")
    change("DELETE FROM contract WHERE version = 1")
    assert audit().returncode == 1 and "have not the same versions" in audit().stderr


def test_report(cli, tmp_path):
    """What is still to come adds up, whoever looks at it; who is owned by one counts as one."""
    day = "2026-11-30"
    report = json.loads(cli("contract", "report", "--json", "--as-of", day, *map(str, EXAMPLES)).stdout)
    rows = {r["contract"]: r for r in report["contracts"]}
    for path in EXAMPLES:
        view = json.loads(cli("contract", "show", "--json", "--as-of", day, str(path)).stdout)
        row = rows[view["contract"]]
        later = {y["from"][:4]: Decimal(y["fee"]) for y in view["years"]}
        assert len(row["years"]) == 7 and row["ready_watts"] == view["ready_watts"]
        for y in row["years"][1:]:  # of this year a part is over
            assert abs(Decimal(y["fee"]) - later.get(str(y["year"]), 0)) < Decimal("0.00001")
        assert sum(Decimal(y["fee"]) for y in row["years"]) == Decimal(row["still_to_come"])
    last = rows["backstop-2032"]  # it takes what is left: its caps, of this year 305 days, and in the last half year all of its power
    assert Decimal(last["still_to_come"]) == 0 and "by_backstop_at_most" not in rows["fast-750"]
    assert abs(Decimal(last["by_backstop_at_most"]) - (Decimal(60_000_000) * 305 / 365 + 4 * 60_000_000 + 60 * 183 * 24 * 210)) < 1
    assert rows["fast-750"]["firm_watts_at_most"] == 750_000_000 and Decimal(rows["backstop-2032"]["by_option"]) == 0
    option = 10 * (24 * (30 + 31 + 30 + 31) + 24 * 366 // 366 * 152) * 450  # burst, 2027-09-01 to 2028-06-01
    assert Decimal(rows["spread-3"]["by_option"]) == option
    of = {}
    for s in report["concentration"]:
        of.setdefault(s["of"], {})[s["name"]] = s
    for shares in of.values():
        assert abs(sum(s["share"] for s in shares.values()) - 1) < 1e-9
        assert sum(s["ready_watts_if_it_stops"] for s in shares.values()) == 162_000_000
        index = round(sum((100 * s["share"]) ** 2 for s in shares.values()))
        assert all(abs(s["hhi"] - index) <= 1 for s in shares.values())
    assert of["owner of suppliers"]["Neo Compute Holding"]["contracts"] == 2 and len(of["customer"]) == 3
    text = cli("contract", "report", "--as-of", day, *map(str, EXAMPLES)).stdout
    assert "wafer-maker" in text and "if it stops: 150 MW ready" in text
    # The page is one that nothing runs in, whatever names say.
    hostile = tmp_path / "h.yaml"
    hostile.write_text(EXAMPLES[-1].read_text().replace("Neo Compute Holding", "<script>alert(1)</script> & \"Co\""))
    page = cli("contract", "report", "--html", str(hostile)).stdout
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Co&quot;" in page and "<script" not in page
    assert page.count("<svg") == 1 and "default-src 'none'" in page
    # Of the store: what holds on a day.
    where = str(tmp_path / "accounts.db")
    assert json.loads(cli("contract", "report", "--json", "-a", where).stdout)["contracts"] == []
    for path in EXAMPLES:
        assert cli("contract", "amend", str(path), "-a", where).returncode == 0
    stored = json.loads(cli("contract", "report", "--json", "--as-of", day, "-a", where).stdout)
    assert stored == report
    assert "is there twice" in cli("contract", "report", str(EXAMPLES[0]), str(EXAMPLES[0])).stderr


def test_an_amendment_is_there_or_not(cli, tmp_path, env):
    """Killed at any instant of its way: versions are whole, follow each other, and the log has each."""
    where, path = str(tmp_path / "accounts.db"), tmp_path / "a.yaml"
    text = (ROOT / "examples/contracts/spread-3.yaml").read_text()
    path.write_text(text)
    assert cli("contract", "amend", str(path), "-a", where).returncode == 0
    began = time.monotonic()
    path.write_text(text.replace("mw: 12", "mw: 13"))
    assert cli("contract", "amend", str(path), "-a", where).returncode == 0
    took = time.monotonic() - began
    told = 2
    for i in range(12):
        path.write_text(text.replace("mw: 12", f"mw: {20 + i}"))
        amending = subprocess.Popen([find_gaufre(), "contract", "amend", str(path), "-a", where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        time.sleep(took * (i + 1) / 12)
        amending.kill()
        told += amending.wait() == 0
    history = [json.loads(line) for line in cli("contract", "history", "spread-3", "--json", "-a", where).stdout.splitlines()]
    assert [v["version"] for v in history] == list(range(1, len(history) + 1)) and told <= len(history) <= 14
    for v in history:
        shown = json.loads(cli("contract", "show", f"spread-3@{v['version']}", "--json", "-a", where).stdout)
        assert shown["tranches"][0]["mw"] in (12, 13, *range(20, 32))
    done = cli("audit", "--changes", "-a", where)
    assert done.returncode == 0 and done.stdout.count("amend contract spread-3") == len(history)
    assert cli("contract", "amend", str(path), "-a", where).returncode == 0  # and nothing is locked
