"""The console's contracts: what was promised, what became of it, and on whom it depends."""
import datetime
import re

from browsing import wait_for
from looks import LOOKS, faults
from playwright.sync_api import expect
import pytest
from test_accounts import Cloud
from test_admin import Admin
from test_console import CONTRACTS, enter, go


@pytest.fixture
def admin(tmp_path, pages):
    c = Cloud(tmp_path, None)
    pages.after.append(c.stop)
    return Admin(c)


def see(page, day):
    page.fill("#contracts-day", day)
    page.wait_for_function("(d) => document.querySelector('.co-gantt')?.getAttribute('aria-label') && document.querySelector('#contracts-day').value === d", arg=day)


def row(page, table, name):
    return page.get_by_role("table", name=table).locator("tbody tr").filter(has=page.get_by_text(name, exact=True))


def part(page, lane, part):
    """Where a part of a tranche's line begins and ends, in percent of the line."""
    el = page.locator(".co-lane").filter(has=page.get_by_text(lane, exact=True)).locator(f"[data-part={part}]")
    left, width = el.evaluate("(e) => [parseFloat(e.style.left), parseFloat(e.style.width)]")
    return left, left + width


def test_what_is_seen(pages, admin):
    for name in ("backstop", "fast-750", "spread-3"):
        assert admin("POST", "/contracts", {"text": (CONTRACTS / f"{name}.yaml").read_text()})[0] == 201
    page = enter(pages, admin.cloud.server.url, admin.key, "contracts", size="wide")
    see(page, "2027-02-01")
    late = row(page, "Tranches", "year-2")
    expect(late).to_contain_text("late")
    expect(late).to_contain_text("2027-01-01")
    expect(row(page, "Tranches", "beyond")).to_contain_text("2027-01-01 … 2028-01-01")
    expect(row(page, "Contracts", "fast-750")).to_contain_text("150 of 400 MW")
    expect(row(page, "Contracts", "fast-750")).to_contain_text("borrows what is idle")
    power = page.get_by_role("region", name="Power")
    for figure in ("162 MW", "412 MW", "250 MW", "1,260 MW"):  # what a buyer of last resort may take is nobody's promise
        expect(power).to_contain_text(figure)
    # The neocloud is the supplier of two of them, and owned by somebody else.
    shares = page.get_by_role("table", name="Concentration")
    expect(shares.locator("tbody tr").filter(has_text="Neo Compute Holding")).to_contain_text("owner of suppliers")
    expect(shares.locator("tbody tr").filter(has=page.get_by_text("neocloud", exact=True))).to_contain_text("12 MW")
    expect(page.locator(".co-gantt")).to_have_attribute("aria-label", r := page.locator(".co-gantt").get_attribute("aria-label"))
    assert "8 tranches" in r
    # Late until today, expected from then on; what is delivered follows on its delay.
    delay, rest = part(page, "year-2", "late"), part(page, "year-2", "planned")
    assert delay[0] < delay[1] == pytest.approx(rest[0], abs=0.01) and rest[1] > rest[0]
    delay, rest = part(page, "year-1", "late"), part(page, "year-1", "active")
    assert delay[1] == pytest.approx(rest[0], abs=0.01)
    assert part(page, "beyond", "window")[1] < part(page, "beyond", "option")[0]


def test_settlement(pages, admin):
    """A statement is made when it is asked for, also from the keyboard; a refusal is a sentence."""
    admin("POST", "/contracts", {"text": (CONTRACTS / "fast-750.yaml").read_text()})
    want = admin("GET", "/contracts/fast-750/statement?month=2026-10")[1]
    page = enter(pages, admin.cloud.server.url, admin.key, "contracts", size="wide")
    place = page.get_by_role("region", name="Settlement")
    page.get_by_label("Month").fill("2026-10")
    expect(place.get_by_role("table")).to_be_hidden()
    page.get_by_label("Month").press("Enter")
    whole = f"{float(want['total']):,.2f} {want['currency']}"
    expect(place.get_by_role("status")).to_contain_text(f"{whole} in all")
    expect(place.get_by_role("table", name="Settlement").locator("tbody tr")).to_have_count(len(want["lines"]))
    expect(place.get_by_role("table")).to_contain_text(want["lines"][0]["what"])
    page.get_by_label("Month").fill("2090-01")
    place.get_by_role("button", name="Settle").click()
    expect(place.get_by_role("status")).to_contain_text("has not begun")
    expect(place.get_by_role("table")).to_be_hidden()


def test_another_day(pages, admin):
    """What was known on the day that is asked for: nothing had been delivered, nothing was late yet."""
    admin("POST", "/contracts", {"text": (CONTRACTS / "fast-750.yaml").read_text()})
    page = enter(pages, admin.cloud.server.url, admin.key, "contracts", size="wide")
    expect(row(page, "Tranches", "year-1")).to_contain_text("active")
    page.fill("#contracts-day", "2026-02-01")
    expect(row(page, "Tranches", "year-1")).to_contain_text("planned")
    page.fill("#contracts-day", "2025-01-01")  # before it was signed
    expect(page.get_by_role("region", name="Contracts")).to_contain_text("No contract is recorded.")
    expect(page.locator(".co-gantt")).to_be_hidden()
    page.fill("#contracts-day", "2035-01-01")
    expect(row(page, "Tranches", "year-1")).to_contain_text("ended")


class House(Cloud):
    """Its supplier "far" is at a site; another site is late, and a third one has megawatts only."""

    def serve(self, *flags):
        path = self.folder / "c.yaml"
        path.write_text(path.read_text().replace("    models: [m, n]\n", "    models: [m, n]\n    site: fra1\n", 1) + SITES)
        return super().serve(*flags)


