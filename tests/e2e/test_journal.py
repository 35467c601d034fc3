"""The journal before the ledger's database: rows are safe while the database takes none, and whoever looks sees them."""
import json
import os
import sqlite3
import subprocess
import threading

import pytest

from finding import find_gaufre
from mock_upstream import Mock
from serving import Server, wait_for

pytestmark = pytest.mark.sanitize

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ROW_BYTES_MIN = 100


def answer(a):
    a.reply(200, {"id": "c", "object": "chat.completion", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}], "usage": USAGE})


def serve(folder):
    (folder / "c.yaml").write_text(f"suppliers:\n  - name: far\n    base_url: {Mock(answer).url}\n    models: [m]\n")
    return Server(str(folder), "-c", folder / "c.yaml", models=[])


def ask(server, n):
    for _ in range(n):
        status, _, _ = server.request("POST", "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]})
        assert status == 200


def ask_together(server, n_clients, n_each):
    clients = [threading.Thread(target=ask, args=(server, n_each)) for _ in range(n_clients)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()


def run(*args, code=0):
    done = subprocess.run([find_gaufre(), *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def requests_of(path):
    return sum(json.loads(x)["requests"] for x in run("usage", "--json", "-l", path).stdout.splitlines())


def hold(path):
    """Another program has the database for itself."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    return db


def test_the_database_is_held_and_the_process_dies(tmp_path):
    server = serve(tmp_path)
    ask(server, 1)
    wait_for("booked", lambda: server.balance().get("default"))
    held = hold(server.ledger)
    ask_together(server, 4, 10)
    wait_for("on disk", lambda: server.metric("gaufre_ledger_rows_total") == 41)
    wait_for("told", lambda: "cannot be moved from the journal into the database" in server.read_log())
    assert server.metric("gaufre_ledger_rows_pending") == 0 and server.metric("gaufre_ledger_rows_in_journal") == 40
    assert os.path.getsize(server.ledger + "-rows") > 40 * ROW_BYTES_MIN
    server.process.kill()
    server.process.wait()
    held.rollback()
    held.close()
    server = serve(tmp_path)
    assert "40 rows from the journal" in server.read_log()
    assert requests_of(server.ledger) == 41
    assert "41 rows" in run("audit", "-l", server.ledger).stdout
    assert server.stop() == 0
    assert os.path.getsize(server.ledger + "-rows") == 0


def test_how_far_it_is_behind(tmp_path):
    """While another program holds the database the oldest row grows older; then all are there, and none is behind."""
    server = serve(tmp_path)
    held = hold(server.ledger)
    ask(server, 1)
    lag = wait_for("behind", lambda: server.metric("gaufre_ledger_lag_seconds"))
    ask(server, 1)  # it is the oldest row that counts
    wait_for("further behind", lambda: server.metric("gaufre_ledger_lag_seconds") > lag + 1)
    held.rollback()
    held.close()
    wait_for("moved", lambda: server.metric("gaufre_ledger_rows_in_journal") == 0)
    wait_for("not behind", lambda: server.metric("gaufre_ledger_lag_seconds") == 0)
    assert server.stop() == 0 and requests_of(server.ledger) == 2


def test_who_looks_sees_what_was_written(tmp_path):
    """Beside a server that writes, and after one that was killed."""
    server = serve(tmp_path)
    seen = 0
    for _ in range(4):
        ask_together(server, 8, 8)
        written = server.metric("gaufre_ledger_rows_total")
        now = requests_of(server.ledger)
        assert now >= written and now >= seen
        seen = now
    ask_together(server, 8, 8)
    written = server.metric("gaufre_ledger_rows_total")
    server.process.kill()
    server.process.wait()
    assert written <= requests_of(server.ledger) <= 5 * 64
    run("audit", "-l", server.ledger)


def test_damage_is_told(tmp_path):
    server = serve(tmp_path)
    ask(server, 1)
    wait_for("booked", lambda: server.balance().get("default"))
    held = hold(server.ledger)
    for n in (2, 3, 4):  # groups of their own
        ask(server, 1)
        wait_for("on disk", lambda: server.metric("gaufre_ledger_rows_total") == n)
    server.process.kill()
    server.process.wait()
    held.rollback()
    held.close()
    path = server.ledger + "-rows"
    with open(path, "r+b") as f:
        f.seek(60)
        byte = f.read(1)
        f.seek(60)
        f.write(bytes([byte[0] ^ 1]))
    for args in (("audit",), ("usage",), ("bill",), ("serve", "-c", tmp_path / "c.yaml", "--port", 0)):
        assert "is damaged: bytes 0 to " in run(*args, "--ledger", server.ledger, code=1).stderr
    os.rename(path, path + ".away")
    server = serve(tmp_path)
    assert requests_of(server.ledger) == 3  # all but the one of the damage
    ask(server, 1)
    wait_for("booked", lambda: requests_of(server.ledger) == 4)
    run("audit", "-l", server.ledger)
    assert server.stop() == 0
