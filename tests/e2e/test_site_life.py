"""The life of a site and its megawatts by dates: states change by themselves, sites come and go while the server runs."""
import os
import signal
import subprocess
import time

import pytest

from finding import find_gaufre
from mock_upstream import Mock
from serving import wait_for
from test_sites import SITES, world  # noqa: F401  fixture

pytestmark = pytest.mark.sanitize


def moment(after):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + after))


def states_in_log(w, site):
    return [line.split(" state=")[1].split()[0] for line in w.server.read_log().splitlines() if " site state " in line and f"site={site} " in line]


def life(active=3600, derated=7200, closed=9000):
    """Two sites; of the first the dates to come, in seconds from now."""
    return f"""sites:
  - name: fra1
    testers: [acme]
    lifecycle:
      - {{state: commissioning, planned: 2026-01-01, actual: 2026-01-02}}
      - {{state: acceptance, planned: 2026-02-01, actual: 2026-02-02}}
      - {{state: active, planned: 2026-03-01, actual: "{moment(active)}"}}
      - {{state: derated, planned: "{moment(derated)}", capacity_factor: 0.5}}
      - {{state: closed, planned: "{moment(closed)}"}}
  - name: osl1
    lifecycle: [{{state: active, planned: 2026-05-01}}, {{state: closed, planned: 2100-01-01}}]
"""


def test_states_change_by_themselves(world):  # noqa: F811
    """Only testers while it is accepted, all when it is active, nobody from the planned end on: when a date passes, without a word."""
    w = world(life()).serve()

    def dates(**more):
        w.write(life(**more))
        assert w.admin("POST", "/reload")[0] == 200
    first = w.show("fra1")
    assert first["state"] == "acceptance" and first["testers"] == ["acme"] and first["said"]["configuration"]["state"] is None
    assert [(s["state"], s["holds"], s["late"]) for s in first["lifecycle"]] == [
        ("commissioning", False, False), ("acceptance", True, False), ("active", False, True), ("derated", False, False), ("closed", False, False)]
    assert first["lifecycle"][0]["planned"] == "2026-01-01" and first["lifecycle"][1]["actual"] == "2026-02-02"
    assert w.ask("acme")[:2] == (200, "fra1")
    assert w.ask("other")[0] in (403, 503)  # osl1 was planned for May, and that it came is no fact yet
    assert w.show("osl1")["state"] == "planned" and w.show("osl1")["lifecycle"][0]["late"]
    dates(active=3)
    wait_for("all are served", lambda: w.ask("other")[:2] == (200, "fra1"))
    dates(active=-2, derated=3)
    look = wait_for("half of it", lambda: (lambda s: s if s["state"] == "derated" else None)(w.show("fra1")))
    assert look["capacity_factor"] == 0.5 and look["places"] == 32 and look["said"]["lifecycle"] == {"state": "derated", "capacity_factor": 0.5}
    assert w.server.metric("gaufre_site_state", site="fra1", state="derated") == 1
    dates(active=-3, derated=-2, closed=3)
    wait_for("nobody is served", lambda: w.ask("acme")[0] == 503)
    assert w.ask("acme")[2]["error"]["code"] == "site_closed"
    assert w.server.metric("gaufre_site_state", site="fra1", state="closed") == 1
    assert states_in_log(w, "fra1") == ["acceptance", "active", "derated", "closed"]
    assert "by=date" in next(x for x in w.server.read_log().splitlines() if " site state " in x and "state=closed" in x)
    # An operator's word goes before dates, and is taken back to them.
    w.site("set", "fra1", "--state", "active")
    assert w.ask("acme")[:2] == (200, "fra1") and w.show("fra1")["state"] == "active" and w.show("fra1")["said"]["lifecycle"]["state"] == "closed"
    w.site("set", "fra1", "--state", "none")
    assert w.ask("acme")[0] == 503
    text = w.site("show", "fra1")
    assert "* closed" in text and "  derated" in text and "LATE" in w.site("show", "osl1")


def test_a_site_is_born_and_dies(world):  # noqa: F811
    """With SIGHUP: with the supplier that belongs to it, and its order stays for the day when it comes back."""
    w = world().serve()
    more = Mock()
    try:
        born = SITES + f"  - {{name: new1, region: eu, power: [{{from: 2026-01-01, contracted_mw: 5, energised_mw: 4, encumbered_mw: 1}}]}}\n"

        def swap(sites, extra=""):
            w.write(sites)
            w.config.write_text(w.config.read_text().replace("routes:", extra + "routes:"))
            w.server.process.send_signal(signal.SIGHUP)
        assert w.admin("GET", "/sites/new1")[0] == 404
        swap(born, f"  - {{name: c, base_url: '{more.url}', models: [m], site: new1}}\n")
        wait_for("it is born", lambda: w.admin("GET", "/sites/new1")[0] == 200)
        w.site("set", "fra1", "--state", "draining")
        w.site("set", "osl1", "--state", "offline")
        assert wait_for("it serves", lambda: (lambda a: a if a[0] == 200 else None)(w.ask()))[:2] == (200, "new1")
        assert w.show("new1")["free_mw"] == 3
        w.site("set", "new1", "--capacity-factor", "0.25")
        w.site("set", "osl1", "--state", "none")
        swap(SITES)
        wait_for("it is gone", lambda: w.admin("GET", "/sites/new1")[0] == 404)
        assert w.ask()[:2] == (200, "osl1")
        assert 'site="new1"' not in w.server.get("/metrics")[2].decode()
        assert states_in_log(w, "new1") == ["active", "\"\""]
        swap(born, f"  - {{name: c, base_url: '{more.url}', models: [m], site: new1}}\n")
        wait_for("it is there again", lambda: w.admin("GET", "/sites/new1")[0] == 200)
        assert w.show("new1")["capacity_factor"] == 0.25
    finally:
        more.close()


