"""Tenants, teams and keys in the store of accounts, by command and in a running server: on SQLite, and on PostgreSQL."""
import json
import os
import sqlite3
import subprocess
import threading

import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Mock, chunk, words
from postgres import postgres  # noqa: F401  fixture
from serving import SLOW, Server, wait_for

pytestmark = pytest.mark.sanitize
CONFIG = """suppliers:
  - name: far
    base_url: {far}
    models: [m, n]
  - name: near
    base_url: {near}
    models: [m]
currency: EUR
prices:
  - {{model: m, input: 1, output: 1}}
  - {{model: n, input: 1, output: 1}}
"""


class Cloud:
    """A home with a store, and a server that uses it."""

    def __init__(self, folder, where, postgres=None):
        self.folder, self.where, self.server, self.postgres = folder, where, None, postgres
        self.far, self.near = Mock(), Mock()
        (folder / "c.yaml").write_text(CONFIG.format(far=self.far.url, near=self.near.url))
        self.env = {**os.environ, "GAUFRE_HOME": str(folder), "GAUFRE_ACCOUNTS": where or ""}

    def cli(self, *args, ok=True, **more):
        r = subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, env=self.env, check=False,
                           stdin=subprocess.DEVNULL, **more)
        assert (r.returncode == 0) == ok, r.stdout + r.stderr
        return r.stdout.strip() if ok else r.stderr

    def sql(self, text):
        if self.postgres:
            return self.postgres.sql(self.where, text)
        with sqlite3.connect(self.folder / "accounts.db") as db:
            return db.execute(text)

    def show(self, kind, name):
        return json.loads(self.cli(kind, "show", name, "--json"))

    def serve(self, *flags):
        accounts = ["--accounts", self.where] if self.where else []
        self.server = Server(str(self.folder), "-c", self.folder / "c.yaml", *accounts, *flags, models=[])
        return self.server

    def ask(self, key, status=None, **more):
        """The status of a request; waits until it is the one that is expected."""
        def one():
            body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **more}
            self.answer = self.server.post("/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})
            return self.answer[0]

        if status is None:
            return one()
        return wait_for(f"status {status}", lambda: one() == status or None)

    def stop(self):
        if self.server:
            assert self.server.stop() == 0, self.server.read_log()


@pytest.fixture(params=["sqlite", "postgres"])
def cloud(request, tmp_path):
    postgres = request.getfixturevalue("postgres") if request.param == "postgres" else None
    c = Cloud(tmp_path, postgres.database() if postgres else None, postgres)
    yield c
    c.stop()


@pytest.fixture
def one(tmp_path):
    c = Cloud(tmp_path, None)
    yield c
    c.stop()


def test_walk_through(cloud):
    cloud.cli("tenant", "new", "acme", "--requests-per-minute", 600, "--budget-per-month", "50.00EUR")
    cloud.cli("team", "new", "acme/research", "--labels", "env=prod,cost=7")
    key = cloud.cli("key", "new", "alice", "--tenant", "acme", "--team", "research")
    assert key.startswith("gf-") and "\n" not in key
    cloud.serve()
    assert cloud.ask(key) == 200
    assert cloud.ask("gf-wrong") == 401
    # What is changed is in force within a second, without a word to the server.
    cloud.cli("key", "set", "alice", "--models", "n")
    cloud.ask(key, 403)
    assert cloud.answer[2]["error"]["code"] == "forbidden" and "m" in cloud.answer[2]["error"]["message"]
    cloud.cli("key", "set", "alice", "--models", "n,m*")
    cloud.ask(key, 200)
    second = cloud.cli("key", "new", "--tenant", "acme")
    cloud.ask(second, 200)
    cloud.cli("key", "rm", "alice")
    cloud.ask(key, 401)
    assert cloud.ask(second) == 200
    rows = wait_for("booked", lambda: [json.loads(x) for x in cloud.cli(
        "bill", "--by", "labels", "--json", "-l", cloud.server.ledger).splitlines()])
    assert {r["key"] for r in rows} == {"cost=7,env=prod", ""}
    teams = {r["key"]: r for r in map(json.loads, cloud.cli("bill", "--by", "team", "--json", "-l",
                                                           cloud.server.ledger).splitlines())}
    assert teams["acme/research"]["requests"] >= 2 and teams[""]["requests"] >= 1


def test_every_field_reads_back(cloud):
    """A budget that is accepted is stored and enforced (complaint 7): what was written is read, and nothing else is taken."""
    said = {"requests_per_minute": 1, "requests_per_hour": 2, "requests_per_day": 3, "tokens_per_minute": 4, "tokens_per_hour": 5,
            "tokens_per_day": 6, "uncached_tokens_per_minute": 7, "uncached_tokens_per_hour": 8,
            "uncached_tokens_per_day": 9, "concurrency": 10, "max_output_tokens": 11, "budget_per_day": "1.50EUR",
            "budget_per_week": "2.00EUR", "budget_per_month": "3.00EUR", "budget": "0.000000001EUR",
            "token_budget_per_day": 12, "token_budget_per_week": 13, "token_budget_per_month": 14, "token_budget": 15,
            "budget_from": "2026-12-01", "budget_until": "2027-02-01T12:00:00Z", "budget_zone": "Europe/Berlin",
            "budget_warn": 80, "tiers": ["flex", "default"], "models": ["a", "b*"], "suppliers": ["far", "local/m"],
            "networks": ["10.0.0.0/8", "::1"], "origins": ["https://a.example", "https://b.example:8443"], "labels": {"cost": "7", "env": "prod"}}
    flags = []
    for name, value in said.items():
        text = ",".join(value) if isinstance(value, list) else ",".join(f"{k}={v}" for k, v in value.items()) \
            if isinstance(value, dict) else str(value)
        flags += ["--" + name.replace("_", "-"), text]
    for kind, name in (("tenant", "acme"), ("team", "acme/blue"), ("key", "alice")):
        more = ["--tenant", "acme"] if kind == "key" else []
        cloud.cli(kind, "new", name, *flags, *more)
        shown = cloud.show(kind, name)
        assert {k: shown.get(k) for k in said} == said
        # and one by one they are taken back
        cloud.cli(kind, "set", name, *(x for f in flags[::2] for x in (f, "none")))
        assert not set(said) & set(cloud.show(kind, name))
    for bad in (["--tokens-per-day", "-1"], ["--budget", "5"], ["--budget", "5EUR", "--budget-per-day", "5USD"], ["--tiers", "gold"],
                ["--networks", "10.0.0.0/33"], ["--origins", "a.example"], ["--origins", "https://a.example/x"], ["--labels", "x"], ["--budget-zone", "Nowhere"], ["--models", "a b"]):
        before = cloud.show("tenant", "acme")
        assert bad[0][2:].replace("-", "_") in cloud.cli("tenant", "set", "acme", "--tokens-per-hour", 5, *bad, ok=False) \
            or "currency" in bad
        assert cloud.show("tenant", "acme") == before


def test_rotation_overlaps(cloud):
    """The old key stays good for as long as was said (complaint 12)."""
    cloud.cli("tenant", "new", "acme")
    old = cloud.cli("key", "new", "alice", "--tenant", "acme")
    cloud.serve()
    new = cloud.cli("key", "rotate", "alice", "--overlap", "4s")
    cloud.ask(new, 200)
    assert cloud.ask(old) in (200, 401)  # a slow machine may have used up the four seconds
    cloud.ask(old, 401)
    assert cloud.ask(new) == 200
    at_once = cloud.cli("key", "rotate", "alice", "--overlap", "0")
    cloud.ask(new, 401)
    assert cloud.ask(at_once) == 200
    # Expiry is the key's own end.
    cloud.cli("key", "set", "alice", "--expires", "2026-01-01")
    cloud.ask(at_once, 401)
    assert "expired" in cloud.answer[2]["error"]["message"]


def test_rotation_can_be_repeated(cloud):
    """An answer that was lost can be asked for again: the old key's end stays where it was (complaint 13)."""
    cloud.cli("tenant", "new", "acme")
    old = cloud.cli("key", "new", "alice", "--tenant", "acme")
    lost = cloud.cli("key", "rotate", "alice", "--overlap", "1h", "--idempotency-key", "r1")
    again = cloud.cli("key", "rotate", "alice", "--overlap", "0", "--idempotency-key", "r1")
    cloud.serve()
    assert cloud.ask(again) == 200 and cloud.ask(old) == 200 and cloud.ask(lost) == 401
    assert cloud.show("key", "alice")["secrets"] == 2


def test_rotation_resets_no_budget(cloud):
    """Budgets hang on ids (complaint 11): another secret, another key and a restart change nothing of what is used."""
    def used(a):
        a.reply(200, {**CHAT, "usage": {"prompt_tokens": 100, "completion_tokens": 450, "total_tokens": 550}})

    cloud.far.script = cloud.near.script = used
    cloud.cli("tenant", "new", "acme", "--token-budget", 1000)
    key = cloud.cli("key", "new", "alice", "--tenant", "acme", "--token-budget", 1000)
    cloud.serve()
    assert cloud.ask(key, max_tokens=500) == 200
    key = cloud.cli("key", "rotate", "alice", "--overlap", "0")
    cloud.ask(key, 402, max_tokens=500)
    other = cloud.cli("key", "new", "bob", "--tenant", "acme")
    cloud.ask(other, 402, max_tokens=500)
    assert cloud.server.stop() == 0
    cloud.serve()
    assert cloud.ask(key, max_tokens=500) == 402
    cloud.cli("tenant", "set", "acme", "--token-budget", 5000)
    cloud.ask(other, 200, max_tokens=500)
    assert cloud.ask(key, max_tokens=500) == 402  # its own


def test_revoked_at_once(cloud):
    """A key that is revoked ends what runs with it, and a client of a kept connection gets nothing more."""
    go_on = threading.Event()

    def slow(a):
        a.begin()
        a.event(chunk({"content": "one "}))
        go_on.wait(60 * SLOW)
        for e in words():
            a.event(e)
        a.end()

    cloud.far.script = cloud.near.script = slow
    cloud.cli("tenant", "new", "acme")
    key = cloud.cli("key", "new", "alice", "--tenant", "acme")
    cloud.serve()
    s = cloud.server.connect()
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key.encode() +
              b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    seen = b""
    while b"one " not in seen:
        seen += s.recv(65536)
    cloud.cli("key", "revoke", "alice")
    while True:  # the end of the connection, with an error in the stream
        more = s.recv(65536)
        if not more:
            break
        seen += more
    assert b"revoked" in seen and b"[DONE]" not in seen.split(b"revoked")[0]
    go_on.set()
    cloud.ask(key, 401)
    cloud.cli("tenant", "show", "acme")
    assert "revoked" in cloud.cli("key", "list")
    assert cloud.cli("key", "rotate", "alice", ok=False)


def test_allow_lists(cloud):
    cloud.cli("tenant", "new", "acme", "--suppliers", "near")
    key = cloud.cli("key", "new", "alice", "--tenant", "acme")
    cloud.serve()
    for _ in range(6):
        assert cloud.ask(key) == 200
        assert cloud.answer[1]["x-gaufre-supplier"].startswith("near")
    assert not cloud.far.requests
    assert cloud.ask(key, model="n") == 403  # only far has it
    cloud.cli("key", "set", "alice", "--networks", "10.0.0.0/8")
    cloud.ask(key, 403)
    assert "address" in cloud.answer[2]["error"]["message"]
    assert cloud.server.get("/v1/models", {"Authorization": f"Bearer {key}"})[0] == 403
    cloud.cli("key", "set", "alice", "--networks", "10.0.0.0/8,127.0.0.0/8")
    cloud.ask(key, 200)


def test_web_pages_of_a_tenant(cloud):
    """Pages of other origins than the tenant's (or the key's) may not use its keys; who is no page is not asked."""
    cloud.cli("tenant", "new", "acme", "--origins", "https://app.acme.example,https://b.example")
    key = cloud.cli("key", "new", "alice", "--tenant", "acme")
    other = cloud.cli("key", "new", "bob", "--tenant", "acme", "--origins", "https://b.example")
    cloud.serve()

    def ask(key, **headers):
        s, heads, body = cloud.server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]},
                                           {"Authorization": f"Bearer {key}", **headers})
        return s, heads.get("access-control-allow-origin"), json.dumps(body)
    assert ask(key)[0] == 200
    assert ask(key, Origin="https://app.acme.example")[:2] == (200, "*")
    assert ask(key, Origin="https://APP.acme.example")[0] == 200
    status, cors, text = ask(key, Origin="https://evil.example")
    assert (status, cors) == (403, "*") and "https://evil.example" in text  # which the page may read
    assert ask(key, Origin="null")[0] == 403
    assert ask(key, Origin="https://app.acme.example.evil.example")[0] == 403
    assert ask(key, Origin=cloud.server.url)[0] == 200  # the server's own page
    assert ask(other, Origin="https://app.acme.example")[0] == 403  # both lists count
    assert ask(other, Origin="https://b.example")[0] == 200


