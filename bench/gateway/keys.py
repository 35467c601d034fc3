#!/usr/bin/env python3
"""bench/gateway/keys.py: what it costs a request that there are many tenants and keys.

Two servers with all that a cloud does, one with one key, one with --tenants tenants of ten keys each, relay to the same mock in
turn. The second one is asked with one of its keys, and with all of them, in no order: what their being there costs, and what
it costs that all are in use. CPU of the server a request, of a closed loop, and the medians of the ratios to the first server. Last
line for machines."""
import argparse
import hashlib
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import procs  # noqa: E402
import products  # noqa: E402
import run  # noqa: E402

KEYS_EACH = 10
RATE = 100_000_000


class Stored(products.Gaufre):
    """Accounts in a store, as `gaufre tenant` and `gaufre key` make them; all but the first at once, by SQL."""
    tenants = 1

    def prepare(self, folder, upstream):
        path = super().prepare(folder, upstream)
        store = os.path.join(folder, "accounts.db")
        for argv in (["tenant", "new", "t0", "--requests-per-minute", str(RATE), "--tokens-per-minute", str(1000 * RATE)],
                     ["key", "new", "k0", "--tenant", "t0"]):
            made = subprocess.run([self.binary, *argv, "--accounts", store], capture_output=True, text=True, check=True,
                                  env={"PATH": os.environ["PATH"], "HOME": folder})
        keys = [made.stdout.strip()]
        if self.tenants > 1:
            keys += self.fill(store, len(keys[0]))
        random.Random(1).shuffle(keys)
        self.keys = products.write(folder, "bearers", "".join(k + "\n" for k in keys))
        self.first = products.write(folder, "bearer", keys[0] + "\n")
        self.headers = (f"Authorization: Bearer {keys[0]}",)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        return products.write(folder, "gaufre.yaml", text.replace(f"keys: {folder}/keys\n", f"accounts: {store}\n"))

    def fill(self, store, length):
        with sqlite3.connect(store) as db:
            salt_id, salt = db.execute("SELECT id, salt FROM salt").fetchone()
            names = [f"t{i}" for i in range(1, self.tenants)]
            keys = [(f"n{i}", names[i % len(names)], os.urandom(length).hex()[:length]) for i in range(KEYS_EACH * self.tenants)]
            hashed = [hashlib.blake2b(k.encode(), digest_size=32, key=bytes.fromhex(salt)).hexdigest() for _, _, k in keys]
            db.executemany("INSERT INTO account VALUES (0, ?, ?, '', 0, 0, 2)", [(t, t) for t in names])
            db.executemany("INSERT INTO setting VALUES (0, ?, 'requests_per_minute', ?)", [(t, str(RATE)) for t in names])
            db.executemany("INSERT INTO setting VALUES (0, ?, 'tokens_per_minute', ?)", [(t, str(1000 * RATE)) for t in names])
            db.executemany("INSERT INTO account VALUES (2, ?, ?, '', 0, 0, 2)", [(k, t) for k, t, _ in keys])
            db.executemany("INSERT INTO secret VALUES (?, ?, ?, 0, 0, '')", [(h, k[0], salt_id) for h, k in zip(hashed, keys)])
            db.execute("UPDATE meta SET value = 2 WHERE name = 'generation'")
        return [k for _, _, k in keys]


class Many(Stored):
    name = "many"


def measure(bench, few, many, o):
    _, port = bench.mock()
    for product in (few, many):
        took = bench.start(product, port)
        run.say(f"{product.tenants} tenants: first relayed answer after {took:.2f} s, {procs.rss_kb(product.process.pid) / 1024:.0f} MB")
        bench.load(product.port, product, seconds=1, connections=run.CONNECTIONS, keys=product.keys)
    cases = {"one": (few, few.keys), "there": (many, many.first), "used": (many, many.keys)}
    cpu = {name: [] for name in cases}
    for i in range(o.rounds):
        for name in list(cases)[::-1 if i % 2 else 1]:
            product, keys = cases[name]
            r = run.measured(bench, product, port, seconds=o.seconds, connections=run.CONNECTIONS, keys=keys)
            assert not r["errors"], r
            cpu[name].append(r["gateway_cpu_us"] / r["good"])
    ratio = {name: statistics.median(c / one for c, one in zip(cpu[name], cpu["one"])) for name in cases}
    run.say(f"keys one_cpu_us={statistics.median(cpu['one']):.1f} there_x={ratio['there']:.3f} used_x={ratio['used']:.3f} rounds={o.rounds}")


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    a = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    a.add_argument("--gaufre", default=f"{root}/build/release/src/cmd/gaufre")
    a.add_argument("--tenants", type=int, default=10000)
    a.add_argument("--rounds", type=int, default=10)
    a.add_argument("--seconds", type=int, default=2)
    o = a.parse_args()
    products.Gaufre.binary = gaufre = os.path.abspath(o.gaufre)
    Many.tenants = o.tenants
    folder = tempfile.mkdtemp(prefix="bench-keys-")
    bench = run.Bench(os.path.join(os.path.dirname(gaufre), "../../bench/gateway"), folder)
    few, many = Stored(""), Many("")
    try:
        run.say(run.machine())
        measure(bench, few, many, o)
    finally:
        for product in (few, many):
            bench.stop(product)
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
