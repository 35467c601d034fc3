"""What Prometheus makes of /metrics, and of the boards and rules in deploy/."""
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest
import yaml

from mock_upstream import Mock
from serving import MODEL, Server, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))
from deploy_names import board_queries  # noqa: E402

needs = {tool: pytest.mark.skipif(not shutil.which(tool), reason=f"{tool} is not installed (Debian: prometheus)")
         for tool in ("prometheus", "promtool")}
# A colon is for names that rules make; vLLM's have one all the same, and its boards look for these.
VLLM = re.compile(r"^vllm:\w+ metric names should not contain ':'$")


def fail(a):
    a.reply(500, {"error": {"message": "broken"}})


@pytest.fixture
def busy(tmp_path):
    """A server with an engine and two suppliers, one of which fails, after a few requests of two tenants."""
    mocks = [Mock(fail), Mock()]
    (tmp_path / "c.yaml").write_text("suppliers:\n" + "".join(
        f"  - {{name: m{i}, base_url: '{m.url}', models: [far]}}\n" for i, m in enumerate(mocks)) +
        "sites: [{name: here, contracted_mw: 2, energised_mw: 1, pue: 1.2, carbon: 380, carbon_market: 20}]\n"
        "site: here\nroutes: [{route: order}]\ntenants: [{name: acme}, {name: lab}]\nmetrics: local\n"
        "api_keys: [{name: alice, tenant: acme, env: ALICE}, {name: bob, tenant: lab, env: BOB}]\n")
    s = Server(str(tmp_path), "-c", tmp_path / "c.yaml", env={"ALICE": "a" * 24, "BOB": "b" * 24})
    for key, n, more in (("a", 3, {"stream": True}), ("b", 1, {}), ("b", 1, {"temperature": 99}),
                         ("b", 1, {"model": MODEL, "max_tokens": 3})):
        for _ in range(n):
            s.request("POST", "/v1/chat/completions", {"model": "far", "messages": [{"role": "user", "content": "hi"}], **more},
                      {"Authorization": f"Bearer {key * 24}"})
    wait_for("booked", lambda: s.metric("gaufre_ledger_rows_total") == 5 and s.metric("gaufre_ledger_rows_in_journal") == 0)
    yield s
    s.stop()
    for m in mocks:
        m.close()


def test_what_is_counted(busy):
    m = busy.metric
    assert m("gaufre_tenant_requests_total", tenant="acme") == 3 and m("gaufre_tenant_failed_total", tenant="acme") == 0
    assert m("gaufre_tenant_requests_total", tenant="lab") == 3 and m("gaufre_tenant_failed_total", tenant="lab") == 1
    assert m("gaufre_tenant_prompt_tokens_total", tenant="acme") == 33
    assert m("gaufre_tenant_generation_tokens_total", tenant="acme") == 12
    assert m("gaufre_supplier_errors_total", supplier="m0/far") >= 1
    assert m("gaufre_supplier_errors_total", supplier="m0/far") == m("gaufre_supplier_requests_total", supplier="m0/far")
    assert m("gaufre_supplier_requests_total", supplier="m1/far") == 4
    assert m("gaufre_supplier_errors_total", supplier="m1/far") == 0
    assert m("gaufre_supplier_time_to_first_token_seconds_count", supplier="m1/far") == 3  # the streams
    assert m("gaufre_supplier_capacity", supplier="m1/far") == 64
    assert m("gaufre_tier_requests_total", tier="default") == 5 and m("gaufre_tier_under_way") == 0
    assert m("gaufre_ledger_lag_seconds") == 0


@needs["promtool"]
def test_promtool_is_content(busy):
    r = subprocess.run(["promtool", "check", "metrics"], input=busy.get("/metrics")[2], capture_output=True, check=False)
    complaints = [line for line in (r.stdout + r.stderr).decode().splitlines() if line and not VLLM.match(line)]
    assert not complaints and r.returncode in (0, 3)


class Prometheus:
    """A real one, of the test's own, with the project's configuration and another target and interval."""

    def __init__(self, folder, target):
        folder.mkdir()
        config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(ROOT / "deploy/prometheus/rules.yml", folder)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def ask(self, path, **more):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(more)
        try:
            with urllib.request.urlopen(url, timeout=60) as a:
                return json.load(a)["data"]
        except urllib.error.HTTPError as e:
            with e:
                if e.code == 503:  # it starts
                    return None
                raise AssertionError(e.read().decode()) from None
        except OSError:
            assert self.process.poll() is None, pathlib.Path(self.log.name).read_text()
            return None

    def query(self, expr):
        return self.ask("query", query=expr)["result"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def prometheus(tmp_path):
    made = []

    def make(target):
        made.append(Prometheus(tmp_path / "prometheus", target))
        return made[0]

    yield make
    for p in made:
        p.close()


def scraped(p):
    targets = p.ask("targets")
    up = targets and [t for t in targets["activeTargets"] if t["health"] == "up"]
    return up and p.query("sum_over_time(up[5m]) >= 3")  # rates want two


def filled(expr):
    """As Grafana sends it, with everything chosen."""
    for name, value in (("$__rate_interval", "5m"), ("$instance", ".*"), ("$model", ".*")):
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


@needs["prometheus"]
def test_boards_and_rules_in_a_real_prometheus(busy, prometheus):
    p = prometheus(f"127.0.0.1:{busy.port}")
    wait_for("scraped", lambda: scraped(p))
    assert p.query("gaufre_build_info") and p.query("gaufre_tenant_requests_total{tenant=\"acme\"} == 3")
    n = 0
    for f in sorted((ROOT / "deploy/grafana").glob("*.json")):
        for where, expr in board_queries(json.loads(f.read_text())):
            if expr.startswith("label_values("):
                expr, label = re.fullmatch(r"label_values\((.*), (\w+)\)", expr).groups()
                found = p.query(filled(expr))
                assert found and all(label in s["metric"] for s in found), where
            else:
                assert p.query(filled(expr)), where
            n += 1
    assert n > 50
    wait_for("evaluated", lambda: all(r["health"] != "unknown" for g in p.ask("rules")["groups"] for r in g["rules"]))
    rules = [r for g in p.ask("rules")["groups"] for r in g["rules"]]
    assert len(rules) > 10 and not [r for r in rules if r["health"] != "ok"]
    assert {r["name"] for r in rules if r["state"] == "firing"} == set()
