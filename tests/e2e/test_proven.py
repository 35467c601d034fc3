"""A contract's statement from the signed logs: who has no ledger makes it again, number by number, and whatever was dropped, doubled,
changed, hidden or put elsewhere is refused. The logs' trees are made here a second time, from the raw tables."""
import hashlib
import json
import sqlite3

import cbor2
import pytest

from mock_upstream import Mock
from serving import Server, wait_for
from test_power import CONTRACT as HERE
from test_power import SITES
from test_statement import MEASURED, at, fill, gaufre, make_world  # noqa: F401  (make_world is the fixture `world`)

pytestmark = pytest.mark.sanitize
COUNTED = ("yes", "estimated", "disputed")
POWERS = ("own", "borrowed", "paid")


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def answer_leaf(r):
    """As docs/receipts.md has it, of rows as test_statement.py makes them."""
    known = bool(r["energy_method"])
    v = [1, r["request_id"], sha(bytes(16), r["tenant"].encode()), r["at_us"], r["model"], r["supplier"], r["site"], "default", r["weights"],
         r["engine"], r["sampling"], b"", b"", r["status"], COUNTED[r["usage_state"]], r["prompt_tokens"], r["cached_tokens"],
         r["cache_write_tokens"], r["completion_tokens"], r["reasoning_tokens"], r["charge_nano"], r["currency"], r["price_book"],
         r["energy_uj"] if known else None, "accelerator" if known else "", "model" if known else "", r["energy_uncertainty"],
         r["contract"], r["tranche"], POWERS[r["lent"]], r["corrects"]]
    return sha(b"\0", cbor2.dumps({i + 1: x for i, x in enumerate(v)}))


def power_leaf(r):
    numbers = [r[k] for k in ("at_us", "from_us", "until_us", "contracted_uj", "energised_uj", "encumbered_uj", "ready_uj")]
    v = [1, bytes.fromhex(r["salt"] or "00" * 16), r["site"], *numbers, *(r[f"{c}_uj"] for c in MEASURED), r["cause"], r["reason"]]
    details = cbor2.dumps({i + 1: x for i, x in enumerate(v)})
    return sha(b"\0", cbor2.dumps({1: 1, 2: sha(r["site"].encode()), 3: sha(details)}))


def plant(db, prefix, leaves, at_us):
    """The tree of these leaves, as a ledger keeps it: nodes of every eighth level, and those of its size."""
    level, i, nodes = leaves, 0, []
    while level:
        if i and not i % 8:
            db.executemany(f"INSERT INTO {prefix}_node VALUES ({i}, ?, ?)", [(k, x.hex()) for k, x in enumerate(level)])
        if len(level) % 2:
            nodes.append(level[-1].hex())
        level = [sha(b"\1", a, b) for a, b in zip(level[::2], level[1::2])]
        i += 1
    db.execute(f"UPDATE {prefix} SET base = 0, size = ?, at_us = ?, nodes = ?", (len(leaves), at_us, "".join(nodes)))


def sign(folder):
    """A server signs what is there when it starts."""
    assert Server(str(folder), "-c", folder / "c.yaml", models=[]).stop() == 0


def grow(folder, ledger):
    """The logs' trees over all rows that are there."""
    for prefix, table, leaf in (("tree", "usage", answer_leaf), ("power_tree", "power", power_leaf)):
        rows = ledger.db.execute(f"SELECT * FROM {table} ORDER BY seq").fetchall()
        plant(ledger.db, prefix, [leaf(r) for r in rows], max(r["at_us"] for r in rows))
    ledger.db.commit()
    sign(folder)
    gaufre(folder, "audit")  # it is the tree that the ledger makes of its rows


def verify(folder, path, *more, ok=True):
    return gaufre(folder, "verify", "--statement", folder / "s.json", *more, path, ok=ok)


@pytest.fixture(name="march")
def make_march(world):
    folder, ledger = world
    fill(ledger, 11)
    for i, reason in enumerate(("facility 1400", "it 1200", "nothing")):  # the basis of a piece's watts is a part of it
        start, watts = (at("2026-03-15") + 60 * i) * 10 ** 6, 5000000
        ledger.power("fra1", start, start + 60 * 10 ** 6, [60 * 10 ** 6 * watts] * 2 + [0, 60 * 10 ** 6 * 4500000] + [0] * 4, reason=reason)
    ledger.commit()
    grow(folder, ledger)
    (folder / "s.json").write_text(gaufre(folder, "contract", "statement", "acme", "--month", "2026-03", "--json"))
    (folder / "r.jsonl").write_text(gaufre(folder, "receipts", "export", "--statement", folder / "s.json"))
    return folder, ledger


