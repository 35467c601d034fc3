"""The official OpenAI and Cerebras clients for JavaScript, unchanged: to the engine of the front door, and to that of a
second gaufre as its supplier. They are installed into build/js, exactly as tests/e2e/js/package-lock.json says."""
import fcntl
import json
import shutil
import subprocess

import pytest

from finding import ROOT
from mock_upstream import CHAT, Mock, chunk, words
from serving import MODEL, SLOW, Server, wait_for

HERE = ROOT / "tests/e2e/js"
FOLDER = ROOT / "build/js"
FILES = ("package.json", "package-lock.json", "client.mjs")
ASK = [{"role": "user", "content": "What is a wafer? Answer in one sentence."}]


def install():
    """The clients, once for all workers; None or why there are none."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "node and npm are not installed"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = (FOLDER / "installed").exists() and all(
            (FOLDER / f).read_bytes() == (HERE / f).read_bytes() for f in FILES[:2])
        for f in FILES:
            shutil.copy(HERE / f, FOLDER / f)
        if fresh:
            return None
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FOLDER, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        if done.returncode == 0:
            (FOLDER / "installed").touch()
            return None
        return f"npm could not install the clients: {done.stderr.strip().splitlines()[-1:]}"


@pytest.fixture(scope="module")
def node():
    """node(sdk, server or url, call, body) -> what the client made of it."""
    why = install()
    if why:
        pytest.skip(why)

    def run(sdk, url, call, body=None, **more):
        asked = {"sdk": sdk, "url": url, "call": call, "body": body, **more}
        done = subprocess.run(["node", "client.mjs", json.dumps(asked)], cwd=FOLDER, check=False, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120 * SLOW)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """Front doors, by who computes there: (url, model, server, the server that computes)."""
    there = Server(str(tmp_path_factory.mktemp("there")), "--threads", 1)
    folder = tmp_path_factory.mktemp("front")
    (folder / "c.yaml").write_text(f"suppliers:\n  - name: second\n    base_url: {there.url}/v1\n    models: [far={MODEL}]\n")
    front = Server(str(folder), "-c", folder / "c.yaml", models=[])
    yield {"local": (there.url, MODEL, there, there), "relayed": (front.url, "far", front, there)}
    assert front.stop() == 0, front.read_log()[-4000:]
    assert there.stop() == 0, there.read_log()[-4000:]


@pytest.fixture(params=["local", "relayed"])
def door(request, doors):
    return doors[request.param]


@pytest.fixture(params=["openai", "cerebras"])
def sdk(request):
    return request.param


def test_chat_and_stream(node, door, sdk):
    url, model, *_ = door
    body = {"model": model, "messages": ASK, "max_tokens": 12, "temperature": 0}
    whole = node(sdk, url, "chat", body)
    assert whole["text"].strip() and whole["finish"] == "length" and "error" not in whole
    assert whole["request"].startswith("req_") and whole["id"].startswith("chatcmpl-")
    assert whole["usage"]["completion_tokens"] == 12
    assert whole["usage"]["total_tokens"] == whole["usage"]["prompt_tokens"] + 12
    stream = node(sdk, url, "chat", {**body, "stream": True})
    assert (stream["text"], stream["finish"]) == (whole["text"], "length") and stream["pieces"] > 2
    assert stream["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    assert stream["time_info"]["total_time"] > 0
    asked = node(sdk, url, "chat", {**body, "stream": True, "stream_options": {"include_usage": True}})
    assert asked["text"] == whole["text"] and asked["usage"]["completion_tokens"] == 12
    stored = node(sdk, url, "chat", {**body, "stream": True, "store": True})  # its events have ids, where it is stored
    assert (stored["text"], stored["finish"]) == (whole["text"], "length")


def test_completions_and_models(node, door, sdk):
    url, model, *_ = door
    body = {"model": model, "prompt": "The capital of France is", "max_tokens": 5, "temperature": 0}
    whole = node(sdk, url, "completions", body)
    stream = node(sdk, url, "completions", {**body, "stream": True})
    assert whole["text"] and whole["text"] == stream["text"] and whole["usage"]["completion_tokens"] == 5
    assert node(sdk, url, "models")["models"] == [model]


def test_errors_keep_their_class(node, door, sdk):
    url, model, *_ = door
    for body, kind, status, word in (
            ({"model": "nobody", "messages": ASK}, "NotFoundError", 404, "nobody"),
            ({"model": model, "messages": ASK, "temperature": 5}, "BadRequestError", 400, "temperature"),
            ({"model": model, "messages": [{"role": "user", "content": "word " * 20000}]}, "BadRequestError", 400, "context")):
        for stream in (False, True):
            e = node(sdk, url, "chat", {**body, "stream": stream}, retries=2)["error"]
            assert (e["kind"], e["status"]) == (kind, status) and word in e["message"], e


def test_an_abort_is_felt_where_it_is_computed(node, door, sdk):
    """The request of a client that leaves ends, here and there, and is booked as far as it went."""
    url, model, front, there = door
    before = front.balance().get("default", {}).get("requests", 0)
    got = node(sdk, url, "chat", {"model": model, "messages": ASK, "max_tokens": 4000, "ignore_eos": True, "stream": True}, cut=3)
    assert got["aborted"] and got["finish"] is None
    wait_for("idle", there.idle)
    wait_for("booked", lambda: front.balance().get("default", {}).get("requests", 0) == before + 1)


def test_a_key_is_asked_for(node, sdk, tmp_path, gaufre):
    keys = tmp_path / "keys"
    key = subprocess.run([gaufre, "key", "new", keys, "me"], check=True, capture_output=True, text=True).stdout.strip()
    mock = Mock()
    (tmp_path / "c.yaml").write_text(f"suppliers:\n  - name: m\n    base_url: {mock.url}\n    models: [far]\n")
    server = Server(str(tmp_path), "-c", tmp_path / "c.yaml", "--keys", keys, models=[])
    try:
        body = {"model": "far", "messages": ASK}
        e = node(sdk, server.url, "chat", body, key="wrong", retries=2)["error"]
        assert (e["kind"], e["status"]) == ("AuthenticationError", 401)
        assert not mock.requests
        assert node(sdk, server.url, "chat", body, key=key)["text"] == "Hello from afar"
    finally:
        server.stop()
        mock.close()


@pytest.fixture
def relay(tmp_path):
    """relay(script): a front door whose model "far" is served by what the script says."""
    made = []

    def make(script):
        mock = Mock(script)
        (tmp_path / "c.yaml").write_text(f"suppliers:\n  - name: m\n    base_url: {mock.url}\n    models: [far]\n")
        made.extend((mock, Server(str(tmp_path), "-c", tmp_path / "c.yaml", models=[])))
        return made[1].url, mock

    yield make
    mock, server = made
    server.stop()
    mock.close()


def test_retry_after_is_waited_for(node, relay, sdk):
    """A supplier that asks for a second: the client's own retry comes after it, and is answered."""
    url, mock = relay([lambda a: a.reply(429, {"error": {"message": "slow down"}}, retry_after="1"),
                       lambda a: a.reply(200, CHAT)])
    got = node(sdk, url, "chat", {"model": "far", "messages": ASK}, retries=4)
    assert got["text"] == "Hello from afar", got
    assert len(mock.requests) == 2 and mock.requests[1].at - mock.requests[0].at >= 1


