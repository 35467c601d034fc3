"""Sensors of sites: what they say lowers the capacity factor, at once, and what they do not say does not raise it."""
import http.server
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from finding import find_gaufre
from mock_upstream import Mock
from serving import Server, wait_for

pytestmark = pytest.mark.sanitize


class Told:
    """Sensors over HTTP: what each path answers now (a document, a status, or None: it hangs)."""

    def __init__(self):
        told = self
        self.says, self.asked, self.keys = {}, {}, {}
        self.over = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                told.asked[self.path] = told.asked.get(self.path, 0) + 1
                told.keys[self.path] = self.headers["Authorization"]
                what = told.says.get(self.path, 404)
                if what is None:
                    told.over.wait(60)
                body = what if isinstance(what, bytes) else json.dumps(what).encode()
                self.send_response(what if isinstance(what, int) and not isinstance(what, bool) else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


class Site:
    """One site with a supplier of four places, and its sensors."""

    def __init__(self, folder, told, env=None):
        self.folder, self.told, self.mock = folder, told, Mock()
        self.config = folder / "c.yaml"
        self.env = {**os.environ, "GAUFRE_HOME": str(folder), **(env or {})}
        self.extra = env or {}
        self.cli("tenant", "new", "acme")
        self.env["GAUFRE_ADMIN_KEY"] = self.cli("key", "new", "root", "--tenant", "acme", "--admin", "yes")
        self.key = self.cli("key", "new", "user", "--tenant", "acme")
        self.server = None

    def write(self, sensors, more=""):
        self.config.write_text(
            f"sites:\n  - name: fra1\n{more}    environment:\n" + "".join(f"      - {s}\n" for s in sensors) +
            f"suppliers:\n  - {{name: a, base_url: {self.mock.url}, models: [m], site: fra1, concurrency: 4}}\n")

    def serve(self, sensors, more=""):
        self.write(sensors, more)
        self.server = Server(str(self.folder), "-c", self.config, models=[], env=self.extra)
        return self

    def reload(self, sensors, more=""):
        self.write(sensors, more)
        n = self.server.read_log().count("configuration in force")
        self.server.process.send_signal(signal.SIGHUP)
        wait_for("the configuration", lambda: self.server.read_log().count("configuration in force") > n)

    def cli(self, *args, ok=True):
        r = subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, env=self.env, check=False,
                           stdin=subprocess.DEVNULL)
        assert (r.returncode == 0) == ok, r.stdout + r.stderr
        return r.stdout.strip() if ok else r.stderr

    def check(self, sensors, more=""):
        """What is wrong with such a configuration."""
        self.write(sensors, more)
        return self.cli("serve", "-c", self.config, "--check", ok=False)

    def look(self):
        return json.loads(self.cli("site", "show", "fra1", "--json", "--server", self.server.url))

    def sensor(self, name):
        return next(s for s in self.look()["sensors"] if s["name"] == name)

    def until(self, what, check):
        def fits():
            s = self.look()
            return s if check(s) else None
        return wait_for(what, fits)

    def factor(self, ppm):
        return self.until(f"a factor of {ppm}", lambda s: s["capacity_factor"] == ppm)

    def ask(self):
        status, _, body = self.server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]},
                                           {"Authorization": f"Bearer {self.key}"})
        return status, body

    def close(self):
        if self.server:
            assert self.server.stop() == 0, self.server.read_log()[-4000:]
        self.mock.close()


@pytest.fixture
def told():
    t = Told()
    yield t
    t.close()


@pytest.fixture
def site(tmp_path, told):
    made = []

    def make(**more):
        made.append(Site(tmp_path, told, **more))
        return made[-1]

    yield make
    for s in made:
        s.close()


QUICK = "    environment_dwell: 1s\n"


