"""What is measured: each workload fills rows of a Bench (suite.py) with figures of every side, round by round.

A task is (side's name, function); its function returns {(case, metric): value} or {...: (value, limit, weight bytes)}.
"""
import contextlib
import json
import os
import random
import subprocess
import sys
import time

import load
import speculation
from sides import Failed, run

HERE = os.path.dirname(os.path.abspath(__file__))
TPS = "tokens/s"


# ---- tokens per second of the engine alone --------------------------------------------------------

def of_gaufre(rows, label):
    return {(label(k), TPS): (r["median"], r["limit"], r["weight_bytes"]) for k, r in rows.items()}


def of_peer(rows, label):
    return {(label(k), TPS): v for k, v in rows.items()}


def prefill(b, model):
    sizes = b.cases("prefill", model, [128, 512, 2048], big=[512, 2048], quick=[512])
    tasks = [("gaufre", lambda: of_gaufre(b.gaufre.prefill(model, sizes), str))]
    for p in b.peers:
        tasks.append((p.name, lambda p=p: of_peer(p.prefill(model, sizes), str)))
    b.rounds("prefill", model, tasks)


def decode(b, model):
    n = 32 if b.quick else 64
    # The deepest that leaves room in a context of 8,192.
    depths = b.cases("decode", model, [0, 2048, 8000] if b.name(model).startswith("smollm2") else [0], big=[0],
                     quick=[0])

    def label(depth):
        return f"depth {depth}"

    tasks = [("gaufre", lambda: of_gaufre(b.gaufre.decode(model, n, depths), label))]
    for p in b.peers:
        tasks.append((p.name, lambda p=p: of_peer(p.decode(model, n, depths), label)))
    b.rounds("decode", model, tasks)


def avx2(b, model):
    """Everyone with the instructions of a laptop: AVX2, FMA, F16C."""
    if len(b.avx2) == 1:
        b.say("no peer is built for AVX2: not measured")
        return

    def task(side):
        out = {}
        for case, rows in (("prefill 512", side.prefill(model, [512])), ("decode", side.decode(model, 64, [0]))):
            label = lambda _, case=case: case
            out.update(of_gaufre(rows, label) if side is b.avx2[0] else of_peer(rows, label))
        return out

    b.rounds("avx2", model, [(s.name, lambda s=s: task(s)) for s in b.avx2])


def batch(b, model):
    """Aggregate over the batch; each sequence has 128 tokens before, and makes 32. Once with prompts of their own, once
    with one prompt for all, whose KV cache is there once."""
    small = b.name(model).startswith("smollm2")
    own = b.cases("batch", model, [1, 4, 16, 64] if small else [1, 16], big=[1, 4, 16], quick=[1, 16])
    sizes = [n for n in own if n > 1]

    def task(side):
        of = of_gaufre if side is b.gaufre else of_peer
        out = of(side.batch(model, 32, 128, own), str)
        if sizes:
            out.update(of(side.batch(model, 32, 128, sizes, same_prompt=True), lambda n: f"{n}, one prompt"))
        return out

    sides = [b.gaufre] + [p for p in b.peers if p.has("llama-batched-bench")]
    b.rounds("batch", model, [(s.name, lambda s=s: task(s)) for s in sides])