def test_it_is_made_again_from_the_logs(march):
    folder, ledger = march
    key = gaufre(folder, "receipts", "key", "--hex").strip()
    out = verify(folder, folder / "r.jsonl", "-k", key)
    told = json.loads((folder / "s.json").read_text())
    assert "what these rows and the contract in it come to" in out and told["versions"][0]["sha256"] in out
    # Of others nothing is told: who borrowed is no name, other contracts' requests and other places are hashes.
    lines = [json.loads(x) for x in (folder / "r.jsonl").read_text().splitlines()]
    assert {x["tenant"] for x in lines if x.get("salt") is not None} == {"acme"}
    text = (folder / "r.jsonl").read_text()
    assert "oslo".encode().hex() not in text and "fra1".encode().hex() in text and b"\x63lab\x18\x1d".hex() not in text
    power = [x for x in lines if "row" in x]
    assert len(power) == ledger.db.execute("SELECT count(*) FROM power WHERE site IN ('fra1', 'region:eu')").fetchone()[0]
    # Rows that come later are no part of it; those of its time are told.
    ledger.request(at("2026-03-05") * 10 ** 6, "acme", "acme", "a", 2, 100, 10 ** 9, 5)
    ledger.db.execute("DELETE FROM tree_node")
    ledger.db.execute("DELETE FROM power_tree_node")
    grow(folder, ledger)
    later = folder / "later.jsonl"
    later.write_text(gaufre(folder, "receipts", "export", "--statement", folder / "s.json"))
    verify(folder, later)
    # A month with nothing of before it begins in the middle of the logs.
    (folder / "s.json").write_text(gaufre(folder, "contract", "statement", "acme", "--from", "2026-03-10", "--until", "2026-03-20", "--json"))
    some = folder / "some.jsonl"
    some.write_text(gaufre(folder, "receipts", "export", "--statement", folder / "s.json"))
    verify(folder, some)


