"""Nothing that was written is lost: not by a reload, not by a look at the engine, not by a server that dies."""
import json
import re
import subprocess
import threading

from browsing import Server, answered, ask, find_gaufre, prose, wait_for
from front import delta
from playwright.sync_api import expect

HELLO = "What is the capital of France? Answer in one sentence."


class Halting:
    """An answer that comes up to a point, and goes on when it is told to."""

    def __init__(self, front, text, rest=""):
        self.go = threading.Event()
        self.text, self.rest = text, rest
        front.answer = self

    def __call__(self, handler, _body):
        handler.begin_events()
        handler.event(delta(role="assistant", content=self.text))
        self.go.wait(600)
        handler.event(delta(content=self.rest))
        handler.event(delta(finish="stop", usage=9))
        handler.event("[DONE]")


def wait_until_asked(page, front):
    """Requests pass a gate of the test itself, which is open only while the page is waited for."""
    while not front.asked:
        page.wait_for_timeout(20)


def last(page):
    return page.locator(".message.assistant").last


def test_reload_in_mid_answer(pages, front):
    half = Halting(front, "The first half of")
    page = pages.open(front.url)
    ask(page, "Tell me", wait=False)
    expect(last(page).locator(".prose")).to_have_text("The first half of")
    page.reload()
    expect(last(page).locator(".prose")).to_have_text("The first half of")
    expect(last(page).locator(".error")).to_contain_text("before the answer ended")
    half.go.set()
    front.say(" the answer.")
    last(page).get_by_role("button", name="Continue").click()
    expect(last(page).locator(".prose")).to_have_text("The first half of the answer.")
    answered(page)
    assert front.asked[-1]["messages"][-1] == {"role": "assistant", "content": "The first half of"}
    expect(page.locator(".error")).to_have_count(0)
    page.reload()
    expect(last(page).locator(".prose")).to_have_text("The first half of the answer.")
    expect(page.locator(".error")).to_have_count(0)


def test_crash_in_mid_answer(pages, front):
    """Without a word of goodbye: what came is kept while it comes."""
    half = Halting(front, "Words that came early.")
    page = pages.open(front.url)
    ask(page, "Tell me", wait=False)
    expect(last(page).locator(".prose")).to_have_text("Words that came early.")
    kept = """async () => { const { conversations, messages } = await import('/store.js');
        const [c] = await conversations(); return (await messages(c.id)).map((m) => m.content).join('|'); }"""
    wait_for("kept", lambda: "came early" in page.evaluate(kept))
    address = page.url
    other = page.context.new_page()
    other.goto(address)
    expect(last(other).locator(".prose")).to_have_text("Words that came early.")
    half.go.set()


# A disk that needs a second to say that something is kept.
SLOW_DISK = """{ const own = Object.getOwnPropertyDescriptor(IDBTransaction.prototype, 'oncomplete');
    Object.defineProperty(IDBTransaction.prototype, 'oncomplete', { ...own,
        set(f) { own.set.call(this, (e) => setTimeout(() => { window.is_kept = true; f(e); }, 1000)); } }); }"""


def test_a_question_is_kept_before_it_is_asked(pages, front):
    wait = Halting(front, "")
    page = pages.open(front.url)
    page.evaluate(SLOW_DISK)
    ask(page, "Tell me", wait=False)
    wait_until_asked(page, front)
    assert "#/chat/" in page.evaluate("location.href") and page.evaluate("window.is_kept")
    wait.go.set()


def test_reload_at_once(pages, front):
    page = pages.open(front.url)
    ask(page, "Tell me", wait=False)
    assert "#/chat/" in page.evaluate("location.href")
    page.reload()
    expect(page.locator(".message.user")).to_contain_text("Tell me")


def test_reload_before_the_first_word(pages, front):
    wait = Halting(front, "")
    page = pages.open(front.url)
    ask(page, "Tell me", wait=False)
    wait_until_asked(page, front)
    page.reload()
    expect(last(page).locator(".error")).to_contain_text("before the answer ended")
    wait.go.set()
    front.say("Here.")
    last(page).get_by_role("button", name="Try again").click()
    expect(last(page).locator(".prose")).to_have_text("Here.")


# A connection that breaks when the test says so, as it does to a page that is being left.
BREAKABLE = """{ const own = window.fetch; window.fetch = (path, o) => !String(path).includes('completions') ? own(path, o)
    : new Promise((_, no) => { window.break_off = () => no(new TypeError('network error')); }); }"""

AWAY = re.compile("The server (does not answer|was away)")


