#!/usr/bin/env python3
"""What a large ledger costs those who look: bench/console_paint.py [--rows N] [--loads N] [--json]

Makes a ledger of N rows (10 million: 2.1 GB) in a temporary folder, by SQL and not by requests, and measures on it
and on an empty one: the start of a server, `gaufre usage`, the first paint of /console and /account (empty cache, median
of the loads) and the time until each shows live figures, and the console's view of tenants, which adds the ledger up.
Needs what the browser tests need (tools/test.sh full makes build/venv) and Chromium.
"""
import argparse
import json
import os
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/browser"))

from browsing import CHROMIUM, Pages, find_gaufre  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from test_accounts import Cloud  # noqa: E402
from test_admin import Admin  # noqa: E402

TENANTS = 100
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
LIVE = "#live-state[data-state=live]"
# Rows of a year until now, of a hundred tenants; each row owes what it used.
ROWS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
INSERT INTO usage (request_id, at_us, tenant, key_id, model, supplier, prompt_tokens, cached_tokens, completion_tokens, energy_uj,
    status, charge_nano, cost_nano, currency, seq)
SELECT printf('req_%032x', i), :now_us - (:rows - i) * (31536000000000 / :rows), 't' || i % :tenants, 'k' || i % :tenants, 'm', 'far/m',
    1000, 0, 200, 0, 200, 1200000, 0, 'EUR', i FROM n
"""
SUMS = """
INSERT INTO balance SELECT tenant, count(*), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), sum(energy_uj) FROM usage GROUP BY tenant;
INSERT INTO account SELECT 'tenant:' || tenant, 'tokens', sum(prompt_tokens + completion_tokens) FROM usage GROUP BY tenant;
INSERT INTO account SELECT 'supplier:far/m', 'tokens', -sum(prompt_tokens + completion_tokens) FROM usage;
"""


def fill(path, rows):
    with sqlite3.connect(path, isolation_level=None) as db:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000000", "temp_store = MEMORY"):
            db.execute(f"PRAGMA {pragma}")
        indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = 'usage'").fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        db.execute(ROWS, {"rows": rows, "tenants": TENANTS, "now_us": int(time.time() * 1e6)})
        for _, sql in indexes:
            db.execute(sql)
        db.executescript(SUMS)
        db.execute("PRAGMA journal_mode = WAL")


def timed(what):
    began = time.monotonic()
    result = what()
    return (time.monotonic() - began) * 1000, result


def load(pages, url, path, field, key, live):
    """(first paint, until it is live after the key was given) in ms, and the page."""
    page = pages.open(url, path=path, ready=".co-login")
    paint = page.evaluate(PAINT)
    page.fill(field, key)
    shown, _ = timed(lambda: (page.press(field, "Enter"), page.wait_for_selector(live)))
    return paint, shown, page


class Found(dict):
    """Figures, each told when it is there: the last ones take long."""

    def __setitem__(self, name, value):
        super().__setitem__(name, round(value))
        print(f"console_paint: {name} {value:,.0f}", file=sys.stderr)


def measure(folder, rows, loads, browser):
    cloud = Cloud(folder, None)
    admin = Admin(cloud)
    admin("POST", "/tenants", {"id": "t1", "token_budget_per_month": 10**9, "budget_per_month": "100000.00EUR"})
    key = admin("POST", "/keys", {"id": "k1", "tenant": "t1"})[1]["key"]
    cloud.server.stop()
    if rows:
        fill(folder / "ledger.db", rows)
    found = Found(rows=rows)
    found["ledger_bytes"] = (folder / "ledger.db").stat().st_size
    found["start_ms"], _ = timed(cloud.serve)
    usage = [find_gaufre(), "usage", "--ledger", folder / "ledger.db", "--json"]
    found["usage_ms"], done = timed(lambda: subprocess.run(usage, check=True, capture_output=True, text=True))
    assert sum(json.loads(x)["requests"] for x in done.stdout.splitlines()) == rows
    pages = Pages(browser)
    looks = {"console": ("/console", "#admin-key", admin.key), "account": ("/account", "#api-key", key)}
    for name, (path, field, secret) in looks.items():
        got = []
        for _ in range(loads):
            paint, shown, page = load(pages, cloud.server.url, path, field, secret, LIVE)
            got.append((paint, shown))
            page.close()
        found[f"{name}_paint_ms"], found[f"{name}_live_ms"] = (statistics.median(x) for x in zip(*got))
    found["tenants_sum_ms"], (status, _) = timed(lambda: admin("GET", "/usage?by=tenant"))
    assert status == 200
    assert cloud.server.stop() == 0
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--rows", type=int, default=10_000_000)
    p.add_argument("--loads", type=int, default=9)
    p.add_argument("--json", action="store_true", help="one JSON object a line")
    o = p.parse_args()
    if not CHROMIUM:
        sys.exit("console_paint: Chromium is not installed (Debian's package: chromium)")
    with sync_playwright() as pw:
        browser = pw.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.getuid() == 0 else [])
        for rows in (0, o.rows):
            with tempfile.TemporaryDirectory() as folder:
                r = measure(pathlib.Path(folder), rows, o.loads, browser)
            print(json.dumps(r) if o.json else "  ".join(f"{k} {v:,}" for k, v in r.items()), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