def test_what_is_not_so_is_refused(march):
    folder, ledger = march
    lines = (folder / "r.jsonl").read_text().splitlines()
    told = [json.loads(x) for x in lines]
    begin = next(i for i, x in enumerate(told) if x.get("object") == "power")
    row = next(i for i, x in enumerate(told) if "row" in x and "fra1".encode().hex() in x["row"])
    mine = next(i for i, x in enumerate(told) if "salt" in x)
    lent = next(i for i, x in enumerate(told) if "entry" in x and "salt" not in x)
    details = bytes.fromhex(told[row]["row"])

    def wrong(lines, *says):
        (folder / "wrong.jsonl").write_text("".join(x + "\n" for x in lines))
        err = verify(folder, folder / "wrong.jsonl", ok=False)
        assert any(s in err for s in says), err

    def replaced(i, **what):
        return [*lines[:i], json.dumps({"i": told[i]["i"], **what}, separators=(",", ":")), *lines[i + 1:]]

    def leaf(i):
        return sha(b"\0", bytes.fromhex(told[i]["entry"])).hex()

    for i in (row, mine, lent):
        wrong([*lines[:i], *lines[i + 1:]], "stands where")
        wrong([*lines[:i], lines[i], *lines[i:]], "stands where")
    wrong([*lines[:row], lines[row + 1], lines[row], *lines[row + 2:]], "stands where")
    # One bit of a row of power, of a request, of a hash.
    for bit in (7, 8 * 20, 8 * len(details) - 1, 8 * 50 + 3):
        flipped = bytearray(details)
        flipped[bit // 8] ^= 1 << bit % 8
        wrong(replaced(row, row=flipped.hex()), "row of power", "of power: ", "not those that its head was signed for")
    wrong(replaced(lent, entry=told[lent]["entry"].replace("acme".encode().hex(), "bcme".encode().hex())), "not of the contract")
    wrong(replaced(mine, tenant="lab", salt=told[mine]["salt"], entry=told[mine]["entry"]), "not of the tenant")
    # Hidden: a row of power is known by its place, a request by what is missing.
    wrong(replaced(row, place=sha(b"fra1").hex(), rest=sha(details).hex()), "and is not shown")
    wrong(replaced(row, place=sha(b"oslo").hex(), rest=sha(details).hex()), "not those that its head was signed for")
    for i in (mine, lent):
        wrong(replaced(i, leaf=leaf(i)), "differs")
    # Not all of it.
    wrong(lines[:begin], "no range of the log of power")
    wrong(lines[begin:], "no range of the log of answers")
    wrong(lines[:-1], "ends behind")
    wrong([*lines[begin:], *lines[begin:]], "two ranges")
    wrong([*lines[:begin], lines[0]], "stands where")
    # The statement.
    text = (folder / "s.json").read_text()
    for change in (lambda s: s.update(total="1.00"), lambda s: s["lines"][3].update(amount="1.00"), lambda s: s["lines"].pop(),
                   lambda s: s["parts"][0]["tranches"][0].update(delivered_joules=1), lambda s: s["upto"].update(power=5),
                   lambda s: s["versions"][0].update(text=s["versions"][0]["text"].replace("95.5", "95.4")), lambda s: s.update(more=1)):
        s = json.loads(text)
        change(s)
        (folder / "s.json").write_text(json.dumps(s))
        assert "differs" in verify(folder, folder / "r.jsonl", ok=False)
    s = json.loads(text)
    s["upto"]["power"] += 10000
    (folder / "s.json").write_text(json.dumps(s))
    assert "is shown up to row" in verify(folder, folder / "r.jsonl", ok=False)
    # Another time: what is before the range may be of it.
    (folder / "s.json").write_text(text)
    for name in ("tree_head", "power_tree_head"):
        ledger.db.execute(f"DELETE FROM {name}")
    ledger.db.commit()
    assert "under a signed head" in gaufre(folder, "receipts", "export", "--statement", folder / "s.json", ok=False)
    # A power log that was changed in the ledger.
    ledger.db.execute("UPDATE power_tree SET size = size - 1")
    ledger.db.commit()
    assert "tree" in gaufre(folder, "audit", ok=False)


def test_rows_of_before_are_not_proven(world):
    folder, ledger = world
    fill(ledger, 12)
    sign(folder)
    (folder / "s.json").write_text(gaufre(folder, "contract", "statement", "acme", "--month", "2026-03", "--json"))
    assert "before there was a log of answers" in gaufre(folder, "receipts", "export", "--statement", folder / "s.json", ok=False)


def test_a_server_writes_the_logs(tmp_path):
    """Rows of a real server: power that it watched until it was killed or stopped, requests, a note."""
    (tmp_path / "c.yaml").write_text(SITES.replace("URL", Mock().url))
    (tmp_path / "acme.yaml").write_text(HERE)
    gaufre(tmp_path, "contract", "amend", tmp_path / "acme.yaml")
    gaufre(tmp_path, "tenant", "new", "acme")
    key = gaufre(tmp_path, "key", "new", "k", "--tenant", "acme").strip()

    def serve():
        return Server(str(tmp_path), "-c", tmp_path / "c.yaml", "--accounts", tmp_path / "accounts.db", models=[])

    def ask(server):
        return server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]},
                           {"Authorization": f"Bearer {key}"})[0]
    server = serve()
    assert ask(server) == 200
    assert server.stop() == 0
    server = serve()
    assert ask(server) == 200
    wait_for("booked", lambda: server.balance().get("acme", {}).get("requests") == 2)
    server.process.kill()
    server.process.wait()
    gaufre(tmp_path, "power", "note", "fra1", "--cause", "maintenance", "--from", "2026-11-30T10:00:00Z", "--until", "2026-11-30T10:01:00Z")
    sign(tmp_path)  # the note had no key; what the journal had is booked
    day = sqlite3.connect(tmp_path / "ledger.db").execute("SELECT date(max(at_us) / 1000000, 'unixepoch') FROM power").fetchone()[0]
    (tmp_path / "s.json").write_text(gaufre(tmp_path, "contract", "statement", "acme-2026", "--from", day, "--until", "2036-01-01", "--json"))
    (tmp_path / "r.jsonl").write_text(gaufre(tmp_path, "receipts", "export", "--statement", tmp_path / "s.json"))
    out = verify(tmp_path, tmp_path / "r.jsonl")
    assert "what these rows" in out
    salts = [r[0] for r in sqlite3.connect(tmp_path / "ledger.db").execute("SELECT salt FROM power")]
    assert len(salts) == len(set(salts)) and all(len(s) == 32 for s in salts)
