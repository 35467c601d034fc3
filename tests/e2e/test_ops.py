"""Running it: keys, limits, books, checks, signals, failures."""
import concurrent.futures
import json
import os
import resource
import signal
import socket
import subprocess
import urllib.request

import pytest

from finding import find_gaufre
from freezing import freeze
from serving import MODEL, SLOW, Server, model_path, wait_for


def gaufre(*args, **more):
    return subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, **more)


def test_ledger_grows_by_exactly_the_usage(start):
    s = start()
    sums = dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens", "requests"), 0)

    def book(usage):
        sums["prompt_tokens"] += usage["prompt_tokens"]
        sums["completion_tokens"] += usage["completion_tokens"]
        sums["cached_tokens"] += usage["prompt_tokens_details"]["cached_tokens"]
        sums["requests"] += 1

    def booked():
        b = s.balance().get("default")
        return b and all(b[k] == v for k, v in sums.items())

    for i in range(4):
        book(s.chat("Say something. " * 10 * i, max_tokens=5 + i, n=1 + i)[2]["usage"])
        wait_for("booked", booked, 10)
    _, _, text = s.request("POST", "/v1/chat/completions",
                           {"model": MODEL, "messages": [{"role": "user", "content": "x"}],
                            "max_tokens": 7, "stream": True})
    usage = [json.loads(line[6:])["usage"] for line in text.decode().splitlines()
             if '"usage"' in line]
    assert len(usage) == 1
    book(usage[0])
    assert s.chat("x", temperature=9)[0] == 400  # costs nothing
    assert s.stop() == 0
    assert booked(), (sums, s.balance())


def test_a_full_disk_is_told_and_nothing_is_lost(start):
    """The database may not grow: rows wait in the journal, also until the next start."""
    s = start()
    assert s.chat("hi", max_tokens=2)[0] == 200
    wait_for("booked", lambda: s.balance().get("default"))
    room = os.path.getsize(s.ledger + "-wal")  # from here on it may not grow
    assert os.path.getsize(s.log_path) < room / 2
    hard = resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (room, hard))
    assert s.chat("hi", max_tokens=2)[0] == 200
    wait_for("told", lambda: "1 row cannot be moved from the journal" in s.read_log())
    assert s.metric("gaufre_ledger_rows_pending") == 0 and s.metric("gaufre_ledger_rows_in_journal") == 1
    resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    wait_for("told", lambda: "moved again, 1 row" in s.read_log())
    assert s.metric("gaufre_ledger_rows_in_journal") == 0
    resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (os.path.getsize(s.ledger + "-wal"), hard))
    assert s.chat("hi", max_tokens=2)[0] == 200
    assert s.stop() == 0
    assert "1 row stays in the journal until the next start" in s.read_log()
    again = Server(s.folder)
    assert "1 row from the journal of a process" in again.read_log()
    assert again.balance()["default"]["requests"] == 3
    assert again.stop() == 0


def test_what_cannot_be_written_is_lost_and_fails(start):
    s = start()
    assert s.chat("hi", max_tokens=2)[0] == 200
    wait_for("booked", lambda: s.balance().get("default"))
    resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (0, resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE)[1]))
    assert s.chat("hi", max_tokens=2)[0] == 200
    wait_for("tried", lambda: s.metric("gaufre_ledger_failures_total") > 0)
    assert s.metric("gaufre_ledger_rows_pending") == 1
    assert s.stop() == 1  # the log could not be written either
    assert s.balance()["default"]["requests"] == 1


def test_the_ledger_is_its_owners(start):
    s = start()
    for suffix in ("", "-wal", "-shm", "-rows"):
        assert os.stat(s.ledger + suffix).st_mode & 0o777 == 0o600
    assert s.stop() == 0


