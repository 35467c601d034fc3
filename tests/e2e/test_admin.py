"""The admin API: the same accounts as the commands have, over HTTP, for keys that may do nothing else."""
import json
import threading

import pytest

from mock_upstream import chunk, words
from postgres import postgres  # noqa: F401  fixture
from serving import SLOW, wait_for
from test_accounts import Cloud

pytestmark = pytest.mark.sanitize


class Admin:
    def __init__(self, cloud):
        self.cloud = cloud
        cloud.cli("tenant", "new", "ops")
        self.key = cloud.cli("key", "new", "root", "--tenant", "ops", "--admin", "yes")
        cloud.serve()

    def __call__(self, method, path, body=None, key=None, **headers):
        status, _, text = self.cloud.server.request(
            method, "/admin/v1" + path, body,
            {"Authorization": f"Bearer {key or self.key}", **{k.replace("_", "-"): v for k, v in headers.items()}})
        return status, json.loads(text)


@pytest.fixture(params=["sqlite", "postgres"])
def admin(request, tmp_path):
    pg = request.getfixturevalue("postgres") if request.param == "postgres" else None
    c = Cloud(tmp_path, pg.database() if pg else None, pg)
    yield Admin(c)
    c.stop()


@pytest.fixture
def one(tmp_path):
    c = Cloud(tmp_path, None)
    yield Admin(c)
    c.stop()


def test_walk_through(admin):
    status, tenant = admin("POST", "/tenants", {"id": "acme", "tokens_per_day": 4000, "budget_per_month": "50.00EUR",
                                                "models": ["m", "n*"], "labels": {"env": "prod"}})
    assert status == 201 and tenant["tokens_per_day"] == 4000 and tenant["labels"] == {"env": "prod"}
    assert admin("POST", "/tenants", {"id": "acme"})[0] == 409
    assert admin("POST", "/teams", {"id": "blue", "tenant": "acme", "requests_per_minute": 60})[0] == 201
    status, key = admin("POST", "/keys", {"id": "alice", "tenant": "acme", "team": "blue"})
    assert status == 201 and key["key"].startswith("gf-") and key["team"] == "blue"
    # At once: what was answered is in force.
    assert admin.cloud.ask(key["key"], max_tokens=9) == 200
    assert "key" not in admin("GET", "/keys/alice")[1]
    assert admin("PATCH", "/keys/alice", {"models": ["n"]})[1]["models"] == ["n"]
    assert admin.cloud.ask(key["key"], max_tokens=9) == 403
    status, same = admin("PATCH", "/keys/alice", {"models": None})
    assert status == 200 and "models" not in same
    assert admin.cloud.ask(key["key"], max_tokens=9) == 200
    # The commands see the same.
    assert admin.cloud.show("tenant", "acme") == admin("GET", "/tenants/acme")[1]
    assert [t["id"] for t in admin("GET", "/tenants")[1]["data"]] == ["acme", "ops"]
    assert [t["id"] for t in admin("GET", "/teams?tenant=acme")[1]["data"]] == ["acme/blue"]
    assert admin("GET", "/teams/acme/blue")[1]["requests_per_minute"] == 60
    page = admin("GET", "/keys?limit=1")[1]
    assert len(page["data"]) == 1 and page["has_more"] is True
    assert not admin("GET", "/keys?limit=1&offset=1")[1]["has_more"]
    # Rotation, with the same answer when it is repeated: one new key, and the old one's end as it was.
    status, first = admin("POST", "/keys/alice/rotate", {"overlap_seconds": 3600}, idempotency_key="r1")
    status, again = admin("POST", "/keys/alice/rotate", {"overlap_seconds": 0}, idempotency_key="r1")
    assert first["secrets"] == again["secrets"] == 2 and first["key"] != again["key"]
    assert admin.cloud.ask(again["key"], max_tokens=9) == 200 and admin.cloud.ask(key["key"], max_tokens=9) == 200 and admin.cloud.ask(first["key"]) == 401
    assert admin("POST", "/keys/alice/revoke")[1]["state"] == "revoked"
    assert admin.cloud.ask(again["key"]) == 401
    assert admin("DELETE", "/tenants/acme")[0] == 409
    for path in ("/keys/alice", "/teams/acme/blue", "/tenants/acme"):
        assert admin("DELETE", path) == (200, {"object": path.split("/")[1][:-1], "id": path.split("/", 2)[2], "deleted": True})
        assert admin("GET", path)[0] == 404
    actions = [(x["actor"], x["action"], x["id"]) for x in admin("GET", "/audit?after=2")[1]["data"]]
    assert actions[0] == ("key:root", "new", "acme") and ("key:root", "revoke", "alice") in actions


