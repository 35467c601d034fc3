"""Everything without a pointer; input methods; what is told to those who listen."""
import threading
import time

from browsing import HANG_MS, answered, ask, prose
from playwright.sync_api import expect


def focus_is_seen(page):
    """The focused element has an outline (or is a field whose box shows it)."""
    return page.evaluate("""() => {
        const el = document.activeElement;
        const box = el.closest('.composer') || el;
        const s = getComputedStyle(el), b = getComputedStyle(box);
        return el.matches(':focus-visible') && (s.outlineStyle !== 'none' || b.borderColor !== getComputedStyle(document.body).borderColor);
    }""")


def test_a_conversation_by_keys_alone(pages, site):
    page = pages.open(site.url)
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.type("What is the capital of France? Answer in one sentence.")
    page.keyboard.press("Enter")
    answered(page)
    assert "Paris" in prose(page)
    page.locator("#prompt").blur()
    page.keyboard.press("k")  # to the answer
    page.keyboard.press("k")  # to the question
    expect(page.locator(".message.user")).to_be_focused()
    page.keyboard.press("e")
    page.keyboard.press("Control+A")
    page.keyboard.type("What is the capital of Spain? Answer in one sentence.")
    page.keyboard.press("Control+Enter")
    answered(page)
    assert "Madrid" in prose(page)
    page.locator("#prompt").blur()
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("[")
    expect(page.locator(".message.user .plain")).to_contain_text("France")
    page.keyboard.press("]")
    expect(page.locator(".message.user .plain")).to_contain_text("Spain")
    page.keyboard.press("j")
    page.keyboard.press("r")
    expect(page.locator(".message.assistant .branch .num")).to_have_text("2/2")
    answered(page)
    page.locator("#prompt").blur()
    page.keyboard.press("w")
    expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("Keyboard")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator(".message")).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("Spain")
    expect(page.locator(".conv")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".message.user .plain")).to_contain_text("Spain")
    page.keyboard.press("Control+,")
    expect(page.locator("#set-system")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#settings")).to_be_hidden()
    page.keyboard.press("m")  # the settings button has the focus: single keys work
    expect(page.locator("#model-list [aria-selected=true]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#model-button")).to_be_focused()


def test_every_stop_of_tab_is_seen(pages, site):
    page = pages.open(site.url)
    ask(page, "Say hello.")
    page.focus(".skip")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        what = page.evaluate("document.activeElement === document.body ? null : (document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.textContent)")
        if what is None or what == "Skip to the conversation":
            break
        assert focus_is_seen(page), what
        seen.add(what)
    for name in ("model-button", "settings-toggle", "theme-button", "new-chat", "search", "export-all", "prompt", "Answer again"):
        assert name in seen, (name, seen)


def test_single_keys_can_be_switched_off(pages, site):
    page = pages.open(site.url)
    page.locator("#prompt").blur()
    page.keyboard.press("?")
    page.uncheck("#single-keys")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_timeout(200)
    expect(page.locator("dialog")).to_have_count(0)


def test_enter_while_composing_does_not_send(pages, site):
    page = pages.open(site.url)
    page.focus("#prompt")
    cdp = page.context.new_cdp_session(page)
    cdp.send("Input.imeSetComposition", {"text": "にほん", "selectionStart": 3, "selectionEnd": 3})
    page.evaluate("""document.getElementById('prompt').dispatchEvent(
        new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))""")
    page.evaluate("""document.getElementById('prompt').dispatchEvent(
        new KeyboardEvent('keydown', {key: 'Enter', keyCode: 229, bubbles: true, cancelable: true}))""")
    expect(page.locator(".message")).to_have_count(0)
    cdp.send("Input.insertText", {"text": "日本"})
    assert page.input_value("#prompt") == "日本"
    page.keyboard.press("Enter")
    expect(page.locator(".message.user .plain")).to_have_text("日本")


def test_right_to_left(pages, front):
    front.say("مرحبا بك في هذا الاختبار.\n\nAnd in English.\n\n- واحد\n- اثنان\n\n```\ncode\n```\n")
    page = pages.open(front.url)
    ask(page, "שלום עולם")
    way = "e => getComputedStyle(e).direction"
    assert page.locator(".message.user .plain").evaluate(way) == "rtl"
    paragraphs = page.locator(".prose p")
    assert [paragraphs.nth(i).evaluate(way) for i in range(2)] == ["rtl", "ltr"]
    assert page.locator(".prose li").first.evaluate(way) == "rtl"
    assert page.locator(".prose pre").evaluate(way) == "ltr"


def test_listeners_hear_whole_blocks(pages, front):
    front.say("First paragraph here.\n\nSecond paragraph here.\n\nThird.", piece=3, pause=0.005)
    page = pages.open(front.url)
    page.evaluate("""() => { window.heard = []; new MutationObserver((all) => all.forEach((m) => m.addedNodes.forEach((n) =>
        window.heard.push(n.textContent)))).observe(document.getElementById('live'), {childList: true}); }""")
    ask(page, "Hi")
    heard = page.evaluate("window.heard")
    assert heard[0] == "Answering" and "Answer ended" in heard[-1]
    assert "".join(heard[1:-1]).replace("\n", " ").startswith("First paragraph here.")
    assert len(heard) <= 5, heard  # blocks, not tokens


def test_busy_and_queued(pages, front):
    """429 with Retry-After, the place in the queue, the prompt being read."""
    page = pages.open(front.url)
    front.refuse(429, "The queue is full: 256 requests wait.", "queue_exceeded", retry_after="2")
    answer = ask(page, "Hi")
    expect(answer.locator(".error")).to_contain_text("The queue is full: 256 requests wait.")
    again = answer.get_by_role("button", name="Try again")
    expect(again).to_be_disabled()
    expect(again).to_be_enabled()
    go = threading.Event()
    ids = []

    def slow(handler, _body):
        ids.append(handler.headers["x-client-request-id"])
        go.wait(HANG_MS / 1000)
        front.say("Done.")
        front.answer(handler, None)

    rows = [{"state": "queued", "position": 3}, {"state": "prefill", "prompt_tokens": 5000, "prefilled_tokens": 1200, "cached_tokens": 32}]

    def events(handler):
        handler.begin_events()
        while not go.is_set():
            handler.event({"object": "engine.state", "requests": [{"client_id": ids[-1], **rows[0]}]})
            time.sleep(0.1)

    front.answer = slow
    front.get["/v1/engine/events"] = events
    again.click()
    expect(page.locator(".wait")).to_contain_text("Place 3 in the queue")
    rows.pop(0)
    expect(page.locator(".wait")).to_contain_text("1,232 / 5,000")
    go.set()
    answered(page)
    assert prose(page) == "Done."
    assert page.locator(".wait").count() == 0
