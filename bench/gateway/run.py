#!/usr/bin/env python3
"""make bench-gateway: what a gateway adds to a request, and what it costs.

    bench/gateway/run.sh [--quick] [--gateway NAME] [--peers NAME,...|none] [--gaufre FILE] [--out FILE] [--streams N]

Mock upstream, gateways and load generator run on this machine, over loopback, in interleaved rounds of one run: the mock
asked directly, then through each gateway. Figures are medians of the rounds. What counts most is CPU a request: it holds on
busy machines, rates and percentiles do not. The last line is for machines; docs/performance.md says how to read the rest."""
import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import procs  # noqa: E402
import products  # noqa: E402

RATES = (500, 1000, 2000, 4000, 8000, 12000, 16000, 24000, 32000, 48000)
CONNECTIONS = 8 # of the closed loop
FILES_SPARE = 500 # files of a gateway beside its streams
DIRECT_P99_US = 1000 # the mock itself must keep this


def say(text=""):
    print(text, flush=True)


def median(values):
    return statistics.median(values) if values else 0.0


# ---- the parts ------------------------------------------------------------------------------------

class Bench:
    """The two programs of the bench, and a folder for those under test."""

    def __init__(self, built, folder):
        self.built, self.folder, self.running = built, folder, []

    def mock(self, *options):
        p = subprocess.Popen([f"{self.built}/mock_upstream", *options], stdout=subprocess.PIPE, text=True)
        self.running.append(p)
        return p, int(p.stdout.readline())

    def load(self, port, product=None, **options):
        argv = [f"{self.built}/load", "--port", str(port)]
        if product:
            argv += ["--path", product.path, "--model", product.model]
            for header in product.headers:
                argv += ["--header", header]
        for name, value in options.items():
            argv += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=600)
        return json.loads(done.stdout)

    def start(self, product, upstream):
        """Seconds to the first relayed answer."""
        folder = tempfile.mkdtemp(prefix=product.name + "-", dir=self.folder)
        began = time.monotonic()
        product.start(folder, upstream)
        while True:
            if product.process.poll() is not None:
                raise products.Missing(f"{product.name} ended: {tail(folder)}")
            answer = ask(product)
            if answer is True:
                return time.monotonic() - began
            if time.monotonic() - began > product.ready_s:
                raise products.Missing(f"{product.name} does not answer: {answer}; {tail(folder)}")
            time.sleep(0.002)

    def stop(self, product):
        if product.process:
            procs.stop(product.process)
            product.process = None

    def close(self):
        for p in self.running:
            p.kill()
            p.wait()


def tail(folder):
    with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as f:
        return f.read()[-400:].strip()


