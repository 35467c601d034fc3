"""The overview that operators look at, and the sessions of the console: who may look, who may change, and what ends it."""
import http.client
import json
import re
import sqlite3
import threading

import pytest

from mock_upstream import chunk, words
from serving import SLOW, wait_for
from test_admin import Admin
from test_accounts import Cloud

pytestmark = pytest.mark.sanitize


@pytest.fixture
def one(tmp_path):
    c = Cloud(tmp_path, None)
    yield Admin(c)
    c.stop()


class Browser:
    """Keeps a cookie, as a browser does."""

    def __init__(self, server):
        self.server, self.cookie, self.csrf = server, None, None

    def ask(self, method, path, body=None, **headers):
        heads = {k.replace("_", "-"): v for k, v in headers.items()}
        if self.cookie:
            heads["cookie"] = f"other=1; {self.cookie}"
        status, got, text = self.server.request(method, "/admin/v1" + path, body, heads)
        return status, got, json.loads(text or b"null")

    def log_in(self, key, **headers):
        status, heads, answer = self.ask("POST", "/session", authorization=f"Bearer {key}", **headers)
        if status == 201:
            self.cookie = heads["set-cookie"].split(";")[0]
            self.csrf = answer["csrf"]
        return status, heads, answer


def watch(server, headers, n, path="/admin/v1/overview/events"):
    """So many frames of a stream of overviews."""
    host, port = server.url.removeprefix("http://").split(":")
    c = http.client.HTTPConnection(host, int(port), timeout=60 * SLOW)
    c.request("GET", path, headers=headers)
    r = c.getresponse()
    assert r.status == 200 and r.getheader("content-type").startswith("text/event-stream")
    seen = []
    while len(seen) < n:
        line = r.readline()
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            seen.append(json.loads(line[6:]))
    return seen, c, r


def test_what_it_tells(one):
    admin = {"authorization": f"Bearer {one.key}"}
    one("POST", "/tenants", {"id": "acme", "budget_per_month": "50.00EUR", "token_budget_per_day": 1000})
    one("POST", "/tenants", {"id": "zoo"})
    alice = one("POST", "/keys", {"id": "alice", "tenant": "acme"})[1]["key"]
    zed = one("POST", "/keys", {"id": "zed", "tenant": "zoo"})[1]["key"]
    for key in (alice, alice, zed):
        assert one.cloud.ask(key, max_tokens=9) == 200

    def look():
        o = one("GET", "/overview")[1]
        return o if o["totals"]["requests"] == 3 and o["ledger"]["rows_pending"] == 0 and len(o["tenants"]) == 2 else None
    o = wait_for("counted", look)
    assert o["object"] == "overview" and o["currency"] == "EUR" and o["generation"] == 1
    assert o["totals"] == {"requests": 3, "refused": 0, "failed": 0, "prompt_tokens": 33, "completion_tokens": 12}
    assert [t["tier"] for t in o["tiers"]] == ["priority", "default", "flex", "batch"]
    assert {(s["supplier"], s["breaker"], s["state"], s["model"]) for s in o["suppliers"]} == {
        ("far/m", "closed", "ready", "m"), ("far/n", "closed", "ready", "n"), ("near/m", "closed", "ready", "m")}
    assert [(m["id"], m["requests"], m["offers"]) for m in o["models"]] == [("m", 3, 2), ("n", 0, 1)]
    acme, zoo = o["tenants"]  # who is nearer to the end of a budget comes first
    assert acme["id"] == "acme" and acme["requests"] == 2 and acme["charge"] == "0.00003" and zoo["id"] == "zoo" and zoo["budgets"] == []
    money, tokens = sorted(acme["budgets"], key=lambda b: b["of"])
    assert money["span"] == "month" and money["amount"] == "50.00" and money["settled"] == "0.00003" and money["currency"] == "EUR"
    assert tokens["amount"] == 1000 and tokens["settled"] == 30 and tokens["held"] == 0 and tokens["percent"] == 3.0
    assert o["ledger"]["rows_written"] == 3 and o["ledger"]["write_failures"] == 0
    assert all(r["prompt_tokens"] == 11 and r["completion_tokens"] == 4 for r in o["ended"])
    assert len(o["ended"]) == 3 and o["requests"] == [] and {r["tenant"] for r in o["ended"]} == {"acme", "zoo"}
    assert all(r["supplier"] in ("far/m", "near/m") and r["finish"] == "stop" for r in o["ended"])
    # Of each request, whose ever it is: what it was, and why it went where it went.
    r = o["ended"][0]
    assert one("GET", f"/requests/{r['id']}")[1]["id"] == r["id"]
    assert one("GET", f"/requests/{r['id']}/route")[1]["id"] == r["id"]
    assert one("GET", "/requests/req_none")[0] == 404
    assert one("GET", "/prices")[1]["data"][0]["input"] == "1.00"
    # The log of changes from its end.
    newest = one("GET", "/audit?before=9007199254740992&limit=2")[1]["data"]
    assert [x["id"] for x in newest] == ["zed", "alice"] and newest[0]["seq"] == newest[1]["seq"] + 1
    assert [x["id"] for x in one("GET", f"/audit?before={newest[1]['seq']}&limit=1")[1]["data"]] == ["zoo"]
    # Under its other name, and as a stream.
    assert json.loads(one.cloud.server.get("/v1/admin/overview", admin)[2])["object"] == "overview"
    for path in ("/admin/v1/overview/events", "/v1/admin/overview/events"):
        seen, c, _ = watch(one.cloud.server, admin, 3, path)
        c.close()
        assert [s["seq"] for s in seen] == sorted({s["seq"] for s in seen}) and seen[-1]["rates"]["seconds"] > 0


