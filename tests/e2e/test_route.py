"""Which supplier gets a request: by the strategy of its model, and what it may and can do."""
import json
import subprocess

import pytest

from finding import find_gaufre
from mock_upstream import Mock, words
from serving import Server

FAST = "    first_byte_timeout: 20s\n    silence_timeout: 20s\n"


@pytest.fixture
def cloud(tmp_path):
    """cloud(yaml, a=script, b=...): a server with these suppliers of the model `far`, and the mocks by name; each
    supplier's own lines are in more[name]."""
    made = []

    def make(tail="", more=None, **scripts):
        mocks = {n: Mock(s) if s else Mock() for n, s in scripts.items()}
        text = "suppliers:\n" + "".join(
            f"  - name: {n}\n    base_url: {m.url}\n    models: [far]\n{FAST}{(more or {}).get(n, '')}"
            for n, m in mocks.items())
        folder = tmp_path / str(len(made))
        folder.mkdir()
        (folder / "c.yaml").write_text(text + tail)
        server = Server(str(folder), "-c", folder / "c.yaml", models=[])
        server.config = folder / "c.yaml"
        made.append((server, mocks))
        return server, mocks

    yield make
    for server, mocks in made:
        server.process.kill()
        server.process.wait()
        server.log.close()
        for m in mocks.values():
            m.close()


def ask(server, **more):
    """(status, who served it, body)"""
    status, heads, body = server.post("/v1/chat/completions", {
        "model": "far", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}], **more})
    return status, (heads["x-gaufre-supplier"] or "").partition("/")[0], body


def counts(server, n, **more):
    who = [ask(server, **more)[1] for _ in range(n)]
    return {w: who.count(w) for w in who}


def test_shares_are_those_of_the_weights(cloud):
    server, mocks = cloud("routes:\n  - route: weighted\n", {"a": "    weight: 3\n", "b": "    weight: 1\n",
                                                             "c": "    weight: 0\n"}, a=None, b=None, c=None)
    got = counts(server, 40)
    assert set(got) == {"a", "b"} and 29 <= got["a"] <= 31
    for m in ("a", "b"):
        mocks[m].script = lambda a: a.reply(503, {"error": {"message": "no"}})
    assert ask(server)[1] == "c"  # who has no weight is asked when nobody else is left


def test_order_of_the_file(cloud):
    server, mocks = cloud("routes:\n  - model: far\n    route: order\n", a=None, b=None)
    assert counts(server, 5) == {"a": 5}
    mocks["a"].script = lambda a: a.reply(503, {"error": {"message": "no"}})
    assert ask(server)[1] == "b"


PRICES = ("currency: EUR\nprices:\n  - {side: buy, supplier: dear, input: 5, output: 20}\n"
          "  - {side: buy, supplier: cheap, input: 0.1, output: 0.4}\n  - {output: 1}\n")


def test_price_and_its_cap(cloud):
    server, mocks = cloud(PRICES + "routes:\n  - route: price\n", dear=None, cheap=None)
    assert counts(server, 5) == {"cheap": 5}
    capped, _ = cloud(PRICES + "routes:\n  - route: order\n", {"dear": "    price_cap: 2.50\n"}, dear=None, cheap=None)
    assert ask(capped)[1] == "cheap"
    nobody, _ = cloud(PRICES, {"dear": "    price_cap: 2.50\n"}, dear=None)
    status, _, body = ask(nobody)
    assert status == 503 and "Nobody offers" in body["error"]["message"]


def test_residency(cloud):
    where = {"a": "    residency: us\n", "b": "    residency: eu\n"}
    server, mocks = cloud("routes:\n  - model: far\n    route: order\n    residency: [eu, ch]\n", where, a=None, b=None, c=None)
    assert counts(server, 5) == {"b": 5}
    mocks["b"].script = lambda a: a.reply(503, {"error": {"message": "no"}})
    status, _, _ = ask(server)  # nothing goes elsewhere, also when the only one fails
    assert status >= 500 and not mocks["a"].requests and not mocks["c"].requests


def test_what_a_supplier_lacks_and_its_tiers(cloud):
    server, mocks = cloud("routes:\n  - route: order\n", {"a": "    lacks: [tools]\n    tiers: [default]\n"}, a=None, b=None)
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert ask(server)[1] == "a"
    assert ask(server, tools=tools)[1] == "b"
    assert ask(server, service_tier="flex")[1] == "b"
    mocks["b"].script = lambda a: a.reply(503, {"error": {"message": "no"}})
    assert ask(server, tools=tools)[0] >= 500 and len(mocks["a"].requests) == 1


