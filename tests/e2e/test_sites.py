"""Sites: who may be served where, how much of a site may be used, and that admission obeys at once."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from finding import find_gaufre
from mock_upstream import Mock, chunk
from postgres import postgres  # noqa: F401  fixture
from serving import Server, wait_for

pytestmark = pytest.mark.sanitize
SITES = """sites:
  - {name: fra1, region: eu, pue: 1.25, contracted_mw: 2.5, energised_mw: 1.5, carbon: 300, carbon_market: 0}
  - {name: osl1, region: no, residency: no}
"""


class World:
    """Two suppliers of the model m, each at a site of its own, and accounts."""

    def __init__(self, folder, sites=SITES, tail="routes: [{route: order}]\n", more=None, accounts=None):
        self.folder, self.accounts = folder, accounts  # a URL, or None: the file of its home
        self.mocks = {"a": Mock(), "b": Mock()}
        self.config = folder / "c.yaml"
        self.env = {**os.environ, "GAUFRE_HOME": str(folder), "GAUFRE_ACCOUNTS": accounts or ""}
        self.write(sites, tail, more or {})
        self.cli("tenant", "new", "acme")
        self.cli("tenant", "new", "other")
        self.keys = {t: self.cli("key", "new", t, "--tenant", t) for t in ("acme", "other")}
        self.env["GAUFRE_ADMIN_KEY"] = self.cli("key", "new", "root", "--tenant", "acme", "--admin", "yes")
        self.server = None

    def write(self, sites, tail="routes: [{route: order}]\n", more=None):
        where = {"a": "fra1", "b": "osl1"}
        self.config.write_text(sites + "suppliers:\n" + "".join(
            f"  - name: {n}\n    base_url: {m.url}\n    models: [m]\n    site: {where[n]}\n    first_byte_timeout: 60s\n"
            f"    silence_timeout: 60s\n{(more or {}).get(n, '')}" for n, m in self.mocks.items()) + tail)

    def start(self, folder):
        flags = ["--accounts", self.accounts] if self.accounts else []
        return Server(str(folder), "-c", self.config, *flags, models=[])

    def serve(self):
        self.server = self.start(self.folder)
        return self

    def cli(self, *args, ok=True):
        r = subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, env=self.env, check=False,
                           stdin=subprocess.DEVNULL)
        assert (r.returncode == 0) == ok, r.stdout + r.stderr
        return r.stdout.strip() if ok else r.stderr

    def site(self, *args, ok=True):
        return self.cli("site", *args, "--server", self.server.url, ok=ok)

    def show(self, name):
        return json.loads(self.site("show", name, "--json"))

    def ask(self, tenant="acme", headers=None, **more):
        """(status, site, body)"""
        status, heads, body = self.server.post(
            "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}], **more},
            {"Authorization": f"Bearer {self.keys[tenant]}", **(headers or {})})
        return status, heads["x-gaufre-site"], body

    def admin(self, method, path, body=None):
        status, _, text = self.server.request(method, "/admin/v1" + path, body,
                                              {"Authorization": f"Bearer {self.env['GAUFRE_ADMIN_KEY']}"})
        return status, json.loads(text)

    def stop(self):
        if self.server:
            assert self.server.stop() == 0, self.server.read_log()[-4000:]
            self.server = None


@pytest.fixture
def world(tmp_path):
    made = []

    def make(*args, **more):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(World(folder, *args, **more))
        return made[-1]

    yield make
    for w in made:
        w.stop()
        for m in w.mocks.values():
            m.close()


@pytest.fixture(params=["sqlite", "postgres"])
def stored(world, request):
    """world(), with its accounts in each kind of store."""
    postgres = request.getfixturevalue("postgres") if request.param == "postgres" else None
    return lambda *args, **more: world(*args, accounts=postgres.database() if postgres else None, **more)


def test_a_site_is_told_and_ordered(stored):
    w = stored().serve()
    assert w.ask()[:2] == (200, "fra1")
    line = wait_for("its line in the log", lambda: [x for x in w.server.read_log().splitlines() if " request " in x and "/v1/chat" in x])
    assert "site=fra1" in line[0]
    site = wait_for("it is counted", lambda: (lambda x: x if x["requests"] else None)(w.show("fra1")))
    assert site == w.admin("GET", "/sites/fra1")[1]
    assert (site["region"], site["pue"], site["contracted_mw"], site["energised_mw"], site["power_basis"]) == ("eu", 1.25, 2.5, 1.5, "it")
    assert site["carbon_grams_per_kwh"] == {"location": 300, "market": 0, "error": None}
    assert site["requests"] == 1 and site["state"] == "active" and site["capacity_factor"] == 1
    # Nothing new goes to a site with factor 0: at once, without a restart.
    assert w.admin("PATCH", "/sites/fra1", {"capacity_factor": 0}) == (200, w.show("fra1"))
    assert w.ask()[:2] == (200, "osl1")
    w.site("set", "osl1", "--state", "draining")
    status, site, body = w.ask()
    assert (status, site, body["error"]["code"]) == (503, None, "site_closed")
    assert len(w.mocks["a"].requests) == 1 and len(w.mocks["b"].requests) == 1
    # What was ordered survives a restart, and is in the log of changes.
    w.stop()
    w.serve()
    assert w.ask()[0] == 503
    w.site("set", "fra1", "--capacity-factor", "none")
    assert w.ask()[:2] == (200, "fra1")
    changes = [json.loads(x) for x in w.cli("audit", "--changes", "--json").splitlines()]
    assert [(c["actor"], c["id"], c["before"], c["after"]) for c in changes if c["kind"] == "site"] == [
        ("key:root", "fra1", {}, {"capacity_factor": 0}), ("key:root", "osl1", {}, {"state": "draining"}),
        ("key:root", "fra1", {"capacity_factor": 0}, {})]
    assert "draining" in w.site("list") and w.site("list").splitlines()[1].startswith("fra1")


def test_bad_orders(world):
    w = world().serve()
    for body, param in (({"capacity_factor": 1.5}, "capacity_factor"), ({"capacity_factor": "1"}, "capacity_factor"), ({"capacity_factor": -0.1}, "capacity_factor"),
                        ({"state": "gone"}, "state"), ({"state": 1}, "state"), ({"pue": 1.1}, "pue")):
        status, answer = w.admin("PATCH", "/sites/fra1", body)
        assert status == 400 and param in answer["error"]["message"], answer
    assert w.admin("PATCH", "/sites/nowhere", {"state": "active"})[0] == 404
    assert w.admin("GET", "/sites/nowhere")[0] == 404
    assert w.admin("DELETE", "/sites/fra1")[0] == 405
    assert w.server.request("GET", "/admin/v1/sites", None, {"Authorization": f"Bearer {w.keys['acme']}"})[0] == 403
    assert "no site 'nowhere'" in w.site("show", "nowhere", ok=False)
    for args in (("set", "fra1"), ("set", "fra1", "--capacity-factor", "2"), ("set", "fra1", "--state", "x"), ("show",), ("list", "fra1"), ("go",)):
        w.site(*args, ok=False)
    assert w.show("fra1")["capacity_factor"] == 1


def test_places_follow_the_factor(world):
    """Of 4 places 2 are used with a factor of 0.5; who waits when it becomes 0 goes elsewhere, and who runs stays."""
    release = threading.Event()

    w = world(more={"a": "    concurrency: 4\n"})
    w.serve()
    w.site("set", "fra1", "--capacity-factor", "0.5")
    got = []
    w.cli("tenant", "set", "acme", "--allowed-sites", "fra1")
    wait_for("the limit", lambda: "accounts in force" in w.server.read_log())
    threads = [threading.Thread(target=lambda: got.append(w.ask(stream=False)[:2])) for _ in range(3)]
    w.mocks["a"].script = lambda a: (release.wait(120), a.reply(200, CHAT_DONE))
    for t in threads:
        t.start()
    wait_for("two there and one in line", lambda: len(w.mocks["a"].requests) == 2 and w.show("fra1")["waiting"] == 1)
    assert w.show("fra1")["places"] == 2
    w.site("set", "fra1", "--capacity-factor", "0")
    wait_for("the one that waited is refused", lambda: got == [(503, "fra1")] or None)
    assert w.show("fra1")["running"] == 2
    release.set()
    for t in threads:
        t.join()
    assert sorted(got, key=str) == [(200, "fra1"), (200, "fra1"), (503, "fra1")]
    assert len(w.mocks["a"].requests) == 2
    w.site("set", "fra1", "--capacity-factor", "1")
    assert w.ask()[:2] == (200, "fra1")


CHAT_DONE = {"id": "x", "object": "chat.completion", "created": 7, "model": "m",
             "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
             "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}


def test_who_waits_goes_elsewhere(world):
    release = threading.Event()
    w = world(more={"a": "    concurrency: 1\n    weight: 1\n"}, tail="routes: [{route: affinity}]\n")
    w.mocks["a"].script = lambda a: (release.wait(120), a.reply(200, CHAT_DONE))
    w.serve()
    w.site("set", "osl1", "--state", "offline")
    got = []
    threads = [threading.Thread(target=lambda: got.append(w.ask()[:2])) for _ in range(2)]
    for t in threads:
        t.start()
    wait_for("one waits", lambda: w.show("fra1")["waiting"] == 1)
    w.site("set", "osl1", "--state", "none")
    w.site("set", "fra1", "--state", "draining")
    wait_for("it was served elsewhere", lambda: got == [(200, "osl1")] or None)
    release.set()
    for t in threads:
        t.join()
    assert got == [(200, "osl1"), (200, "fra1")]


def test_a_file_with_the_factor(world, tmp_path):
    file = tmp_path / "factor"
    file.write_text("0\n")
    w = world(SITES.replace("name: fra1,", f"name: fra1, capacity_file: {file},")).serve()
    assert w.ask()[:2] == (200, "osl1")  # from the first request on
    file.write_text("0.25")
    wait_for("a quarter", lambda: w.show("fra1")["capacity_factor"] == 0.25)
    assert w.ask()[:2] == (200, "fra1") and w.show("fra1")["places"] == 16
    w.site("set", "fra1", "--capacity-factor", "0.75")
    assert w.show("fra1")["capacity_factor"] == 0.25  # the lowest holds
    for text in ("half", "1.5", "0.5 0.6", "-1", "", "0.1234567", "1" * 100, "0.5\0"):
        file.write_text(text)
        site = wait_for(f"the fault {text!r}", lambda: (lambda s: s if s["said"]["file"]["error"] else None)(w.show("fra1")))
        assert site["capacity_factor"] == 0.25, text  # the last that could be read
        file.write_text("0.25")
        wait_for("it is read again", lambda: not w.show("fra1")["said"]["file"]["error"])
    file.unlink()
    wait_for("it is gone", lambda: w.show("fra1")["said"]["file"]["error"])
    assert w.ask()[0] == 200 and "site not read" in w.server.read_log()
    assert w.server.metric("gaufre_site_capacity_factor", site="fra1") == 0.25


def test_dedicated_sites_and_allowed_places(stored):
    w = stored(SITES.replace("name: osl1,", "name: osl1, dedicated_to: [acme],")).serve()
    w.site("set", "fra1", "--state", "draining")
    assert w.ask("acme")[:2] == (200, "osl1")
    status, _, body = w.ask("other")
    assert status == 503 and body["error"]["code"] == "site_closed"
    w.site("set", "fra1", "--state", "none")
    assert w.ask("other")[:2] == (200, "fra1") and not [r for r in w.mocks["b"].requests[1:]]
    w.cli("tenant", "set", "acme", "--allowed-sites", "osl*")
    wait_for("it is in force", lambda: w.ask("acme")[1] == "osl1")
    w.cli("key", "set", "acme", "--allowed-regions", "eu")  # and so nothing is left
    wait_for("nowhere", lambda: w.ask("acme")[0] == 403)
    w.cli("tenant", "set", "acme", "--allowed-sites", "none")
    wait_for("by the region", lambda: w.ask("acme")[:2] == (200, "fra1"))
    w.cli("tenant", "set", "other", "--allowed-sites", "osl1")  # which is not theirs
    wait_for("nowhere", lambda: w.ask("other")[0] == 403)
    assert "no right to any supplier" in w.ask("other")[2]["error"]["message"]


def test_models_of_dedicated_sites_are_listed_to_their_tenants(world):
    w = world(SITES.replace("name: osl1,", "name: osl1, dedicated_to: [acme],"), more={"b": "    models: [m, only]\n"})
    w.config.write_text(w.config.read_text().replace("    models: [m]\n    site: osl1", "    site: osl1"))
    w.serve()

    def get(tenant, more=""):
        path, heads = ("/v1/models", {"Authorization": f"Bearer {w.keys[tenant]}"}) if tenant else ("/public/v1/models", {})
        return w.server.get(path + more, heads)

    def listed(tenant=None):
        return [m["id"] for m in json.loads(get(tenant)[2])["data"]]
    for tenant, status in (("acme", 200), ("other", 404), (None, 404)):
        assert (get(tenant, "/m")[0], get(tenant, "/only")[0]) == (200, status)
    assert listed("acme") == ["m", "only"] and listed("other") == ["m"] and listed() == ["m"]
    assert w.ask("other", model="only")[0] == 403 and w.ask("acme", model="only")[0] == 200
    w.cli("tenant", "set", "acme", "--allowed-sites", "fra1")  # its own lists count as they do when it asks
    wait_for("it is in force", lambda: listed("acme") == ["m"])
    w.cli("tenant", "set", "acme", "--allowed-sites", "none", "--suppliers", "b")
    wait_for("it is in force", lambda: listed("acme") == ["m", "only"])
    w.site("set", "osl1", "--state", "draining")  # it has a right to it still
    assert listed("acme") == ["m", "only"]


def test_nearest(world):
    w = world(tail="routes: [{route: nearest}]\n").serve()
    for region, site in (("no", "osl1"), ("eu", "fra1"), ("no", "osl1")):
        for _ in range(2):
            assert w.ask(headers={"x-gaufre-region": region})[:2] == (200, site)
    w.cli("tenant", "set", "acme", "--region", "no")
    wait_for("the tenant's region", lambda: w.ask()[1] == "osl1")
    assert w.ask(headers={"x-gaufre-region": "eu"})[1] == "fra1"
    status, _, body = w.ask(headers={"x-gaufre-region": "no where"})
    assert status == 400 and "x-gaufre-region" in body["error"]["message"]
    status, heads, _ = w.server.request("POST", "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]},
                                        {"Authorization": f"Bearer {w.keys['acme']}", "x-gaufre-region": "no"})
    w.env["KEY"] = w.keys["acme"]
    told = json.loads(w.cli("route", "explain", heads["x-request-id"], "--server", w.server.url, "--key-env", "KEY", "--json"))
    assert told["route"] == "nearest" and told["chosen"] == "b/m"
    rows = {c["supplier"]: c for c in told["candidates"]}
    assert rows["a/m"]["away"] and not rows["b/m"]["away"] and rows["b/m"]["rtt_us"] > 0 and rows["a/m"]["score"] > 100000 > rows["b/m"]["score"]
    for region, who in (("no", "b/m"), ("eu", "a/m")):
        tried = json.loads(w.cli("route", "try", "-c", w.config, "-m", "m", "--region", region, "--json"))
        assert tried["chosen"] == who and tried["score_unit"] == "us away"


def hours(n=48):
    """The hours around now, by the hour."""
    now = int(time.time()) // 3600 * 3600
    return [(time.strftime("%Y-%m-%dT%H:00Z", time.gmtime(now + 3600 * i)), 100 + i + n) for i in range(-n, n)]


def test_carbon_of_an_hour(world, tmp_path):
    """From a file and from a feed; what cannot be read changes nothing."""
    feed = Mock()
    feed.script = lambda a: a.reply(200, {"zone": "X", "history": [{"datetime": t, "carbonIntensity": g} for t, g in hours()]})
    file = tmp_path / "carbon.csv"
    file.write_text("time,location,market\n" + "".join(f"{t},{g},7.5\n" for t, g in hours()))
    w = world(f"sites:\n  - {{name: fra1, pue: 1.5, carbon_file: {file}}}\n"
              f"  - {{name: osl1, carbon_url: '{feed.url}/intensity?token=secret', carbon_key_env: FEED_KEY, carbon_market: 3, carbon_refresh: 1s}}\n")
    os.environ["FEED_KEY"] = "of-the-feed"
    try:
        w.serve()
        this = {t: g for t, g in hours()}
        now = lambda: this[time.strftime("%Y-%m-%dT%H:00Z", time.gmtime())]
        wait_for("the file", lambda: w.show("fra1")["carbon_grams_per_kwh"] == {"location": now(), "market": 7.5, "error": None})
        wait_for("the feed", lambda: w.show("osl1")["carbon_grams_per_kwh"] == {"location": now(), "market": 3, "error": None})
        assert feed.requests[0].headers["authorization"] == "Bearer of-the-feed"
        wait_for("the metric", lambda: w.server.metric("gaufre_site_carbon_grams_per_kwh", site="fra1", basis="location") == now())
        file.write_text("time,location\nyesterday,1\n")
        wait_for("the fault", lambda: "yesterday" in (w.show("fra1")["carbon_grams_per_kwh"]["error"] or ""))
        wait_for("as before", lambda: w.show("fra1")["carbon_grams_per_kwh"]["location"] == now())
        file.write_text("time,location\n2020-01-01T00:00Z,1\n")  # no hour of today: unknown, and not shown as 0
        wait_for("unknown", lambda: w.show("fra1")["carbon_grams_per_kwh"] == {"location": None, "market": None, "error": None})
        assert 'carbon_grams_per_kwh{site="fra1"' not in w.server.get("/metrics")[2].decode()
        feed.script = lambda a: a.reply(500, "no")
        wait_for("the feed fails", lambda: w.show("osl1")["carbon_grams_per_kwh"]["error"])
        wait_for("as before", lambda: w.show("osl1")["carbon_grams_per_kwh"]["location"] == now())
        assert "secret" not in w.server.read_log() and "of-the-feed" not in w.server.read_log()
    finally:
        del os.environ["FEED_KEY"]
        feed.close()


def test_this_machine_is_at_a_site(tmp_path):
    """The engine's energy becomes carbon of its site, PUE and all; its places follow the factor."""
    file = tmp_path / "factor"
    file.write_text("0")
    (tmp_path / "c.yaml").write_text(f"sites: [{{name: here, pue: 2, carbon: 400, carbon_market: 0, capacity_file: {file}}}]\nsite: here\nbatch: 8\n")
    s = Server(str(tmp_path), "-c", tmp_path / "c.yaml", "--log-level", "debug")
    try:
        status, _, body = s.chat("hi", max_tokens=2)
        assert status == 503 and body["error"]["code"] == "site_closed"
        file.write_text("0.3")
        wait_for("it is open", lambda: s.chat("hi", max_tokens=2)[0] == 200)
        status, heads, _ = s.chat("hi", max_tokens=20)
        assert (status, heads["x-gaufre-site"]) == (200, "here")
        assert s.metric("gaufre_site_capacity_factor", site="here") == 0.3

        def rest():  # nobody works, and all that was booked is known
            o = json.loads(s.get("/admin/v1/overview")[2])
            return o if s.idle() and o["sites"][0]["energy"] and o["sites"][0]["energy"]["joules"] == o["energy"]["requests_joules"] else None
        o = wait_for("the meter", rest)
        e, site = o["energy"], o["sites"][0]
        assert e["site"] == site["name"] == "here" and e["watts"] >= 0 and e["method"] in ("rapl", "model") and 0 < e["uncertainty"] <= 1
        assert e["requests_joules"] > 0 and abs(e["requests_joules"] + e["unattributed_joules"] - e["metered_joules"]) < 1e-5
        assert site["carbon_grams_per_kwh"] == {"location": 400, "market": 0} and site["capacity_factor"] == 0.3
        assert {k: site["energy"][k] for k in ("boundary", "method", "uncertainty")} == {k: e[k] for k in ("boundary", "method", "uncertainty")}
        assert site["requests"] == 2 and site["requests_unmetered"] == 0
        assert s.stop() == 0
    finally:
        s.stop()
    import sqlite3
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        rows = db.execute("SELECT site, energy_uj, energy_boundary, carbon_location_ug, carbon_market_ug FROM usage WHERE status = 200").fetchall()
    assert rows
    for site, uj, boundary, location, market in rows:
        assert site == "here" and uj > 0 and boundary < 2 and market == 0
        assert abs(location - uj * 2 * 400e6 / 3.6e12) <= 1