def test_kv_in_8_bits(start):
    """Said where it can be seen, about half the memory, and a story that a person would not tell from the other."""
    told = {}
    for kv in ("f16", "q8_0"):
        s = start("--kv", kv)
        with urllib.request.urlopen(f"{s.url}/v1/engine/events", timeout=60 * SLOW) as events:
            state = next(json.loads(line[6:]) for line in events if line.startswith(b"data: "))
        assert state["models"][0]["kv_type"] == kv
        status, _, reply = s.chat("Name the capital of France.", max_tokens=24, temperature=0)
        assert status == 200
        told[kv] = reply["choices"][0]["message"]["content"]
        assert s.stop() == 0
    assert "Paris" in told["f16"] and "Paris" in told["q8_0"]
    bad = gaufre("serve", MODEL, "--kv", "q4_0")
    assert bad.returncode == 2 and "f32, f16, q8_0" in bad.stderr.replace("|", ", ")


def test_keys(start, tmp_path):
    keys = tmp_path / "keys"
    made = gaufre("key", "new", keys, "alice", "--tenant", "acme")
    assert made.returncode == 0 and "once" in made.stderr
    key = made.stdout.strip()
    assert key not in keys.read_text() and keys.stat().st_mode & 0o777 == 0o600
    s = start("--keys", keys)
    assert s.chat("hi", max_tokens=1)[0] == 401
    assert s.chat("hi", max_tokens=1, headers={"Authorization": "Bearer no"})[0] == 401
    assert s.get("/v1/models")[0] == 401
    assert s.get("/health")[0] == 200
    for headers in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}, {"api-key": key}):
        assert s.chat("hi", max_tokens=1, headers=headers)[0] == 200
    # One more, while it runs.
    line = gaufre("key", "hash", keys, "bob", input="my own key\n")
    assert line.returncode == 0 and "my own key" not in line.stdout
    with open(keys, "a") as f:
        f.write(line.stdout)
    mine = {"Authorization": "Bearer my own key"}
    assert s.chat("hi", max_tokens=1, headers=mine)[0] == 401
    s.process.send_signal(signal.SIGHUP)
    wait_for("reloaded", lambda: s.chat("hi", max_tokens=1, headers=mine)[0] == 200, 10)
    wait_for("booked", lambda: s.balance().get("acme", {}).get("requests") == 3, 10)
    log = s.read_log()
    assert key not in log and "my own key" not in log


def test_key_and_rate_limits_as_the_sdk_sees_them(start, tmp_path):
    import openai
    keys = tmp_path / "keys"
    key = gaufre("key", "new", keys, "a").stdout.strip()
    s = start("--keys", keys, "--requests-per-minute", 2)
    ask = dict(model=MODEL, messages=[{"role": "user", "content": "x"}], max_tokens=1)
    bad = openai.OpenAI(base_url=s.url + "/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as e:
        bad.chat.completions.create(**ask)
    assert e.value.code == "wrong_api_key"
    good = openai.OpenAI(base_url=s.url + "/v1", api_key=key, max_retries=0)
    first = good.chat.completions.with_raw_response.create(**ask)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    good.chat.completions.create(**ask)
    with pytest.raises(openai.RateLimitError) as e:
        good.chat.completions.create(**ask)
    assert e.value.code == "request_quota_exceeded"
    assert 0 < float(e.value.response.headers["retry-after-ms"]) <= 31000


def test_full_queue(start):
    s = start("--batch", 1, "--queue", 2)
    long = {"model": MODEL, "messages": [{"role": "user", "content": "Count."}], "max_tokens": 3000,
            "ignore_eos": True, "stream": True}
    text = json.dumps(long)
    held = []
    for _ in range(3):
        c = s.connect()
        c.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}"
                   f"\r\n\r\n{text}").encode())
        c.recv(4096)
        held.append(c)
    status, heads, a = s.chat("hi", max_tokens=1, stream=True)
    assert status == 429 and a["code"] == "queue_exceeded", a
    assert int(heads["retry-after"]) >= 1 and float(heads["retry-after-ms"]) > 0
    for c in held:
        c.close()
    wait_for("idle", s.idle)
    assert s.chat("hi", max_tokens=1)[0] == 200


