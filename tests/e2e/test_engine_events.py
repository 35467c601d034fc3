"""The engine at work, as any client may watch it: states, rows, timelines, cancelling by name."""
import json
import os
import sqlite3
import subprocess
import threading
import urllib.request

import pytest

from finding import find_gaufre
from serving import MODEL, SLOW, model_path, wait_for

pytestmark = pytest.mark.sanitize
CHAT = "/v1/chat/completions"


def long_body(**more):
    return {"model": MODEL, "messages": [{"role": "user", "content": "Count to 1000."}],
            "max_tokens": 4000, "ignore_eos": True, **more}


class Watch:
    """The stream of states; .next() is the next one."""

    def __init__(self, server, interval_ms=100, headers=None):
        r = urllib.request.Request(f"{server.url}/v1/engine/events?interval_ms={interval_ms}",
                                   headers=headers or {})
        self.answer = urllib.request.urlopen(r, timeout=60 * SLOW)

    def next(self):
        """None at the end."""
        for line in self.answer:
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        return None

    def until(self, check, n=300 * SLOW):
        for _ in range(n):
            state = self.next()
            if check(state):
                return state
        raise AssertionError(f"never, last: {json.dumps(state)[:2000]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answer.close()


class Ask(threading.Thread):
    """A request on a thread of its own; .status and .text when it has ended."""

    def __init__(self, server, name, headers=None, **more):
        super().__init__(daemon=True)
        self.args = (server, {"x-client-request-id": name, **(headers or {})}, long_body(**more))
        self.status = self.text = None
        self.start()

    def run(self):
        server, headers, body = self.args
        self.status, _, self.text = server.request("POST", CHAT, body, headers)

    def end(self):
        self.join(60 * SLOW)
        assert not self.is_alive()
        return self.status, self.text.decode()


def row(state, name):
    found = [r for r in state["requests"] if r["client_id"] == name]
    return found[0] if found else None


def cancel(server, name, headers=None):
    status, _, body = server.post(f"/v1/engine/requests/{name}/cancel", {}, headers)
    return status, body


def test_shape(server):
    server.chat("hi", max_tokens=2)
    with Watch(server) as w:
        a, b = w.next(), w.next()
    assert a["object"] == "engine.state" and a["threads"] >= 1 and a["version"]
    assert b["time"] > a["time"] and b["cpu_s"] >= a["cpu_s"] > 0
    assert 0 < a["memory"]["resident"] < a["memory"]["machine"]
    m, = a["models"]
    assert (m["id"], m["state"], m["loading"]) == (MODEL, "loaded", 1)
    assert m["class"] == ("bf16" if m["kernels"] == "amx" else "q8")
    assert m["family"] == "llama" and m["kernels"] and m["kv_type"] and m["formats"]
    assert m["context"] > 0 and m["batch_max"] > 0 and m["chunk"] > 0 and m["limit"] is None
    assert all(m["memory"][k] > 0 for k in ("weights", "kv", "work", "vocab"))
    p = m["pages"]
    assert p["total"] == p["used"] + p["shared"] + p["free"] > 0 and p["tokens"] == 32
    assert m["totals"]["generated_tokens"] > 0 and m["totals"]["requests"] > 0
    assert 0 < m["ttft_s"]["p50"] <= m["ttft_s"]["p95"] <= m["ttft_s"]["p99"]
    assert a["others"] == 0


def test_a_stream_is_seen_and_cancelled(server):
    wait_for("idle", server.idle)
    with Watch(server) as w:
        ask = Ask(server, "s-1", stream=True)
        first = row(w.until(lambda s: (row(s, "s-1") or {}).get("generated_tokens", 0) > 2), "s-1")
        assert (first["state"], first["endpoint"], first["stream"]) == ("decode", "chat", True)
        assert first["position"] is None and first["finish"] is None and first["ttft_s"] > 0
        assert first["prefilled_tokens"] == first["prompt_tokens"] > 0
        more = w.until(lambda s: row(s, "s-1")["generated_tokens"] > first["generated_tokens"] + 5)
        assert row(more, "s-1")["tokens_per_s"] > 0 and more["models"][0]["pages"]["used"] > 0
        assert server.metric("vllm:num_requests_running") == 1
        assert cancel(server, "s-1") == (200, {"id": first["id"], "object": "engine.request",
                                               "cancelled": True})
        status, text = ask.end()
        assert status == 200 and "[DONE]" not in text
        last = json.loads(text.rstrip().splitlines()[-1][6:])
        assert last["error"]["code"] == "request_cancelled" and last["status_code"] == 499
        wait_for("slot free", server.idle, 5)
        done = row(w.until(lambda s: row(s, "s-1")["finish"]), "s-1")
    assert (done["state"], done["finish"]) == ("finished", "cancelled")
    assert cancel(server, "s-1")[1]["cancelled"] is False

    def booked():
        db = sqlite3.connect(f"file:{server.ledger}?mode=ro", uri=True)
        try:
            return db.execute("SELECT prompt_tokens, completion_tokens, status FROM usage "
                              "WHERE request_id = ?", (done["id"],)).fetchone()
        finally:
            db.close()
    assert wait_for("a row", booked) == (done["prompt_tokens"], done["generated_tokens"], 499)


def one(server, name, headers=None):
    status, _, body = server.get(f"/v1/engine/requests/{name}", headers)
    assert status == 200
    return json.loads(body)


def test_places_in_the_queue(start):
    server = start("--batch", 1)
    with Watch(server) as w:
        asks = []
        for i in range(4):
            asks.append(Ask(server, f"q-{i}", stream=i % 2 == 1))
            w.until(lambda s: row(s, f"q-{i}") is not None)
        state = w.until(lambda s: row(s, "q-0")["state"] == "decode")
        assert [row(state, f"q-{i}")["position"] for i in range(4)] == [None, 1, 2, 3]
        assert row(state, "q-3")["state"] == "queued" and state["models"][0]["waiting"] == 3
        assert [one(server, f"q-{i}")["position"] for i in range(4)] == [None, 1, 2, 3]
        assert cancel(server, "q-2")[0] == 200
        status, text = asks[2].end()
        assert status == 499 and json.loads(text)["code"] == "request_cancelled"
        state = w.until(lambda s: row(s, "q-2")["finish"] == "cancelled")
        assert [row(state, f"q-{i}")["position"] for i in (1, 3)] == [1, 2]
        assert row(state, "q-2")["generated_tokens"] == 0
        cancel(server, "q-0")
        w.until(lambda s: row(s, "q-1")["state"] == "decode")
        for name in ("q-1", "q-3"):
            cancel(server, name)
    for ask in asks:
        ask.end()
    wait_for("idle", server.idle, 5)


def test_timeline(start):
    server = start("--chunk", 64)
    words = " ".join(f"word{i}" for i in range(400))
    status, _, body = server.post(CHAT, {"model": MODEL, "max_tokens": 100, "ignore_eos": True,
                                         "messages": [{"role": "user", "content": words}]},
                                  {"x-client-request-id": "t"})
    assert status == 200
    usage = body["usage"]
    status, _, text = server.get("/v1/engine/requests/t")
    r = json.loads(text)
    assert status == 200 and r["object"] == "engine.request" and r["finish"] == "length"
    assert (r["prompt_tokens"], r["generated_tokens"]) == (usage["prompt_tokens"], 100)
    marks = r["timeline"]
    assert len(marks) <= 64
    names = [m["what"] for m in marks]
    assert names[:3] == ["accepted", "queued", "started"] and names[-1] == "finished"
    assert names.count("prefill") >= 3 and names.count("decode") >= 16
    assert [n for i, n in enumerate(names) if n not in names[:i]] == [
        "accepted", "queued", "started", "prefill", "first_token", "decode", "finished"]
    for a, b in zip(marks, marks[1:]):
        assert b["t"] >= a["t"]
    # the engine's own clock, not that of who reads its events a step later
    assert marks[2]["t"] == pytest.approx(max(body["time_info"]["queue_time"], marks[1]["t"]),
                                          abs=2e-6)
    tokens = [m["n"] for m in marks if m["what"] in ("first_token", "decode", "finished")]
    assert tokens == sorted(tokens) and tokens[0] == 1 and tokens[-1] == 100
    assert json.loads(server.get(f"/v1/engine/requests/{r['id']}")[2])["timeline"] == marks
    assert server.get("/v1/engine/requests/none")[0] == 404


@pytest.fixture
def ann_and_bob(start, tmp_path):
    """ann_and_bob(*flags): a server, and the headers of two tenants."""
    def make(*flags):
        keys = str(tmp_path / "keys")
        heads = []
        for name in ("ann", "bob"):
            key = subprocess.run([find_gaufre(), "key", "new", keys, name, "--tenant", name],
                                 check=True, capture_output=True, text=True).stdout.strip()
            heads.append({"authorization": f"Bearer {key}"})
        return start("--keys", keys, *flags), heads
    return make


def test_places_are_by_turns(ann_and_bob):
    """Ann's runs, so it is Bob's turn, then hers, though her others came first; and so it comes."""
    server, (ann, bob) = ann_and_bob("--batch", 1)
    with Watch(server, headers=ann) as w, Watch(server, headers=bob) as v:
        for name in ("ann-0", "ann-1", "ann-2"):
            Ask(server, name, ann)
            w.until(lambda s: row(s, name))
        w.until(lambda s: row(s, "ann-0")["state"] == "decode")
        for name in ("bob-0", "bob-1"):
            Ask(server, name, bob)
            v.until(lambda s: row(s, name))
        w.until(lambda s: [row(s, f"ann-{i}")["position"] for i in range(3)] == [None, 2, 4])
        v.until(lambda s: [row(s, f"bob-{i}")["position"] for i in range(2)] == [1, 3])
        assert [one(server, f"ann-{i}", ann)["position"] for i in range(3)] == [None, 2, 4]
        assert [one(server, f"bob-{i}", bob)["position"] for i in range(2)] == [1, 3]
        cancel(server, "ann-0", ann)
        v.until(lambda s: row(s, "bob-0")["state"] == "decode")
        assert one(server, "ann-1", ann)["position"] == 1
        for name in ("ann-1", "ann-2"):
            cancel(server, name, ann)
        for name in ("bob-1", "bob-0"):
            cancel(server, name, bob)


def test_tenants_do_not_see_each_other(ann_and_bob):
    server, heads = ann_and_bob()
    assert server.get("/v1/engine/events")[0] == 401
    assert server.get("/")[0] == 200
    with Watch(server, headers=heads[0]) as ann, Watch(server, headers=heads[1]) as bob:
        ask = Ask(server, "mine", heads[0], stream=True)
        state = ann.until(lambda s: row(s, "mine"))
        assert state["others"] == 0
        state = bob.until(lambda s: s["others"] == 1)
        assert state["requests"] == []
        rid = row(ann.until(lambda s: row(s, "mine")["generated_tokens"]), "mine")["id"]
        for name in ("mine", rid):
            assert server.get(f"/v1/engine/requests/{name}", heads[1])[0] == 404
            assert cancel(server, name, heads[1])[0] == 404
        assert row(ann.next(), "mine")["finish"] is None
        assert cancel(server, rid, heads[0])[1]["cancelled"] is True
        ask.end()
        assert bob.until(lambda s: s["others"] == 0)["requests"] == []


def test_a_drain_does_not_wait_for_watchers(start):
    server = start("--drain-timeout", "600s")
    with Watch(server, 10000) as w:
        assert w.next()["models"]
        assert server.stop(30) == 0
        assert w.next() is None


def test_limit_comes_from_bench(start, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    env = {**os.environ, "GAUFRE_HOME": str(home)}

    def limit():
        with Watch(start(env=env)) as w:
            return w.next()["models"][0]["limit"]

    (home / "bench.json").write_text("{")
    assert limit() is None
    subprocess.run([find_gaufre(), "bench", model_path(), "-p", "16", "-n", "2", "-r", "1"],
                   check=True, capture_output=True, env=env)
    stored, = json.loads((home / "bench.json").read_text())["rows"]
    assert stored["decode_tokens_per_s"] > 0 and stored["prefill_tokens_per_s"] > 0
    found = limit()
    assert found["read_bytes_per_s"] > 1e8 and found["measured"] == stored["measured"]
    assert found["decode_tokens_per_s"] == pytest.approx(stored["decode_limit"], rel=1e-3)
    assert found["prefill_tokens_per_s"] > 0
