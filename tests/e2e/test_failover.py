"""Suppliers that fail in every way that is known, with a second one behind them. The list of faults is that of Failover
Bench (16 scenarios); each is scored pass, safe or fail, and none may fail:

    pass  the client has a whole, right answer
    safe  the client has an error that says so, never a part of an answer as if it were whole
    fail  anything else

The table is printed: pytest -s -k scores."""
import itertools
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import APIError, APIStatusError, OpenAI

from mock_upstream import CHAT, Mock, chunk, default as default_script, words
from serving import MODEL, Server, model_path, wait_for

WHOLE = "one two three four "
LIMITS = ("    first_byte_timeout: 1s\n    silence_timeout: 1s\n    connect_timeout: 1s\n    first_token_timeout: 1500ms\n")


def error(status, code=None, message="no", **headers):
    return lambda a: a.reply(status, {"error": {"message": message, "code": code, "type": "x"}}, **headers)


def silence(a):
    a.wait_gone()


def late(a):
    """A head at once, and the first token after everybody's patience."""
    a.begin()
    a.event(chunk({"role": "assistant", "content": ""}))
    a.wait_gone()


def pings(a):
    """Alive, and never a token."""
    a.begin()
    for _ in range(600):
        a.raw(": ping\n\n")
        time.sleep(.1)
    raise AssertionError("nobody left")


def cut_after(n):
    def script(a):
        a.begin()
        for e in words(" ".join(f"w{i}" for i in range(60)))[:n]:
            a.event(e)
        a.cut()
    return script


def stall(a):
    a.begin()
    for e in words()[:3]:
        a.event(e)
    a.wait_gone()


def malformed(a):
    a.begin()
    events = words()
    for e in events[:2] + ['{"choices":[{"delta":{"content":"on'] + events[2:]:
        a.event(e)
    a.end()


def no_done(a):
    a.stream(words(), done=False)


def no_finish(a):
    a.stream(words(finish=None, usage=False), done=True)


def reset(a):
    a.cut()


def error_event(a):
    a.begin()
    a.event(chunk({"role": "assistant", "content": ""}))
    a.event('{"error":{"message":"overloaded","type":"server_error"}}')
    a.end(done=False)


def error_200(a):
    a.reply(200, {"error": {"message": "overloaded at http://10.1.2.3/secret", "type": "server_error"}})


def redirect(a):
    a.head(302, "Found", location="http://127.0.0.1:9/elsewhere", content_length=0)


# name, script of the first supplier, best score that is asked for, requests that it may see at most
SCENARIOS = [
    ("429 with retry-after", error(429, retry_after="2"), "pass", 1),
    ("429 for ever", error(429), "pass", 1),
    ("one 500", [error(500), lambda a: a.stream(words())], "pass", 1),
    ("503 for ever", error(503), "pass", 1),
    ("reset before the head", reset, "pass", 2),  # a kept connection may be tried once more
    ("silence", silence, "pass", 1),
    ("first token too late", late, "pass", 1),
    ("alive without a token", pings, "pass", 1),
    ("cut after 40 of 60 tokens", cut_after(40), "safe", 1),
    ("stall", stall, "safe", 1),
    ("one malformed event", malformed, "pass", 1),
    ("no [DONE]", no_done, "pass", 1),
    ("no finish_reason", no_finish, "safe", 1),
    ("400 context length", error(400, "context_length_exceeded", "maximum context length is 8 tokens"), "safe", 1),
    ("400 content policy", error(400, "content_filter", "refused by the content policy"), "safe", 1),
    ("error in the stream before content", error_event, "pass", 1),
    ("redirect", redirect, "pass", 1),
]


@pytest.fixture
def pair(tmp_path):
    made = []

    def make(first, second=None, flags=(), limits=LIMITS, **more):
        first, second = Mock(first), second or Mock()
        text = "suppliers:\n" + "".join(f"  - name: {n}\n    base_url: {m.url}\n    models: [far]\n{limits}"
                                        for n, m in (("first", first), ("second", second)))
        folder = tmp_path / str(len(made))
        folder.mkdir()
        (folder / "c.yaml").write_text(text)
        server = Server(str(folder), "-c", folder / "c.yaml", *flags, models=[], **more)
        made.append((server, first, second))
        return made[-1]

    yield make
    for server, first, second in made:
        server.process.kill()
        server.process.wait()
        server.log.close()
        first.close()
        second.close()


