"""Stored answers: cut at every event, by the client's leaving and by kill -9 of the server, the rest is the same bytes;
each is booked once, and is its tenant's alone."""
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from finding import find_gaufre
from serving import MODEL, SLOW, Server, wait_for
from test_tenants import two  # noqa: F401

pytestmark = pytest.mark.sanitize
TOKENS = 18
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me about the sea."}], "stream": True,
       "max_tokens": TOKENS, "store": True}
DRAWN = {"temperature": 1.3, "seed": 7, "frequency_penalty": .4, "presence_penalty": .3, "repetition_penalty": 1.2}
KINDS = {
    "greedy": {"temperature": 0},
    "drawn": {**DRAWN, "logprobs": True, "top_logprobs": 2},
    "stop": {**DRAWN, "stop": ["zzz", " of the", "e t"], "stream_options": {"include_usage": True}},
    "two choices": {"n": 2, "seed": 3, "return_token_ids": True},
}


def events(data):
    """Of a stream: [(position, its JSON or text)]. Comments are left out."""
    found = []
    for frame in data.decode().split("\n\n"):
        m = re.fullmatch(r"id: ([^/\n]+)/(\d+)\ndata: (.*)", frame.lstrip("\n"))
        if m:
            found.append((int(m[2]), m[3] if m[3] == "[DONE]" else json.loads(m[3])))
    return found


def bare(data):
    """Without comments, which say how things are just then."""
    return b"\n\n".join(f for f in data.split(b"\n\n") if not f.startswith(b":"))


def choices(data):
    """What each choice was told, event by event, without what differs from request to request."""
    told = {}
    for _, e in events(data):
        for c in e["choices"] if e != "[DONE]" else ():
            told.setdefault(c["index"], []).append(c)
    return told


class Cut:
    """A stream of which so many events are read, and no more."""

    def __init__(self, server, body, n, heads=()):
        data = json.dumps(body).encode()
        self.socket = server.connect()
        self.socket.sendall("\r\n".join([f"POST /v1/chat/completions HTTP/1.0", "Host: localhost",
                                         f"Content-Length: {len(data)}", *heads, "", ""]).encode() + data)
        self.data = b""
        while self.data.count(b"\n\n") < n:
            more = self.socket.recv(1 if n else 4096)
            assert more, self.data
            self.data += more
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        self.id = re.search(rb"x-gaufre-stored: (\S+)", head)[1].decode()
        self.at = events(self.data)[-1][0]

    def leave(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def rest(self, server, heads={}):
        status, _, data = server.get(f"/v1/chat/completions/{self.id}", {"Last-Event-ID": f"{self.id}/{self.at}", **heads})
        assert status == 200, data
        return data

    def whole(self, server, heads={}):
        status, _, data = server.get(f"/v1/chat/completions/{self.id}?stream=true", heads)
        assert status == 200, data
        return data


def rows(server):
    with sqlite3.connect(f"file:{server.ledger}?mode=ro", uri=True) as db:
        return db.execute("SELECT prompt_tokens, completion_tokens, status FROM usage").fetchall()


def settled(server, n):
    wait_for("booked", lambda: len(rows(server)) >= n and server.metric("gaufre_ledger_rows_in_journal") == 0)
    return rows(server)


def killed(server):
    server.process.kill()
    server.process.wait()


def again(server, *flags):
    return Server(server.folder, *flags, ledger=server.ledger)


@pytest.fixture
def keeper():
    servers = []
    yield servers
    for s in servers:
        if s.process.poll() is None:
            killed(s)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_leaves_at_every_event(server, kind):
    body = {**ASK, **KINDS[kind]}
    want = server.request("POST", "/v1/chat/completions", body)[2]
    n = len(events(want))
    assert [i for i, _ in events(want)] == list(range(1, n + 1))

    def cut(k):
        c = Cut(server, body, k)
        c.leave()
        rest = c.rest(server)
        assert bare(c.whole(server)) == bare(c.data + rest), f"cut after {k}"
        assert choices(c.data + rest) == choices(want), f"cut after {k}"
        assert events(c.data + rest)[-1] == (n, "[DONE]")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(cut, range(1, n)))


