"""Requests that a supplier elsewhere serves: nothing of the contract is lost on the way, in both directions."""
import json
import subprocess
import threading
import time

import pytest
from cerebras.cloud.sdk import Cerebras
from openai import APIStatusError, OpenAI

from finding import find_gaufre
from mock_upstream import CHAT, Mock, chunk, words
from serving import MODEL, Server, model_path, wait_for

pytestmark = pytest.mark.sanitize
KEY = "sk-the-secret-of-the-supplier"


@pytest.fixture
def relay(tmp_path):
    """relay(mock, ...): a server whose model "far" is each mock's "their-name", in this order."""
    made = []

    def make(*mocks, flags=(), models=(), extra="", theirs="their-name"):
        folder = tmp_path / f"relay{len(made)}"
        folder.mkdir()
        text = "suppliers:\n" + "".join(
            f"  - name: m{i}\n    base_url: {m.url}\n    key_env: THE_KEY\n    models: [far={theirs}]\n{extra}"
            for i, m in enumerate(mocks))
        (folder / "gaufre.yaml").write_text(text)
        made.extend(mocks)
        made.append(Server(str(folder), "-c", folder / "gaufre.yaml", *flags, models=list(models),
                           env={"THE_KEY": KEY}))
        return made[-1]

    yield make
    for m in made:
        if isinstance(m, Server):
            log = m.read_log()
            if m.process.poll() is None:
                m.process.kill()
                m.process.wait()
            m.log.close()
            assert KEY not in log
        else:
            m.close()


def ask(server, **more):
    return server.post("/v1/chat/completions",
                       {"model": "far", "messages": [{"role": "user", "content": "hi"}], **more})


def stream(server, **more):
    """The frames of a stream, and its head."""
    status, heads, body = server.request("POST", "/v1/chat/completions", {
        "model": "far", "messages": [{"role": "user", "content": "hi"}], "stream": True, **more})
    assert status == 200, body
    frames = body.decode().split("\n\n")
    assert frames[-1] == ""
    return [f[6:] for f in frames[:-1] if f.startswith("data: ")], heads


def test_whole_answers_pass_as_they_are(relay):
    mock = Mock()
    server = relay(mock)
    status, heads, body = server.request("POST", "/v1/chat/completions", {
        "model": "far", "messages": [{"role": "user", "content": "hi"}]})
    assert status == 200 and json.loads(body) == CHAT
    assert body.decode() == json.dumps(CHAT)
    assert heads["x-gaufre-supplier"] == "m0/far" and heads["content-type"] == "application/json"
    wait_for("booked", lambda: server.balance().get("default"))
    b = server.balance()["default"]
    assert (b["prompt_tokens"], b["cached_tokens"], b["completion_tokens"]) == (11, 3, 4)


