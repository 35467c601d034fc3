"""The log of answers: each answer carries its leaf, its tenant gets a receipt for it, and ranges of the log are checked offline: what is
dropped, doubled, changed or put elsewhere is found, and a bill computed from a range is the ledger's."""
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading

import openai
import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Mock, words
from serving import MODEL, Server, wait_for

pytestmark = pytest.mark.sanitize

PRICES = """currency: EUR
prices:
  - {model: m, input: 0.20, output: 1.00}
"""


def far(a):
    if a.request.json.get("stream"):
        a.stream(words())
    else:
        a.reply(200, CHAT)


@pytest.fixture
def door(tmp_path):
    """A server in front of a supplier; stopped at the end, unless it is already."""
    servers = []

    def make(more="", **how):
        (tmp_path / "c.yaml").write_text(f"suppliers:\n  - name: far\n    base_url: {Mock(far).url}\n    models: [m]\n{PRICES}{more}")
        servers.append(Server(str(tmp_path), "-c", tmp_path / "c.yaml", models=[], **how))
        return servers[-1]

    yield make
    for s in servers:
        assert s.process.poll() is not None or s.stop() == 0, s.read_log()[-4000:]


def ask(server, key=None, **more):
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **more}
    status, heads, _ = server.request("POST", "/v1/chat/completions", body, headers={"authorization": f"Bearer {key}"} if key else {})
    assert status == 200
    return heads["x-request-id"], heads.get("x-gaufre-receipt")


def receipt(server, request_id, key=None):
    """As soon as it is there."""
    heads = {"authorization": f"Bearer {key}"} if key else {}

    def get():
        status, _, body = server.request("GET", f"/v1/receipts/{request_id}", headers=heads)
        assert status in (200, 404, 503), body
        return status == 200 and json.loads(body)
    return wait_for("a receipt", get)


def gaufre(server, *args, stdin=None):
    p = subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, input=stdin, timeout=300,
                       env={**os.environ, "GAUFRE_HOME": server.folder, "GAUFRE_LEDGER": server.ledger})
    return p.returncode, p.stdout, p.stderr


def good(server, *args):
    code, out, err = gaufre(server, *args)
    assert code == 0, err
    return out


def bad(server, *args):
    code, out, err = gaufre(server, *args)
    assert code == 1, (out, err)
    return err


def key_of(server):
    return good(server, "receipts", "key", "--hex").strip()


def write(path, what):
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    return path


def test_each_answer_has_a_receipt(door, tmp_path):
    server = door()
    asked = [ask(server) for _ in range(3)] + [ask(server, stream=True)]
    assert asked[3][1] is None  # a stream's head is sent before its end is known
    for i, (request_id, leaf) in enumerate(asked):
        found = receipt(server, request_id)
        assert leaf in (None, found["leaf"])
        record = found["record"]
        assert record["request_id"] == request_id and record["model"] == "m" and record["supplier"] == "far/m"
        assert (record["prompt_tokens"], record["completion_tokens"], record["counted"]) == (11, 4, "yes")
        assert record["charge_nano"] == 6200 and record["currency"] == "EUR" and re.fullmatch("[0-9a-f]{32}", record["price_book"])
        assert record["prompt"] == record["output"] == record["weights"] == ""  # of what others compute nothing is known
        assert found["tenant"] == "default" and found["index"] == i
        path = write(tmp_path / f"{i}.json", found)
        assert f"request {request_id} of default, model m, 11 + 4 tokens" in good(server, "verify", "--key", key_of(server), path)
    assert server.request("GET", "/v1/receipts/req_unknown")[0] == 404
    wait_for("entries told", lambda: server.metric("gaufre_receipts_entries") == 4)
    assert 1 <= server.metric("gaufre_receipts_heads_total") <= 4 and server.metric("gaufre_receipts_head_timestamp_seconds") == record["at_us"] // 10 ** 6
    # What a verifier is told that is not so, is refused: by the entry, its salt, the path, the head.
    for change in (lambda r: r["record"].update(charge_nano=1), lambda r: r.update(tenant="other"), lambda r: r.update(index=2),
                   lambda r: r["head"].update(size=9), lambda r: r.update(salt="00" * 16), lambda r: r.update(more=1),
                   lambda r: r.update(path=r["path"][:-1]), lambda r: r.update(leaf=r["leaf"].upper())):
        wrong = json.loads(json.dumps(found))
        change(wrong)
        assert "wrong.json" in bad(server, "verify", write(tmp_path / "wrong.json", wrong))
    assert "another key" in bad(server, "verify", "--key", "00" * 32, path)