def test_a_preflight_knows_the_pages_of_all(cloud):
    """A browser asks first, without a key: yes where the setting or any account has the origin. Then the key's own count."""
    cloud.cli("tenant", "new", "acme", "--origins", "https://app.acme.example,https://B.example")
    cloud.cli("tenant", "new", "plain")
    acme = cloud.cli("key", "new", "alice", "--tenant", "acme")
    plain = cloud.cli("key", "new", "bob", "--tenant", "plain")
    cloud.serve("--cors-origin", "https://front.example")

    def asked(origin, path="/v1/chat/completions"):
        s, heads, _ = cloud.server.request("OPTIONS", path, headers={
            "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"})
        return s, heads.get("access-control-allow-origin"), heads.get("vary")

    def ask(key, origin, path="/v1/models"):
        s, heads, _ = cloud.server.get(path, {"Origin": origin, **({"Authorization": f"Bearer {key}"} if key else {})})
        return s, heads.get("access-control-allow-origin")
    for origin in ("https://front.example", "https://app.acme.example", "https://b.example"):
        assert asked(origin) == (204, origin, "origin")
    for origin in ("https://evil.example", "https://app.acme.example.evil.example", "null", "https://app.acme"):
        assert asked(origin) == (403, None, None)
    # The tenant's own list counts for its keys, the setting for those that have none.
    assert ask(acme, "https://app.acme.example") == (200, "https://app.acme.example")
    assert ask(acme, "https://b.example") == (200, "https://b.example")
    assert ask(acme, "https://front.example") == (403, "https://front.example")
    assert ask(plain, "https://front.example") == (200, "https://front.example")
    assert ask(plain, "https://app.acme.example") == (403, "https://app.acme.example")  # which its page may read
    assert ask("wrong", "https://app.acme.example")[0] == 401 and ask(None, "https://app.acme.example")[0] == 401
    # What needs no key is for the setting's pages.
    for path in ("/health", "/", "/metrics", "/nothing"):
        assert ask(None, "https://app.acme.example", path)[0] in (401, 403), path
    assert ask(None, "https://front.example", "/health")[0] == 200
    cloud.cli("tenant", "set", "acme", "--origins", "https://c.example")
    wait_for("it is in force", lambda: asked("https://c.example")[0] == 204)
    assert asked("https://app.acme.example")[0] == 403 and asked("https://b.example")[0] == 403
    cloud.cli("key", "set", "bob", "--origins", "https://c.example")  # two have it, and then one
    cloud.cli("tenant", "set", "acme", "--origins", "none")
    wait_for("it is in force", lambda: ask(acme, "https://front.example")[0] == 200)
    assert asked("https://c.example")[0] == 204 and ask(plain, "https://c.example")[0] == 200
    cloud.cli("key", "revoke", "bob")
    wait_for("it is in force", lambda: asked("https://c.example")[0] == 403)


