"""A tenant's own page: what it used, what limits it, and nothing of others."""
from looks import LOOKS, faults
from playwright.sync_api import expect
import pytest
from test_console import place  # noqa: F401  fixture

LIVE = "#live-state[data-state=live]"


def enter(pages, place, key, **more):  # noqa: F811
    page = pages.open(place.cloud.server.url, path="/account", ready=".co-login", **more)
    page.fill("#api-key", key)
    page.press("#api-key", "Enter")
    return page


def test_its_own_and_no_more(pages, place):  # noqa: F811
    place("POST", "/tenants", {"id": "zoo", "requests_per_minute": 60})
    zed = place("POST", "/keys", {"id": "zed", "tenant": "zoo"})[1]["key"]
    assert place.cloud.ask(place.alice, max_tokens=9) == place.cloud.ask(zed, max_tokens=9) == 200
    page = enter(pages, place, place.alice)
    page.wait_for_selector(LIVE)
    main = page.locator("main")
    for text in ("acme", "alice", "0.000015 EUR", "of 1,000 tokens, a day", "of 50.00 EUR, a month"):
        expect(main).to_contain_text(text)
    assert not any(x in main.inner_text() for x in ("zoo", "zed", "root", "eve"))
    page.reload()  # the tab keeps it
    page.wait_for_selector(LIVE)
    page.get_by_role("button", name="Another key").click()
    page.fill("#api-key", "gf-wrong")
    page.press("#api-key", "Enter")
    expect(page.locator(".co-wrong")).to_contain_text("Wrong API key")
    page.fill("#api-key", zed)
    page.press("#api-key", "Enter")
    expect(page.get_by_role("table", name="Rates")).to_contain_text("60 requests a minute")
    assert "acme" not in page.locator("main").inner_text()


@pytest.mark.parametrize("size,theme,text", LOOKS)
def test_sizes_themes_and_texts(pages, place, size, theme, text):  # noqa: F811
    page = enter(pages, place, place.alice, size=size, theme=theme, text=text)
    page.wait_for_selector(LIVE)
    assert faults(page) == []