def test_a_stream_tells_its_leaf_to_who_asks(door, tmp_path):
    server = door()
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    for asked in ({}, {"x-gaufre-receipt": "stream"}, {"x-gaufre-receipt": "stream"}):
        status, heads, text = server.request("POST", "/v1/chat/completions", body, headers=asked)
        events = text.decode().strip().split("\n\n")
        assert status == 200 and "data: [DONE]" in events
        comments = [x for x in events if x.startswith(": x-gaufre-receipt ")]
        assert len(comments) == bool(asked)
        if asked:
            assert events[-2:] == ["data: [DONE]", f": x-gaufre-receipt {receipt(server, heads['x-request-id'])['leaf']}"]
    # OpenAI's client reads on past it.
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0)
    for _ in range(3):
        got = list(client.chat.completions.create(model="m", messages=body["messages"], stream=True, extra_headers={"x-gaufre-receipt": "stream"}))
        assert got[-1].choices[0].finish_reason == "stop" or got[-1].usage


def test_a_receipt_is_its_tenants(door, tmp_path):
    env = {"A": "sk-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "B": "sk-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}
    server = door("tenants:\n  - {name: acme}\n  - {name: lab}\napi_keys:\n  - {name: a, tenant: acme, env: A}\n  - {name: b, tenant: lab, env: B}\n",
                  env=env)
    mine, leaf = ask(server, env["A"])
    assert receipt(server, mine, env["A"])["leaf"] == leaf
    status, _, body = server.request("GET", f"/v1/receipts/{mine}", headers={"authorization": f"Bearer {env['B']}"})
    assert status == 404 and "No receipt" in body.decode()
    assert server.request("GET", f"/v1/receipts/{mine}")[0] == 401


def test_a_range_is_checked_and_summed(door, tmp_path):
    server = door()
    asked = [ask(server)[0] for _ in range(7)]
    first = write(tmp_path / "first.json", receipt(server, asked[2]))
    old = write(tmp_path / "old.jsonl", good(server, "receipts", "export", "--tenant", "default"))
    asked += [ask(server)[0] for _ in range(6)]
    last = write(tmp_path / "last.json", receipt(server, asked[-1]))
    text = good(server, "receipts", "export")
    new = write(tmp_path / "new.jsonl", text)
    key = key_of(server)
    out = good(server, "verify", "-k", key, old, new, first, last)
    assert "default, m: 13 requests, 143 + 52 tokens (39 cached), 0.0000806 EUR" in out
    # The same numbers as the ledger's own.
    bill, = map(json.loads, good(server, "bill", "--by", "model", "--json").splitlines())
    rebuilt, = map(json.loads, good(server, "verify", "--json", new).splitlines())
    for name in ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "charge", "currency"):
        assert rebuilt[name] == bill[name], name
    # Of another tenant's only hashes are told, and they are in the tree all the same.
    others = good(server, "receipts", "export", "--tenant", "nobody")
    assert asked[0].encode().hex() not in others and others.count('"leaf"') == 13
    assert "13" in good(server, "verify", write(tmp_path / "others.jsonl", others), first)
    head, *lines = text.splitlines()
    numbered = [json.loads(x) for x in lines]

    def again(entries):
        return head + "\n" + "".join(json.dumps({**x, "i": i}) + "\n" for i, x in enumerate(entries))

    assert "0 of 13" in bad(server, "verify", write(tmp_path / "w", head + "\n"))
    for how, entries in {"dropped": numbered[:4] + numbered[5:], "reordered": [numbered[1], numbered[0], *numbered[2:]],
                         "doubled": numbered[:4] + [numbered[3]] + numbered[5:], "cut": numbered[:-1]}.items():
        says = bad(server, "verify", write(tmp_path / "w", again(entries)))
        assert "of 13 entries" in says or "dropped" in says, how
    # A number that was changed within an entry, its form intact.
    changed = json.loads(json.dumps(numbered))
    at = changed[6]["entry"].index("15191838")  # charge_nano, 6200
    changed[6]["entry"] = changed[6]["entry"][:at] + "15191839" + changed[6]["entry"][at + 8:]
    assert "not those that its head was signed for" in bad(server, "verify", write(tmp_path / "w", again(changed)))
    # Without any range: the newest head goes on from that of the first receipt.
    size = json.loads(first.read_text())["head"]["size"]
    head = json.loads(server.request("GET", f"/v1/receipts?since={size}")[2])
    newest = write(tmp_path / "head.json", head)
    assert "the head of 13 entries" in good(server, "verify", "-k", key, first, newest, last)
    for change in (lambda h: h["path"].reverse(), lambda h: h.update(since=size + 1), lambda h: h["path"].pop(),
                   lambda h: h["head"].update(at=1)):
        wrong = json.loads(json.dumps(head))
        change(wrong)
        code, _, err = gaufre(server, "verify", first, write(tmp_path / "w", wrong))
        assert code == 1 or "which no file here has" in err
    assert server.request("GET", "/v1/receipts?since=99")[0] == 404 and server.request("GET", "/v1/receipts?since=x")[0] == 400
    # A log that was written anew and signed with the real key is another history than the receipt of the first one.
    assert server.stop() == 0
    db = sqlite3.connect(server.ledger)
    db.executescript("DELETE FROM usage; DELETE FROM balance; DELETE FROM account; DELETE FROM tree_head; DELETE FROM tree_node;"
                     "UPDATE tree SET size = 0, nodes = ''; UPDATE opening SET seq = 0;")
    db.close()
    server = door()
    for _ in range(13):
        ask(server)
    receipt(server, ask(server)[0])
    forged = write(tmp_path / "forged.jsonl", good(server, "receipts", "export"))
    assert good(server, "verify", "-k", key, forged)
    for claim in (first, last, old):
        assert "changed" in bad(server, "verify", "-k", key, forged, claim) or "two histories" in bad(server, "verify", forged, claim)


