"""The console: who is in, what is seen there, and what may be done."""
import json
import pathlib
import threading
import time

from browsing import wait_for
from front import Front
from looks import LOOKS, faults, misplaced
from mock_upstream import chunk, words
from playwright.sync_api import expect
import pytest
from serving import SLOW
from test_accounts import Cloud
from test_admin import Admin

VIEWS = ("overview", "requests", "tenants", "keys", "sites", "contracts", "prices", "audit")
CONTRACTS = pathlib.Path(__file__).resolve().parents[2] / "examples/contracts"
SITES = """sites:
  - {name: fra1, region: eu, pue: 1.25, contracted_mw: 2.5, energised_mw: 1.5, carbon: 300, carbon_market: 0}
  - {name: osl1, region: no, dedicated_to: [acme]}
"""
LIVE = "#live-state[data-state=live]"


@pytest.fixture
def place(tmp_path, pages):
    """A server with mock suppliers and a store of accounts."""
    c = Cloud(tmp_path, None)
    with open(tmp_path / "c.yaml", "a", encoding="utf-8") as f:
        f.write(SITES)
    a = Admin(c)
    a("POST", "/tenants", {"id": "acme", "budget_per_month": "50.00EUR", "token_budget_per_day": 1000, "labels": {"env": "prod"}})
    a("POST", "/contracts", {"text": (CONTRACTS / "fast-750.yaml").read_text()})
    a.alice = a("POST", "/keys", {"id": "alice", "tenant": "acme"})[1]["key"]
    a.eve = a("POST", "/keys", {"id": "eve", "tenant": "ops", "admin": True, "read_only": True})[1]["key"]
    pages.after.append(c.stop)
    return a


def door(pages, url, **more):
    return pages.open(url, path="/console", ready=".co-login", **more)


def enter(pages, url, key, view="overview", **more):
    page = door(pages, url, **more)
    page.fill("#admin-key", key)
    page.press("#admin-key", "Enter")
    page.wait_for_selector(LIVE)
    go(page, view)
    return page


def go(page, view):
    page.evaluate(f"location.hash = '#/{view}'")
    expect(page.locator(f"#nav-{view}")).to_have_attribute("aria-current", "page")


class Slow:
    """Requests that last until they are let go."""

    def __init__(self, place):
        self.place, self.go_on, self.seen = place, threading.Event(), []
        place.cloud.far.script = place.cloud.near.script = self.answer

    def answer(self, a):
        a.begin()
        a.event(chunk({"content": "one "}))
        self.go_on.wait(60 * SLOW)
        for e in words():
            a.event(e)
        a.end()

    def ask(self):
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}
        head = {"Authorization": f"Bearer {self.place.alice}", "x-client-request-id": "<b>mine</b>"}
        t = threading.Thread(target=lambda: self.seen.append(self.place.cloud.server.request("POST", "/v1/chat/completions", body, head)[2]), daemon=True)
        t.start()
        return t


def test_in_and_out(pages, place):
    url = place.cloud.server.url
    page = door(pages, url)
    for wrong, says in (("gf-wrong", "Wrong API key"), (place.alice, "no key for the admin API")):
        page.fill("#admin-key", wrong)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator(".co-wrong")).to_contain_text(says)
    asked = []
    page.on("request", lambda r: asked.append(r.url) if "/admin/" in r.url else None)
    page.fill("#admin-key", place.key)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector(LIVE)
    assert len(asked) <= 3  # the session, and one stream
    expect(page.locator("#who")).to_have_text("root")
    # No script can read the cookie, and the key is nowhere.
    assert page.evaluate("document.cookie") == ""
    assert place.key not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}]) + document.documentElement.outerHTML")
    page.reload()
    page.wait_for_selector(LIVE)
    for view in VIEWS:
        go(page, view)
        expect(page.locator("h1")).to_have_text(view.capitalize())
    page.get_by_role("button", name="Log out").click()
    page.wait_for_selector(".co-login")
    page.reload()
    page.wait_for_selector(".co-login")


