"""Rows of results.json as table lines, CSV, a summary with the targets, and plots."""
import csv
import os
import re

import plot
import stats

# The targets: workload, model, case, metric (regular expressions, whole), what is compared, and the figure by kind of
# machine (suite.machine_kind; one number: for all). best: to the best peer; own: to the other row of gaufre; share:
# of the limit; limit: at most the row's limit; value: of gaufre itself.
ONE_B = r"llama3\.2-1b-.*|qwen3-1\.7b-.*"
TARGETS = [
    ("decode", ONE_B, "depth 0", "tokens/s", "share", ">=", 0.90),
    ("decode", "smollm2-135m", "depth 0", "tokens/s", "share", ">=", 0.80),
    ("decode", "gemma3-270m", "depth 0", "tokens/s", "best", ">=", 1.7),
    ("decode", "smollm2-135m", "depth (2048|8000)", "tokens/s", "best", ">=", 2.5),
    ("decode", "gpt-oss-.*", "depth 0", "tokens/s", "best", ">=", 1.5),
    ("prefill", r"(llama3\.2-1b|qwen3-1\.7b)-q4_(0|k_m)", "512|2048", "tokens/s", "best", ">=", {"V": 4.0, "X": 5.0}),
    ("prefill", r"(llama3\.2-1b|qwen3-1\.7b)-q8_0", "512|2048", "tokens/s", "best", ">=", {"V": 3.0, "X": 4.0}),
    ("prefill", "smollm2-135m", "512", "tokens/s", "best", ">=", 4.0),
    ("prefill", "gpt-oss-.*", "512|2048", "tokens/s", "best", ">=", 3.0),
    ("batch", "smollm2-135m", "16(, one prompt)?", "tokens/s", "best", ">=", 5.0),
    ("batch", "smollm2-135m", "64(, one prompt)?", "tokens/s", "best", ">=", 8.0),
    ("batch", r"llama3\.2-1b-q4_0", "16(, one prompt)?", "tokens/s", "best", ">=", 4.0),
    ("avx2", ".*", ".*", "tokens/s", "best", ">=", 1.2),
    ("copy", ".*", "(code edit|JSON rewrite|summary|repeat).*", "tokens/s", "own", ">=", 2.5),
    ("copy", ".*", "free text.*", "tokens/s", "own", ">=", 0.97),
    ("busy", ".*", ".*", "tokens/s", "own", ">=", 1.0),
    ("start", ".*", "process start", "first token", "best", "<=", 0.25),
    ("server", "smollm2-135m", "16 clients", "output_tps", "best", ">=", 8.0),
    ("server", "smollm2-135m", "16 clients", "ttft_p(50|99)", "best", "<=", 0.15),
    ("tokenize", ".*", ".*", "MB/s", "best", ">=", 5.0),
    ("chat", ".*", ".*", "turn 2 computed", "value", "<=", 96),
    ("memory", "smollm2-135m", ".*", "MiB", "limit", "<=", 1.0),
]
FACTOR = {"best": "x", "own": "x", "limit": "x the limit", "share": "of the limit", "value": ""}


def key(row):
    return (row["workload"], row["model"], row["case"], row["metric"], row["machine"], row["threads"])


def is_peer(name):
    return not name.startswith("gaufre")


def best_peer(row):
    return stats.best({k: v for k, v in row["samples"].items() if is_peer(k)}, row["higher"])


def own_other(row):
    return next((k for k in row["samples"] if k != "gaufre" and not is_peer(k)), None)


def ratios(row, other):
    if "gaufre" not in row["samples"] or other not in row["samples"]:
        return []
    pairs = [(a, b) for a, b in zip(row["samples"]["gaufre"], row["samples"][other]) if a is not None and b is not None]
    return stats.pair_ratios(*zip(*pairs)) if pairs else []


def share(row, side):
    """Median of the side over the median of the limit (of the same rounds)."""
    if not row.get("limit") or side not in row["samples"]:
        return None
    return stats.spread(row["samples"][side])[1] / stats.median(row["limit"])


def number(x):
    if x is None:
        return "-"
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.3g}"


def failures(row):
    """[(side, "crashes" or "fails", in words)] of the sides that did so in any round: some have figures of others."""
    return [(side, how if side not in row["samples"] else f"{how} in some rounds")
            for side, how in sorted(row.get("failed", {}).items())]


HEAD = f"{'workload':9} {'model':20} {'case':22} {'metric':16} {'gaufre':>9} {'peer':>9}  ratio (range), % of limit"