def test_reload_whose_connections_end_first(pages, front):
    """The page is told that it goes when its request has failed already and the failure has been shown."""
    page = pages.open(front.url, script=BREAKABLE)
    ask(page, "Tell me", wait=False)
    wait_for("asked", lambda: page.evaluate("Boolean(window.break_off)"))
    page.evaluate("""async () => {
        break_off();
        while (!document.querySelector('.message.assistant .error')) await new Promise(requestAnimationFrame);
        location.reload(); }""")
    expect(last(page).locator(".error")).to_contain_text("before the answer ended")


def test_a_lost_connection_is_kept_by_a_page_that_stays(pages, front):
    page = pages.open(front.url, script=BREAKABLE)
    ask(page, "Tell me", wait=False)
    wait_for("asked", lambda: page.evaluate("Boolean(window.break_off)"))
    page.evaluate("break_off()")
    expect(last(page).locator(".error")).to_contain_text(AWAY)
    live = """async () => { const { conversations, messages } = await import('/store.js');
        const [c] = await conversations(); return (await messages(c.id)).map((m) => m.live || false); }"""
    wait_for("kept as ended", lambda: page.evaluate(live) == [False, False])
    page.reload()
    expect(last(page).locator(".error")).to_contain_text(AWAY)


def test_reload_while_a_text_is_continued(pages, front):
    go = threading.Event()

    def answer(handler):
        handler.begin_events()
        handler.event({"object": "text_completion", "choices": [{"index": 0, "text": " upon a time", "finish_reason": None}]})
        go.wait(600)

    front.get["/v1/completions"] = answer
    page = pages.open(front.url)
    page.click("#new-text")
    page.fill(".sheet", "Once")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".sheet")).to_have_value("Once upon a time")
    page.reload()
    expect(page.locator(".sheet")).to_have_value("Once upon a time")
    go.set()


def test_leaving_a_text_that_is_continued(pages, front):
    """The text is kept, and nothing else is made."""
    go = threading.Event()

    def answer(handler):
        handler.begin_events()
        handler.event({"object": "text_completion", "choices": [{"index": 0, "text": " upon a time", "finish_reason": None}]})
        go.wait(600)

    front.get["/v1/completions"] = answer
    page = pages.open(front.url)
    page.click("#new-text")
    page.fill(".sheet", "Once")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".sheet")).to_have_value("Once upon a time")
    page.click("#new-chat")
    expect(page.locator("#prompt")).to_be_visible()
    expect(page.locator(".conv")).to_have_count(1)
    page.click(".conv a")
    expect(page.locator(".sheet")).to_have_value("Once upon a time")
    expect(page.locator(".conv")).to_have_count(1)
    go.set()


def test_unsent(pages, site):
    page = pages.open(site.url)
    page.fill("#prompt", "not sent yet")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("not sent yet")
    ask(page, HELLO)
    expect(page.locator("#prompt")).to_have_value("")
    page.fill("#prompt", "and in the second")
    page.set_input_files("#composer input[type=file]", {"name": "notes.md", "mimeType": "text/markdown", "buffer": b"# Title\n"})
    page.click("#new-chat")
    expect(page.locator("#prompt")).to_have_value("")
    expect(page.locator(".chip")).to_have_count(0)
    page.fill("#prompt", "a new one")
    page.click(".conv a")
    expect(page.locator("#prompt")).to_have_value("and in the second")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("and in the second")
    expect(page.locator(".chip")).to_contain_text("notes.md")
    page.click("#new-chat")
    expect(page.locator("#prompt")).to_have_value("a new one")
    page.click("#settings-toggle") if page.locator("#settings").is_hidden() else None
    page.fill("#set-system", "Be brief.")
    page.reload()
    page.click("#settings-toggle")
    expect(page.locator("#set-system")).to_have_value("Be brief.")
    expect(page.locator("#prompt")).to_have_value("a new one")
    other = page.context.new_page()
    other.goto(site.url)
    expect(other.locator("#prompt")).to_have_value("")  # of another tab


def test_engine_and_back(pages, front):
    half = Halting(front, "Running", " and ended.")
    page = pages.open(front.url)
    ask(page, "Go", wait=False)
    expect(last(page).locator(".prose")).to_have_text("Running")
    address = page.url
    page.click("#nav-engine")
    expect(page.locator(".eg")).to_be_visible()
    page.keyboard.press("r")  # single keys do nothing to what is not seen
    page.keyboard.press("Escape")
    page.click("#nav-chat")
    expect(last(page).locator(".prose")).to_have_text("Running")
    assert page.url == address
    page.click("#nav-engine")
    page.keyboard.press("1")
    half.go.set()
    expect(last(page).locator(".prose")).to_have_text("Running and ended.")
    page.click("#nav-engine")
    page.reload()
    page.click("#nav-chat")
    expect(last(page).locator(".prose")).to_have_text("Running and ended.")
    expect(page.locator(".branch")).to_have_count(0)
    page.click("#new-chat")
    page.click("#nav-engine")
    page.click("#nav-chat")
    expect(page.locator(".message")).to_have_count(0)