def test_the_server_is_killed(start, keeper):
    s = start()
    want = {k: s.request("POST", "/v1/chat/completions", {**ASK, **v})[2] for k, v in KINDS.items()}
    n_before = len(settled(s, len(want)))
    owed = sorted(rows(s)) * 2
    cuts = {(k, at): Cut(s, {**ASK, **v}, at) for at in (1, 9) for k, v in KINDS.items()}
    for life in range(3):
        killed(s)
        s = again(s)
        keeper.append(s)
        for (k, at), c in cuts.items():
            if life < 2:  # read a little, and be cut off again
                more = s.connect()
                more.sendall(f"GET /v1/chat/completions/{c.id} HTTP/1.0\r\nLast-Event-ID: {c.id}/{c.at}\r\n\r\n".encode())
                text = b""
                while text.count(b"\n\n") < 2 and (byte := more.recv(1)):
                    text += byte
                more.close()
                c.data += text.split(b"\r\n\r\n", 1)[1]
                c.at = events(c.data)[-1][0]
    for (k, at), c in cuts.items():
        rest = c.rest(s) if events(c.data)[-1][1] != "[DONE]" else b""
        assert choices(c.data + rest) == choices(want[k]), (k, at)
        assert [i for i, _ in events(c.data + rest)] == list(range(1, len(events(want[k])) + 1))
        assert bare(c.whole(s)).split(b"time_info")[0] == bare(c.data + rest).split(b"time_info")[0]
    wait_for("all have ended", s.idle)
    booked = settled(s, n_before + len(cuts))
    assert sorted((p, c) for p, c, _ in booked[n_before:]) == sorted((p, c) for p, c, _ in owed)
    assert s.stop() == 0


def test_nobody_comes_back(start, keeper):
    s = start()
    c = Cut(s, {**ASK, **KINDS["greedy"]}, 3)
    killed(s)
    s = again(s)
    keeper.append(s)
    assert settled(s, 1)[0][1:] == (TOKENS, 200)
    status, _, text = s.get(f"/v1/chat/completions/{c.id}")
    answer = json.loads(text)
    assert status == 200 and answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["message"]["content"] == "".join(x["delta"].get("content", "") for x in choices(c.whole(s))[0])
    assert s.stop() == 0 and len(rows(s)) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_the_request_log_has_all_of_it(tmp_path, start, stream):
    """Also what was made after its client left: usage and text."""
    store, where = tmp_path / "accounts.db", tmp_path / "requests.db"

    def gaufre(*flags):
        return subprocess.run([find_gaufre(), *map(str, flags)], check=True, capture_output=True, text=True).stdout.strip()

    gaufre("tenant", "new", "acme", "--keep-texts", "1", "-a", store)
    heads = {"Authorization": f"Bearer {gaufre('key', 'new', 'k', '--tenant', 'acme', '-a', store)}"}
    s = start("--accounts", store, "--request-log", where)
    body = {**ASK, **KINDS["greedy"], "max_tokens": 60, "ignore_eos": True, "stream": stream}
    want = s.request("POST", "/v1/chat/completions", {**body, "stream": False, "store": False}, heads)[2]
    if stream:
        c = Cut(s, body, 3, [f"{k}: {v}" for k, v in heads.items()])
        c.leave()
    else:
        data = json.dumps(body).encode()
        c = s.connect()
        c.sendall("\r\n".join(["POST /v1/chat/completions HTTP/1.0", f"Content-Length: {len(data)}", f"Authorization: {heads['Authorization']}", "", ""]).encode() + data)
        wait_for("it is made", lambda: s.metric("vllm:num_requests_running") == 1)
        c.close()

    def logged():
        found = [json.loads(x) for x in gaufre("log", "-l", where, "--json", "--texts", "--tenant", "acme").splitlines()]
        return found if len(found) == 2 else None
    whole, row = sorted(wait_for("two rows", logged), key=lambda r: r["at"])
    assert (row["status"], row["completion_tokens"], row["finish"]) == (200, 60, "length")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (whole["prompt_tokens"], whole["completion_tokens"])
    assert row["request"]["messages"] == ASK["messages"]
    assert [m["content"] for m in row["answer"]] == [json.loads(want)["choices"][0]["message"]["content"]]
    wait_for("memory is given back", lambda: s.metric("gaufre_answer_bytes") == 0)