def test_what_is_seen(pages, place):
    assert [place.cloud.ask(place.alice, max_tokens=9) for _ in range(3)] == [200] * 3
    page = enter(pages, place.cloud.server.url, place.key)
    main = page.locator("main")
    for text in ("far/m", "near/m", "closed", "Keeps up", "acme", "of 1,000 tokens, a day", "EUR, a month"):
        expect(main).to_contain_text(text)
    go(page, "requests")
    expect(page.get_by_role("table", name="Requests that ended").locator("tbody tr")).to_have_count(3)
    page.locator(".eg-name").first.click()
    expect(page.locator("dialog")).to_contain_text("chosen")
    expect(page.locator("dialog")).to_contain_text("first token")
    page.keyboard.press("Escape")
    go(page, "tenants")
    expect(page.get_by_role("table", name="Tenants")).to_contain_text("acme")
    page.select_option("#usage-by", "key")
    page.get_by_role("button", name="Add up").click()
    expect(page.get_by_role("table", name="Usage")).to_contain_text("alice")
    go(page, "prices")
    expect(page.get_by_role("table", name="Prices")).to_contain_text("1.00")
    go(page, "audit")
    expect(page.get_by_role("table", name="Changes").locator("tbody tr").first).to_contain_text("key eve")


def test_cancel_a_live_request(pages, place):
    slow = Slow(place)
    asked = slow.ask()
    page = enter(pages, place.cloud.server.url, place.key, "requests")
    live = page.get_by_role("table", name="Requests under way")
    expect(live.locator("tbody tr")).to_have_count(1)
    expect(live).to_contain_text("acme")
    live.get_by_role("button", name="Cancel this request").click()
    asked.join(60 * SLOW)
    assert b"request_cancelled" in slow.seen[0]
    expect(live.locator("tbody tr")).to_have_count(0)
    expect(page.get_by_role("table", name="Requests that ended")).to_contain_text("cancelled")
    slow.go_on.set()


def test_make_rotate_and_revoke_a_key(pages, place):
    page = enter(pages, place.cloud.server.url, place.key, "keys")
    keys = page.get_by_role("table", name="Keys")

    def secret():
        text = page.locator("#secret").input_value()
        page.get_by_role("button", name="I have it").click()
        expect(page.locator("dialog")).to_have_count(0)
        assert text.startswith("gf-") and text not in page.content()
        return text
    page.get_by_role("button", name="Make a key").click()
    page.fill("#key-id", "new")
    page.fill("#key-tenant", "none")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("dialog .co-wrong")).to_contain_text("none")
    page.fill("#key-tenant", "acme")
    page.get_by_role("button", name="Make it").click()
    first = secret()
    assert place.cloud.ask(first, max_tokens=9) == 200
    expect(keys).to_contain_text("new")
    page.get_by_role("button", name="Rotate new").click()
    page.select_option("#overlap", "0")
    page.get_by_role("button", name="Rotate it").click()
    second = secret()
    assert place.cloud.ask(second, max_tokens=9) == 200 and place.cloud.ask(first) == 401
    page.get_by_role("button", name="Revoke new").click()
    page.get_by_role("button", name="Revoke it").click()
    expect(page.locator("dialog")).to_have_count(0)
    wait_for("its end", lambda: place.cloud.ask(second) == 401)
    expect(keys.locator("tr", has_text="new")).to_contain_text("revoked")


def test_a_site_gets_an_order(pages, place):
    page = enter(pages, place.cloud.server.url, place.key, "sites")
    site = page.get_by_role("table", name="Sites").locator("tr", has_text="fra1")
    for text in ("1.5 of 2.5 MW (it)", "1.25", "300", "100 %", "active"):
        expect(site).to_contain_text(text)
    page.get_by_role("button", name="Order for fra1").click()
    page.fill("#site-factor", "2")
    page.get_by_role("button", name="Order it").click()
    expect(page.locator("dialog .co-wrong")).to_contain_text("capacity_factor")
    page.fill("#site-factor", "0.25")
    page.get_by_role("button", name="Order it").click()
    expect(site).to_contain_text("25 %")
    assert place("GET", "/sites/fra1")[1]["capacity_factor"] == 0.25
    page.get_by_role("button", name="Order for fra1").click()
    expect(page.locator("#site-factor")).to_have_value("0.25")
    page.select_option("#site-state", "draining")
    page.get_by_role("button", name="Order it").click()
    expect(site).to_contain_text("draining")


METER = {"site": "fra1", "watts": 31.25, "boundary": "accelerator", "method": "model", "uncertainty": 0.5, "metered_joules": 20000, "requests_joules": 5000,
         "unattributed_joules": 15000, "failures": 0}