def ask(server, stream=True):
    """What a client of the official SDK gets: ("whole"|"error"|"part", text, error)."""
    client = OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0)
    text, finished = "", False
    try:
        got = client.chat.completions.create(model="far", messages=[{"role": "user", "content": "hi"}], stream=stream)
        if not stream:
            return "whole", got.choices[0].message.content, None
        for c in got:
            if c.choices:
                text += c.choices[0].delta.content or ""
                finished |= c.choices[0].finish_reason is not None
    except APIError as e:
        return "error", text, e
    return ("whole" if finished else "part"), text, None


def score(kind, text):
    if kind == "whole" and text == WHOLE:
        return "pass"
    return "safe" if kind == "error" else "fail"


@pytest.mark.parametrize("name, script, wanted, most", SCENARIOS, ids=[s[0] for s in SCENARIOS])
def test_fault(pair, name, script, wanted, most):
    server, first, second = pair(script)
    kind, text, e = ask(server)
    got = score(kind, text)
    assert got == wanted, (got, kind, text, e)
    assert 1 <= len(first.requests) <= most
    if wanted == "pass" and name not in ("one malformed event", "no [DONE]"):
        assert len(second.requests) == 1
    else:  # nothing goes on elsewhere after the first content, nor around a refusal
        assert not second.requests
    if name.startswith("400"):
        assert isinstance(e, APIStatusError) and e.status_code == 400
        assert e.code == ("context_length_exceeded" if "context" in name else "content_policy_violation")


def test_scores(pair):
    """The table, printed."""
    lines, scores = [], []
    for name, script, _, _ in SCENARIOS:
        server, first, second = pair(script)
        began = time.monotonic()
        kind, text, _ = ask(server)
        took = time.monotonic() - began
        seen = sorted(r.at for r in first.requests + second.requests)
        gap = f"{seen[1] - seen[0]:5.2f}" if len(seen) > 1 else "     "
        scores.append(score(kind, text))
        lines.append(f"{name:36} {scores[-1]:5} attempts {len(first.requests)}+{len(second.requests)} gap {gap} s "
                     f"wall {took:5.2f} s")
    print("\n" + "\n".join(lines))
    print(f"{scores.count('pass')} pass, {scores.count('safe')} safe, {scores.count('fail')} fail of {len(scores)}")
    assert "fail" not in scores


def test_whole_bodies_fail_over_too(pair):
    server, first, second = pair(error_200, second=Mock(lambda a: a.reply(200, CHAT)))
    assert ask(server, stream=False)[:2] == ("whole", "Hello from afar")
    assert len(first.requests) == len(second.requests) == 1