def test_the_request_log_waits_for_the_end(tmp_path, start, keeper):
    """What goes on in another process has its row there: one, of all of it."""
    where = tmp_path / "requests.db"
    s = start("--drain-timeout", "0ms", "--request-log", where)
    c = Cut(s, {**ASK, "max_tokens": 200, "temperature": 0, "ignore_eos": True}, 4)
    c.leave()
    assert s.stop() == 0
    s = again(s, "--request-log", where)
    keeper.append(s)
    found = wait_for("its row", lambda: subprocess.run([find_gaufre(), "log", "-l", where, "--json", "--model", MODEL], capture_output=True, text=True, check=True).stdout)
    row, = map(json.loads, found.splitlines())
    assert (row["status"], row["completion_tokens"], row["finish"], row["error"]) == (200, 200, "length", "")


def test_a_stop_in_the_middle(start, keeper):
    s = start("--drain-timeout", "0ms")
    want = s.request("POST", "/v1/chat/completions", {**ASK, "max_tokens": 200, "temperature": 0, "ignore_eos": True})[2]
    c = Cut(s, {**ASK, "max_tokens": 200, "temperature": 0, "ignore_eos": True}, 4)
    c.leave()
    assert s.stop() == 0
    assert len(rows(s)) == 1
    s = again(s)
    keeper.append(s)
    assert choices(c.data + c.rest(s)) == choices(want)
    assert len(settled(s, 2)) == 2


