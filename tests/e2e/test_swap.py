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
