#!/usr/bin/env python3
"""gaufre beside every peer that is found, in interleaved rounds on this machine.

Called by bench/run.sh, which builds gaufre, the peers and the models. A round is one run of each side, one after the
other, and each round begins with another side; ratios are taken round by round, their median is what counts.
Writes results.json (every figure of every round), results.csv, limits.csv, summary.md and SVG plots into --out. Rows
that are there already and not measured again stay: each has its own date and commit. Standard library only.
"""
import argparse
import datetime
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile

import report
import workloads
from sides import Failed, Gaufre, Ik, Llama, run

HERE = os.path.dirname(os.path.abspath(__file__))
BIG_BYTES = 400e6  # files from which on a workload takes its `big` cases


def cpu_name():
    with open("/proc/cpuinfo") as f:
        text = f.read()
    name = re.search(r"^model name\s*: (.*)$", text, re.M)
    return (name[1] if name else platform.machine()), set(re.search(r"^flags\s*: (.*)$", text, re.M)[1].split())


def machine_kind(flags):
    """The columns of the targets: X has AMX, V has AVX-512 VNNI."""
    return "X" if "amx_int8" in flags else "V" if "avx512_vnni" in flags else "other"


class Bench:
    def __init__(self, args):
        self.args, self.quick, self.pairs, self.threads = args, args.quick, args.pairs, args.threads
        self.gaufre = Gaufre(args.gaufre, args.threads, args.reps)
        self.peers, self.rows, self.limits = [], [], {}
        cpu, flags = cpu_name()
        commit = run(["git", "-C", HERE, "describe", "--always", "--dirty", "--exclude", "*"]).strip() \
            if os.path.exists(f"{HERE}/../.git") else "unknown"
        self.about = {"machine": cpu, "kind": machine_kind(flags), "threads": args.threads, "commit": commit,
                      "date": datetime.datetime.now().strftime("%Y-%m-%d")}
        for name, kind, folder in (("llama.cpp", Llama, args.llama), ("ik_llama.cpp", Ik, args.ik)):
            if folder:
                self.peers.append(kind(name, folder, args.threads, args.reps))
                if not self.peers[-1].has("llama-bench"):
                    sys.exit(f"suite: {folder} has no bin/llama-bench")
        if args.llama and args.llama_amx:
            self.peers.append(Llama("llama.cpp AMX", args.llama, args.threads, args.reps, args.llama_amx))
        # Everyone once more with the instructions of a laptop, for the workload avx2.
        self.avx2 = [Gaufre(args.gaufre, args.threads, args.reps, "avx2")] + [
            kind(name, folder, args.threads, args.reps, before)
            for name, kind, folder, before in (("llama.cpp", Llama, args.llama, args.llama_avx2),
                                               ("ik_llama.cpp", Ik, args.ik, args.ik_avx2)) if folder and before]

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def name(self, model):
        return os.path.basename(model).removesuffix(".gguf")

    def big(self, model):
        return os.path.getsize(model) > BIG_BYTES

    def cases(self, workload, model, usual, big=None, quick=None):
        """Which sizes: --cases, or by the size of the model."""
        if workload in self.args.cases:
            return self.args.cases[workload]
        if self.quick and quick:
            return quick
        return big if big and self.big(model) else usual

    def vocabulary(self, model):
        if not hasattr(self, "vocabularies"):
            self.vocabularies = {}
        if model not in self.vocabularies:
            self.vocabularies[model] = json.loads(run([self.args.gaufre, "show", "--json", model]))["vocabulary"]
        return self.vocabularies[model]

    def rounds(self, workload, model, tasks, pairs=None, units=None, higher=None, failed=None):
        """failed: {side: what the report says} of those that are not among the tasks."""
        samples, limits, extra, order = {}, {}, {}, []
        failures, failed = {}, dict(failed or {})
        for i in range(pairs or self.pairs):
            first = i % len(tasks) if tasks else 0
            for name, task in tasks[first:] + tasks[:first]:
                if failures.get(name, 0) > 1:
                    continue
                try:
                    got = task()
                except Failed as e:
                    failures[name] = failures.get(name, 0) + 1
                    failed[name] = e.how
                    self.say(f"{workload} {self.name(model)}: {name}: {e}")
                    continue
                for key, value in got.items():
                    if key not in samples:
                        samples[key] = {n: [None] * (pairs or self.pairs) for n, _ in tasks}
                        order.append(key)
                    if isinstance(value, tuple):
                        value, limit, extra[key] = value
                        limits.setdefault(key, []).append(limit)
                    samples[key][name][i] = value
        for case, metric in order:
            sides = {n: v for n, v in samples[(case, metric)].items() if any(x is not None for x in v)}
            self.add(workload, model, case, metric, (units or {}).get(metric, metric), (higher or {}).get(metric, True),
                     sides, limits.get((case, metric)), extra.get((case, metric)), failed=failed)

    def add(self, workload, model, case, metric, unit, higher, samples, limit=None, weight_bytes=None, note="",
            failed=None):
        row = dict(self.about, workload=workload, model=self.name(model), case=case, metric=metric, unit=unit,
                   higher=higher, samples=samples, limit=limit, weight_bytes=weight_bytes, note=note,
                   failed=failed or {})
        self.rows = [r for r in self.rows if report.key(r) != report.key(row)] + [row]
        print(report.line(row), flush=True)

    def measure(self, model, names):
        for side in [self.gaufre, *self.peers, *self.avx2]:
            side.reps = 1 if self.big(model) else self.args.reps
        try:
            self.gaufre.bench(model, prefill=[0], decode=[0])
        except Failed as e:
            self.say(f"{self.name(model)} is left out: {e}")
            return
        for limit in self.gaufre.reports[model]["limits"]:
            row = dict(self.about, model=self.name(model), **limit)
            self.limits[f"{row['model']} {row['what']} {row['threads']}"] = row
        for name in names:
            if name not in (self.args.only or []) and not workloads.usual(name, self.name(model)):
                continue
            self.say(f"{name}, {self.name(model)}")
            workloads.ALL[name](self, model)
            self.write()

    def load(self):
        path = f"{self.args.out}/results.json"
        if os.path.exists(path) and not self.args.fresh:
            with open(path) as f:
                old = json.load(f)
            self.rows, self.limits = old["rows"], old["limits"]

    def write(self):
        os.makedirs(self.args.out, exist_ok=True)
        new = f"{self.args.out}/results.json.new"
        with open(new, "w") as f:
            json.dump({"rows": self.rows, "limits": self.limits}, f, indent=1)
        os.rename(new, f"{self.args.out}/results.json")
        report.write(self.args.out, self.rows, self.limits)