def test_both_fail(pair):
    """The client is told what the last one said, with its time to come back, and nothing of where they are."""
    server, first, second = pair(error(503, message="at http://10.0.0.1:9 sk-abc"), second=Mock(error(429, retry_after="7")))
    status, heads, body = server.post("/v1/chat/completions", {"model": "far", "messages": [{"role": "user", "content": "x"}]})
    assert (status, body["code"], heads["retry-after"]) == (429, "queue_exceeded", "7")
    assert "10.0.0.1" not in json.dumps(body) + server.read_log() and "sk-abc" not in server.read_log()
    assert len(first.requests) == len(second.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_their_401_is_not_ours(pair, status):
    server, _, _ = pair(error(status), second=Mock(error(status)))
    got, _, body = server.post("/v1/chat/completions", {"model": "far", "messages": [{"role": "user", "content": "x"}]})
    assert got == 502 and body["code"] == "supplier_refused"


def test_booked_as_it_went(pair):
    """After a failure: one row for what the client was told, of the supplier that told it."""
    server, _, _ = pair(error(500))
    assert ask(server)[0] == "whole"
    wait_for("booked", lambda: server.balance().get("default"))
    b = server.balance()["default"]
    assert (b["requests"], b["prompt_tokens"], b["completion_tokens"]) == (1, 11, 4)
    server, _, _ = pair(cut_after(40))
    assert ask(server)[0] == "error"
    wait_for("booked", lambda: server.balance().get("default"))
    assert 20 <= server.balance()["default"]["completion_tokens"] <= 80  # an estimate of 39 words


def test_who_asks_for_less_is_left_alone(pair):
    """429 to all, with an hour to wait: asked once, and then nobody goes there (user complaint 23)."""
    server, first, second = pair(error(429, retry_after="3600"))
    for _ in range(10):
        assert ask(server)[0] == "whole"
    assert len(first.requests) == 1 and len(second.requests) == 10


def test_who_fails_again_and_again_is_left_alone(pair):
    server, first, second = pair(error(500))
    for _ in range(20):
        assert ask(server)[0] == "whole"
    assert len(first.requests) < 10 and len(second.requests) == 20


def test_nobody_is_left(pair):
    """Both ask for an hour: later requests are refused at once as they would, with the time to come back."""
    server, first, second = pair(error(429, retry_after="3600"), second=Mock(error(429, retry_after="1800")))
    asked = {"model": "far", "messages": [{"role": "user", "content": "x"}]}
    assert server.post("/v1/chat/completions", asked)[0] == 429
    status, heads, body = server.post("/v1/chat/completions", asked)
    assert (status, body["code"]) == (429, "queue_exceeded") and 500 < float(heads["retry-after"]) <= 800  # ten minutes at most, and some jitter
    assert len(first.requests) == len(second.requests) == 1


def test_the_smallest_time_to_come_back(pair):
    """All said 429: so does the answer, with the first time at which anybody may be asked."""
    server, _, _ = pair(error(429, retry_after="20"), second=Mock(error(429, retry_after="300")))
    status, heads, body = server.post("/v1/chat/completions", {"model": "far", "messages": [{"role": "user", "content": "x"}]})
    assert (status, body["code"]) == (429, "queue_exceeded") and 19 <= float(heads["retry-after"]) <= 26


@pytest.mark.parametrize("said, status, code", [
    ({"code": 429, "message": "Rate limited"}, 429, "queue_exceeded"),
    ({"code": "400", "message": "no such field"}, 400, "wrong_api_format"),
    ({"code": 502, "message": "gone"}, 502, "supplier_error"),
    ({"message": "gone"}, 502, "supplier_error")])
def test_an_error_in_the_stream_keeps_its_status(pair, said, status, code):
    def script(a):
        a.begin()
        a.event(chunk({"role": "assistant", "content": ""}))
        a.event(json.dumps({"error": said}))
        a.end(done=False)
    server, _, _ = pair(script, second=Mock(script))
    kind, _, e = ask(server)
    assert kind == "error" and (e.status_code, e.code) == (status, code)


def test_breakers_are_shown(pair):
    server, _, _ = pair(error(429, retry_after="3600"))
    assert ask(server)[0] == "whole"
    shown = server.request("GET", "/metrics")[2].decode()
    for supplier, state in (("first", "open"), ("second", "closed")):
        for s in ("open", "half_open", "closed"):
            assert f'gaufre_supplier_breaker{{supplier="{supplier}/far",state="{s}"}} {int(s == state)}\n' in shown


ASKED = {"model": "far", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture
def with_keys(tmp_path):
    """with_keys(text, mocks...): a server with these suppliers; {0}, {1} are the mocks' addresses."""
    made = []

    def make(text, *mocks):
        (tmp_path / "c.yaml").write_text("suppliers:\n" + text.format(*(m.url for m in mocks)))
        (tmp_path / "b.key").write_text("sk-key-b\n")
        made.extend(mocks)
        made.append(Server(str(tmp_path), "-c", tmp_path / "c.yaml", models=[], env={"KEY_A": "sk-key-a"}))
        return made[-1]

    yield make
    for m in made:
        if isinstance(m, Server):
            m.process.kill()
            m.process.wait()
            m.log.close()
            assert "sk-key" not in m.read_log()
        else:
            m.close()


TWO_KEYS = """  - name: up
    base_url: {0}
    models: [far]
    keys: [{{env: KEY_A, weight: 3}}, {{file: FOLDER/b.key}}]
"""


def keys_seen(mock):
    seen = [r.headers["authorization"] for r in mock.requests]
    return seen.count("Bearer sk-key-a"), seen.count("Bearer sk-key-b")


def test_keys_by_weight(with_keys, tmp_path):
    mock = Mock()
    server = with_keys(TWO_KEYS.replace("FOLDER", str(tmp_path)), mock)
    for _ in range(40):
        assert server.post("/v1/chat/completions", ASKED)[0] == 200
    assert keys_seen(mock) == (30, 10)


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_key_is_left_alone_by_itself(with_keys, tmp_path, status):
    """Of the one that is refused a request sees nothing: it goes on with the other, and so do all later ones."""
    def script(a):
        if a.request.headers["authorization"] == "Bearer sk-key-a":
            a.reply(status, {"error": {"message": "no"}}, retry_after="600")
        else:
            a.reply(200, CHAT)
    mock = Mock(script)
    server = with_keys(TWO_KEYS.replace("FOLDER", str(tmp_path)), mock)
    for _ in range(20):
        assert server.post("/v1/chat/completions", ASKED)[0] == 200
    n_a, n_b = keys_seen(mock)
    assert n_b == 20 and 1 <= n_a <= 3  # a refused one is tried again after some seconds
    assert "supplier's key" in server.read_log()


def test_no_key_works(with_keys, tmp_path):
    """Theirs, not ours: the client's own key is right."""
    mock = Mock(error(401))
    server = with_keys(TWO_KEYS.replace("FOLDER", str(tmp_path)), mock)
    status, _, body = server.post("/v1/chat/completions", ASKED)
    assert (status, body["code"]) == (502, "supplier_refused") and keys_seen(mock) == (1, 1)
    assert server.post("/v1/chat/completions", ASKED)[0] == 503  # both are left alone
    assert len(mock.requests) == 2


def test_limits_are_learned_from_answers(with_keys):
    """The first answer says that one request is left, and then none for ten minutes: others go elsewhere, without a 429."""
    left = iter([1, 0])
    def script(a):
        a.reply(200, CHAT, x_ratelimit_limit_requests=60, x_ratelimit_remaining_requests=next(left, -1),
                x_ratelimit_reset_requests="10m0s")
    first, second = Mock(script), Mock(lambda a: a.reply(200, CHAT))
    server = with_keys("".join(f"  - name: up{i}\n    base_url: {{{i}}}\n    models: [far]\n" for i in range(2)), first, second)
    for _ in range(10):
        assert server.post("/v1/chat/completions", ASKED)[0] == 200
    assert (len(first.requests), len(second.requests)) == (2, 8)


def test_nothing_is_left_anywhere(with_keys):
    """Nobody is asked in vain: the answer is the 429 that would come, with the window's end."""
    mock = Mock(lambda a: a.reply(200, CHAT, x_ratelimit_remaining_tokens_minute=0, x_ratelimit_reset_tokens_minute="33.5"))
    server = with_keys("  - name: up\n    base_url: {0}\n    models: [far]\n", mock)
    assert server.post("/v1/chat/completions", ASKED)[0] == 200
    assert statuses(server, 50) == [429] * 50
    status, heads, body = server.post("/v1/chat/completions", ASKED)
    assert (status, body["code"]) == (429, "queue_exceeded") and 20 <= float(heads["retry-after"]) <= 34
    assert len(mock.requests) == 1


def test_complaint_22_one_account_is_not_hammered(with_keys):
    """Two suppliers of one account: what the first one hears from it holds for both; one attempt in its window."""
    mocks = Mock(error(429, retry_after="30")), Mock(error(429, retry_after="30"))
    server = with_keys("".join(f"""  - name: up{i}
    base_url: {{{i}}}
    models: [far]
    key_env: KEY_A
    account: acme
""" for i in range(2)), *mocks)
    for _ in range(5):
        status, heads, body = server.post("/v1/chat/completions", ASKED)
        assert (status, body["code"]) == (429, "queue_exceeded") and 29 <= float(heads["retry-after"]) <= 38
    assert sum(len(m.requests) for m in mocks) == 1


def test_a_wrong_request_is_not_the_suppliers_fault(pair):
    server, first, second = pair(error(400, "bad_thing", "no such field"))
    for _ in range(12):
        assert ask(server)[2].status_code == 400
    assert len(first.requests) == 12 and not second.requests


def statuses(server, n, at_once=16):
    asked = {"model": "far", "messages": [{"role": "user", "content": "x"}]}
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda _: server.post("/v1/chat/completions", asked)[0], range(n)))


