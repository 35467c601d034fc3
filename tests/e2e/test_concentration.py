"""On whom the cloud depends: the report of shares, and the limits that routing keeps."""
import json
import os
import subprocess

import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Mock
from serving import Server, wait_for

ASKED = {"messages": [{"role": "user", "content": "x"}]}
PRICES = """currency: EUR
prices:
  - {input: 1, output: 1}
  - {side: buy, input: 0.50, output: 0.50}
"""


def bill(*args, home=None):
    return subprocess.run([find_gaufre(), "bill", "--concentration", *map(str, args)], capture_output=True, text=True,
                          check=False, env={**os.environ, **({"GAUFRE_HOME": str(home)} if home else {})})


@pytest.fixture
def serve(tmp_path):
    made = []

    def make(suppliers):
        mocks = [Mock(lambda a: a.reply(200, CHAT)) for _ in suppliers]
        (tmp_path / "c.yaml").write_text(PRICES + "routes:\n  - route: order\nsuppliers:\n" + "".join(
            f"  - name: {name}\n    base_url: {m.url}\n{terms}" for m, (name, terms) in zip(mocks, suppliers)))
        made.extend(mocks)
        made.append(Server(str(tmp_path), "-c", tmp_path / "c.yaml", models=[]))
        return made[-1], mocks

    yield make
    for m in made:
        if isinstance(m, Server):
            m.process.kill()
            m.process.wait()
            m.log.close()
        else:
            m.close()


def test_report(serve, tmp_path):
    server, _ = serve([("a", "    models: [ma]\n    owner: one\n"), ("b", "    models: [mb]\n    owner: one\n"),
                       ("c", "    models: [mc]\n")])
    for model in ("ma", "ma", "mb", "mc"):
        assert server.post("/v1/chat/completions", {"model": model, **ASKED})[0] == 200
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests") == 4)
    rows = [json.loads(x) for x in bill("--json", "-l", server.ledger, "-c", tmp_path / "c.yaml").stdout.splitlines()]
    shares = {(r["of"], r["name"]): (r["share"], r["amount"]) for r in rows if "name" in r}
    assert shares == {("supplier", "a"): (.5, "0.000015"), ("supplier", "b"): (.25, "0.0000075"),
                      ("supplier", "c"): (.25, "0.0000075"), ("owner", "one"): (.75, "0.0000225"),
                      ("owner", "c"): (.25, "0.0000075"), ("tenant", "default"): (1, "0.00006")}
    assert {r["of"]: r["hhi"] for r in rows if "hhi" in r} == {"supplier": 3750, "owner": 6250, "tenant": 10000}
    text = bill("-l", server.ledger).stdout  # without a configuration nothing is known of owners
    assert "50.0 %" in text and "3750" in text and "owner" not in text
    done = bill("--csv", "-l", server.ledger)
    assert done.returncode == 2 and "--json" in done.stderr
    assert "nothing was owed" in bill(home=tmp_path / "none").stderr


@pytest.mark.parametrize("key", ["max_share", "owner_max_share"])
def test_routing_keeps_a_limit(serve, key):
    """The first in order would have all; with a limit it has no more than that, while there is another."""
    server, (a, b) = serve([("a", f"    models: [far]\n    owner: one\n    {key}: 60\n"), ("b", "    models: [far]\n")])
    for _ in range(50):
        assert server.post("/v1/chat/completions", {"model": "far", **ASKED})[0] == 200
    assert 29 <= len(a.requests) <= 31 and len(a.requests) + len(b.requests) == 50
    assert server.request("GET", "/metrics")[0] == 200


def test_a_limit_refuses_nobody(serve):
    """One that has had more than its share is better than none."""
    server, (a,) = serve([("a", "    models: [far]\n    max_share: 10\n")])
    for _ in range(5):
        assert server.post("/v1/chat/completions", {"model": "far", **ASKED})[0] == 200
    assert len(a.requests) == 5
