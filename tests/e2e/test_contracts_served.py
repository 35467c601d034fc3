"""Contracts by the admin API of a running server: recorded, looked at as they held on a day, and the same as the commands see."""
import json
import pathlib

import pytest

from postgres import postgres  # noqa: F401  fixture
from test_admin import admin  # noqa: F401  fixture

pytestmark = pytest.mark.sanitize
TEXT = (pathlib.Path(__file__).resolve().parents[2] / "examples/contracts/fast-750.yaml").read_text()


def test_walk_through(admin):
    assert admin("GET", "/contracts")[1] == {"object": "list", "data": []}
    assert admin("GET", "/contracts/fast-750")[0] == 404
    status, made = admin("POST", "/contracts", {"text": TEXT, "reason": "signed"})
    assert status == 201 and made == {"object": "contract.version", "version": 1}
    larger = TEXT.replace("mw: 350", "mw: 400")
    assert admin("POST", "/contracts", {"text": larger, "effective": "2099-01-01", "reason": None})[0] == 201
    listed = admin("GET", "/contracts?as_of=2026-11-30")[1]["data"]
    assert [(c["contract"], c["version"], c["as_of"], c["ready_watts"]) for c in listed] == [("fast-750", 1, "2026-11-30", 150_000_000)]
    assert {t["name"]: t["state"] for t in listed[0]["tranches"]}["year-1"] == "active"
    assert all(t["accepted"] is None for t in listed[0]["tranches"])
    one = admin("GET", "/contracts/fast-750?as_of=2100-01-01")[1]
    assert one["version"] == 2 and [t["mw"] for t in one["tranches"] if t["name"] == "year-3"] == [400]
    assert [(v["version"], v["reason"], v["actor"]) for v in one["versions"]] == [(1, "signed", "key:root"), (2, "", "key:root")]
    assert admin("GET", "/contracts?known_on=2020-01-01")[1]["data"] == []
    owed = admin("GET", "/obligations?as_of=2026-11-30")[1]
    assert owed == {"object": "obligations", **json.loads(admin.cloud.cli("contract", "report", "--json", "--as-of", "2026-11-30"))}
    assert owed["contracts"][0]["firm_watts_at_most"] == 750_000_000
    # The commands see the same, and the log has both.
    shown = json.loads(admin.cloud.cli("contract", "show", "fast-750", "--json", "--as-of", "2026-11-30"))
    assert shown == {k: v for k, v in listed[0].items() if k not in ("object", "version", "admission")}
    changes = admin("GET", "/audit")[1]["data"]
    assert [c["action"] for c in changes][-2:] == ["amend", "amend"]
    admin.cloud.cli("audit", "--changes")


def test_a_statement(admin):
    """As the command makes it, of a month that is over; and of this month so far."""
    assert admin("POST", "/contracts", {"text": TEXT})[0] == 201
    month = "2026-10"
    status, got = admin("GET", f"/contracts/fast-750/statement?month={month}")
    assert status == 200 and got.pop("object") == "contract.statement", got
    told = json.loads(admin.cloud.cli("contract", "statement", "fast-750", "--month", month, "--json", "--ledger", admin.cloud.server.ledger))
    moment = lambda s: {k: v for k, v in s.items() if k not in ("made_s", "upto")}  # noqa: E731  rows may have come between
    assert moment(got) == moment(told) and got["lines"] and float(got["total"]) > 0
    same = admin("GET", "/contracts/fast-750/statement?from=2026-10-01&until=2026-11-01")[1]
    assert (same["lines"], same["total"]) == (got["lines"], got["total"])
    so_far = admin("GET", "/contracts/fast-750/statement")[1]
    assert so_far["until_s"] == so_far["made_s"] > so_far["from_s"]
    assert admin("GET", "/contracts/fast-750/statement?month=2026-10&known_on=2020-01-01")[0] == 404
    for query, param in (("month=2026-13", "month"), ("month=10", "month"), ("month=2999-01", "month"), ("month=2026-10&from=2026-10-01", "month"),
                         ("from=2026-10-01", "until"), ("from=2026-10-01&until=2026-10-01", "until"), ("from=2026-02-30&until=2026-10-01", "from"),
                         ("from=2020-01-01&until=2026-01-01", "from")):
        status, e = admin("GET", f"/contracts/fast-750/statement?{query}")
        assert status == 400 and e["error"]["message"].startswith(param + ": "), (query, e)
    assert admin("GET", "/contracts/nobody/statement")[0] == 404


def test_what_is_refused(admin):
    for body, says in ((None, ""), ([], "object"), ({}, "text: wants a contract"), ({"text": 3}, "text: wants a contract"),
                       ({"text": TEXT.replace("2028-01-01", "2028-02-30", 1)}, "'2028-02-30' is no day"),
                       ({"text": "contract: x"}, "text:1:1: from: is missing"), ({"text": TEXT, "effective": "soon"}, "effective: wants a day"),
                       ({"text": TEXT, "reason": 5}, "reason: wants a text"), ({"text": TEXT, "mw": 5}, "mw: text, effective and reason are all"),
                       ({"text": TEXT, "reason": "x" * 1001}, "more than 1000 characters")):
        status, got = admin("POST", "/contracts", body)
        assert status == 400 and says in got["error"]["message"], (body, got)
    assert admin("POST", "/contracts", {"text": TEXT, "reason": "\u20ac" * 1000})[0] == 201
    assert admin("GET", "/contracts/fast-750")[1]["versions"][0]["reason"] == "\u20ac" * 1000
    admin.cloud.cli("audit", "--changes")
    assert admin("GET", "/contracts?as_of=2026-02-30")[0] == 400
    assert admin("DELETE", "/contracts/fast-750")[0] == 405
    key = admin("POST", "/keys", {"id": "plain", "tenant": "ops"})[1]["key"]
    assert admin("GET", "/contracts", key=key)[0] == 403