def test_key_team_and_tenant_must_all_allow(stored):
    """The lists of a request's path, made by commands while the server runs, and read again by the next one."""
    w = stored()
    w.cli("team", "new", "acme/research", "--allowed-regions", "eu,no")
    w.keys["team"] = w.cli("key", "new", "one", "--tenant", "acme", "--team", "research", "--allowed-sites", "osl1")
    w.serve()
    assert w.ask("team")[:2] == (200, "osl1") and w.ask("acme")[:2] == (200, "fra1")
    w.cli("team", "set", "acme/research", "--allowed-regions", "eu")
    wait_for("the team's", lambda: w.ask("team")[0] == 403)
    w.cli("key", "set", "one", "--allowed-sites", "none")
    wait_for("the key's", lambda: w.ask("team")[:2] == (200, "fra1"))
    w.cli("tenant", "set", "acme", "--allowed-sites", "osl1")
    wait_for("the tenant's", lambda: w.ask("team")[0] == 403)
    assert w.ask("acme")[:2] == (200, "osl1")
    w.stop()
    w.serve()
    assert w.ask("team")[0] == 403 and w.ask("acme")[:2] == (200, "osl1") and w.ask("other")[:2] == (200, "fra1")
    for setting in ("allowed_sites", "allowed_regions"):
        assert json.loads(w.cli("key", "show", "one", "--json")).get(setting) is None
    assert json.loads(w.cli("team", "show", "acme/research", "--json"))["allowed_regions"] == ["eu"]


