"""gaufre demo: a simulated year, or some of its days, around a real server: it says that it is simulated, what happens is
told, the energies sum, and nothing stays behind."""
import json
import os
import re
import signal
import subprocess
import urllib.request

import pytest

from finding import find_gaufre

DAYS = ("--port", "0", "--model", "none")


@pytest.fixture
def demo(tmp_path):
    """Begins one whose private folder is below tmp_path: the process, the console's URL and the admin key."""
    started = []

    def begin(*more):
        env = dict(os.environ, TMPDIR=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "data"), HOME=str(tmp_path))
        env.pop("GAUFRE_HOME", None)
        p = subprocess.Popen([find_gaufre(), "demo", *DAYS, *more], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(p)
        said = ""
        while "It begins now" not in said:
            line = p.stderr.readline()
            assert line, said
            said += line
        return p, re.search(r"http://[^/ ]+", said)[0], re.search(r"gf-\S+", said)[0], said

    yield begin
    for p in started:
        p.kill()
        p.wait()


def get(url, key, path):
    with urllib.request.urlopen(urllib.request.Request(url + path, headers={"Authorization": f"Bearer {key}"}), timeout=60) as r:
        return json.load(r)


def test_some_of_its_days(demo, tmp_path):
    p, url, key, said = demo("--days", "100", "--minutes", "0.5", "--json")
    assert "Simulated" in said
    overview = get(url, key, "/admin/v1/overview")
    assert overview["simulated"] == {"pace": 288000} and overview["time"] >= 1796083200
    sites = get(url, key, "/admin/v1/sites")["data"]
    assert len(sites) == 33 and all(s["simulated"] for s in sites)
    contracts = get(url, key, "/admin/v1/contracts")["data"]
    assert {c["contract"] for c in contracts} == {"fast-750", "backstop-2032", "spread-3"}
    assert all(c["title"].startswith("SIMULATED") for c in contracts)
    out, err = p.communicate(timeout=250)
    assert p.returncode == 0, err
    year = json.loads(out)
    assert year["simulated"] is True and year["from"] == "2026-12-01" and year["until"] == "2027-03-11"
    # All that the script has for these days was told, and the server refused none of it.
    told = [e["text"] for e in year["events"]]
    assert len(told) == said.count("  20") == 5 and told[0].startswith("A site is born") and told[-1].startswith("The late tranche is delivered")
    assert all(text in err for text in told)
    power = {k.removesuffix("_uj"): int(v) for k, v in year["power"].items()}
    assert power["energised"] > 0 and power["energised"] == sum(v for k, v in power.items() if k != "energised")
    assert power["encumbered"] > 0 and power["sold"] > 0 and power["idle"] > 0
    n = year["requests"]
    assert n["answered"] > 0 and n["sent"] >= n["answered"] + n["refused"] and n["by_the_real_engine"] == 0
    owed = {c["contract"]: {x["kind"] for x in c["lines"]} for c in year["contracts"]}
    assert owed["fast-750"] >= {"capacity", "late"} and owed["backstop-2032"] == {"backstop"}
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith("gaufre-demo")] == []


def test_ends_at_any_time(demo, tmp_path):
    p, url, key, _ = demo("--days", "365", "--minutes", "30")
    assert get(url, key, "/admin/v1/overview")["simulated"]["pace"] == 17520
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0 and "Simulated statement of fast-750" in out, err
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith("gaufre-demo")] == []


def test_what_it_keeps_can_be_settled(demo, tmp_path, cli):
    """Statements are made of what is kept, as of any ledger, and they say that they are simulated."""
    kept = tmp_path / "kept"
    p, *_ = demo("--days", "4", "--minutes", "0.1", "--keep", str(kept))
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0 and str(kept) in err, err
    assert {"demo.yaml", "accounts.db", "ledger.db", "gaufre.log"} <= {f.name for f in kept.iterdir()}
    assert cli("audit", "--ledger", str(kept / "ledger.db")).returncode == 0
    shown = cli("contract", "show", "fast-750", "--accounts", str(kept / "accounts.db"), "--as-of", "2026-12-03")
    assert shown.returncode == 0 and "SIMULATED" in shown.stdout, shown.stderr
    again = subprocess.run([find_gaufre(), "demo", *DAYS, "--keep", str(kept)], capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 1 and "cannot make" in again.stderr


def test_what_is_refused():
    done = subprocess.run([find_gaufre(), "demo", "--minutes", "0.1"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "365 days take at least" in done.stderr