def test_only_for_admins(one):
    one.cloud.cli("tenant", "new", "acme")
    key = one.cloud.cli("key", "new", "alice", "--tenant", "acme")
    one.cloud.ask(key, 200)
    for method, path in (("GET", "/tenants"), ("POST", "/keys"), ("DELETE", "/tenants/acme"), ("GET", "/audit"), ("GET", "/usage"),
                         ("POST", "/reload"), ("PATCH", "/keys/alice")):
        assert one(method, path, None if method in ("GET", "DELETE") else {}, key=key)[0] == 403
        assert one(method, path, None if method in ("GET", "DELETE") else {}, key="gf-wrong")[0] == 401
    assert one.cloud.ask(one.key) == 403  # and an admin's key buys no answer
    assert one.cloud.server.get("/v1/models", {"Authorization": f"Bearer {one.key}"})[0] == 403
    one.cloud.cli("key", "revoke", "root")
    wait_for("revoked", lambda: one("GET", "/tenants")[0] == 401)


def test_every_route_costs_its_key(one):
    """No way in beside the limits (complaint 8): each endpoint that is documented asks for a key, or is known to be open."""
    free = {"/", "/tcp_warming", "/config.schema.json", "/health", "/healthz", "/ready", "/public/v1/models", "/metrics",
            "/admin/v1/openapi.json"}
    doc = one.cloud.server.get("/admin/v1/openapi.json")[2]
    paths = {(m.upper(), p.replace("{id}", "x").replace("{tenant}", "y")) for p, ms in json.loads(doc)["paths"].items() for m in ms}
    paths |= {("POST", f"/v1/{p}") for p in ("chat/completions", "completions", "embeddings", "responses", "messages", "files",
                                             "batches", "rerank", "chat/completions/input_tokens")}
    paths |= {("POST", p) for p in ("/tokenize", "/detokenize", "/apply-template", "/chat/completions", "/v1/v1/completions")}
    paths |= {("GET", p) for p in ("/v1/models", "/models/m", "/v1/engine/events", "/v1/engine/requests/x", "/props")}
    for method, path in sorted(paths):
        status, _, text = one.cloud.server.request(method, path, {} if method in ("POST", "PATCH") else None)
        assert status == 401 or (status == 400 and b"not supported yet" in text), (method, path, status)
    for path in free:
        assert one.cloud.server.get(path)[0] in (200, 404), path
    # With limits, each request counts, whatever it asks for.
    one.cloud.cli("tenant", "new", "acme", "--requests-per-hour", 3)
    key = one.cloud.cli("key", "new", "alice", "--tenant", "acme")
    wait_for("known", lambda: one.cloud.server.get("/v1/models", {"Authorization": f"Bearer {key}"})[0] == 200)
    head = {"Authorization": f"Bearer {key}"}
    seen = [one.cloud.server.request("POST", p, {"model": "m", "content": "x", "prompt": "x"}, head)[0]
            for p in ("/tokenize", "/v1/completions", "/v1/chat/completions", "/v1/completions", "/tokenize", "/v1/chat/completions")]
    assert seen.count(429) == 3 and seen[3:] == [429] * 3


def test_bad_requests(one):
    for method, path, body, status, says in (
            ("POST", "/tenants", {}, 400, "id"), ("POST", "/tenants", [], 400, "object"), ("POST", "/tenants", b"{", 400, "JSON"),
            ("POST", "/tenants", {"id": "a/b"}, 400, "name"), ("POST", "/tenants", {"id": "a", "tokens_per_day": -1}, 400, "tokens_per_day"),
            ("POST", "/tenants", {"id": "a", "tokens_per_day": "5"}, 400, "tokens_per_day"),
            ("POST", "/tenants", {"id": "a", "rpm": 5}, 400, "rpm"), ("POST", "/tenants", {"id": "a", "expires": "2027-01-01"}, 400, "expires"),
            ("POST", "/tenants", {"id": "a", "budget": "5"}, 400, "budget"), ("POST", "/tenants", {"id": "a", "models": "m"}, 400, "models"),
            ("POST", "/tenants", {"id": "a", "labels": {"x": "a,b"}}, 400, "labels"),
            ("POST", "/tenants", {"id": "a", "labels": {"a=b": "c"}}, 400, "labels"),
            ("POST", "/teams", {"id": "a"}, 400, "tenant"), ("POST", "/teams", {"id": "a", "tenant": "none"}, 404, "none"),
            ("POST", "/keys", {"id": "a", "tenant": "none"}, 404, "none"), ("POST", "/keys", {"id": "a", "tenant": "ops", "team": "x"}, 404, "x"),
            ("GET", "/tenants/none", None, 404, "none"), ("PATCH", "/tenants/none", {}, 404, "none"), ("DELETE", "/keys/none", None, 404, "none"),
            ("POST", "/keys/none/rotate", {}, 404, "none"), ("POST", "/keys/root/rotate", {"overlap_seconds": -1}, 400, "overlap"),
            ("POST", "/keys/root/rotate", {"overlap_seconds": "x"}, 400, "overlap"), ("GET", "/keys?limit=x", None, 400, "limit"),
            ("GET", "/usage?by=colour", None, 400, "by"), ("GET", "/usage?from=yesterday", None, 400, "from"),
            ("PUT", "/tenants", {}, 405, ""), ("GET", "/nothing", None, 404, ""), ("POST", "/tenants", {"id": "a" * 70000}, 413, "")):
        got, answer = one(method, path, body)
        assert got == status and says in answer["error"]["message"], (method, path, body, got, answer)
    assert [t["id"] for t in one("GET", "/tenants")[1]["data"]] == ["ops"]


