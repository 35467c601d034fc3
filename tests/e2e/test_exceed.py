"""What becomes of a request that its limits cannot hold: rejected, served as less, or served by another model. The hard
limit holds whichever it is."""
import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Mock
from serving import MODEL, Server, wait_for
from test_tenants import two  # noqa: F401  fixture

pytestmark = pytest.mark.sanitize
CONFIG = """log_format: json
currency: EUR
suppliers:
  - {{name: far, base_url: '{far}', models: [m]}}
  - {{name: near, base_url: '{near}', models: [small]}}
prices:
  - {{model: m, input: 1000, output: 1000}}
  - {{model: small, input: 10, output: 10}}
tenants:
{tenants}
api_keys:
{keys}
"""


def answer(a):
    """As many tokens as it may, up to 50."""
    n = min(50, a.request.json["max_tokens"])
    usage = {"prompt_tokens": 11, "completion_tokens": n, "total_tokens": 11 + n}
    a.reply(200, {**CHAT, "usage": usage})


class Front:
    def __init__(self, folder, tenants, keys):
        self.far, self.near = Mock(answer), Mock(answer)
        path, self.env = folder / "c.yaml", {}
        lines = ""
        for name, more in keys.items():
            self.env[name.upper()] = f"a-key-of-{name}-0123456789"
            lines += f"  - {{name: {name}, env: {name.upper()}, {more}}}\n"
        path.write_text(CONFIG.format(far=self.far.url, near=self.near.url, keys=lines, tenants="".join(
            f"  - {{name: {n}, {more}}}\n" for n, more in tenants.items())))
        self.server = Server(str(folder), "-c", path, models=[], env=self.env)

    def ask(self, key, max_tokens=1000, **more):
        """(status, header x-gaufre-downgraded, headers, body)"""
        status, heads, body = self.server.post("/v1/chat/completions", {
            "model": "m", "max_tokens": max_tokens, "messages": [{"role": "user", "content": "x"}], **more},
            {"Authorization": f"Bearer {self.env[key.upper()]}"})
        return status, heads["x-gaufre-downgraded"], heads, body


@pytest.fixture
def front(tmp_path):
    made = []

    def make(tenants, keys):
        made.append(Front(tmp_path, tenants, keys))
        return made[0]

    yield make
    for f in made:
        assert f.server.stop() == 0, f.server.read_log()


def test_downgrade_is_what_is_left(front):
    f = front({"acme": "token_budget: 400, on_exceed: downgrade"},
              {"alice": "tenant: acme", "strict": "tenant: acme, on_exceed: reject"})
    assert f.ask("strict")[:2] == (402, None)  # the key's own word is nearer
    assert f.ask("alice", 4)[:2] == (200, None)  # as it asked
    left = 400 - 15
    status, how, heads, _ = f.ask("alice", service_tier="default")
    assert (status, how) == (200, "tier, max_tokens") and heads["x-gaufre-tier"] == "flex"
    got = f.far.requests[-1].json["max_tokens"]
    assert str(got) == heads["x-gaufre-max-tokens"] and 200 < got < left
    assert f.ask("alice", service_tier="flex")[1] == "max_tokens"
    # Many at once share what is left, and never more: 61 tokens each.
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: f.ask("alice")[0], range(48)))
    assert set(answers) <= {200, 402} and 402 in answers
    used = f.server.metric("gaufre_budget_tokens", state="settled")
    assert used <= 400 and f.server.metric("gaufre_budget_tokens", state="held") == 0
    def booked():
        b = f.server.balance().get("acme", {"prompt_tokens": 0, "completion_tokens": 0})
        return b["prompt_tokens"] + b["completion_tokens"] == used
    wait_for("booked", booked)
    assert f.server.metric("gaufre_exceeded_total", how="downgrade") == 2 + answers.count(200)
    while f.ask("alice", 4)[0] == 200:
        pass
    assert f.server.metric("gaufre_budget_tokens", state="settled") <= 400


def test_rates_too(front):
    f = front({"acme": "tokens_per_day: 400, on_exceed: downgrade"}, {"alice": "tenant: acme"})
    status, how, _, _ = f.ask("alice")  # more than the limit ever allows
    assert (status, how) == (200, "tier, max_tokens") and f.far.requests[-1].json["max_tokens"] < 400
    status, how, _, _ = f.ask("alice", 330)  # more than it has now
    assert (status, how) == (200, "tier, max_tokens")
    while f.ask("alice")[0] == 200:
        pass
    status, how, heads, body = f.ask("alice", 300)
    assert status == 429 and how is None and float(heads["retry-after"]) > 0
    assert body["error"]["code"] == "token_quota_exceeded" and "too many tokens" in body["error"]["message"]