def test_what_is_booked_is_booked_once(start, keeper):
    """Killed after the row was written, before the file said that the answer had ended: it is told, not booked again.
    The other way round it is booked."""
    s = start()
    c = Cut(s, {**ASK, **KINDS["drawn"]}, TOKENS + 3)
    whole = c.whole(s)
    settled(s, 1)
    path = f"{s.ledger}-answers/{c.id}"
    killed(s)
    assert os.stat(path).st_mode & 0o777 == 0o600 and os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    full = open(path, "rb").read()
    with open(path, "r+b") as f:
        f.truncate(len(full) * 3 // 4)
    s = again(s)
    keeper.append(s)
    assert choices(c.whole(s)) == choices(whole)
    wait_for("ended", s.idle)
    killed(s)
    assert len(rows(s)) == 1
    with sqlite3.connect(s.ledger) as db:
        lost = s.ledger + "-lost"
    os.rename(s.ledger, lost)
    for name in os.listdir(s.folder):
        if name.startswith(os.path.basename(s.ledger) + "-") and name not in (os.path.basename(lost), os.path.basename(s.ledger) + "-answers"):
            os.remove(os.path.join(s.folder, name))
    s = again(s)
    keeper.append(s)
    assert settled(s, 1)[0][1] == json.loads(s.get(f"/v1/chat/completions/{c.id}")[2])["usage"]["completion_tokens"]
    assert choices(c.whole(s)) == choices(whole)
    assert s.stop() == 0


def test_it_is_its_tenants(two):  # noqa: F811
    s, a, b = two()
    status, heads, _ = s.request("POST", "/v1/chat/completions", ASK, a)
    where = f"/v1/chat/completions/{heads['x-gaufre-stored']}"
    assert status == 200
    for method in ("GET", "DELETE"):
        assert s.request(method, where, headers=b)[0] == 404
        assert s.request(method, where)[0] == 401
        assert s.request(method, where[:-1] + "x", headers=a)[0] == 404
        assert s.request(method, where.replace("/chat", ""), headers=a)[0] == 404
    assert s.get(where, a)[0] == 200
    for wrong in ("x", "-1", "99999999999999999999", heads["x-gaufre-stored"] + "/", "chatcmpl-other/3"):
        assert s.get(where, {**a, "Last-Event-ID": wrong})[0] == 400
        assert s.get(where + f"?starting_after={wrong}", a)[0] == 400
    assert b"[DONE]" in s.get(where + "?starting_after=5", a)[2]
    assert s.get(where, {**a, "Last-Event-ID": "9999"})[2] == b""
    status, _, text = s.request("DELETE", where, headers=a)
    assert (status, json.loads(text)["deleted"]) == (200, True)
    assert s.get(where, a)[0] == 404 and os.listdir(f"{s.ledger}-answers") == ["lock"]


def test_one_that_is_deleted_while_it_is_made(server):
    c = Cut(server, {**ASK, "max_tokens": 400, "ignore_eos": True}, 2)
    n = server.metric("gaufre_requests_total")
    assert server.request("DELETE", f"/v1/chat/completions/{c.id}")[0] == 200
    text = c.data
    while b": not stored any more: it was deleted" not in text:
        more = c.socket.recv(65536)
        assert more
        text += more
    c.leave()
    wait_for("the engine is free", server.idle)
    assert server.get(f"/v1/chat/completions/{c.id}")[0] == 404
    alone = Cut(server, {**ASK, "max_tokens": 4000, "ignore_eos": True}, 2)
    alone.leave()
    assert server.request("DELETE", f"/v1/chat/completions/{alone.id}")[0] == 200
    wait_for("nobody wants it, and it ends", server.idle)
    assert server.metric("gaufre_requests_total") > n


def test_what_is_not_stored(server):
    def why(path, **body):
        status, heads, _ = server.request("POST", path, {"model": MODEL, "max_tokens": 2, **body})
        assert status == 200 and "x-gaufre-stored" not in heads
        return heads["x-gaufre-not-stored"]
    assert why("/v1/completions", prompt=["a", "b"], store=True) == "it has several prompts"
    assert why("/v1/completions", prompt="a", echo=True, store=True) == "it echoes its prompt"
    assert why("/v1/completions", prompt="a", store=False) is None
    status, heads, text = server.request("POST", "/v1/completions", {"model": MODEL, "prompt": "The sea", "max_tokens": 5},
                                         {"X-Gaufre-Store": "true"})
    where = f"/v1/completions/{heads['x-gaufre-stored']}"
    assert status == 200 and server.get(where)[2] == text
    assert len(events(server.get(where, {"Accept": "text/event-stream"})[2])) >= 6


def test_a_full_disk(start):
    s = start("--ledger-sync", "normal")
    body = {**ASK, "max_tokens": 60, "ignore_eos": True, "temperature": 0}
    want = s.request("POST", "/v1/chat/completions", body)[2]
    c = Cut(s, body, 8)
    room = os.stat(f"{s.ledger}-answers/{c.id}").st_size + 100
    hard = resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (room, hard))
    text = c.data
    while b"[DONE]" not in text:
        more = c.socket.recv(65536)
        assert more, text
        text += more
    resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert b": not stored any more: File too large\n\n" in text
    plain = re.sub(rb"(?m)^id: .*\n|^: .*\n\n", b"", text)
    assert choices(re.sub(rb"(?m)^data:", b"id: x/1\ndata:", plain)) == choices(want)
    assert s.get(f"/v1/chat/completions/{c.id}")[0] == 404
    assert s.stop() == 0


def test_the_oldest_give_way(start):
    s = start("--stored-memory", "64K")
    ids = [s.request("POST", "/v1/chat/completions", {**ASK, "max_tokens": 2})[1]["x-gaufre-stored"] for _ in range(30)]
    status = [s.get(f"/v1/chat/completions/{i}")[0] for i in ids]
    assert status == sorted(status, reverse=True) and status[0] == 404 and status[-1] == 200
    assert len(os.listdir(f"{s.ledger}-answers")) == 1 + status.count(200)
    big = {**ASK, "metadata": {"a": "x" * 20000}, "max_tokens": 2}
    heads = s.request("POST", "/v1/chat/completions", big)[1]
    assert "no room" in heads["x-gaufre-not-stored"] and "x-gaufre-stored" not in heads
    assert s.stop() == 0