def test_servers_of_a_store_obey_one_order(world, postgres, tmp_path):  # noqa: F811
    w = world(accounts=postgres.database()).serve()
    (tmp_path / "second").mkdir()
    other = w.start(tmp_path / "second")
    try:
        def ask_other():
            status, heads, _ = other.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]},
                                          {"Authorization": f"Bearer {w.keys['acme']}"})
            return status, heads["x-gaufre-site"]
        assert ask_other() == (200, "fra1")
        w.site("set", "fra1", "--state", "draining")
        wait_for("the other obeys", lambda: ask_other() == (200, "osl1"))
        w.cli("site", "set", "fra1", "--state", "none", "--server", other.url)
        wait_for("and so does the first", lambda: w.ask()[1] == "fra1")
        w.cli("tenant", "set", "acme", "--allowed-regions", "no")
        wait_for("both", lambda: ask_other() == w.ask()[:2] == (200, "osl1"))
        postgres.restart()  # what was ordered holds meanwhile, and orders go on after it
        assert ask_other() == w.ask()[:2] == (200, "osl1")
        wait_for("it is ordered", lambda: w.admin("PATCH", "/sites/osl1", {"capacity_factor": 0})[0] == 200)
        wait_for("the other obeys", lambda: ask_other()[0] == 503)
    finally:
        assert other.stop() == 0, other.read_log()[-4000:]