def test_sigterm_under_load_loses_no_answer(start):
    s = start()

    def one(i):
        if i % 2:
            status, _, text = s.request("POST", "/v1/chat/completions", {
                "model": MODEL, "messages": [{"role": "user", "content": f"Count to {i}."}],
                "max_tokens": 40, "ignore_eos": True, "stream": True})
            return status, text.endswith(b"data: [DONE]\n\n"), 40
        status, _, a = s.chat(f"Count to {i}.", max_tokens=40, ignore_eos=True)
        return status, a["choices"][0]["finish_reason"] == "length", a["usage"]["completion_tokens"]

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(one, i) for i in range(24)]
        # Some may have their answer already, where the clients are slower than the server. Asked in this order none is
        # counted twice on its way.
        wait_for("all accepted", lambda: sum(s.metric("vllm:" + m) for m in (
            "request_success_total", "num_requests_running", "num_requests_waiting")) >= 24)
        s.process.send_signal(signal.SIGTERM)
        answers = [a.result() for a in answers]
    assert all(a == (200, True, 40) for a in answers), answers
    assert s.process.wait(60 * SLOW) == 0
    assert s.balance()["default"]["requests"] == 24
    assert s.balance()["default"]["completion_tokens"] == 24 * 40


def test_second_signal_stops_at_once(start):
    s = start()
    c = s.connect()
    text = json.dumps({"model": MODEL, "prompt": "x", "max_tokens": 8000, "ignore_eos": True})
    c.sendall((f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
               + text).encode())
    wait_for("running", lambda: s.metric("vllm:num_requests_running") == 1)
    s.process.send_signal(signal.SIGINT)
    wait_for("draining", lambda: "draining" in s.read_log())
    s.process.send_signal(signal.SIGINT)
    assert s.process.wait(20 * SLOW) == 130
    c.close()


def test_thousand_idle_connections(start):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2500:
        if hard < 2500:
            pytest.skip("too few file descriptors allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (2500, hard))
    s = start()
    idle = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(1000)]
    wait_for("all there", lambda: s.metric("gaufre_connections") >= 1000)
    assert s.chat("hi", max_tokens=2)[0] == 200
    for c in idle[::100]:  # they are served as well
        c.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert c.recv(4096).startswith(b"HTTP/1.1 200 ")
    for c in idle:
        c.close()
    assert s.stop() == 0


# ---- a frozen engine ----

def test_frozen_engine(start):
    s = start()
    assert s.get("/health")[0] == 200
    thaw = freeze(s.process.pid, "gaufre-engine")
    try:
        wait_for("unhealthy", lambda: s.get("/health")[0] == 503)
        assert json.loads(s.get("/health")[2])["code"] == "engine_frozen"
        status, _, a = s.chat("hi")
        assert status == 503 and a["code"] == "engine_frozen"
        assert s.get("/v1/models")[0] == 200
    finally:
        thaw()
    wait_for("healthy", lambda: s.get("/health")[0] == 200)
    assert s.chat("hi", max_tokens=2)[0] == 200


# ---- configuration ----

def test_check_counts_memory(tmp_path):
    """The second model sees what the first was promised, here and when it is really loaded."""
    config = tmp_path / "gaufre.yaml"
    with open("/proc/meminfo", encoding="ascii") as f:
        available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))
    share = available * 6 // 10
    config.write_text(f"ledger: off\nport: 0\nkv_memory: {share}K\nmodels:\n"
                      f"  - model: {model_path()}\n    id: one\n"
                      f"  - model: {model_path()}\n    id: two\n")
    for flags in (["--check"], []):
        out = gaufre("serve", *flags, "--config", config)
        assert out.returncode == 1, out.stdout
        assert "two" in out.stderr and "of KV cache were asked for" in out.stderr, out.stderr
    out = gaufre("serve", "--check", "--kv-memory", "1000000G", model_path())
    assert out.returncode == 1 and "of KV cache were asked for" in out.stderr


