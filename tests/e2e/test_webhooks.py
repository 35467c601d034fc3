"""Who pays is told before a budget is at its end, and when it is: signed, at least once, whatever the receiver does."""
import base64
import datetime
import hashlib
import hmac
import json
import os
import signal
import subprocess
import time

import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Gone, Mock
from serving import Server, wait_for

pytestmark = pytest.mark.sanitize
KEYS = {"ALICE_KEY": "a-key-of-alice-0123456789", "BOB_KEY": "a-key-of-bob-0123456789"}
SECRET = b"a secret of 32 bytes, of the ops"
SECRETS = {"OPS_SECRET": "whsec_" + base64.b64encode(SECRET).decode(),
           "ACME_SECRET": "whsec_" + base64.b64encode(b"x" * 24).decode()}


def accepts(a):
    a.reply(204, b"")


class Hooked:
    """A server whose supplier answers 15 tokens to each request; acme may use 300 of them, and is warned
    at 60. What is held of a request before it is sent: as many tokens as it has bytes, and its maximum."""

    def __init__(self, folder, hooks, more=""):
        self.folder, self.path = folder, folder / "c.yaml"
        self.far = Mock(lambda a: a.reply(200, CHAT))
        self.more = more
        self.write(hooks)
        self.server = Server(str(folder), "-c", self.path, models=[], env={**KEYS, **SECRETS})

    def write(self, hooks):
        self.path.write_text(
            f"log_format: json\ncurrency: EUR\nsuppliers:\n  - {{name: far, base_url: '{self.far.url}', models: [m]}}\n"
            "prices:\n  - {model: m, input: 1000, output: 1000}\n"
            "tenants:\n  - {name: acme, token_budget_per_day: 300, budget_warn: 20}\n  - name: other\n"
            "api_keys:\n  - {name: alice, tenant: acme, env: ALICE_KEY}\n"
            "  - {name: bob, tenant: other, env: BOB_KEY, budget: 0.30EUR, budget_warn: 10}\n"
            f"{self.more}webhooks:\n{hooks}")

    def swap(self, hooks):
        before = self.server.read_log().count("configuration ")
        self.write(hooks)
        self.server.process.send_signal(signal.SIGHUP)
        wait_for("swapped", lambda: self.server.read_log().count("configuration ") > before)

    def ask(self, key="ALICE_KEY", max_tokens=4):
        return self.server.post("/v1/chat/completions", {"model": "m", "max_tokens": max_tokens, "messages": [
            {"role": "user", "content": "x"}]}, {"Authorization": f"Bearer {KEYS[key]}"})[0]

    def told(self, result):
        return self.server.metric("gaufre_webhook_events_total", result=result)


@pytest.fixture
def hooked(tmp_path):
    made = []

    def make(hooks, more=""):
        made.append(Hooked(tmp_path, hooks, more))
        return made[0]

    yield make
    for h in made:
        assert h.server.stop() == 0, h.server.read_log()
        text = h.server.read_log()
        assert not [s for s in SECRETS.values() if s in text] and "s3cret" not in text


def hook(mock, name="ops", env="OPS_SECRET", path="/hook?t=s3cret", **more):
    more = "".join(f", {k}: {v}" for k, v in more.items())
    return f"  - {{name: {name}, url: 'http://127.0.0.1:{mock.port}{path}', secret_env: {env}{more}}}\n"


def events(mock, secret=SECRET):
    """What was posted, each signature checked; all tries of an event are the same."""
    by_id = {}
    for r in list(mock.requests):
        assert r.method == "POST" and r.headers["content-type"] == "application/json"
        id_, at = r.headers["webhook-id"], r.headers["webhook-timestamp"]
        assert abs(time.time() - int(at)) < 600
        mac = hmac.new(secret, f"{id_}.{at}.".encode() + r.body, hashlib.sha256).digest()
        assert "v1," + base64.b64encode(mac).decode() in r.headers["webhook-signature"].split()
        assert by_id.setdefault(id_, r.body) == r.body
        assert json.loads(r.body)["id"] == id_
    return [json.loads(b) for b in by_id.values()]


def test_soft_limit_and_end(hooked):
    ops = Mock(accepts)
    h = hooked(hook(ops))
    assert [h.ask() for _ in range(3)] == [200] * 3  # 45 tokens
    assert h.ask(max_tokens=1000) == 402  # refused: the first time in this window
    (end,) = wait_for("told", lambda: events(ops))
    assert end["type"] == "budget.exhausted" and end["data"]["used"] == 45
    assert h.ask() == 200 and h.ask(max_tokens=1000) == 402
    wait_for("told", lambda: len(events(ops)) == 2)
    soft = events(ops)[1]
    assert soft["type"] == "budget.soft_limit" and ops.requests[0].path == "/hook?t=s3cret"
    data = soft["data"]
    today = datetime.datetime.fromisoformat(data["from"])
    assert datetime.datetime.fromisoformat(data["until"]) - today == datetime.timedelta(days=1)
    assert {k: v for k, v in data.items() if k not in ("from", "until")} == {
        "kind": "tenant", "account": "acme", "tenant": "acme", "budget": "day", "unit": "tokens", "limit": 300, "used": 60,
        "warn_percent": 20}
    assert h.ask() == 200
    wait_for("booked", lambda: h.server.metric("gaufre_ledger_rows_total") >= 5)
    assert len(events(ops)) == 2 and h.told("delivered") == 2 and h.told("dropped") == 0  # each once