def change_store(w, postgres, sql):
    if w.accounts:
        postgres.sql(w.accounts, sql)
        return
    import sqlite3
    with sqlite3.connect(w.folder / "accounts.db") as db:
        db.executescript(sql)


def test_a_store_of_before(stored, request, tmp_path):
    """A store that a version without sites made is brought up to date with all that is in it, whoever opens it first: two
    servers at once. One of a later version is left alone."""
    w = stored()
    postgres = request.getfixturevalue("postgres") if w.accounts else None
    change_store(w, postgres, "DROP TABLE site; UPDATE meta SET value = 1 WHERE name = 'schema';")
    (tmp_path / "second").mkdir()
    others = []
    thread = threading.Thread(target=lambda: others.append(w.start(tmp_path / "second")))
    thread.start()
    try:
        w.serve()
        w.site("set", "fra1", "--capacity-factor", "0.5")
        assert w.show("fra1")["said"]["operator"] == {"state": None, "capacity_factor": 0.5} and w.ask()[0] == 200
        w.cli("tenant", "set", "acme", "--allowed-sites", "osl1")
        wait_for("in force", lambda: w.ask()[1] == "osl1")
    finally:
        thread.join()
        for s in others:
            assert s.stop() == 0, s.read_log()[-4000:]
    assert others
    assert "every one as it was written" in subprocess.run([find_gaufre(), "audit", "--changes"], env=w.env, capture_output=True, text=True, check=True).stderr
    w.stop()
    change_store(w, postgres, "UPDATE meta SET value = 99 WHERE name = 'schema';")
    assert "written by another version (schema 99" in w.cli("tenant", "list", ok=False)


