#!/usr/bin/env python3
"""Take the pictures of docs/: make screenshots.

Starts the built server with the default model, lets real conversations happen in Chromium, and writes
docs/page-*.png and, of a front door with suppliers that are played and an engine of its own, docs/console-*.png; and docs/demo.png of a simulated year. Needs the test environment (make test makes build/venv) and Chromium; fonts-inter and
fonts-jetbrains-mono make the pictures look as on a usual desktop.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/browser"))
os.environ.setdefault("GAUFRE_TEST_MODELS", str(pathlib.Path(
    os.environ.get("GAUFRE_HOME") or pathlib.Path.home() / ".local/share/gaufre") / "models"))

from browsing import CHROMIUM, SIZES, Pages, Server, answered, ask  # noqa: E402
from finding import find_gaufre  # noqa: E402
from mock_upstream import words  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from test_accounts import Cloud  # noqa: E402
from test_admin import Admin  # noqa: E402
from serving import MODEL, model_path  # noqa: E402

GREEDY = {"temperature": "0", "max_tokens": "260"}
ASKED = ["Write a Python function that reverses a linked list.", "Name three French cheeses, as a list."]


def shot(page, out, name):
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    page.screenshot(path=str(out / f"page-{name}.png"))
    print(f"{out / f'page-{name}.png'}", file=sys.stderr)


def talk(pages, url, out, name, size, theme):
    page = pages.open(url, size=size, theme=theme, settings=GREEDY)
    ask(page, "What is the capital of France?")
    page.click("#side-toggle") if size == "phone" else None
    page.click("#new-chat")
    for text in ASKED:
        ask(page, text)
    page.evaluate("document.activeElement.blur()")
    shot(page, out, name)
    return page


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"
    if not CHROMIUM:
        sys.exit("screenshots: Chromium is not installed (Debian's package: chromium)")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        server = Server(folder)
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.getuid() == 0 else [])
        pages = Pages(browser)
        try:
            page = talk(pages, server.url, out, "light", "wide", "light")
            talk(pages, server.url, out, "dark", "tablet", "dark")
            talk(pages, server.url, out, "phone", "phone", "light")
            probabilities(pages, server.url, out)
            engine(pages, server.url, out)
            console(pages, out)
            demo(pages, out)
        finally:
            browser.close()
            server.stop()


def probabilities(pages, url, out):
    page = pages.open(url, size="tablet", theme="light", settings={**GREEDY, "max_tokens": "120", "logprobs": True})
    ask(page, "Tell me about waffles.")
    page.click("#settings-toggle") if SIZES["tablet"][0] > 1280 else None
    page.locator(".tok.p4, .tok.p5, .tok.p3").first.focus()
    page.wait_for_timeout(400)
    page.screenshot(path=str(out / "page-probabilities.png"))


def engine(pages, url, out):
    """The engine view while eight conversations run."""
    busy = [pages.open(url, settings={"temperature": "1", "max_tokens": "600"}) for _ in range(8)]
    page = pages.open(url, size="wide", theme="dark", path="/#/engine")
    for p in busy:
        ask(p, "Write a long story about a dragon who runs a bakery.", wait=False)
    page.wait_for_timeout(6000)
    shot(page, out, "engine")


TENANTS = {"acme": {"budget_per_month": "0.02EUR"}, "bakery": {"token_budget_per_day": 20000}, "zoo": {}, "observatory": {"budget_per_day": "1.00EUR"}}


SITES = """sites:
  - {name: fra1, region: eu, pue: 1.25, contracted_mw: 2.5, energised_mw: 1.5, encumbered_mw: 0.2, carbon: 312, carbon_market: 0}
  - {name: osl1, region: no, pue: 1.1, contracted_mw: 1, energised_mw: 1, power_basis: facility, carbon: 28}
  - name: iad1
    region: us
    dedicated_to: [observatory]
    carbon: 371
    contracted_mw: 4
    energised_mw: 2
    lifecycle: [{state: active, planned: 2026-01-10, actual: 2026-01-12}, {state: derated, planned: 2026-11-01, capacity_factor: 0.7}, {state: active, planned: 2026-11-20}]
