"""What users of other gateways complain about, by number, and the tests that show that it does not happen here. A complaint
without a test waits for the part of the program that it is about."""
import contextlib
import json
import os
import re
import sqlite3
import subprocess
import threading
import time

import openai
import pytest

from finding import ROOT, find_gaufre
from mock_upstream import CHAT, Mock, chunk, words
from serving import SLOW, Server, wait_for

ENDINGS_OF_A_STREAM = "tests/e2e/test_complaints.py::test_complaint_14_a_client_that_leaves_is_booked_once"

# number: (the complaint, the tests that would fail if it were true here)
COMPLAINTS = {
    1: ("parallel requests all see the old spend and pass", [
        "tests/e2e/test_complaints.py::test_complaints_1_and_10_a_burst_on_one_budget",
        "tests/unit/cloud/test_holds.c::parallel_requests_all_see_the_spend",
        "tests/unit/serve/test_tenants.c::a_burst_of_requests"]),
    2: ("first requests of somebody unknown pass together", [
        "tests/e2e/test_complaints.py::test_complaint_2_first_requests_of_fresh_tenants"]),
    3: ("a reservation is never released on some endings", [
        "tests/e2e/test_complaints.py::test_complaints_3_and_4_every_ending_gives_back",
        "tests/unit/cloud/test_cloud.c::budgets_last", "tests/sim/sim_judge.c::sim_enforced"]),
    4: ("the enforced counter is not what is recorded", [
        "tests/e2e/test_complaints.py::test_complaints_3_and_4_every_ending_gives_back",
        "tests/unit/cloud/test_holds.c::enforced_is_what_was_used", "tests/sim/sim_judge.c::sim_enforced"]),
    5: ("a reservation is shrunk to what is left, and the request admitted", [
        "tests/unit/serve/test_tenants.c::the_last_cent", "tests/unit/policy/test_budget.c::the_last_one"]),
    6: ("windows are reset at the wrong hour", [
        "tests/unit/cloud/test_holds.c::days_are_local", "tests/unit/base/test_zone.c::local_days"]),
    7: ("a field of a budget is accepted and not enforced", [
        "tests/e2e/test_accounts.py::test_every_field_reads_back", "tests/unit/cloud/test_keyring.c::refuses",
        "tests/e2e/test_init.py::test_schema_knows_every_setting"]),
    8: ("some routes skip budgets", ["tests/e2e/test_admin.py::test_every_route_costs_its_key"]),
    9: ("a token limit falls by one a request", [
        "tests/e2e/test_complaints.py::test_complaint_9_remaining_falls_by_what_was_used",
        "tests/unit/serve/test_tenants.c::remaining_falls_by_what_was_used"]),
    10: ("streams are counted after they end", [
        "tests/e2e/test_complaints.py::test_complaints_1_and_10_a_burst_on_one_budget"]),
    11: ("a new key resets the budget", ["tests/e2e/test_accounts.py::test_rotation_resets_no_budget", "tests/unit/cloud/test_cloud.c::budgets_last"]),
    12: ("the old key is refused within its grace period", ["tests/e2e/test_accounts.py::test_rotation_overlaps"]),
    13: ("a rotation that was cut leaves nobody with the key", ["tests/e2e/test_accounts.py::test_rotation_can_be_repeated"]),
    14: ("who leaves in mid-stream is not booked, or at nothing", [
        ENDINGS_OF_A_STREAM, "tests/e2e/test_cancel.py::test_in_a_stream", "tests/e2e/test_kill.py::test_killed_at_any_instant"]),
    15: ("cancelled streams are booked below what the supplier bills", [
        "tests/e2e/test_complaints.py::test_complaint_15_what_the_supplier_may_bill_is_owed",
        "tests/e2e/test_gone.py::test_a_whole_answer", "tests/e2e/test_gone.py::test_a_stream",
        "tests/unit/books/test_entry.c::what_is_lost_is_owed"]),
    16: ("cached tokens are charged twice", ["tests/unit/api/test_relayed_usage.c::cached_tokens_are_charged_once"]),
    17: ("reasoning tokens are charged twice, or lost", [
        "tests/unit/api/test_relayed_usage.c::reasoning_is_charged_once",
        "tests/unit/api/test_relayed_usage.c::what_does_not_fit_is_disputed"]),
    18: ("a model without a price costs nothing and voids budgets", [
        "tests/e2e/test_bill.py::test_bill", "tests/unit/cloud/test_cloud.c::budgets_of_money"]),
    19: ("an answer that is cut ends cleanly", [
        "tests/e2e/test_complaints.py::test_complaints_19_and_20_a_broken_stream_is_never_a_clean_end",
        "tests/e2e/test_failover.py::test_fault", "tests/e2e/test_sdk_js.py::test_a_broken_stream_raises",
        "tests/e2e/test_judge.py::test_no_verdict_on_a_relay"]),
    20: ("a stream without finish_reason is a normal stop", [
        "tests/e2e/test_complaints.py::test_complaints_19_and_20_a_broken_stream_is_never_a_clean_end",
        "tests/e2e/test_failover.py::test_fault", "tests/e2e/test_sdk_js.py::test_a_broken_stream_raises"]),
    21: ("an error after a first event without content is not tried elsewhere", [
        "tests/e2e/test_failover.py::test_fault"]),
    22: ("retries hammer the account that asked to wait", [
        "tests/e2e/test_failover.py::test_complaint_22_one_account_is_not_hammered"]),
    23: ("hours of requests into a supplier that answers 429", [
        "tests/e2e/test_failover.py::test_who_asks_for_less_is_left_alone"]),
    24: ("the timeout of the first byte never fires, or is retried", ["tests/e2e/test_failover.py::test_fault"]),
    25: ("tokens come in clumps", ["tests/e2e/test_relay.py::test_each_chunk_at_once"]),
    26: ("parallel tool calls are merged", [
        "tests/e2e/test_relay.py::test_tool_calls_pass_byte_for_byte", "tests/e2e/test_sdk_js.py::test_parallel_tool_calls_stay_apart"]),
    27: ("errors change their meaning and are retried for ever", [
        "tests/e2e/test_complaints.py::test_complaint_27_errors_as_the_clients_retry_them",
        "tests/unit/api/test_relayed_error.c::statuses"]),
    28: ("retry-after and the limits' headers are dropped", [
        "tests/e2e/test_complaints.py::test_complaint_28_when_to_come_back",
        "tests/e2e/test_sdk_js.py::test_retry_after_is_waited_for"]),
    29: ("routing divides by zero where there are no samples", [
        "tests/e2e/test_route.py::test_complaint_29_no_samples", "tests/unit/policy/test_breaker.c::odd_samples"]),
    30: ("memory and descriptors grow with every cancelled request", [
        "tests/e2e/test_complaints.py::test_complaint_30_nothing_grows"]),
    31: ("a reload is logged and not applied, or by halves", [
        "tests/e2e/test_swap.py::test_suppliers_and_prices", "tests/e2e/test_swap.py::test_what_is_wrong_changes_nothing",
        "tests/e2e/test_admin.py::test_reload"]),
    32: ("looking at it kills it", ["tests/browser/test_engine.py::test_complaint_32_looking_asks_for_little"]),
    33: ("it takes 512 MB to boot", ["tests/e2e/test_complaints.py::test_complaint_33_the_first_answer_is_small"]),
}