def test_power_is_shown_as_it_was_got(pages, place):
    """A meter's number says how it was got; what nobody knows is no number."""
    front = Front(place.cloud.server.url)
    pages.after.append(front.close)
    now, shown = place("GET", "/overview")[1], {}
    assert {s["name"]: s["energy"] for s in now["sites"]} == {"fra1": None, "osl1": None}
    energy = {"joules": 7200000, "boundary": "facility", "method": "stated", "uncertainty": 1}
    sites = [{**now["sites"][0], "carbon_grams_per_kwh": {"location": 312.4, "market": 0}},
             {**now["sites"][1], "requests": 3, "requests_unmetered": 1, "energy": energy, "capacity_factor": 0.5}]

    def events(h):
        h.begin_events()
        while not pages.closing.wait(0.2):
            h.event({**now, "sites": sites, "energy": shown["meter"]})
    front.get["/admin/v1/overview/events"] = events
    shown["meter"] = METER
    page = enter(pages, front.url, place.key, "sites")
    meter, row = page.get_by_role("region", name="Power of this machine"), page.get_by_role("table", name="Sites").locator("tr")
    for text in ("31.3 W", "modelled from CPU time", "chips and their memory", "±50 %", "20.0 kJ", "5,000 J (25 %)", "15.0 kJ (75 %)", "312, market 0", "site fra1"):
        expect(meter).to_contain_text(text)
    fra1, osl1 = row.filter(has_text="fra1"), row.filter(has_text="osl1")
    for text in ("31.3 W, modelled from CPU time", "unattributed 15.0 kJ", "312, market 0"):
        expect(fra1).to_contain_text(text)
    for text in ("no meter here", "2 kWh, as the supplier says; of 1 not known", "50 %"):
        expect(osl1).to_contain_text(text)
    shown["meter"] = {**METER, "watts": 77, "method": "rapl", "uncertainty": 0.05}  # it comes by itself
    expect(meter).to_contain_text("77.0 W")
    expect(meter).to_contain_text("measured, the processor's counters")
    shown["meter"] = {**METER, "watts": None, "site": None}
    expect(meter).to_contain_text("the meter is silent")
    expect(meter).to_contain_text("no site")
    shown["meter"] = None
    expect(meter).to_contain_text("reads no meter")


def test_who_may_only_look(pages, place):
    slow = Slow(place)
    slow.ask()
    page = enter(pages, place.cloud.server.url, place.eve, "requests")
    expect(page.locator("#who")).to_have_text("eve, read only")
    expect(page.get_by_role("table", name="Requests under way").locator("tbody tr")).to_have_count(1)
    assert page.get_by_role("button", name="Cancel this request").count() == 0
    go(page, "keys")
    expect(page.get_by_role("table", name="Keys")).to_contain_text("alice")
    assert page.get_by_role("button", name="Make a key").count() == page.get_by_role("button", name="Revoke").count() == 0
    # Nor by hand, with all that the page has.
    assert page.evaluate("""async () => {
        const { csrf } = await (await fetch('/admin/v1/session')).json();
        return (await fetch('/admin/v1/keys/alice/revoke', { method: 'POST', headers: { 'x-gaufre-csrf': csrf } })).status;
    }""") == 403
    slow.go_on.set()


def test_a_change_without_the_token_is_refused(pages, place):
    page = enter(pages, place.cloud.server.url, place.key)
    for options in ("{method: 'POST'}", "{method: 'POST', headers: {'x-gaufre-csrf': 'x'}}", "{method: 'DELETE'}"):
        assert page.evaluate(f"fetch('/admin/v1/keys/alice{'/revoke' if 'POST' in options else ''}', {options}).then((r) => r.status)") == 403
    assert place("GET", "/keys/alice")[1]["state"] == "active"


def test_a_session_ends(tmp_path, pages):
    c = Cloud(tmp_path, None)
    pages.after.append(c.stop)
    c.cli("tenant", "new", "ops")
    key = c.cli("key", "new", "root", "--tenant", "ops", "--admin", "yes")
    c.serve("--console-session", "1s")
    page = door(pages, c.server.url)
    page.fill("#admin-key", key)
    page.press("#admin-key", "Enter")
    expect(page.locator(".co-wrong")).to_contain_text("You are not in any more")
    assert not page.locator("#nav").is_visible()


