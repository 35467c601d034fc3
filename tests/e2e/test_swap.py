"""SIGHUP: a valid configuration is swapped whole while requests run, an invalid one changes nothing and says why."""
import json
import signal
import subprocess
import threading

import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Mock, chunk, words
from serving import Server, wait_for

pytestmark = pytest.mark.sanitize


def text(mock, price, more=""):
    return (f"suppliers:\n  - name: far\n    base_url: {mock.url}\n    models: [m]\ncurrency: EUR\n"
            f"prices:\n  - {{model: m, input: {price}, output: {price}}}\n{more}")


class Swapped:
    def __init__(self, folder, mock):
        self.path = folder / "c.yaml"
        self.path.write_text(text(mock, "1"))
        self.server = Server(str(folder), "-c", self.path, models=[])

    def swap(self, content):
        before = self.server.read_log().count("configuration ")
        self.path.write_text(content)
        self.server.process.send_signal(signal.SIGHUP)
        wait_for("swapped", lambda: self.server.read_log().count("configuration ") > before)
        return self.server.read_log().splitlines()[-1]

    def ask(self, **more):
        return self.server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}], **more})

    def bill(self):
        return [json.loads(x) for x in subprocess.run([find_gaufre(), "bill", "--json", "-l", self.server.ledger], check=True,
                                                      capture_output=True, text=True).stdout.splitlines()]


@pytest.fixture
def swapped(tmp_path):
    made = []

    def make(mock):
        made.append(Swapped(tmp_path, mock))
        return made[0]

    yield make
    assert made[0].server.stop() == 0, made[0].server.read_log()


def test_suppliers_and_prices(swapped):
    go_on, begun = threading.Event(), threading.Event()

    def slow(a):
        a.begin()
        for i, e in enumerate(words()):
            a.event(e)
            if i == 1:
                begun.set()
                assert go_on.wait(60)
        a.end()

    first, second = Mock(slow), Mock(lambda a: a.reply(200, CHAT))
    s = swapped(first)
    got = []
    asking = threading.Thread(target=lambda: got.append(s.server.request("POST", "/v1/chat/completions", {
        "model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]})))
    asking.start()
    assert begun.wait(60)
    assert "generation=2" in s.swap(text(second, "2"))
    assert s.ask()[0] == 200 and len(second.requests) == 1  # the new one
    assert s.server.metric("gaufre_config_generation") == 2
    go_on.set()
    asking.join()
    assert b"[DONE]" in got[0][2] and len(first.requests) == 1  # the old one, to its end
    wait_for("booked", lambda: s.server.balance().get("default", {}).get("requests") == 2)
    assert s.bill()[0]["charge"] == "0.000045"  # 15 tokens each, at the price when they came


@pytest.mark.parametrize("more, word", [
    ("io_threads: 3\n", "io_threads"), ("pots: 1\n", "pots"), ("models: [x]\n", "x"), ("queue: 7\n", "queue"),
    ("suppliers_: []\n", "suppliers_"), ("\tx", "c.yaml:"),
])
def test_what_is_wrong_changes_nothing(swapped, more, word):
    first, second = Mock(lambda a: a.reply(200, CHAT)), Mock(lambda a: a.reply(200, CHAT))
    s = swapped(first)
    line = s.swap(text(second, "2", more))
    assert "not reloaded" in line and word in line
    assert s.ask()[0] == 200
    assert len(first.requests) == 1 and not second.requests
    assert s.server.metric("gaufre_config_generation") == 1
    line = s.swap(text(second, "2").replace("[m]", "[m, another]"))
    assert "another" in line and s.ask()[0] == 200 and not second.requests
    assert "generation=2" in s.swap(text(second, "2"))
    assert s.ask()[0] == 200 and len(second.requests) == 1


def two(far, near, price="1", order=("far", "near")):
    urls = {"far": far.url, "near": near.url}
    return ("suppliers:\n" + "".join(f"  - name: {n}\n    base_url: {urls[n]}\n    models: [m]\n    concurrency: 1\n" for n in order) +
            f"routes:\n  - route: order\ncurrency: EUR\nprices:\n  - {{model: m, input: {price}, output: {price}}}\n")


def health(server):
    return {x["supplier"]: x for x in json.loads(server.get("/health")[2])["suppliers"]}


def test_what_did_not_change_is_not_forgotten(swapped):
    """A breaker that is open stays open, what waits for a place goes on waiting, and the order is that of the new file."""
    go_on = threading.Event()
    first, second, third = Mock(lambda a: a.reply(500, {"error": {"message": "no"}})), Mock(), Mock()
    s = swapped(first)
    assert "generation=2" in s.swap(two(first, second))
    for _ in range(20):
        assert s.ask()[0] == 200  # by the second one
    assert health(s.server)["far/m"]["breaker"] == "open" and health(s.server)["near/m"]["breaker"] == "closed"
    n = len(first.requests)

    def slow(a):
        assert go_on.wait(60)
        a.reply(200, CHAT)
    second.script = slow
    got = []
    asking = [threading.Thread(target=lambda: got.append(s.ask()[0])) for _ in range(2)]
    for t in asking:
        t.start()
    wait_for("one waits", lambda: health(s.server)["near/m"]["waiting"] == 1)
    text_ = two(first, second, "2").replace("suppliers:\n", f"suppliers:\n  - name: third\n    base_url: {third.url}\n    models: [m]\n")
    assert "generation=3" in s.swap(text_)
    assert list(health(s.server)) == ["third/m", "far/m", "near/m"] or set(health(s.server)) == {"third/m", "far/m", "near/m"}
    shown = health(s.server)
    assert shown["far/m"]["breaker"] == "open" and shown["far/m"]["retry_after_ms"] > 0
    assert shown["near/m"]["running"] == shown["near/m"]["waiting"] == 1
    assert s.ask()[0] == 200 and len(third.requests) == 1  # it is the first now
    go_on.set()
    for t in asking:
        t.join()
    assert got == [200, 200] and len(first.requests) == n
    assert "generation=4" in s.swap(two(first, second, "2").replace("concurrency: 1", "concurrency: 2"))
    assert {x["breaker"] for x in health(s.server).values()} == {"closed"}  # these are others