def test_money_and_filters(hooked):
    ops, acme = Mock(accepts), Mock(accepts)
    h = hooked(hook(ops, events="[budget.soft_limit]") + hook(acme, "acme", "ACME_SECRET", "", tenant="acme"))
    assert [h.ask("BOB_KEY") for _ in range(2)] == [200] * 2  # 0.015 EUR each
    (soft,) = wait_for("told", lambda: events(ops))
    assert soft["type"] == "budget.soft_limit"
    assert soft["data"].items() >= {"kind": "key", "account": "bob", "tenant": "other", "budget": "all", "unit": "money",
                                    "currency": "EUR", "limit": "0.30", "used": "0.03"}.items()
    assert h.ask("BOB_KEY", 1000) == 402 and h.ask(max_tokens=1000) == 402
    (end,) = wait_for("told", lambda: events(acme, b"x" * 24))
    assert end["type"] == "budget.exhausted" and acme.requests[0].path == "/"
    wait_for("counted", lambda: h.told("delivered") == 2)
    assert len(ops.requests) == 1


def test_tried_again_until_it_is_taken(hooked):
    """Two errors, a cut, a redirect, silence, then yes: requests are answered all the while. A kept connection that is
    cut before a byte of the answer is tried once more at once."""
    elsewhere = Mock(accepts)

    def redirect(a):
        a.head(302, "Found", location=f"http://127.0.0.1:{elsewhere.port}/", content_length=0)

    scripts = [lambda a: a.reply(500, b"no"), lambda a: a.reply(429, b"", retry_after="1"), lambda a: a.cut(), redirect,
               lambda a: a.wait_gone(), accepts]
    ops = Mock(lambda a: scripts.pop(0)(a))
    h = hooked(hook(ops, retry="50ms", timeout="2s"))
    assert h.ask(max_tokens=1000) == 402
    while h.told("delivered") < 1:
        assert h.ask(max_tokens=1000) == 402
        time.sleep(.05)
    assert len(events(ops)) == 1 and len(ops.requests) == 6 and not elsewhere.requests
    assert ops.requests[2].at - ops.requests[1].at >= 1  # as it asked
    assert 4 <= h.told("failed") <= 5 and h.told("dropped") == 0


def test_what_follows_the_status_matters_to_nobody(hooked):
    """A page of megabytes, one that never ends, one that is cut: the receiver said 2xx, so the event is not sent again."""
    def endless(a):
        a.begin()
        a.wait_gone()

    def half(a):
        a.head(200, "OK", content_length=1000)
        raise Gone

    ops = [Mock(s) for s in (lambda a: a.reply(200, b"x" * 10_000_000), endless, half)]
    h = hooked("".join(hook(m, f"ops{i}", retry="20ms", timeout="2s") for i, m in enumerate(ops)))
    assert h.ask(max_tokens=1000) == 402
    wait_for("told", lambda: h.told("delivered") == 3)
    assert [len(m.requests) for m in ops] == [1, 1, 1] and h.told("failed") == 0


def test_given_up(hooked):
    gone, never = Mock(lambda a: a.reply(410, b"")), Mock(lambda a: a.reply(503, b""))
    h = hooked(hook(gone) + hook(never, "acme", "ACME_SECRET", retry="20ms", give_up="300ms"))
    assert h.ask(max_tokens=1000) == 402
    wait_for("given up", lambda: h.told("dropped") == 2)
    assert len(gone.requests) == 1 and len(never.requests) > 1
    lines = [json.loads(x) for x in h.server.read_log().splitlines() if "given up" in x]
    assert {x["webhook"]: x["why"] for x in lines} == {"ops": "it answered 410", "acme": "it answered 503"}


def test_swap_keeps_what_waits(hooked):
    never, ops = Mock(lambda a: a.reply(503, b"")), Mock(accepts)
    h = hooked(hook(never, retry="100ms"))
    assert h.ask(max_tokens=1000) == 402
    wait_for("tried", lambda: never.requests)
    h.swap(hook(ops, env="ACME_SECRET", retry="100ms"))
    (end,) = wait_for("told", lambda: events(ops, b"x" * 24))  # the new address, the new secret, the same event
    assert end == events(never)[0]
    h.swap(hook(ops, "another"))
    for _ in range(4):
        h.ask()
    wait_for("told", lambda: len(ops.requests) == 2)


