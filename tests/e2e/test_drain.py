"""Running answers are handed over to another server: their clients get the same bytes, and each is booked once."""
import json
import os
import socket
import sqlite3
import subprocess
import threading

import pytest

from finding import find_gaufre
from serving import SLOW, model_path, wait_for
from test_survive import ASK, DRAWN, Cut, again, bare, choices, events, keeper, killed, rows  # noqa: F401

pytestmark = pytest.mark.sanitize
LONG = {**ASK, "max_tokens": 120, "ignore_eos": True}
KINDS = {"greedy": {"temperature": 0}, "drawn": {**DRAWN, "logprobs": True, "top_logprobs": 2},
         "two choices": {"n": 2, "seed": 3, "stream_options": {"include_usage": True}}}


def drain(server, *args, **env):
    """The command, and what it said."""
    return subprocess.run([find_gaufre(), "drain", "--server", server.url, *args], env={**os.environ, **env},
                          capture_output=True, text=True, timeout=120 * SLOW)


class Door:
    """Before a server: bytes pass, unless an answer to an ask for taking over is to be lost on its way."""

    def __init__(self, server):
        self.server, self.loses, self.n_lost = server, False, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            there = socket.create_connection(("127.0.0.1", self.server.port))
        except OSError:
            client.close()
            return
        asks = threading.Event()
        threading.Thread(target=self.up, args=(client, there, asks), daemon=True).start()
        try:
            while data := there.recv(65536):
                if asks.is_set() and self.loses:
                    self.n_lost += 1
                    break
                client.sendall(data)
        except OSError:
            pass
        for s in client, there:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def up(self, client, there, asks):
        try:
            while data := client.recv(65536):
                if b"POST /admin/v1/answers" in data:
                    asks.set()
                there.sendall(data)
        except OSError:
            pass


class Reader(threading.Thread):
    """The rest of a stream."""

    def __init__(self, cut):
        super().__init__()
        self.cut = cut
        self.start()

    def run(self):
        try:
            while more := self.cut.socket.recv(65536):
                self.cut.data += more
        except OSError:
            pass

    def whole(self):
        self.join()
        return self.cut.data


def undisturbed(server):
    return {k: server.request("POST", "/v1/chat/completions", {**LONG, **v})[2] for k, v in KINDS.items()}


def one_bill(*servers):
    return sorted(r[:2] for s in servers for r in rows(s))


def ended(server):
    assert server.process.wait(60 * SLOW) == 0, server.read_log()[-4000:]


def files(server):
    return sorted(f for f in os.listdir(f"{server.ledger}-answers") if f != "lock")