def test_all_of_the_path_have_room(cloud):
    cloud.cli("tenant", "new", "acme", "--requests-per-hour", 6)
    cloud.cli("team", "new", "acme/blue", "--requests-per-hour", 4)
    a = cloud.cli("key", "new", "a", "--tenant", "acme", "--team", "blue", "--requests-per-hour", 2)
    b = cloud.cli("key", "new", "b", "--tenant", "acme", "--team", "blue")
    c = cloud.cli("key", "new", "c", "--tenant", "acme")
    cloud.serve()
    assert [cloud.ask(a) for _ in range(3)] == [200, 200, 429]
    assert [cloud.ask(b) for _ in range(3)] == [200, 200, 429]
    assert [cloud.ask(c) for _ in range(3)] == [200, 200, 429]


def test_no_maximum(one):
    """Who sets no maximum and is served where nobody knows the context holds what is there, and not always a full bucket."""
    one.cli("tenant", "new", "acme", "--tokens-per-day", 4000)
    key = one.cli("key", "new", "alice", "--tenant", "acme")
    one.serve()
    for _ in range(4):
        assert one.ask(key) == 200
        assert 1000 <= int(one.answer[1]["x-gaufre-max-tokens"]) < 4000
    one.far.script = one.near.script = lambda a: a.reply(
        200, {**CHAT, "usage": {"prompt_tokens": 10, "completion_tokens": 3500, "total_tokens": 3510}})
    assert one.ask(key) == 200
    assert one.ask(key) == 429 and int(one.answer[1]["retry-after"]) > 60  # until a quarter is there


