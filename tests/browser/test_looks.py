"""Three sizes, two themes, three kinds of text: nothing overflows, and axe finds nothing serious."""
from browsing import ask
from looks import LOOKS, faults
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


@pytest.mark.parametrize("size,theme,text", LOOKS)
def test_sizes_themes_and_texts(pages, front, size, theme, text):
    front.say(TEXT)
    page = pages.open(front.url, size=size, theme=theme, text=text)
    assert faults(page) == []
    ask(page, "Show me everything. " * 10)
    page.wait_for_selector(".code [class^=h-]")
    assert faults(page) == []
    page.click("#model-button")
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.click("#settings-toggle")
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.locator(".message.assistant").get_by_label("Request and answer, raw").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.click("#help-button") if page.locator("#help-button").is_visible() else None
    assert faults(page) == []


def test_nothing_moves_while_the_page_opens(pages, front):
    page = pages.open(front.url, size="tablet")
    expect(page.locator("#side")).to_be_in_viewport()
    expect(page.locator("#side")).to_have_css("transition-duration", "0s")
    page.click("#side-toggle")
    expect(page.locator("#side")).not_to_be_in_viewport()


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
