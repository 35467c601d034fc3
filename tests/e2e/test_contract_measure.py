"""gaufre contract measure: a basket against a real server, at several loads, and servers that cannot be measured."""
import http.server
import json
import subprocess
import threading
from fractions import Fraction

import pytest

from mock_upstream import chunk, words
from serving import MODEL, wait_for

pytestmark = pytest.mark.sanitize
CONTRACT = f"""
contract: acme
from: 2026-01-01
until: 2030-01-01
signed: 2026-01-01
currency: USD
supplier: {{name: s}}
customer: {{name: c}}
basket:
  - {{model: {MODEL}, input: 96, output: 6, cached: 0.7, weight: 3, ttft_ms: 600000}}
  - {{model: {MODEL}, input: 40, output: 4, tpot_ms: 600000}}
tranches:
  - {{name: first, mw: 0.000100, site: here, hardware: laptop, target: 2026-03-01, price: 100}}
"""


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
    run.where, run.path = where, str(path)
    return run


def metered(start, tmp_path, **energy):
    path = tmp_path / "gaufre.yaml"
    path.write_text(f"energy: {json.dumps(energy)}\n")
    return start("--config", path)


def recorded(store):
    return [json.loads(line) for line in store("contract", "measurements", "acme", "--json").splitlines()]


def test_measured(cli, start, store, tmp_path):
    server = metered(start, tmp_path, kind="model", boundary="it", idle_watts="20", curve=["1=30", "2=40"])
    args = ("contract", "measure", "acme", "--tranche", "first", "--url", server.url, "--loads", "1,3", "--for", "1s")
    shown = json.loads(store(*args, "--json", "--record"))
    raw = shown["record"]
    assert (raw["contract_version"], raw["site"], raw["hardware"], raw["tranche"]) == (1, "here", "laptop", "first")
    assert cli("--version").stdout.split()[1] == raw["engine"] and raw["basket"][0]["fingerprint"].startswith("fp_")
    assert raw["energy"] == {"method": "model", "boundary": "it", "pue_permille": 0}
    assert [x["concurrency"] for x in raw["levels"]] == [1, 3]
    total = 0
    for level, told in zip(raw["levels"], shown["levels"]):
        for row, p, limit in zip(raw["basket"], level["rows"], (3, 2)):
            assert p["requests"] >= level["concurrency"] and p["output_tokens"] == p["requests"] * row["output"]
            assert abs(p["input_tokens"] / p["requests"] - row["input"]) <= limit
            assert 0 < p["window_tokens"] <= p["output_tokens"] and p["window_us"] >= 1_000_000
            assert 0 < p["ttft_p50_us"] <= p["ttft_p99_us"] and 0 < p["tpot_p50_us"] <= p["tpot_p99_us"]
            assert p["energy_uj"] > 0 and p["uncertainty_permille"] == 500
            total += p["energy_uj"]
        # What two rows share, the cache has; nothing else is shared but the form of the chat.
        assert level["rows"][0]["cached_tokens"] >= 32 * (level["rows"][0]["requests"] - 1) > 0
        assert level["rows"][1]["cached_tokens"] == 0
        rate = [Fraction(p["window_tokens"] * 1_000_000, p["window_us"]) for p in level["rows"]]
        assert told["tokens_per_second"] == pytest.approx(float(4 / (3 / rate[0] + 1 / rate[1])), abs=0.01)
        assert told["keeps_limits"]
    # The server knows of all these joules, and of those of the prompts that were tried.
    assert server.metric("gaufre_energy_joules_total") >= total / 1e6 * 0.999
    best = min(shown["levels"], key=lambda x: x["joules_per_token"])
    entitled, = shown["entitlement"]
    assert entitled["load"] == best["concurrency"]
    assert entitled["tokens_per_second"] == pytest.approx(100 / best["joules_per_token"], rel=1e-4)
    kept, = recorded(store)
    assert kept["record"] == raw and kept["entitlement"] == shown["entitlement"]
    assert cli("audit", "--changes", "-a", store.where).returncode == 0
    tranche = json.loads(store("tranche", "show", "acme", "first", "--json"))
    assert tranche["measured"] == "yes" and tranche["tokens_per_second"] == entitled["tokens_per_second"]
    # Its output can be recorded elsewhere.
    (tmp_path / "out.json").write_text(json.dumps(shown))
    store("contract", "record", str(tmp_path / "out.json"))
    assert recorded(store)[1]["record"] == raw


def test_energy_that_is_not_known(start, store, tmp_path):
    server = metered(start, tmp_path, kind="off")
    args = ("contract", "measure", store.path, "--site", "here", "--hardware", "laptop", "--url", server.url + "/v1/", "--loads", "2",
            "--for", "1s", "--engine", "9.9")
    shown = json.loads(store(*args, "--json"))
    assert shown["record"]["engine"] == "9.9" and shown["record"]["contract_version"] == 0
    assert shown["record"]["energy"]["method"] == "unknown" and shown["record"]["levels"][0]["rows"][0]["energy_uj"] is None
    assert shown["levels"][0]["joules_per_token"] is None and shown["levels"][0]["tokens_per_second"] > 0
    assert shown["entitlement"][0]["tokens_per_second"] is None and "not known" in shown["entitlement"][0]["why"]
    text = store(*args)
    assert "energy: not known" in text and "R = W / sum(w_i / R_i)" in text
    # Power that somebody states.
    stated = json.loads(store(*args, "--json", "--watts", "50"))
    assert stated["record"]["energy"]["method"] == "stated"
    level, = stated["levels"]
    assert level["joules_per_token"] == pytest.approx(50 / level["tokens_per_second"], rel=1e-3)
    assert stated["entitlement"][0]["tokens_per_second"] == pytest.approx(2 * level["tokens_per_second"], rel=1e-3)
    assert recorded(store) == []


