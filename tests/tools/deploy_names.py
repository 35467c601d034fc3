#!/usr/bin/env python3
"""What is in deploy/ fits the program and the documents. Prints TAP.

deploy_names.py ROOT PROBE_TABLES    PROBE_TABLES prints the program's table of metrics

Each metric that a board or a rule asks for is one of the program's, each alert has a runbook in docs/operations.md and each
runbook an alert, and where promtool is there, the rules pass its checks and their own tests.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys

NAME = re.compile(r"(?<![\w:])(?:vllm:|gaufre_)\w+")


def metrics_of(probe):
    """name -> kind, of the program."""
    text = subprocess.run([probe], check=True, capture_output=True, text=True).stdout
    return dict(re.findall(r"^\| `((?:vllm:|gaufre_)\w+)` \| (\w+) \|", text, re.M))


def board_queries(board):
    """Each query of a Grafana board, with where it stands; those of its variables too."""
    for p in board["panels"]:
        for t in p.get("targets", []):
            yield f"{board['title']}: {p['title']}", t["expr"]
    for v in board["templating"]["list"]:
        if v["type"] == "query":
            yield f"{board['title']}: variable {v['name']}", v["query"]["query"]


def unknown(expr, metrics):
    """Names in a query that are no series of the program."""
    bad = []
    for name in NAME.findall(expr):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        if not (name in metrics and metrics[name] != "histogram") and metrics.get(base) != "histogram":
            bad.append(name)
    return bad


def check_names(root, metrics):
    bad, n = [], 0
    sources = [(f"{f.name}: {where}", expr) for f in sorted((root / "deploy/grafana").glob("*.json"))
               for where, expr in board_queries(json.loads(f.read_text()))]
    for f in sorted((root / "deploy/prometheus").glob("rules*.yml")):
        for i, line in enumerate(f.read_text().splitlines(), 1):
            sources.append((f"{f.name}:{i}", re.sub(r"summary:.*|runbook_url:.*|- name:.*", "", line)))
    for where, expr in sources:
        n += len(NAME.findall(expr))
        bad += [f"{where}: {name} is no metric of the program" for name in unknown(expr, metrics)]
    if n < 50:
        bad.append(f"only {n} names of metrics were found: this test does not see them")
    return bad


def check_variables(root):
    """Grafana's schema wants both of what a variable is at, or neither."""
    bad = []
    for f in sorted((root / "deploy/grafana").glob("*.json")):
        for v in json.loads(f.read_text())["templating"]["list"]:
            if not {"text", "value"} <= v.get("current", {"text": "", "value": ""}).keys():
                bad.append(f"{f.name}: {v['name']}: current has no text or no value")
    return bad


def check_runbooks(root):
    rules = (root / "deploy/prometheus/rules.yml").read_text()
    tests = (root / "deploy/prometheus/rules_test.yml").read_text()
    page = (root / "docs/operations.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    books = re.findall(r"^### (Gaufre\w+)$", page, re.M)
    bad = [f"{a}: no runbook_url docs/operations.md#{a.lower()}" for a in alerts
           if f"runbook_url: docs/operations.md#{a.lower()}\n" not in rules]
    bad += [f"{a}: no section ### {a} in docs/operations.md" for a in alerts if a not in books]
    bad += [f"docs/operations.md: {b} is no alert" for b in books if b not in alerts]
    for a in alerts:
        if not re.search(rf"alertname: {a}, exp_alerts: \[\]", tests):
            bad.append(f"{a}: no test in which it does not fire")
        if not re.search(rf"alertname: {a}\n\s+exp_alerts:\n", tests):
            bad.append(f"{a}: no test in which it fires")
    return bad + ([] if alerts else ["no alerts were found"])


def check_promtool(root, promtool):
    bad = []
    for args in (["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        r = subprocess.run([promtool, *args], cwd=root / "deploy/prometheus", capture_output=True, text=True)
        if r.returncode:
            bad += [f"promtool {' '.join(args)}: {line}" for line in (r.stdout + r.stderr).splitlines()]
    return bad


def main():
    root, probe = pathlib.Path(sys.argv[1]), sys.argv[2]
    promtool = shutil.which("promtool")
    results = [("metrics in deploy/ are the program's", check_names(root, metrics_of(probe))),
               ("each alert has a runbook and tests", check_runbooks(root)),
               ("variables of boards are whole", check_variables(root))]
    if promtool:
        results.append(("promtool is content with the rules", check_promtool(root, promtool)))
    print("1..4")
    for i, (what, bad) in enumerate(results, 1):
        for line in bad:
            print(f"# {line}")
        print(f"{'not ok' if bad else 'ok'} {i} - {what}")
    if not promtool:
        print("ok 4 - promtool is content with the rules # SKIP promtool is not installed (Debian: prometheus)")
    return any(bad for _, bad in results)


if __name__ == "__main__":
    sys.exit(main())