def test_changes_are_logged(cloud):
    cloud.cli("tenant", "new", "acme", "--tokens-per-day", 5)
    cloud.cli("tenant", "set", "acme", "--tokens-per-day", 6)
    cloud.cli("key", "new", "alice", "--tenant", "acme")
    cloud.cli("key", "revoke", "alice")
    cloud.cli("tenant", "set", "acme", "--tokens-per-day", "many", ok=False)
    lines = [json.loads(x) for x in cloud.cli("audit", "--changes", "--json").splitlines()]
    assert [(x["action"], x["kind"], x["id"]) for x in lines] == [
        ("new", "tenant", "acme"), ("set", "tenant", "acme"), ("new", "key", "alice"), ("revoke", "key", "alice")]
    assert lines[1]["before"] == {"tokens_per_day": "5"} and lines[1]["after"] == {"tokens_per_day": "6"}
    assert all(x["actor"].startswith("cli:") for x in lines)
    cloud.sql("UPDATE audit SET actor = 'nobody' WHERE seq = 2")
    assert "line 2" in cloud.cli("audit", "--changes", ok=False)


def test_store_that_goes_away(postgres, tmp_path):
    """What was known stays while the database is away, and what was changed meanwhile arrives."""
    c = Cloud(tmp_path, postgres.database())
    c.cli("tenant", "new", "acme")
    key = c.cli("key", "new", "alice", "--tenant", "acme")
    c.serve()
    assert c.ask(key) == 200
    postgres.restart()
    assert c.ask(key) == 200
    c.cli("key", "revoke", "alice")
    c.ask(key, 401)
    c.stop()