def test_everything_asked_for_arrives(relay):
    mock = Mock()
    server = relay(mock)
    more = {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "tool_choice": "required", "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
            "reasoning_effort": "high", "logprobs": True, "top_logprobs": 2, "modalities": ["text", "audio"],
            "a_field_of_tomorrow": {"deep": [1.50, 2e3, None, "é\u2028"]}, "temperature": 0.30, "n": 2,
            "messages": [{"role": "user", "content": [
                {"type": "text", "text": "what is it?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]}]}
    assert ask(server, **more)[0] == 200
    got = mock.requests[0]
    assert got.path == "/v1/chat/completions" and got.headers["authorization"] == f"Bearer {KEY}"
    assert got.json == {"model": "their-name", **more}
    assert b'"temperature":0.3' in got.body and b"[1.5, 2000.0, null" in got.body  # the client's own bytes


def test_fields_can_be_dropped(relay):
    mock = Mock()
    server = relay(mock, extra="    unknown_fields: drop\n")
    assert ask(server, a_field_of_tomorrow=1, top_k=4, temperature=1)[0] == 200
    assert mock.requests[0].json == {"model": "their-name", "messages": [{"role": "user", "content": "hi"}],
                                     "temperature": 1}


def test_a_supplier_is_told_what_is_held(relay):
    """No limit is overshot elsewhere: what the client leaves open is what its tenant has room for."""
    mock = Mock()
    server = relay(mock, flags=["--tokens-per-minute", "200"])
    status, heads, _ = server.request("POST", "/v1/chat/completions", {
        "model": "far", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": None})
    sent = mock.requests[0].json
    assert status == 200
    assert 0 < sent["max_tokens"] < 200 - len("hi")
    assert "max_completion_tokens" not in sent
    assert heads["x-gaufre-max-tokens"] == str(sent["max_tokens"])
    assert int(heads["x-ratelimit-remaining-tokens"]) >= 200 - 15  # as the supplier says
    assert ask(server, max_completion_tokens=5)[0] == 200
    assert mock.requests[1].json["max_completion_tokens"] == 5
    assert "max_tokens" not in mock.requests[1].json


def test_a_supplier_is_asked_for_the_tier_that_was_granted(relay, tmp_path):
    """Elsewhere a tier costs money: what a key has no right to is not asked for in its name. Batch is no tier of requests there."""
    keys = tmp_path / "keys"
    key = subprocess.run([find_gaufre(), "key", "new", keys, "k"], check=True, capture_output=True, text=True).stdout.strip()
    mock = Mock()
    server = relay(mock, flags=["--keys", keys])
    for asked, granted, sent in (("priority", "default", "default"), ("auto", "default", "default"), ("flex", "flex", "flex"),
                                 ("batch", "batch", "flex"), (None, "default", None)):
        status, heads, _ = server.post("/v1/chat/completions", {"model": "far", "messages": [{"role": "user", "content": "hi"}],
                                                                "service_tier": asked}, {"Authorization": f"Bearer {key}"})
        assert status == 200 and heads["x-gaufre-tier"] == granted
        assert mock.requests[-1].json["service_tier"] == sent


@pytest.mark.parametrize("more", [{"max_completion_tokens": 5, "max_tokens": 9999999}, {"max_tokens": 9999999, "max_completion_tokens": 5},
                                  {"max_tokens": -1, "max_completion_tokens": 5}])
def test_two_maxima_are_the_one_that_is_held(relay, more):
    """A supplier that knows only the other name is held to it too."""
    mock = Mock()
    server = relay(mock)
    assert ask(server, **more)[0] == 200
    assert mock.requests[0].json["max_tokens"] == mock.requests[0].json["max_completion_tokens"] == 5


def test_a_wrong_body_is_refused_here(relay):
    mock = Mock()
    server = relay(mock)
    for more in ({"temperature": 9}, {"tools": 1}, {"messages": []}, {"tool_choice": "required"}):
        status, _, body = ask(server, **more)
        assert status == 400 and body["code"] == "wrong_api_format", more
    assert server.post("/v1/chat/completions", {"model": "nobody's", "messages": [{"role": "user", "content": "x"}]})[0] == 404
    assert not mock.requests


@pytest.mark.parametrize("include", [False, True])
def test_chunks_pass_as_they_are(relay, include):
    events = words() + []
    mock = Mock(lambda a: a.stream(events))
    server = relay(mock)
    got, _ = stream(server, stream_options={"include_usage": include, "x": 1})
    assert mock.requests[0].json["stream_options"] == {"include_usage": True, "x": 1}
    assert got[-1] == "[DONE]"
    if include:
        assert got[:-1] == events
    else:  # the usage is on the last chunk, where those look who ask for nothing
        assert got[:-2] == events[:-2]
        assert json.loads(got[-2]) == {**json.loads(events[-2]), "usage": json.loads(events[-1])["usage"]}


def test_a_usage_of_null_is_replaced(relay):
    """Some send "usage": null with every chunk: the last one of the choices must not have two."""
    events = words()
    nulls = [json.dumps({"usage": None, **json.loads(e)}) for e in events[:-1]] + events[-1:]
    got, _ = stream(relay(Mock(lambda a: a.stream(nulls))))
    assert got[:-2] == nulls[:-2] and got[-2].count('"usage"') == 1
    assert json.loads(got[-2]) == {**json.loads(nulls[-2]), "usage": json.loads(events[-1])["usage"]}


@pytest.mark.parametrize("null", [{}, {"usage": None}])
def test_what_comes_with_the_usage_is_not_lost(relay, null):
    """To who did not ask for a chunk of usage: on the last one, with the supplier's times and its own members."""
    own = {"usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3, "cost": 0.5},
           "time_info": {"total_time": 0.25}, "x_own": ["é"]}
    events = [chunk({"content": "one "}), chunk({}, "stop", **null), json.dumps({"id": "chatcmpl-up", "choices": [], **own})]
    server = relay(Mock(lambda a: a.stream(events)))
    got, _ = stream(server)
    assert got[0] == events[0] and json.loads(got[1]) == {**json.loads(events[1]), **own} and got[2:] == ["[DONE]"]
    got, _ = stream(server, stream_options={"include_usage": True})
    assert got == events + ["[DONE]"]


def test_chunks_of_many_lines_become_one(relay):
    """Chunks that come on several data lines, and with white space behind the brace, which usage is put before."""
    lines = json.dumps(json.loads(chunk({"content": "one"})), indent=1).split("\n")

    def script(a):
        a.begin()
        a.raw("".join(f"data: {line}\r\n" for line in lines) + "\r\n")
        a.event(chunk({}, "stop") + "\t ")
        a.event(words()[-1])
        a.end()
    frames, _ = stream(relay(Mock(script)))
    assert len(frames) == 3 and frames[2] == "[DONE]"
    assert frames[0] == " ".join(lines)
    last = json.loads(frames[1])
    assert last["choices"][0]["finish_reason"] == "stop" and last["usage"]["total_tokens"] == 15


def test_tool_calls_pass_byte_for_byte(relay):
    events = [chunk({"role": "assistant", "content": None}),
              chunk({"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
              chunk({"tool_calls": [{"index": 1, "id": "call_b", "type": "function", "function": {"name": "g", "arguments": ""}}]}),
              chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x": "\\"'}}]}),
              chunk({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}),
              chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"}'}}]}),
              chunk({}, "tool_calls", usage={"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14})]
    mock = Mock(lambda a: a.stream(events))
    server = relay(mock)
    got, _ = stream(server)
    assert got == events + ["[DONE]"]
    client = OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0)
    calls = {}
    for c in client.chat.completions.create(model="far", messages=[{"role": "user", "content": "x"}], stream=True):
        for t in c.choices[0].delta.tool_calls or []:
            call = calls.setdefault(t.index, {"name": "", "arguments": ""})
            call["name"] += t.function.name or ""
            call["arguments"] += t.function.arguments or ""
    assert calls == {0: {"name": "f", "arguments": '{"x": "\\""}'}, 1: {"name": "g", "arguments": "{}"}}


def test_each_chunk_at_once(relay):
    """The next chunk is sent when the one before has arrived: nothing is gathered on the way."""
    here, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def script(a):
        a.begin()
        a.event(chunk({"role": "assistant", "content": ""}))
        for i in range(20):
            a.event(chunk({"content": f"w{i} "}))
            here.release()
            assert go_on.acquire(timeout=60)
        for e in words(role=False, text="")[-2:]:
            a.event(e)
        a.end()

    server = relay(Mock(script))
    client = OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0)
    n = 0
    for c in client.chat.completions.create(model="far", messages=[{"role": "user", "content": "x"}], stream=True):
        if c.choices[0].delta.content:
            assert c.choices[0].delta.content == f"w{n} "
            assert here.acquire(timeout=60)
            n += 1
            go_on.release()
    assert n == 20


def test_completions_with_both_sdks(relay):
    def script(a):
        b = a.request.json
        if a.request.path.endswith("/chat/completions"):
            a.stream(words()) if b.get("stream") else a.reply(200, CHAT)
        else:
            n = len(b["prompt"]) if isinstance(b["prompt"], list) else 1
            a.reply(200, {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "their-name",
                          "choices": [{"index": i, "text": f"t{i}", "finish_reason": "length", "logprobs": None} for i in range(n)],
                          "usage": {"prompt_tokens": 2, "completion_tokens": n, "total_tokens": 2 + n}})

    server = relay(Mock(script))
    o = OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0)
    c = Cerebras(base_url=server.url, api_key="x", max_retries=0)
    for client in (o, c):
        got = client.completions.create(model="far", prompt=["a", "b", "c"], max_tokens=1)
        assert [x.text for x in got.choices] == ["t0", "t1", "t2"]
        got = client.chat.completions.create(model="far", messages=[{"role": "user", "content": "x"}], stream=True)
        chunks = list(got)
        chunks = [x.to_dict() for x in chunks]
        assert "".join(x["choices"][0]["delta"].get("content") or "" for x in chunks) == "one two three four "
        assert chunks[-1]["usage"]["completion_tokens"] == 4
    with pytest.raises(APIStatusError) as e:
        o.chat.completions.create(model="no", messages=[{"role": "user", "content": "x"}])
    assert e.value.status_code == 404


def test_a_client_that_leaves_is_felt_there(relay):
    left = []

    def script(a):
        left.append(a.request)
        a.begin()
        for e in words()[:3]:
            a.event(e)
        a.wait_gone()

    server = relay(Mock(script))
    s = server.connect()
    body = json.dumps({"model": "far", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    while b"two" not in s.recv(65536):
        pass
    s.close()
    wait_for("the supplier was told", lambda: left and left[0].gone.is_set())
    wait_for("booked", lambda: server.balance().get("default"))
    b = server.balance()["default"]
    assert b["requests"] == 1 and b["completion_tokens"] > 0  # as far as it went


@pytest.mark.parametrize("streamed", [False, True])
def test_who_leaves_before_the_first_byte_leaves_nothing_behind(relay, streamed):
    """Its job is cancelled and comes home in one go, while a mail about it is under way."""
    asked = []

    def script(a):
        asked.append(a.request)
        if streamed:
            a.begin()
        a.wait_gone()

    server = relay(Mock(script))
    body = json.dumps({"model": "far", "stream": streamed, "messages": [{"role": "user", "content": "hi"}]}).encode()
    for i in range(8):
        s = server.connect()
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_for("asked", lambda: len(asked) == i + 1)
        s.close()
        wait_for("the supplier was told", asked[i].gone.is_set)
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests") == 8)
    assert server.process.poll() is None and server.stop() == 0


def test_a_slow_reader_pauses_the_supplier(relay):
    """An answer larger than all buffers, to a client that reads late: it comes whole."""
    events = words("x" * 1000 + " " + " ".join("y" * 1000 for _ in range(8000)))
    server = relay(Mock(lambda a: a.stream(events)))
    s = server.connect()
    body = json.dumps({"model": "far", "stream": True, "stream_options": {"include_usage": True},
                       "messages": [{"role": "user", "content": "hi"}]}).encode()
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
              % len(body) + body)
    time.sleep(.3)  # what is not read meanwhile must wait somewhere
    got = b""
    while data := s.recv(1 << 20):
        got += data
    assert got.count(b"data: ") == len(events) + 1 and b"[DONE]" in got


def test_another_gaufre_is_a_supplier(relay, start):
    """The same answer as there, and the same refusals."""
    there = start("--threads", 1)
    asked = {"messages": [{"role": "user", "content": "Tell me about tea."}], "max_tokens": 12, "temperature": 0,
             "logprobs": True}

    class There:
        url = there.url + "/v1"

        def close(self):
            pass

    here, wrong = relay(There(), theirs=MODEL), relay(There())
    assert ask(here, **asked)[2]["choices"] == there.post("/v1/chat/completions", {"model": MODEL, **asked})[2]["choices"]
    got, _ = stream(here, **asked)
    assert [json.loads(g)["choices"][0].get("finish_reason") for g in got[:-1]][-1] == "length"
    status, _, body = ask(here, messages=[{"role": "user", "content": "word " * 20000}])
    assert status == 400 and body["code"] == "context_length_exceeded"
    assert "maximum context length" in body["message"] and "reduce the length" in body["message"]
    status, heads, body = ask(wrong)
    assert status == 502 and body["code"] == "supplier_error" and "their-name" not in json.dumps(body)
    wait_for("booked", lambda: here.balance().get("default", {}).get("completion_tokens") == 24)
    assert here.balance()["default"]["prompt_tokens"] == 2 * there.balance()["default"]["prompt_tokens"] // 3


def test_local_and_elsewhere(relay):
    """A model of this machine and the same elsewhere: what the engine lacks is served there or refused by name."""
    mock = Mock()
    server = relay(mock, models=[model_path()], flags=("--threads", 1))
    local = server.post("/v1/chat/completions", {"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": "x"}]})
    assert local[0] == 200 and local[1]["x-gaufre-supplier"] == f"local/{MODEL}"
    tools = [{"type": "function", "function": {"name": "f"}}]
    status, _, body = server.post("/v1/chat/completions", {"model": MODEL, "tools": tools,
                                                           "messages": [{"role": "user", "content": "x"}]})
    assert status == 400 and body["code"] == "unsupported_feature" and body["param"] == "tools"
    assert ask(server, tools=tools)[0] == 200


BASE = "suppliers:\n  - name: a\n    base_url: http://x/v1\n    models: [m]\n"


@pytest.mark.parametrize("text, words_", [
    ("suppliers:\n  - base_url: http://x\n", "name"),
    ("suppliers:\n  - name: a b\n", "name"),
    ("suppliers:\n  - name: a\n    base_url: ftp://x\n    models: [m]\n", "a"),
    ("suppliers:\n  - name: a\n    base_url: http://x/v1\n", "models"),
    ("suppliers:\n  - name: a\n    base_url: http://x/v1\n    models: [m]\n    key_env: NOT_THERE\n", "NOT_THERE"),
    ("suppliers:\n  - name: a\n    base_url: http://x/v1\n    models: [m]\n    modles: [m]\n", "modles"),
    ("suppliers:\n  - name: a\n    base_url: http://x/v1\n    models: [m]\n"
     "  - name: a\n    base_url: http://y/v1\n    models: [m]\n", "two suppliers"),
    ("suppliers: 3\n", "list"),
    (BASE + "    keys: 3\n", "keys: wants a list"),
    (BASE + "    keys: [A]\n", "a key is a map"),
    (BASE + "    keys: [{weight: 2}]\n", "'env' or 'file'"),
    (BASE + "    keys: [{env: A, file: b}]\n", "'env' or 'file'"),
    (BASE + "    keys: [{env: A, weight: 0}]\n", "weight"),
    (BASE + "    keys: [{env: NOT_THERE}]\n", "NOT_THERE"),
    (BASE + "    keys: [{env: HOME}]\n    key_env: HOME\n", "one of them"),
])
def test_configuration_that_is_wrong(cli, tmp_path, text, words_):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    done = cli("serve", "-c", path, "--port", 0)
    assert done.returncode in (1, 2) and words_ in done.stderr, done.stderr
