"""Contracts in admission: what a tenant's contract entitles to goes before all others, what is above it is refused, paid or borrowed."""
import json
import os
import sqlite3
import subprocess
import threading
import urllib.request

import pytest

from finding import find_gaufre
from mock_upstream import CHAT
from serving import MODEL, Server, wait_for
from test_sites import world  # noqa: F401  fixture
from test_traces import Collector

pytestmark = pytest.mark.sanitize
CONTRACT = """contract: deal
signed: 2026-01-01
from: 2026-02-01
until: 2076-01-01
currency: EUR
supplier: {name: us}
customer: {name: acme, tenants: [acme]}
spillover: %s
%stranches:
  - {name: one, mw: 0.75, site: fra1, target: 2026-02-01, delivered: 2026-02-01, tokens_per_second: %d, price: 5}
"""
PRICES = """currency: EUR
prices:
  - {input: 1, output: 2}
"""


def contract(spillover, rate=1000, more=""):
    return CONTRACT % (spillover, "spillover_input: 30\nspillover_output: 70\n" if spillover == "pay" else "", rate) + more


def rows(w):
    with sqlite3.connect(w.server.ledger) as db:
        return db.execute("SELECT tenant, contract, tranche, lent, charge_nano, tier FROM usage ORDER BY at_us, request_id").fetchall()


def ask(w, tenant="acme", **more):
    status, heads, body = w.server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}], **more},
                                        {"Authorization": f"Bearer {w.keys[tenant]}"})
    return status, heads, body


def test_within_and_above(world):  # noqa: F811
    w = world(tail="routes: [{route: order}]\n" + PRICES).serve()
    assert "x-gaufre-contract" not in ask(w)[1]
    assert w.admin("GET", "/contracts")[1]["data"] == []
    assert w.admin("POST", "/contracts", {"text": contract("reject", 1)})[0] == 201
    # A minute is saved up; the suppliers' answers have 4 tokens of output, and without a basket 11 of a prompt count 11.
    told = [ask(w, max_tokens=5)[1]["x-gaufre-contract"] for _ in range(6)]
    assert told[0] == "deal/one", told
    status, heads, body = 200, None, None
    while status == 200:
        status, heads, body = ask(w, max_tokens=5)
    assert (status, body["error"]["code"], heads["x-gaufre-contract"]) == (429, "contract_exceeded", "deal; spillover=reject")
    assert "deal" in body["error"]["message"] and float(heads["retry-after-ms"]) > 0
    assert len(w.mocks["b"].requests) == 0  # nothing went to a site that is not the contract's
    # An amendment is in force at once.
    assert w.admin("POST", "/contracts", {"text": contract("pay", 1)})[0] == 201
    status, heads, _ = ask(w, max_tokens=5)
    assert (status, heads["x-gaufre-contract"], heads["x-gaufre-site"]) == (200, "deal; spillover=pay", "fra1")
    assert w.admin("POST", "/contracts", {"text": contract("borrow", 1)})[0] == 201
    status, heads, _ = ask(w, max_tokens=5)
    assert (status, heads["x-gaufre-contract"], heads["x-gaufre-tier"]) == (200, "deal; spillover=borrow", "flex")
    assert ask(w, "other")[0] == 200  # others are not concerned
    view = w.admin("GET", "/contracts/deal")[1]["admission"]
    assert view["tokens_per_second"] == 1 and view["basis"] == "declared" and view["refused"] == 1 and view["spillover"] == "borrow"
    assert view["tokens_paid"] == view["tokens_borrowed"] == 15 and view["tokens"] >= 15 and view["sequences"] == 0
    for use, n in (("within", view["tokens"]), ("paid", 15), ("borrowed", 15), ("lent", view["tokens_lent"])):
        assert w.server.metric("gaufre_contract_tokens_total", contract="deal", use=use) == n
    assert w.server.metric("gaufre_contract_entitlement_tokens_per_second", contract="deal", basis="declared") == 1
    assert w.server.metric("gaufre_contract_requests_total", contract="deal", result="refused") == 1
    got = wait_for("all rows", lambda: (lambda r: r if r and r[-1][0] == "other" else None)(rows(w)))
    assert got[0][:5] == ("acme", "", "", 0, 11 * 1000 + 4 * 2000)
    assert got[-1][:4] == ("other", "", "", 0)  # of the 1.5 MW there a half is nobody's
    within = [r for r in got if r[2] == "one" and r[0] == "acme" and r[3] == 0]
    assert within and all(r[4] == 0 for r in within)
    paid, = [r for r in got if r[3] == 2]
    assert paid[:3] == ("acme", "deal", "") and paid[4] == 11 * 30_000 + 4 * 70_000
    borrowed, = [r for r in got if r[0] == "acme" and r[3] == 1]
    assert borrowed[1] == "deal" and borrowed[5] == 0
    w.cli("audit", "--ledger", w.server.ledger)