def hash_of(salt, *lists):
    """Of lists of token ids, as an entry has it."""
    each = b"".join(hashlib.sha256(b"".join(i.to_bytes(4, "little") for i in ids)).digest() for ids in lists)
    return hashlib.sha256(bytes.fromhex(salt) + each).hexdigest()


def test_what_the_engine_computed_is_in_the_entry(tmp_path):
    """The hashes are of the ids that were told; who computes a seeded or greedy answer again has the same ones."""
    server = Server(str(tmp_path))
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 6, "temperature": 0.5, "seed": 3, "top_p": 0.9}
    _, heads, answer = server.request("POST", "/v1/chat/completions", {**body, "n": 2, "return_token_ids": True})
    found = receipt(server, heads["x-request-id"])
    record, answer = found["record"], json.loads(answer)
    assert heads["x-gaufre-receipt"] == found["leaf"]
    assert record["prompt"] == hash_of(found["salt"], answer["choices"][0]["prompt_token_ids"])
    assert record["output"] == hash_of(found["salt"], *[c["token_ids"] for c in answer["choices"]])
    for greedy in (True, False):  # as a verifier would: the entry's settings, another request, another salt
        ask_for = {**body, "return_token_ids": True, **({"temperature": 0} if greedy else {}), "messages": [{"role": "user", "content": "Count."}]}
        _, heads, _ = server.request("POST", "/v1/chat/completions", {**ask_for, "stream": True})
        told = receipt(server, heads["x-request-id"])
        again = json.loads(server.request("POST", "/v1/chat/completions", ask_for)[2])
        assert told["record"]["output"] == hash_of(told["salt"], again["choices"][0]["token_ids"])
        assert told["record"]["prompt"] == hash_of(told["salt"], again["choices"][0]["prompt_token_ids"])
    assert record["sampling"].startswith("temperature=0.5,seed=3,max_tokens=6,top_p=0.9")
    assert re.fullmatch("(sha256:[0-9a-f]{64}|print:[0-9a-f]{16})", record["weights"])
    assert re.fullmatch(r"\d+\.\d+\.\d+ \S+ \S+", record["engine"])
    assert len(record["prompt"]) == len(record["output"]) == 64
    assert record["output"] != record["prompt"]
    # What a stream tells, and what it is booked as.
    status, heads, text = server.request("POST", "/v1/chat/completions", {**body, "stream": True})
    assert status == 200 and len(receipt(server, heads["x-request-id"])["record"]["output"]) == 64
    assert server.stop() == 0, server.read_log()[-4000:]


