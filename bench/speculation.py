#!/usr/bin/env python3
"""Speculation against plain decoding, on one machine: bench/speculation.py [--gaufre BIN] [--model M] [--reps N]

Two servers of the same binary, one with speculation and one without, get the same greedy requests in turn. For each
task: tokens per second of both (from the answer's own completion time), the ratio of each pair, its median and range,
and whether the answers were the same bytes. Tasks: copy-heavy ones, with and without `prediction`, and free text.
"""
import argparse
import json
import statistics
import subprocess
import sys
import urllib.request

CODE = '''def load_settings(path):
    """Read settings from a JSON file and fill in what is missing."""
    with open(path, encoding="utf-8") as file:
        settings = json.load(file)
    settings.setdefault("host", "127.0.0.1")
    settings.setdefault("port", 8080)
    settings.setdefault("threads", os.cpu_count())
    if settings["port"] < 1 or settings["port"] > 65535:
        raise ValueError("port must be between 1 and 65535")
    return settings


def save_settings(path, settings):
    """Write settings to a JSON file, sorted by name."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(settings, file, indent=4, sort_keys=True)
        file.write("\\n")
'''
RECORDS = json.dumps([{"id": i, "name": name, "city": city, "active": i % 3 != 0, "score": 17 * i % 101}
                      for i, (name, city) in enumerate([("Amelie", "Brussels"), ("Bruno", "Ghent"), ("Clara", "Liege"),
                                                        ("David", "Namur"), ("Emma", "Bruges"), ("Felix", "Mons")])],
                     indent=1)
STORY = ("The lighthouse stood at the end of a narrow spit of sand, and every evening the keeper climbed its one hundred "
         "and twelve steps to light the lamp. \"The sea forgets,\" he used to say, \"but the light remembers.\" In the "
         "winter of 1911 a storm took the bridge, and for nineteen days nobody came. When the first boat arrived, the "
         "keeper was sitting at his table, writing letters to ships that had long gone by. \"You are late,\" he said, "
         "\"but the kettle is still warm.\"")
TASKS = {
    "code edit": ("Repeat this code exactly, but rename the variable `settings` to `options`:\n\n" + CODE, CODE.replace("settings", "options")),
    "JSON rewrite": ("Repeat this JSON exactly, but change every city to upper case:\n\n" + RECORDS, RECORDS),
    "summary with quotes": ("Summarise this text in a few sentences and quote what the keeper said word for word:\n\n" + STORY, None),
    "repeat": ("Repeat the following text word for word:\n\n" + STORY, STORY),
    "free text": ("Write a short story about a lighthouse on the moon.", None),
    "free text, sampled": ("Explain how bread is made, step by step.", None),
}


def serve(binary, model, on, threads=0):
    """(process, host:port, the model's id as served)"""
    p = subprocess.Popen([binary, "serve", model, "--port", "0", "--ledger", "off", "--log-level", "warn",
                          "--threads", str(threads), "--speculation", "on" if on else "off"],
                         stderr=subprocess.PIPE, text=True)
    for line in p.stderr:
        if "serves on http://" in line:
            where = line.split("http://")[1].split()[0]
            with urllib.request.urlopen(f"http://{where}/v1/models", timeout=60) as reply:
                return p, where, json.load(reply)["data"][0]["id"]
    sys.exit("the server did not start")


def ask(server, text, prediction, sampled, tokens):
    """(answer, tokens a second, tokens)"""
    _, where, model = server
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": tokens,
            "temperature": 0.8 if sampled else 0, "seed": 7}
    if prediction:
        body["prediction"] = {"type": "content", "content": prediction}
    request = urllib.request.Request(f"http://{where}/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        answer = json.load(reply)
    usage = answer["usage"]
    made = usage["completion_tokens"] - usage["completion_tokens_details"]["rejected_prediction_tokens"]
    return answer["choices"][0]["message"]["content"], made / answer["time_info"]["completion_time"], made


def measure(binary, model, reps, tokens, threads=0):
    """One dict a task: task, tokens, drafted and plain (tokens a second, pair by pair), same."""
    servers = []
    try:
        servers += [serve(binary, model, on, threads) for on in (True, False)]
        for name, (text, prediction) in TASKS.items():
            for given in ([None, prediction] if prediction else [None]):
                sampled = "sampled" in name
                row = {"task": name + (", predicted" if given else ""), "drafted": [], "plain": [], "same": True}
                for server in servers:  # warm
                    ask(server, text, given, sampled, 8)
                for i in range(reps):
                    got = {}
                    for server in servers if i % 2 == 0 else servers[::-1]:
                        got[server is servers[0]] = ask(server, text, given, sampled, tokens)
                    row["drafted"].append(got[True][1])
                    row["plain"].append(got[False][1])
                    row["same"] = row["same"] and got[True][0] == got[False][0]
                    row["tokens"] = got[False][2]
                yield row
    finally:
        for process, _, _ in servers:
            process.terminate()
            process.wait(timeout=60)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gaufre", default="build/release/src/cmd/gaufre")
    p.add_argument("--model", default="smollm2-135m")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--tokens", type=int, default=256)
    a = p.parse_args()
    print(f"{'task':32} {'tokens':>6} {'plain':>8} {'drafted':>8} {'ratio':>6}  range        same")
    for r in measure(a.gaufre, a.model, a.reps, a.tokens):
        ratios = [x / y for x, y in zip(r["drafted"], r["plain"])]
        print(f"{r['task']:32} {r['tokens']:6} {statistics.median(r['plain']):8.1f} "
              f"{statistics.median(r['drafted']):8.1f} {statistics.median(ratios):6.2f}  "
              f"{min(ratios):.2f}-{max(ratios):.2f}    {'yes' if r['same'] else 'NO'}", flush=True)


if __name__ == "__main__":
    main()
