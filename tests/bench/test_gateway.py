"""The gateway bench's two programs: what the mock answers, and that the load generator counts what happened. Nothing timed."""
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request

import pytest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "bench", "gateway"))
import procs  # noqa: E402
import products  # noqa: E402
import run  # noqa: E402

BUILT = os.path.join(os.path.dirname(os.environ.get("GAUFRE_BIN", f"{ROOT}/build/release/src/cmd/gaufre")), "../../bench/gateway")


@contextlib.contextmanager
def mock(*options):
    p = subprocess.Popen([f"{BUILT}/mock_upstream", *options], stdout=subprocess.PIPE, text=True)
    try:
        yield int(p.stdout.readline())
    finally:
        p.kill()
        p.wait()


def run_load(port, *options):
    out = subprocess.run([f"{BUILT}/load", "--port", str(port), *options], check=True, capture_output=True, text=True, timeout=120)
    return json.loads(out.stdout)


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as r:
        return json.load(r)


def exchange(port, *pieces):
    """All that comes back until the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        for piece in pieces:
            s.sendall(piece)
        s.shutdown(socket.SHUT_WR)
        data = b""
        while got := s.recv(65536):
            data += got
        return data


def chat(**fields):
    body = json.dumps({"model": "m", "messages": [], **fields}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body), body


# ---- mock -----------------------------------------------------------------------------------------

def test_mock_answers():
    with mock() as port:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", data=b'{"model":"m"}')
        with urllib.request.urlopen(request, timeout=60) as r:
            text = r.read()
        assert len(text) == 380
        answer = json.loads(text)
        assert answer["choices"][0]["finish_reason"] == "stop" and answer["usage"]["total_tokens"] == 24
        assert get(port, "/v1/models")["data"][0]["id"] == "mock"
        with pytest.raises(urllib.error.HTTPError) as e:
            get(port, "/v1/nothing")
        assert e.value.code == 404
        assert get(port, "/stats")["requests"] == 1


def events_of(port, **fields):
    body = json.dumps({"model": "m", "stream": True, **fields}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", data=body), timeout=60) as r:
        lines = r.read().decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_mock_streams():
    with mock("--interval-us", "100", "--pieces", "2") as port:
        events = events_of(port, max_tokens=5, stream_options={"include_usage": True})
        texts = [e["choices"][0]["delta"].get("content") for e in events[:-1]]
        assert texts[0] == "" and texts[-1] is None and len(texts) == 7
        stamps = [int(t.strip("@")) for t in texts[1:-1]]
        assert stamps == sorted(stamps) and stamps[0] > 0
        assert events[-2]["choices"][0]["finish_reason"] == "length"
        assert events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] == 5
        plain = events_of(port)
        assert len(plain) == 4 and not any("usage" in e for e in plain)
        stats = get(port, "/stats")
        assert stats["streams"] == 2 and stats["pieces"] == 7 and stats["cut"] == 0


def test_mock_reads_requests_in_pieces():
    head, body = chat()
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with mock("--delay-us", "1") as port:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            for piece in (head[:30], head[30:], body[:3], body[3:]):
                s.sendall(piece)
            assert s.recv(65536).startswith(b"HTTP/1.1 200")
            s.sendall(chunked + b"3\r\n{\"m\r\n6\r\n\":\"m\"}\r\n0\r\n\r\n") # the connection is kept
            assert s.recv(65536).startswith(b"HTTP/1.1 200")
        assert get(port, "/stats")["bad"] == 0


def test_mock_refuses_what_it_does_not_understand():
    head, body = chat()
    with mock() as port:
        assert exchange(port, b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert exchange(port, head + body + b"GET /stats HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert get(port, "/stats")["bad"] == 2


# ---- load -----------------------------------------------------------------------------------------

def test_load_counts_what_was_served():
    with mock() as port:
        r = run_load(port, "--requests", "500", "--connections", "7")
        assert r["requests"] == r["good"] == r["took_us"]["n"] == 500 and r["errors"] == 0
        assert 1 <= r["open_max"] <= 7
        assert 0 < r["took_us"]["p50"] <= r["took_us"]["p99"] <= r["took_us"]["max"]
        stats = get(port, "/stats")
        assert stats["requests"] == 500 and stats["connections"] <= 8


def test_load_reads_streams():
    with mock("--interval-us", "200") as port:
        r = run_load(port, "--requests", "20", "--connections", "20", "--rate", "1000", "--stream", "--pieces", "9")
        assert r["good"] == 20 and r["errors"] == 0
        assert r["pieces"] == r["piece_us"]["n"] == 180 and r["first_us"]["n"] == 20
        assert r["first_us"]["p50"] <= r["took_us"]["p50"]


def test_waiting_for_a_stalled_service_counts():
    """One connection, 20 ms an answer, 200 a second asked for: request i of 50 waits for those before it, about 15 ms each."""
    with mock("--delay-us", "20000") as port:
        opened = run_load(port, "--requests", "50", "--connections", "1", "--rate", "200")
        closed = run_load(port, "--requests", "50", "--connections", "1")
    assert opened["good"] == closed["good"] == 50
    assert opened["took_us"]["max"] >= 50 * 20e3 - 49 * 5e3 # by the schedule
    assert closed["took_us"]["mean"] * 50 <= closed["seconds"] * 1e6 * 1.05 # without one, answers alone are timed
    assert opened["took_us"]["mean"] >= 2 * 20e3


def test_the_schedule_does_not_wait_for_answers():
    with mock("--delay-us", "1000000") as port:
        r = run_load(port, "--requests", "30", "--connections", "100", "--rate", "1000")
    assert r["good"] == 30 and r["open_max"] == 30 # all were sent before the first was answered


@contextlib.contextmanager
def answering(raw):
    """Answers every connection once with these bytes and ends it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            with s:
                s.recv(65536)
                s.sendall(raw)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