def test_complaint_29_no_samples(cloud):
    """A candidate without samples is no division by zero, and one that fails fast does not attract the traffic."""
    server, mocks = cloud("routes:\n  - route: ttft\n", bad=lambda a: a.reply(500, {"error": {"message": "no"}}), good=None)
    results = [ask(server) for _ in range(48)]
    assert all(status == 200 and who == "good" for status, who, _ in results)
    assert len(mocks["bad"].requests) <= 1 + 48 // 16  # the first, and one in sixteen to see how it is
    assert len(mocks["good"].requests) == 48


def test_first_token(cloud):
    def slow(a):
        import time
        time.sleep(.4)
        a.stream(words())

    server, mocks = cloud("routes:\n  - route: ttft\n", slow=slow, quick=lambda a: a.stream(words()))
    def stream():
        server.request("POST", "/v1/chat/completions", {"model": "far", "stream": True, "max_tokens": 4,
                                                        "messages": [{"role": "user", "content": "hi"}]})
    for _ in range(16):
        stream()
    slow_before = len(mocks["slow"].requests)
    assert slow_before >= 1  # it was looked at
    for _ in range(15):
        stream()
    assert len(mocks["slow"].requests) <= slow_before + 1


@pytest.mark.parametrize("text, wanted", [
    ("routes:\n  - model: nobody\n", "nobody serves a model 'nobody'"),
    ("routes:\n  - route: fastest\n", "route"),
    ("routes:\n  - route: price\n  - route: ttft\n", "two are of any other model"),
    ("routes: 3\n", "wants a list"),
    ("routes:\n  - rute: price\n", "rute"),
])
def test_mistakes_are_told(tmp_path, text, wanted):
    path = tmp_path / "c.yaml"
    path.write_text("suppliers:\n  - {name: a, base_url: 'http://127.0.0.1:9/v1', models: [far]}\n" + text)
    done = subprocess.run([find_gaufre(), "serve", "-c", path, "--check"], capture_output=True, text=True)
    assert done.returncode == 2 and wanted in done.stderr, done.stderr


@pytest.mark.parametrize("line", ["tiers: [gold]", "lacks: [hands]", "price_cap: 0", "price_cap: much", "weight: -1"])
def test_mistakes_in_terms_are_told(tmp_path, line):
    path = tmp_path / "c.yaml"
    path.write_text(f"suppliers:\n  - name: a\n    base_url: http://127.0.0.1:9/v1\n    models: [far]\n    {line}\n")
    done = subprocess.run([find_gaufre(), "serve", "-c", path, "--check"], capture_output=True, text=True)
    assert done.returncode == 2 and line.split(":")[0] in done.stderr, done.stderr


def route(*args):
    done = subprocess.run([find_gaufre(), "route", *map(str, args), "--json"], capture_output=True, text=True)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def reasons(decision):
    return {c["supplier"].partition("/")[0]: c["reason"] for c in decision["candidates"]}


def test_try_shows_every_candidate_and_agrees_with_the_server(cloud):
    lines = {"dear": "    lacks: [images]\n", "cheap": "    residency: eu\n    context: 2000\n", "away": "    residency: us\n"}
    server, _ = cloud(PRICES + "routes:\n  - {route: price, residency: [eu]}\n  - {model: far, route: order}\n", lines,
                      away=None, dear=None, cheap=None)
    code, (decision,), _ = route("try", "-c", server.config, "-m", "far")
    assert code == 0 and decision["route"] == "order"
    assert reasons(decision) == {"away": "chosen", "dear": "outdone", "cheap": "outdone"}
    assert ask(server)[1] == decision["chosen"].partition("/")[0] == "away"
    eu, _ = cloud(PRICES + "routes:\n  - {route: price, residency: [eu]}\n", lines, away=None, dear=None, cheap=None)
    code, (decision,), _ = route("try", "-c", eu.config, "-m", "far", "--tokens", 1000, "--max-tokens", 500)
    assert reasons(decision) == {"away": "residency", "dear": "residency", "cheap": "chosen"}
    by = {c["supplier"].partition("/")[0]: c for c in decision["candidates"]}
    assert by["cheap"]["price"] == "0.0003" and by["cheap"]["score"] == 300000  # 1,000 x 0.1 + 500 x 0.4 for a million
    code, decisions, err = route("try", "-c", eu.config, "-m", "far", "--failed", "cheap")
    assert code == 1 and [d["chosen"] for d in decisions] == ["cheap/far", None] and "Nobody" in err
    assert reasons(decisions[1])["cheap"] == "tried"