def test_fallback_is_another_model(front):
    f = front({"acme": "budget: 0.05EUR, on_exceed: fallback, fallback_model: small"},
              {"alice": "tenant: acme", "bound": "tenant: acme, models: [m]", "lost": "tenant: acme, fallback_model: none"})
    for key in ("bound", "lost"):  # what it may not use, or nobody serves, is no way out
        status, how, _, body = f.ask(key, 4)
        assert (status, how) == (402, None) and "0.05 EUR" in body["error"]["message"]
    assert not f.far.requests and not f.near.requests
    status, how, heads, _ = f.ask("alice", 50)
    assert (status, how) == (200, "model") and heads["x-gaufre-supplier"] == "near/small"
    assert heads["x-gaufre-tier"] == "default" and f.near.requests[-1].json["max_tokens"] == 50
    assert f.near.requests[-1].json["model"] == "small"
    # What not even that model can hold is refused, in the words of the one that was asked for.
    status, how, _, body = f.ask("alice", 100000)
    assert (status, how) == (402, None) and "100.0" in body["error"]["message"]
    wait_for("booked", lambda: f.server.balance().get("acme", {}).get("requests") == 1)
    row = json.loads(subprocess.run([find_gaufre(), "bill", "--json", "-l", f.server.ledger, "--by", "model"],
                                    check=True, capture_output=True, text=True).stdout.splitlines()[0])
    assert row["key"] == "small" and row["charge"] == "0.00061"
    assert f.server.metric("gaufre_exceeded_total", how="fallback") == 1


def test_fallback_fails(front):
    f = front({"acme": "budget: 0.05EUR, on_exceed: fallback, fallback_model: small"}, {"alice": "tenant: acme"})
    f.near.script = lambda a: a.reply(500, {"error": {"message": "no"}})
    status, how, _, body = f.ask("alice", 4)
    assert status >= 500 and how == "model", body  # it was sent there: the error is that supplier's
    wait_for("given back", lambda: f.server.metric("gaufre_budget_nano", state="held") == 0)


def test_local_engine(two):
    server, a, _ = two("tenant a tokens_per_minute=100 on_exceed=downgrade tiers=default,flex,priority")
    status, heads, body = server.chat("Tell me a long story.", headers=a, ignore_eos=True, max_tokens=500,
                                      service_tier="priority")
    assert status == 200, body
    assert heads["x-gaufre-downgraded"] == "tier, max_tokens" and body["service_tier"] == "flex"
    assert body["usage"]["total_tokens"] == 100 and body["choices"][0]["finish_reason"] == "length"
    assert body["model"] == MODEL


def test_learned_estimate(front):
    """Where an overshoot is allowed, requests hold what answers usually need and not all that they might have: more of
    them run at once, and even if all of these use the most, the limit is passed by no more than that."""
    limit, overshoot, together, most = 2500, 1500, 8, 500
    f = front({"acme": f"token_budget: {limit}, overshoot: {overshoot}", "strict": f"token_budget: {limit}"},
              {"alice": "tenant: acme", "bob": "tenant: strict"})
    go_on, begun = threading.Event(), []

    def short(a):
        a.reply(200, {**CHAT, "usage": {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}})

    def longest(a):
        begun.append(1)
        assert go_on.wait(300)
        n = a.request.json["max_tokens"]
        a.reply(200, {**CHAT, "usage": {"prompt_tokens": 20, "completion_tokens": n, "total_tokens": 20 + n}})

    def at_once(key):
        """How many of them are let in together."""
        go_on.clear()
        begun.clear()
        with ThreadPoolExecutor(together) as pool:
            asked = [pool.submit(f.ask, key, most) for _ in range(together)]
            wait_for("all judged", lambda: len(begun) + sum(a.done() for a in asked) == together)
            go_on.set()
            return [a.result()[0] for a in asked].count(200)

    let_in = {}
    for key in ("bob", "alice"):
        f.far.script = short
        assert [f.ask(key, most)[0] for _ in range(20)] == [200] * 20  # 120 tokens
        f.far.script = longest
        let_in[key] = at_once(key)
    assert let_in["alice"] >= let_in["bob"] + 2
    wait_for("booked", lambda: sum(b["requests"] for b in f.server.balance().values()) == 40 + sum(let_in.values()))
    used = {n: b["prompt_tokens"] + b["completion_tokens"] for n, b in f.server.balance().items()}
    assert used["strict"] <= limit < used["acme"] <= limit + overshoot
    assert f.server.metric("gaufre_budget_tokens", state="settled") == sum(used.values())
    assert f.ask("alice", 4)[0] == 402


def test_by_command(cli):
    """The same words as flags, in what is shown, and taken back."""
    new = cli("tenant", "new", "acme", "--on-exceed", "fallback", "--fallback-model", "small", "--overshoot", "500")
    assert new.returncode == 0, new.stderr
    said = json.loads(cli("tenant", "show", "acme", "--json").stdout)
    assert said.items() >= {"on_exceed": "fallback", "fallback_model": "small", "overshoot": 500}.items()
    assert cli("tenant", "set", "acme", "--on-exceed", "downgrade", "--overshoot", "none").returncode == 0
    said = json.loads(cli("tenant", "show", "acme", "--json").stdout)
    assert said["on_exceed"] == "downgrade" and said.get("overshoot") is None
    assert "downgrade" in cli("tenant", "set", "acme", "--on-exceed", "perhaps").stderr


@pytest.mark.parametrize("said, says", [("on_exceed: stop", "reject, downgrade or fallback"),
                                        ("fallback_model: 'a,b'", "is no name")])
def test_wrong_words(tmp_path, said, says):
    (tmp_path / "c.yaml").write_text(CONFIG.format(far="http://x/v1", near="http://x/v1", keys="  []", tenants=f"  - {{name: a, {said}}}\n"))
    r = subprocess.run([find_gaufre(), "serve", "--check", "-c", tmp_path / "c.yaml"], capture_output=True, text=True)
    assert r.returncode and says in r.stderr and "c.yaml:" in r.stderr