def test_a_dead_primary_sees_few_of_a_thousand(pair):
    """All are answered by the second; the dead one is tried as often as its breaker takes to open, and as a probe."""
    server, first, second = pair(error(500))
    assert statuses(server, 1000) == [200] * 1000
    assert len(second.requests) == 1000
    assert len(first.requests) < 50
    print(f"1000 requests, {len(first.requests)} tries at the dead one, {len(second.requests)} at the other")


def test_retries_have_a_budget(pair):
    """A supplier that fails too seldom for its breaker, two of five: a fifth of all is tried again, others are told."""
    turn = itertools.count()
    server, first, second = pair(lambda a: (error(500) if next(turn) % 5 < 2 else lambda b: b.reply(200, CHAT))(a),
                                 flags=("--retry-min", 5))
    second.script = lambda a: a.reply(200, CHAT)
    got = statuses(server, 1000, at_once=1)  # so that all begin at the first
    n_first, n_second = len(first.requests), len(second.requests)
    print(f"1000 requests, {n_first} + {n_second} tries, {got.count(502)} refused a second one")
    assert n_first + n_second <= 1000 + 200 + 5
    assert set(got) == {200, 502} and got.count(502) > 100


def test_no_retries(pair):
    server, first, second = pair(error(500), flags=("--retry-min", 0, "--retry-percent", 0))
    assert statuses(server, 1) == [502]
    assert len(first.requests) == 1 and not second.requests
    assert 'gaufre_retries_total{result="refused"} 1' in server.request("GET", "/metrics")[2].decode()


