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
    assert s.server.metric("gaufre_site_environment_stale", sensor="a") == 1 and s.server.metric("gaufre_site_environment", sensor="b", quantity="feeder_load") == 40
    assert s.server.metric("gaufre_site_environment_factor", site="fra1") == 0.3 and s.server.metric("gaufre_site_environment", sensor="a") == 0
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


THRESHOLDS = {"UpperCaution": {"Reading": 35}, "UpperCritical": {"Reading": 45}, "LowerCaution": {"Reading": None}}


def redfish(reading, **more):
    """As DMTF's Sensor has it."""
    return {"@odata.type": "#Sensor.v1_9_0.Sensor", "Id": "Inlet", "ReadingType": "Temperature", "Reading": reading, "ReadingUnits": "Cel",
            "Status": {"State": "Enabled", "Health": "OK"}, "Thresholds": THRESHOLDS, **more}


def test_redfish_tells_its_own_limits(site, told):
    told.says["/s"] = redfish(24.5)
    told.says["/m"] = {"@odata.type": "#EnvironmentMetrics.v1_3_0.EnvironmentMetrics", "HumidityPercent": {"Reading": 50}, "PowerWatts": {"Reading": 12500}}
    more = "kind: redfish, every: 100ms, max_age: 30s, key_env: BMC"
    s = site(env={"BMC": "root:calvin"}).serve([
        f"{{name: inlet, quantity: dry_bulb, url: {told.url}/s, {more}}}",
        f"{{name: rh, quantity: humidity, url: {told.url}/m, path: HumidityPercent.Reading, {more}}}",
        f"{{name: power, quantity: feeder_power, unit: W, url: {told.url}/m, path: PowerWatts.Reading, {more}}}",
        "{name: dew, quantity: dew_point, max_age: 30s, high: 20, high_allowed: 24}"], QUICK)
    look = s.factor(1)
    rows = {x["name"]: x for x in look["sensors"]}
    assert rows["inlet"]["limits"] == {"low_allowed": None, "low": None, "high": 35, "high_allowed": 45, "rate": None}
    assert rows["power"]["value"] == 12.5 and rows["rh"]["value"] == 50
    assert 13.3 < rows["dew"]["value"] < 13.5 and rows["dew"]["source"] == "computed of inlet and rh"
    assert told.keys["/s"] == "Basic cm9vdDpjYWx2aW4="
    told.says["/s"] = redfish(76, ReadingUnits="[degF]")
    s.until("Fahrenheit", lambda x: x["sensors"][0]["value"] == 24.444)
    told.says["/s"] = redfish(33, Thresholds={"UpperCaution": {"Reading": 30}, "UpperCritical": {"Reading": 38}})
    s.factor(0.62)
    told.says["/s"] = redfish(33, Thresholds={"UpperCaution": {"Reading": 50}, "UpperCritical": {"Reading": 40}})
    s.until("senseless thresholds", lambda x: "thresholds" in (x["sensors"][0]["error"] or ""))
    for says, why in ((redfish(30, Status={"State": "Absent"}), "not in service"), (redfish(None), "no number"), (redfish(30, ReadingUnits="A"), "its unit is 'A'")):
        told.says["/s"] = says
        look = s.until(why, lambda x: why in (x["sensors"][0]["error"] or ""))
        rows = {x["name"]: x for x in look["sensors"]}
        assert rows["inlet"]["quality"] == rows["dew"]["quality"] == "refused" and rows["dew"]["error"] == "inlet is refused"


SCRIPT = """#!/bin/sh
read line && exit 3
[ -n "$SECRET" ] && exit 4
[ -e {folder}/slow ] && sleep 60
[ -e {folder}/loud ] && exec yes
cat {folder}/says || exit 5
"""