def test_streams_go_on_elsewhere(start, tmp_path):
    elsewhere = tmp_path / os.path.basename(model_path())
    elsewhere.symlink_to(model_path())  # the weights count, not where they lie
    a, b = start(), start(models=[str(elsewhere)])
    want = undisturbed(a)
    wait_for("booked", lambda: len(rows(a)) == len(want))
    owed = sorted(one_bill(a) * 2)
    cuts = {(k, at): Cut(a, {**LONG, **v}, at) for at in (1, 9) for k, v in KINDS.items()}
    readers = {k: Reader(c) for k, c in cuts.items()}
    done = drain(a, "--to", b.url, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["moved"] == len(cuts) and told["left"] == told["stayed"] == told["unknown"] == 0, done
    for (k, at), r in readers.items():
        text = r.whole()
        assert choices(text) == choices(want[k]), (k, at)
        assert [i for i, _ in events(text)] == list(range(1, len(events(want[k])) + 1))
    ended(a)
    wait_for("booked there", lambda: len(rows(b)) == len(cuts))
    assert one_bill(b) == owed and len(rows(a)) == len(want)
    assert len(files(a)) == len(want) and not {c.id for c in cuts.values()} & set(files(a))
    for c in cuts.values():
        assert choices(c.whole(b)) == choices(c.data)
    assert b.stop() == 0


def test_whoever_waits_for_it(start):
    """Not only streams: whole answers, who follows another's stream, one that nobody reads, one in the queue."""
    a, b = start("--batch", 2, "--progress", "100ms"), start()
    greedy = {**LONG, "temperature": 0}
    want = a.request("POST", "/v1/chat/completions", greedy)[2]
    said = "".join(c["delta"].get("content", "") for c in choices(want)[0])
    c = Cut(a, {**greedy, "max_tokens": 3000}, 3)  # they keep the places
    d = Cut(a, {**greedy, "max_tokens": 3000}, 3)
    bodies = []

    def ask():
        bodies.append(a.request("POST", "/v1/chat/completions", {**greedy, "stream": False}))

    whole = threading.Thread(target=ask)
    whole.start()
    alone = Cut(a, {**greedy}, 1)
    alone.leave()
    wait_for("two wait", lambda: a.metric("vllm:num_requests_waiting") == 2)
    follower = a.connect()
    follower.sendall(f"GET /v1/chat/completions/{c.id}?starting_after=1 HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    text = b""
    while b"id: " not in text:
        text += follower.recv(4096)
    done = drain(a, "--to", b.url)
    assert done.returncode == 0 and done.stdout.startswith("4 handed over, 0 finish here"), (done, a.read_log())
    for x in c, d:
        b.request("DELETE", f"/v1/chat/completions/{x.id}")
    while more := follower.recv(65536):
        text += more
    first = [i for i, _ in events(text.split(b"\r\n\r\n", 1)[1])]
    assert first == list(range(2, len(first) + 2)) and len(first) > 3
    whole.join()
    status, _, body = bodies[0]
    assert status == 200 and json.loads(body)["choices"][0]["message"]["content"] == said
    assert "".join(x["delta"].get("content", "") for x in choices(alone.whole(b))[0]) == said
    for x in c, d:
        Reader(x).whole()
    ended(a)
    assert b.stop() == 0


def test_what_is_not_stored_finishes_here(start):
    a, b = start(), start()
    plain = Cut.__new__(Cut)
    body = json.dumps({**LONG, "store": False, "temperature": 0}).encode()
    plain.socket, plain.data = a.connect(), b""
    plain.socket.sendall(b"POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    while b"content\":\"" not in plain.data:
        plain.data += plain.socket.recv(4096)
    assert drain(a, "--to", b.url).returncode == 0
    assert b"[DONE]" in Reader(plain).whole()
    ended(a)
    assert len(rows(a)) == 1 and rows(b) == []


def test_a_plain_drain(start):
    a = start()
    c = Cut(a, LONG, 2)
    done = drain(a)
    assert done.returncode == 0 and "ends" in done.stdout
    assert events(Reader(c).whole())[-1][1] == "[DONE]"
    ended(a)


def refused(a, *args, why):
    """Nothing has changed: the server serves, the stream goes on."""
    done = drain(a, *args)
    assert done.returncode == 1 and why in done.stderr, done
    assert a.get("/ready")[0] == 200


def test_where_it_cannot_go(start, tmp_path):
    a, other = start(), start()
    want = a.request("POST", "/v1/chat/completions", {**LONG, "temperature": 0})[2]
    c = Cut(a, {**LONG, "temperature": 0}, 2)
    with socket.create_server(("127.0.0.1", 0)) as dead:
        port = dead.getsockname()[1]
    refused(a, "--to", f"http://127.0.0.1:{port}", why="cannot be reached")
    refused(a, "--to", a.url, why="this server itself")
    refused(a, "--to", a.url + "/v1", why="unknown URL")
    refused(a, "--to", "ftp://x", why="to: is no http or https URL")
    refused(a, "--to", other.url + "?x", why="to: is no http or https URL")
    (tmp_path / "k").write_text("")
    refused(a, "--to", other.url, "--to-key-file", str(tmp_path / "k"), why="holds no key")
    assert drain(a, "--keep", "--to", other.url).returncode == 2
    assert drain(a, "--keep").returncode == 0 and a.get("/ready")[0] == 200
    for body in ({"to": 5}, {"too": "x"}, {"keep": True, "to": "x"}, [], b"{"):
        assert a.request("POST", "/admin/v1/drain", body)[0] == 400, body
    for body in (b"", b"x" * 100, b"{}", b"\0" * 5000):
        assert other.request("POST", "/admin/v1/answers", body)[0] == 400
    assert choices(Reader(c).whole()) == choices(want)
    assert a.stop() == 0


@pytest.mark.parametrize("flags, why", [
    (["--class", "f32"], "other weights, another class"),
    (["--stored-memory", "4K"], "no room"),
    (["--stored-answers", "off"], "No answers are stored here"),
])
def test_what_the_other_refuses_stays(start, flags, why):
    a, b = start(), start(*flags)
    greedy = {**LONG, "temperature": 0}
    want = a.request("POST", "/v1/chat/completions", greedy)[2]
    wait_for("booked", lambda: len(rows(a)) == 1)
    cuts = [Cut(a, greedy, at) for at in (1, 9)]
    readers = [Reader(c) for c in cuts]
    done = drain(a, "--to", b.url, "--json")
    told = json.loads(done.stdout)
    assert told["moved"] == 0 and told["stayed"] == 2 and why in told["why"], done
    for r in readers:
        assert choices(r.whole()) == choices(want)
        assert [i for i, _ in events(r.cut.data)] == list(range(1, len(events(want)) + 1))
    ended(a)
    assert rows(b) == [] and one_bill(a) == one_bill(a)[:1] * 3


class Accounts:
    def __init__(self, where):
        self.where = str(where)
        self.cli("tenant", "new", "ops")
        self.cli("tenant", "new", "acme")
        self.admin = self.cli("key", "new", "root", "--tenant", "ops", "--admin", "yes")
        self.alice = self.cli("key", "new", "alice", "--tenant", "acme")

    def cli(self, *args):
        return subprocess.run([find_gaufre(), *args, "--accounts", self.where], check=True, capture_output=True,
                              text=True).stdout.strip()


def test_with_keys(start, tmp_path):
    """The key's id must be known there; the admin key of the other one is needed, and no tenant's is."""
    here, there = Accounts(tmp_path / "a.db"), Accounts(tmp_path / "b.db")
    bob = here.cli("key", "new", "bob", "--tenant", "acme")
    a, b = start("--accounts", here.where), start("--accounts", there.where)
    greedy = {**LONG, "temperature": 0}
    want = a.request("POST", "/v1/chat/completions", greedy, {"Authorization": f"Bearer {here.alice}"})[2]
    wait_for("booked", lambda: len(rows(a)) == 1)
    args = ["--to", b.url]
    done = drain(a, *args)
    assert done.returncode == 1 and "wants a key" in done.stderr, done
    done = drain(a, *args, GAUFRE_ADMIN_KEY=here.alice, GAUFRE_TO_ADMIN_KEY=there.admin)
    assert done.returncode == 1 and a.url in done.stderr, done
    for wrong in ({}, {"GAUFRE_TO_ADMIN_KEY": "gf-wrong"}, {"GAUFRE_TO_ADMIN_KEY": there.alice}):
        done = drain(a, *args, GAUFRE_ADMIN_KEY=here.admin, **wrong)
        assert done.returncode == 1 and f"{b.url} says: " in done.stderr, done
    heads = [f"Authorization: Bearer {k}" for k in (here.alice, bob)]
    cuts = [Cut(a, greedy, 5, [h]) for h in heads]
    readers = [Reader(c) for c in cuts]
    done = drain(a, *args, "--json", GAUFRE_ADMIN_KEY=here.admin, GAUFRE_TO_ADMIN_KEY=there.admin)
    told = json.loads(done.stdout)
    assert (told["moved"], told["stayed"]) == (1, 1) and "'bob' of tenant 'acme'" in told["why"], told
    for r in readers:
        assert choices(r.whole()) == choices(want)
    ended(a)
    wait_for("booked there", lambda: len(rows(b)) == 1)
    assert len(rows(a)) == 2 and one_bill(a, b) == one_bill(a)[:1] * 3
    with sqlite3.connect(f"file:{b.ledger}?mode=ro", uri=True) as db:
        assert db.execute("SELECT tenant, key_id FROM usage").fetchall() == [("acme", "alice")]
    assert cuts[0].whole(b, {"Authorization": f"Bearer {there.alice}"}) == bare(cuts[0].data)
    log = a.read_log() + b.read_log()
    assert there.admin not in log and here.admin not in log


def test_the_reply_is_lost(start):
    """It is there once, whoever says so."""
    a, b = start(), start()
    door = Door(b)
    greedy = {**LONG, "temperature": 0}
    want = a.request("POST", "/v1/chat/completions", greedy)[2]
    wait_for("booked", lambda: len(rows(a)) == 1)
    c = Cut(a, greedy, 5)
    r = Reader(c)
    door.loses = True
    command = threading.Thread(target=drain, args=(a, "--to", door.url))
    command.start()
    wait_for("lost twice", lambda: door.n_lost >= 2)
    assert json.loads(a.get("/admin/v1/drain")[2])["unknown"] == 1
    door.loses = False
    command.join()
    assert choices(r.whole()) == choices(want)
    ended(a)
    wait_for("booked there", lambda: len(rows(b)) == 1)
    assert len(rows(a)) == 1 and files(a) == [f for f in files(a) if f != c.id]
    assert b.stop() == 0


def test_the_receiver_is_killed(start, keeper):  # noqa: F811
    """After it has taken it, and before anybody knows that it has."""
    a, b = start(), start()
    door = Door(b)
    greedy = {**LONG, "temperature": 0, "max_tokens": 200}
    want = a.request("POST", "/v1/chat/completions", greedy)[2]
    wait_for("booked", lambda: len(rows(a)) == 1)
    taken = Reader(Cut(a, greedy, 5))
    assert json.loads(drain(a, "--to", door.url, "--json").stdout)["moved"] == 1
    killed(b)
    b = door.server = again(b)
    keeper.append(b)
    assert choices(taken.whole()) == choices(want)
    ended(a)
    wait_for("booked there", lambda: len(rows(b)) == 1)
    a = start()
    lost = Reader(Cut(a, greedy, 5))
    door.loses = True
    command = threading.Thread(target=drain, args=(a, "--to", door.url))
    command.start()
    wait_for("lost", lambda: door.n_lost)
    killed(b)
    b = door.server = again(b)
    keeper.append(b)
    door.loses = False
    command.join()
    assert choices(lost.whole()) == choices(want)
    ended(a)
    wait_for("booked there", lambda: len(rows(b)) == 2)
    assert rows(a) == [] and one_bill(b) == one_bill(b)[:1] * 2
    assert b.stop() == 0


def test_the_sender_is_killed(start, keeper):  # noqa: F811
    """What was handed over is there; what was on its way waits for the next drain, and nobody goes on with it twice."""
    a, b = start(), start()
    door = Door(b)
    greedy = {**LONG, "temperature": 0, "max_tokens": 200}
    want = b.request("POST", "/v1/chat/completions", greedy)[2]
    wait_for("booked", lambda: len(rows(b)) == 1)
    c = Cut(a, greedy, 5)
    assert json.loads(drain(a, "--to", door.url, "--json").stdout)["moved"] == 1
    killed(a)
    assert choices(c.data + c.rest(b)) == choices(want)
    a = again(a)
    keeper.append(a)
    d = Cut(a, greedy, 5)
    door.loses = True
    command = threading.Thread(target=drain, args=(a, "--to", door.url))
    command.start()
    wait_for("lost", lambda: door.n_lost)
    killed(a)
    command.join()
    a = again(a)
    keeper.append(a)
    assert "stored answers are on their way" in a.read_log() and door.url in a.read_log()
    assert choices(d.data + d.rest(b)) == choices(want)
    assert json.loads(a.get("/admin/v1/drain")[2])["unknown"] == 1 and files(a) == [d.id]
    door.loses = False
    done = drain(a, "--to", door.url, "--json")
    assert json.loads(done.stdout)["moved"] == 1 and json.loads(done.stdout)["unknown"] == 0, done
    ended(a)
    assert files(a) == [] and rows(a) == []
    wait_for("booked there", lambda: len(rows(b)) == 3)
    assert one_bill(b) == one_bill(b)[:1] * 3
    assert b.stop() == 0


def test_nobody_ever_says_that_it_has_it(start, keeper):  # noqa: F811
    a, b = start(), start()
    door = Door(b)
    greedy = {**LONG, "temperature": 0, "max_tokens": 200}
    want = a.request("POST", "/v1/chat/completions", greedy)[2]
    c = Cut(a, greedy, 5)
    command = threading.Thread(target=drain, args=(a, "--to", door.url))
    door.loses = True
    command.start()
    wait_for("lost", lambda: door.n_lost)
    killed(a)
    killed(b)
    command.join()
    a = again(a)
    keeper.append(a)
    assert drain(a, "--keep").returncode == 0
    assert choices(c.data + c.rest(a)) == choices(want)
    assert a.stop() == 0
