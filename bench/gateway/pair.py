#!/usr/bin/env python3
"""bench/gateway/pair.py: what a request through a gateway costs now, and in another version.

    bench/gateway/pair.py --before FILE [--gaufre FILE] [--rounds N] [--seconds N]

Two programs relay to the same mock in turn, each with all that a cloud does. CPU of the server a request, of a closed loop, and
the median of the ratios round by round, which holds where the machine is not quiet. Last line for machines."""
import argparse
import os
import shutil
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import products  # noqa: E402
import run  # noqa: E402


def measure(bench, pair, o):
    _, port = bench.mock()
    for product in pair:
        bench.start(product, port)
        bench.load(product.port, product, seconds=1, connections=run.CONNECTIONS)
    cpu = [[], []]
    for i in range(o.rounds):
        for k in (0, 1)[::-1 if i % 2 else 1]:
            r = run.measured(bench, pair[k], port, seconds=o.seconds, connections=run.CONNECTIONS)
            assert not r["errors"], r
            cpu[k].append(r["gateway_cpu_us"] / r["good"])
        run.say(f"before {cpu[0][-1]:.1f} us, now {cpu[1][-1]:.1f} us")
    ratio = statistics.median(now / before for before, now in zip(*cpu))
    before, now = (statistics.median(c) for c in cpu)
    run.say(f"pair before_cpu_us={before:.1f} now_cpu_us={now:.1f} now_x={ratio:.3f} rounds={o.rounds}")


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    a = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    a.add_argument("--before", required=True, metavar="FILE")
    a.add_argument("--gaufre", default=f"{root}/build/release/src/cmd/gaufre", metavar="FILE")
    a.add_argument("--rounds", type=int, default=9)
    a.add_argument("--seconds", type=int, default=2)
    o = a.parse_args()
    folder = tempfile.mkdtemp(prefix="bench-pair-")
    bench = run.Bench(os.path.join(os.path.dirname(os.path.abspath(o.gaufre)), "../../bench/gateway"), folder)
    pair = [products.Gaufre(""), products.Gaufre("")]
    for product, binary in zip(pair, (o.before, o.gaufre)):
        product.binary = os.path.abspath(binary)
    try:
        run.say(run.machine())
        measure(bench, pair, o)
    finally:
        for product in pair:
            bench.stop(product)
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
