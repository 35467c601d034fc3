#!/usr/bin/env python3
"""Interleaved A/B runs of gaufre and llama.cpp on the same file, threads and work.

  bench/compare.py --gaufre build/release/src/cmd/gaufre --peer DIR [--pairs 5] [--threads N]
                   [--prefill 512] [--decode 64] [--csv FILE] MODEL...

Each pair is one process of each side, in turn, so that both see the same neighbours. The ratio is taken
pair by pair; its median is what counts. The machine's limits come from the gaufre run of the same pair:
for decode, the file's tensor bytes over the measured read bandwidth; for prefill, the measured int8
rate. Standard library only.
"""
import argparse
import csv
import io
import json
import os
import platform
import statistics
import subprocess
import sys


def cpu_name():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def run(cmd, env=None):
    p = subprocess.run(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode:
        sys.exit(f"{' '.join(cmd)} failed:\n{p.stderr[-2000:]}")
    return p.stdout


def gaufre(a, model, kind, n):
    other = "--decode" if kind == "prefill" else "--prefill"
    out = run([a.gaufre, "bench", model, "--csv", "--threads", str(a.threads), "--reps", str(a.reps),
               f"--{kind}", str(n), other, "0"])
    row = next(csv.DictReader(io.StringIO(out)))
    return float(row["median"]), float(row["limit"])


def peer(a, model, kind, n):
    env = dict(os.environ, LD_LIBRARY_PATH=a.peer + "/bin")
    work = ["-p", str(n), "-n", "0"] if kind == "prefill" else ["-p", "0", "-n", str(n)]
    out = run([a.peer + "/bin/llama-bench", "-m", model, "-t", str(a.threads), "-r", str(a.reps),
               "-fa", "1", "-o", "json"] + work, env)
    return statistics.median(json.loads(out)[0]["samples_ts"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+")
    p.add_argument("--gaufre", required=True)
    p.add_argument("--peer", required=True, help="folder with bin/llama-bench")
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--reps", type=int, default=3, help="runs inside each process")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--prefill", default="512")
    p.add_argument("--decode", default="64")
    p.add_argument("--csv", help="append rows to this file")
    a = p.parse_args()

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE,
                            text=True).stdout.strip()
    print(f"machine: {cpu_name()}, {a.threads} threads; gaufre {commit}; {a.pairs} pairs\n")
    print(f"{'model':24} {'work':14} {'gaufre':>9} {'peer':>9} {'ratio':>7} {'spread':>14} {'of limit':>9}")
    rows = []
    for model in a.models:
        name = os.path.basename(model).removesuffix(".gguf")
        for kind, sizes in (("prefill", a.prefill), ("decode", a.decode)):
            for n in (int(x) for x in sizes.split(",") if int(x)):
                ours, theirs, limits = [], [], []
                for i in range(a.pairs):
                    for side in (0, 1) if i % 2 == 0 else (1, 0):
                        if side == 0:
                            speed, limit = gaufre(a, model, kind, n)
                            ours.append(speed)
                            limits.append(limit)
                        else:
                            theirs.append(peer(a, model, kind, n))
                ratios = sorted(x / y for x, y in zip(ours, theirs))
                m = statistics.median
                print(f"{name:24} {kind + ' ' + str(n):14} {m(ours):9.1f} {m(theirs):9.1f} "
                      f"{m(ratios):6.2f}x {ratios[0]:6.2f}-{ratios[-1]:.2f}x {100 * m(ours) / m(limits):7.1f} %",
                      flush=True)
                rows.append([cpu_name(), commit, a.threads, name, kind, n, f"{m(ours):.2f}",
                             f"{m(theirs):.2f}", f"{m(ratios):.3f}", f"{ratios[0]:.3f}",
                             f"{ratios[-1]:.3f}", f"{m(limits):.2f}"])
    if a.csv:
        new = not os.path.exists(a.csv)
        with open(a.csv, "a", newline="") as f:
            w = csv.writer(f)
            if new:
                w.writerow("machine,commit,threads,model,test,n,gaufre,peer,ratio,ratio_min,ratio_max,limit"
                           .split(","))
            w.writerows(rows)


main()