def keyed_server(tmp_path):
    keys = tmp_path / "keys"
    folder = tmp_path / "server"
    folder.mkdir()
    made = subprocess.run([find_gaufre(), "key", "new", str(keys), "me"], capture_output=True, text=True, check=True)
    return Server(str(folder), "--keys", str(keys)), next(w for w in made.stdout.split() if len(w) > 20)


def test_a_late_key(pages, tmp_path):
    """No key at first; the message that asks for it is sent with it."""
    s, secret = keyed_server(tmp_path)
    pages.after.append(s.stop)
    page = pages.open(s.url)
    page.keyboard.press("Escape")
    expect(page.locator(".toast")).to_have_count(1)
    page.fill("#prompt", HELLO)
    page.press("#prompt", "Enter")
    page.fill("#api-key", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#api-key:focus")
    expect(page.locator("#api-key")).to_have_value("")
    page.fill("#api-key", secret)
    page.keyboard.press("Enter")
    answered(page)
    assert "Paris" in prose(page)
    expect(page.locator("#model-dot")).to_have_attribute("data-state", "loaded")
    expect(page.locator(".toast")).to_have_count(0)
    expect(page.locator(".message")).to_have_count(2)


def test_a_server_that_dies_in_mid_answer(pages, tmp_path):
    folder = tmp_path / "dies"
    folder.mkdir()
    s = Server(str(folder))
    page = pages.open(s.url, settings={"temperature": "0"})
    page.route("**/v1/chat/completions", lambda r: r.continue_(post_data=json.dumps({**r.request.post_data_json, "min_tokens": -1})))
    ask(page, "Tell me a long story.", wait=False)
    page.wait_for_selector(".message.assistant .prose p")
    s.process.kill()
    s.stop()
    expect(page.locator("#banner")).to_contain_text("does not answer")
    expect(last(page).locator(".error")).to_contain_text("lost before the answer ended")
    expect(last(page).get_by_role("button", name="Continue")).to_be_visible()


def test_rename(pages, site):
    page = pages.open(site.url)
    ask(page, HELLO)

    def begin():
        page.locator(".conv").hover()
        page.get_by_label("Rename").click()

    begin()
    page.fill(".rename", "Cities")
    page.keyboard.press("Enter")
    expect(page.locator(".conv a")).to_have_text("Cities")
    expect(page.locator(".conv a")).to_be_focused()
    begin()
    page.fill(".rename", "Never mind")
    page.keyboard.press("Escape")
    expect(page.locator(".conv a")).to_have_text("Cities")
    begin()
    page.fill(".rename", "Towns")
    page.click("#prompt")
    expect(page.locator(".conv a")).to_have_text("Towns")
    expect(page.locator("#prompt")).to_be_focused()
    begin()
    page.fill(".rename", "Halves")
    # and a list that is drawn anew meanwhile leaves the field alone
    page.locator("#search").evaluate("e => { e.dispatchEvent(new Event('input')); }")
    page.wait_for_timeout(400)
    page.keyboard.press("Enter")
    expect(page.locator(".conv a")).to_have_text("Halves")


CODE = "def f():\n    if x:\n\treturn  1\n"
NO_CLIPBOARD = "window.real = navigator.clipboard; Object.defineProperty(navigator, 'clipboard', {value: undefined});"


def test_copying_without_a_clipboard(pages, front):
    """As on plain http from another machine: every blank and line is kept."""
    front.say(f"Look:\n\n```python\n{CODE}```\n")
    page = pages.open(front.url, script=NO_CLIPBOARD, permissions=["clipboard-read", "clipboard-write"])
    ask(page, "Hi")
    page.locator(".code").get_by_label("Copy code").click()
    assert page.evaluate("real.readText()") == CODE.rstrip("\n")
    expect(page.locator(".code").get_by_label("Copy code")).to_be_focused()
    page.locator(".message.assistant").get_by_label("Copy the text").click()
    assert page.evaluate("real.readText()") == f"Look:\n\n```python\n{CODE}```\n"
    page.locator(".message.assistant").get_by_label("Request and answer, raw").click()
    page.get_by_label("Copy Request").click()  # in a dialog, which keeps all else from being selected
    assert page.evaluate("real.readText()").startswith("POST /v1/chat/completions\n\n{\n  \"model\"")
