"""Retries of one request under one Idempotency-Key: the first one's answer, computed and booked once."""
import json
import signal
import subprocess
import threading
import time

import openai
import pytest

from finding import find_gaufre
from mock_upstream import CHAT, words
from serving import MODEL, SLOW, wait_for
from test_complaints import ASK, PRICES, TEXT, doors, whole
from test_gone import DRAIN

pytestmark = pytest.mark.sanitize
KEY = "stainless-python-retry-6b4d"


@pytest.fixture
def door(tmp_path):
    with doors(tmp_path) as make:
        yield lambda script=whole, *lines, more="", **also: make(script, *lines, more=more + PRICES, **also)


def send(d, body, key=KEY, tenant="a"):
    path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
    return d.server.request("POST", path, body, {**d.heads.get(tenant, {}), "Idempotency-Key": key})


def connect(d, body, key=KEY):
    """A request whose answer is not awaited."""
    n = len(d.mock.requests)
    data = json.dumps(body).encode()
    s = d.server.connect()
    s.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: {d.heads['a']['Authorization']}\r\n"
               f"Idempotency-Key: {key}\r\nContent-Length: {len(data)}\r\n\r\n").encode() + data)
    wait_for("asked", lambda: len(d.mock.requests) > n)
    return s


def code(answer):
    return answer[0], json.loads(answer[2])["code"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("body", [ASK, TEXT], ids=["chat", "completions"])
def test_the_same_answer(door, body, stream):
    d = door(whole, "tenant a requests_per_day=100")
    body = {**body, "stream": stream}
    first, again = send(d, body), send(d, body)
    assert first[0] == again[0] == 200 and first[2] == again[2]
    assert "idempotent-replayed" not in first[1] and again[1]["idempotent-replayed"] == "true"
    assert again[1]["x-gaufre-replay-of"] == first[1]["x-request-id"] != again[1]["x-request-id"]
    assert first[1]["content-type"] == again[1]["content-type"]
    left = [int(h["x-ratelimit-remaining-requests-day"]) for h in (first[1], again[1])]
    assert left[1] == left[0] - 1  # it is a request, and costs nothing else
    third = send(d, body, "another key")
    assert third[0] == 200 and "idempotent-replayed" not in third[1]
    d.booked(2)
    assert len(d.mock.requests) == 2
    d.stop()
    assert len(d.rows()) == 2


def test_another_request_with_the_key(door):
    d = door(whole, tenants=("a", "b"))
    assert send(d, ASK)[0] == 200
    for body in ({**ASK, "temperature": 1}, {**ASK, "stream": True}, TEXT):
        answer = send(d, body)
        assert code(answer) == (422, "idempotency_key_reused") and "retry-after" not in answer[1]
    assert send(d, {**ASK, "temperature": 1}, tenant="b")[0] == 200  # another tenant's key of that name
    assert send(d, ASK)[1]["idempotent-replayed"] == "true"
    for key in ("", "k" * 256, "caf\u00e9"):
        assert code(send(d, ASK, key.encode().decode("latin-1")))[0] == 400
    assert send(d, ASK, "k" * 255)[0] == 200
    d.stop()


def test_rights_hold_for_what_is_kept(door, tmp_path):
    """Of a tenant's two keys one may not use the model: it does not get the other's answer either."""
    d = door()
    key = subprocess.run([find_gaufre(), "key", "new", tmp_path / "keys", "guest", "--tenant", "a"], check=True, capture_output=True,
                         text=True).stdout.strip()
    text = (tmp_path / "keys").read_text().rstrip("\n")
    (tmp_path / "keys").write_text(f"{text} models=other\n")
    d.heads["guest"] = {"Authorization": f"Bearer {key}"}
    d.server.process.send_signal(signal.SIGHUP)
    wait_for("known", lambda: "keys reloaded" in d.server.read_log())
    assert send(d, ASK)[0] == 200
    assert code(send(d, ASK, tenant="guest")) == (403, "forbidden")
    assert send(d, ASK)[1]["idempotent-replayed"] == "true"
    d.stop()


@pytest.mark.parametrize("stream", [False, True])
def test_while_the_first_runs(door, stream):
    d = door(lambda a: (d.go.wait(60 * SLOW), whole(a)))
    body = {**ASK, "stream": stream}
    got = []
    t = threading.Thread(target=lambda: got.append(send(d, body)))
    t.start()
    wait_for("asked", lambda: d.mock.requests)
    answer = send(d, body)
    assert code(answer) == (409, "idempotency_key_in_use") and int(answer[1]["retry-after"]) == 1
    assert "x-should-retry" not in answer[1]
    assert code(send(d, {**body, "temperature": 1}))[0] == 422
    d.go.set()
    t.join()
    assert send(d, body)[2] == got[0][2] and len(d.mock.requests) == 1
    d.stop()


def test_the_client_retries_until_it_is_there(door):
    """The official client gives up waiting and asks again, is told 409, and in the end has the answer: of one request."""
    d = door(lambda a: (d.go.wait(60 * SLOW), whole(a)), more=DRAIN)

    def answer_later():
        wait_for("left", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
        wait_for("asked again", lambda: d.server.metric("gaufre_replays_total", result="in_use") >= 1)
        d.go.set()

    threading.Thread(target=answer_later).start()
    client = d.client(max_retries=50)
    a = client.chat.completions.with_raw_response.create(**ASK, timeout=3, extra_headers={"Idempotency-Key": KEY})
    assert a.headers["idempotent-replayed"] == "true" and a.parse().choices[0].message.content == CHAT["choices"][0]["message"]["content"]
    assert len(d.mock.requests) == 1
    text = ""
    for _ in range(2):
        for c in client.chat.completions.create(**ASK, stream=True, extra_headers={"Idempotency-Key": "a stream"}):
            text += c.choices[0].delta.content or "" if c.choices else ""
    assert text == 2 * "one two three four " and len(d.mock.requests) == 2
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(**ASK, temperature=1, extra_headers={"Idempotency-Key": KEY})
    d.stop()


def cut(a):
    a.begin()
    a.event(words()[1])
    a.cut()


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_frees_the_key(door, stream):
    now = [lambda a: a.reply(400, {"error": {"message": "no"}})]
    d = door(lambda a: now[0](a))
    body = {**ASK, "stream": stream}
    assert send(d, body)[0] == 400
    if stream:
        now[0] = cut
        status, _, text = send(d, body)
        assert status == 200 and b"error" in text
    now[0] = whole
    answer = send(d, body)
    assert answer[0] == 200 and "idempotent-replayed" not in answer[1]
    assert send(d, body)[2] == answer[2]
    d.stop()


def test_who_leaves_frees_the_key(door):
    d = door(lambda a: (a.wait_gone() if len(d.mock.requests) == 1 else whole(a)))
    connect(d, ASK).close()
    assert d.mock.requests[0].gone.wait(60 * SLOW)
    d.booked(1)
    answer = send(d, ASK)
    assert answer[0] == 200 and "idempotent-replayed" not in answer[1] and len(d.mock.requests) == 2
    d.stop()


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_drained_is_kept(door, stream):
    """The connection breaks, the supplier's answer is heard to its end, and the retry gets it: it was delivered, and is charged."""
    d = door(lambda a: (d.go.wait(60 * SLOW), whole(a)), more=DRAIN)
    body = {**ASK, "stream": stream}
    connect(d, body).close()
    wait_for("noticed", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
    assert code(send(d, body)) == (409, "idempotency_key_in_use")
    d.go.set()
    d.booked(1)
    answer = send(d, body)
    assert answer[0] == 200 and answer[1]["idempotent-replayed"] == "true"
    whole_one = send(d, body, "another key")
    assert whole_one[2] == answer[2] and len(d.mock.requests) == 2
    d.booked(2)
    d.stop()
    left, other = d.rows()
    assert left["status"] == 499 and other["status"] == 200
    for name in ("prompt_tokens", "completion_tokens", "charge_nano", "cost_nano", "usage_state", "lost_completion_tokens"):
        assert left[name] == other[name], name


def test_a_long_answer_is_not_kept(door):
    big = json.dumps({**CHAT, "x_more": "x" * (1 << 20)})
    d = door(lambda a: a.reply(200, big))
    told = json.loads(send(d, ASK)[2])
    assert told["usage"].pop("cost") and told == json.loads(big)
    answer = send(d, ASK)
    assert code(answer) == (409, "idempotency_key_used") and answer[1]["x-should-retry"] == "false"
    client, heads = d.client(max_retries=3), {"Idempotency-Key": "the client's"}
    assert client.chat.completions.create(**ASK, extra_headers=heads).id == CHAT["id"]
    with pytest.raises(openai.ConflictError):
        client.chat.completions.create(**ASK, extra_headers=heads)
    assert d.server.metric("gaufre_replays_total", result="too_long") == 2  # was not tried again
    assert len(d.mock.requests) == 2
    d.stop()


def test_a_silent_stream_is_kept_without_its_heartbeats(door):
    def script(a):
        a.begin()
        for e in words()[:3]:
            a.event(e)
        time.sleep(0.5)
        for e in words()[3:]:
            a.event(e)
        a.end()

    d = door(script, more="heartbeat: 100ms\n")
    body = {**ASK, "stream": True}
    with_pings, without = send(d, body)[2].decode(), send(d, body)[2].decode()
    events = [f for f in with_pings.split("\n\n") if f.startswith("data: ")]
    assert with_pings.count("\n\n") > len(events) and without == "".join(e + "\n\n" for e in events)
    d.stop()


def test_the_key_is_looked_at_first(door):
    """Nobody without a key of ours learns anything of an answer."""
    d = door()
    assert send(d, ASK)[0] == 200
    status, heads, _ = d.server.request("POST", "/v1/chat/completions", ASK, {"Idempotency-Key": KEY})
    assert status == 401 and "idempotent-replayed" not in heads
    d.stop()


def test_they_can_be_turned_off(door):
    d = door(more="idempotency_memory: 0\n")
    for _ in range(2):
        answer = send(d, ASK)
        assert answer[0] == 200 and "idempotent-replayed" not in answer[1]
    assert send(d, ASK, "k" * 300)[0] == 200 and len(d.mock.requests) == 3
    d.stop()


def test_they_do_not_last(door):
    d = door(more="idempotency_window: 1s\n")
    assert send(d, ASK)[0] == 200
    wait_for("gone", lambda: d.server.metric("gaufre_replay_bytes") == 0)
    assert "idempotent-replayed" not in send(d, ASK)[1] and len(d.mock.requests) == 2
    d.stop()


def test_by_the_engine_of_this_machine(server):
    """Random answers, twice the same."""
    for stream in (False, True):
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 12, "temperature": 1.5,
                "stream": stream}
        heads = {"Idempotency-Key": f"story {stream}"}
        first, again = (server.request("POST", "/v1/chat/completions", body, heads) for _ in range(2))
        other = server.request("POST", "/v1/chat/completions", body)
        assert first[0] == 200 and first[2] == again[2] != other[2] and again[1]["idempotent-replayed"] == "true"