SITES = """sites:
  - {name: fra1, region: eu, contracted_mw: 100, energised_mw: 40, encumbered_mw: 10, capacity_factor: 0.5}
  - name: osl1
    region: no
    lifecycle:
      - {state: commissioning, planned: 2026-01-01, actual: 2026-01-02}
      - {state: active, planned: 2026-02-01}
  - {name: iad1, contracted_mw: 200, energised_mw: 200}
"""
SERVED = """contract: acme-2026
signed: 2026-01-01
from: 2026-01-01
until: 2040-01-01
currency: EUR
supplier: {name: us}
customer: {name: acme, tenants: [acme]}
tranches:
  - {name: first, mw: 10, site: fra1, target: 2026-01-01, delivered: 2026-01-01, price: 100, tokens_per_second: 50}
"""


def test_sites_and_admission(pages, tmp_path):
    """Megawatts on one scale, what comes next, and what a contract entitles to where its site is derated."""
    c = House(tmp_path, None)
    pages.after.append(c.stop)
    admin = Admin(c)
    admin("POST", "/tenants", {"id": "acme"})
    alice = admin("POST", "/keys", {"id": "alice", "tenant": "acme"})[1]["key"]
    assert admin("POST", "/contracts", {"text": SERVED})[0] == 201
    wait_for("in force", lambda: admin("GET", "/contracts")[1]["data"][0]["admission"])
    assert c.ask(alice, max_tokens=9) == 200
    page = enter(pages, c.server.url, admin.key, "sites", size="wide")
    tile = page.locator(".co-tile").filter(has_text="fra1")
    expect(tile).to_contain_text("active, 50 %")
    expect(tile).to_contain_text("100 MW contracted, 40 MW energised, 10 MW encumbered, 15 MW ready")
    bar = {p: tile.locator(f"[data-part={p}]").evaluate("(e) => [parseFloat(e.style.left), parseFloat(e.style.width)]") for p in ("contracted", "energised", "encumbered", "ready")}
    assert bar == {"contracted": [0, 50], "energised": [0, 20], "encumbered": [0, 5], "ready": [5, 7.5]}
    expect(page.locator(".co-tile").filter(has_text="osl1")).to_contain_text("Late: active, planned for 2026-02-01")
    expect(page.locator(".co-region")).to_have_count(3)
    go(page, "contracts")
    served = row(page, "In admission", "acme-2026")
    expect(served).to_contain_text("25 of 50, declared")
    expect(served).to_contain_text(re.compile(r"[1-9]\d* tokens"))


def test_what_power_became(pages, tmp_path):
    """Bars whose parts are all that was energised, and their sums."""
    c = House(tmp_path, None)
    pages.after.append(c.stop)
    admin = Admin(c)
    page = enter(pages, c.server.url, admin.key, "sites", size="wide")
    room = page.get_by_role("region", name="What power became")
    expect(room).to_contain_text("Nobody watched the power of a site in this time.")
    c.stop()  # what was seen so far is written then
    Cloud.serve(c)
    page = enter(pages, c.server.url, admin.key, "sites", size="wide")
    room = page.get_by_role("region", name="What power became")
    parts = room.get_by_role("table", name="Power by part")
    expect(parts.locator("tbody tr")).to_have_count(8)
    page.select_option("#power-site", "fra1")
    # Of 40 MW there 10 are held for others, and of the rest a half is curtailed; the other site loses nothing.
    expect(parts.locator("tr").filter(has_text="held for other uses")).to_contain_text("25.0 %")
    expect(parts.locator("tr").filter(has_text="curtailed")).to_contain_text("37.5 %")
    expect(parts.locator("tr").filter(has_text="idle")).to_contain_text("37.5 %")
    expect(parts.locator("tr").filter(has_text="energised, in all")).to_contain_text("minutes unknown")
    heights = room.locator(".co-hour").last.locator("i").evaluate_all("(l) => l.map((e) => [e.dataset.part, parseFloat(e.style.height)])")
    total = sum(h for _, h in heights)
    assert {p for p, _ in heights} == {"idle", "curtailed", "encumbered"} and 0 < total <= 100.01
    page.select_option("#power-span", "31")
    expect(parts.locator("tr").filter(has_text="curtailed")).to_contain_text("37.5 %")
    page.select_option("#power-site", "iad1")
    expect(parts.locator("tr").filter(has_text="idle")).to_contain_text("100.0 %")
    for size, theme, text in LOOKS[:3]:
        page = enter(pages, c.server.url, admin.key, "sites", size=size, theme=theme, text=text)
        page.wait_for_selector(".co-hour i", state="attached")
        assert faults(page) == [], (size, text)


def test_many(pages, admin):
    """More tranches than anybody reads as lines: the table has them all."""
    day = datetime.date(2026, 1, 1)
    rows = "".join(f"  - {{name: t{i}, mw: 1, region: eu, target: {day + datetime.timedelta(days=i)}, price: 100}}\n" for i in range(250))
    text = f"contract: many\nsigned: 2025-12-01\nfrom: 2026-01-01\nuntil: 2030-01-01\ncurrency: EUR\nsupplier: {{name: a}}\ncustomer: {{name: b}}\ntranches:\n{rows}"
    assert admin("POST", "/contracts", {"text": text})[0] == 201
    page = enter(pages, admin.cloud.server.url, admin.key, "contracts", size="wide")
    expect(page.get_by_text("The first 200 of 250 are drawn.")).to_be_visible()
    expect(page.get_by_role("table", name="Tranches").locator("tbody tr")).to_have_count(250)


def test_none(pages, admin):
    page = enter(pages, admin.cloud.server.url, admin.key, "contracts")
    expect(page.locator("main")).to_contain_text("No contract is recorded.")
    expect(page.locator(".co-gantt")).to_be_hidden()