# ---- hedging ----


def late_until(when):
    """A stream whose first content comes when that has happened."""
    def script(a):
        a.begin()
        a.event(chunk({"role": "assistant", "content": ""}))
        assert when.wait(60)
        for e in words():
            a.event(e)
        a.end()
    return script


HEDGE = ("--hedge-tiers", "default", "--hedge-after", "300ms", "--hedge-percent", 100)


def sleeps(a):
    time.sleep(1)
    a.stream(words())


def earn(server, n=3):
    """What hedges may lose is a share of what was used before; only streams are hedged."""
    for _ in range(n):
        assert ask(server, stream=False)[0] == "whole"


def bill(server):
    found = wait_for("booked", lambda: server.balance())
    return {t: (b["requests"], b["prompt_tokens"], b["completion_tokens"]) for t, b in found.items()}


@pytest.mark.sanitize
def test_a_late_one_is_hedged(pair):
    """The second answers; the first is told at once, and what it used is the platform's to pay."""
    server, first, second = pair([default_script] * 3 + [silence], flags=HEDGE)
    earn(server)
    kind, text, _ = ask(server)
    assert (kind, text) == ("whole", WHOLE) and len(first.requests) == 4 and len(second.requests) == 1
    wait_for("the first was told", lambda: first.requests[3].gone.is_set())
    wait_for("both are booked", lambda: len(server.balance()) == 2)
    b = bill(server)
    assert b["default"] == (4, 44, 16)
    assert b["(platform)"][0] == 1 and b["(platform)"][1] > 0 and b["(platform)"][2] == 0
    shown = server.request("GET", "/metrics")[2].decode()
    assert "gaufre_hedges_total 1\n" in shown and f"gaufre_hedged_tokens_total {b['(platform)'][1]}\n" in shown


