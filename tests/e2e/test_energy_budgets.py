"""Budgets and prices of energy work as those of money do: held before, settled after, refused where they end, and read back
from the ledger after a restart."""
import json
import sqlite3
import subprocess

import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Mock
from serving import MODEL, Server, wait_for

pytestmark = pytest.mark.sanitize

KEYS = {"ALICE_KEY": "a-key-of-alice-0123456789", "BOB_KEY": "a-key-of-bob-0123456789"}
AGREED = ", input_joules: '0.1', output_joules: '10'"  # an answer of 11 and 4 tokens takes 41.1 J
EACH_UJ = 41100000


class Front:
    def __init__(self, folder, tenant, agreed=AGREED, more="", answer=CHAT):
        self.folder, self.path, self.hooks = folder, folder / "c.yaml", Mock(lambda a: a.reply(204, b""))
        self.far = Mock(lambda a: a.reply(200, answer))
        self.path.write_text(
            f"log_format: json\nsuppliers:\n  - {{name: far, base_url: '{self.far.url}', models: [m]{agreed}}}\n"
            f"tenants:\n  - {{name: acme, {tenant}}}\n  - name: other\n"
            "api_keys:\n  - {name: alice, tenant: acme, env: ALICE_KEY}\n  - {name: bob, tenant: other, env: BOB_KEY}\n"
            f"{more}")
        self.server = self.serve()

    def serve(self):
        return Server(str(self.folder), "-c", self.path, models=[], env=KEYS)

    def ask(self, max_tokens=4, key="ALICE_KEY"):
        """(status, headers, body); what was used is booked."""
        more = {"max_tokens": max_tokens} if max_tokens else {}
        done = self.server.post("/v1/chat/completions", {"model": "m", **more, "messages": [
            {"role": "user", "content": "x"}]}, {"Authorization": f"Bearer {KEYS[key]}"})
        wait_for("given back", lambda: self.server.metric("gaufre_budget_joules", state="held") == 0)
        return done

    def rows(self):
        db = sqlite3.connect(self.server.ledger)
        return db.execute("SELECT energy_uj, charge_nano FROM usage WHERE tenant = 'acme' ORDER BY seq").fetchall()

    def stop(self):
        assert self.server.stop() == 0, self.server.read_log()[-4000:]


@pytest.fixture
def front(tmp_path):
    all_ = []

    def make(*args, **more):
        all_.append(Front(tmp_path, *args, **more))
        return all_[-1]

    yield make
    for f in all_:
        f.stop()


@pytest.mark.parametrize("span", ["_per_day", "_per_week", "_per_month", ""])
def test_a_budget_ends_and_stays_so(front, span):
    f = front(f"energy_budget{span}: 0.05Wh, budget_warn: 50")  # 180 J
    done = [f.ask() for _ in range(6)]
    assert [x[0] for x in done] == [200] * 4 + [402] * 2  # about 10 J of a prompt and 40 J of an answer are held
    error = done[-1][2]["error"]
    assert "0.05 Wh" in error["message"] and "0.004333 Wh left" in error["message"] and error["type"] == "payment_required_error"
    assert done[-1][1]["x-should-retry"] == "false"
    assert "x-gaufre-budget-warning" not in done[0][1] and "% of 0.05 Wh" in done[3][1]["x-gaufre-budget-warning"]
    assert f.ask(key="BOB_KEY")[0] == 200
    assert f.server.metric("gaufre_budget_joules", state="settled") == 164
    f.stop()
    f.server = f.serve()  # as the ledger has it
    assert f.server.metric("gaufre_budget_joules", state="settled") == 164
    assert f.ask()[0] == 402
    assert [x[0] for x in f.rows()] == [EACH_UJ] * 4  # its start has put all of them there


def test_an_unstated_maximum_is_what_is_left(front):
    f = front("energy_budget: 0.05Wh")
    assert f.ask(1000)[0] == 402
    status, heads, _ = f.ask(None)
    assert status == 200 and 10 <= int(heads["x-gaufre-max-tokens"]) < 18
    assert f.far.requests[-1].json["max_tokens"] == int(heads["x-gaufre-max-tokens"])


def test_what_is_not_known_is_not_let_in(front):
    """Until somebody without such a budget has learned it from the supplier's own word."""
    f = front("energy_budget: 1kWh", agreed="", answer={**CHAT, "usage": {**CHAT["usage"], "energy": {"joules": 3}}})
    status, _, body = f.ask()
    assert status == 402 and "is not known" in body["error"]["message"]
    assert f.ask(key="BOB_KEY")[0] == 200
    assert f.ask()[0] == 200
    wait_for("booked", lambda: f.rows())
    assert f.rows()[-1][0] == 3000000


