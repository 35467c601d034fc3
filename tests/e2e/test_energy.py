"""Energy: what requests are told they used, and what nobody used, is what the meter said; whatever the meter does, the
server answers."""
import base64
import contextlib
import json
import os
import re
import signal
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serving import Server, model_path, wait_for

TOP = 262143328850


class Counters:
    """A folder as the kernel shows the processor's counters. They are written while the server is stopped, so that it
    never reads half of a number."""

    def __init__(self, root, **domains):
        self.root, self.uj, self.bumped = root, {}, 0
        for i, (name, uj) in enumerate(domains.items()):
            folder = root / f"intel-rapl:{i}"
            folder.mkdir(parents=True)
            (folder / "name").write_text(name.replace("_", "-") + "\n")
            (folder / "max_energy_range_uj").write_text(f"{TOP}\n")
            (folder / "energy_uj").write_text(f"{uj:020d}\n")
            self.uj[folder] = uj

    @contextlib.contextmanager
    def stopped(self, process):
        process.send_signal(signal.SIGSTOP)
        wait_for("stopped", lambda: all(
            open(f"/proc/{process.pid}/task/{t}/stat").read().rsplit(")", 1)[1].split()[0] == "T"
            for t in os.listdir(f"/proc/{process.pid}/task")))
        yield
        process.send_signal(signal.SIGCONT)

    def write(self, folder, text):
        with open(folder / "energy_uj", "r+b") as f:
            f.write(text)

    def lie(self, process, domain, text):
        with self.stopped(process):
            self.write(self.root / domain, text)

    def bump(self, process, uj):
        """Add uj to each counter; those of cores do not count."""
        with self.stopped(process):
            for folder, was in self.uj.items():
                self.uj[folder] = (was + uj) % TOP
                self.write(folder, b"%020d\n" % self.uj[folder])
                if (folder / "name").read_text() != "core\n":
                    self.bumped += uj


def joules(server, name, **labels):
    """In microjoules, exactly."""
    total = Decimal(0)
    for line in server.get("/metrics")[2].decode().splitlines():
        if line.startswith((name + " ", name + "{")) and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += Decimal(line.rsplit(" ", 1)[1])
    return int(total * 1000000)


def books(server):
    text = server.get("/metrics")[2].decode()

    def total(name):
        return sum(int(Decimal(line.rsplit(" ", 1)[1]) * 1000000) for line in text.splitlines()
                   if line.startswith(name + "{"))
    return tuple(map(total, ("gaufre_energy_metered_joules_total", "gaufre_energy_joules_total",
                             "gaufre_energy_unattributed_joules_total")))


def closes(server):
    """While nobody works, all that was metered is accounted for."""
    metered, used, nobodys = books(server)
    return metered and metered == used + nobodys


def stop(server):
    """At the end all is put right that was guessed between readings."""
    assert server.stop() == 0, server.read_log()[-4000:]
    line, = re.findall(r" energy (boundary=.*)", server.read_log())
    n = {k: int(v) for k, v in re.findall(r"(\w+)_uj=(-?\d+)", line)}
    assert n["attributed"] + n["unattributed"] == n["metered"] > 0, line


def config(tmp_path, **energy):
    path = tmp_path / "c.yaml"
    path.write_text(f"energy: {json.dumps(energy)}\n")
    return path


@pytest.mark.sanitize
def test_counters_of_the_processor(tmp_path):
    root = tmp_path / "powercap"
    counters = Counters(root, package_0=1000, core=5, package_1=TOP - 7000000, dram=3)
    server = Server(str(tmp_path), "-c", config(tmp_path, kind="rapl", root=str(root)))
    ended, told = threading.Event(), []

    def ask():
        while not ended.is_set():
            status, _, answer = server.chat("Count to a hundred.", max_tokens=16)
            assert status == 200
            told.append(answer["usage"]["energy"])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_for("energy of requests", lambda: counters.bump(server.process, 2000000) or books(server)[1] > 0)
        for _ in range(4):  # package-1 wraps
            counters.bump(server.process, 2000000)
    finally:
        ended.set()
        thread.join()
    wait_for("closes", lambda: server.idle() and closes(server))
    assert books(server)[0] == counters.bumped
    # The sum of what answers were told, to the microjoule.
    assert sum(round(t["joules"] * 1000000) for t in told) == books(server)[1]
    assert all((t["boundary"], t["method"], t["uncertainty"]) == ("accelerator", "rapl", 0.05) for t in told)
    assert joules(server, "gaufre_energy_joules_total", boundary="accelerator", method="rapl") > 0
    assert server.metric("gaufre_energy_meter_failures_total") == 0
    counters.bump(server.process, 1234567)  # nobody works
    wait_for("nobody's", lambda: books(server)[0] == counters.bumped and closes(server))

    # It lies: goes back, beyond its top, holds no number, more than any machine draws. Then it counts on.
    before = counters.bumped
    for lie in (b"%020d\n" % 1, b"%020d\n" % (TOP + 1), b"-0000000000000000005\n", b"nan                 \n"):
        failed = server.metric("gaufre_energy_meter_failures_total")
        counters.lie(server.process, "intel-rapl:0", lie)
        wait_for("refused", lambda: server.metric("gaufre_energy_meter_failures_total") > failed)
        assert server.chat("Hello", max_tokens=2)[0] == 200
    wait_for("closes", lambda: books(server)[0] == before and closes(server))
    counters.lie(server.process, "intel-rapl:0", b"%020d\n" % 7)
    counters.uj[root / "intel-rapl:0"] = 7
    wait_for("believed again", lambda: counters.bump(server.process, 1000) or books(server)[0] > before)
    wait_for("closes", lambda: server.idle() and closes(server))
    stop(server)
    assert "energy meter" in server.read_log() and "method=rapl" in server.read_log()