def test_commands_and_files(site, tmp_path):
    script, says, water = tmp_path / "tool", tmp_path / "says", tmp_path / "water"
    script.write_text(SCRIPT.format(folder=tmp_path))
    script.chmod(0o755)
    says.write_text("battery.charge: 100\nups.load: 23\nups.status: OL CHRG\n")
    water.write_text("supply = 22.5 degrees C\n")
    run = f"command: [{script}, an argument], every: 200ms, max_age: 3s"
    s = site(env={"SECRET": "x"}).serve([
        f"{{name: ups, quantity: on_battery, {run}, path: ups.status, when: [OB], factor_beyond: 0.25}}",
        f"{{name: load, quantity: ups_load, {run}, path: ups.load, timeout: 1s}}",
        f"{{name: loop, quantity: supply_water, file: {water}, kind: lines, path: supply, every: 200ms, max_age: 1h, high: 30, high_allowed: 40}}"], QUICK)
    look = s.factor(1)
    assert [(x["value"], x["unit"], x["source"]) for x in look["sensors"]] == [(0, "", str(script)), (23, "%", str(script)), (22.5, "C", str(water))]
    says.write_text("ups.load: 55\nups.status: OB DISCHRG\n")
    assert s.factor(0.25)["said"]["environment"]["cause"] == "ups: on_battery"
    says.write_text("ups.load: 55\nups.status: OL\n")
    s.factor(1)
    water.write_text("supply = 35.0 degrees C\n")
    s.factor(0.5)
    water.write_text("supply = 25.0\n")
    os.utime(water, (1, 1))  # nobody has written it for long
    s.until("an old file", lambda x: "seconds old" in (x["sensors"][2]["error"] or ""))
    water.write_text("supply = 25.0\n")
    s.factor(1)
    time.sleep(1)  # several looks at a file that nobody writes
    assert s.sensor("loop")["error"] is None and s.sensor("loop")["quality"] == "good"
    # What such a tool may do: fail, hang, talk without an end, be gone. The last reading stands until it is stale.
    says.unlink()
    assert "says" in s.until("it fails", lambda x: "status 5" in (x["sensors"][1]["error"] or ""))["sensors"][1]["error"]
    (tmp_path / "slow").touch()
    s.until("it hangs", lambda x: "not ended in time" in (x["sensors"][1]["error"] or ""))
    (tmp_path / "slow").unlink()
    (tmp_path / "loud").touch()
    s.until("it is loud", lambda x: "more than 65536 bytes" in (x["sensors"][1]["error"] or ""))
    script.unlink()
    look = s.until("it is gone", lambda x: "No such file" in (x["sensors"][1]["error"] or "") and x["sensors"][0]["quality"] == "stale")
    assert look["capacity_factor"] == 0.5 and look["said"]["environment"]["cause"].startswith("ups: on_battery is stale")


def test_another_configuration(site, told):
    """What was heard goes on when the configuration is read anew; a sensor that is new lowers nothing before it was asked."""
    told.says["/a"] = {"load": 85}
    told.says["/b"] = {"t": 20, "at": "2026-01-01T00:00:00Z"}
    a = f"{{name: a, quantity: feeder_load, url: {told.url}/a, path: load, every: 100ms, max_age: 30s, high: 80, high_allowed: 90}}"
    b = f"{{name: b, quantity: dry_bulb, url: {told.url}/b, path: t, time_path: at, every: 100ms, max_age: 2s, high: 27, high_allowed: 32}}"
    s = site().serve([a])
    s.factor(0.5)
    told.says["/a"] = {"load": 20}
    s.until("it waits", lambda x: (x["said"]["environment"]["cause"] or "").startswith("waits to rise after a: feeder_load is 85"))
    s.reload([a, b])
    s.until("an old reading", lambda x: len(x["sensors"]) == 2 and "seconds old" in (x["sensors"][1]["error"] or ""))
    assert s.look()["capacity_factor"] == 0.5
    told.says["/b"] = {"t": 20, "at": int(time.time()) + 3600}
    s.until("one of tomorrow", lambda x: "time to come" in x["sensors"][1]["error"])
    told.says["/b"] = {"t": 20}
    s.until("without a time", lambda x: "at is no time" in x["sensors"][1]["error"])
    s.reload([a], QUICK)
    assert len(s.factor(1)["sensors"]) == 1
    s.config.write_text(s.config.read_text().split("    environment:")[0] + "suppliers:" + s.config.read_text().split("suppliers:")[1])
    s.server.process.send_signal(signal.SIGHUP)
    s.until("it has none", lambda x: x["sensors"] == [] and x["said"]["environment"]["capacity_factor"] is None)


