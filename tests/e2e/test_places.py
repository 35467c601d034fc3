"""A supplier's `concurrency` is kept: what is beyond it waits here, by tiers and turns, or is refused. Counted, not timed."""
import json
import subprocess
import threading

import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Mock, words
from serving import Server, wait_for

pytestmark = pytest.mark.sanitize


class Slow:
    """A supplier that answers one after the other when it is told to, and counts how many are there."""

    def __init__(self, status=200):
        self.lock, self.go, self.status = threading.Lock(), threading.Semaphore(0), status
        self.n = self.most = 0
        self.order = []
        self.mock = Mock(self.script)

    def script(self, a):
        with self.lock:
            self.n += 1
            self.most = max(self.most, self.n)
            self.order.append(a.request.json.get("user"))
        if not a.request.json.get("user", "").startswith("fast"):
            self.go.acquire()
        with self.lock:
            self.n -= 1  # before its answer is known: the next may come at once
        if self.status != 200:
            a.reply(self.status, {"error": {"message": "too much"}}, retry_after="7")
        elif a.request.json.get("stream"):
            a.stream(words())
        else:
            a.reply(200, CHAT)


@pytest.fixture
def place(tmp_path):
    made = []

    def make(slow, *flags, concurrency=1, more="", models="[m, m2]"):
        (tmp_path / "c.yaml").write_text(f"suppliers:\n  - name: far\n    base_url: {slow.mock.url}\n    models: {models}\n"
                                         f"    concurrency: {concurrency}\n{more}")
        made.append(slow)
        made.append(Server(str(tmp_path), "-c", tmp_path / "c.yaml", *flags, models=[]))
        return made[-1]

    yield make
    for _ in range(200):
        made[0].go.release()
    assert made[1].stop() == 0, made[1].read_log()
    made[0].mock.close()


class Asked:
    def __init__(self, server, user, headers=None, model="m", **more):
        self.body = {"model": model, "user": user, "messages": [{"role": "user", "content": "x"}], **more}
        self.server, self.headers, self.got = server, headers, None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        self.got = self.server.request("POST", "/v1/chat/completions", self.body, self.headers)

    def wait(self):
        self.thread.join()
        return self.got


def waiting(server, n):
    """One model's word is enough: places are the supplier's, and its models all tell the same."""
    wait_for(f"{n} wait", lambda: server.metric("vllm:num_requests_waiting", model_name="m") >= n)


def in_line(server, slow, first, *rest):
    """The first gets the place, then the others come, one after the other."""
    asked = [first()]
    wait_for("the first is there", lambda: slow.n == 1)
    for i, r in enumerate(rest):
        asked.append(r())
        waiting(server, i + 1)
    return asked


def test_never_more_than_that(place):
    slow = Slow()
    server = place(slow, concurrency=3)
    asked = [Asked(server, f"u{i}", model="m2" if i % 2 else "m", stream=i % 3 == 0) for i in range(12)]
    wait_for("all places taken", lambda: slow.n == 3)
    waiting(server, 9)
    for _ in asked:
        slow.go.release()
    assert [a.wait()[0] for a in asked] == [200] * 12
    assert slow.most == 3
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests") == 12)


def test_by_tiers(place):
    slow = Slow()
    server = place(slow)
    tiers = ["batch", "flex", "default", "priority"]
    asked = in_line(server, slow, lambda: Asked(server, "first"), *(lambda t=t: Asked(server, t, service_tier=t) for t in tiers))
    for _ in asked:
        slow.go.release()
    for a in asked:
        assert a.wait()[0] == 200
    assert slow.order == ["first", "priority", "default", "flex", "batch"]


def test_tenants_take_turns(place, tmp_path):
    keys = tmp_path / "keys"
    key = {t: {"Authorization": "Bearer " + subprocess.run(
        [find_gaufre(), "key", "new", keys, t, "--tenant", t], check=True, capture_output=True, text=True).stdout.strip()}
        for t in ("loud", "quiet")}
    slow = Slow()
    server = place(slow, "--keys", keys)
    asked = in_line(server, slow, *(lambda: Asked(server, "loud", key["loud"]) for _ in range(6)),
                    *(lambda: Asked(server, "quiet", key["quiet"]) for _ in range(2)))
    for _ in asked:
        slow.go.release()
    assert all(a.wait()[0] == 200 for a in asked)
    assert max(i for i, who in enumerate(slow.order) if who == "quiet") <= 4, slow.order


