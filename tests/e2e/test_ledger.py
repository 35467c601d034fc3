"""Looking after the ledger: what is pending, corrections, suppliers' invoices; while a server runs."""
import hashlib
import json
import signal
import sqlite3
import struct
import subprocess
import threading

from finding import find_gaufre
from mock_upstream import Mock
from serving import Server, wait_for

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
PRICES = """currency: EUR
prices:
  - {model: m, input: 0.10, output: 0.40}
  - {side: buy, supplier: far, model: m, input: 0.05, output: 0.20}
"""


def run(server, *args, code=0, text=None):
    done = subprocess.run([find_gaufre(), *map(str, args), "-l", server.ledger], capture_output=True, text=True, check=False, input=text)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def lines(done):
    return [json.loads(x) for x in done.stdout.splitlines()]


def answer(a):
    usage = USAGE if a.request.json["model"] != "odd" else {**USAGE, "total_tokens": 7}
    a.reply(200, {"id": "c", "object": "chat.completion", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}], "usage": usage})


def serve(folder, prices=PRICES):
    (folder / "c.yaml").write_text(f"suppliers:\n  - name: far\n    base_url: {Mock(answer).url}\n    models: [m, odd]\n{prices}")
    return Server(str(folder), "-c", folder / "c.yaml", models=[])


def ask(server, *models):
    """Their requests' ids, as the ledger has them."""
    ids, before = [], server.balance().get("default", {}).get("requests", 0)
    for model in models:
        status, headers, _ = server.request("POST", "/v1/chat/completions",
                                            {"model": model, "messages": [{"role": "user", "content": "x"}]})
        assert status == 200
        ids.append(headers["x-request-id"])
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests", 0) == before + len(models))
    return ids


def set_back(path):
    """Make all rows ten years older, as if they had been written then: their links are those of such rows."""
    db = sqlite3.connect(path)
    link = bytes(16)
    texts, numbers = ("request_id", "tenant", "key_id", "model", "supplier", "currency"), (
        "at_us", "prompt_tokens", "cached_tokens", "completion_tokens", "energy_uj", "status", "cache_write_tokens",
        "reasoning_tokens", "usage_state", "tier", "charge_nano", "cost_nano")
    db.execute("UPDATE usage SET at_us = at_us - 315360000000000")
    db.execute("UPDATE usage SET salt = '', weights = '', engine = '', sampling = '', prompt_hash = '', output_hash = '', price_book = ''")
    db.execute("UPDATE tree SET base = (SELECT max(seq) FROM usage), size = 0, nodes = ''")  # the log of answers begins behind them
    db.execute("DELETE FROM tree_head")
    db.execute("DELETE FROM tree_node")
    db.row_factory = sqlite3.Row
    for row in db.execute("SELECT * FROM usage ORDER BY seq").fetchall():
        assert not (row["team"] or row["labels"] or row["corrects"])
        data = b"".join(row[t].encode() + b"\0" for t in texts) + struct.pack("<12q", *(row[n] for n in numbers))
        measured = [row[n] for n in ("energy_boundary", "energy_method", "energy_uncertainty", "carbon_location_ug",
                                     "carbon_market_ug")]
        if row["site"] or measured != [0, 0, 0, -1, -1]:
            data += row["site"].encode() + b"\0" + struct.pack("<5q", *measured)
        assert not (row["contract"] or row["tranche"] or row["lent"])
        link = hashlib.blake2b(link + data, digest_size=16).digest()
        db.execute("UPDATE usage SET chain = ? WHERE seq = ?", (link.hex(), row["seq"]))
    db.commit()
    db.close()


def test_what_is_pending_is_resolved(tmp_path):
    server = serve(tmp_path)
    ids = ask(server, "m", "odd")
    found = lines(run(server, "ledger", "pending", "--json"))
    assert [(x["request_id"], x["why"], x["charge"], x["cost"]) for x in found] == [(ids[1], "unpriced, disputed", None, None)]
    assert ids[1] in run(server, "ledger", "pending").stdout and not lines(run(server, "ledger", "pending", "--json", "--tenant", "x"))
    run(server, "ledger", "resolve", ids[1], code=2)
    assert "owed" in run(server, "ledger", "resolve", ids[1], "--charge", "1", code=1).stderr
    run(server, "ledger", "resolve", "nobody", "--charge", "1", "--cost", "1", code=1)
    run(server, "ledger", "resolve", ids[1], "--charge", "-1", "--cost", "1", code=2)
    run(server, "ledger", "resolve", ids[1], "--charge", "0.0003", "--cost", "0.0001")
    assert not lines(run(server, "ledger", "pending", "--json"))
    ask(server, "m", "m", "m")  # its thread finds the chain where the command left it
    assert "6 rows" in run(server, "audit").stdout
    bill = lines(run(server, "bill", "--by", "model", "--json"))
    assert {x["key"]: (x["requests"], x["charge"], x["cost"], x["unpriced"], x["disputed"]) for x in bill} == {
        "m": (4, "0.00056", "0.00028", 0, 0), "odd": (1, "0.0003", "0.0001", 0, 0)}
    focus = run(server, "bill", "--focus", "1.2").stdout
    assert focus.count(",Usage,Correction,") == 1 and "(correction)" in run(server, "bill", "--html").stdout
    changed = lines(run(server, "ledger", "resolve", ids[0], "--cost", "0.00006", "--json"))[0]
    assert changed["corrects"] == ids[0] and changed["cost"] == "-0.00001" and changed["charge"] == "0.00"
    assert server.stop() == 0
    assert "7 rows" in run(server, "audit").stdout