def test_keys_file_is_imported(one):
    path = one.folder / "keys"
    first = one.cli("key", "new", path, "alice", "-t", "acme")
    with open(path, "a") as f:
        f.write("tenant acme requests_per_hour=2\n")
    second = one.cli("key", "new", "bob")
    one.cli("key", "import", path)
    assert one.show("tenant", "acme")["requests_per_hour"] == 2
    assert "already" in one.cli("key", "import", path, ok=False)
    one.serve()
    assert [one.ask(first) for _ in range(3)] == [200, 200, 429]
    assert one.ask(second) == 200


def test_no_setting_is_dropped(one):
    """A flag that a command would not heed is an error: a limit that nobody keeps is worse than none."""
    path = one.folder / "keys"
    for flags in (["--models", "m"], ["--concurrency", 4], ["--team", "red"]):
        assert flags[0][2:] in one.cli("key", "new", path, "guest", *flags, ok=False)
        assert flags[0][2:] in one.cli("key", "hash", path, "guest", *flags, ok=False)
    assert not path.exists()
    one.cli("tenant", "new", "acme")
    one.cli("key", "new", "bob", "--tenant", "acme")
    for args in (["key", "rotate", "bob"], ["key", "show", "bob"], ["tenant", "show", "acme"], ["tenant", "rm", "acme"], ["key", "list"]):
        assert "tokens_per_day" in one.cli(*args, "--tokens-per-day", 5, ok=False)
    assert "tokens_per_day" not in one.show("key", "bob")
    for args in (["set", "bob", "--tokens-per-day", 5, "--team", "red"], ["set", "bob", "--tenant", "other"], ["rm", "bob", "--tenant", "acme"],
                 ["new", "carol", "--overlap", "1h"], ["list", "--team", "red"]):
        assert "no use for" in one.cli("key", *args, ok=False)
    assert "tokens_per_day" not in one.show("key", "bob")


