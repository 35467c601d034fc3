"""Idle nodes of a site are lent to Slurm, and come back when the site has work: with a real Slurm."""
import subprocess
import threading

import pytest

import slurm_cluster
from finding import find_gaufre
from serving import wait_for
from test_sites import CHAT_DONE, world  # noqa: F401  fixture

pytestmark = pytest.mark.sanitize
TIMES = "idle_for: 1s, back_within: 20s, every: 500ms, timeout: 60s"


@pytest.fixture
def slurm(tmp_path):
    why = slurm_cluster.missing()
    if why:
        pytest.skip(why)
    s = slurm_cluster.Slurm(tmp_path)
    try:
        yield s.start()
    finally:
        s.stop()


def sites(slurm, more=TIMES):  # noqa: F811
    return (f"sites:\n  - name: fra1\n    energised_mw: 3\n    slurm: {{partition: idle, nodes: [node1, node2, node3], node_mw: 0.5,"
            f" conf: {slurm.conf}, {more}}}\n  - {{name: osl1}}\n")


def nodes(w):
    return w.show("fra1")["nodes"]


def count(w, state):
    return nodes(w)[state]


class Work:
    """Requests that occupy places until they are let go."""

    def __init__(self, w, n):
        self.go = threading.Event()
        w.mocks["a"].script = lambda a: (self.go.wait(300), a.reply(200, CHAT_DONE))
        self.got = []
        self.threads = [threading.Thread(target=lambda: self.got.append(w.ask()[:2])) for _ in range(n)]
        for t in self.threads:
            t.start()

    def end(self):
        self.go.set()
        for t in self.threads:
            t.join()
        return self.got


def test_nodes_go_and_come_back(world, slurm):  # noqa: F811
    """A job runs on a lent node; work comes, it is put back, and runs again when the node is lent anew."""
    slurm.drain(*slurm.nodes)
    w = world(sites(slurm), more={"a": "    concurrency: 6\n"})
    w.cli("tenant", "set", "acme", "--allowed-sites", "fra1")
    w.serve()
    wait_for("two of three are lent", lambda: count(w, "lent") == 2)
    job = slurm.submit()
    wait_for("the job runs", lambda: slurm.is_running(job))
    site = w.show("fra1")
    assert site["places"] == 2 and site["capacity_factor"] == 1
    assert site["nodes"]["places_share"] == pytest.approx(1 / 3, abs=1e-5) and site["nodes"]["lent_mw"] == 1
    work = Work(w, 6)
    wait_for("all nodes are back", lambda: count(w, "serving") == 3)
    wait_for("all run", lambda: w.show("fra1")["running"] == 6)
    assert slurm.job(job)[0] == "PENDING" and slurm.job(job)[2] == 1
    assert all("DRAIN" in s for s in slurm.states().values())
    assert w.show("fra1")["places"] == 6 and nodes(w)["cause"] == "own work"
    assert work.end() == [(200, "fra1")] * 6
    wait_for("it is lent anew", lambda: count(w, "lent") == 2)
    wait_for("the job runs again", lambda: slurm.is_running(job), 120)
    log = w.server.read_log()
    assert "site node's jobs requeued" in log and "site node not back" not in log
    assert "nodes for Slurm" in w.site("show", "fra1")


@pytest.mark.parametrize("slurm_map,why", [
    ("[]", "c.yaml:1:26: slurm: wants a map"),
    ("{nodes: [a, b]}", "1:26: site a: partition: wants a name"),
    ("{partition: x, nodes: [a]}", "1:48: site a: nodes: wants two at least"),
    ("{partition: x, nodes: [a, a]}", "nodes: one is there twice"),
    ("{partition: x, nodes: [a, 'b c']}", "nodes: a name is letters, digits"),
    ("{partition: x, nodes: [a, '-b']}", "nodes: a name is letters, digits"),
    ("{partition: x, nodes: [a, b], keep: 2}", "1:62: site a: keep: is as many as there are"),
    ("{partition: x, nodes: [a, b], keep: 0}", "keep"),
    ("{partition: x, nodes: [a, b], node_mw: 0.6}", "node_mw: so many nodes have more than is energised"),
    ("{partition: x, nodes: [a, b], node_mw: -1}", "node_mw: '-1' is no number"),
    ("{partition: x, nodes: [a, b], every: 1ms}", "every"),
    ("{partition: x, nodes: [a, b], colour: red}", "colour"),
    ("{partition: x, nodes: [a, b]}}, {name: b, slurm: {partition: x, nodes: [c, b]}", "site b: node b is one of site a"),
])
def test_what_is_refused(tmp_path, slurm_map, why):
    (tmp_path / "c.yaml").write_text(f"sites: [{{name: a, slurm: {slurm_map}, energised_mw: 1}}]\nsuppliers: [{{name: s, base_url: 'http://127.0.0.1:1/v1', models: [m]}}]\n")
    r = subprocess.run([find_gaufre(), "serve", "-c", tmp_path / "c.yaml", "--check", "--ledger", "off"], capture_output=True, text=True, check=False)
    assert r.returncode == 2 and why in r.stderr, r.stderr
