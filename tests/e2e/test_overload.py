"""Ten times as much is asked as can be done: what can be done is done, all else is refused before it begins. Counted, not timed."""
import json
import re
import threading

import pytest

from mock_upstream import Mock, words
from serving import Server, wait_for

PLACES, WAITING, CLIENTS, WAVES = 8, 8, 160, 5
WHOLE = "one two three four "


@pytest.fixture
def flooded(tmp_path):
    gate = threading.Event()

    def script(a):
        gate.wait(600)
        a.stream(words())

    mock = Mock(script)
    mock.gate = gate
    (tmp_path / "c.yaml").write_text(f"suppliers:\n  - name: m\n    base_url: {mock.url}\n    models: [far]\n    concurrency: {PLACES}\n")
    server = Server(str(tmp_path), "-c", tmp_path / "c.yaml", "--queue", WAITING, models=[])
    yield server, mock
    gate.set()
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait()
    server.log.close()
    mock.close()


def ask(server):
    """(status, text, finish, retry-after) of one stream."""
    status, heads, body = server.request("POST", "/v1/chat/completions", {
        "model": "far", "messages": [{"role": "user", "content": "hi"}], "stream": True})
    if status != 200:
        return status, "", None, heads["retry-after"]
    frames = [f[6:] for f in body.decode().split("\n\n") if f and not f.startswith(":")]
    assert frames[-1] == "[DONE]", frames
    choices = [json.loads(f)["choices"][0] for f in frames[:-1]]
    return 200, "".join(c["delta"].get("content") or "" for c in choices), choices[-1]["finish_reason"], None


def rss_kb(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def wave(server, mock):
    """Everybody at once, while nothing is answered until all are decided: what each got."""
    mock.gate.clear()
    before, got = len(mock.requests), []
    threads = [threading.Thread(target=lambda: got.append(ask(server))) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    wait_for("all decided", lambda: len(got) == CLIENTS - PLACES - WAITING and len(mock.requests) - before == PLACES and
             server.metric("vllm:num_requests_waiting") == WAITING)
    decided = len(got)
    mock.gate.set()
    for t in threads:
        t.join()
    return decided, got


def test_ten_times_capacity(flooded):
    server, mock = flooded
    rss = []
    for i in range(WAVES):
        refused, got = wave(server, mock)
        # as many are taken in the last wave as in the first, and not one more
        assert len(mock.requests) == (i + 1) * (PLACES + WAITING) and refused == CLIENTS - PLACES - WAITING
        good = [g for g in got if g[0] == 200]
        assert good == [(200, WHOLE, "stop", None)] * (PLACES + WAITING)  # who was let in gets all
        assert all(g[0] == 429 and g[1] == "" and float(g[3]) > 0 for g in got if g[0] != 200)  # before any 200
        if i == 1:  # the database has its cache from its first rows on
            wait_for("they are in the database", lambda: server.metric("gaufre_ledger_rows_in_journal") == 0)
        rss.append(rss_kb(server))
    n = WAVES * (PLACES + WAITING)
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests") == n)
    b = server.balance()["default"]
    assert (b["prompt_tokens"], b["completion_tokens"]) == (n * 11, n * 4)
    assert server.metric("gaufre_reserved_tokens") == 0
    assert rss[-1] - rss[1] < 2048, rss
    assert server.stop() == 0


def test_refusals_do_not_count_against_the_supplier(flooded):
    """After a flood the next one is served: our own refusals opened no breaker."""
    server, mock = flooded
    wave(server, mock)
    assert ask(server)[:3] == (200, WHOLE, "stop")
    assert server.metric("gaufre_supplier_breaker", state="open") == 0
