"""What one tenant takes is not taken from another, and is paid for."""
import json
import subprocess
import threading

import pytest

from finding import find_gaufre
from serving import MODEL, wait_for


@pytest.fixture
def two(start, tmp_path):
    """two(*lines, flags=()): a server with these lines in its keys file, and the headers of tenants a and b."""
    def make(*lines, flags=()):
        keys = tmp_path / "keys"
        heads = []
        for name in "ab":
            key = subprocess.run([find_gaufre(), "key", "new", keys, name, "--tenant", name],
                                 check=True, capture_output=True, text=True).stdout.strip()
            heads.append({"Authorization": f"Bearer {key}"})
        with open(keys, "a") as f:
            f.writelines(line + "\n" for line in lines)
        return start("--keys", keys, *flags), *heads
    return make


def test_unstated_maximum_is_what_is_held(two):
    server, a, b = two("tenant a tokens_per_minute=100", flags=("--output-cap", 150))
    status, _, body = server.chat("Tell me a long story.", headers=a, ignore_eos=True)
    used = body["usage"]["total_tokens"]
    assert status == 200 and used == 100 and body["choices"][0]["finish_reason"] == "length"
    wait_for("booked", lambda: server.balance().get("a"))
    status, heads, body = server.chat("Hi", headers=a)
    assert status == 429 and body["error"]["code"] == "token_quota_exceeded"
    assert float(heads["retry-after"]) > 0
    status, _, body = server.chat("Count to 1000.", headers=a, ignore_eos=True, max_tokens=101)
    assert status == 429 and "more than that limit ever allows" in body["error"]["message"]
    assert server.chat("Hi", headers=b, max_tokens=4)[0] == 200


def test_sequences(two):
    server, a, b = two("tenant a concurrency=4")
    ask = {"model": MODEL, "prompt": ["Once"] * 16, "max_tokens": 2, "ignore_eos": True}
    status, _, body = server.post("/v1/completions", ask | {"n": 16}, a)
    assert status == 400 and "16 choices" in body["error"]["message"]
    status, _, body = server.post("/v1/completions", ask | {"n": 2}, a)
    assert status == 200 and len(body["choices"]) == 32  # by turns
    assert server.post("/v1/completions", ask | {"n": 16}, b)[0] == 200


def test_a_full_queue_is_its_tenants_own(two):
    server, a, b = two(flags=("--batch", 2, "--queue", 4))
    ask = {"model": MODEL, "prompt": "Once", "max_tokens": 1000, "ignore_eos": True, "stream": True}
    body = json.dumps(ask).encode()
    key = a["Authorization"]
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    lines = []
    try:
        for _ in range(6):
            lines.append(server.connect())
            lines[-1].sendall(head.encode() + body)
            answer = lines[-1].recv(12)
        assert answer.endswith(b"429")  # what runs and half of what may wait is all that one may have
        assert server.post("/v1/completions", {"model": MODEL, "prompt": "Hi", "max_tokens": 1}, b)[0] == 200
    finally:
        for line in lines:
            line.close()
    wait_for("idle", server.idle)
    assert server.post("/v1/completions", {"model": MODEL, "prompt": ["Hi"] * 6, "max_tokens": 1}, a)[0] == 200


def test_nobody_starves_below_a_busy_tier(two):
    server, a, b = two("tenant b tiers=default,flex,priority", flags=("--batch", 1))
    assert server.chat("Hi", headers=a, max_tokens=1, service_tier="priority")[2]["service_tier"] == "default"
    stop = threading.Event()
    answers = []

    def ask():
        while not stop.is_set():
            answers.append(server.chat("Count to 1000.", headers=b, max_tokens=40, ignore_eos=True,
                                       service_tier="priority")[2]["service_tier"])

    busy = [threading.Thread(target=ask) for _ in range(6)]
    for t in busy:
        t.start()
    wait_for("busy", lambda: server.metric("vllm:num_requests_waiting") >= 3)
    status = server.chat("Hi", headers=a, max_tokens=4)[0]
    stop.set()
    for t in busy:
        t.join()
    assert status == 200 and set(answers) == {"priority"}
