#!/usr/bin/env python3
"""How fast the page is: bench/page_speed.py [--json]

Size on the wire and first paint of the first view (empty cache, median of 9 loads), frames and long tasks
while an answer comes at 300 tokens a second for 15 seconds, and a history of 10,000 messages opened and
scrolled through. Needs what the browser tests need (tools/test.sh full makes build/venv) and Chromium;
the server is the built one with the default model, the fast answer comes from tests/browser/front.py.
"""
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/browser"))
os.environ.setdefault("GAUFRE_TEST_MODELS", str(pathlib.Path(
    os.environ.get("GAUFRE_HOME") or pathlib.Path.home() / ".local/share/gaufre") / "models"))

from browsing import CHROMIUM, Pages, Server  # noqa: E402
from front import Front, delta  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

RATE, SECONDS = 300, 15

# Frames as the page sees them, and every task above 50 ms.
WATCH = """
window.frames_at = []; window.long_tasks = [];
new PerformanceObserver((l) => l.getEntries().forEach((e) => window.long_tasks.push(e.duration))).observe({type: 'longtask'});
(function tick(t) { window.frames_at.push(t); requestAnimationFrame(tick); })(performance.now());
"""
RESULT = """() => {
    const gaps = window.frames_at.slice(1).map((t, i) => t - window.frames_at[i]).sort((a, b) => a - b);
    const at = (q) => Math.round(gaps[Math.floor(q * (gaps.length - 1))] * 10) / 10;
    return {frames: gaps.length, gap_ms_p50: at(.5), gap_ms_p99: at(.99), gap_ms_max: at(1),
        dropped: gaps.filter((g) => g > 25).length, long_tasks: window.long_tasks.length,
        longest_task_ms: Math.round(Math.max(0, ...window.long_tasks)),
        elements: document.querySelectorAll('*').length};
}"""


def prose():
    """Text like a model's: paragraphs, lists, code, a table; a token is about four characters."""
    part = ("## A heading\n\nSome text with **bold**, `code` and a [link](https://example.com), " + "words " * 60 + "\n\n"
            + "".join(f"{i}. an item of a list that goes on for a while\n" for i in range(1, 13)) + "\n"
            + "```python\n" + "".join(f"def f{i}(x):\n    return x + {i}  # a comment\n" for i in range(20)) + "```\n\n"
            + "| a | b |\n|---|---|\n" + "".join(f"| row {i} | {i * i} |\n" for i in range(10)) + "\n")
    return part * (1 + RATE * SECONDS * 4 // len(part))


def stream(handler, _body):
    text = prose()
    handler.begin_events()
    began = time.monotonic()
    for i in range(RATE * SECONDS):
        handler.event(delta(content=text[4 * i:4 * i + 4]))
        ahead = began + (i + 1) / RATE - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    handler.event(delta(finish="stop", usage=RATE * SECONDS))
    handler.event("[DONE]")


def thread_ms(cdp):
    """CPU time of the page's main thread so far: what a busy machine does not change."""
    return 1000 * next(m["value"] for m in cdp.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration")


def watch_thread(page):
    cdp = page.context.new_cdp_session(page)
    cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
    return cdp


PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def first_view(browser, url, front):
    """Beside it, on the same machine at the same time: a page of one word, the least that is possible."""
    def one_word(handler):
        handler.send_response(200)
        handler.send_header("content-type", "text/html")
        handler.send_header("content-length", "8")
        handler.end_headers()
        handler.wfile.write(b"<p>word\n")
    front.get["/floor"] = one_word
    paints, floors, cpu, sizes, requests = [], [], [], [], 0
    for _ in range(9):
        context = browser.new_context()
        page = context.new_page()
        cdp = context.new_cdp_session(page)
        cdp.send("Network.enable")
        cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
        seen = []
        cdp.on("Network.loadingFinished", lambda e: seen.append(e["encodedDataLength"]))
        page.goto(url, wait_until="networkidle")
        paints.append(page.evaluate(PAINT))
        cpu.append(thread_ms(cdp))
        sizes.append(sum(seen))
        requests = len(seen)
        context.close()
        context = browser.new_context()
        page = context.new_page()
        page.goto(front.url + "/floor", wait_until="networkidle")
        floors.append(page.evaluate(PAINT))
        context.close()
    return {"empty_page_first_paint_ms": round(statistics.median(floors), 1), "wire_bytes": max(sizes), "requests": requests, "first_paint_ms": round(statistics.median(paints), 1),
            "first_paint_ms_worst": round(max(paints), 1),
            "main_thread_cpu_ms": round(statistics.median(cpu), 1)}


def fast_stream(pages, front):
    front.answer = stream
    page = pages.open(front.url)
    page.fill("#prompt", "Go")
    page.press("#prompt", "Enter")
    page.wait_for_selector(".message.assistant .prose p")
    page.evaluate(WATCH)
    cdp = watch_thread(page)
    before, began = thread_ms(cdp), time.monotonic()
    page.wait_for_selector(".message.assistant:last-child[aria-busy=false]", timeout=1000 * (SECONDS + 30))
    busy = (thread_ms(cdp) - before) / (10 * (time.monotonic() - began))
    return {**page.evaluate(RESULT), "main_thread_cpu_percent": round(busy, 1)}


def long_history(pages, url, n=10000):
    messages = [{"id": f"m{i}", "parent": f"m{i - 1}" if i else "", "role": "assistant" if i % 2 else "user", "created": i,
                 "content": f"Message {i}. **Bold** text, " + "words " * (i * 7 % 90) + "\n\n- one\n- two"} for i in range(n)]
    file = {"object": "gaufre.conversations", "version": 1,
            "conversations": [{"id": "c", "title": "long", "updated": 1, "messages": messages}]}
    page = pages.open(url)
    page.set_input_files("#import-file", {"name": "x.json", "mimeType": "application/json", "buffer": json.dumps(file).encode()})
    page.wait_for_selector(".conv a", timeout=60000)
    opened = page.evaluate("""() => new Promise((done) => {
        const began = performance.now();
        document.querySelector('.conv a').click();
        const look = () => document.querySelector('[aria-label^="Answer"] .prose p') ? done(performance.now() - began) : requestAnimationFrame(look);
        look();
    })""")
    page.wait_for_timeout(500)
    page.evaluate(WATCH)
    page.evaluate("""() => new Promise((done) => {
        const s = document.getElementById('scroller');
        let n = 0;
        (function step() { s.scrollTop -= 120; if (++n < 300) requestAnimationFrame(step); else done(); })();
    })""")
    out = page.evaluate(RESULT)
    page.evaluate("document.getElementById('scroller').scrollTop = 300000")
    page.wait_for_timeout(300)
    out["messages_with_dom"] = page.locator(".message").count()
    return {"open_ms": round(opened), **out}


def main():
    if not CHROMIUM:
        sys.exit("page_speed: Chromium is not installed (Debian's package: chromium)")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        server = Server(folder)
        front = Front(server.url)
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.getuid() == 0 else [])
        pages = Pages(browser)
        try:
            result = {"first_view": first_view(browser, server.url, front), "stream_300_tokens_per_s": fast_stream(pages, front),
                      "history_10000": long_history(pages, server.url)}
        finally:
            browser.close()
            front.close()
            server.stop()
    print(json.dumps(result, indent=None if "--json" in sys.argv else 2))


if __name__ == "__main__":
    main()
