"""Idle nodes of a site are lent to Slurm, and come back when the site has work: with a real Slurm."""
import fcntl
import os
import subprocess
import threading

import pytest

import slurm_cluster
from finding import find_gaufre
from serving import wait_for
from test_curtailment import moment
from test_sites import CHAT_DONE, world  # noqa: F401  fixture

pytestmark = pytest.mark.sanitize
TIMES = "idle_for: 1s, back_within: 20s, every: 500ms, timeout: 60s"


@pytest.fixture
def slurm():
    why = slurm_cluster.missing()
    if why:
        pytest.skip(why)
    with open(f"/tmp/gaufre-test-slurm-{os.geteuid()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one on a host at a time: two would not get along
        s = slurm_cluster.Slurm()
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
    slurm.runs(job)
    site = w.show("fra1")
    assert site["places"] == 2 and site["capacity_factor"] == 1
    assert site["nodes"]["places_share"] == pytest.approx(1 / 3, abs=1e-5) and site["nodes"]["lent_mw"] == 1
    states = {s: w.server.metric("gaufre_site_nodes", site="fra1", state=s) for s in ("serving", "lent", "returning", "withheld")}
    assert states == {"serving": 1, "lent": 2, "returning": 0, "withheld": 0} and w.server.metric("gaufre_site_slurm_up", site="fra1") == 1
    work = Work(w, 6)
    wait_for("all nodes are back", lambda: count(w, "serving") == 3)
    wait_for("all run", lambda: w.show("fra1")["running"] == 6)
    assert slurm.job(job)[0] == "PENDING" and slurm.job(job)[2] == 1
    assert all("DRAIN" in s for s in slurm.states().values())
    assert w.show("fra1")["places"] == 6 and nodes(w)["cause"] == "own work"
    assert work.end() == [(200, "fra1")] * 6
    wait_for("it is lent anew", lambda: count(w, "lent") == 2)
    slurm.runs(job)
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


def test_slurm_is_away(world, slurm):  # noqa: F811
    """Its controller is killed in the middle: what is lent stays lent, requests go on, a restart is cautious, and all is well when it is back."""
    slurm.drain(*slurm.nodes)
    w = world(sites(slurm, TIMES.replace("timeout: 60s", "timeout: 10s")), more={"a": "    concurrency: 6\n"})
    w.cli("tenant", "set", "acme", "--allowed-sites", "fra1")
    w.serve()
    wait_for("two of three are lent", lambda: count(w, "lent") == 2)
    job = slurm.submit()
    slurm.runs(job)
    slurm.kill_controller()
    wait_for("it is told", lambda: "slurm does not answer" in w.server.read_log())
    assert count(w, "lent") == 2 and not nodes(w)["answers"] and nodes(w)["error"] and w.show("fra1")["places"] == 2
    assert "NO ANSWER" in w.site("show", "fra1")
    assert w.ask()[:2] == (200, "fra1")
    w.stop()
    w.serve()  # which are lent nobody can tell it
    wait_for("it was asked", lambda: "slurm does not answer" in w.server.read_log().split("listening")[-1])
    assert count(w, "lent") == 2 and count(w, "serving") == 1 and w.show("fra1")["places"] == 2
    assert w.ask()[:2] == (200, "fra1")
    slurm.start_controller()
    wait_for("it answers again", lambda: nodes(w)["answers"], 120)
    wait_for("two of three are lent", lambda: count(w, "lent") == 2, 120)
    assert "slurm answers again" in w.server.read_log()
    work = Work(w, 6)
    wait_for("all nodes are back", lambda: count(w, "serving") == 3, 120)
    assert work.end() == [(200, "fra1")] * 6


def test_what_stays_and_what_is_held_back(world, slurm):  # noqa: F811
    """A job that must not be put back keeps its node until it ends; what an operator of Slurm drained is not lent; orders and the grid take nodes back."""
    slurm.drain("node1", "node2")
    slurm.drain("node3", reason="a broken fan")
    w = world(sites(slurm, TIMES.replace("back_within: 20s", "back_within: 1s")), more={"a": "    concurrency: 6\n"})
    w.serve()
    wait_for("two are lent, one is withheld and serves", lambda: (count(w, "lent"), count(w, "withheld"), count(w, "serving")) == (2, 1, 0))
    job = slurm.submit("--no-requeue")
    slurm.runs(job)
    w.site("set", "fra1", "--state", "draining")
    wait_for("it is told", lambda: "site node not back" in w.server.read_log())
    wait_for("why is told", lambda: "disabled for job" in (nodes(w)["error"] or ""))
    assert count(w, "returning") == 1 and slurm.job(job)[0] == "RUNNING" and nodes(w)["answers"]
    slurm.run("scancel", str(job))
    wait_for("both are back", lambda: count(w, "serving") == 2)
    assert nodes(w)["cause"] == "capacity factor" and nodes(w)["error"] is None
    w.site("set", "fra1", "--state", "none")
    wait_for("they are lent anew", lambda: count(w, "lent") == 2)
    w.site("curtail", "fra1", "--to", "1", "--from", moment(200), "--for", "1h")  # one node's power of three, in less than five minutes
    wait_for("they are back", lambda: count(w, "lent") == count(w, "returning") == 0)
    assert nodes(w)["cause"] == "curtailment announced" and w.show("fra1")["capacity_factor"] == 1
    assert "a broken fan" in slurm.run("scontrol", "--oneliner", "show", "node", "node3")


FAKE = """#!/bin/sh
echo "$@" >> {folder}/asked
. {folder}/does
"""
NODE = "NodeName={} CPUAlloc=0 State={} Partitions=idle Reason=gaufre serves [root@2026-11-30T21:57:06]\n"


def test_commands_that_misbehave(world, tmp_path):  # noqa: F811
    """A scontrol that hangs, prints rubbish or too much, or fails: requests go on, and what was lent is taken as lent."""
    fake, does = tmp_path / "scontrol", tmp_path / "does"
    fake.write_text(FAKE.format(folder=tmp_path))
    fake.chmod(0o755)
    (tmp_path / "nodes").write_text(NODE.format("node1", "IDLE") + NODE.format("node2", "IDLE+DRAIN") + NODE.format("node3", "IDLE+DRAIN"))

    def do(script):
        (tmp_path / "next").write_text(script + "\n")
        (tmp_path / "next").rename(does)

    class Nowhere:
        conf = tmp_path / "slurm.conf"
    good = f'case "$2" in show) cat {tmp_path}/nodes ;; esac; test "$SLURM_CONF" = {Nowhere.conf}'
    do(good)
    w = world(sites(Nowhere, f"idle_for: 1h, every: 200ms, timeout: 2s, scontrol: {fake}, squeue: {fake}"), more={"a": "    concurrency: 6\n"})
    w.serve()
    wait_for("one is lent", lambda: nodes(w)["answers"] and count(w, "lent") == 1)
    assert (tmp_path / "asked").read_text().splitlines()[0] == "--oneliner show node node1,node2,node3"
    for script, why in [("exec sleep 600", "it has not ended in time"), ("echo '<html>'", "it does not speak of nodes: <html>"),
                        ("echo NodeName=node1 State=IDLE", "what it says of node node1 is not understood"),
                        (f"head -n 2 {tmp_path}/nodes", "it says nothing of node node3"), (f"cat {tmp_path}/nodes {tmp_path}/nodes", "was not asked for: node1"),
                        ("exec cat /dev/zero", "it says more than 262144 bytes"), ("echo slurm_load_node error >&2; exit 3", "ended with status 3: slurm_load_node error")]:
        do(script)
        wait_for(why, lambda: why in (nodes(w)["error"] or ""))
        assert not nodes(w)["answers"] and count(w, "lent") == 1 and w.show("fra1")["places"] == 4
        assert w.ask()[:2] == (200, "fra1")
        do(good)
        wait_for("it answers again", lambda: nodes(w)["answers"] and nodes(w)["error"] is None)
    do("exec sleep 600")  # and while one hangs, the server ends as ever
    w.stop()