def test_traces_tell_of_contracts(world):  # noqa: F811
    collector = Collector()
    try:
        w = world(tail=f"traces: {collector.url}\nroutes: [{{route: order}}]\n" + PRICES).serve()
        assert w.admin("POST", "/contracts", {"text": contract("pay", 1).replace("mw: 0.75", "mw: 1.5")})[0] == 201
        tell = {ask(w, who, max_tokens=5)[1]["x-request-id"]: who for who in ("acme", "other")}
        paid = {}
        while paid.get("x-gaufre-contract") != "deal; spillover=pay":
            paid = ask(w, max_tokens=5)[1]
        wanted = {*tell, paid["x-request-id"]}
        tops = wait_for("their spans", lambda: (lambda t: t if wanted <= set(t) else None)(
            {s.attrs.get("gaufre.request.id"): s.attrs for s in collector.spans()}))
        told = {who: [tops[i].get(f"gaufre.{k}") for k in ("site", "contract", "contract.lender")] for i, who in tell.items()}
        assert told == {"acme": ["fra1", "deal/one", None], "other": ["fra1", None, "deal"]}
        assert tops[paid["x-request-id"]]["gaufre.contract"] == "deal; spillover=pay"
    finally:
        collector.close()


def test_it_never_waits_behind_others(world):  # noqa: F811
    """One place at the supplier: ten of another tenant wait there, and the contract's goes next."""
    held, order = threading.Event(), []

    def script(a):
        order.append(a.request.json["messages"][0]["content"])
        assert held.wait(120)
        a.reply(200, CHAT)

    w = world(more={"a": "    concurrency: 1\n"}).serve()
    w.mocks["a"].script = script
    w.mocks["b"].script = script
    assert w.admin("POST", "/contracts", {"text": contract("reject")})[0] == 201
    w.site("set", "osl1", "--state", "draining")
    results = []

    def one(tenant, content):
        status, heads, _ = w.server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": content}]},
                                         {"Authorization": f"Bearer {w.keys[tenant]}"})
        results.append((content, status, heads["x-gaufre-contract"]))

    threads = [threading.Thread(target=one, args=("other", f"other {i}")) for i in range(10)]
    for t in threads:
        t.start()
    wait_for("one is there, nine wait", lambda: len(order) == 1 and w.show("fra1")["waiting"] == 9)
    late = threading.Thread(target=one, args=("acme", "acme"))
    late.start()
    wait_for("it waits, too", lambda: w.show("fra1")["waiting"] == 10)
    held.set()
    for t in [*threads, late]:
        t.join()
    assert order[1] == "acme", order
    assert len(results) == 11 and all(s == 200 for _, s, _ in results)
    assert {c for n, _, c in results if n == "acme"} == {"deal/one"}