@pytest.mark.sanitize
def test_the_first_may_still_win(pair):
    asked = threading.Event()
    server, first, second = pair([default_script] * 3 + [late_until(asked)], flags=HEDGE, limits="",
                                 second=Mock(lambda a: (asked.set(), silence(a))))
    earn(server)
    assert ask(server)[:2] == ("whole", WHOLE)
    wait_for("the second was told", lambda: second.requests[0].gone.is_set())
    wait_for("both are booked", lambda: len(server.balance()) == 2)
    assert bill(server)["default"] == (4, 44, 16)


@pytest.mark.sanitize
@pytest.mark.parametrize("which", ["first", "second"])
def test_one_of_two_fails(pair, which):
    """An error of one, while two are at work, is not the request's: the other one answers."""
    asked, failed = threading.Event(), threading.Event()

    def fails(a):
        assert asked.wait(60)
        a.reply(500, {"error": {"message": "no"}})
        threading.Timer(.3, failed.set).start()

    def answers(a):
        asked.set()
        late_until(failed)(a)

    def fails_second(a):
        asked.set()
        fails(a)
    scripts = [fails, answers] if which == "first" else [late_until(failed), fails_second]
    server, first, second = pair([default_script] * 3 + scripts[:1], flags=HEDGE, limits="", second=Mock(scripts[1]))
    earn(server)
    assert ask(server)[:2] == ("whole", WHOLE)
    assert (len(first.requests), len(second.requests)) == (4, 1)
    wait_for("both are booked", lambda: len(server.balance()) == 2)


@pytest.mark.sanitize
def test_both_of_two_fail(pair):
    both = threading.Barrier(2, timeout=20)

    def fails(a):
        both.wait()
        a.reply(500, {"error": {"message": "no"}})
    server, first, second = pair([default_script] * 3 + [fails], flags=HEDGE, limits="", second=Mock(fails))
    earn(server)
    kind, _, e = ask(server)
    assert kind == "error" and e.status_code == 502, server.read_log()
    assert (len(first.requests), len(second.requests)) == (4, 1)


@pytest.mark.sanitize
def test_hedged_in_two_places(tmp_path):
    """Two that race both fail, and the next one is late, too, and hedged: each loser is a row of its own."""
    both = threading.Barrier(2, timeout=60)

    def fails(a):
        both.wait()
        a.reply(500, {"error": {"message": "no"}})
    mocks = [Mock([default_script] * 3 + [fails]), Mock(fails), Mock(silence), Mock()]
    (tmp_path / "c.yaml").write_text("suppliers:\n" + "".join(
        f"  - {{name: s{i}, base_url: '{m.url}', models: [far]}}\n" for i, m in enumerate(mocks))
        + "routes: [{route: order}]\n")
    server = Server(str(tmp_path), "-c", tmp_path / "c.yaml", *HEDGE, models=[])
    earn(server)
    assert ask(server)[:2] == ("whole", WHOLE), server.read_log()
    assert [len(m.requests) for m in mocks] == [4, 1, 1, 1]
    assert server.stop() == 0, server.read_log()
    with sqlite3.connect(server.ledger) as db:
        rows = dict(db.execute("SELECT request_id, supplier FROM usage ORDER BY rowid").fetchall()[3:])
    whole = next(r for r, supplier in rows.items() if supplier == "s3/far")
    assert rows.pop(whole + "-hedge") in ("s0/far", "s1/far")  # which of them failed last
    assert rows == {whole: "s3/far", whole + "-hedge2": "s2/far"}
    for m in mocks:
        m.close()


@pytest.mark.sanitize
def test_a_hedged_client_leaves(pair):
    server, first, second = pair([default_script] * 3 + [silence], flags=HEDGE, limits="", second=Mock(silence))
    earn(server)
    s = server.connect()
    body = json.dumps({**ASKED, "stream": True}).encode()
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    wait_for("two are at work", lambda: second.requests)
    s.close()
    wait_for("both were told", lambda: first.requests[3].gone.is_set() and second.requests[0].gone.is_set())
    wait_for("both are booked", lambda: len(server.balance()) == 2)


