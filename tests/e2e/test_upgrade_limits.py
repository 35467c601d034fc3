"""Limits over an upgrade: rates and budgets are counted by both processes together, so nothing begins anew and nothing is
spent twice while both serve."""
import http.client
import json
import os
import signal
import subprocess

import pytest

from finding import find_gaufre
from serving import MODEL, SLOW, wait_for
from test_upgrade import Replaced

pytestmark = pytest.mark.sanitize
LONG = {"model": MODEL, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 3000, "ignore_eos": True,
        "temperature": 0, "stream": True}
SHORT = {**LONG, "max_tokens": 2, "stream": False}


@pytest.fixture
def limited(tmp_path):
    """limited("token_budget=100"): a server, and the headers of a tenant with these limits."""
    servers = []

    def make(*limits):
        keys = tmp_path / "keys"
        key = subprocess.run([find_gaufre(), "key", "new", keys, "k", "--tenant", "t"], check=True, capture_output=True,
                             text=True).stdout.strip()
        with open(keys, "a") as f:
            f.write(f"tenant t {' '.join(limits)}\n")
        s = Replaced(str(tmp_path), "--kv-memory", "256M", "--keys", keys, "--idle-timeout", "1h", "--stall-timeout", "1h")
        servers.append(s)
        return s, {"Authorization": f"Bearer {key}"}
    yield make
    for s in servers:
        s.stop_all()


class Kept:
    """A connection that stays with the process it was made to."""

    def __init__(self, server, heads):
        self.c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120 * SLOW)
        self.heads = {"Content-Type": "application/json", **heads}

    def ask(self, body):
        self.c.request("POST", "/v1/chat/completions", json.dumps(body), self.heads)
        self.answer = self.c.getresponse()
        return self.answer.status

    def ask_whole(self, body):
        status = self.ask(body)
        self.answer.read()
        return status


def ask(server, heads, body):
    status, got, text = server.request("POST", "/v1/chat/completions", body, heads)
    return status, json.loads(text).get("error", {}).get("code"), got


def test_a_rate_goes_on(limited):
    s, heads = limited("requests_per_day=4")
    before = Kept(s, heads)
    assert [before.ask_whole(SHORT) for _ in range(2)] == [200, 200]
    assert s.upgrade().returncode == 0
    assert ask(s, heads, SHORT)[0] == 200
    assert before.ask_whole(SHORT) == 200  # in the old process: both count
    for _ in range(2):
        status, code, got = ask(s, heads, SHORT)
        assert status == 429 and int(got["retry-after"]) > 3600, code
    assert s.upgrade().returncode == 0
    assert ask(s, heads, SHORT)[0] == 429


def test_tokens_that_are_held_count(limited):
    s, heads = limited("tokens_per_day=4000", "token_budget=5000")
    old = Kept(s, heads)
    assert old.ask(LONG) == 200
    assert s.upgrade().returncode == 0
    assert ask(s, heads, {**SHORT, "max_tokens": 1500})[0] == 429  # of the rate 1,000 less its prompt are left
    assert ask(s, heads, {**SHORT, "max_tokens": 200})[0] == 200
    os.kill(s.process.pid, signal.SIGKILL)  # what it held of the rate stays taken
    s.process.wait()
    assert ask(s, heads, {**SHORT, "max_tokens": 1500})[0] == 429


def test_a_budget_is_not_spent_twice(limited):
    s, heads = limited("token_budget=4000")
    old = Kept(s, heads)
    assert old.ask(LONG) == 200
    assert s.upgrade().returncode == 0
    assert ask(s, heads, {**SHORT, "max_tokens": 1500})[0] == 402  # held there
    old.c.close()  # now it holds nothing, and books what it used
    assert s.process.wait(timeout=60 * SLOW) == 0
    used = s.balance()["t"]
    used = used["prompt_tokens"] + used["completion_tokens"]
    assert 0 < used < 3000
    left = 4000 - used
    assert ask(s, heads, {**SHORT, "max_tokens": left})[0] == 402  # with its prompt too many, by the old one's books
    assert ask(s, heads, {**SHORT, "max_tokens": 200})[0] == 200


def test_what_a_killed_process_held_is_free(limited):
    s, heads = limited("token_budget=4000")
    old = Kept(s, heads)
    assert old.ask(LONG) == 200
    assert s.upgrade().returncode == 0
    assert ask(s, heads, {**SHORT, "max_tokens": 1500})[0] == 402
    os.kill(s.process.pid, signal.SIGKILL)
    s.process.wait()
    wait_for("it holds nothing", lambda: ask(s, heads, {**SHORT, "max_tokens": 1500, "stop": [" "]})[0] == 200)
