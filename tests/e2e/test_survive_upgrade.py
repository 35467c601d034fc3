"""Stored answers while the server is replaced: the new process tells what the old one still makes, deletes it there, and goes
on with it when the old one is gone."""
import os
import signal
import socket

import pytest

from serving import MODEL, SLOW, wait_for
from test_survive import ASK, Cut, choices, events, rows
from test_upgrade import Replaced, is_running

pytestmark = pytest.mark.sanitize
BODY = {**ASK, "temperature": 0, "ignore_eos": True}


@pytest.fixture
def server(tmp_path):
    s = Replaced(str(tmp_path), "--kv-memory", "128M", "--idle-timeout", "1h", "--stall-timeout", "1h")
    yield s
    s.stop_all()


def read(server, cut, n):
    """So many events more, from the process that serves now; the connection stays."""
    c = server.connect()
    c.sendall(f"GET /v1/chat/completions/{cut.id} HTTP/1.0\r\nLast-Event-ID: {cut.id}/{cut.at}\r\n\r\n".encode())
    text = b""
    while text.count(b"\n\n") < n:
        more = c.recv(1)
        assert more, text
        text += more
    head, _, body = text.partition(b"\r\n\r\n")
    assert b" 200 " in head, text
    return c, body


def rest_of(c):
    text = b""
    while more := c.recv(65536):
        text += more
    return text


def folder(server, number=""):
    return set(os.listdir(f"{server.ledger}-answers{number}")) - {"lock"}


def test_the_new_process_tells_what_the_old_one_makes(server):
    want = server.request("POST", "/v1/chat/completions", {**BODY, "max_tokens": 90})[2]
    ended = Cut(server, {**BODY, "max_tokens": 5}, 7)
    cuts = [Cut(server, {**BODY, "max_tokens": 90}, n) for n in (1, 9)]
    long = Cut(server, {**BODY, "max_tokens": 4000}, 3)
    assert server.upgrade().returncode == 0
    for c in (*cuts, long):
        c.leave()
    assert ended.whole(server).startswith(ended.data)
    for c in cuts:  # from the old one's folder, on to the end
        rest = c.rest(server)
        assert choices(c.data + rest) == choices(want)
        assert [i for i, _ in events(c.data + rest)] == list(range(1, len(events(want)) + 1))
    follower, text = read(server, long, 20)
    assert [i for i, _ in events(text)][0] == long.at + 1
    assert long.id in folder(server)  # it is the old one's still
    # It is deleted there: who makes it stops, who reads it hears so, and the old process has nothing to do any more.
    assert server.request("DELETE", f"/v1/chat/completions/{long.id}")[0] == 200
    assert b"[DONE]" not in rest_of(follower)
    assert server.get(f"/v1/chat/completions/{long.id}")[0] == 404
    assert server.process.wait(timeout=60 * SLOW) == 0
    # What it left is the new one's.
    wait_for("all are taken over", lambda: not folder(server))
    assert folder(server, 2) >= {ended.id, *(c.id for c in cuts)} and long.id not in folder(server, 2)
    assert ended.whole(server).startswith(ended.data)
    for c in cuts:
        assert choices(c.whole(server)) == choices(want)
    server.stop_all()
    booked = [(p, c) for p, c, status in rows(server) if status == 200]
    assert sorted(c for _, c in booked) == [5, 90, 90, 90]


def test_the_old_process_is_killed_while_the_new_one_follows(server):
    want = server.request("POST", "/v1/chat/completions", {**BODY, "max_tokens": 120})[2]
    cuts = [Cut(server, {**BODY, "max_tokens": 120}, n) for n in (2, 5)]
    assert server.upgrade().returncode == 0
    readers = [read(server, c, 3) for c in cuts]
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    for c, (follower, text) in zip(cuts, readers):
        text = c.data + text + rest_of(follower)
        assert choices(text) == choices(want)
        assert [i for i, _ in events(text)] == list(range(1, len(events(want)) + 1))
    wait_for("all have ended", server.idle)
    for c in cuts:
        assert choices(c.whole(server)) == choices(want)
    server.stop_all()
    assert sorted(c for _, c, status in rows(server) if status == 200) == [120] * 3


def test_what_others_left_is_found_at_the_start(server):
    """After an upgrade the answers are in the second folder; who starts then has the first."""
    c = Cut(server, {**BODY, "max_tokens": 5}, 7)
    assert server.upgrade().returncode == 0
    d = Cut(server, {**BODY, "max_tokens": 60}, 9)
    os.kill(server.pids[-1], signal.SIGKILL)
    wait_for("its end", lambda: not is_running(server.pids[-1]))
    assert server.process.wait(timeout=60 * SLOW) == 0
    again = Replaced(server.folder, "--kv-memory", "128M", ledger=server.ledger)
    try:
        wait_for("both are there", lambda: folder(again) >= {c.id, d.id})
        assert c.whole(again).startswith(c.data)
        assert d.rest(again).rstrip().endswith(b"[DONE]")
        wait_for("all have ended", again.idle)
    finally:
        again.stop_all()
    assert sorted(c for _, c, status in rows(again) if status == 200) == [5, 60]
