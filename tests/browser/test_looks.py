"""Three sizes, two themes: nothing overflows, and axe finds nothing serious."""
import importlib.util
import pathlib

from browsing import ask
from playwright.sync_api import expect
import pytest

TEXT = """Here is **all** of it: [a link](https://example.com), `code`, and a list.

1. one
2. two

| name | value |
|---|---:|
| a rather long name that needs room, really a lot of room | 1 |

> quoted

```python
def f(x):
    return x + 1  # a comment that is quite long, so that the block has to scroll on a phone, as it should
```
"""


def axe_script():
    spec = importlib.util.find_spec("axe_playwright_python")
    if not spec:
        pytest.skip("axe is not installed")
    return (pathlib.Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def serious(page):
    page.evaluate(axe_script())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found
            if v["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("size,theme", [("phone", "light"), ("tablet", "dark"), ("wide", "light"), ("phone", "dark")])
def test_sizes_and_themes(pages, front, size, theme):
    front.say(TEXT)
    page = pages.open(front.url, size=size, theme=theme)
    assert serious(page) == []
    ask(page, "Show me everything. " * 10)
    page.wait_for_selector(".code [class^=h-]")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    over = page.evaluate("""() => [...document.querySelectorAll('button,.message,.prose > *,.composer,.bar > *')].filter((e) => {
        const b = e.getBoundingClientRect(); return b.width && getComputedStyle(e).visibility === 'visible' &&
            !e.closest('.side[inert]') && !e.classList.contains('skip') && (b.right > innerWidth + 1 || b.left < -1); }).map((e) => e.outerHTML.slice(0, 90))""")
    assert over == []
    page.click("#settings-toggle")
    assert serious(page) == []
    page.keyboard.press("Escape")
    page.locator(".message.assistant").get_by_label("Request and answer, raw").click()
    assert serious(page) == []
    page.keyboard.press("Escape")


def test_phone_drawer(pages, front):
    front.say(TEXT)
    page = pages.open(front.url, size="phone")
    expect(page.locator("#side")).not_to_be_in_viewport()
    ask(page, "Hi")
    page.click("#side-toggle")
    expect(page.locator("#side")).to_be_in_viewport()
    page.click("#new-chat")
    expect(page.locator("#side")).not_to_be_in_viewport()
    expect(page.locator(".message")).to_have_count(0)
    page.fill("#prompt", "Hello")
    page.tap(".send")
    expect(page.locator(".message.user")).to_have_count(1)


def test_theme_is_kept(pages, site):
    page = pages.open(site.url)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme-button")
    assert page.evaluate(ground) == light
    page.click("#theme-button")
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate(ground) != light