def test_every_complaint_names_tests_that_exist():
    for number, (_, tests) in COMPLAINTS.items():
        for test in tests:
            path, name = test.split("::")
            text = (ROOT / path).read_text()
            wanted = rf"^def {name}\(" if path.endswith(".py") else rf"\b{name}\b"
            assert re.search(wanted, text, re.M), f"{number}: {test}"
    print("\nwithout a test: " + ", ".join(f"{n} ({c[0]})" for n, c in COMPLAINTS.items() if not c[1]))
    assert sorted(COMPLAINTS) == list(range(1, 34))


ASK = {"model": "far", "messages": [{"role": "user", "content": "hi"}]}
TEXT = {"model": "far", "prompt": "hi"}
COMPLETION = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "far",
              "choices": [{"index": 0, "text": "one two", "finish_reason": "stop", "logprobs": None}],
              "usage": {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}}


PRICES = """currency: EUR
prices:
  - {input: 0.10, output: 0.40}
  - {side: buy, supplier: m, input: 0.05, output: 0.20}
"""


class Door:
    """A server with one supplier, and tenants with keys."""

    def __init__(self, folder, script, *lines, tenants=("a",), models=("far",), more=""):
        self.mock, self.go = Mock(script), threading.Event()
        keys, self.heads = folder / "keys", {}
        for name in tenants:
            key = subprocess.run([find_gaufre(), "key", "new", keys, name, "--tenant", name],
                                 check=True, capture_output=True, text=True).stdout.strip()
            self.heads[name] = {"Authorization": f"Bearer {key}"}
        if lines:
            with open(keys, "a", encoding="ascii") as f:
                f.writelines(line + "\n" for line in lines)
        (folder / "c.yaml").write_text(f"suppliers:\n  - name: m\n    base_url: {self.mock.url}\n    models: [{', '.join(models)}]\n"
                                       f"    concurrency: 1000\n{more}")
        with_keys = ("--keys", keys) if tenants else ()
        self.server = Server(str(folder), "-c", folder / "c.yaml", *with_keys, models=[])
        self.url = self.server.url + "/v1"

    def post(self, body, tenant="a", path=None):
        path = path or ("/v1/completions" if "prompt" in body else "/v1/chat/completions")
        return self.server.request("POST", path, body, self.heads.get(tenant))

    def client(self, tenant="a", **more):
        key = self.heads[tenant]["Authorization"].split()[1] if self.heads else "x"
        return openai.OpenAI(base_url=self.url, api_key=key, timeout=120 * SLOW, **more)

    def booked(self, n, tenant="a"):
        return wait_for("booked", lambda: (b := self.server.balance().get(tenant)) and b["requests"] == n and b)

    def rows(self):
        db = sqlite3.connect(self.server.ledger)
        db.row_factory = sqlite3.Row
        try:
            return [dict(r) for r in db.execute("SELECT * FROM usage ORDER BY seq")]
        finally:
            db.close()

    def stop(self):
        assert self.server.stop() == 0, self.server.read_log()[-4000:]
        done = subprocess.run([find_gaufre(), "audit", "-l", self.server.ledger], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def doors(tmp_path):
    """make(script, ...) -> a Door, which is gone at the end."""
    made = []

    def make(*args, **more):
        made.append(Door(tmp_path, *args, **more))
        return made[0]

    yield make
    for d in made:
        if d.server.process.poll() is None:
            d.server.process.kill()
            d.server.process.wait()
        d.server.log.close()
        d.mock.close()


@pytest.fixture
def door(tmp_path):
    with doors(tmp_path) as make:
        yield make


def burst(door, n, body, tenants=("a",)):
    """n requests of each tenant, released together: their statuses, by tenant."""
    barrier, got = threading.Barrier(n * len(tenants)), {t: [] for t in tenants}

    def one(tenant):
        barrier.wait()
        got[tenant].append(door.post(body, tenant)[0])

    threads = [threading.Thread(target=one, args=(t,)) for t in tenants for _ in range(n)]
    for t in threads:
        t.start()
    return threads, got


@pytest.mark.parametrize("stream", [False, True])
def test_complaints_1_and_10_a_burst_on_one_budget(door, stream):
    """64 requests at once on a budget for 8: exactly 8 get in, while nothing is settled yet, streamed or not."""
    go = threading.Event()

    def script(a):
        go.wait(600)
        a.stream(words()) if stream else a.reply(200, CHAT)

    d = door(script, "tenant a token_budget_per_day=9000")
    threads, got = burst(d, 64, {**ASK, "stream": stream, "max_tokens": 1000})
    wait_for("decided", lambda: len(got["a"]) == 56)
    assert set(got["a"]) == {402}
    wait_for("asked", lambda: len(d.mock.requests) >= 8)  # the last may still be on its way there
    go.set()
    for t in threads:
        t.join()
    assert sorted(got["a"]) == [200] * 8 + [402] * 56 and len(d.mock.requests) == 8
    b = d.booked(8)
    assert b["prompt_tokens"] + b["completion_tokens"] == 8 * 15
    assert d.post({**ASK, "stream": stream, "max_tokens": 8000})[0] == 200  # what was not used is there again
    d.booked(9)
    d.stop()


def test_complaint_2_first_requests_of_fresh_tenants(door):
    """Eight tenants that nobody has seen before, eight requests of each at once, a budget for one each."""
    go = threading.Event()

    def script(a):
        go.wait(600)
        a.reply(200, CHAT)

    names = [f"t{i}" for i in range(8)]
    d = door(script, *(f"tenant {t} token_budget_per_day=1500" for t in names), tenants=names)
    threads, got = burst(d, 8, {**ASK, "max_tokens": 1000}, names)
    wait_for("decided", lambda: sum(map(len, got.values())) == 56)
    go.set()
    for t in threads:
        t.join()
    assert all(sorted(got[t]) == [200] + [402] * 7 for t in names), got
    d.stop()


def leave(door, body, after, tenant="a"):
    """Send a request, and close the connection once `after` has been read in the answer's body (b"": at once when the
    supplier has it). `after` is no hexadecimal number, which an id could have."""
    n = len(door.mock.requests)
    s = door.server.connect()
    data = json.dumps(body).encode()
    path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
    key = door.heads[tenant]["Authorization"] if door.heads else "x"
    s.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
    wait_for("asked", lambda: len(door.mock.requests) > n)
    got = b""
    while after not in got.partition(b"\r\n\r\n")[2]:
        piece = s.recv(65536)
        assert piece
        got += piece
    s.close()


def text_events(n):
    return [json.dumps({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "far",
                        "choices": [{"index": 0, "text": f"w{i} ", "finish_reason": None}]}) for i in range(n)]


def half(a):
    """Three words, and then silence until the client has gone."""
    if a.request.json.get("stream"):
        a.begin()
        for e in text_events(3) if "prompt" in a.request.json else [chunk({"content": f"w{i} "}) for i in range(3)]:
            a.event(e)
    a.wait_gone()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("body", [ASK, TEXT], ids=["chat", "completions"])
def test_complaint_14_a_client_that_leaves_is_booked_once(door, body, stream):
    d = door(half)
    leave(d, {**body, "stream": stream}, b"w2" if stream else b"")
    b = d.booked(1)
    assert d.mock.requests[0].gone.wait(60 * SLOW)
    assert b["completion_tokens"] == (3 if stream else 0)  # of nine bytes, and nothing of what nobody has sent
    assert (b["prompt_tokens"] > 0) == stream
    d.stop()
    rows = d.rows()
    assert len(rows) == 1 and rows[0]["status"] == 499 and rows[0]["usage_state"] == 1
    assert (rows[0]["lost_prompt_tokens"] > 0) != stream and rows[0]["lost_completion_tokens"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_complaint_15_what_the_supplier_may_bill_is_owed(door, stream):
    """A client leaves before anything came: nothing was delivered to its tenant, and the supplier is owed about the prompt."""
    d = door(lambda a: a.wait_gone(), more=PRICES)
    asked = {**ASK, "messages": [{"role": "user", "content": "word " * 400}], "stream": stream}
    leave(d, asked, b"")
    assert d.booked(1)["prompt_tokens"] == 0
    assert d.mock.requests[0].gone.wait(60 * SLOW)
    d.stop()
    row, = d.rows()
    assert row["status"] == 499 and row["usage_state"] == 1 and row["charge_nano"] == row["completion_tokens"] == 0
    assert 450 < row["lost_prompt_tokens"] < 650 and row["lost_completion_tokens"] == 0  # of 2,000 bytes
    assert row["cost_nano"] == 50 * row["lost_prompt_tokens"]
    pending = subprocess.run([find_gaufre(), "ledger", "pending", "-l", d.server.ledger], capture_output=True, text=True, check=True)
    assert f"estimated, {row['lost_prompt_tokens']} more owed" in pending.stdout
    bill = subprocess.run([find_gaufre(), "bill", "--by", "supplier", "--json", "-l", d.server.ledger], capture_output=True, text=True, check=True)
    assert json.loads(bill.stdout)["lost_tokens"] == row["lost_prompt_tokens"]


def cut(a):
    if not a.request.json.get("stream"):
        a.head(content_type="application/json", content_length=1000)
        a.send('{"id":')
        a.cut()
    a.begin()
    for e in text_events(3) if "prompt" in a.request.json else words()[:3]:
        a.event(e)
    a.cut()


def whole(a):
    text = "prompt" in a.request.json
    if a.request.json.get("stream"):
        done = {**COMPLETION, "choices": [{**COMPLETION["choices"][0], "text": ""}]}
        a.stream(text_events(3) + [json.dumps(done)] if text else words())
    else:
        a.reply(200, COMPLETION if text else CHAT)


def without_usage(a):
    if a.request.json.get("stream"):
        a.stream(words(usage=False) if "prompt" not in a.request.json else
                 text_events(3) + [json.dumps({k: v for k, v in COMPLETION.items() if k != "usage"})])
    else:
        a.reply(200, {k: v for k, v in (COMPLETION if "prompt" in a.request.json else CHAT).items() if k != "usage"})


ENDINGS = {
    "whole": whole, "without usage": without_usage, "cut": cut, "left": half,
    "500": lambda a: a.reply(500, {"error": {"message": "no"}}),
    "429": lambda a: a.reply(429, {"error": {"message": "no"}}),
    "400": lambda a: a.reply(400, {"error": {"message": "no such field"}}),
    "not json": lambda a: a.reply(200, "hello"),
    "error as 200": lambda a: a.reply(200, {"error": {"message": "no"}}),
    "no finish": lambda a: a.stream(words(finish=None, usage=False)) if a.request.json.get("stream") else a.reply(200, {"choices": []}),
}


def test_complaints_3_and_4_every_ending_gives_back(door):
    """Every ending, chat and completions, streamed or not: then nothing is held, and what the budget counts is what the
    ledger has."""
    now = [None]
    d = door(lambda a: now[0](a), "tenant a token_budget=1000000", models=[f"m{i}" for i in range(2 * len(ENDINGS))])
    n = 0
    for name, script in ENDINGS.items():
        for body in (ASK, TEXT):
            for stream in (False, True):
                now[0] = script
                asked = {**body, "model": f"m{n // 2}", "stream": stream, "max_tokens": 500}  # so that no breaker is in the way
                if name == "left":
                    leave(d, asked, b"w2" if stream else b"")
                else:
                    d.post(asked)
                n += 1
                wait_for(f"nothing held after {name}", lambda: d.server.metric("gaufre_reserved_tokens") == 0)
                assert d.server.metric("gaufre_budget_tokens", state="held") == 0
        wait_for("on disk", lambda: d.server.metric("gaufre_ledger_rows_pending") == 0)
        b = d.server.balance()["a"]
        assert d.server.metric("gaufre_budget_tokens", state="settled") == b["prompt_tokens"] + b["completion_tokens"], name
    rows = d.rows()
    assert len({r["request_id"] for r in rows}) == len(rows) <= n
    assert sum(r["prompt_tokens"] + r["completion_tokens"] for r in rows) == d.server.metric("gaufre_budget_tokens", state="settled")
    d.stop()


def test_complaint_9_remaining_falls_by_what_was_used(door):
    """Three answers of 15 tokens, one of them a stream: 45 less, but for what has flowed back (one in 86 seconds)."""
    d = door(whole, "tenant a tokens_per_day=1000")
    began = time.monotonic()
    for stream in (False, True, False):
        status, heads, _ = d.post({**ASK, "stream": stream, "max_tokens": 100})
        assert status == 200
        wait_for("settled", lambda: d.server.metric("gaufre_reserved_tokens") == 0)
    left = int(heads["x-ratelimit-remaining-tokens-day"])
    assert 955 <= left <= 956 + (time.monotonic() - began) / 86
    d.stop()


def cut_late(a):
    a.begin()
    for e in words()[:4]:
        a.event(e)
    a.cut()


def no_finish(a):
    a.stream(words(finish=None, usage=False))


@pytest.mark.parametrize("script", [cut_late, no_finish])
def test_complaints_19_and_20_a_broken_stream_is_never_a_clean_end(door, script):
    """An error in the stream, no finish_reason, no [DONE]; the SDK raises, and the row is what was delivered."""
    d = door(script)
    body = d.post({**ASK, "stream": True})[2].decode()
    frames = [f.removeprefix("data: ") for f in body.split("\n\n") if f]
    assert "[DONE]" not in frames and '"finish_reason":"' not in body.replace(" ", "")
    assert json.loads(frames[-1])["error"]["message"]
    text = ""
    with pytest.raises(openai.APIError):
        for c in d.client(max_retries=2).chat.completions.create(**ASK, stream=True):
            text += c.choices[0].delta.content or ""
    assert text.startswith("one ") and len(d.mock.requests) == 2
    b = d.booked(2)
    assert 0 < b["completion_tokens"] <= 2 * len(text)
    d.stop()
    assert all(r["usage_state"] == 1 for r in d.rows())


# What a supplier answers; what the SDK makes of it; how often it is asked by a client that tries three times.
ERRORS = [
    (400, {"message": "no such field", "code": "bad"}, openai.BadRequestError, 400, 1),
    (400, {"message": "maximum context length is 8 tokens", "code": "context_length_exceeded"}, openai.BadRequestError, 400, 1),
    (401, {"message": "wrong key"}, openai.InternalServerError, 502, 1),
    (403, {"message": "forbidden"}, openai.InternalServerError, 502, 1),
    (413, {"message": "too large"}, openai.BadRequestError, 400, 1),
    (422, {"message": "no such field"}, openai.BadRequestError, 400, 1),
]


@pytest.mark.parametrize("status, error, kind, ours, times", ERRORS, ids=lambda v: str(v) if isinstance(v, int) else "")
def test_complaint_27_errors_as_the_clients_retry_them(door, status, error, kind, ours, times):
    """What cannot get better is not tried again, by us or by the official client; it keeps its meaning."""
    d = door(lambda a: a.reply(status, {"error": error}))
    with pytest.raises(kind) as e:
        d.client(max_retries=2).chat.completions.create(**ASK)
    assert e.value.status_code == ours
    assert len(d.mock.requests) == times


def test_complaint_28_when_to_come_back(door):
    """On 429 the upstream's own time, unprefixed; the limits on 200 and 429 both."""
    now = [whole]
    d = door(lambda a: now[0](a), "tenant a requests_per_minute=1000 tokens_per_minute=100000")
    for script, status in ((whole, 200), (lambda a: a.reply(429, {"error": {"message": "slow"}}, retry_after="7"), 429)):
        now[0] = script
        got, heads, _ = d.post({**ASK, "max_tokens": 10})
        assert got == status
        for what in ("limit", "remaining"):
            assert int(heads[f"x-ratelimit-{what}-requests"]) > 0 and int(heads[f"x-ratelimit-{what}-tokens"]) > 0
    assert heads["retry-after"] == "7"


def proc(door, what):
    pid = door.server.process.pid
    if what == "fds":
        return len(os.listdir(f"/proc/{pid}/fd"))
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(rf"{what}:\s+(\d+) kB", f.read()).group(1))


def test_complaint_30_nothing_grows(door):
    """Thousands of requests, a fifth of them cancelled in mid-stream: once what is kept is full (the ledger's pages, the
    rows of ended requests), memory and descriptors are what they were."""
    d = door(lambda a: half(a) if a.request.json.get("user") == "leaves" else whole(a), tenants=())

    def round_of(n):
        def work():
            for i in range(n):
                if i % 5 == 4:
                    leave(d, {**ASK, "stream": True, "user": "leaves"}, b"w2")
                else:
                    assert d.post({**ASK, "stream": i % 2 == 0})[0] == 200
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        wait_for("all ended", lambda: d.server.metric("gaufre_requests_under_way") <= 1)

    round_of(100)
    rss, fds = [proc(d, "VmRSS")], proc(d, "fds")
    while len(rss) < 5 or rss[-1] - rss[-5] >= 64:  # 40 bytes a request
        assert len(rss) < 60 and rss[-1] - rss[0] < 8192, f"{rss} kB"
        round_of(100)
        rss.append(proc(d, "VmRSS"))
    wait_for("descriptors closed", lambda: proc(d, "fds") <= fds + 4)
    d.stop()


def test_complaint_33_the_first_answer_is_small(door):
    """The most memory that it ever had, from its start to the first relayed answer, libraries and all; and of its own."""
    d = door(whole, tenants=())
    assert d.post(ASK)[0] == 200
    assert proc(d, "VmHWM") < 40 * 1024 and proc(d, "RssAnon") < 20 * 1024