def test_a_site_that_is_derated(world):  # noqa: F811
    """What is left of a contract when its only site takes nothing: the spillover; and its other site, where it has one."""
    w = world(tail="routes: [{route: order}]\n" + PRICES).serve()
    two = contract("reject", more="  - {name: two, mw: 0.5, region: no, target: 2026-02-01, delivered: 2026-02-01, tokens_per_second: 500, price: 5}\n")
    assert w.admin("POST", "/contracts", {"text": two})[0] == 201
    assert ask(w)[1]["x-gaufre-contract"] == "deal/one"
    w.site("set", "fra1", "--capacity-factor", "0.5")
    assert w.admin("GET", "/contracts/deal")[1]["admission"]["tokens_per_second"] == 1000
    w.site("set", "fra1", "--capacity-factor", "0")
    status, heads, _ = ask(w)
    assert (status, heads["x-gaufre-contract"], heads["x-gaufre-site"]) == (200, "deal/two", "osl1")
    w.site("set", "osl1", "--state", "draining")
    status, heads, body = ask(w)
    assert (status, body["error"]["code"]) == (429, "contract_exceeded")
    w.site("set", "fra1", "--capacity-factor", "none")
    assert ask(w)[1]["x-gaufre-contract"] == "deal/one"
    # The log says what is in force, once for each that changes.
    lines = [x for x in w.server.read_log().splitlines() if "contract in force" in x]
    assert len(lines) == 1 and "tokens_per_second=1500" in lines[0] and "basis=declared" in lines[0], lines


def test_none_is_said(world):  # noqa: F811
    """A contract without a rate takes no part, and says so; in the check of its file, too."""
    w = world().serve()
    text = contract("reject").replace("tokens_per_second: 1000, ", "")
    assert w.admin("POST", "/contracts", {"text": text})[0] == 201
    status, heads, _ = ask(w)
    assert status == 200 and heads["x-gaufre-contract"] is None
    assert w.admin("GET", "/contracts/deal")[1]["admission"] is None
    assert "entitles to nothing" in w.server.read_log()
    (w.folder / "deal.yaml").write_text(text)
    w.cli("contract", "check", w.folder / "deal.yaml")
    # A tenant is of one contract at a time: files that are checked together say so with their place.
    (w.folder / "more.yaml").write_text(text.replace("contract: deal", "contract: more"))
    assert "more.yaml:7:11: customer: the tenant 'acme' is served by deal of" in w.cli(
        "contract", "check", w.folder / "deal.yaml", w.folder / "more.yaml", ok=False)
    (w.folder / "more.yaml").write_text(text.replace("contract: deal", "contract: more").replace(
        "from: 2026-02-01", "from: 2076-01-01").replace("until: 2076-01-01", "until: 2080-01-01").replace("target: 2026-02-01", "target: 2076-02-01").replace("delivered: 2026-02-01, ", ""))
    w.cli("contract", "check", w.folder / "deal.yaml", w.folder / "more.yaml")


def test_places_are_kept_for_it(world):  # noqa: F811
    """Two places at the supplier, one of them the contract's: others never have both, so the contract's request is served while they work."""
    held = threading.Event()

    def script(a):
        if a.request.json["messages"][0]["content"] == "x":
            assert held.wait(120)
        a.reply(200, CHAT)

    w = world(more={"a": "    concurrency: 2\n"}).serve()
    w.mocks["a"].script = script
    w.site("set", "osl1", "--state", "draining")
    assert w.admin("POST", "/contracts", {"text": contract("reject").replace("price: 5", "concurrency: 1, price: 5")})[0] == 201
    threads = [threading.Thread(target=ask, args=(w, "other")) for _ in range(4)]
    for t in threads:
        t.start()
    wait_for("one is there, three wait", lambda: len(w.mocks["a"].requests) == 1 and w.show("fra1")["waiting"] == 3)
    status, heads, _ = w.server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "mine"}]},
                                     {"Authorization": f"Bearer {w.keys['acme']}"})
    assert (status, heads["x-gaufre-contract"]) == (200, "deal/one")
    assert len(w.mocks["a"].requests) == 2
    held.set()
    for t in threads:
        t.join()


