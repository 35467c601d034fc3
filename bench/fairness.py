#!/usr/bin/env python3
"""How much a quiet tenant feels of a loud one: the p99 of its time to first token alone, and while another tenant sends ten
times what the server can do.

  bench/fairness.py                        builds nothing: GAUFRE_BIN or build/release/src/cmd/gaufre, the model smollm2-135m
  bench/fairness.py --rounds 4 --seconds 20 -- --batch 16      after --: flags of `gaufre serve`
  bench/fairness.py --contract             the quiet tenant has a contract, for a quarter of the power; and a third kind of
                                           round, in which a call of the grid takes half of the power away

First the capacity is measured: requests a second of the loud tenant, as many at once as the server runs together. Then, in
turns, the quiet tenant is alone and beside the loud one, which sends ten times the capacity whatever the server answers. The
quiet one asks, reads its answer, pauses, and asks again. The ratio is that of the p99s, all rounds together.
The last line is for machines.
"""
import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib

from load import Loop, Request, closed_loop, completion, poisson, random_prompt
from stats import percentile

HERE = os.path.dirname(os.path.abspath(__file__))


def find_binary():
    return os.environ.get("GAUFRE_BIN") or os.path.join(HERE, "..", "build", "release", "src", "cmd", "gaufre")


CONTRACT = """contract: quiet
signed: 2026-01-01
from: 2026-01-01
until: 2076-01-01
currency: EUR
supplier: {name: us}
customer: {name: quiet, tenants: [quiet]}
tranches:
  - {name: t, mw: 0.25, site: here, target: 2026-01-02, delivered: 2026-01-02, tokens_per_second: 10000, price: 5}
"""


def cli(*args, env=None):
    return subprocess.run([find_binary(), *args], check=True, capture_output=True, text=True, env=env).stdout.strip()