def test_what_a_configuration_may_say(site, told):
    s = site()
    url = f"url: {told.url}/x"
    for row, why in (
            (f"{{quantity: dry_bulb, {url}}}", "needs a 'name'"), (f"{{name: a, {url}}}", "'quantity' is missing"), (f"{{name: a, quantity: heat, {url}}}", "quantity"),
            ("{name: a, quantity: dry_bulb}", "url, file or command is missing"), (f"{{name: a, quantity: dry_bulb, {url}, file: /x}}", "one of them"),
            ("{name: a, quantity: dry_bulb, url: ftp://x/}", "no http or https URL"), ("{name: a, quantity: dry_bulb, url: http://u:p@x/}", "key_env or key_file"),
            (f"{{name: a, quantity: dry_bulb, {url}, unit: kW}}", "not told in it"), (f"{{name: a, quantity: dry_bulb, {url}, when: [x]}}", "0 or 1"),
            (f"{{name: a, quantity: dry_bulb, {url}, high: 30, high_allowed: 20}}", "must not fall"), (f"{{name: a, quantity: dry_bulb, {url}, high: 3000}}", "never reach"),
            (f"{{name: a, quantity: dry_bulb, {url}, high: warm}}", "'warm' is no number"), (f"{{name: a, quantity: dry_bulb, {url}, rate: -1}}", "rate"),
            (f"{{name: a, quantity: dry_bulb, {url}, factor_beyond: 2}}", "factor_beyond"), (f"{{name: a, quantity: dry_bulb, {url}, every: 5s, max_age: 6s}}", "twice"),
            ("{name: a, quantity: dew_point, high: 20}", "computed of a dry_bulb and a humidity"), ("{name: a, quantity: dew_point, from: [x]}", "two sensors"),
            (f"{{name: a, quantity: dry_bulb, {url}, key_env: NOT_THERE_}}", "no variable NOT_THERE_"), ("inlet", "a sensor is a map")):
        text = s.check([row])
        assert why in text, text
        assert "c.yaml:" in text or "NOT_THERE_" in text
    row = f"{{name: a, quantity: dry_bulb, {url}?key=secret, low: 18, high: 27, high_allowed: 32}}"
    assert "two sensors" in s.check([row, row])
    assert "at this altitude" in s.check([row], "    altitude_m: 6000\n    altitude_from_m: 900\n    altitude_m_per_degree: 300\n")
    assert "environment_blind" in s.check([row], "    environment_blind: 7\n")
    s.write([row], "    altitude_m: 1500\n    altitude_from_m: 900\n    altitude_m_per_degree: 300\n")
    text = s.cli("serve", "-c", s.config, "--check")
    assert "sensor   a: dry_bulb from" in text and "high 25.0 C, high_allowed 30.0 C" in text and "secret" not in text
    # A dew point that is computed is as long good as what it is computed of.
    parts = [f"{{name: air, quantity: dry_bulb, {url}, max_age: 1h}}", f"{{name: wet, quantity: humidity, {url}, max_age: 30s}}"]
    s.write([*parts, "{name: dew, quantity: dew_point, high: 14}", "{name: soon, quantity: dew_point, max_age: 5s}"])
    text = s.cli("serve", "-c", s.config, "--check")
    assert "computed of air and wet, every 1000 ms, stale after 3600000 ms, high 14.0" in text and "stale after 5000 ms" in text


def test_pue_of_two_meters(site, told):
    """What both count in the window; a meter that falls silent leaves the configured number."""
    count = {"it": 1000.0, "facility": 5000.0, "runs": True}

    def tick():
        while count["runs"]:
            count["it"] += 10
            count["facility"] += 13
            told.says["/meters"] = {"it": count["it"], "facility": count["facility"]}
            time.sleep(0.02)
    thread = threading.Thread(target=tick)
    thread.start()
    meters = [f"{{name: {n}, quantity: {n}_energy, url: {told.url}/meters, path: {n}, every: 100ms, max_age: 1s, unit: Wh}}" for n in ("it", "facility")]
    try:
        s = site().serve(meters, "    pue: 1.75\n    pue_window: 16s\n")
        first = s.look()
        assert first["pue"] == 1.75 and first["pue_measured"] is False
        look = s.until("it is measured", lambda x: x["pue_measured"])
        assert 1.2 < look["pue"] < 1.4 and look["capacity_factor"] == 1
        assert {r["name"]: r["unit"] for r in look["sensors"]} == {"it": "kWh", "facility": "kWh"}
        wait_for("the metric", lambda: 1.2 < s.server.metric("gaufre_site_pue", site="fra1") < 1.4)
        assert "measured" in s.cli("site", "show", "fra1", "--server", s.server.url)
        told.says["/meters"] = 500
    finally:
        count["runs"] = False
        thread.join()
    told.says["/meters"] = 500
    s.until("as configured", lambda x: x["pue"] == 1.75 and not x["pue_measured"])
