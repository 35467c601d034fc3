"""A client that leaves frees what it held: in a stream, in a body that is awaited, in the queue; one
that does not read, too."""
import json
import socket

import pytest

from serving import MODEL, SLOW, wait_for

pytestmark = pytest.mark.sanitize


def ask(server, **more):
    text = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Count to 1000."}],
                       "max_tokens": 4000, "ignore_eos": True, **more})
    s = server.connect()
    s.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
               + text).encode())
    return s


def running(server, n):
    return lambda: server.metric("vllm:num_requests_running") == n


def booked(server, n):
    """The balance once n requests are in it."""
    def look():
        row = server.balance().get("default")
        return row if row and row["requests"] == n else None
    return look


def test_in_a_stream(server):
    wait_for("idle", server.idle)
    s = ask(server, stream=True)
    got = b""
    while got.count(b"data: ") < 4:
        got += s.recv(4096)
    assert running(server, 1)()
    s.close()
    wait_for("slot free", server.idle, 5)


def test_without_stream(server):
    s = ask(server)
    wait_for("running", running(server, 1))
    s.close()
    wait_for("slot free", server.idle, 5)


def test_n_choices(server):
    s = ask(server, n=4)
    wait_for("running", running(server, 4))
    s.close()
    wait_for("slots free", server.idle, 5)


def test_while_queued(start):
    server = start("--batch", 1)
    first = ask(server, stream=True)
    wait_for("running", running(server, 1))
    waiting = [ask(server, stream=bool(i & 1)) for i in range(4)]
    wait_for("queued", lambda: server.metric("vllm:num_requests_waiting") == 4)
    for s in waiting:
        s.close()
    wait_for("queue empty", lambda: server.metric("vllm:num_requests_waiting") == 0)
    assert running(server, 1)()
    first.close()
    wait_for("idle", server.idle, 5)
    assert server.metric("gaufre_requests_total", status="499") == 5
    # who left the queue is booked with nothing: what was computed is the first one's
    wait_for("booked", booked(server, 5))
    prompt = server.chat("Count to 1000.", max_tokens=1)[2]["usage"]["prompt_tokens"]
    assert wait_for("booked", booked(server, 6))["prompt_tokens"] == 2 * prompt
    assert server.metric("vllm:prompt_tokens_total") == 2 * prompt


def test_in_prefill(start):
    server = start("--chunk", 32)
    s = ask(server, messages=[{"role": "user", "content": "word " * 6000}], max_tokens=100)
    wait_for("begun", running(server, 1))
    s.close()
    wait_for("idle", server.idle, 5)
    row = wait_for("booked", booked(server, 1))  # what was computed until then
    assert row["prompt_tokens"] < 6000 and row["completion_tokens"] == 0
    assert row["prompt_tokens"] == server.metric("vllm:prompt_tokens_total")


def test_who_does_not_read_holds_no_slot(start):
    """With one slot, a second request is answered while the first one's reader rests; then the
    first goes on and misses nothing."""
    s = start("--batch", 1, "--stall-timeout", "30m")
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Count."}], "stream": True,
            "max_tokens": 600, "ignore_eos": True, "temperature": 0, "logprobs": True,
            "top_logprobs": 20}
    text = json.dumps(body)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.settimeout(60 * SLOW)
    slow.connect(("127.0.0.1", s.port))
    slow.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                  f"Content-Length: {len(text)}\r\n\r\n{text}").encode())
    wait_for("running", lambda: s.metric("vllm:num_requests_running") == 1)
    status, _, a = s.chat("hi", max_tokens=5)
    assert status == 200, a
    heard = bytearray()
    while piece := slow.recv(1 << 20):
        heard += piece
    slow.close()
    assert heard.count(b'"delta":{"content"') >= 600
    assert heard.count(b'"finish_reason":"length"') == 1 and b"data: [DONE]" in heard
    wait_for("idle", s.idle)