def test_what_the_ledger_has(world):
    """A request's row has its site; no energy is known of a supplier that says nothing, so its carbon is unknown."""
    w = world().serve()
    assert w.ask()[0] == 200
    w.stop()
    import sqlite3
    with sqlite3.connect(w.folder / "ledger.db") as db:
        assert db.execute("SELECT site, carbon_location_ug, carbon_market_ug FROM usage").fetchall() == [("fra1", -1, -1)]


def test_swap(world):
    """Sites change with SIGHUP, all or nothing; orders stay."""
    w = world().serve()
    w.site("set", "osl1", "--capacity-factor", "0.5")
    w.write(SITES.replace("pue: 1.25", "pue: 0.5"))
    status, answer = w.admin("POST", "/reload")
    assert status == 400 and "c.yaml:2:5: site fra1: pue: '0.5' is no number from 1 to 10" in answer["error"]["message"]
    w.write(SITES.replace("pue: 1.25", "pue: 1.5, state: offline"))
    assert w.admin("POST", "/reload")[0] == 200
    assert w.show("fra1")["pue"] == 1.5 and w.ask()[1] == "osl1"
    assert w.show("osl1")["capacity_factor"] == 0.5
    assert w.server.metric("gaufre_site_pue", site="fra1") == 1.5
    w.write(SITES)
    w.server.process.send_signal(signal.SIGHUP)
    wait_for("it is active again", lambda: w.ask()[1] == "fra1")