def line(row):
    peer = best_peer(row) or own_other(row)
    low, mid, high = stats.spread(ratios(row, peer))
    ours = stats.spread(row["samples"].get("gaufre", []))[1]
    theirs = stats.spread(row["samples"].get(peer, []))[1] if peer else None
    text = f"{row['workload']:9} {row['model']:20} {row['case']:22} {row['metric']:16} {number(ours):>9} " \
           f"{number(theirs):>9}"
    if peer and mid == mid:
        text += f"  {mid:.2f}x ({low:.2f}-{high:.2f}) {peer}"
    if share(row, "gaufre") is not None:
        text += f", {100 * share(row, 'gaufre'):.0f} %"
    text += "".join(f"; {side} {how}" for side, how in failures(row))
    return text + (f"  {row['note']}" if row["note"] else "")


def judge(row):
    """(words, met) of the row's target; None where it has none. met is None where there is nothing to compare."""
    for workload, model, case, metric, what, sign, wanted in TARGETS:
        if workload != row["workload"] or not all(re.fullmatch(pattern, row[field]) for pattern, field in (
                (model, "model"), (case, "case"), (metric, "metric"))):
            continue
        if isinstance(wanted, dict):
            wanted = wanted.get(row["kind"])
            if wanted is None:
                return None
        if what == "best":
            got = stats.median(ratios(row, best_peer(row)))
        elif what == "own":
            got = stats.median(ratios(row, own_other(row)))
        elif what == "value":
            got = stats.spread(row["samples"].get("gaufre", []))[1]
        else:
            got = share(row, "gaufre")
        sign_text = "at least" if sign == ">=" else "at most"
        factor = f"{100 * wanted:.0f} %" if what == "share" else f"{wanted:g}"
        words = f"{sign_text} {factor} {FACTOR[what]}".strip()
        if got is None or got != got:
            return words, None
        return words, (got >= wanted if sign == ">=" else got <= wanted) and not row["note"]
    return None


COLUMNS = ("date machine kind threads commit workload model case metric unit side rounds median min max ratio ratio_min "
           "ratio_max ratio_to limit share weight_bytes_per_step target met note").split()


def csv_rows(row):
    peer = best_peer(row)
    target = judge(row)
    for side, values in row["samples"].items():
        low, mid, high = stats.spread(values)
        to = (peer or own_other(row)) if side == "gaufre" else side
        r = stats.spread(ratios(row, to)) if to else (float("nan"),) * 3
        s = share(row, side)
        ours = side == "gaufre"
        yield [row["date"], row["machine"], row["kind"], row["threads"], row["commit"], row["workload"], row["model"],
               row["case"], row["metric"], row["unit"], side, sum(v is not None for v in values)] + \
            [f"{x:.6g}" for x in (mid, low, high)] + \
            ([f"{r[1]:.4g}", f"{r[0]:.4g}", f"{r[2]:.4g}", to] if r[1] == r[1] else [""] * 4) + \
            [f"{stats.median(row['limit']):.6g}" if row.get("limit") else "", f"{s:.4f}" if s is not None else "",
             f"{row['weight_bytes']:.0f}" if ours and row.get("weight_bytes") else "",
             target[0] if ours and target else "",
             {True: "met", False: "missed", None: "open"}[target[1]] if ours and target else "",
             row["note"] or row.get("failed", {}).get(side, "")]
    for side, how in failures(row):
        if side not in row["samples"]:
            yield [row["date"], row["machine"], row["kind"], row["threads"], row["commit"], row["workload"], row["model"],
                   row["case"], row["metric"], row["unit"], side, 0] + [""] * (len(COLUMNS) - 13) + [how]


