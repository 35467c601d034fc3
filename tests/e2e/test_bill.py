"""What was used becomes money: prices, bills, the audit."""
import csv
import io
import json
import sqlite3
import subprocess

from finding import find_gaufre
from mock_upstream import Mock, chunk
from serving import Server, wait_for

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
         "prompt_tokens_details": {"cached_tokens": 600}, "completion_tokens_details": {"reasoning_tokens": 40}}


def run(*args):
    return subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, check=False)


def serve(folder, mock, prices):
    (folder / "c.yaml").write_text(f"suppliers:\n  - name: far\n    base_url: {mock.url}\n    models: [m, free, odd]\n{prices}")
    return Server(str(folder), "-c", folder / "c.yaml", models=[])


def ask(server, model, **more):
    return server.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}], **more})


def answer(a):
    usage = USAGE if a.request.json["model"] != "odd" else {**USAGE, "total_tokens": 7}
    a.reply(200, {"id": "c", "object": "chat.completion", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}], "usage": usage})


PRICES = """currency: EUR
prices:
  - {model: m, input: 0.10, cached_input: 0.01, output: 0.40, reasoning: 1, per_request: 0.000001}
  - {model: free, input: 0, output: 0}
  - {side: buy, supplier: far, model: m, input: 0.05, output: 0.20}
  - {side: buy, supplier: far, model: m, from: 2999-01-01, input: 9, output: 9}
  - {side: buy, supplier: far, model: free, input: 0, output: 0}
"""


def test_bill(tmp_path):
    server = serve(tmp_path, Mock(answer), PRICES)
    for model in ("m", "m", "free", "odd"):
        assert ask(server, model)[0] == 200
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests") == 4)
    assert server.stop() == 0
    lines = {x["key"]: x for x in map(json.loads, run("bill", "--by", "model", "--json", "-l", server.ledger).stdout.splitlines())}
    # 400 x 0.10 + 600 x 0.01 + 60 x 0.40 + 40 x 1.00 micro-units, and a micro-unit a request; twice
    assert lines["m"]["charge"] == "0.000222" and lines["m"]["cost"] == "0.00014"
    assert lines["m"]["reasoning_tokens"] == 80 and lines["m"]["currency"] == "EUR"
    assert lines["free"]["charge"] == "0.00" and lines["free"]["unpriced"] == 0
    assert lines["odd"]["unpriced"] == 1 and lines["odd"]["disputed"] == 1
    table = list(csv.reader(io.StringIO(run("bill", "--by", "supplier", "--csv", "-l", server.ledger).stdout)))
    assert table[0][0] == "supplier" and {r[0] for r in table[1:]} == {"far/m", "far/free", "far/odd"}
    pending = run("bill", "--by", "model", "--pending", "--json", "-l", server.ledger).stdout.splitlines()
    assert [json.loads(x)["key"] for x in pending] == ["odd"]
    assert not run("bill", "--to", "2020-01-01", "--json", "-l", server.ledger).stdout
    for args in (("--to", "yesterday"), ("--from", "2026-02-30"), ("--from", "2026-12-01", "--to", "2026-01-01"), ("--by", "mood"), ("--json", "--csv")):
        assert run("bill", "-l", server.ledger, *args).returncode == 2
    text = run("bill", "-l", server.ledger)
    assert "default" in text.stdout and "1 without a price" in text.stderr


def test_batch_has_a_price_of_its_own(tmp_path):
    """And what was written down before there was this tier keeps its meaning: the numbers of the others are as they were."""
    server = serve(tmp_path, Mock(answer), "currency: EUR\nprices:\n  - {model: m, input: 2, output: 2}\n"
                   "  - {model: m, tier: batch, input: 1, output: 1}\n")
    for tier in ("batch", "flex", "default", "priority"):
        assert ask(server, "m", service_tier=tier)[0] == 200
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests") == 4)
    assert server.stop() == 0
    lines = {x["key"]: x for x in map(json.loads, run("bill", "--by", "tier", "--json", "-l", server.ledger).stdout.splitlines())}
    assert {k: x["charge"] for k, x in lines.items()} == {"batch": "0.0011", "flex": "0.0022", "default": "0.0022", "priority": "0.0022"}
    with sqlite3.connect(server.ledger) as db:
        assert [t for t, in db.execute("SELECT tier FROM usage ORDER BY rowid")] == [3, 0, 1, 2]
    assert run("audit", "-l", server.ledger).returncode == 0


def test_audit(tmp_path):
    server = serve(tmp_path, Mock(answer), PRICES)
    for _ in range(5):
        assert ask(server, "m")[0] == 200
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests") == 5)
    done = run("audit", "-l", server.ledger)  # while it serves
    assert done.returncode == 0 and "5 rows" in done.stdout
    assert server.stop() == 0
    db = sqlite3.connect(server.ledger)
    db.execute("UPDATE usage SET charge_nano = 0 WHERE seq = 3")
    db.commit()
    db.close()
    done = run("audit", "-l", server.ledger)
    assert done.returncode == 1 and "row 3" in done.stderr and not done.stdout


def test_cut_answers_are_estimated(tmp_path):
    def cut(a):
        a.begin()
        a.event(chunk({"content": "word " * 20}))
        a.cut()

    server = serve(tmp_path, Mock(cut), PRICES)
    status, _, body = server.request("POST", "/v1/chat/completions", {"model": "m", "stream": True,
                                                                     "messages": [{"role": "user", "content": "x"}]})
    assert status == 200 and b"error" in body and b"[DONE]" not in body
    wait_for("booked", lambda: server.balance().get("default"))
    assert server.stop() == 0
    line = json.loads(run("bill", "--json", "-l", server.ledger).stdout)
    assert line["estimated"] == 1 and line["charge"] != "0.00" and line["completion_tokens"] >= 20


def test_prices_that_are_wrong(tmp_path):
    for text, word in (("prices:\n  - {model: m, output: 1}\n", "currency"), ("currency: Euro\n", "currency"),
                       ("currency: EUR\nprices:\n  - {output: 1.0000000001}\n", "output"), ("currency: EUR\nprices: 3\n", "list"),
                       ("currency: EUR\nprices:\n  - {output: -1}\n", "below 0"), ("currency: EUR\nprices:\n  - {outpt: 1}\n", "outpt"),
                       ("currency: EUR\nprices:\n  - {output: 1, from: soon}\n", "soon")):
        path = tmp_path / "c.yaml"
        path.write_text("suppliers:\n  - {name: a, base_url: 'http://127.0.0.1:9/v1', models: [m]}\n" + text)
        done = run("serve", "--check", "-c", path)
        assert done.returncode in (1, 2) and word in done.stderr, (text, done.stderr)