def test_what_is_not_lent(world):  # noqa: F811
    """Four places at the supplier whose power is all sold; three of them are not lent: others have one, and the contract all."""
    held = threading.Event()

    def script(a):
        if a.request.json["messages"][0]["content"] == "x":
            assert held.wait(120)
        a.reply(200, CHAT)

    w = world(more={"a": "    concurrency: 4\n"}).serve()
    w.mocks["a"].script = script
    w.site("set", "osl1", "--state", "draining")
    text = contract("reject").replace("mw: 0.75", "mw: 1.5").replace("spillover:", "lend: 0.25\nspillover:")
    assert w.admin("POST", "/contracts", {"text": text})[0] == 201
    assert w.admin("GET", "/contracts/deal")[1]["lend"] == 0.25
    threads = [threading.Thread(target=ask, args=(w, "other")) for _ in range(3)]
    for t in threads:
        t.start()
    wait_for("one is there, two wait", lambda: len(w.mocks["a"].requests) == 1 and w.show("fra1")["waiting"] == 2)
    for _ in range(3):
        status, heads, _ = w.server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "mine"}]},
                                         {"Authorization": f"Bearer {w.keys['acme']}"})
        assert (status, heads["x-gaufre-contract"]) == (200, "deal/one")
    assert w.show("fra1")["waiting"] == 2
    # When it lends all again, all three are served at once.
    assert w.admin("POST", "/contracts", {"text": text.replace("lend: 0.25", "lend: 1")})[0] == 201
    wait_for("none waits", lambda: w.show("fra1")["waiting"] == 0)
    held.set()
    for t in threads:
        t.join()
    assert "lends_percent=25" in w.server.read_log()


def test_a_tier_borrows_so_much(world):  # noqa: F811
    """All power is sold; ordinary work may have a half of what is lent at a supplier, and the rest is refused."""
    held, results = threading.Event(), []

    def script(a):
        assert held.wait(120)
        a.reply(200, CHAT)

    w = world(more={"a": "    concurrency: 4\n"}, tail="borrow: [default=0.5, batch=0]\nroutes: [{route: order}]\n").serve()
    w.mocks["a"].script = script
    w.site("set", "osl1", "--state", "draining")
    assert w.admin("POST", "/contracts", {"text": contract("reject").replace("mw: 0.75", "mw: 1.5")})[0] == 201
    threads = [threading.Thread(target=lambda: results.append(ask(w, "other")[0])) for _ in range(2)]
    for t in threads:
        t.start()
    wait_for("two are there", lambda: len(w.mocks["a"].requests) == 2)
    for tier in ("default", "batch"):
        status, heads, body = ask(w, "other", service_tier=tier)
        assert status == 429 and f"The tier {tier} may borrow no more" in body["error"]["message"]
        assert float(heads["retry-after-ms"]) > 0
    assert w.server.metric("gaufre_refused_total", reason="borrow") == 2
    held.set()
    for t in threads:
        t.join()
    assert results == [200, 200]
    assert ask(w, "other")[0] == 200
    w.stop()
    good = w.config.read_text()
    w.cli("serve", "--check", "-c", w.config)
    for wrong in ("flex=2", "flex", "auto=0.5", "flex=-1", "soon=0.5", "flex=half"):
        w.config.write_text(good.replace("batch=0", wrong))
        assert f"borrow: '{wrong}' wants a tier" in w.cli("serve", "--check", "-c", w.config, ok=False)