def test_file_and_store_together(one):
    path = one.folder / "keys"
    a = one.cli("key", "new", path, "alice", "-t", "acme")
    b = one.cli("key", "new", "bob")
    one.serve("--keys", path)
    assert one.ask(a) == 200 and one.ask(b) == 200
    one.cli("tenant", "new", "acme", "--requests-per-hour", 1)  # the store's word counts where both speak
    one.ask(a, 429)


def test_limits_that_cannot_be_kept(one):
    """A budget in a currency that nothing is priced in would not be enforced: nobody may use the account."""
    one.cli("tenant", "new", "acme", "--budget-per-month", "5.00USD")
    key = one.cli("key", "new", "--tenant", "acme")
    one.serve()
    assert one.ask(key) == 403
    assert "account not usable" in one.server.read_log() and "USD" in one.server.read_log()
    one.cli("tenant", "set", "acme", "--budget-per-month", "5.00EUR")
    one.ask(key, 200)


def test_no_store_without_keys(one):
    """The first key closes the door, and removing it does not open it again."""
    one.serve()
    assert one.server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]})[0] == 200
    assert one.server.stop() == 0
    one.cli("key", "new", "alice")
    one.cli("key", "rm", "alice")
    one.serve()
    assert one.server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]})[0] == 401


def test_parallel_changes(cloud):
    """Commands at the same time: each is done once, none is lost, the log has all of them in order."""
    cloud.cli("tenant", "new", "acme")
    ps = [subprocess.Popen([find_gaufre(), "key", "new", f"k{i}", "--tenant", "acme"], env=cloud.env, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True) for i in range(12)]
    out = [p.communicate(timeout=60 * SLOW) for p in ps]
    assert all(p.returncode == 0 for p in ps), out
    assert len({o[0] for o in out}) == 12
    assert len(cloud.cli("key", "list", "--json").splitlines()) == 12
    assert len(cloud.cli("audit", "--changes", "--json").splitlines()) == 13


def test_many_keys(one):
    """A hundred thousand keys of ten thousand tenants: the server starts, finds each, and sees a change among them."""
    key = one.cli("key", "new", "first")
    with sqlite3.connect(one.folder / "accounts.db") as db:
        db.executemany("INSERT INTO account VALUES (0, ?, ?, '', 0, 0, 2)", [(f"t{i}", f"t{i}") for i in range(10000)])
        db.executemany("INSERT INTO setting VALUES (0, ?, 'requests_per_minute', '600')", [(f"t{i}",) for i in range(10000)])
        db.executemany("INSERT INTO account VALUES (2, ?, ?, '', 0, 0, 2)", [(f"k{i}", f"t{i % 10000}") for i in range(100000)])
        db.executemany("INSERT INTO secret VALUES (?, ?, 1, 0, 0, '')", [(f"{i:064x}", f"k{i}") for i in range(100000)])
        db.execute("UPDATE meta SET value = 2 WHERE name = 'generation'")
    one.serve()
    assert "keys=100001" in one.server.read_log()
    assert one.ask(key) == 200
    one.ask(one.cli("key", "rotate", "k77777", "--overlap", "0"), 200)