def test_an_answer_is_computed_again(tmp_path, cli):
    """Tokens are compared by their hashes: of a greedy answer, of one whose seed was left open, of choices, and of text prompts."""
    server = Server(str(tmp_path))
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "Count."}], "max_tokens": 8}

    def replay(path, body, **changed):
        _, heads, text = server.request("POST", path, body)
        found = receipt(server, heads["x-request-id"])
        (tmp_path / "r.json").write_text(json.dumps(found))
        (tmp_path / "q.json").write_text(json.dumps({**body, **changed}))
        return cli("verify", "r.json", "--replay", "q.json", "-s", server.url, cwd=tmp_path)

    for path, body in (("/v1/chat/completions", {**chat, "temperature": 0}), ("/v1/chat/completions", chat), ("/v1/chat/completions", {**chat, "temperature": 1.5, "n": 3}),
                       ("/v1/chat/completions", {**chat, "temperature": 1, "stream": True, "stream_options": {"include_usage": True}}),
                       ("/v1/completions", {"model": MODEL, "prompt": ["One two", "A b c"], "n": 2, "max_tokens": 5, "temperature": 1, "seed": -7})):
        done = replay(path, body)
        assert done.returncode == 0, (body, done.stderr)
        assert "computed again: the same prompt, and all " in done.stdout
    done = replay("/v1/completions", {"model": MODEL, "prompt": ["One two", "A b c"], "max_tokens": 5, "temperature": 1})
    assert done.returncode == 1 and "drawn at random, for several prompts without a seed" in done.stderr
    greedy = {**chat, "temperature": 0}
    done = replay("/v1/chat/completions", greedy, messages=[{"role": "user", "content": "Count!"}])
    assert done.returncode == 1 and "the prompt has other tokens" in done.stderr
    done = replay("/v1/chat/completions", greedy, logit_bias={"1": 1}, max_tokens=3)
    assert done.returncode == 1 and "the answer has other tokens" in done.stderr and "weights " in done.stderr
    for text, says in (("[]", "wants a JSON object"), ("{", "q.json"), ('{"model": "nobody", "messages": []}', "says:")):
        (tmp_path / "q.json").write_text(text)
        done = cli("verify", "r.json", "--replay", "q.json", "-s", server.url, cwd=tmp_path)
        assert done.returncode == 1 and says in done.stderr
    assert "wants one receipt" in cli("verify", "r.json", "r.json", "--replay", "q.json", cwd=tmp_path).stderr
    assert server.stop() == 0


@pytest.mark.parametrize("n", range(3))
def test_no_answer_is_lost_by_a_kill(door, tmp_path, n):
    """Killed at an instant while many ask: what was on the disk is in the log, under a head, once, and as the answer said."""
    server = door()
    told, lock = {}, threading.Lock()

    def many():
        try:
            while True:
                request_id, leaf = ask(server)
                with lock:
                    told[request_id] = leaf
        except (OSError, AssertionError, ValueError):
            pass  # it is dead

    threads = [threading.Thread(target=many) for _ in range(4)]
    for t in threads:
        t.start()
    wait_for("many answers", lambda: len(told) > 200)
    with lock:
        on_disk = list(told)
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests", 0) >= len(on_disk) + 4 + 37 * n)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    for t in threads:
        t.join()
    server = door()
    receipt(server, ask(server)[0])
    booked = [x for x, in sqlite3.connect(server.ledger).execute("SELECT request_id FROM usage")]
    assert set(on_disk) <= set(booked) and len(booked) == len(set(booked))
    for request_id in [x for x in booked if x in told][-100:]:
        assert receipt(server, request_id)["leaf"] == told[request_id]
    text = good(server, "receipts", "export")
    assert good(server, "verify", write(tmp_path / "all.jsonl", text))
    assert "every one as it was written" in good(server, "audit")
