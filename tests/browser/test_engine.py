"""The engine view: what runs is seen, opened and cancelled there; leaving it costs the server nothing."""
import json
import re
import threading
import urllib.request

from browsing import Server, wait_for
from playwright.sync_api import expect
import pytest

from serving import MODEL
from looks import LOOKS, faults

HASH = "/#/engine"
LIVE = re.compile("^Live")


class Ask(threading.Thread):
    """A long request on a thread of its own."""

    def __init__(self, server, name, words="Count to 1000.", **more):
        super().__init__(daemon=True)
        body = {"model": MODEL, "messages": [{"role": "user", "content": words}], "max_tokens": 4000,
                "min_tokens": -1, "stream": True, **more}
        self.ask = lambda: server.request("POST", "/v1/chat/completions", body,
                                          {"x-client-request-id": name})
        self.start()

    def run(self):
        self.status, _, self.text = self.ask()

    def end(self):
        self.join(60)
        assert not self.is_alive()
        return self.text.decode()


def row(page, name):
    return page.locator(".eg-requests tbody tr", has=page.get_by_role("button", name=name, exact=True))


def test_complaint_32_looking_asks_for_little(pages, site):
    """One stream feeds the view, whatever happens and however long it is looked at; nothing is asked for again and again."""
    page = pages.open(site.url, path=HASH)
    expect(page.locator(".eg-status")).to_have_text(LIVE)
    asked = []
    page.on("request", lambda r: asked.append(r.url) if "/v1/" in r.url else None)
    for i in range(3):
        assert Ask(site, f"look-{i}", max_tokens=40).end()
        expect(row(page, f"look-{i}").locator(".eg-state")).not_to_have_text("generating")
    assert len(asked) <= 3, asked


def test_a_request_is_seen_opened_and_cancelled(pages, site):
    page = pages.open(site.url, path=HASH)
    expect(page.locator(".eg-status")).to_have_text(LIVE)
    for name in ("Generated", "Prompts", "Machine", "Sequences", "KV pages", "Latency", "Requests",
                 "Memory", "How it computes"):
        expect(page.locator(f"section[aria-label='{name}']")).to_be_visible()
    asked = Ask(site, "seen-1", words="word " * 300)
    mine = row(page, "seen-1")
    expect(mine.locator(".eg-state")).to_have_text("generating")
    generated = mine.locator("[data-name=generated]")
    expect(generated).not_to_have_text("0")
    before = generated.inner_text()
    expect(generated).not_to_have_text(before)
    expect(page.locator("section[aria-label=Generated] .eg-value")).not_to_have_text("0.0")
    expect(page.locator("section[aria-label=Sequences] .eg-value")).to_have_text("1")

    mine.get_by_role("button", name="seen-1").click()
    dialog = page.get_by_role("dialog", name="Request seen-1")
    expect(dialog.get_by_text("from the cache")).to_be_visible()
    dialog.get_by_text("Every mark").click()
    marks = dialog.locator(".eg-marks tbody tr")
    expect(marks.first).to_contain_text("accepted")
    expect(marks.nth(2)).to_contain_text("started")
    expect(dialog.locator(".eg-marks")).to_contain_text("first token")
    assert faults(page) == []
    page.keyboard.press("Escape")

    mine.get_by_label("Cancel this request").click()
    expect(mine.locator(".eg-state")).to_have_text("cancelled")
    expect(mine.get_by_label("Cancel this request")).to_be_hidden()
    assert "request_cancelled" in asked.end()
    wait_for("idle", site.idle)


def test_names_are_text(pages, site):
    name = "<img src=x onerror=alert(1)>"
    Ask(site, name, max_tokens=1).end()
    page = pages.open(site.url, path=HASH)
    expect(row(page, name)).to_have_count(1)
    row(page, name).get_by_role("button", name=name).click()
    expect(page.get_by_role("dialog")).to_contain_text(name)
    assert page.locator("img").count() == 0


def test_nothing_is_asked_when_nobody_looks(pages, site):
    page = pages.open(site.url, path=HASH)
    expect(page.locator(".eg-status")).to_have_text(LIVE)
    # the question itself is one
    wait_for("watched", lambda: site.metric("gaufre_requests_under_way") == 2)
    page.click("#nav-chat")
    wait_for("not watched", lambda: site.metric("gaufre_requests_under_way") == 1)
    page.click("#nav-engine")
    expect(page.locator(".eg-status")).to_have_text(LIVE)
    page.close()
    wait_for("not watched", lambda: site.metric("gaufre_requests_under_way") == 1)


def test_it_comes_back_with_the_server(pages, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for f in folders:
        f.mkdir()
    first = Server(str(folders[0]))
    page = pages.open(first.url, path=HASH)
    expect(page.locator(".eg-status")).to_have_text(LIVE)
    assert first.stop() == 0
    expect(page.locator(".eg")).to_have_class(re.compile("waiting"))
    second = Server(str(folders[1]), "--port", first.port)
    try:
        expect(page.locator(".eg-status")).to_have_text(LIVE)
        expect(page.locator(".eg")).not_to_have_class(re.compile("waiting"))
    finally:
        page.close()
        assert second.stop() == 0


def strain(state):
    """The same state with the longest of everything that it can say."""
    row = state["requests"][0]
    row.update(client_id="a-name-of-sixty-characters-and-more-" + "x" * 40, endpoint="chat.completion", state="prefill", prompt_tokens=131072,
               prefilled_tokens=65536, cached_tokens=98304, generated_tokens=1000000, choices=128, stream=True, tokens_per_s=12345.6, age_s=86399)
    state["requests"] = [row] + [{**row, "id": f"{row['id']}-{i}", "state": "finished", "finish": "cancelled", "endpoint": "completion"}
                                 for i in range(3)]
    state.update(cpu="Machine(R) Of-A-Long-Name(TM) Processor-With-Many-Words @ 3.20GHz", threads=256, others=1000000)
    model = {**state["models"][0], "id": "a-model-with-a-name-of-some-length-135m-instruct", "state": "loaded", "context": 131072}
    model["limit"] = {"read_bytes_per_s": 123e9, "decode_tokens_per_s": 12345, "prefill_tokens_per_s": 123456, "measured": 1.7e9}
    state["models"] = [model, {**model, "id": model["id"] + "-second"}]
    return state


@pytest.mark.parametrize("size,theme,text", LOOKS)
def test_sizes_themes_and_texts(pages, site, front, size, theme, text):
    Ask(site, "strained", max_tokens=1).end()
    lines = []

    def events(handler):
        if not lines:
            with urllib.request.urlopen(site.url + "/v1/engine/events") as real:
                line = next(l for l in map(bytes.decode, real) if l.startswith("data: "))
            lines.append(json.dumps(strain(json.loads(line[6:]))))
        handler.begin_events()
        for _ in range(3):
            handler.event(lines[0])
        pages.closing.wait(60)

    front.get["/v1/engine/events"] = events
    page = pages.open(front.url, size=size, theme=theme, text=text, path=HASH)
    expect(page.locator(".eg-status")).to_have_text(LIVE)
    expect(page.locator(".eg-requests tbody tr")).to_have_count(4)
    assert faults(page) == []