@pytest.mark.sanitize
def test_counters_that_go_away(tmp_path):
    """Said once, nothing is made up meanwhile, and they are found again; the next start takes the model and says so."""
    root = tmp_path / "powercap"
    counters = Counters(root, package_0=1000)
    path = config(tmp_path, kind="auto", root=str(root))
    server = Server(str(tmp_path), "-c", path)

    def told():
        status, _, answer = server.chat("Hello", max_tokens=2)
        assert status == 200
        return answer["usage"].get("energy")

    def is_told():
        counters.bump(server.process, 1000)
        return told()
    assert wait_for("told", is_told)["method"] == "rapl"
    (root / "intel-rapl:0/energy_uj").write_text("")  # as a file of the kernel that is gone, which reads as none
    (root / "intel-rapl:0").rename(tmp_path / "away")
    wait_for("not told", lambda: not told())
    wait_for("closes", lambda: server.idle() and closes(server))
    before = books(server)[0]
    assert before == counters.bumped
    (tmp_path / "away").rename(root / "intel-rapl:0")
    counters.write(root / "intel-rapl:0", b"%020d\n" % 5)
    counters.uj[root / "intel-rapl:0"] = 5
    wait_for("told again", is_told)
    wait_for("closes", lambda: server.idle() and closes(server))
    wait_for("said", lambda: "energy meter reads again" in server.read_log())
    stop(server)
    assert server.read_log().count("energy meter fails") == server.read_log().count("energy meter reads again") == 1
    (root / "intel-rapl:0").rename(tmp_path / "away")
    server = Server(str(tmp_path), "-c", path)
    energy = wait_for("told", told)
    assert (energy["method"], energy["uncertainty"]) == ("model", 0.5)
    assert server.stop() == 0


class Meter:
    """A meter that is asked over HTTP: `answer` is a body, or None for an error."""

    def __init__(self, answer):
        meter = self
        self.answer, self.heads, self.asked = answer, [], 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                meter.asked += 1
                meter.heads.append(dict(self.headers))
                body = meter.answer() if callable(meter.answer) else meter.answer
                self.send_response(200 if body is not None else 503)
                body = body or b""
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/meter?id=1"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def meter():
    m = Meter(b'{"emeters": [{"total": 0}, {"total": "1000.5"}]}')
    yield m
    m.close()


@pytest.mark.sanitize
def test_feed_that_counts(tmp_path, meter):
    server = Server(str(tmp_path), "-c", config(tmp_path, kind="feed", url=meter.url, path="emeters.1.total", unit="J",
                                                interval="50ms"))
    failures = "gaufre_energy_meter_failures_total"
    n = meter.asked
    wait_for("asked", lambda: meter.asked > n + 2)
    assert books(server)[0] == 0
    meter.answer = b'{"emeters": [0, {"total": 1012.25}]}'
    wait_for("counted", lambda: books(server)[0] == 11750000)

    # What cannot be: each is refused, and the server answers.
    for lie in (None, b"", b"{", b'{"emeters": []}', b'{"emeters": [0, {"total": NaN}]}', b'{"emeters": [0, {"total": 1e300}]}',
                b'{"emeters": [0, {"total": -3}]}', b'{"emeters": [0, {"total": "1 J"}]}', b'{"emeters": [0, {"total": null}]}',
                b"[" * 5000, b" " * 70000):
        before = server.metric(failures)
        meter.answer = lie
        wait_for(f"refused {lie[:40] if lie else lie}", lambda: server.metric(failures) > before)
    assert server.chat("Hello", max_tokens=2)[0] == 200
    assert books(server)[0] == 11750000
    assert server.read_log().count("energy meter fails") == 1  # once, not each time
    meter.answer = b'{"emeters": [0, {"total": 1013.25}]}'
    wait_for("counts on", lambda: books(server)[0] == 12750000)
    meter.answer = b'{"emeters": [0, {"total": 5}]}'  # begins again
    before = server.metric(failures)
    wait_for("refused", lambda: server.metric(failures) > before)
    assert "its counter went back" in server.read_log()
    meter.answer = b'{"emeters": [0, {"total": 6}]}'
    wait_for("counts on", lambda: books(server)[0] == 13750000)
    assert server.metric("gaufre_energy_metered_joules_total", boundary="it", method="feed") == 13.75
    assert server.stop() == 0