@contextlib.contextmanager
def busy_process():
    """One other process that wants a whole CPU, wherever the system puts it."""
    p = subprocess.Popen([sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        yield
    finally:
        p.kill()
        p.wait()


def busy(b, model):
    """Decode with all threads beside one busy process. The peers also with passive waiting, and with one thread:
    the best of these counts. One thread of gaufre with nothing beside it is the figure not to fall below."""
    case, alone = ("one busy process", TPS), "gaufre, 1 thread alone"

    def ours():
        with busy_process():
            return {case: b.gaufre.decode(model, 64, [0])[0]["median"]}

    def peer(p, threads, env):
        with busy_process():
            return {case: p.decode(model, 16, [0], threads=threads, env=env)[0]}

    tasks = [("gaufre", ours), (alone, lambda: {case: b.gaufre.decode(model, 64, [0], threads=1)[0]["median"]})]
    for p in b.peers:
        tasks.append((p.name, lambda p=p: peer(p, None, {})))
        tasks.append((p.name + ", passive", lambda p=p: peer(p, None, {"OMP_WAIT_POLICY": "passive"})))
        tasks.append((p.name + ", 1 thread", lambda p=p: peer(p, 1, {})))
    b.rounds("busy", model, tasks)


# ---- servers --------------------------------------------------------------------------------------

def servers_of(b):
    return [b.gaufre] + [p for p in b.peers if p.has("llama-server")]


@contextlib.contextmanager
def running(b, model, slots, context):
    """{side: server} of all sides at once, idle but for the one that is asked; and {side: how it failed} of those that
    do not start."""
    with contextlib.ExitStack() as stack:
        found, failed = {}, {}
        for side in servers_of(b):
            try:
                server = stack.enter_context(side.serve(model, slots, context))
                server.wait_ready()
                warm(b, server, model)
                found[side.name] = server
            except Failed as e:
                b.say(f"{side.name}: no server: {e}")
                failed[side.name] = e.how
        yield found, failed


def prompt_bytes(b, server, model, salt, n=128, made=128):
    def make(i):
        rng = random.Random(f"{salt}/{i}")
        return load.completion("127.0.0.1", server.port, server.model,
                               load.random_prompt(rng, n, b.vocabulary(model)), made, seed=i)
    return make


def warm(b, server, model):
    r = load.closed_loop("127.0.0.1", server.port, prompt_bytes(b, server, model, "warm", 32, 8), 1, 1, timeout=120)
    if not r[0].ok:
        raise server.failed(f"no answer: {r[0].error}")


UNITS = {"output_tps": TPS, "goodput_rps": "requests/s", "goodput_share": "", "failed": ""}
METRICS = ["output_tps", "ttft_p50", "ttft_p95", "ttft_p99", "tpot_p50", "tpot_p95", "tpot_p99", "goodput_rps",
           "goodput_share", "failed"]


def loads(b, workload, model, clients, one_round, pairs):
    """one_round(server, salt) -> requests done. The same prompts for every side in a round, new ones in the next."""
    with running(b, model, clients, 320) as (found, failed):
        if "gaufre" not in found:
            return
        count = {name: 0 for name in found}

        def task(name):
            count[name] += 1
            done = one_round(found[name], f"{workload}/{clients}/{count[name]}")
            if not any(r.ok for r in done):
                raise found[name].failed(f"no answer: {done[0].error}")
            s = load.summary(done, b.args.ttft, b.args.tpot)
            return {(f"{clients} clients", m): s[m] for m in METRICS}

        b.rounds(workload, model, [(name, lambda name=name: task(name)) for name in found], pairs=pairs, failed=failed,
                 units={m: UNITS.get(m, "s") for m in METRICS},
                 higher={m: m in ("output_tps", "goodput_rps", "goodput_share") for m in METRICS})


def server(b, model):
    """Closed loop: each client asks again as soon as it is answered. 128 tokens in, 128 out."""
    for clients in b.cases("server", model, [1, 16, 64], big=[16], quick=[16]):
        n = 2 if clients == 1 else clients

        def one_round(s, salt, clients=clients, n=n):
            return load.closed_loop("127.0.0.1", s.port, prompt_bytes(b, s, model, salt), clients, n)
        loads(b, "server", model, clients, one_round, b.pairs)


def open_loop(b, model):
    """Open loop: so many clients who each ask every 8 s on average (Poisson), for 24 s, answered or not."""
    for clients in b.cases("open", model, [1, 16, 64], big=[16], quick=[16]):

        def one_round(s, salt, clients=clients):
            arrivals = load.poisson(random.Random(salt), clients / 8, 24.0)
            make = prompt_bytes(b, s, model, salt)
            return load.open_loop("127.0.0.1", s.port, make, arrivals or [0.0], drain=20)
        loads(b, "open", model, clients, one_round, min(b.pairs, 3))


def start(b, model):
    """A new process, its file in the page cache: seconds to healthy, and to the first streamed token of a prompt of
    16 tokens that is sent then. Warm: the same request again."""
    def task(side):
        with side.serve(model, 1, 2048) as s:
            ready = s.wait_ready()
            make = prompt_bytes(b, s, model, "start", 16, 2)
            out = {("process start", "healthy"): ready}
            for metric, salt in (("first token", 1), ("warm first token", 2)):
                began = time.monotonic() - s.begin
                r = load.closed_loop("127.0.0.1", s.port, make if salt == 1 else
                                     prompt_bytes(b, s, model, "again", 16, 2), 1, 1, timeout=120)[0]
                if not r.ok:
                    raise s.failed(f"no answer: {r.error}")
                out[("process start", metric)] = r.first + (began if salt == 1 else 0)
            return out

    with open(model, "rb") as f:  # into the page cache
        while f.read(1 << 24):
            pass
    units = {"healthy": "s", "first token": "s", "warm first token": "s"}
    b.rounds("start", model, [(s.name, lambda s=s: task(s)) for s in servers_of(b)], units=units,
             higher={m: False for m in units})


STORY = ("The harbour master wrote down every ship that came in, its cargo, its flag and the weather of the day. "
         "In the evening he read the list aloud to the gulls, who did not care, and to the clerk, who did. ")


def chat(b, model):
    """A conversation over a text of about 2,000 tokens: time to the first token of turn 1 and of turn 2, which repeats
    all of turn 1 and its answer; and how many tokens of turn 2's prompt were computed again."""
    count = {}
    case = "2,000 tokens"

    def turn(s, messages):
        data = load.http_post("127.0.0.1", s.port, "/v1/chat/completions", {
            "model": s.model, "messages": messages, "max_tokens": 32, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}})
        loop = load.Loop("127.0.0.1", s.port)
        r = load.Request(data, loop.now())
        loop.send(r)
        text = []
        while r.end is None and loop.now() < 300:
            loop.step(1.0)
        if not r.ok:
            raise s.failed(f"no answer: {r.error}")
        usage, computed = {}, None
        for line in r.raw.decode(errors="replace").splitlines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                for choice in event.get("choices", []):
                    text.append(choice.get("delta", {}).get("content") or "")
                usage = event.get("usage") or usage
                computed = event.get("timings", {}).get("prompt_n", computed)
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        if computed is None and cached is not None:
            computed = usage["prompt_tokens"] - cached
        return r.ttft, "".join(text), computed

    def task(name, s):
        count[name] = count.get(name, 0) + 1
        messages = [{"role": "user", "content": f"Log number {count[name]}. " + STORY * 44 + "Who listened?"}]
        first, answer, _ = turn(s, messages)
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And who did not?"}]
        second, _, computed = turn(s, messages)
        out = {(case, "turn 1"): first, (case, "turn 2"): second}
        if computed is not None:
            out[(case, "turn 2 computed")] = computed
        return out

    with running(b, model, 1, 4096) as (found, failed):
        b.rounds("chat", model, [(n, lambda n=n, s=s: task(n, s)) for n, s in found.items()], failed=failed,
                 units={"turn 1": "s", "turn 2": "s", "turn 2 computed": "tokens"},
                 higher={"turn 1": False, "turn 2": False, "turn 2 computed": False})


def tokenize(b, model):
    """POST /tokenize of 340 KB of text, MB/s including HTTP."""
    text = ""
    for name in ("prose.txt", "mixed.txt"):
        with open(f"{HERE}/../tests/golden/text/{name}", encoding="utf-8") as f:
            text += f.read()
    text = (text * 60).encode()[:340000].decode(errors="ignore")
    size = len(text.encode()) / 1e6

    def task(s):
        began = time.monotonic()
        s.post("/tokenize", {"content": text})
        return {("340 KB", "MB/s"): size / (time.monotonic() - began)}

    with running(b, model, 1, 2048) as (found, failed):
        b.rounds("tokenize", model, [(n, lambda s=s: task(s)) for n, s in found.items()], units={"MB/s": "MB/s"},
                 failed=failed)


def memory(b, model):
    """Resident memory of a server with 16 slots: idle, and after 16 streams. The limit: 1.2 times weights and the KV
    of those streams, and 30 MB."""
    def task(side):
        with side.serve(model, 16, 320) as s:
            s.wait_ready()
            time.sleep(1.0)
            out = {("idle", "MiB"): s.resident_mib()}
            load.closed_loop("127.0.0.1", s.port, prompt_bytes(b, s, model, "memory"), 16, 16)
            out[("after 16 streams", "MiB")] = s.resident_mib()
        if side is b.gaufre:
            shape = b.gaufre.reports[model]["model"]
            for case, tokens in (("idle", 0), ("after 16 streams", 16 * 256)):
                limit = 1.2 * (shape["bytes_per_token"] + tokens * shape["kv_token_bytes"]) / 2**20 + 30e6 / 2**20
                out[(case, "MiB")] = (out[(case, "MiB")], limit, None)
        return out

    b.rounds("memory", model, [(s.name, lambda s=s: task(s)) for s in servers_of(b)], pairs=min(b.pairs, 3),
             units={"MiB": "MiB"}, higher={"MiB": False})


# ---- gaufre beside itself, and quality ------------------------------------------------------------

def copy(b, model):
    """Speculation against plain decoding, the same greedy requests: bench/speculation.py."""
    for r in speculation.measure(b.args.gaufre, model, b.pairs, 64 if b.quick else 256, b.threads):
        b.add("copy", model, r["task"], TPS, TPS, True, {"gaufre": r["drafted"], "gaufre, plain": r["plain"]},
              note="" if r["same"] else "ANSWERS DIFFER")


def kl(b, model):
    """KL divergence to llama.cpp in float32, ours beside the peer's: bench/kl_peer.sh."""
    try:
        out = run([f"{HERE}/kl_peer.sh", model, b.args.gaufre], timeout=7200)
    except Failed as e:
        b.say(f"kl: {e}")
        return
    found = {r["who"]: r for r in map(json.loads, out.splitlines())}
    for metric in ("kl_mean", "kl_p99"):
        b.add("kl", model, "512 tokens", metric, "", False, {who: [r[metric]] for who, r in found.items()})


ALL = {"prefill": prefill, "decode": decode, "batch": batch, "avx2": avx2, "busy": busy, "start": start, "server": server,
       "open": open_loop, "chat": chat, "tokenize": tokenize, "memory": memory, "copy": copy, "kl": kl}
QUICK = ["prefill", "decode", "batch", "start", "server", "memory"]


def usual(workload, name):
    """Is it run for this model when nobody names it? Servers and what is about them on the smallest model only."""
    if name.startswith("smollm2"):
        return True
    if workload == "kl":
        return name.startswith("gemma3")
    if workload == "batch":
        return name in ("gemma3-270m", "llama3.2-1b-q4_0", "gpt-oss-mini-mxfp4")
    if workload == "start":
        return name == "llama3.2-1b-q4_0"
    return workload in ("prefill", "decode") or (workload == "avx2" and name == "llama3.2-1b-q4_0")