@pytest.mark.parametrize("sites,why", [
    ("sites: [{region: eu}]", "c.yaml:1:9: a site needs a 'name'"),
    ("sites: [{name: a}, {name: a}]", "1:20: two sites are called 'a'"),
    ("sites: [{name: a, capacity_factor: 1.1}]", "site a: capacity_factor: '1.1' is no factor"),
    ("sites: [{name: a, generally_available: true, dedicated_to: [t]}]", "one of them"),
    ("sites: [{name: a, generally_available: false}]", "it would serve nobody"),
    ("sites: [{name: a, dedicated_to: ['x y']}]", "'x y' is no name of a tenant"),
    ("sites: [{name: a, contracted_mw: 1, energised_mw: 2}]", "energised_mw: is more than contracted_mw"),
    ("sites: [{name: a, contracted_mw: -1}]", "contracted_mw: '-1' is no number"),
    ("sites: [{name: a, carbon: 10, carbon_file: x}]", "carbon, carbon_file or carbon_url, one of them"),
    ("sites: [{name: a, carbon_url: 'ftp://x'}]", "no http or https URL"),
    ("sites: [{name: a, time_zone: Nowhere/City}]", "time_zone"),
    ("sites: [{name: a, state: gone}]", "state"),
    ("sites: [{name: a, color: red}]", "color"),
    ("sites: [{name: a, region: 'x y'}]", "region: its name is"),
    ("sites: a", "sites: wants a list"),
    ("site: b\nsites: [{name: a}]", "site: there is no site 'b'"),
    ("sites: [{name: a}]\nsuppliers: [{name: s, base_url: 'http://127.0.0.1:1/v1', models: [m], site: b}]", "supplier s: there is no site 'b'"),
])
def test_what_is_refused(tmp_path, sites, why):
    (tmp_path / "c.yaml").write_text(sites + ("\n" if "suppliers" in sites else "\nsuppliers: [{name: s, base_url: 'http://127.0.0.1:1/v1', models: [m]}]\n"))
    r = subprocess.run([find_gaufre(), "serve", "--check", "-c", str(tmp_path / "c.yaml")], capture_output=True, text=True, check=False,
                       env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
    assert r.returncode == 2 and why in r.stderr, r.stderr