@pytest.mark.sanitize
def test_redfish(tmp_path, meter):
    meter.answer = b'{"PowerWatts": {"Reading": 250.5}, "EnergyJoules": null, "EnergykWh": {}}'
    server = Server(str(tmp_path), "-c", config(tmp_path, kind="redfish", url=meter.url, interval="50ms", key_env="BMC",
                                                boundary="facility", uncertainty=30), env={"BMC": "root:calvin"})
    wait_for("power", lambda: server.metric("gaufre_power_watts", boundary="facility", method="redfish") == 250.5)
    want = "Basic " + base64.b64encode(b"root:calvin").decode()
    assert all(h.get("Authorization") == want for h in meter.heads)
    wait_for("counted", lambda: books(server)[0] > 0)

    # Energy of requests, and it stays within what an interval may be off.
    def used():
        assert server.chat("Count.", max_tokens=8)[0] == 200
        return books(server)[1] > 0
    wait_for("energy of requests", used)
    meter.answer = b'{"EnergykWh": {"Reading": 5}}'  # the reading that it had at first is missing
    before = server.metric("gaufre_energy_meter_failures_total")
    wait_for("refused", lambda: server.metric("gaufre_energy_meter_failures_total") > before)
    stop(server)
    assert "calvin" not in server.read_log()


@pytest.mark.sanitize
def test_what_is_wrong_is_said(cli, tmp_path):
    for energy, said in (({"kind": "wind"}, "kind"), ({"kind": "feed"}, "'url' is missing"), ({"watts": 3}, "watts"),
                         ({"kind": "feed", "url": "ftp://x/y"}, "no http"), ({"curve": ["1=3", "1=4"]}, "must grow"),
                         ({"idle_watts": "much"}, "no number of watts"), ({"curve": ["1=1000000.1"]}, "no number of watts"),
                         ({"kind": "feed", "url": "http://a:b@c/"}, "password"),
                         ({"kind": "feed", "url": "http://x/", "key_env": "NOT_THERE"}, "NOT_THERE")):
        r = cli("serve", model_path(), "-c", config(tmp_path, **energy), "--check")
        assert r.returncode == 2 and said in r.stderr, (energy, r.stderr)
    r = cli("serve", model_path(), "-c", config(tmp_path, kind="model", idle_watts="2500", curve=["64=1000000"]), "--check")
    assert r.returncode == 0, r.stderr  # a machine with accelerators, and the greatest that is a machine's
    r = cli("serve", model_path(), "-c", config(tmp_path, kind="rapl", root=str(tmp_path / "none")), "--port", "0")
    assert r.returncode == 1 and "virtual machines have none" in r.stderr
    assert cli("energy", "what").returncode == 2


def test_show_calibrate_and_bench(cli, env, meter, tmp_path):
    meter.answer = b"42"
    path = config(tmp_path, kind="feed", url=meter.url, interval="50ms")
    shown = {m["meter"]: m for m in json.loads(cli("energy", "show", "-c", path, "--json").stdout)}
    assert shown["feed"]["used"] and shown["feed"]["watts"] == 42 and shown["feed"]["boundary"] == "it"
    assert shown["model"]["available"] and not shown["model"]["used"] and shown["model"]["uncertainty"] == 0.5
    assert "* feed " in cli("energy", "-c", path).stdout
    r = cli("energy", "calibrate", "-c", config(tmp_path, kind="model"))
    assert r.returncode == 1 and "no meter to calibrate against" in r.stderr
    path = config(tmp_path, kind="feed", url=meter.url, interval="50ms")

    found = json.loads(cli("energy", "calibrate", "-c", path, "--seconds", "1", "--json").stdout)
    assert found["method"] == "feed" and found["error"] <= 0.001 and found["loads"][0]["threads"] == 0
    assert all(abs(p["watts"] - 42) < 0.01 for p in found["curve"])
    model = config(tmp_path, kind="model")
    used, = (m for m in json.loads(cli("energy", "-c", model, "--json").stdout) if m["used"])
    assert used["boundary"] == "it" and abs(used["uncertainty"] - 0.02) <= 0.001 and "calibrated against feed" in used["reads"]
    assert abs(used["watts"] - 42) < 0.1

    # bench: at 42 W, whatever it does, a token takes 42 J over the tokens of a second.
    row, = json.loads(cli("bench", model_path(), "-p", "32", "-n", "0", "-r", "1", "--json", "--config", model).stdout)
    assert row["energy"]["boundary"] == "it" and row["energy"]["method"] == "model"
    assert row["joules_per_token"] * row["median"] > 0.9 * 42
    assert "J/token" in cli("bench", model_path(), "-p", "16", "-n", "0", "-r", "1", "--config", model).stdout
    off = config(tmp_path, kind="off")
    row, = json.loads(cli("bench", model_path(), "-p", "16", "-n", "0", "-r", "1", "--json", "--config", off).stdout)
    assert "joules_per_token" not in row
    meter.answer = None
    r = cli("energy", "calibrate", "-c", config(tmp_path, kind="feed", url=meter.url, interval="50ms", timeout="1s"))
    assert r.returncode == 1 and "the meter tells nothing" in r.stderr
