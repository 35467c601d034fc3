"""Long answers, long histories and the size of the page: what must stay small stays small. Times are
measured by bench/page_speed.py, not here."""
import json

from browsing import ask, prose
from playwright.sync_api import expect

N = 10000

# Until the list has drawn all that it wants to have: ten frames with the same messages at the same place.
SETTLED = """async () => {
    const seen = () => JSON.stringify([...document.querySelectorAll('.message')].map((m) => [m.dataset.id, m.getBoundingClientRect().top]));
    for (let same = 0, last = ''; same < 10;) {
        await new Promise((r) => requestAnimationFrame(r));
        same = seen() === last ? same + 1 : 0;
        last = seen();
    }
}"""


def test_frozen_blocks_are_not_drawn_again(pages, front):
    """While 400 blocks come in, each is made once: what stands is never touched."""
    front.say("".join(f"Paragraph {i} with **bold** and `code`.\n\n" for i in range(400))
              + "```python\n" + "x = 1\n" * 300 + "```\n\nThe end.", piece=30)
    page = pages.open(front.url)
    page.evaluate("""() => { window.removed = 0; window.added = 0; new MutationObserver((all) => { for (const m of all) {
        if (!m.target.closest?.('.prose')) continue;
        window.added += m.addedNodes.length; window.removed += m.removedNodes.length; } })
        .observe(document.getElementById('list'), {childList: true, subtree: true}); }""")
    ask(page, "Go")
    expect(page.locator(".prose > p")).to_have_count(401)
    assert prose(page).endswith("The end.")
    assert page.locator(".prose .code code").inner_text().count("x = 1") == 300
    frames = page.evaluate("window.removed")  # the open block, at most once per frame
    assert frames < 1200, frames


def test_whole_text_equals_streamed_text(pages, front):
    """Drawn piece by piece, the DOM ends as it would drawn at once."""
    text = ("# T\n\n1. a\n\n   ```js\n   x\n   ```\n2. b\n   - c\n\n     d\n\npara\nwith break\n\n| a | b |\n|--|--|\n| 1 | 2 |\n\n"
            "> q\n> r\n\nSetext\n---\n\n~~~\n```\n~~~\n\n\ttabbed code\n\n- x\n\n\n- y\n\n***\n\n[l][1] text\n\n[1]: https://e.example\n\n````md\n```\nin\n```\n````\nend")
    page = pages.open(front.url)
    same = page.evaluate("""async (text) => {
        const { Markdown, render } = await import('/markdown.js');
        const whole = document.createElement('div');
        render(whole, text);
        const out = [];
        for (const step of [1, 2, 3, 7, 31]) {
            const host = document.createElement('div');
            const m = new Markdown(host);
            for (let i = 0; i < text.length; i += step) { m.set(text.slice(0, i)); m.draw(); }
            m.set(text);
            m.finish();
            await new Promise((r) => setTimeout(r, 50));
            out.push(host.textContent === whole.textContent && host.querySelectorAll('*').length === whole.querySelectorAll('*').length);
        }
        return [out, whole.querySelectorAll('li').length, whole.querySelectorAll('.code').length, whole.querySelector('a')?.href];
    }""", text)
    assert same == [[True] * 5, 5, 4, "https://e.example/"], same


def test_ten_thousand_messages(pages, site):
    messages = [{"id": f"m{i}", "parent": f"m{i - 1}" if i else "", "role": "assistant" if i % 2 else "user", "created": i,
                 "content": f"Message {i}. " + "words " * (i * 7 % 90)} for i in range(N)]
    file = {"object": "gaufre.conversations", "version": 1, "conversations": [
        {"id": "c", "title": "long", "updated": 1, "messages": messages}]}
    page = pages.open(site.url)
    page.set_input_files("#import-file", {"name": "x.json", "mimeType": "application/json", "buffer": json.dumps(file).encode()})
    page.click(".conv a")
    expect(page.locator(".message").last).to_contain_text(f"Message {N - 1}.")
    few = page.locator(".message").count()
    assert 5 < few < 150
    page.evaluate("document.getElementById('scroller').scrollTop = 0")
    expect(page.locator(".message").first).to_contain_text("Message 0.")
    assert page.locator(".message").count() < 150
    # in the midst: what is read stays where it is while heights become known
    page.evaluate("document.getElementById('scroller').scrollTop = 400000")
    page.evaluate(SETTLED)
    top = "[...document.querySelectorAll('.message')].find((m) => m.getBoundingClientRect().bottom > 60).dataset.id"
    id_ = page.evaluate(top)
    where = f"document.querySelector('[data-id=\"{id_}\"]').getBoundingClientRect().top"
    before = page.evaluate(where)
    page.evaluate("document.getElementById('scroller').scrollTop -= 10")
    page.evaluate(SETTLED)
    assert abs(page.evaluate(where) - before - 10) < 3
    page.locator("#prompt").blur()
    page.keyboard.press("k")  # keys lead back to where there is DOM
    expect(page.locator(".message:focus")).to_have_count(1)
    page.click("#to-end") if page.locator("#to-end").is_visible() else None
    expect(page.locator(".message").last).to_contain_text(f"Message {N - 1}.")


def test_first_view_is_small(pages, site):
    context = pages.browser.new_context()
    pages.contexts.append(context)
    page = context.new_page()
    cdp = context.new_cdp_session(page)
    cdp.send("Network.enable")
    sizes, asked = [], []
    cdp.on("Network.loadingFinished", lambda e: sizes.append(e["encodedDataLength"]))
    page.on("request", lambda r: asked.append(r.url))
    page.goto(site.url, wait_until="networkidle")
    assert sum(sizes) < 120000, sum(sizes)
    assert not any("highlight" in u for u in asked)