def test_who_waits_can_leave(place):
    slow = Slow()
    server = place(slow)
    first = Asked(server, "first")
    wait_for("the first is there", lambda: slow.n == 1)
    import http.client
    c = http.client.HTTPConnection("127.0.0.1", server.port)
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}),
              {"Content-Type": "application/json"})
    waiting(server, 1)
    c.close()
    wait_for("it has left", lambda: server.metric("vllm:num_requests_waiting") == 0)
    slow.go.release()
    assert first.wait()[0] == 200
    assert Asked(server, "fast").wait()[0] == 200
    assert slow.order == ["first", "fast"]  # nothing was sent for it, and nothing is owed
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests", 0) >= 2)
    assert server.balance()["default"]["prompt_tokens"] == 22
    assert server.metric("gaufre_reserved_tokens") == 0


def test_who_waits_too_long_is_refused(place):
    slow = Slow()
    server = place(slow, "--queue-age", "300ms")
    first = Asked(server, "first")
    wait_for("the first is there", lambda: slow.n == 1)
    status, heads, body = Asked(server, "late").wait()
    assert status == 429 and b"queue_exceeded" in body and float(heads["retry-after"]) > 0
    slow.go.release()
    assert first.wait()[0] == 200 and slow.order == ["first"]  # what has begun is not cut, and not blamed
    assert server.metric("gaufre_supplier_breaker", state="open") == 0


def test_the_queue_has_an_end(place):
    slow = Slow()
    server = place(slow, "--queue", 2)
    asked = in_line(server, slow, *(lambda: Asked(server, "u") for _ in range(3)))
    status, heads, body = Asked(server, "u").wait()
    assert status == 429 and b"queue_exceeded" in body and float(heads["retry-after"]) > 0
    for _ in asked:
        slow.go.release()
    assert [a.wait()[0] for a in asked] == [200] * 3


def test_another_supplier_has_a_place(place, cli):
    """With the cheaper one's places taken the next gets it, and `gaufre route try` says so beforehand."""
    slow, other = Slow(), Mock()
    second = f"  - name: near\n    base_url: {other.url}\n    models: [m]\nroutes:\n  - route: order\n"
    server = place(slow, more=second, models="[m]")
    first = Asked(server, "first")
    wait_for("the first is there", lambda: slow.n == 1)
    status, heads, _ = Asked(server, "second").wait()
    assert status == 200 and heads["x-gaufre-supplier"] == "near/m"
    slow.go.release()
    assert first.wait()[1]["x-gaufre-supplier"] == "far/m"
    try_ = ("route", "try", "-c", server.folder + "/c.yaml", "-m", "m", "--json")
    rows = {r["supplier"]: r["reason"] for r in json.loads(cli(*try_, "--busy", "far=1").stdout)["candidates"]}
    assert rows == {"far/m": "full", "near/m": "chosen"}
    rows = {r["supplier"]: r["reason"] for r in json.loads(cli(*try_, "--busy", "far=1", "--busy", "near=64").stdout)["candidates"]}
    assert rows["far/m"] == "chosen"  # all are full: one waits where it would go else
    other.close()


def test_a_supplier_that_asks_for_less_is_not_stormed(place):
    """Those that wait for a place hear it of the first that is refused; nothing more is sent."""
    slow = Slow(429)
    server = place(slow)
    asked = in_line(server, slow, *(lambda: Asked(server, "u") for _ in range(5)))
    for _ in asked:
        slow.go.release()
    assert [a.wait()[0] for a in asked] == [429] * 5
    assert all(float(a.got[1]["retry-after"]) > 0 for a in asked)
    assert len(slow.order) == 1