def test_an_invoice_is_reconciled(tmp_path):
    server = serve(tmp_path)
    ids = ask(server, "m", "m", "m", "odd")
    head = "request_id,model,input_tokens,output_tokens,amount,currency\n"
    bill = head + "".join(f"{x},m,1000,100,{amount},EUR\n" for x, amount in zip(ids, ("0.00007", "0.00008", "0.00007")))
    bill += f"{ids[3]},odd,1000,100,0.1,EUR\nstranger,m,1,1,2,EUR\n"
    (tmp_path / "bill.csv").write_text(bill)
    done = run(server, "ledger", "reconcile", tmp_path / "bill.csv", "--supplier", "far", "--json", "--all", code=1)
    found = {x["request_id"]: x for x in lines(done)}
    assert [found[x]["why"] for x in ids] == ["same", "price", "same", "unpriced"] and found["stranger"]["why"] == "not ours"
    assert found[ids[1]]["difference"] == found[ids[1]]["from_price"] == "0.00001" and found[ids[1]]["line"] == 3
    assert found["stranger"]["ours"] is None and found["stranger"]["theirs"]["amount"] == "2.00"
    done = run(server, "ledger", "reconcile", "-", "--supplier", "far", code=1, text=bill)
    assert "stranger" in done.stdout and "same: 2" in done.stdout and ids[0] not in done.stdout
    run(server, "ledger", "resolve", ids[3], "--charge", "0.2", "--cost", "0.1")
    done = run(server, "ledger", "reconcile", "-", "--supplier", "far", text="".join(bill.splitlines(True)[i] for i in (0, 1, 3, 4)) +
               f"{ids[1]},m,1000,100,0.00007,EUR\n")
    assert "same: 4" in done.stdout and "difference: 0.00" in done.stdout
    assert "line 2" in run(server, "ledger", "reconcile", "-", "--supplier", "far", text=head + "a,b\n", code=1).stderr
    run(server, "ledger", "reconcile", "-", text=bill, code=2)
    run(server, "ledger", "reconcile", "-", "--supplier", "far", "--name", "m", text=bill, code=2)
    run(server, "ledger", "reconcile", tmp_path / "none.csv", "--supplier", "far", code=1)
    # A day's sum, by the model's name as the supplier has it.
    day = lines(run(server, "bill", "--by", "day", "--json"))[0]["key"]
    total = f"day,model,input_tokens,output_tokens,amount,currency\n{day},M-large,3000,300,0.00021,EUR\n{day},odd,1000,100,0.1,EUR\n"
    if len(lines(run(server, "bill", "--by", "day", "--json"))) == 1:  # midnight did not pass
        done = run(server, "ledger", "reconcile", "-", "--supplier", "far", "--name", "M-large=m", text=total)
        assert "same: 2" in done.stdout
    assert server.stop() == 0


def test_a_copy_is_made_while_it_serves(tmp_path):
    server = serve(tmp_path)
    ask(server, "m", "m", "m")
    copy = tmp_path / "copy.db"
    stop, failed = threading.Event(), []

    def go_on():
        while not stop.is_set():
            if server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]})[0] != 200:
                failed.append(1)
    asking = threading.Thread(target=go_on)
    asking.start()
    for i in range(5):
        done = run(server, "ledger", "backup", tmp_path / f"copy{i}.db")
        assert int(done.stdout.split(": ")[1].split()[0]) >= 3
    stop.set()
    asking.join()
    assert not failed
    wait_for("on disk", lambda: server.metric("gaufre_ledger_rows_pending") == 0)
    run(server, "ledger", "backup", copy)
    assert "there already" in run(server, "ledger", "backup", copy, code=1).stderr
    run(server, "ledger", "backup", tmp_path / "no" / "copy.db", code=1)
    kept = subprocess.run([find_gaufre(), "usage", "--json", "-l", copy], capture_output=True, text=True, check=True).stdout
    kept = json.loads(kept)
    assert kept["requests"] >= 3
    assert server.stop() == 0
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):  # the disk is lost
        (tmp_path / name).unlink(missing_ok=True)
    copy.rename(server.ledger)
    server = serve(tmp_path)
    assert server.balance()["default"] == kept
    ask(server, "m")
    run(server, "audit")
    assert server.stop() == 0


