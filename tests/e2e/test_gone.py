"""Clients that leave a supplier's answer: heard to its end with on_client_gone: drain, to know what is owed."""
import json
import signal
import threading

import pytest

from mock_upstream import CHAT, Mock, words
from serving import SLOW, Server, wait_for
from test_complaints import ASK, PRICES, doors, leave

pytestmark = pytest.mark.sanitize

DRAIN = "    on_client_gone: drain\n"


@pytest.fixture
def door(tmp_path):
    with doors(tmp_path) as make:
        yield lambda script, *lines, drain=DRAIN, **more: make(script, *lines, more=drain + PRICES, **more)


def only_row(d):
    d.stop()
    row, = d.rows()
    assert row["status"] == 499
    return row


def test_a_whole_answer(door):
    """The tenant is charged the prompt, the supplier is owed what it says: nothing of it is an estimate."""
    d = door(lambda a: (d.go.wait(60 * SLOW), a.reply(200, CHAT)))
    leave(d, ASK, b"")
    wait_for("noticed", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
    assert d.server.metric("gaufre_reserved_tokens") > 0  # it is still under way
    d.go.set()
    d.booked(1)
    assert d.server.metric("gaufre_reserved_tokens") == 0 and d.server.metric("gaufre_lost_tokens_total") == 4
    row = only_row(d)
    assert not d.mock.requests[0].gone.is_set()
    assert (row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"]) == (11, 3, 0)
    assert (row["lost_prompt_tokens"], row["lost_cached_tokens"], row["lost_completion_tokens"]) == (0, 0, 4)
    assert row["usage_state"] == 0 and row["charge_nano"] == 11 * 100 and row["cost_nano"] == 11 * 50 + 4 * 200


def test_a_stream(door):
    """What was delivered before is charged: two words of four, which have as many tokens."""
    def script(a):
        a.begin()
        events = words("mno pqr stu vwx")
        for e in events[:3]:
            a.event(e)
        d.go.wait(60 * SLOW)
        for e in events[3:]:
            a.event(e)
        a.end()

    d = door(script)
    leave(d, {**ASK, "stream": True}, b"pqr")
    wait_for("noticed", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
    d.go.set()
    d.booked(1)
    row = only_row(d)
    assert not d.mock.requests[0].gone.is_set()
    assert (row["prompt_tokens"], row["completion_tokens"], row["lost_completion_tokens"]) == (11, 2, 2)
    assert row["usage_state"] == 0 and row["charge_nano"] == 11 * 100 + 2 * 400 and row["cost_nano"] == 11 * 50 + 4 * 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_answer_needs_no_memory(door, stream):
    """Forty megabytes, which are read and thrown away."""
    def script(a):
        d.go.wait(60 * SLOW)
        if stream:
            a.stream(words(" ".join(["x" * 100_000] * 400)))
        else:
            a.reply(200, {**CHAT, "x_more": "x" * 40_000_000})

    d = door(script)
    leave(d, {**ASK, "stream": stream}, b"")
    wait_for("noticed", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
    d.go.set()
    d.booked(1)
    row = only_row(d)
    assert row["usage_state"] == 0 and row["prompt_tokens"] == 11 and row["completion_tokens"] == 0
    assert row["lost_completion_tokens"] == (400 if stream else 4)


def test_it_is_still_under_way(door):
    """It has its place in the tenant's concurrency until it has ended."""
    d = door(lambda a: (d.go.wait(60 * SLOW), a.reply(200, CHAT)), "tenant a concurrency=1")
    leave(d, ASK, b"")
    wait_for("noticed", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
    assert d.post(ASK)[0] == 429
    d.go.set()
    d.booked(1)
    assert d.post(ASK)[0] == 200
    d.booked(2)
    d.stop()


@pytest.mark.parametrize("what", ["time", "reset", "refusal"])
def test_it_ends_badly(door, what):
    """The prompt is owed by an estimate, except for a refusal."""
    def script(a):
        if what == "time":
            a.wait_gone()
        d.go.wait(60 * SLOW)
        if what == "reset":
            a.cut()
        a.reply(400, {"error": {"message": "no"}})

    d = door(script, drain=DRAIN + ("    total_timeout: 2s\n" if what == "time" else ""))
    leave(d, ASK, b"")
    wait_for("noticed", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
    d.go.set()
    d.booked(1)
    row = only_row(d)
    assert row["usage_state"] == 1 and row["prompt_tokens"] == row["completion_tokens"] == row["lost_completion_tokens"] == 0
    assert (row["lost_prompt_tokens"] > 0) == (what != "refusal") and row["charge_nano"] == 0


def test_the_server_waits_for_it(door):
    d = door(lambda a: (d.go.wait(60 * SLOW), a.reply(200, CHAT)))
    leave(d, ASK, b"")
    wait_for("noticed", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
    d.server.process.send_signal(signal.SIGTERM)
    wait_for("draining", lambda: "draining" in d.server.read_log())
    d.go.set()
    assert d.server.process.wait(60 * SLOW) == 0
    assert only_row(d)["lost_completion_tokens"] == 4


def test_the_server_does_not_wait_for_ever(tmp_path):
    mock = Mock(lambda a: a.wait_gone())
    (tmp_path / "c.yaml").write_text(f"suppliers:\n  - name: m\n    base_url: {mock.url}\n    models: [far]\n{DRAIN}drain_timeout: 1s\n")
    server = Server(str(tmp_path), "-c", tmp_path / "c.yaml", models=[])
    s = send(server, ASK)
    wait_for("asked", lambda: mock.requests)
    s.close()
    wait_for("noticed", lambda: server.metric("gaufre_clients_gone_total") == 1)
    assert server.stop() == 0, server.read_log()
    assert mock.requests[0].gone.wait(60 * SLOW)
    assert server.balance()["default"]["requests"] == 1
    mock.close()


def test_a_swap_changes_nothing_of_it(door, tmp_path):
    """What is being heard to its end when the configuration changes is so to its end; what comes later is not."""
    d = door(lambda a: (d.go.wait(60 * SLOW), a.reply(200, CHAT)) if len(d.mock.requests) == 1 else a.wait_gone())
    leave(d, ASK, b"")
    wait_for("noticed", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
    (tmp_path / "c.yaml").write_text((tmp_path / "c.yaml").read_text().replace("drain", "cancel"))
    d.server.process.send_signal(signal.SIGHUP)
    wait_for("swapped", lambda: "configuration in force" in d.server.read_log())
    leave(d, ASK, b"")
    assert d.mock.requests[1].gone.wait(60 * SLOW)
    assert not d.mock.requests[0].gone.is_set()
    d.go.set()
    d.booked(2)
    d.stop()
    assert sorted((r["usage_state"], r["prompt_tokens"], r["lost_completion_tokens"]) for r in d.rows()) == [(0, 11, 4), (1, 0, 0)]


def send(server, body, **heads):
    """A request whose connection the caller closes."""
    data = json.dumps(body).encode()
    lines = [f"{k.replace('_', '-')}: {v}" for k, v in {"host": "localhost", "content_length": len(data), **heads}.items()]
    s = server.connect()
    s.sendall("\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines, "", ""]).encode() + data)
    return s


def test_its_owner_may_still_cancel_it(door):
    d = door(lambda a: a.wait_gone())
    key = d.heads["a"]
    s = send(d.server, ASK, x_client_request_id="mine", **key)
    wait_for("asked", lambda: d.mock.requests)
    s.close()
    wait_for("noticed", lambda: d.server.metric("gaufre_clients_gone_total") == 1)
    assert not d.mock.requests[0].gone.is_set()
    status, _, body = d.server.request("POST", "/v1/engine/requests/mine/cancel", {}, key)
    assert status == 200 and json.loads(body)["cancelled"]
    assert d.mock.requests[0].gone.wait(60 * SLOW)
    d.booked(1)
    row = only_row(d)
    assert row["usage_state"] == 1 and row["lost_prompt_tokens"] > 0


def test_a_hedged_one(tmp_path):
    """Two suppliers are at work: the first is heard to its end, the second is cancelled at once."""
    go = threading.Event()
    first = Mock([lambda a: a.stream(words())] * 3 + [lambda a: (go.wait(60 * SLOW), a.stream(words()))])
    second = Mock(lambda a: a.wait_gone())
    (tmp_path / "c.yaml").write_text("suppliers:\n" + "".join(
        f"  - name: m{i}\n    base_url: {m.url}\n    models: [far]\n    weight: {1 - i}\n{DRAIN}" for i, m in enumerate((first, second)))
        + "hedge_tiers: [default]\nhedge_after: 100ms\nhedge_percent: 100\n")
    server = Server(str(tmp_path), "-c", tmp_path / "c.yaml", models=[])
    for _ in range(3):  # so that there is something to be lost
        assert server.request("POST", "/v1/chat/completions", {**ASK, "stream": True})[0] == 200
    s = send(server, {**ASK, "stream": True})
    wait_for("both are asked", lambda: second.requests)
    s.close()
    assert second.requests[0].gone.wait(60 * SLOW)
    wait_for("noticed", lambda: server.metric("gaufre_clients_gone_total") == 1)
    assert not first.requests[3].gone.is_set()
    go.set()
    b = wait_for("booked", lambda: (b := server.balance()) and "(platform)" in b and b["default"]["requests"] == 4 and b)
    assert (b["default"]["prompt_tokens"], b["default"]["completion_tokens"]) == (44, 12)  # the fourth had its prompt read
    assert server.metric("gaufre_lost_tokens_total") == 4
    assert server.stop() == 0, server.read_log()
    first.close()
    second.close()
