"""Order of service: between tenants by tokens, and between tiers. Nothing here depends on how fast anything is."""
import json
import random
import subprocess
import threading

import pytest

from finding import find_gaufre
from serving import MODEL, wait_for


def keys_of(folder, *tenants):
    path = folder / "keys"
    return path, {t: {"Authorization": "Bearer " + subprocess.run(
        [find_gaufre(), "key", "new", path, t, "--tenant", t], check=True, capture_output=True, text=True).stdout.strip()}
        for t in tenants}


def text(n, seed):
    """A prompt that no other begins like."""
    r = random.Random(seed)
    return " ".join(r.choice("red green blue old new big small warm cold dry wet far".split()) for _ in range(n))


def test_long_requests_earn_no_more_than_short_ones(start, tmp_path):
    """One place in the engine. The loud tenant has long prompts waiting, the quiet one comes with six short ones: these cost
    less together than one of the others, so all are done before three of those are. By turns it would be six."""
    path, key = keys_of(tmp_path, "loud", "quiet")
    server = start("--keys", path, "--batch", "1", "--speculation", "off", "--prefix-cache", "off")
    done, lock = [], threading.Lock()

    def ask(tenant, n_words, seed):
        status, _, body = server.post("/v1/completions", {"model": MODEL, "prompt": text(n_words, seed), "max_tokens": 2},
                                      key[tenant])
        assert status == 200, body
        with lock:
            done.append(tenant)

    def run(*jobs):
        threads = [threading.Thread(target=ask, args=job) for job in jobs]
        for t in threads:
            t.start()
        return threads

    all_ = run(*(("loud", 300, i) for i in range(6)))
    waits = lambda: server.metric("vllm:num_requests_waiting")
    wait_for("the loud one's queue", lambda: waits() >= 4)
    all_ += run(*(("quiet", 5, 100 + i) for i in range(6)))
    wait_for("the quiet one's queue", lambda: waits() >= 8 or "quiet" in done)
    before = len(done)
    for t in all_:
        t.join()
    last = max(i for i, t in enumerate(done) if t == "quiet")
    assert done.count("quiet") == 6 and done.count("loud") == 6
    assert done[before:last].count("loud") <= 3, done


@pytest.mark.parametrize("low, high", [("flex", "default"), ("batch", "default"), ("batch", "flex")])
def test_lower_tiers_give_way_and_go_on(start, low, high):
    """One place in the engine, and one tenant. What is asked for in the higher tier is answered while an answer of the lower one
    is on its way, and that goes on afterwards as if nothing had been."""
    server = start("--batch", "1")
    slow = {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 150, "temperature": 0, "ignore_eos": True,
            "service_tier": low, "stream": True}

    def stream(body, on_text=lambda: None):
        import urllib.request
        r = urllib.request.Request(server.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        got = ""
        with urllib.request.urlopen(r) as answer:
            for line in answer:
                if line.startswith(b"data: {"):
                    got += json.loads(line[6:])["choices"][0]["text"]
                    on_text()
        return got

    alone = stream(slow)
    began, result = threading.Event(), {}
    low_thread = threading.Thread(target=lambda: result.update(text=stream(slow, began.set)))
    low_thread.start()
    began.wait()
    status, heads, body = server.post("/v1/completions", {"model": MODEL, "prompt": "Two and two is", "max_tokens": 2,
                                                                "service_tier": high})
    assert status == 200 and heads["x-gaufre-tier"] == high
    assert low_thread.is_alive() and "text" not in result  # it was put aside
    low_thread.join()
    assert result["text"] == alone