def test_it_warms_up_and_cools_down(site, told):
    told.says["/room"] = {"in": {"t": 22.5}}
    inlet = f"{{name: inlet, quantity: dry_bulb, url: {told.url}/room, path: in.t, every: 100ms, max_age: 5s, low_allowed: 15, low: 18, high: 27, high_allowed: 32}}"
    s = site().serve([inlet], QUICK)
    s.factor(1)
    assert s.ask()[0] == 200
    told.says["/room"] = {"in": {"t": 29.5}}  # half of the way
    look = s.factor(0.5)
    assert look["places"] == 2 and look["said"]["environment"] == {
        "capacity_factor": 0.5, "cause": "inlet: dry_bulb is 29.5 C, well is 27.0 C, allowed 32.0 C"}
    told.says["/room"] = {"in": {"t": "33"}}
    assert s.factor(0)["places"] == 0
    status, body = s.ask()
    assert (status, body["error"]["code"]) == (503, "site_closed")
    # It cools down: the factor stays until the dwell time is over, then it rises in one go.
    told.says["/room"] = {"in": {"t": 25}}
    s.until("it is cool", lambda x: x["sensors"][0]["value"] == 25)
    log = lambda: [x for x in s.server.read_log().splitlines() if " site factor " in x]
    s.factor(1)
    assert s.ask()[0] == 200
    first = [x for x in log() if "capacity_factor=0.5" in x][0]
    assert "by=environment" in first and 'cause="inlet: dry_bulb is 29.5 C' in first
    steps = [x.split("capacity_factor=")[1].split()[0] for x in log()]
    assert steps == ["1", "0.5", "0", "1"], log()  # from the blind factor
    told.says["/room"] = {"in": {"t": 17}}  # cold is outside as well
    s.factor(0.66)


def test_one_that_dies_makes_it_cautious(site, told):
    told.says["/a"] = {"load": 40}
    told.says["/b"] = {"load": 40}
    rows = [f"{{name: {n}, quantity: feeder_load, url: {told.url}/{n}, path: load, every: 100ms, max_age: 1s, timeout: 1s, high: 80, high_allowed: 90}}" for n in "ab"]
    s = site().serve(rows, QUICK + "    environment_blind: 0.3\n")
    s.factor(1)
    told.says["/a"] = None  # it hangs; the other is heard all the same
    s.factor(0.3)
    look = s.until("why", lambda x: x["said"]["environment"]["cause"].startswith("a: feeder_load is stale: its url: timed out"))
    assert [x["quality"] for x in look["sensors"]] == ["stale", "good"] and look["sensors"][0]["value"] == 40
    told.says["/b"] = {"load": 88}
    s.factor(0.2)
    told.says["/b"] = 500  # it dies when it had left less than the blind factor
    s.until("both are stale", lambda x: [y["quality"] for y in x["sensors"]] == ["stale", "stale"])
    assert s.look()["capacity_factor"] == 0.2
    told.says["/a"] = told.says["/b"] = {"load": 40}
    s.factor(1)
    assert "site sensor" in s.server.read_log()
    # A server that starts without hearing any knows nothing, and is cautious from the first request on.
    s.server.stop()
    told.says["/a"] = 500
    s.server = Server(str(s.folder), "-c", s.config, models=[])
    s.until("one is heard", lambda x: [y["quality"] for y in x["sensors"]] == ["not heard", "good"])
    assert s.look()["capacity_factor"] == 0.3


def test_what_cannot_be_is_refused(site, told):
    told.says["/t"] = {"t": 22}
    s = site().serve([f"{{name: t, quantity: dry_bulb, url: {told.url}/t, path: t, every: 100ms, max_age: 30s, high: 27, high_allowed: 32}}"], QUICK)
    s.factor(1)
    for says, why in (({"t": 400}, "400.0 C cannot be"), ({"t": 90}, "from 22.0 C to 90.0 C is further than it can jump"), ({"t": "warm"}, "t is no number"),
                      ({"t": None}, "t is no number"), ({"x": 1}, "the answer has nothing at 't'"), (b"<html>", ""), ({"t": float("1e300")}, "is no reading")):
        told.says["/t"] = says
        look = s.until(f"{says} is refused", lambda x: x["sensors"][0]["quality"] == "refused" and why in x["sensors"][0]["error"])
        assert look["capacity_factor"] == 0.5 and look["sensors"][0]["value"] == 22, look
        told.says["/t"] = {"t": 22}
        s.until("it is well", lambda x: x["sensors"][0]["quality"] == "good")
    s.factor(1)
    text = s.cli("site", "show", "fra1", "--server", s.server.url)
    assert "environment" in text and "dry_bulb" in text and "22 C" in text