def test_a_revoked_key_is_out(pages, place):
    page = enter(pages, place.cloud.server.url, place.eve)
    place("POST", "/keys/eve/revoke")
    expect(page.locator(".co-wrong")).to_contain_text("You are not in any more")


def test_not_live_is_said(pages, place):
    front = Front(place.cloud.server.url)
    pages.after.append(front.close)
    now = place("GET", "/overview")[1]
    path = "/admin/v1/overview/events"

    def once(handler):
        """One state, and then nothing."""
        front.get[path] = lambda h: h.send_json(503, {"error": {"message": "Gone fishing."}})
        handler.begin_events()
        handler.event(now)
    front.get[path] = once
    page = door(pages, front.url)
    page.fill("#admin-key", place.key)
    page.press("#admin-key", "Enter")
    expect(page.locator("#live-state")).to_contain_text("Not live for")
    expect(page.locator("#live-state")).to_contain_text("Gone fishing.")
    expect(page.locator("body.not-live")).to_have_count(1)
    expect(page.locator("main")).to_contain_text("far/m")  # what was seen last stays
    front.get.pop(path)
    page.wait_for_selector(LIVE)


HOSTILE = ["<script>window.violations.push('ran')</script>", "<img src=x onerror=\"window.violations.push('ran')\">", "\u202eevil\u202d", "a" * 10000,
           "\u2066x" * 2000, "javascript:alert(1)", "\x00\x1b[31mred", "𝕒" * 5000, "' onmouseover='x", "{{7*7}}", "</table></main>"]


def hostile_overview(now, bad):
    request = {"id": bad, "client_id": bad, "tenant": bad, "model": bad, "supplier": bad, "tier": "default", "state": "decode", "finish": None, "stream": True,
               "prompt_tokens": 2**53, "cached_tokens": 0, "completion_tokens": 1, "age_s": 1e9, "ttft_s": 1}
    return {**now, "version": bad, "currency": "EUR", "requests": [request], "ended": [{**request, "state": "finished", "finish": bad}], "requests_total": 1,
            "models": [{"id": bad, "state": bad, "offers": 1, "running": 1, "waiting": 1, "requests": 1, "ttft_s": None, "queue_s": None}],
            "suppliers": [{"supplier": bad, "model": bad, "state": "ready", "breaker": bad, "why": bad, "retry_after_ms": 1, "running": 1, "waiting": 1, "concurrency": 1}],
            "tenants": [{"id": bad, "requests": 1, "prompt_tokens": 1, "completion_tokens": 1, "charge": "1.00",
                         "budgets": [{"of": "money", "span": "day", "currency": "EUR", "amount": "1.00", "settled": "1.00", "held": "0.00", "percent": 1e9, "until": None}]}]}


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_hostile_data(pages, place, size):
    """What others chose the text of is text: nothing of it runs, and it stays inside its place."""
    front = Front(place.cloud.server.url)
    pages.after.append(front.close)
    now = place("GET", "/overview")[1]
    bad = [HOSTILE[0]]

    def tell(h):  # at once when it changes, and often enough that it stays live
        h.begin_events()
        while True:
            said, until = bad[0], time.monotonic() + 0.5
            h.event(hostile_overview(now, said))
            while said is bad[0] and time.monotonic() < until:
                if pages.closing.wait(0.02):
                    return
    front.get["/admin/v1/overview/events"] = tell
    key = {"object": "key", "state": "active", "secrets": 1, "created": "2026-11-29T00:00:00Z"}
    front.get["/admin/v1/keys"] = lambda h: h.send_json(200, {"object": "list", "has_more": False, "data": [{**key, "id": x, "tenant": x, "team": x} for x in HOSTILE]})
    front.get["/admin/v1/audit"] = lambda h: h.send_json(200, {"object": "list", "data": [
        {"seq": i + 1, "at": "2026-11-29T00:00:00Z", "actor": x, "action": "set", "kind": "key", "id": x, "before": {x: x}, "after": {x: [x], "b": None}} for i, x in enumerate(HOSTILE)][::-1]})
    front.get["/admin/v1/prices"] = lambda h: h.send_json(200, {"object": "list", "data": [
        {"side": "buy", "model": x, "supplier": x, "tier": None, "currency": "EUR", "from": 1, "input": "1.00", "cached_input": None, "cache_write": None, "output": "1.00",
         "reasoning": None, "per_request": "0.00", "minimum": "0.00"} for x in HOSTILE]})
    site = place("GET", "/sites/fra1")[1]
    front.get["/admin/v1/sites"] = lambda h: h.send_json(200, {"object": "list", "data": [
        {**site, "name": x, "region": x, "state": x, "generally_available": False, "dedicated_to": [x], "power_basis": x} for x in HOSTILE]})
    contract, owed = place("GET", "/contracts")[1]["data"][0], place("GET", "/obligations")[1]
    front.get["/admin/v1/contracts"] = lambda h: h.send_json(200, {"object": "list", "data": [
        {**contract, "contract": x, "supplier": {"name": x}, "customer": {"name": x}, "tranches": [{**t, "name": x, "region": x, "mw": 99999.999999} for t in contract["tranches"]]} for x in HOSTILE]})
    front.get["/admin/v1/obligations"] = lambda h: h.send_json(200, {**owed, "contracts": [{**owed["contracts"][0], "contract": x} for x in HOSTILE],
                                                                    "concentration": [{**owed["concentration"][0], "name": x, "still_to_come": "9" * 30 + ".00"} for x in HOSTILE]})
    page = enter(pages, front.url, place.key, size=size)
    for view in VIEWS:
        go(page, view)
        for text in HOSTILE if view in ("overview", "requests", "tenants") else HOSTILE[:1]:
            bad[0] = text
            shown = text[:60].replace("\x00", "")
            page.wait_for_function("(t) => [...document.querySelectorAll('main bdi')].some((e) => e.textContent.replaceAll('\\0', '').startsWith(t))", arg=shown[:40])
            if text in (HOSTILE[2], HOSTILE[3], HOSTILE[7]):
                assert misplaced(page) == [], (view, text[:20])
            elif text is HOSTILE[0]:
                assert faults(page) == [], view
    assert page.locator("main script, main img").count() == 0