def test_megawatts_by_dates(world):  # noqa: F811
    w = world("""sites:
  - name: fra1
    time_zone: Europe/Berlin
    pue: 1.25
    power_basis: facility
    power:
      - {from: 2024-07-01, contracted_mw: 100, energised_mw: 40, encumbered_mw: 10}
      - {from: 2025-01-01, contracted_mw: 100, energised_mw: 60.5}
      - {from: 2125-01-01, contracted_mw: 120, energised_mw: 120, encumbered_mw: 20}
  - {name: osl1, contracted_mw: 2, energised_mw: 1.5, encumbered_mw: 0.5}
""").serve()
    site = w.show("fra1")
    assert site["free_it_mw"] == 48.4  # by the PUE
    assert [site[k] for k in ("contracted_mw", "energised_mw", "encumbered_mw", "free_mw", "power_basis")] == [100, 60.5, 0, 60.5, "facility"]
    assert [r["from"] for r in site["power"]] == ["2024-07-01", "2025-01-01", "2125-01-01"]  # days there
    told = w.cli("serve", "--check", "-c", w.config)
    assert "fra1: active, capacity factor 1, 60.5 of 60.5 MW energised are free (facility)" in told and "1 of 1.5 MW energised are free (it)" in told
    assert w.show("osl1")["free_mw"] == 1 and w.show("osl1")["power"][0]["from"] is None
    for name, value in (("contracted", 100), ("energised", 60.5), ("encumbered", 0)):
        assert w.server.metric(f"gaufre_site_{name}_mw", site="fra1") == value
    assert "100 MW contracted, 60.5 MW energised, 0 MW encumbered, 60.5 MW free (facility)" in w.site("show", "fra1")


@pytest.mark.parametrize("site,why", [
    ("power: [{from: 2026-01-01, contracted_mw: 10, energised_mw: 11}]", "c.yaml:3:65: site a: energised_mw: is more than contracted_mw"),
    ("power: [{from: 2026-01-01, contracted_mw: 10, energised_mw: 5, encumbered_mw: 6}]", "c.yaml:3:83: site a: encumbered_mw: is more than energised_mw"),
    ("power: [{from: 2026-02-30, contracted_mw: 10, energised_mw: 5}]", "c.yaml:3:20: site a: from: '2026-02-30' is no date"),
    ("power: [{from: 2026-01-01, contracted_mw: 10, energised_mw: 5}, {from: 2026-01-01, contracted_mw: 10, energised_mw: 5}]",
     "c.yaml:3:76: site a: from: is not after that of the row before"),
    ("power: [{from: 2026-01-01, contracted_mw: -10, energised_mw: 5}]", "c.yaml:3:47: site a: contracted_mw: '-10' is no number"),
    ("power: [{from: 2026-01-01, contracted_mw: 1, energised_mw: 0.0000001}]", "energised_mw: '0.0000001' is finer than a watt"),
    ("power: [{from: 2026-01-01, contracted_mw: 10}]", "a row wants from, contracted_mw and energised_mw"),
    ("power: [{from: 2026-01-01, contracted_mw: 10, energised_mw: 5}]\n    contracted_mw: 3", "one of them"),
    ("power: 5", "power: wants a list"),
    ("encumbered_mw: 1", "encumbered_mw: wants energised_mw"),
    ("energised_mw: 1\n    encumbered_mw: 2", "encumbered_mw: is more than energised_mw"),
    ("lifecycle: [{state: active}]", "c.yaml:3:17: site a: wants a date"),
    ("lifecycle: [{state: gone, planned: 2026-01-01}]", "c.yaml:3:25: state"),
    ("lifecycle: [{planned: 2026-01-01}]", "a step wants a 'state'"),
    ("lifecycle: [{state: active, planned: 2025-02-29}]", "c.yaml:3:42: site a: planned: '2025-02-29' is no date"),
    ("lifecycle: [{state: active, planned: 2026-01-01}, {state: closed, planned: 2026-01-01}]", "c.yaml:3:80: site a: planned: is not after"),
    ("lifecycle: [{state: acceptance, actual: 2026-03-01}, {state: active, actual: 2026-02-01}]", "c.yaml:3:82: site a: its date is not after"),
    ("lifecycle: [{state: derated, actual: 2026-03-01}]", "derated wants a capacity_factor"),
    ("lifecycle: [{state: active, actual: 2026-03-01, capacity_factor: 0.5}]", "a step has one when derated"),
    ("lifecycle: []", "wants at least one step"),
    ("state: active\n    lifecycle: [{state: active, actual: 2026-03-01}]", "a lifecycle, or a state: one of them"),
    ("testers: ['x y']", "testers: 'x y' is no name of a tenant"),
])
def test_what_is_refused(tmp_path, site, why):
    (tmp_path / "c.yaml").write_text("sites:\n  - name: a\n    " + site + "\nsuppliers: [{name: s, base_url: 'http://127.0.0.1:1/v1', models: [m]}]\n")
    r = subprocess.run([find_gaufre(), "serve", "--check", "-c", str(tmp_path / "c.yaml")], capture_output=True, text=True, check=False,
                       env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
    assert r.returncode == 2 and why in r.stderr, r.stderr