def test_try_load_shares_and_affinity(cloud):
    server, _ = cloud("routes:\n  - route: weighted\n", {"a": "    weight: 3\n"}, a=None, b=None)
    chosen = [route("try", "-c", server.config, "-m", "far", "--nth", n)[1][0]["chosen"] for n in range(1, 9)]
    assert chosen == [ask(server)[1] + "/far" for _ in range(8)]  # the same draws
    assert 5 <= chosen.count("a/far") <= 7
    busy, _ = cloud("", a=None, b=None)
    assert route("try", "-c", busy.config, "-m", "far", "--busy", "a=1")[1][0]["chosen"] == "b/far"
    alike, _ = cloud("routes:\n  - route: affinity\n", a=None, b=None, c=None)
    one = [route("try", "-c", alike.config, "-m", "far", "--like", f"user {i // 2}")[1][0]["chosen"] for i in range(24)]
    assert one[::2] == one[1::2] and len(set(one)) > 1


@pytest.mark.parametrize("args, wanted", [
    (["try"], "--config"), (["guess"], "'try'"),
    (["try", "-c", "c.yaml", "-m", "far", "--needs", "hands"], "--needs"),
])
def test_try_is_used_rightly(args, wanted):
    code, _, err = route(*args)
    assert code == 2 and wanted in err


def test_explain_from_the_log(cloud):
    server, mocks = cloud("log_format: json\nroutes:\n  - route: order\n",
                          a=lambda a: a.reply(503, {"error": {"message": "no"}}), b=None)
    status, heads, _ = server.post("/v1/chat/completions", {"model": "far", "messages": [{"role": "user", "content": "hi"}]})
    assert status == 200 and heads["x-gaufre-supplier"] == "b/far"
    id_ = heads["x-request-id"]
    from serving import wait_for
    wait_for("the request's line", lambda: f'"id":"{id_}","peer"' in server.read_log())
    code, decisions, err = route("explain", id_, "--log", server.log_path)
    assert code == 0, err
    assert [d["chosen"] for d in decisions] == ["a/far", "b/far"]
    assert reasons(decisions[0]) == {"a": "chosen", "b": "outdone"}
    assert reasons(decisions[1]) == {"a": "tried", "b": "chosen"}
    code, _, err = route("explain", "req-none", "--log", server.log_path)
    assert code == 1 and "no decision" in err
    code, asked, err = route("explain", id_, "--server", server.url)  # the server says the same
    assert code == 0, err
    assert [(d["chosen"], reasons(d)) for d in asked] == [(d["chosen"], reasons(d)) for d in decisions]
    code, _, err = route("explain", "req/none", "--server", server.url)
    assert code == 1 and "no decision" in err


def test_explain_respects_tenants(cloud, tmp_path):
    keys = tmp_path / "keys"
    made = {t: subprocess.run([find_gaufre(), "key", "new", keys, t, "--tenant", t], check=True, capture_output=True,
                              text=True).stdout.strip() for t in ("acme", "other")}
    server, _ = cloud(PRICES + f"keys: {keys}\nroutes:\n  - route: price\n", dear=None, cheap=None)
    as_ = {t: {"Authorization": f"Bearer {k}"} for t, k in made.items()}
    status, heads, _ = server.post("/v1/chat/completions", {"model": "far", "messages": [{"role": "user", "content": "hi"}]},
                                   {**as_["acme"], "X-Client-Request-Id": "mine"})
    assert status == 200
    for id_ in (heads["x-request-id"], "mine"):
        status, _, body = server.get(f"/v1/engine/requests/{id_}/route", as_["acme"])
        assert status == 200 and json.loads(body)["decisions"][0]["chosen"] == "cheap/far"
        assert b"price_max" not in body and b"0.0" not in body  # what suppliers are owed is not told
        assert all(c["score"] is None for c in json.loads(body)["decisions"][0]["candidates"])
        assert server.get(f"/v1/engine/requests/{id_}/route", as_["other"])[0] == 404
        assert server.get(f"/v1/engine/requests/{id_}/route")[0] == 401


def test_a_refused_request_is_explained(cloud):
    server, mocks = cloud("routes:\n  - {residency: [eu]}\n", {"a": "    residency: us\n"}, a=None)
    status, heads, _ = server.post("/v1/chat/completions", {"model": "far", "messages": [{"role": "user", "content": "hi"}]})
    assert status == 503
    code, (decision,), _ = route("explain", heads["x-request-id"], "--server", server.url)
    assert code == 0 and decision["chosen"] is None and reasons(decision) == {"a": "residency"}