def write_csv(out, rows, limits):
    with open(f"{out}/results.csv", "w", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow(COLUMNS)
        for row in rows:
            w.writerows(csv_rows(row))
    with open(f"{out}/limits.csv", "w", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow("date machine commit model what threads bytes value unit".split())
        for r in limits.values():
            w.writerow([r["date"], r["machine"], r["commit"], r["model"], r["what"], r["threads"], r["bytes"],
                        f"{r['value']:.5g}", r["unit"]])


def cells(*values):
    return "| " + " | ".join(values) + " |"


def target_table(rows):
    lines = [cells("work", "gaufre", "best peer", "ratio (range)", "of the limit", "target", ""), "|---" * 7 + "|"]
    counts = {True: 0, False: 0, None: 0}
    for row in rows:
        target = judge(row)
        if not target:
            continue
        counts[target[1]] += 1
        other = own_other(row) if row["workload"] in ("copy", "busy") else best_peer(row)
        low, mid, high = stats.spread(ratios(row, other))
        s = share(row, "gaufre")
        lines.append(cells(
            f"{row['workload']} {row['case']}, {row['model']}" + ("" if row["unit"] == "tokens/s" else f": {row['metric']}"),
            f"{number(stats.spread(row['samples'].get('gaufre', []))[1])} {row['unit']}",
            f"{number(stats.spread(row['samples'][other])[1])} ({other})" if other else "-",
            f"{mid:.2f} ({low:.2f}-{high:.2f})" if mid == mid else "-",
            f"{100 * s:.0f} %" if s is not None else "-", target[0],
            {True: "met", False: "**missed**", None: "not compared"}[target[1]] + (f" {row['note']}" if row["note"] else "") +
            "".join(f"; {side} {how}" for side, how in failures(row))))
    return lines, counts


def other_table(rows):
    lines = [cells("work", "metric", "side", "median (range)", "of the limit", "weights read"), "|---" * 6 + "|"]
    for row in rows:
        for side, values in row["samples"].items():
            low, mid, high = stats.spread(values)
            s = share(row, side)
            lines.append(cells(
                f"{row['workload']} {row['case']}, {row['model']}", row["metric"], side,
                f"{number(mid)} ({number(low)}-{number(high)}) {row['unit']}", f"{100 * s:.0f} %" if s is not None else "",
                f"{row['weight_bytes'] / 1e6:.1f} MB" if side == "gaufre" and row.get("weight_bytes") else ""))
        for side, how in failures(row):
            lines.append(cells(f"{row['workload']} {row['case']}, {row['model']}", row["metric"], side, how, "", ""))
    return lines


def summary(rows, limits):
    table, counts = target_table(rows)
    lines = ["# Bench", ""]
    for about in sorted({(r["date"], r["machine"], r["kind"], r["threads"], r["commit"]) for r in rows}):
        lines.append("- {}, {} (kind {}), {} threads, gaufre {}".format(*about))
    sides = sorted({s for r in rows for s in [*r["samples"], *r.get("failed", {})] if is_peer(s) and "," not in s})
    lines += [f"- peers: {', '.join(sides) or 'none'}" +
              ("" if "ik_llama.cpp" in sides else "; ik_llama.cpp was not measured"),
              f"- targets: {counts[True]} met, {counts[False]} missed, {counts[None]} not compared", ""]
    if limits:
        lines += ["## Limits of the machine, measured in the same run", "",
                  cells("limit", "threads", "over", "", "beside"), "|---" * 5 + "|"]
        lines += [cells(r["what"], str(r["threads"]), f"{r['bytes'] / 1e6:.1f} MB" if r["bytes"] else "registers",
                        f"{r['value']:.1f} {r['unit']}", r["model"]) for r in limits.values()]
        lines.append("")
    if sum(counts.values()):
        lines += ["## Targets", ""] + table + [""]
    return "\n".join(lines + ["## All figures", ""] + other_table(rows)) + "\n"


def plots(out, rows):
    """ratio.svg: times better than the best peer. share.svg: of the limit, ours and the best peer's. batch-*.svg."""
    better = []
    for row in rows:
        peer = best_peer(row)
        r = [x if row["higher"] else 1 / x for x in ratios(row, peer) if x] if peer else []
        if r and row["metric"] in ("tokens/s", "output_tps", "ttft_p50", "first token", "turn 2", "MB/s", "MiB"):
            low, mid, high = stats.spread(r)
            unit = "" if row["metric"] == "tokens/s" else f" {row['metric']}"
            better.append((f"{row['workload']} {row['case']}{unit}, {row['model']}", mid, low, high))
    files = {"ratio.svg": plot.ratios("Times better than the best peer (median and range of the rounds)", better)}
    shares = [(f"{r['workload']} {r['case']}, {r['model']}", share(r, "gaufre"), share(r, best_peer(r)))
              for r in rows if r.get("limit") and r["unit"] == "tokens/s" and share(r, "gaufre") is not None]
    files["share.svg"] = plot.shares("Share of the machine's limit", shares)
    for model in sorted({r["model"] for r in rows if r["workload"] == "batch"}):
        lines = {}
        own = [r for r in rows if r["workload"] == "batch" and r["model"] == model and r["case"].isdigit()]
        for r in sorted(own, key=lambda r: int(r["case"])):
            for side, values in r["samples"].items():
                lines.setdefault(side, []).append((int(r["case"]), stats.spread(values)[1]))
        files[f"batch-{model}.svg"] = plot.lines(f"Tokens a second by sequences at once, {model}", lines)
    for name, text in files.items():
        if text:
            with open(f"{out}/{name}", "w") as f:
                f.write(text)


def write(out, rows, limits):
    os.makedirs(out, exist_ok=True)
    write_csv(out, rows, limits)
    with open(f"{out}/summary.md", "w") as f:
        f.write(summary(rows, limits))
    plots(out, rows)