def test_stops_in_the_middle(hooked):
    """A receiver that hangs delays no stop; after a restart the same event has the same id."""
    ops = Mock(lambda a: a.wait_gone())
    h = hooked(hook(ops, timeout="600s"))
    assert h.ask(max_tokens=1000) == 402
    wait_for("under way", lambda: ops.requests)
    assert h.server.stop() == 0
    assert "webhooks not delivered" in h.server.read_log()
    ops.script = accepts
    h.server = Server(str(h.folder), "-c", h.path, models=[], env={**KEYS, **SECRETS})
    assert h.ask(max_tokens=1000) == 402
    wait_for("told", lambda: h.told("delivered") == 1)
    first, second = (r.headers["webhook-id"] for r in ops.requests)
    assert first == second


def test_keys_that_end(hooked, tmp_path):
    """Of a key that is used: that it ends within a week; of any that was good: that it was revoked."""
    env = {**os.environ, "GAUFRE_HOME": str(tmp_path)}

    def cli(*args):
        return subprocess.run([find_gaufre(), *args], env=env, check=True, capture_output=True, text=True).stdout.strip()
    cli("tenant", "new", "shop")
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=3)).strftime("%Y-%m-%d")
    KEYS["SOON"] = cli("key", "new", "soon", "--tenant", "shop", "--expires", soon)
    KEYS["LATE"] = cli("key", "new", "late", "--tenant", "shop", "--expires", "2999-01-01")
    cli("key", "new", "old", "--tenant", "shop")
    cli("key", "revoke", "old")  # before the server started: nobody is told
    ops = Mock(accepts)
    h = hooked(hook(ops))
    assert [h.ask(k) for k in ("SOON", "LATE", "SOON")] == [200] * 3
    (event,) = wait_for("told", lambda: events(ops))
    assert event["type"] == "key.expiring"
    assert event["data"] == {"kind": "key", "account": "soon", "tenant": "shop", "expires": f"{soon}T00:00:00Z"}
    cli("key", "revoke", "late")
    wait_for("told", lambda: len(events(ops)) == 2)
    assert events(ops)[1]["type"] == "key.revoked"
    assert events(ops)[1]["data"].items() >= {"account": "late", "tenant": "shop"}.items()
    assert h.ask("SOON") == 200 and h.ask("LATE") == 401 and len(ops.requests) == 2


def test_check_shows_them(hooked, tmp_path):
    h = hooked(hook(Mock(accepts)))
    env = {**os.environ, **KEYS, **SECRETS, "GAUFRE_HOME": str(tmp_path)}

    def check(hooks):
        h.write(hooks)
        r = subprocess.run([find_gaufre(), "serve", "--check", "-c", h.path], env=env, capture_output=True, text=True)
        assert "s3cret" not in r.stdout + r.stderr and not any(s in r.stdout + r.stderr for s in SECRETS.values())
        return r
    ops = Mock(accepts)
    shown = check(hook(ops, events="[budget.soft_limit, key.revoked]", tenant="acme"))
    assert shown.returncode == 0, shown.stderr
    assert (f"webhook    ops: http://127.0.0.1:{ops.port}, signed with a secret, of budget.soft_limit, key.revoked, "
            "tenant acme\n") in shown.stdout
    for bad, says in ((hook(ops, events="[budget.hard]"), "budget.hard"), (hook(ops) * 2, "two webhooks"),
                      (hook(ops, env="NO_SECRET"), "no variable NO_SECRET"), (hook(ops, env="ALICE_KEY"), "whsec_"),
                      ("  - {name: a, url: 'http://x/', secret_file: nowhere}\n", "No such file"),
                      ("  - {name: a, url: 'ftp://x/', secret_env: OPS_SECRET}\n", "no http"),
                      (hook(ops, ca_file="/nowhere"), "webhook ops: Cannot read the certificates"),
                      (hook(ops, proxy="'https://u:s3cret@x'"), "webhook ops: Not a proxy"),
                      ("  - {name: a, url: 'http://x/a b', secret_env: OPS_SECRET}\n", "bytes"),
                      ("  - {name: a, url: 'http://u:s3cret@x/', secret_env: OPS_SECRET}\n", "no http"),
                      ("  - {name: a, url: 'http://x/'}\n", "c.yaml:"), ("  - 7\n", "c.yaml:"),
                      (hook(ops, tenent="x"), "tenent"), ("  - {name: a, secret_env: OPS_SECRET}\n", "'url'")):
        r = check(bad)
        assert r.returncode and says in r.stderr, (bad, r.stderr)