def test_what_is_wrong_is_not_asked_again(node, relay, sdk):
    url, mock = relay(lambda a: a.reply(400, {"error": {"message": "refused by the content policy", "code": "content_filter"}}))
    e = node(sdk, url, "chat", {"model": "far", "messages": ASK}, retries=3)["error"]
    assert e["kind"] == "BadRequestError" and len(mock.requests) == 1


def cut(a):
    a.begin()
    for e in words()[:3]:
        a.event(e)
    a.cut()


def no_finish(a):
    a.stream(words(finish=None, usage=False))


@pytest.mark.parametrize("script", [cut, no_finish])
def test_a_broken_stream_raises(node, relay, sdk, script):
    """Never a part of an answer as if it were whole."""
    url, mock = relay(script)
    got = node(sdk, url, "chat", {"model": "far", "messages": ASK, "stream": True}, retries=2)
    assert got["text"].startswith("one ") and got["finish"] is None and got["error"], got
    assert len(mock.requests) == 1


def test_parallel_tool_calls_stay_apart(node, relay, sdk):
    events = [chunk({"role": "assistant", "content": None})]
    for i, name in enumerate(("f", "g")):
        events.append(chunk({"tool_calls": [{"index": i, "id": f"call_{i}", "type": "function",
                                             "function": {"name": name, "arguments": ""}}]}))
    for i in (0, 1, 0, 1):
        events.append(chunk({"tool_calls": [{"index": i, "function": {"arguments": f"<{i}>"}}]}))
    events.append(chunk({}, "tool_calls", usage={"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}))
    url, _ = relay(lambda a: a.stream(events))
    got = node(sdk, url, "chat", {"model": "far", "messages": ASK, "stream": True})
    assert got["tools"] == [{"id": "call_0", "name": "f", "arguments": "<0><0>"}, {"id": "call_1", "name": "g", "arguments": "<1><1>"}]
    assert got["finish"] == "tool_calls" and got["usage"]["completion_tokens"] == 9


def test_a_retry_gets_the_first_answer(node, door, sdk):
    """The same Idempotency-Key and request: the same answer, although it was drawn at random, and computed once."""
    url, model, *_ = door
    for stream in (False, True):
        body = {"model": model, "messages": ASK, "max_tokens": 12, "temperature": 1.5, "stream": stream}
        first, again, other = (node(sdk, url, "chat", body, idempotency=f"{sdk} {model} {stream} {n}") for n in (1, 1, 2))
        assert (first["replayed"], again["replayed"], other["replayed"]) == (None, "true", None)
        assert first["text"] == again["text"] != other["text"] and first["id"] == again["id"]
        e = node(sdk, url, "chat", {**body, "seed": 1}, retries=2, idempotency=f"{sdk} {model} {stream} 1")["error"]
        assert e["status"] == 422
