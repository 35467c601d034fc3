#!/usr/bin/env python3
"""Open streams that live through upgrades: many are opened, the server is replaced under them, and every one must end whole
and be booked once, while short requests on new connections go on.

  bench/upgrade.py                            builds nothing: GAUFRE_BIN or build/release/src/cmd/gaufre, the model smollm2-135m
  bench/upgrade.py --streams 2000 --upgrades 2 --tokens 4

The clients are spread over processes. Each of them and the server need a descriptor a stream (ulimit -n): where the limit is too
low for what is asked, the script says so and opens as many as it allows. The last line is for machines. Exit 1: something was lost.
"""
import argparse
import asyncio
import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def find_binary():
    return os.environ.get("GAUFRE_BIN") or os.path.join(HERE, "..", "build", "release", "src", "cmd", "gaufre")


def ask(model, tokens, stream):
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Go on."}], "temperature": 0,
                       "max_tokens": tokens, "stream": stream}).encode()
    return (b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)) + body


async def request(port, data, count, end):
    """One request on a connection of its own; `count` is what became of it."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count["open"] += 1
        writer.write(data)
        text = await reader.read()
        writer.close()
        count["whole" if b" 200 " in text.split(b"\r\n", 1)[0] and end in text else "lost"] += 1
        if end not in text:
            count.setdefault("seen", text[-300:].decode(errors="replace"))
    except OSError as e:
        count["refused"] += 1
        count.setdefault("seen", repr(e))


async def short_ones(port, model, count, is_over):
    while not is_over.is_set():
        await request(port, ask(model, 1, False), count, b'"finish_reason"')


NOTHING = {"open": 0, "whole": 0, "lost": 0, "refused": 0}
PER_PROCESS = 2500


class Clients:
    """Some streams, in a process of their own that tells how many are open, and in the end what became of them."""

    def __init__(self, port, model, tokens, n):
        self.count, self.n = dict(NOTHING), n
        mine, theirs = multiprocessing.Pipe()
        self.pipe = mine
        self.process = multiprocessing.Process(target=self.main, args=(theirs, port, model, tokens, n), daemon=True)
        self.process.start()
        theirs.close()

    @staticmethod
    def main(pipe, port, model, tokens, n):
        async def all_of_them():
            count, data = dict(NOTHING), ask(model, tokens, True)
            tasks = []
            for k in range(n):
                tasks.append(asyncio.create_task(request(port, data, count, b"data: [DONE]")))
                if k % 64 == 0:
                    await asyncio.sleep(0)
            while not all(t.done() for t in tasks):
                pipe.send(count)
                await asyncio.sleep(0.2)
            pipe.send({**count, "ended": True})
        asyncio.run(all_of_them())

    def look(self):
        try:
            while self.pipe.poll():
                self.count = self.pipe.recv()
        except EOFError:
            self.count = {**self.count, "ended": True, "lost": self.n - self.count["whole"] - self.count["refused"]}
        return self.count


def total(clients):
    counts = [c.look() for c in clients]
    return {k: sum(c[k] for c in counts) for k in NOTHING} | {k: c[k] for c in counts for k in ("seen",) if k in c}


async def run(args, port, pid):
    short = dict(NOTHING)
    is_over = asyncio.Event()
    pids, began, clients, n = [pid], time.monotonic(), [], 0
    beside = asyncio.create_task(short_ones(port, args.model, short, is_over))
    for i in range(args.upgrades):
        share = args.streams // args.upgrades
        for k in range(0, share, PER_PROCESS):
            clients.append(Clients(port, args.model, args.tokens, min(PER_PROCESS, share - k)))
            n += clients[-1].n
        while (now := total(clients))["open"] + now["refused"] < n:
            await asyncio.sleep(0.1)
        print(f"upgrade {i + 1}: {n - now['whole'] - now['lost'] - now['refused']} of {n} streams are open", flush=True)
        at = time.monotonic()
        p = await asyncio.create_subprocess_exec(find_binary(), "upgrade", str(pids[-1]), stdout=subprocess.PIPE)
        out, _ = await p.communicate()
        if p.returncode:
            sys.exit("the upgrade failed")
        pids.append(int(out))
        now = total(clients)
        print(f"upgrade {i + 1}: process {pids[-1]} serves after {time.monotonic() - at:.2f} s; "
              f"{n - now['whole'] - now['lost'] - now['refused']} streams are open", flush=True)
    while not all("ended" in c.look() for c in clients):
        await asyncio.sleep(0.2)
    is_over.set()
    await beside
    print(f"all streams ended after {time.monotonic() - began:.1f} s", flush=True)
    return total(clients), short, pids


def how_many(wanted):
    """As many as descriptors allow: the server has a few beside, and both of its processes may have all."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200
    if wanted > most:
        print(f"ulimit -Hn allows {most} streams", flush=True)
    return min(wanted, most)


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--model", default="smollm2-135m")
    a.add_argument("--streams", type=int, default=10000)
    a.add_argument("--upgrades", type=int, default=2)
    a.add_argument("--tokens", type=int, default=4)
    args = a.parse_args()
    args.streams = how_many(args.streams)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as folder:
        ledger, log_path = os.path.join(folder, "ledger.db"), os.path.join(folder, "log")
        with open(log_path, "wb") as log:
            server = subprocess.Popen([find_binary(), "serve", args.model, "--port", "0", "--ledger", ledger, "--kv-memory", "512M",
                                       "--queue", "100000", "--connections", str(args.streams + 100), "--log-level", "info",
                                       "--stall-timeout", "10m"], stderr=log)

        def read_log():
            with open(log_path, errors="replace") as f:
                return f.read()
        while "gaufre serves on" not in read_log():
            if server.poll() is not None:
                sys.exit(read_log())
            time.sleep(0.05)
        port = int(re.search(r"listening.*port=(\d+)", read_log()).group(1))
        streams, short, pids = asyncio.run(run(args, port, server.pid))
        os.kill(pids[-1], signal.SIGTERM)
        server.wait()
        while any(os.path.exists(f"/proc/{p}") and " Z " not in open(f"/proc/{p}/stat").read() for p in pids[1:]):
            time.sleep(0.05)
        usage = subprocess.run([find_binary(), "usage", "--ledger", ledger, "--json"], stdout=subprocess.PIPE, check=True, text=True)
        booked = sum(json.loads(line)["requests"] for line in usage.stdout.splitlines())
    result = {"streams": streams, "short": short, "booked": booked, "upgrades": args.upgrades}
    print(json.dumps(result))
    sys.exit(streams["whole"] + short["whole"] != booked or streams["lost"] + streams["refused"] + short["lost"] + short["refused"] > 0)


if __name__ == "__main__":
    main()