def parse_cases(text):
    cases = {}
    for part in text.replace(":", " ").split():
        name, _, sizes = part.partition("=")
        if name not in workloads.ALL or not sizes:
            raise argparse.ArgumentTypeError(f"{part}: not WORKLOAD=N,N")
        cases[name] = [int(n) for n in sizes.split(",")]
    return cases


def parse_only(text):
    names = text.split(",")
    for n in names:
        if n not in workloads.ALL:
            raise argparse.ArgumentTypeError(f"no workload {n}; there are {', '.join(workloads.ALL)}")
    return names


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog="workloads: " + ", ".join(workloads.ALL))
    p.add_argument("models", nargs="*", help="GGUF files")
    p.add_argument("--gaufre", default=f"{HERE}/../build/release/src/cmd/gaufre")
    p.add_argument("--llama", help="folder of llama.cpp, with bin/llama-bench")
    p.add_argument("--llama-amx", help="folder whose bin has the CPU library of llama.cpp with AMX")
    p.add_argument("--llama-avx2", help="the same, with AVX2 and nothing newer")
    p.add_argument("--ik-avx2", help="the same of ik_llama.cpp")
    p.add_argument("--ik", help="folder of ik_llama.cpp, with bin/llama-bench")
    p.add_argument("--only", type=parse_only, help="these workloads")
    p.add_argument("--skip", type=parse_only, default=[], help="not these workloads")
    p.add_argument("--cases", type=parse_cases, default={}, help="other sizes: decode=0,2048:batch=1,32")
    p.add_argument("--pairs", type=int, help="rounds (5; quick: 3)")
    p.add_argument("--reps", type=int, help="runs inside one process of the engine workloads (2; quick, or a large file: 1)")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every side")
    p.add_argument("--ttft", type=float, default=1.0, help="limit of goodput: seconds to the first token")
    p.add_argument("--tpot", type=float, default=0.1, help="limit of goodput: seconds a token")
    p.add_argument("--out", default=f"{HERE}/../build/bench")
    p.add_argument("--fresh", action="store_true", help="forget the rows that are in --out")
    p.add_argument("--render", action="store_true", help="measure nothing: write tables and plots again")
    p.add_argument("--quick", action="store_true", help="few workloads, few sizes")
    a = p.parse_args()
    a.pairs = a.pairs or (3 if a.quick else 5)
    a.reps = a.reps or (1 if a.quick else 2)
    for name in ("gaufre", "llama", "llama_amx", "llama_avx2", "ik", "ik_avx2", "out"):
        if getattr(a, name):
            setattr(a, name, os.path.abspath(getattr(a, name)))
    a.models = [os.path.abspath(m) for m in a.models]
    return a


def main():
    a = arguments()
    with tempfile.TemporaryDirectory() as folder:
        began = os.getcwd()
        os.chdir(folder)  # the peers leave logs where they stand
        try:
            measure(a)
        finally:
            os.chdir(began)
    print(f"bench: results are in {os.path.relpath(a.out)}", file=sys.stderr)


def measure(a):
    b = Bench(a)
    b.load()
    if not a.render:
        names = [n for n in (a.only or (workloads.QUICK if a.quick else workloads.ALL)) if n not in a.skip]
        print(f"{b.about['machine']} ({b.about['kind']}), {a.threads} threads; gaufre {b.about['commit']}; "
              f"{', '.join(p.name for p in b.peers) or 'no peer'}; {a.pairs} rounds, load "
              f"{os.getloadavg()[0]:.1f} at the start\n", flush=True)
        if os.getloadavg()[0] > 0.5:
            b.say("this machine is busy: the figures will be, too")
        print(report.HEAD, flush=True)
        for model in a.models:
            b.measure(model, names)
    b.write()
    print()
    with open(f"{a.out}/summary.md") as f:
        print(f.read())


def stop(*_):
    raise KeyboardInterrupt  # so that the servers are stopped on the way out


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (Failed, subprocess.SubprocessError) as error:
        sys.exit(f"suite: {error}")