class Server:
    """A server with two tenants, on a free port."""

    def __init__(self, folder, model, flags):
        self.keys = {}
        self.folder = folder
        self.log = open(os.path.join(folder, "log"), "w+")
        self.process = subprocess.Popen([find_binary(), "serve", model, "--port", "0", *self.accounts(), "--log-format", "json",
                                         *flags], stderr=self.log, stdout=self.log)
        self.port = self.wait(self.find_port)
        self.wait(self.is_ready)

    def accounts(self):
        keys = os.path.join(self.folder, "keys")
        for name in ("quiet", "loud"):
            self.keys[name] = cli("key", "new", keys, name, "--tenant", name)
        return ["--keys", keys, "--ledger", "off"]

    def wait(self, look, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            found = look()
            if found:
                return found
            time.sleep(.05)
        raise SystemExit(f"the server did not start: see {self.log.name}")

    def find_port(self):
        with open(self.log.name) as f:
            for line in f:
                if line.startswith("{") and json.loads(line).get("event") == "listening":
                    return json.loads(line)["port"]
        return None

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready").status == 200
        except urllib.error.URLError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class WithContract(Server):
    def accounts(self):
        store, config, text = (os.path.join(self.folder, name) for name in ("accounts.db", "c.yaml", "quiet.yaml"))
        for name in ("quiet", "loud", "root"):
            cli("tenant", "new", name, "--accounts", store)
            self.keys[name] = cli("key", "new", name, "--tenant", name, "--accounts", store, *(("--admin", "yes") if name == "root" else ()))
        with open(text, "w") as f:
            f.write(CONTRACT)
        with open(config, "w") as f:
            f.write("site: here\nsites: [{name: here, energised_mw: 1}]\n")
        cli("contract", "amend", text, "--accounts", store)
        return ["--accounts", store, "--ledger", os.path.join(self.folder, "ledger.db"), "-c", config]

    def curtail(self, *args):
        cli("site", "curtail", "here", "--server", f"http://127.0.0.1:{self.port}", *args, env={**os.environ, "GAUFRE_ADMIN_KEY": self.keys["root"]})


def request(server, tenant, model, prompt, tokens, i):
    data = completion("127.0.0.1", server.port, model, random_prompt(random.Random(f"{tenant}/{i}"), prompt, 32000), tokens,
                      zlib.crc32(f"{tenant}/{i}".encode()))
    return data.replace(b"Connection: close\r\n", f"Connection: close\r\nAuthorization: Bearer {server.keys[tenant]}\r\n".encode(), 1)


def both(server, a, seed, flood):
    """A round: the quiet tenant asks, waits for its answer, pauses, and asks again; beside it the loud one at its times.
    (quiet, loud): requests."""
    rng, loop = random.Random(seed), Loop("127.0.0.1", server.port)
    loud = [Request(request(server, "loud", a.id, a.prompt, a.tokens, f"{seed}/{i}"), t) for i, t in enumerate(flood)]
    waiting, quiet, due = loud[::-1], [], a.lead
    while loop.now() < a.seconds:
        while waiting and waiting[-1].due <= loop.now():
            loop.send(waiting.pop())
        if due is not None and due <= loop.now():
            data = request(server, "quiet", a.id, a.quiet_prompt, a.quiet_tokens, f"{seed}/{len(quiet)}/{bool(flood)}")
            quiet.append(Request(data, loop.now()))
            loop.send(quiet[-1])
            due = None
        loop.step(min(.05, max(0, (waiting[-1].due if waiting else 1e9) - loop.now())))
        if due is None and quiet[-1].end is not None:
            due = loop.now() + rng.uniform(0, 2 * a.pause)
    while quiet and quiet[-1].end is None and loop.now() < a.seconds + a.drain:
        loop.step(.05)
    loop.cut()
    return quiet, loud


def capacity(server, a):
    # twice, as the first requests find cold memory
    for clients in (a.batch, a.batch):
        n = clients * 3
        begin = time.monotonic()
        done = closed_loop("127.0.0.1", server.port, lambda i, n=n: request(server, "loud", a.id, a.prompt, a.tokens, f"c{n}{i}"),
                           clients, n)
        rate = sum(r.ok for r in done) / (time.monotonic() - begin)
    return rate


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="smollm2-135m", help="name or path")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=20, help="of a round, alone and beside the other each")
    p.add_argument("--pause", type=float, default=0.2, help="mean pause of the quiet tenant between its requests")
    p.add_argument("--lead", type=float, default=3, help="seconds of a round before its first one")
    p.add_argument("--times", type=float, default=10, help="what the loud tenant sends: so many times the capacity")
    p.add_argument("--prompt", type=int, default=128, help="tokens of the loud tenant's prompts")
    p.add_argument("--tokens", type=int, default=64, help="and of its answers")
    p.add_argument("--quiet-prompt", type=int, default=128)
    p.add_argument("--quiet-tokens", type=int, default=8)
    p.add_argument("--batch", type=int, default=16, help="sequences that the server runs together")
    p.add_argument("--drain", type=float, default=10)
    p.add_argument("--contract", action="store_true", help="the quiet tenant has a contract")
    p.add_argument("flags", nargs="*", help="of gaufre serve, after --")
    a = p.parse_args()
    a.id = os.path.basename(a.model).removesuffix(".gguf")
    alone, beside, curtailed, loud = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        server = (WithContract if a.contract else Server)(folder, a.model, ["--batch", str(a.batch), *a.flags])
        try:
            able = capacity(server, a)
            for k in range(a.rounds):
                alone += both(server, a, k, [])[0]
                got = both(server, a, k, poisson(random.Random(100 + k), able * a.times, a.seconds))
                beside += got[0]
                loud += got[1]
                if a.contract:
                    server.curtail("--to", "50%", "--for", f"{a.seconds + a.drain:.0f}s", "--ramp", "2s")
                    curtailed += both(server, a, k + 1000, poisson(random.Random(200 + k), able * a.times, a.seconds))[0]
                    server.curtail("--cancel", str(k + 1))
        finally:
            server.stop()
    failed = [r for r in alone + beside + curtailed if not r.ok]
    for r in failed[:3]:
        print(f"fairness: a request of the quiet tenant failed: {r.status} {r.error}", file=sys.stderr)
    times = {"alone": [r.ttft for r in alone if r.ok], "beside": [r.ttft for r in beside if r.ok]}
    if a.contract:
        times["curtailed"] = [r.ttft for r in curtailed if r.ok]
    print(f"capacity {able:.1f} requests/s; the loud tenant sent {able * a.times:.0f}/s, {sum(r.ok for r in loud)} of {len(loud)} "
          f"answered, {sum(r.status == 429 for r in loud)} refused before an answer began")
    for name, t in times.items():
        print(f"quiet {name:9} n {len(t):4}  ttft p50 {percentile(t, 50) * 1e3:7.1f} ms  p90 {percentile(t, 90) * 1e3:7.1f} ms  "
              f"p99 {percentile(t, 99) * 1e3:7.1f} ms")
    ratio = percentile(times["beside"], 99) / percentile(times["alone"], 99)
    median = percentile(times["beside"], 50) / percentile(times["alone"], 50)
    less = f" curtailed_p99_x={percentile(times['curtailed'], 99) / percentile(times['alone'], 99):.2f}" if a.contract else ""
    print(f"fairness ttft_p99_x={ratio:.2f} ttft_p50_x={median:.2f}{less} capacity_rps={able:.1f} quiet_failed={len(failed)}")


if __name__ == "__main__":
    main()