def test_a_key_sees_the_models_that_it_may_use(one):
    """No other tenant's model is told of, there or not; the public list is everybody's."""
    def key(name, *models):
        more = {"models": list(models)} if models else {}
        return {"Authorization": "Bearer " + one("POST", "/keys", {"id": name, "tenant": "ops", **more})[1]["key"]}

    def seen(heads, path="/v1/models"):
        return [m["id"] for m in json.loads(one.cloud.server.get(path, heads)[2])["data"]]
    assert seen(key("all")) == ["m", "n"]
    only = key("only", "n")
    assert seen(only) == ["n"] and seen(key("none", "x*")) == []
    assert seen({}, "/public/v1/models") == ["m", "n"]
    assert one.cloud.server.get("/v1/models/n", only)[0] == 200
    hidden, unknown = one.cloud.server.get("/v1/models/m", only), one.cloud.server.get("/v1/models/q", only)
    assert hidden[0] == unknown[0] == 404
    assert json.loads(hidden[2])["message"].replace(" m ", " q ") == json.loads(unknown[2])["message"]


def test_health_tells_operators_of_suppliers(one):
    """A key of the admin API; nobody else, also not on this machine."""
    server = one.cloud.server
    key = one("POST", "/keys", {"id": "alice", "tenant": "ops"})[1]["key"]
    for heads in ({}, {"Authorization": f"Bearer {key}"}, {"Authorization": "Bearer x"}):
        assert json.loads(server.get("/health", heads)[2]) == {"status": "ok"}
    got = json.loads(server.get("/health", {"Authorization": f"Bearer {one.key}"})[2])
    assert [(x["supplier"], x["breaker"], x["concurrency"]) for x in got["suppliers"]] == [
        ("far/m", "closed", 64), ("far/n", "closed", 64), ("near/m", "closed", 64)]


def test_usage(one):
    key = one("POST", "/keys", {"id": "alice", "tenant": "ops", "labels": {"env": "prod"}})[1]["key"]
    for _ in range(3):
        assert one.cloud.ask(key) == 200
    rows = wait_for("booked", lambda: [r for r in one("GET", "/usage?by=key&label=env%3Dprod")[1]["data"] if r["requests"] == 3])
    assert rows[0]["key"] == "alice" and rows[0]["completion_tokens"] == 12 and rows[0]["currency"] == "EUR"
    assert one("GET", "/usage?by=labels&tenant=none")[1]["data"] == []


def test_reload(one):
    """A reload is in force when it is answered, whole or not at all, with its generation (complaint 31)."""
    path = one.cloud.folder / "c.yaml"
    good = path.read_text()
    path.write_text(good + "nonsense: 1\n")
    status, answer = one("POST", "/reload")
    assert status == 400 and "c.yaml:" in answer["error"]["message"] and "nonsense" in answer["error"]["message"]
    assert one.cloud.server.metric("gaufre_config_generation") == 1
    path.write_text(good.replace("input: 1,", "input: 2,"))
    assert one("POST", "/reload") == (200, {"object": "configuration", "generation": 2})
    assert one.cloud.server.metric("gaufre_config_generation") == 2


def test_revoked_in_a_stream(one):
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

    def watch():
        seen.append(one.cloud.server.request("POST", "/v1/chat/completions",
                                             {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]},
                                             {"Authorization": f"Bearer {key}"})[2])

    t = threading.Thread(target=watch)
    t.start()
    wait_for("running", lambda: one.cloud.far.requests or one.cloud.near.requests)
    one("POST", "/keys/alice/revoke")
    t.join(60 * SLOW)
    go_on.set()
    assert b"revoked" in seen[0] or b"wrong_api_key" in seen[0]


def test_without_a_store(tmp_path):
    c = Cloud(tmp_path, None)
    c.serve()
    status, _, text = c.server.get("/admin/v1/tenants", {"Authorization": "Bearer x"})
    assert status == 400 and b"store of accounts" in text
    c.stop()