def test_hedges_have_a_budget(pair):
    """One in a hundred tokens, and too few were used before: nothing is sent twice."""
    server, first, second = pair([default_script] * 3 + [sleeps], flags=(*HEDGE[:-1], 1), limits="")
    earn(server)
    assert ask(server)[:2] == ("whole", WHOLE)
    assert len(first.requests) == 4 and not second.requests


@pytest.mark.sanitize
@pytest.mark.parametrize("concurrency, n", [(1, 0), (2, 1)])
def test_a_hedge_counts_in_the_tenants_concurrency(pair, concurrency, n):
    """Two places are two: who may have one under way is not hedged, and who may have two has none left meanwhile."""
    asked, on = threading.Event(), threading.Event()

    def first_one(a):
        if n:
            asked.wait(60)
        else:
            time.sleep(1)
        late_until(on if n else asked)(a)

    def second_one(a):
        asked.set()
        late_until(on)(a)
    if not n:
        asked.set()
    server, first, second = pair([default_script] * 3 + [first_one, default_script], flags=(*HEDGE, "--concurrency", concurrency), limits="",
                                 second=Mock(second_one))
    earn(server)
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(ask, server)
        if n:
            wait_for("two are at work", lambda: second.requests)
            kind, _, e = ask(server)
            assert kind == "error" and e.status_code == 429 and "sequences" in str(e)
        on.set()
        assert got.result()[:2] == ("whole", WHOLE)
    assert len(second.requests) == n
    wait_for("both are booked", lambda: len(server.balance()) == 1 + n)
    assert ask(server, stream=False)[0] == "whole"  # and all places are given back


@pytest.mark.sanitize
def test_how_late_is_learned(pair):
    """Without `hedge_after` late is later than nearly all streams of that supplier were. Before twenty there is no opinion."""
    server, first, second = pair([default_script] * 5 + [sleeps] + [default_script] * 30 + [silence],
                                 flags=("--hedge-tiers", "default", "--hedge-percent", 100), limits="")
    for _ in range(36):
        assert ask(server)[:2] == ("whole", WHOLE)
    assert not second.requests  # not even the slow one
    assert ask(server)[:2] == ("whole", WHOLE)
    assert (len(first.requests), len(second.requests)) == (37, 1)
    wait_for("the first was told", lambda: first.requests[36].gone.is_set())


def test_the_engine_here_takes_no_hedge(tmp_path):
    """Only what is relayed can be tried twice: there nothing is told before the first content. Asked once, and not each tick."""
    def script(a):
        if a.request.json.get("stream"):
            time.sleep(1)
        default_script(a)
    mock = Mock(script)
    (tmp_path / "c.yaml").write_text(f"suppliers:\n  - name: far\n    base_url: {mock.url}\n    models: [{MODEL}=x]\n"
                                     "routes:\n  - route: weighted\n")
    server = Server(str(tmp_path), "-c", tmp_path / "c.yaml", "--threads", 1, *HEDGE, models=[model_path()])
    asked = {"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": "x"}]}
    for _ in range(8):
        assert server.post("/v1/chat/completions", asked)[0] == 200
    for _ in range(4):
        assert server.request("POST", "/v1/chat/completions", {**asked, "stream": True})[0] == 200
    shown = server.request("GET", "/metrics")[2].decode()
    assert "gaufre_hedges_total 0\n" in shown and "gaufre_hedged_tokens_total 0\n" in shown
    assert server.stop() == 0
    mock.close()


def test_only_tiers_that_ask_are_hedged(pair):
    server, first, second = pair([default_script] * 3 + [sleeps], flags=("--hedge-tiers", "priority", *HEDGE[2:]), limits="")
    earn(server)
    assert ask(server)[:2] == ("whole", WHOLE)
    assert len(first.requests) == 4 and not second.requests
