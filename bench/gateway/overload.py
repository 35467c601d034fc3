#!/usr/bin/env python3
"""bench/gateway/overload.py: what a gateway still gets done when ten times as much is asked of it as its supplier can do.

The supplier takes --delay-ms for an answer and gets --places requests at once; that is the capacity. First as many clients as it has
places ask in a closed loop: the peak. Then requests come at ten times that rate, whatever is answered, for rounds in turn with
the first. Goodput is whole answers a second; all else must be refused, with 429 and before any 200. Last line for machines."""
import argparse
import os
import shutil
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import procs  # noqa: E402
import products  # noqa: E402
import run  # noqa: E402

TIMES = 10


class Bounded(products.Gaufre):
    """A supplier with few places, and nearly none that may wait."""
    places = 16

    def prepare(self, folder, upstream):
        path = super().prepare(folder, upstream)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        text = text.replace("queue: 50000", "queue: 2") # a tenant may have half of it
        head, supplier = text.split("suppliers:")
        return products.write(folder, "gaufre.yaml", head + "suppliers:" + supplier.replace("concurrency: 50000", f"concurrency: {self.places}"))


def measure(bench, ours, o):
    _, port = bench.mock("--delay-us", str(o.delay_ms * 1000))
    bench.start(ours, port)
    capacity = o.places * 1000 / o.delay_ms
    bench.load(ours.port, ours, seconds=1, connections=o.places)
    peaks, floods, rss = [], [], []
    run.say(f"{run.machine()}\ncapacity {capacity:.0f} requests/s: {o.places} places, {o.delay_ms} ms each\n"
            "   peak/s   offered/s   goodput/s   of peak   refused   broken   p99 ms   CPU us/asked   MB")
    for _ in range(o.rounds):
        peak = bench.load(ours.port, ours, seconds=o.seconds, connections=o.places)
        flood = run.measured(bench, ours, port, seconds=o.seconds, rate=int(TIMES * capacity), connections=2000)
        peaks.append(peak["rate"])
        floods.append(flood)
        rss.append(procs.rss_kb(ours.process.pid) / 1024)
        broken = flood["errors"] - flood["faults"]["status"]
        run.say(f"{peak['rate']:9.0f}{flood['requests'] / flood['seconds']:12.0f}{flood['rate']:12.0f}{100 * flood['rate'] / peak['rate']:9.1f} %"
                f"{flood['faults']['status']:9}{broken:9}{flood['took_us']['p99'] / 1000:9.0f}"
                f"{flood['gateway_cpu_us'] / max(1, flood['requests']):15.1f}{rss[-1]:5.0f}")
        assert flood["status"] in (0, 429), flood
    share = statistics.median(f["rate"] for f in floods) / statistics.median(peaks)
    broken = sum(f["errors"] - f["faults"]["status"] for f in floods)
    run.say(f"overload times={TIMES} goodput_of_peak={share:.3f} refused={sum(f['faults']['status'] for f in floods)} broken={broken} "
            f"grown_mb={rss[-1] - rss[0]:.1f}")


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    a = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    a.add_argument("--gaufre", default=f"{root}/build/release/src/cmd/gaufre")
    a.add_argument("--places", type=int, default=16)
    a.add_argument("--delay-ms", type=int, default=100)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--seconds", type=int, default=4)
    o = a.parse_args()
    products.Gaufre.binary = gaufre = os.path.abspath(o.gaufre)
    Bounded.places = o.places
    folder = tempfile.mkdtemp(prefix="bench-overload-")
    bench, ours = run.Bench(os.path.join(os.path.dirname(gaufre), "../../bench/gateway"), folder), Bounded("")
    try:
        measure(bench, ours, o)
    finally:
        bench.stop(ours)
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