def test_a_server_that_dies(gaufre, env, start, store):
    server = start()
    measuring = subprocess.Popen([gaufre, "contract", "measure", "acme", "--tranche", "first", "--url", server.url, "--loads", "2",
                                  "--for", "20m", "--record", "-a", store.where], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True)
    try:
        wait_for("load", lambda: server.metric("vllm:num_requests_running") >= 2)
        server.process.kill()
        out, told = measuring.communicate(timeout=300)
    finally:
        measuring.kill()
    assert measuring.returncode == 1 and out == ""
    assert f"model {MODEL} at load 2: " in told and ("broke" in told or "Cannot connect" in told)
    assert recorded(store) == []


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers a request with the events of the moment, or refuses it."""
    events, status = [], 200

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        n = len(asked["messages"][0]["content"].split())
        events = self.events(n, asked) if callable(self.events) else self.events
        status = events if isinstance(events, int) else 200
        self.send_response(status)
        self.end_headers()
        if status != 200:
            self.wfile.write(json.dumps({"error": {"message": "come back later"}}).encode())
            return
        for e in events:
            self.wfile.write(f"data: {e}\n\n".encode())

    def do_GET(self):
        self.send_response(404)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def odd():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def usage(n, out=4, **more):
    return json.dumps({"choices": [], "usage": {"prompt_tokens": n, "completion_tokens": out, **more}})


def test_servers_that_cannot_be_measured(store, odd, monkeypatch):
    def fails(events, *more):
        monkeypatch.setattr(Odd, "events", staticmethod(events) if callable(events) else events)
        return store("contract", "measure", "acme", "--site", "here", "--url", odd, "--loads", "1", "--for", "1s", "--record",
                     *(more or ("--engine", "1")), ok=False)

    def first_ones(then):
        """The prompts are tried with success; what comes then is this."""
        seen = []

        def events(n, asked):
            seen.append(n)
            return words("a b c d", usage=False) + [usage(n)] if len(seen) <= 6 else then
        return events

    assert "say --engine" in fails([], "--for", "2s")
    assert "come back later" in fails(lambda n, asked: 429)
    assert "ended without telling its tokens" in fails(words("a b c", usage=False))
    assert "no tokens that can be seen" in fails([chunk({}), usage(100)])
    assert "an event of the answer" in fails(["{broken"])
    assert "a prompt of 96 tokens cannot be made; the nearest has 7" in fails(words("a b", usage=False) + [usage(7)])
    assert "the answer broke off: it burns" in fails(first_ones([chunk({"content": "a"}), json.dumps({"error": {"message": "it burns"}})]))
    assert "at load 1: " in fails(first_ones(503)) and recorded(store) == []


def test_another_server(store, odd, monkeypatch):
    """It does not know ignore_eos, tells its energy in a boundary of its own, and ends early."""
    def events(n, asked):
        if "ignore_eos" in asked:
            return 400
        energy = {"joules": 2.5, "boundary": "accelerator", "method": "rapl", "uncertainty": 0.05}
        return words("a b c", usage=False) + [usage(n, 3, energy=energy)]
    monkeypatch.setattr(Odd, "events", staticmethod(events))
    shown = json.loads(store("contract", "measure", "acme", "--tranche", "first", "--url", odd, "--loads", "2", "--for", "1s", "--engine",
                             "x", "--json"))
    p, q = shown["record"]["levels"][0]["rows"]
    assert p["input_tokens"] == 96 * p["requests"] and p["output_tokens"] == 3 * p["requests"]
    assert q["energy_uj"] == 2_500_000 * q["requests"] and shown["levels"][0]["joules_per_token"] == pytest.approx(2.5 / 3, abs=1e-6)
    assert "accelerators alone" in shown["entitlement"][0]["why"]


def test_asked_wrongly(store):
    def fails(*args):
        return store("contract", "measure", *args, ok=False)
    url = ("--url", "http://127.0.0.1:1")
    assert "say --url" in fails("acme", "--site", "x")
    assert "say where" in fails("acme", *url)
    assert "has no tranche 'none'" in fails("acme", "--tranche", "none", *url)
    assert "Cannot connect" in fails("acme", "--site", "x", *url)
    assert "may have no password" in fails("acme", "--site", "x", "--url", "http://me:secret@127.0.0.1:1/v1")
    assert "not a file" in fails(store.path, "--record", "--site", "x", *url)
    for time in "5", "0s", "-1s", "32d", "1000h", "1sx":
        assert "--for wants" in fails("acme", "--site", "x", "--for", time, *url)
    for loads in "0", "a", "2000", ",".join("1" * 17):
        assert "--loads" in fails("acme", "--site", "x", "--loads", loads, *url)