def ask(product):
    """True where a request is relayed, or what went wrong."""
    if hasattr(product, "find_port"):
        product.find_port()
    if not product.port:
        return "no port yet"
    headers = dict(h.split(": ", 1) for h in product.headers)
    body = json.dumps({"model": product.model, "messages": [{"role": "user", "content": "Good morning."}]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{product.port}{product.path}", data=body,
                                     headers={"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as r:
            return "choices" in json.load(r) or "an answer without choices"
    except urllib.error.HTTPError as e:
        return f"{e.code}: {e.read()[:200]!r}"
    except (OSError, ValueError) as e:
        return str(e)


# ---- measurements ---------------------------------------------------------------------------------

def measured(bench, product, port, **options):
    """A run of the load, and what the gateway used meanwhile."""
    before = procs.cpu_us(product.process.pid) if product else 0
    r = bench.load(product.port if product else port, product, **options)
    r["gateway_cpu_us"] = procs.cpu_us(product.process.pid) - before if product else 0
    return r


def closed_loop(bench, products_, port, rounds, seconds):
    """Highest rates and CPU a request: {name: {rate, cpu_us, p99_us, errors}}; "direct" is the mock itself."""
    runs = {}
    for _ in range(rounds):
        for product in (None, *products_):
            r = measured(bench, product, port, seconds=seconds, connections=CONNECTIONS)
            runs.setdefault(product.name if product else "direct", []).append(r)
    return {name: {"rate": median([r["rate"] for r in rs]),
                   "cpu_us": median([r["gateway_cpu_us"] / max(1, r["good"]) for r in rs]),
                   "p50_us": median([r["took_us"]["p50"] for r in rs]),
                   "p99_us": median([r["took_us"]["p99"] for r in rs]),
                   "errors": sum(r["errors"] for r in rs)} for name, rs in runs.items()}


def open_loop(bench, product, port, rates, rounds, seconds):
    """Through and direct at each rate, one after the other: [{rate, direct_p50 ... added_p99, cpu_us, errors}]."""
    rows = []
    for rate in rates:
        pairs = [(measured(bench, None, port, rate=rate, seconds=seconds, connections=256),
                  measured(bench, product, port, rate=rate, seconds=seconds, connections=256)) for _ in range(rounds)]
        row = {"rate": rate, "errors": sum(t["errors"] for _, t in pairs),
               "cpu_us": median([t["gateway_cpu_us"] / max(1, t["good"]) for _, t in pairs]),
               "reached": median([t["rate"] for _, t in pairs]) >= 0.98 * rate}
        for p in ("p50", "p99"):
            row[f"direct_{p}"] = median([d["took_us"][p] for d, _ in pairs])
            row[f"added_{p}"] = median([t["took_us"][p] - d["took_us"][p] for d, t in pairs])
        rows.append(row)
        if row["direct_p99"] > DIRECT_P99_US or not row["reached"]:
            break
    return rows


def best_row(rows, rate_max):
    """The highest rate at which the direct path keeps its promise and the gateway is not simply full."""
    good = [r for r in rows if r["direct_p99"] <= DIRECT_P99_US and r["reached"] and r["rate"] <= rate_max / 2]
    return good[-1] if good else rows[0]


def streams(bench, product, port, rounds, pieces=100, at_once=200, interval_ms=20):
    """CPU a piece: what streams of many pieces use more than streams of one. And how long pieces are under way."""
    n, rate = 2 * at_once, at_once * 1000 // (pieces * interval_ms)
    rows = []
    for _ in range(rounds):
        options = {"connections": 4 * at_once, "rate": rate, "requests": n, "stream": True}
        direct = measured(bench, None, port, pieces=pieces, **options)
        through = measured(bench, product, port, pieces=pieces, **options)
        short = measured(bench, product, port, pieces=1, **options)
        rows.append((direct, through, short))
    return {"cpu_us": median([(t["gateway_cpu_us"] - s["gateway_cpu_us"]) / (n * (pieces - 1)) for _, t, s in rows]),
            "request_cpu_us": median([s["gateway_cpu_us"] / n for _, _, s in rows]),
            "added_p50": median([t["piece_us"]["p50"] - d["piece_us"]["p50"] for d, t, _ in rows]),
            "added_p99": median([t["piece_us"]["p99"] - d["piece_us"]["p99"] for d, t, _ in rows]),
            "first_added_p50": median([t["first_us"]["p50"] - d["first_us"]["p50"] for d, t, _ in rows]),
            "errors": sum(t["errors"] + s["errors"] for _, t, s in rows)}


def many_streams(bench, product, port, n, pieces=10):
    """Memory a stream while n are open: the mock sends a piece a second."""
    before = procs.rss_kb(product.process.pid)
    r = measured(bench, product, port, requests=n, rate=n // 5, connections=n, stream=True, pieces=pieces, timeout_s=120)
    peak = procs.rss_kb(product.process.pid, peak=True)
    return {"open": r["open_max"], "kb": (peak - before) / max(1, r["open_max"]), "errors": r["errors"], "rss_mb": peak / 1024,
            "piece_p99": r["piece_us"]["p99"], "cpu_us": r["gateway_cpu_us"] / max(1, r["pieces"])}


# ---- the report -----------------------------------------------------------------------------------

def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}, load {os.getloadavg()[0]:.1f} at the start"


def last_line(results, name):
    """The line for machines: ours divided by theirs, 0 where there is no figure."""
    closed, row = results["closed"], results["best"]
    ours = closed[name]["rate"]
    x = {p: ours / closed[p]["rate"] if closed.get(p, {}).get("rate") else 0 for p in ("envoy", "ferro", "tensorzero", "litellm")}
    return (f"gateway added_p50_us={row['added_p50']:.0f} added_p99_us={row['added_p99']:.0f} cpu_us={closed[name]['cpu_us']:.1f} "
            f"chunk_us={results['streams']['cpu_us']:.2f} " + " ".join(f"{p}_x={v:.2f}" for p, v in x.items()))


def start_all(bench, wanted, port):
    """Those that run, and what starting took: the one under test several times."""
    ready, starts = [], {}
    for i, product in enumerate(wanted):
        try:
            took = []
            for _ in range(1 if i else 5):
                bench.stop(product)
                took.append(bench.start(product, port))
            starts[product.name] = {"s": median(took), "rss_mb": procs.rss_kb(product.process.pid) / 1024}
            ready.append(product)
            say(f"{product.name}: {product.version()}, first relayed answer after {starts[product.name]['s']:.3f} s, "
                f"{starts[product.name]['rss_mb']:.1f} MB")
        except products.Missing as e:
            bench.stop(product)
            if not i:
                raise
            say(f"{product.name}: not measured: {e}")
    return ready, starts


def measure(bench, wanted, quick, n_streams):
    results = {}
    _, port = bench.mock("--interval-us", "20000")
    _, slow = bench.mock("--interval-us", "1000000")
    ready, results["start"] = start_all(bench, wanted, port)
    ours = ready[0]
    rounds, seconds = (3, 2) if quick else (5, 4)
    bench.load(ours.port, ours, seconds=1, connections=CONNECTIONS)

    results["closed"] = closed = closed_loop(bench, ready, port, rounds, seconds)
    say(f"\nclosed loop, {CONNECTIONS} connections, {rounds} rounds of {seconds} s"
        "\n              requests/s   CPU us/request   p50 us   p99 us   errors")
    for name, c in closed.items():
        say(f"{name:12}{c['rate']:12.0f}{c['cpu_us']:17.1f}{c['p50_us']:9.0f}{c['p99_us']:9.0f}{c['errors']:9}")

    rates = RATES[1::2] if quick else RATES
    results["open"] = rows = open_loop(bench, ours, port, rates, 3, seconds)
    results["best"] = best_row(rows, closed[ours.name]["rate"])
    say(f"\nopen loop through {ours.name}, times from the schedule, us\n        rate   direct p50   p99   added p50   p99   CPU us/request")
    for r in rows:
        say(f"{r['rate']:12}{r['direct_p50']:13.0f}{r['direct_p99']:6.0f}{r['added_p50']:12.0f}{r['added_p99']:6.0f}{r['cpu_us']:17.1f}"
            + (f"   {r['errors']} errors" if r["errors"] else "") + ("" if r["reached"] else "   not reached")
            + ("   <- counts" if r is results["best"] else ""))

    if results["best"]["direct_p99"] > DIRECT_P99_US:
        say(f"this machine is too busy: at no rate does the direct path keep p99 below {DIRECT_P99_US} us, and what was added says nothing")

    say("\nstreams: 100 pieces, 20 ms apart, 200 at once\n              CPU us/piece   CPU us/stream of one   piece added p50   p99   first added p50   errors")
    for product in ready:
        if product.name == "litellm": # it cannot hold them
            continue
        s = streams(bench, product, port, 1 if product is not ours or quick else 3)
        results.setdefault("all_streams", {})[product.name] = s
        say(f"{product.name:12}{s['cpu_us']:14.2f}{s['request_cpu_us']:23.0f}{s['added_p50']:18.0f}{s['added_p99']:6.0f}{s['first_added_p50']:18.0f}{s['errors']:9}")
    results["streams"] = results["all_streams"][ours.name]

    bench.stop(ours)
    bench.start(ours, slow)
    most = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_SPARE) // 2 # two sockets a stream
    if most < n_streams:
        say(f"\nonly {most} of {n_streams} streams: a process may have no more files open here")
    results["many"] = m = many_streams(bench, ours, slow, min(n_streams, most))
    say(f"\n{m['open']} streams open at once: {m['kb']:.1f} KB each, {m['rss_mb']:.0f} MB at most, {m['errors']} errors, "
        f"pieces p99 {m['piece_p99']:.0f} us, CPU {m['cpu_us']:.1f} us a piece")
    for product in ready:
        bench.stop(product)
    return results


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    a = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    a.add_argument("--quick", action="store_true")
    a.add_argument("--gateway", default="gaufre", help="the one under test")
    a.add_argument("--peers", default="", help="names, or none")
    a.add_argument("--venvs", default="", help="where bench/gateway/peers.sh put them")
    a.add_argument("--gaufre", default=f"{root}/build/release/src/cmd/gaufre")
    a.add_argument("--out", help="all figures, as JSON")
    a.add_argument("--streams", type=int, default=10000)
    a.add_argument("--alone", action="store_true", help="loopback is all there is: any product may listen as it likes")
    o = a.parse_args()
    products.Gaufre.binary = gaufre = os.path.abspath(o.gaufre)
    built = os.path.join(os.path.dirname(gaufre), "../../bench/gateway")
    names = [o.gateway] + [p for p in o.peers.split(",") if p not in ("", "none", o.gateway)]
    wanted = []
    for name in names:
        product = products.PEERS[name](o.venvs)
        if product.listens_everywhere and not o.alone:
            say(f"{name}: not measured: it listens on every address, and there is no network namespace for it")
        else:
            wanted.append(product)
    say(machine())
    folder = tempfile.mkdtemp(prefix="bench-gateway-")
    bench = Bench(built, folder)
    try:
        results = measure(bench, wanted, o.quick, o.streams)
    finally:
        for product in wanted:
            bench.stop(product)
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
    if o.out:
        os.makedirs(os.path.dirname(os.path.abspath(o.out)), exist_ok=True)
        with open(o.out, "w", encoding="utf-8") as f:
            json.dump({"machine": machine(), **results}, f, indent=1)
    say(last_line(results, o.gateway))


if __name__ == "__main__":
    main()