def test_the_engine_gives_way(tmp_path):
    """One place in the engine. An answer of another tenant, in the highest tier, is put aside for the contract's and goes on
    as if nothing had been; it was on borrowed power."""
    env = {**os.environ, "GAUFRE_HOME": str(tmp_path)}

    def cli(*args):
        return subprocess.run([find_gaufre(), *map(str, args)], check=True, capture_output=True, text=True, env=env).stdout.strip()

    (tmp_path / "c.yaml").write_text("sites: [{name: here, energised_mw: 0.75}]\nsite: here\nbatch: 1\nspeculation: off\n")
    (tmp_path / "deal.yaml").write_text(contract("reject", 100000).replace("fra1", "here"))
    keys = {}
    for t in ("acme", "other"):
        cli("tenant", "new", t)
        keys[t] = {"Authorization": "Bearer " + cli("key", "new", t, "--tenant", t, "--tiers", "priority,default,flex")}
    cli("contract", "amend", tmp_path / "deal.yaml")
    server = Server(str(tmp_path), "-c", tmp_path / "c.yaml")
    slow = {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 400, "temperature": 0, "ignore_eos": True,
            "service_tier": "priority", "stream": True}

    def stream(on_text=lambda: None):
        r = urllib.request.Request(server.url + "/v1/completions", json.dumps(slow).encode(), {"Content-Type": "application/json", **keys["other"]})
        got = ""
        with urllib.request.urlopen(r) as answer:
            assert answer.headers["x-gaufre-tier"] == "priority" and "x-gaufre-contract" not in answer.headers
            for line in answer:
                if line.startswith(b"data: {"):
                    got += json.loads(line[6:])["choices"][0]["text"]
                    on_text()
        return got

    try:
        alone = stream()
        began, result = threading.Event(), {}
        low = threading.Thread(target=lambda: result.update(text=stream(began.set)))
        low.start()
        began.wait()
        status, heads, _ = server.post("/v1/completions", {"model": MODEL, "prompt": "Two and two is", "max_tokens": 2}, keys["acme"])
        assert (status, heads["x-gaufre-contract"], heads["x-gaufre-tier"]) == (200, "deal/one", "default")
        assert low.is_alive() and "text" not in result  # it was put aside
        low.join()
        assert result["text"] == alone
        with sqlite3.connect(server.ledger) as db:
            got = wait_for("the rows", lambda: (lambda r: r if len(r) == 3 else None)(
                db.execute("SELECT tenant, contract, tranche, lent FROM usage ORDER BY at_us").fetchall()))
        assert sorted(got) == [("acme", "deal", "one", 0)] + 2 * [("other", "deal", "one", 1)]
    finally:
        assert server.stop() == 0, server.read_log()[-4000:]


def test_the_engine_keeps_what_is_not_lent(tmp_path):
    """Four places in the engine, all sold, three of them not lent: others are computed one after the other."""
    env = {**os.environ, "GAUFRE_HOME": str(tmp_path)}

    def cli(*args):
        return subprocess.run([find_gaufre(), *map(str, args)], check=True, capture_output=True, text=True, env=env).stdout.strip()

    (tmp_path / "c.yaml").write_text("sites: [{name: here, energised_mw: 0.75}]\nsite: here\nbatch: 4\nspeculation: off\n")
    (tmp_path / "deal.yaml").write_text(contract("reject", 100000).replace("fra1", "here").replace("spillover:", "lend: 0.25\nspillover:"))
    keys = {}
    for t in ("acme", "other"):
        cli("tenant", "new", t)
        keys[t] = {"Authorization": "Bearer " + cli("key", "new", t, "--tenant", t)}
    cli("contract", "amend", tmp_path / "deal.yaml")
    server = Server(str(tmp_path), "-c", tmp_path / "c.yaml")
    results, seen = [], []

    def one():
        results.append(server.post("/v1/completions", {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 100, "ignore_eos": True}, keys["other"])[0])

    try:
        threads = [threading.Thread(target=one) for _ in range(3)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            seen.append(server.metric("vllm:num_requests_running"))
            threads[0].join(0.02)
            status, heads, _ = server.post("/v1/completions", {"model": MODEL, "prompt": "Two and two is", "max_tokens": 1}, keys["acme"])
            assert (status, heads["x-gaufre-contract"]) == (200, "deal/one")
        assert results == [200] * 3 and max(seen) <= 2  # one of them, and one of the contract that has just ended
    finally:
        assert server.stop() == 0, server.read_log()[-4000:]