def test_rows_are_pruned_while_it_serves(tmp_path):
    server = serve(tmp_path)
    ask(server, "m", "odd", "m")
    before = server.balance()["default"]
    assert "0 rows" in run(server, "ledger", "prune", "--before", "2020-01-01").stdout
    for args in ((), ("--before", "soon"), ("--before", "2999-01-01")):
        run(server, "ledger", "prune", *args, code=2)
    assert server.stop() == 0
    set_back(server.ledger)
    server = serve(tmp_path)
    done = run(server, "ledger", "prune", "--before", "2020-01-01", code=1)
    assert "pending" in done.stderr and "3 rows" in run(server, "audit").stdout
    assert "3 rows taken out" in run(server, "ledger", "prune", "--before", "2020-01-01", "--also-pending").stdout
    assert "0 rows" in run(server, "audit").stdout and server.balance()["default"] == before
    ask(server, "m", "m")
    assert "2 rows" in run(server, "audit").stdout and server.balance()["default"]["requests"] == before["requests"] + 2
    assert server.stop() == 0


def test_a_supplier_has_another_currency(tmp_path):
    prices = PRICES.replace("model: m, input: 0.05,", "model: m, currency: USD, input: 0.05,")
    rates = """rates:
  - {from: USD, to: EUR, rate: 0.92}
  - {from: USD, rate: 0.9, since: 2026-01-01}
  - {from: USD, rate: 5, since: 2999-01-01}
"""
    server = serve(tmp_path, prices + rates)
    ids = ask(server, "m", "m")
    line = lines(run(server, "bill", "--by", "model", "--json"))[0]
    assert (line["charge"], line["cost"], line["currency"], line["unpriced"]) == ("0.00028", "0.000126", "EUR", 0)  # 0.00014 x 0.9
    invoice = "request_id,amount,currency\n" + "".join(f"{x},0.00007,USD\n" for x in ids)
    assert "same: 2" in run(server, "ledger", "reconcile", "-", "--supplier", "far", text=invoice).stdout
    # The rate is swapped with the prices; one that begins later is none yet.
    (tmp_path / "c.yaml").write_text((tmp_path / "c.yaml").read_text().split("rates:")[0] + "rates: [{from: USD, rate: 1, since: 2999-01-01}]\n")
    server.process.send_signal(signal.SIGHUP)
    wait_for("swapped", lambda: "configuration" in server.read_log().split("listening")[-1])
    late = ask(server, "m")[0]
    found = lines(run(server, "ledger", "pending", "--json"))
    assert [(x["request_id"], x["cost"], x["owed"], x["owed_currency"]) for x in found] == [(late, None, "0.00007", "USD")]
    run(server, "ledger", "resolve", late, "--cost", "0.00006", "--owed", "0.00008")
    assert not lines(run(server, "ledger", "pending", "--json"))
    assert server.stop() == 0
    db = sqlite3.connect(server.ledger)
    balances = {(a, u): n for a, u, n in db.execute("SELECT account, unit, amount FROM account WHERE unit <> 'tokens'")}
    db.close()
    assert balances == {("tenant:default", "EUR"): 420000, ("platform:revenue", "EUR"): -420000, ("platform:cost", "EUR"): 186000,
                        ("platform:exchange", "EUR"): -186000, ("platform:exchange", "USD"): 220000, ("supplier:far/m", "USD"): -220000}
    run(server, "audit")


def test_rates_that_are_wrong(tmp_path):
    for text, word in (("prices: [{currency: USD, output: 1}]", "side: buy"), ("prices: [{side: buy, currency: USD, output: 1}]", "rates"),
                       ("prices: [{side: buy, currency: dollars, output: 1}]", "dollars"), ("rates: [{from: USD}]", "rate"),
                       ("rates: [{from: USD, rate: 0}]", "above 0"), ("rates: [{from: USD, rate: -1}]", "above 0"),
                       ("rates: [{from: USD, to: GBP, rate: 1}]", "GBP"), ("rates: [{from: EUR, rate: 1}]", "own"),
                       ("rates: [{from: USD, rate: 0.0000000001}]", "0.0000000001"), ("rates: 3", "list"),
                       ("rates: [{from: USD, rate: 1, since: soon}]", "soon"), ("rates: [{from: USD, rate: 1, since: 2026-02-30}]", "2026-02-30"), ("rates: [{form: USD, rate: 1}]", "form")):
        path = tmp_path / "c.yaml"
        path.write_text("suppliers:\n  - {name: a, base_url: 'http://127.0.0.1:9/v1', models: [m]}\ncurrency: EUR\n" + text + "\n")
        done = subprocess.run([find_gaufre(), "serve", "--check", "-c", path], capture_output=True, text=True, check=False)
        assert done.returncode in (1, 2) and word in done.stderr, (text, done.stderr)
    path.write_text(path.read_text().split("rates")[0] + "rates: [{from: USD, rate: 0.92, since: 2026-12-01}]\n")
    done = subprocess.run([find_gaufre(), "serve", "--check", "-c", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "1 USD = 0.92 EUR" in done.stdout + done.stderr


def test_verbs(tmp_path):
    server = serve(tmp_path)
    for args in (("mend",), ("pending", "x"), ("resolve",), ("pending", "--from", "soon")):
        run(server, "ledger", *args, code=2)
    assert server.stop() == 0
