"""What a model, a server or a file says is never more than text."""
import json

from browsing import ask
from front import delta
from hostile import VECTORS
from playwright.sync_api import expect

# Looks through a rendered text for anything that was not made by the page itself.
INSPECT = r"""
(root) => {
    const tags = new Set(('div span p br hr strong em del s code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 table thead ' +
        'tbody tr th td a sub sup kbd mark u b i button svg use details summary').split(' '));
    const attributes = /^(class|dir|role|tabindex|title|start|href|target|rel|type|aria-[a-z]+|style)$/;
    const bad = [];
    for (const el of root.querySelectorAll('*')) {
        if (!tags.has(el.localName)) bad.push(`element ${el.localName}`);
        for (const a of el.attributes) {
            if (!attributes.test(a.name)) bad.push(`${el.localName} ${a.name}=${a.value}`);
            if (a.name === 'style' && !/^text-align: (left|right|center);$/.test(a.value)) bad.push(`style ${a.value}`);
        }
        if (el.localName === 'a' && (!/^(https?:|mailto:)$/.test(el.protocol) || el.target !== '_blank' || !el.rel.includes('noopener')))
            bad.push(`link ${el.outerHTML}`);
    }
    if (window.pwned !== undefined) bad.push('pwned');
    return bad;
}
"""


def test_corpus_streamed_and_whole(pages, site):
    assert len(VECTORS) >= 80
    page = pages.open(site.url)
    bad = page.evaluate("""async (vectors) => {
        const { Markdown, render } = await import('/markdown.js');
        const inspect = %s;
        const bad = [];
        for (const v of vectors) {
            for (const way of ['streamed', 'whole']) {
                const host = document.createElement('div');
                document.getElementById('list').append(host);
                if (way === 'whole') {
                    render(host, v);
                } else {
                    const m = new Markdown(host);
                    const step = Math.max(1, Math.floor(v.length / 120));
                    for (let i = 1; i <= v.length; i += step) { m.set(v.slice(0, i)); m.draw(); bad.push(...inspect(host)); }
                    m.set(v);
                    m.finish();
                }
                for (const el of host.querySelectorAll('*')) {
                    el.dispatchEvent(new MouseEvent('mouseover', { bubbles: true }));
                    if (el.localName !== 'a' && el.localName !== 'button') el.dispatchEvent(new MouseEvent('click', { bubbles: true }));
                }
                bad.push(...inspect(host).map((b) => `${way} ${v.slice(0, 60)}: ${b}`));
                host.remove();
            }
        }
        if (document.getElementById('prompt').localName !== 'textarea') bad.push('clobbered');
        return bad;
    }""" % INSPECT, VECTORS)
    assert not bad, bad[:10]
    page.wait_for_timeout(300)  # whatever would still load
    assert page.evaluate("window.pwned") is None


def test_corpus_through_the_chat(pages, front):
    page = pages.open(front.url)
    front.say("\n\n".join(VECTORS), piece=40)
    ask(page, "Be hostile <img src=x onerror=pwned=1>")
    assert page.evaluate(INSPECT, page.locator(".message.assistant").element_handle()) == []
    # text that nothing swallowed is shown as text
    assert "<img src=x onerror=pwned=1>" in page.locator(".message.assistant").inner_text()
    assert "<img" in page.locator("#conversations a").inner_text()
    page.reload()
    page.wait_for_selector(".message.assistant .prose")
    assert page.evaluate("window.pwned") is None


def test_hostile_tokens_thinking_and_errors(pages, front):
    def answer(handler, _body):
        bad = "<img src=x onerror=pwned=1>"
        handler.begin_events()
        event = delta(content=bad)
        event["choices"][0]["logprobs"] = {"content": [{"token": bad, "logprob": -0.1, "bytes": None,
            "top_logprobs": [{"token": "<script>pwned=1</script>", "logprob": -2, "bytes": None}]}]}
        handler.event(delta(reasoning=bad))
        handler.event(event)
        handler.event({"error": {"message": bad, "code": bad}, "status_code": 500})
    front.answer = answer
    page = pages.open(front.url)
    ask(page, "Hi")
    page.locator(".tok").first.hover()
    expect(page.locator(".token-pop")).to_contain_text("<script>")
    page.locator(".think summary").click()
    expect(page.locator(".think")).to_contain_text("<img src=x")
    expect(page.locator(".error")).to_contain_text("<img src=x")
    assert page.evaluate(INSPECT, page.locator(".message.assistant .think").element_handle()) == []
    assert page.evaluate("window.pwned") is None


def test_hostile_import(pages, site):
    bad = "<img src=x onerror=pwned=1>"
    file = {"object": "gaufre.conversations", "version": 1, "conversations": [
        {"id": "main", "title": bad, "kind": bad, "updated": bad, "settings": [bad], "chosen": {"__proto__": "a", "a": "b"},
         "messages": [{"id": "a", "parent": "b", "role": "user", "content": bad}, {"id": "b", "parent": "a", "role": bad, "content": 7},
                      {"id": "c", "parent": "", "role": "assistant", "content": bad, "tokens": [["x", 0, []]], "stats": bad},
                      None, 5, {"id": "__proto__"}]}]}
    page = pages.open(site.url)
    page.set_input_files("#import-file", {"name": "x.json", "mimeType": "application/json", "buffer": json.dumps(file).encode()})
    page.wait_for_selector(".conv a")
    page.click(".conv a")
    page.wait_for_selector(".message")
    assert page.evaluate("window.pwned") is None


def test_policy_of_the_page(pages, site):
    page = pages.open(site.url)
    stopped = page.evaluate("""() => {
        const tries = { html: () => { document.createElement('div').innerHTML = '<b>x</b>'; },
            script: () => { document.createElement('script').src = '/x.js'; },
            policy: () => trustedTypes.createPolicy('other', {}) };
        return Object.entries(tries).filter(([, f]) => { try { f(); return false; } catch { return true; } }).map(([k]) => k);
    }""")
    assert stopped == ["html", "script", "policy"]
    assert len(page.evaluate("window.violations")) == 3
    page.evaluate("window.violations = []")
    pages.wrong.clear()  # those three were the test's own