site: fra1
"""
CONTRACT = "    site: {}\n    input_joules: 0.14\n    output_joules: 1.1\n    energy_boundary: it\n    energy_uncertainty: 200\n"


class House(Cloud):
    """Two suppliers at sites of their own, and an engine here."""

    def serve(self, *flags):
        path = self.folder / "c.yaml"
        text = path.read_text()
        for models, site in (("[m, n]", "osl1"), ("[m]", "iad1")):
            text = text.replace(f"    models: {models}\n", f"    models: {models}\n" + CONTRACT.format(site), 1)
        path.write_text(f"{text}  - {{model: {MODEL}, input: 0.5, output: 0.5}}\n{SITES}")
        return super().serve(model_path(), *flags)


def console(pages, out):
    """The console of a front door while some tenants ask."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = House(pathlib.Path(folder), None)
        admin = Admin(cloud)
        for path in sorted((ROOT / "examples/contracts").glob("*.yaml")):
            admin("POST", "/contracts", {"text": path.read_text(encoding="utf-8"), "reason": "signed"})
        keys = []
        for tenant, limits in TENANTS.items():
            admin("POST", "/tenants", {"id": tenant, **limits})
            keys.append(admin("POST", "/keys", {"id": f"{tenant}-app", "tenant": tenant})[1]["key"])

        def answer(a):
            a.begin()
            for e in words(" ".join(map(str, range(60)))):
                a.event(e)
                time.sleep(0.1)
            a.end()

        def ask(key, model):
            while not done.is_set():
                got = cloud.server.request("POST", "/v1/chat/completions", {"model": model, "stream": True, "max_tokens": 99, "messages": [{"role": "user", "content": "x"}]},
                                           {"Authorization": f"Bearer {key}"})
                done.wait(0 if got[0] == 200 else 2)
        done = threading.Event()
        cloud.far.script = cloud.near.script = answer
        threads = [threading.Thread(target=ask, args=(k, m)) for k in keys for m in ("m", "m", MODEL)]
        for t in threads:
            t.start()
        try:
            shots = [("overview", "wide", "light", "overview"), ("requests", "tablet", "dark", "requests"), ("requests", "phone", "light", "phone"), ("keys", "tablet", "light", "keys"),
                     ("sites", "wide", "dark", "sites"), ("contracts", "wide", "light", "contracts")]
            opened = [pages.open(cloud.server.url, size=size, theme=theme, path=f"/console#/{view}", ready=".co-login") for view, size, theme, _ in shots]
            for page in opened:
                page.fill("#admin-key", admin.key)
                page.press("#admin-key", "Enter")
                page.wait_for_selector("#live-state[data-state=live]")
            opened[0].wait_for_timeout(45000)  # so that there is something in the plots
            for page, (_, _, _, name) in zip(opened, shots):
                page.bring_to_front()
                page.wait_for_timeout(2500)
                page.mouse.move(0, 0)
                page.screenshot(path=str(out / f"console-{name}.png"))
                print(f"{out / f'console-{name}.png'}", file=sys.stderr)
        finally:
            done.set()
            for t in threads:
                t.join()
            cloud.stop()


def demo(pages, out):
    """The sites of `gaufre demo` in the heat wave of its summer."""
    p = subprocess.Popen([find_gaufre(), "demo", "--port", "0", "--model", "none", "--days", "240", "--minutes", "2"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    try:
        said = ""
        while "It begins now" not in said:
            said += p.stderr.readline()
        page = pages.open(re.search(r"http://[^/ ]+", said)[0], size="wide", theme="light", path="/console#/sites", ready=".co-login")
        page.fill("#admin-key", re.search(r"gf-\S+", said)[0])
        page.press("#admin-key", "Enter")
        page.wait_for_selector("#live-state[data-state=live]")
        while "A heat wave in" not in p.stderr.readline():
            pass
        page.wait_for_timeout(8000)
        page.screenshot(path=str(out / "demo.png"))
        print(f"{out / 'demo.png'}", file=sys.stderr)
    finally:
        p.terminate()
        p.wait()


if __name__ == "__main__":
    main()