def test_energy_has_a_price(front):
    f = front("budget: 1EUR", more="currency: EUR\nprices:\n  - {model: m, input: 1.00, energy: 0.40}\n")
    cost = f.ask()[2]["usage"]["cost"]
    due = -(-41100000 * 400000000 // 3600000000000) + 11 * 1000  # 0.40 of 41.1 J, and 11 tokens
    assert cost == {"amount": due / 1e9, "currency": "EUR"}
    wait_for("booked", lambda: f.rows())
    assert f.rows() == [(EACH_UJ, due)]


def test_energy_without_a_measure_has_no_price(front):
    f = front("labels: [a=b]", agreed="", more="currency: EUR\nprices:\n  - {model: m, energy: 0.40}\n")
    assert "cost" not in f.ask()[2]["usage"]
    wait_for("booked", lambda: f.rows())
    assert f.rows() == [(0, -1)]


def test_who_pays_is_told(front, tmp_path):
    hook = Mock(lambda a: a.reply(204, b""))
    (tmp_path / "secret").write_text("whsec_eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4\n")
    f = front("energy_budget_per_day: 0.05Wh, budget_warn: 50",
              more=f"webhooks:\n  - {{name: ops, url: '{hook.url}', secret_file: {tmp_path}/secret}}\n")
    while f.ask()[0] == 200:
        pass
    wait_for("told", lambda: len(hook.requests) == 2)
    soft, end = (r.json["data"] for r in hook.requests)
    assert soft["unit"] == end["unit"] == "energy" and soft["limit"] == "0.05Wh"
    assert soft["used"].endswith("Wh") and soft["warn_percent"] == 50


def test_the_engine_of_this_process(start, tmp_path):
    key = subprocess.run([find_gaufre(), "key", "new", tmp_path / "keys", "a", "--tenant", "a"], check=True,
                         capture_output=True, text=True).stdout.strip()
    with open(tmp_path / "keys", "a", encoding="ascii") as f:
        f.write("tenant a energy_budget=1kWh\n")
    server = start("--keys", tmp_path / "keys")
    status, _, body = server.chat("Hi", headers={"Authorization": f"Bearer {key}"}, max_tokens=3)
    assert status == 200, body
    used = body["usage"]["energy"]["joules"]
    wait_for("settled", lambda: server.metric("gaufre_budget_joules", state="held") == 0)
    assert server.metric("gaufre_budget_joules", state="settled") == int(used)


def test_what_is_used_counts_while_it_is_used(start, tmp_path):
    """Nobody is let in on energy that a request under way has used beyond its estimate."""
    key = subprocess.run([find_gaufre(), "key", "new", tmp_path / "keys", "a", "--tenant", "a"], check=True,
                         capture_output=True, text=True).stdout.strip()
    with open(tmp_path / "keys", "a", encoding="ascii") as f:
        f.write("tenant a energy_budget=0.5Wh\n")  # 1800 J; before anything was measured a token of an answer holds 0.8 J
    (tmp_path / "c.yaml").write_text("energy: {kind: model, idle_watts: '100000'}\n")
    server = start("--keys", tmp_path / "keys", "-c", tmp_path / "c.yaml")
    head = {"Authorization": f"Bearer {key}"}
    body = {"model": MODEL, "stream": True, "max_tokens": 1000, "min_tokens": 1000,
            "messages": [{"role": "user", "content": "Count for ever."}]}
    with server.connect() as s:
        data = json.dumps(body).encode()
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (key.encode(), len(data)) + data)
        wait_for("more than it holds", lambda: server.metric("gaufre_budget_joules", state="held") > 1800)
        status, _, error = server.chat("Hi", headers=head, max_tokens=1)
        assert status == 402 and "0.0 Wh left" in error["error"]["message"]
        assert server.metric("gaufre_budget_joules", state="settled") == 0  # it is under way still
    wait_for("settled", lambda: server.metric("gaufre_budget_joules", state="held") == 0)
    assert server.metric("gaufre_budget_joules", state="settled") > 1800 / 1.125


def test_by_command_and_api(start, tmp_path, monkeypatch):
    """The same words everywhere, and what is none is refused in them."""
    store = tmp_path / "accounts.db"

    def run(*args, code=0):
        done = subprocess.run([find_gaufre(), *map(str, args), "--accounts", store], check=False, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done

    run("tenant", "new", "acme", "--energy-budget-per-month", "1.5kWh", "--energy-budget", "0Wh")
    shown = json.loads(run("tenant", "show", "acme", "--json").stdout)
    assert (shown["energy_budget_per_month"], shown["energy_budget"]) == ("1500.0Wh", "0.0Wh")
    run("tenant", "set", "acme", "--energy-budget", shown["energy_budget_per_month"])
    assert "no amount of energy" in run("tenant", "set", "acme", "--energy-budget", "5J", code=1).stderr