@pytest.mark.parametrize("size,theme,text", LOOKS)
def test_sizes_themes_and_texts(pages, place, size, theme, text):
    slow = Slow(place)
    slow.ask()
    page = door(pages, place.cloud.server.url, size=size, theme=theme, text=text)
    assert faults(page) == []
    page.fill("#admin-key", place.key)
    page.press("#admin-key", "Enter")
    page.wait_for_selector(LIVE)
    for view in VIEWS:
        go(page, view)
        page.wait_for_selector("main .co-table tbody tr", state="attached")
        assert faults(page) == [], view
    go(page, "keys")
    page.get_by_role("button", name="Make a key").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    go(page, "requests")
    page.locator(".eg-name").first.click()
    page.wait_for_selector("dialog .co-table")
    assert faults(page) == []
    slow.go_on.set()


def test_by_keys_alone(pages, place):
    page = door(pages, place.cloud.server.url)
    expect(page.locator("#admin-key")).to_be_focused()
    page.keyboard.type(place.key)
    page.keyboard.press("Enter")
    page.wait_for_selector(LIVE)
    for i, view in enumerate(VIEWS):
        page.keyboard.press(str(i + 1))
        expect(page.locator(f"#nav-{view}")).to_have_attribute("aria-current", "page")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("Keyboard")
    page.keyboard.press("Escape")
    page.keyboard.press("4")
    page.get_by_role("button", name="Make a key").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#key-id")).to_be_focused()
    page.keyboard.type("typed")
    page.keyboard.press("Tab")
    page.keyboard.type("acme")
    page.keyboard.press("Enter")
    expect(page.locator("#secret")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("table", name="Keys")).to_contain_text("typed")


def test_without_keys_who_is_here_is_in(pages, tmp_path):
    c = Cloud(tmp_path, None)
    pages.after.append(c.stop)
    c.serve()
    page = pages.open(c.server.url, path="/console#/keys", ready=LIVE)
    expect(page.locator("#who")).to_have_text("this machine")
    expect(page.locator("main")).to_contain_text("store of accounts")
    go(page, "overview")
    expect(page.locator("main")).to_contain_text("far/m")
    assert json.loads(c.server.get("/admin/v1/overview")[2])["object"] == "overview"