def test_damaged_files(start, keeper):
    s = start()
    ids = [s.request("POST", "/v1/chat/completions", {**ASK, "temperature": 0})[1]["x-gaufre-stored"] for _ in range(4)]
    want = s.get(f"/v1/chat/completions/{ids[0]}?stream=true")[2]
    settled(s, 4)
    killed(s)
    folder = f"{s.ledger}-answers"
    for i, at in zip(ids, (None, 40, -300, -9)):
        with open(f"{folder}/{i}", "r+b") as f:
            data = bytearray(f.read())
            if at is not None:
                data[at] ^= 4
            f.seek(0)
            f.write(data)
    os.symlink("/etc/passwd", f"{folder}/chatcmpl-00000000-0000-0000-0000-000000000000")
    open(f"{folder}/chatcmpl-11111111-0000-0000-0000-000000000000", "w").close()
    s = again(s)
    keeper.append(s)
    assert s.get(f"/v1/chat/completions/{ids[1]}")[0] == 404  # its head
    for i in (ids[0], ids[2], ids[3]):
        assert choices(s.get(f"/v1/chat/completions/{i}?stream=true")[2]) == choices(want)
    wait_for("all have ended", s.idle)
    assert len(settled(s, 4)) == 4 and s.stop() == 0


@pytest.mark.parametrize("sdk", ["openai", "cerebras"])
def test_sdks_read_streams_with_ids(server, sdk):
    if sdk == "openai":
        import openai
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="x")
    else:
        from cerebras.cloud.sdk import Cerebras
        client = Cerebras(base_url=server.url, api_key="x", warm_tcp_connection=False)
    ask = {"model": MODEL, "messages": ASK["messages"], "max_tokens": 6, "temperature": 0}
    chunks = list(client.chat.completions.create(**ask, stream=True, extra_headers={"x-gaufre-store": "true"}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == client.chat.completions.create(**ask).choices[0].message.content
    if sdk == "openai":
        assert client.chat.completions.retrieve(chunks[0].id).choices[0].message.content == text
        assert client.chat.completions.delete(chunks[0].id).deleted


def test_nobody_follows_it_for_long(start):
    """It is stopped after stored_alone, and booked as one whose client left; one that is followed is not."""
    s = start("--stored-alone", "1s")
    body = {**ASK, "max_tokens": 4000, "ignore_eos": True}
    alone, followed = Cut(s, body, 2), Cut(s, body, 2)
    alone.leave()
    wait_for("it is stopped and booked", lambda: [r for r in rows(s) if r[2] == 499])
    assert s.get(f"/v1/chat/completions/{alone.id}")[0] == 404 and followed.socket.recv(1)
    assert s.request("DELETE", f"/v1/chat/completions/{followed.id}")[0] == 200
    followed.leave()
    wait_for("the engine is free", s.idle)
    assert len(settled(s, 2)) == 2 and os.listdir(f"{s.ledger}-answers") == ["lock"]
    assert s.stop() == 0


def test_the_window_ends(start, keeper):
    s = start("--stored-window", "1s")
    c = Cut(s, {**ASK, "max_tokens": 2}, 1)
    c.socket.settimeout(60 * SLOW)
    while c.socket.recv(65536):
        pass
    wait_for("it is kept no more", lambda: s.get(f"/v1/chat/completions/{c.id}")[0] == 404)
    assert os.listdir(f"{s.ledger}-answers") == ["lock"]
    assert s.stop() == 0


def test_none_are_stored(start):
    s = start("--stored-answers", "off")
    status, heads, text = s.request("POST", "/v1/chat/completions", {**ASK, "max_tokens": 2})
    assert status == 200 and "x-gaufre-stored" not in heads and b"\nid: " not in text
    status, _, text = s.get("/v1/chat/completions/chatcmpl-00000000-0000-0000-0000-000000000000")
    assert status == 404 and b"No answers are stored here" in text
    assert not os.path.exists(f"{s.ledger}-answers")
    assert s.stop() == 0