def test_one_snapshot_for_all_who_look(one):
    """However many watch, each second has one; nobody watches: none is made."""
    admin = {"authorization": f"Bearer {one.key}"}
    seen = [None] * 8

    def look(i):
        seen[i], c, _ = watch(one.cloud.server, admin, 4)
        c.close()
    threads = [threading.Thread(target=look, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    same = {}
    for frames in seen:
        for f in frames:
            assert same.setdefault(f["seq"], f) == f  # to all the same bytes
    last = max(same)
    assert last < 8 * 4  # not one for each who looks
    # Nobody looks: the next one follows the last.
    assert one("GET", "/overview")[1]["seq"] in (last, last + 1, last + 2)


def test_no_ledger_is_read(one):
    """Not even where it cannot be: an overview is as quick over any ledger."""
    with sqlite3.connect(one.cloud.server.ledger, isolation_level=None) as db:
        db.execute("BEGIN EXCLUSIVE")
        try:
            for _ in range(3):
                assert one("GET", "/overview")[1]["object"] == "overview"
        finally:
            db.execute("ROLLBACK")


def test_who_may_look(one):
    alice = one("POST", "/keys", {"id": "alice", "tenant": "ops"})[1]["key"]
    for path in ("/overview", "/overview/events", "/requests/x", "/requests/x/route", "/prices", "/session"):
        assert one("GET", path, key=alice)[0] == 403
        assert one("GET", path, key="gf-wrong")[0] == 401
        assert one.cloud.server.get("/admin/v1" + path)[0] == 401
    assert one("POST", "/requests/x/cancel", key=alice)[0] == 403
    for heads in ({"authorization": f"Bearer {alice}"}, {}):
        assert one.cloud.server.request("POST", "/admin/v1/session", None, heads)[0] in (401, 403)


def test_a_key_that_only_looks(one):
    eve = one("POST", "/keys", {"id": "eve", "tenant": "ops", "admin": True, "read_only": True})[1]["key"]
    assert one("GET", "/overview", key=eve)[0] == one("GET", "/keys", key=eve)[0] == one("GET", "/audit", key=eve)[0] == 200
    for method, path, body in (("POST", "/keys", {"id": "x", "tenant": "ops"}), ("PATCH", "/keys/eve", {"read_only": False}),
                               ("DELETE", "/tenants/ops", None), ("POST", "/keys/root/revoke", {}), ("POST", "/reload", {}),
                               ("POST", "/requests/x/cancel", {})):
        status, answer = one(method, path, body, key=eve)
        assert status == 403 and "read_only" in answer["error"]["message"], path
    b = Browser(one.cloud.server)
    status, _, answer = b.log_in(eve)
    assert status == 201 and answer["role"] == "read_only" and answer["key"] == "eve"
    assert b.ask("POST", "/keys", {"id": "x", "tenant": "ops"}, x_gaufre_csrf=b.csrf)[0] == 403
    assert b.ask("GET", "/keys")[0] == 200
    assert one("PATCH", "/keys/eve", {"read_only": None})[0] == 200
    assert b.ask("POST", "/keys", {"id": "x", "tenant": "ops"}, x_gaufre_csrf=b.csrf)[0] == 201
    assert b.ask("DELETE", "/session", x_gaufre_csrf=b.csrf)[0] == 200


def test_session(one):
    b = Browser(one.cloud.server)
    assert b.ask("GET", "/session")[0] == 401
    status, heads, answer = b.log_in(one.key)
    assert status == 201 and answer["role"] == "operator" and answer["key"] == "root" and 0 < answer["expires_in"] <= 43200
    cookie = heads["set-cookie"]
    assert re.fullmatch(r"gaufre_session_\d+=[0-9a-f]{64}; Path=/admin; HttpOnly; SameSite=Strict; Max-Age=43200", cookie)
    assert heads["cache-control"] == "no-store" and one.key not in str(answer)
    assert b.ask("GET", "/session")[2]["csrf"] == b.csrf
    assert b.ask("GET", "/overview")[0] == b.ask("GET", "/keys")[0] == 200
    # The cookie alone changes nothing; nor does a page of another site, whatever it knows.
    for more in ({}, {"x_gaufre_csrf": "0" * 32}, {"x_gaufre_csrf": b.csrf[:-1]}, {"x_gaufre_csrf": b.csrf, "sec_fetch_site": "cross-site"},
                 {"x_gaufre_csrf": b.csrf, "sec_fetch_site": "same-site"}, {"x_gaufre_csrf": b.csrf, "origin": "https://evil.example"}):
        assert b.ask("POST", "/keys", {"id": "mallory", "tenant": "ops"}, **more)[0] == 403, more
    assert b.ask("GET", "/keys", origin="https://evil.example")[0] == 403
    assert b.ask("POST", "/session", sec_fetch_site="cross-site", authorization=f"Bearer {one.key}")[0] == 403
    assert b.ask("DELETE", "/session")[0] == 403
    assert one("GET", "/keys/mallory")[0] == 404
    assert b.ask("POST", "/keys", {"id": "mine", "tenant": "ops"}, x_gaufre_csrf=b.csrf)[0] == 201
    # A session is good for the admin API only, and for no answer of a model.
    assert one.cloud.server.get("/v1/models", {"cookie": b.cookie})[0] == 401
    # A wrong key beside the cookie counts, not the cookie.
    assert b.ask("GET", "/keys", authorization="Bearer gf-wrong")[0] == 401
    # Over TLS, which a proxy in front has, the cookie never goes without.
    tls = Browser(one.cloud.server)
    host = one.cloud.server.url.removeprefix("http://")
    assert "; Secure" in tls.log_in(one.key, origin=f"https://{host}")[1]["set-cookie"]
    # Out.
    status, heads, _ = b.ask("DELETE", "/session", x_gaufre_csrf=b.csrf)
    assert status == 200 and "Max-Age=0" in heads["set-cookie"]
    assert b.ask("GET", "/keys")[0] == 401 and tls.ask("GET", "/keys")[0] == 200
    assert one.key not in one.cloud.server.read_log() and b.cookie.split("=")[1] not in one.cloud.server.read_log()


def test_what_ends_a_session(tmp_path):
    c = Cloud(tmp_path, None)
    c.cli("tenant", "new", "ops")
    keys = {name: c.cli("key", "new", name, "--tenant", "ops", "--admin", "yes") for name in ("root", "gone", "turned")}
    c.serve("--console-session", "24h")
    b = {name: Browser(c.server) for name in keys}
    for name, key in keys.items():
        assert b[name].log_in(key)[0] == 201
    streams = {name: watch(c.server, {"cookie": b[name].cookie}, 1) for name in ("gone", "root")}
    assert b["root"].ask("POST", "/keys/gone/revoke", {}, x_gaufre_csrf=b["root"].csrf)[0] == 200
    assert b["gone"].ask("GET", "/keys")[0] == 401
    assert b["root"].ask("POST", "/keys/turned/rotate", {"overlap_seconds": 0}, x_gaufre_csrf=b["root"].csrf)[0] == 200
    assert b["turned"].ask("GET", "/keys")[0] == 401
    # Its stream ends; the other goes on.
    _, conn, r = streams["gone"]
    while r.readline():
        pass
    conn.close()
    _, conn, r = streams["root"]
    for _ in range(2):
        while not r.readline().startswith(b"data: "):
            pass
    assert b["root"].ask("DELETE", "/session", x_gaufre_csrf=b["root"].csrf)[0] == 200
    while r.readline():
        pass
    conn.close()
    c.stop()


def test_a_session_ends_by_itself(tmp_path):
    c = Cloud(tmp_path, None)
    c.cli("tenant", "new", "ops")
    key = c.cli("key", "new", "root", "--tenant", "ops", "--admin", "yes")
    c.serve("--console-session", "1s")
    b = Browser(c.server)
    assert b.log_in(key)[1]["set-cookie"].endswith("Max-Age=1")
    wait_for("its end", lambda: b.ask("GET", "/keys")[0] == 401)
    c.stop()


def test_guessing_is_slowed_down(one):
    """Some wrong keys a minute of one address; who has a session is not locked out, nor is the API."""
    b, other = Browser(one.cloud.server), Browser(one.cloud.server)
    assert b.log_in(one.key)[0] == 201
    seen = [other.log_in("gf-guess")[0]]
    while seen[-1] == 401 and len(seen) < 1000:
        status, heads, _ = other.log_in(f"gf-guess-{len(seen)}")
        seen.append(status)
    assert len(seen) > 10 and seen[-1] == 429 and int(heads["retry-after"]) >= 1
    assert b.ask("GET", "/keys")[0] == 200 and one("GET", "/keys")[0] == 200


def test_cancel_a_request_of_any_tenant(one):
    go_on = threading.Event()

    def slow(a):
        a.begin()
        a.event(chunk({"content": "one "}))
        go_on.wait(60 * SLOW)
        for e in words():
            a.event(e)
        a.end()

    one.cloud.far.script = one.cloud.near.script = slow
    key = one("POST", "/keys", {"id": "alice", "tenant": "ops"})[1]["key"]
    seen = []

    def ask():
        seen.append(one.cloud.server.request("POST", "/v1/chat/completions",
                                             {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]},
                                             {"Authorization": f"Bearer {key}", "x-client-request-id": "mine"})[2])
    t = threading.Thread(target=ask)
    t.start()
    r = wait_for("live", lambda: next((x for x in one("GET", "/overview")[1]["requests"] if x["state"] == "decode"), None))
    assert r["tenant"] == "ops" and r["client_id"] == "mine" and r["tier"] == "default" and r["supplier"] in ("far/m", "near/m")
    assert one("POST", "/requests/mine/cancel", {})[0] == 404  # several tenants may use that id
    assert one("POST", f"/requests/{r['id']}/cancel", {})[1]["cancelled"] is True
    t.join(60 * SLOW)
    go_on.set()
    assert b"cancel" in seen[0]


def test_what_an_account_sees_of_itself(one):
    one("POST", "/tenants", {"id": "acme", "budget_per_month": "50.00EUR", "concurrency": 9})
    one("POST", "/teams", {"id": "blue", "tenant": "acme", "requests_per_minute": 60})
    one("POST", "/tenants", {"id": "zoo", "token_budget_per_day": 1000})
    alice = one("POST", "/keys", {"id": "alice", "tenant": "acme", "team": "blue", "max_output_tokens": 50})[1]["key"]
    one("POST", "/keys", {"id": "bob", "tenant": "acme"})
    zed = one("POST", "/keys", {"id": "zed", "tenant": "zoo"})[1]["key"]
    assert one.cloud.ask(alice, max_tokens=9) == one.cloud.ask(alice, max_tokens=9) == one.cloud.ask(zed, max_tokens=9) == 200

    def own(key):
        status, _, text = one.cloud.server.get("/v1/account", {"authorization": f"Bearer {key}"})
        return json.loads(text) if status == 200 else status
    a = wait_for("counted", lambda: next((x for x in [own(alice)] if x["used"]["requests"] == 2), None))
    assert (a["object"], a["tenant"], a["team"], a["key"]) == ("account", "acme", "blue", "alice")
    assert a["used"]["charge"] == "0.00003" and a["used"]["currency"] == "EUR" and a["used"]["completion_tokens"] == 8
    assert a["keys"] == ["alice", "bob"] and a["keys_total"] == 2
    by = {x["kind"]: x for x in a["accounts"]}
    assert by["tenant"]["budgets"][0]["settled"] == "0.00003" and by["tenant"]["concurrency"] == 9 and by["tenant"]["id"] == "acme"
    assert by["team"]["rates"][0]["of"] == "requests" and by["team"]["rates"][0]["limit"] == 60 and by["team"]["rates"][0]["per"] == "minute"
    assert by["key"]["max_output_tokens"] == 50
    z = own(zed)
    assert z["keys"] == ["zed"] and [x["id"] for x in z["accounts"]] == ["zoo"] and "acme" not in json.dumps(z)
    assert own("gf-wrong") == 401 and own(one.key) == 403 and one.cloud.server.get("/v1/account")[0] == 401
    one("POST", "/keys/bob/revoke")
    one("DELETE", "/keys/bob")
    assert wait_for("gone", lambda: own(alice)["keys"] == ["alice"])


def test_without_keys(tmp_path):
    """On a laptop who is on the machine is the operator."""
    c = Cloud(tmp_path, None)
    c.serve()
    s = json.loads(c.server.get("/admin/v1/session")[2])
    assert s["role"] == "operator" and s["key"] is None and s["accounts"] is False
    assert json.loads(c.server.get("/admin/v1/overview")[2])["suppliers"]
    assert json.loads(c.server.get("/v1/account")[2])["tenant"] == "default"
    for heads in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        assert c.server.get("/admin/v1/overview", heads)[0] == 403
    assert c.server.request("POST", "/admin/v1/session", None, {"authorization": "Bearer x"})[0] == 400
    c.stop()


def test_a_budget_of_energy(one):
    one("POST", "/tenants", {"id": "amp", "energy_budget_per_day": "1.5kWh"})
    key = one("POST", "/keys", {"id": "volt", "tenant": "amp"})[1]["key"]
    assert one.cloud.ask(key) == 402  # of these suppliers nobody knows how much they take
    amp = wait_for("told", lambda: [t for t in one("GET", "/overview")[1]["tenants"] if t["id"] == "amp"])[0]
    budget = amp["budgets"][0]
    assert (budget["of"], budget["span"], budget["amount"], budget["settled"], budget["held"]) == ("energy", "day", 1500.0, 0.0, 0.0)
