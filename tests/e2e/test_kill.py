"""The process is killed at random instants under load, again and again, on one ledger: what it had said was written is
there, every row is what a client was answered, nothing is there twice, and balances are sums of rows."""
import http.client
import json
import os
import random
import sqlite3
import subprocess
import threading
import time

from finding import find_gaufre
from serving import MODEL, SLOW, Server, wait_for

KILLS = int(os.environ.get("GAUFRE_KILLS", "15"))  # make soak: 1,000
CLIENTS = 4
OUTPUT = 6


class Client(threading.Thread):
    """Asks until nobody answers; remembers what it was answered, by the request's id."""

    def __init__(self, port, seed):
        super().__init__(daemon=True)
        self.port, self.random = port, random.Random(seed)
        self.answered, self.begun, self.in_flight = {}, set(), 0

    def run(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60 * SLOW)
            while True:
                self.ask(connection)
        except (OSError, http.client.HTTPException, ValueError):
            pass  # killed

    def ask(self, connection):
        stream = self.random.random() < .5
        body = {"model": MODEL, "prompt": "One two three " * self.random.randint(1, 4), "stream": stream,
                "max_tokens": self.random.randint(1, OUTPUT), "n": self.random.randint(1, 3)}
        self.in_flight = 1
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        self.begun.add(answer.headers["x-request-id"])
        text = answer.read()
        if stream:
            if b"[DONE]" not in text:
                raise ValueError("cut")
            last = [e for e in text.split(b"\n\n") if e.startswith(b"data: {")][-1]
            usage = json.loads(last[6:])["usage"]
        else:
            usage = json.loads(text)["usage"]
        self.answered[answer.headers["x-request-id"]] = (usage["prompt_tokens"], usage["completion_tokens"])
        self.in_flight = 0


def live_and_die(folder, seed):
    """One life: returns its clients, and how many rows it said were written."""
    chance = random.Random(seed)
    server = Server(folder, "--threads", 1, "--context", 256, "--kv-memory", "64M")
    clients = [Client(server.port, seed * 100 + i) for i in range(CLIENTS)]
    for c in clients:
        c.start()
    if chance.random() < .75:  # else perhaps before anybody had an answer
        wait_for("answers", lambda: sum(len(c.answered) for c in clients) >= 3)
    end = time.monotonic() + chance.uniform(.02, .6)
    written = 0
    while time.monotonic() < end:
        written = int(server.metric("gaufre_ledger_rows_total"))
    server.process.kill()
    server.process.wait()
    server.log.close()
    for c in clients:
        c.join()
    return clients, written


def rows_of(path):
    """What a process that was killed left in the journal is put into the database by whoever looks."""
    done = subprocess.run([find_gaufre(), "audit", "-l", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = {r: (p, c) for r, p, c in db.execute("SELECT request_id, prompt_tokens, completion_tokens FROM usage")}
    n, p, c = db.execute("SELECT n_requests, prompt_tokens, completion_tokens FROM balance"
                         " WHERE tenant = 'default'").fetchone() or (0, 0, 0)
    db.close()
    assert n == len(rows)
    assert (p, c) == (sum(r[0] for r in rows.values()), sum(r[1] for r in rows.values()))
    return rows


def test_killed_at_any_instant(tmp_path):
    folder, before = str(tmp_path), {}
    for seed in range(KILLS):
        clients, written = live_and_die(folder, seed)
        rows = rows_of(os.path.join(folder, "ledger.db"))
        assert before.items() <= rows.items(), "a row of an earlier life is gone"
        new = {r: u for r, u in rows.items() if r not in before}
        assert len(new) >= written, "rows that were written are gone"
        answered = {r: u for c in clients for r, u in c.answered.items()}
        begun = {r for c in clients for r in c.begun}
        for r, usage in new.items():
            if r in answered:
                assert usage == answered[r]
        assert len(new.keys() - begun) <= sum(c.in_flight for c in clients), "a row that nobody asked for"
        before = rows
    assert len(before) > KILLS, "the clients hardly got an answer: this proves nothing"
    last = Server(folder, "--threads", 1)
    assert last.chat("hi", max_tokens=1)[0] == 200
    assert last.stop() == 0
    assert len(rows_of(last.ledger)) == len(before) + 1