@pytest.mark.parametrize("wrong,says", [("base_url: 'ftp://x/v1'", "Not the address"), ("base_url: 'https://x/v1', ca_file: /nowhere", "/nowhere"),
                                        ("base_url: 'https://x/v1', proxy: 'https://me:s3cret@x'", "Not a proxy")])
def test_check_finds_what_the_start_would(tmp_path, wrong, says):
    (tmp_path / "c.yaml").write_text(f"suppliers: [{{name: far, {wrong}, models: [m]}}]\n")
    for flags in (["--check"], []):
        out = gaufre("serve", *flags, "--config", tmp_path / "c.yaml")
        assert out.returncode == 2 and "supplier far: " in out.stderr and says in out.stderr and "s3cret" not in out.stderr, out


def test_check(tmp_path):
    config = tmp_path / "gaufre.yaml"
    config.write_text(f"port: 9000\nmodels:\n  - model: {model_path()}\n    id: small\n"
                      "    context: 2048\n")
    out = gaufre("serve", "--check", "--config", config)
    assert out.returncode == 0, out.stderr
    assert "http://127.0.0.1:9000 (this machine only)" in out.stdout
    assert "small" in out.stdout and "context 2048" in out.stdout and "memory" in out.stdout
    assert "MiB of weights" in out.stdout and "MiB of KV cache (f16" in out.stdout
    config.write_text("prot: 9000\n")
    out = gaufre("serve", "--check", "--config", config)
    assert out.returncode != 0 and "gaufre.yaml:1:1: unknown key 'prot'" in out.stderr
    out = gaufre("serve", "--check", "/nowhere.gguf")
    assert out.returncode == 1 and "/nowhere.gguf" in out.stderr
    out = gaufre("serve", "--check", "--host", "0.0.0.0", model_path())
    assert out.returncode == 2 and "keys" in out.stderr
    out = gaufre("serve", "--check", "--host", "0.0.0.0", "--insecure-no-keys", model_path())
    assert out.returncode == 0 and "reachable from other machines" in out.stdout
    out = gaufre("serve", "--check", "--port", "many", model_path())
    assert out.returncode == 2 and "port" in out.stderr


def test_bad_model_ends_with_a_sentence(tmp_path):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(open(model_path(), "rb").read(100000))
    out = gaufre("serve", "--port", 0, "--ledger", "off", bad, timeout=60 * SLOW)
    assert out.returncode == 1
    assert "bad.gguf" in out.stderr.splitlines()[-1]


def test_port_in_use(start):
    s = start()
    out = gaufre("serve", "--port", s.port, "--ledger", "off", model_path(), timeout=60)
    assert out.returncode == 1 and str(s.port) in out.stderr


def test_two_models(start, tmp_path):
    gemma = model_path("gemma3-270m")
    config = tmp_path / "two.yaml"
    config.write_text(f"models:\n  - model: {model_path()}\n    id: small\n    aliases: [gpt-4o-mini]\n"
                      f"    context: 1024\n  - model: {gemma}\n    id: base\n    context: 512\n"
                      f"    kv_memory: 256M\n    output_cap: 3\n")
    s = start("--config", config, models=[], wait=False)
    data = json.loads(s.get("/v1/models")[2])["data"]  # answered while they load
    assert [m["id"] for m in data] == ["small", "base"]
    s.wait_ready()
    data = json.loads(s.get("/v1/models")[2])["data"]
    assert [m["context_length"] for m in data] == [1024, 512]
    ask = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    assert s.post("/v1/chat/completions", {"model": "gpt-4o-mini", **ask})[0] == 200
    assert s.post("/v1/chat/completions", {"model": MODEL, **ask})[0] == 404
    # A base model has no template: completions only, and it says why.
    status, _, a = s.post("/v1/chat/completions", {"model": "base", **ask})
    assert status == 400 and "chat template" in a["message"], a
    status, _, a = s.post("/v1/completions", {"model": "base", "prompt": "The capital of France is"})
    assert status == 200 and a["usage"]["completion_tokens"] <= 3
    assert s.stop() == 0
