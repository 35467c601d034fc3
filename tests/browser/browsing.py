"""Fixtures of the browser tests: Chromium driven by Playwright, a real server, and a page that fails the
test when anything leaves the host, breaks the content policy or throws."""
import json
import os
import pathlib
import shutil
import sys
import threading

from playwright.sync_api import expect, sync_playwright
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from finding import find_gaufre  # noqa: E402,F401
from front import Front  # noqa: E402
from serving import Server, wait_for  # noqa: E402,F401

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
SIZES = {"phone": (390, 844), "tablet": (1024, 768), "wide": (1600, 1000)}

# How long a test waits for what should come at once. Nothing is measured: it only ends a test that has
# failed, on any machine and beside any load.
HANG_MS = 60000
expect.set_options(timeout=HANG_MS)

# Greedy and short, so that answers repeat and tests are quick.
SETTINGS = {"temperature": "0", "max_tokens": "48"}

# Texts as other machines and other eyes have them: the page may look different, never broken. Every
# machine has a monospaced font, and it is wider than what the page asks for; spaced out, wider than any.
TEXTS = {"usual": "", "wide": "* { font-family: monospace !important; letter-spacing: .05em !important }",
         "large": "html { font-size: 130% !important }"}

READY = "#model-dot[data-state=loaded], dialog[open], #banner:not([hidden])"  # the page is to be used

WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (e) =>
    window.violations.push(`${e.effectiveDirective}: ${e.blockedURI} ${e.sample}`));
"""


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.getuid() == 0 else [])
        yield b
        b.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A server with the default model, shared by the tests that leave it as it is."""
    s = Server(str(tmp_path_factory.mktemp("site")), "--drain-timeout", "20s")
    yield s
    # Longer than the drain: what a test that failed left running may have to be cut.
    assert s.stop(seconds=180) == 0, s.read_log()[-4000:]


@pytest.fixture
def front(site, pages):
    """What answers in place of the server where a test wants it (front.py). It outlives the pages, which
    would say that it is gone."""
    f = Front(site.url)
    pages.after.append(f.close)
    return f


class Pages:
    """Opens pages and remembers what they did wrong."""

    def __init__(self, browser):
        self.browser = browser
        self.contexts = []
        self.pages = []
        self.wrong = []
        self.after = []  # called when all pages are closed
        self.closing = threading.Event()  # what answers for longer than a test ends with it

    def open(self, url, size="wide", theme="light", settings=SETTINGS, path="/", script="", text="usual", ready=READY, **more):
        width, height = SIZES[size]
        if TEXTS[text]:
            script += f"{{const s = new CSSStyleSheet(); s.replaceSync('{TEXTS[text]}'); document.adoptedStyleSheets = [s];}}"
        c = self.browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme,
                                     has_touch=size == "phone", is_mobile=size == "phone",
                                     accept_downloads=True, **more)
        self.contexts.append(c)
        c.set_default_timeout(HANG_MS)
        c.add_init_script(WATCH + f"localStorage.setItem('gaufre.settings', {json.dumps(json.dumps(settings))});" + script)

        def gate(route):
            asked = route.request.url
            if asked.startswith((url + "/", "data:", "blob:")):
                route.continue_()
            else:
                self.wrong.append(f"a request left the host: {asked}")
                route.abort()

        c.route("**/*", gate)
        page = c.new_page()
        page.on("pageerror", lambda e: self.wrong.append(f"uncaught: {e}"))
        page.on("console", self.console)
        page.on("popup", lambda p: self.wrong.append(f"a window was opened: {p.url}"))
        page.on("dialog", lambda d: (self.wrong.append(f"a dialog: {d.message}"), d.dismiss()))
        self.pages.append(page)
        page.goto(url + path)
        page.wait_for_selector(ready, state="attached")
        return page

    def console(self, message):
        text = message.text
        if "Content Security Policy" in text or "TrustedHTML" in text or "TrustedScript" in text:
            self.wrong.append(f"console: {text}")
        elif message.type == "error" and "Failed to load resource" not in text:
            self.wrong.append(f"console: {text}")

    def check(self):
        for page in self.pages:
            if not page.is_closed():
                self.wrong += page.evaluate("window.violations || []")
        assert not self.wrong, self.wrong

    def close(self):
        self.closing.set()
        for c in self.contexts:
            c.close()
        for end in self.after:
            end()


@pytest.fixture
def pages(browser):
    p = Pages(browser)
    yield p
    try:
        p.check()
    finally:
        p.close()


def ask(page, text, wait=True):
    """Send a message as a person does; returns the answer's element when it has ended."""
    page.fill("#prompt", text)
    if page.evaluate("matchMedia('(pointer: coarse)').matches"):
        page.tap(".send")  # on a phone Enter breaks the line
    else:
        page.press("#prompt", "Enter")
    if wait:
        return answered(page)
    return None


def answered(page):
    page.wait_for_selector(".message.assistant:last-child[aria-busy=false]", timeout=HANG_MS)
    page.wait_for_selector(".send:not(.stop)", state="attached")
    return page.locator(".message.assistant").last


def prose(page):
    return page.locator(".message.assistant").last.locator(".prose").inner_text()