OK = b"HTTP/1.1 200 OK\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"@0000000000000001@"}}]}\n\n'


@pytest.mark.parametrize("raw, fault, stream", [
    (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status", False),
    (OK + b"Content-Length: 2\r\n\r\n{}", "body", False),
    (OK + b"Content-Length: 200\r\n\r\n{}", "cut", False),
    (OK + b"\r\n" + EVENT, "body", True), # no [DONE]
    (OK + b"\r\n" + EVENT + EVENT + b"data: [DONE]\n\n", "body", True), # one piece too many
    (b"", "cut", True),
    (b"nonsense\r\n\r\n", "body", True),
    (OK + b"\r\n" + EVENT + b"data: [DONE]\n\n", None, True),
])
def test_load_tells_faults_apart(raw, fault, stream):
    with answering(raw) as port:
        r = run_load(port, "--requests", "3", "--connections", "1", *(["--stream", "--pieces", "1"] if stream else []))
    assert r["requests"] == 3
    assert r["errors"] == (3 if fault else 0) and r["good"] == (0 if fault else 3)
    assert {k: v for k, v in r["faults"].items() if v} == ({fault: 3} if fault else {})


def test_load_ends_where_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    r = run_load(port, "--seconds", "60")
    assert r["good"] == 0 and r["faults"]["connect"] == r["errors"] > 0


# ---- run ------------------------------------------------------------------------------------------

def row(rate, direct_p99, reached=True):
    return {"rate": rate, "direct_p99": direct_p99, "reached": reached, "added_p50": 41.6, "added_p99": 99.4}


def test_the_rate_that_counts():
    rows = [row(500, 100), row(1000, 900), row(2000, 1100), row(4000, 200), row(8000, 10, reached=False)]
    assert run.best_row(rows, 8000)["rate"] == 4000
    assert run.best_row(rows, 7999)["rate"] == 1000 # more than half of what it can do says how long its queue is
    assert run.best_row(rows[2:3], 8000)["rate"] == 2000


def test_the_last_line():
    results = {"best": row(500, 1), "streams": {"cpu_us": 2.345},
               "closed": {"gaufre": {"rate": 300, "cpu_us": 38.76}, "envoy": {"rate": 200}, "litellm": {"rate": 0}}}
    assert run.last_line(results, "gaufre") == ("gateway added_p50_us=42 added_p99_us=99 cpu_us=38.8 chunk_us=2.35 "
                                                "envoy_x=1.50 ferro_x=0.00 tensorzero_x=0.00 litellm_x=0.00")


def test_a_tree_of_processes_is_counted_and_ended():
    spin = "import os\nif os.fork():\n os.wait()\nelse:\n while True: pass\n"
    p = subprocess.Popen([sys.executable, "-c", spin], start_new_session=True)
    try:
        while procs.cpu_us(p.pid) < 300e3: # the parent alone would never get there: it waits
            assert p.poll() is None
        assert len(procs.tree(p.pid)) == 2 and procs.rss_kb(p.pid) > 1000
    finally:
        pids = procs.tree(p.pid)
        procs.stop(p)
    assert all(not os.path.exists(f"/proc/{pid}/exe") or open(f"/proc/{pid}/stat").read().split()[2] == "Z" for pid in pids)


def test_peers_are_pinned_with_hashes():
    for name, product in products.PEERS.items():
        if product.package:
            lines = open(f"{ROOT}/bench/gateway/peers/{name}.txt", encoding="utf-8").read().splitlines()[1:]
            assert all(re.fullmatch(r"[\w.-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
            assert re.sub(r"\[.*?\]", "", product.package) in [line.split()[0] for line in lines]
