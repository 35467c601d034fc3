"""Several servers, one ledger and one store of accounts, both in PostgreSQL."""
import http.client
import json
import os
import pathlib
import random
import select
import socket
import subprocess
import tempfile
import threading
import urllib.parse

import pytest

from finding import find_gaufre
from mock_upstream import Mock
from postgres import postgres  # noqa: F401  fixture
from serving import SLOW, Server, wait_for

pytestmark = pytest.mark.sanitize
CONFIG = """suppliers:
  - {{name: far, base_url: "{url}", models: [m]}}
currency: EUR
prices:
  - {{model: m, input: 1, output: 2}}
  - {{side: buy, supplier: far, model: m, input: 0.5, output: 1}}
"""


def answer(a):
    """As many tokens as were asked for, so that no two sums are alike by chance."""
    n = a.request.json["max_tokens"]
    a.reply(200, {"id": "c", "object": "chat.completion", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10 * n, "completion_tokens": n, "total_tokens": 11 * n}})


def run(url, *args, code=0):
    done = subprocess.run([find_gaufre(), *map(str, args), "-l", url], capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def lines(done):
    return [json.loads(x) for x in done.stdout.splitlines()]


class Client(threading.Thread):
    """Asks until it is told to stop or nobody answers; remembers what it was answered, by the request's id."""

    def __init__(self, server, key, seed):
        super().__init__(daemon=True)
        self.port, self.key, self.random = server.port, key, random.Random(seed)
        self.answered, self.statuses, self.is_stopping = {}, set(), False
        self.start()

    def run(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60 * SLOW)
            while not self.is_stopping:
                self.ask(connection)
        except (OSError, http.client.HTTPException):
            pass  # killed

    def ask(self, connection):
        n = self.random.randint(1, 50)
        connection.request("POST", "/v1/chat/completions", json.dumps(
            {"model": "m", "max_tokens": n, "messages": [{"role": "user", "content": "x"}]}),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"})
        got = connection.getresponse()
        got.read()
        self.statuses.add(got.status)
        if got.status == 200:
            self.answered[got.headers["x-request-id"]] = n


class Fleet:
    def __init__(self, folder, postgres):
        self.folder, self.postgres, self.url, self.mock = folder, postgres, postgres.database(), Mock(answer)
        self.servers, self.clients = [], []
        (folder / "c.yaml").write_text(CONFIG.format(url=self.mock.url))
        self.cli("tenant", "new", "acme")
        self.key = self.cli("key", "new", "alice", "--tenant", "acme")

    def cli(self, *args):
        return subprocess.run([find_gaufre(), *args, "--accounts", self.url], capture_output=True, text=True, check=True).stdout.strip()

    def serve(self):
        home = self.folder / str(len(self.servers))
        home.mkdir()
        self.servers.append(Server(str(home), "-c", self.folder / "c.yaml", "--accounts", self.url, models=[], ledger=self.url))
        return self.servers[-1]

    def load(self, server, n=2):
        clients = [Client(server, self.key, len(self.clients) + i) for i in range(n)]
        self.clients += clients
        return clients

    def rows(self):
        text = self.postgres.sql(self.url, "SELECT request_id, prompt_tokens, completion_tokens FROM gaufre_ledger.usage")
        rows = [x.split("|") for x in text.splitlines()]
        assert len({r[0] for r in rows}) == len(rows)
        return {r: (int(p), int(c)) for r, p, c in rows}

    def close(self):
        for c in self.clients:
            c.is_stopping = True
        for s in self.servers:
            s.stop()


@pytest.fixture
def fleet(postgres, tmp_path):
    f = Fleet(tmp_path, postgres)
    yield f
    postgres.resume()
    f.close()


def written(server):
    return int(server.metric("gaufre_ledger_rows_total"))


def answers(clients):
    return sum(len(c.answered) for c in clients)


def test_servers_share_a_ledger(fleet):
    """Under load PostgreSQL is started anew and a server is killed: each row is there once, and all sums are right."""
    a, b = fleet.serve(), fleet.serve()
    of_a, of_b = fleet.load(a), fleet.load(b)
    wait_for("both write", lambda: written(a) > 20 and written(b) > 20)
    fleet.postgres.restart()
    before = written(a), written(b)
    wait_for("both go on", lambda: written(a) > before[0] + 20 and written(b) > before[1] + 20)
    said = written(a)
    a.process.kill()
    a.process.wait()
    c = fleet.serve()
    of_c = fleet.load(c)
    wait_for("a new one writes", lambda: written(c) > 20)
    for client in fleet.clients:
        client.is_stopping = True
        client.join()
        assert client.statuses == {200}
    assert b.stop() == 0 and c.stop() == 0, b.read_log() + c.read_log()
    rows = fleet.rows()
    for client in of_b + of_c:  # of these nothing may be missing
        assert client.answered.items() <= {r: n for r, (p, n) in rows.items()}.items()
    told = {r: n for x in fleet.clients for r, n in x.answered.items()}
    assert len(told) == answers(fleet.clients), "two servers gave one id"
    assert len(rows.keys() & {r for x in of_a for r in x.answered}) + len(of_a) >= said, "rows that were written are gone"
    assert len(rows.keys() - told.keys()) <= len(of_a), "a row that nobody asked for"  # in flight as it was killed
    assert all(told.get(r, n) == n and p == 10 * n for r, (p, n) in rows.items())
    tokens = sum(n for p, n in rows.values())
    assert f"{len(rows)} rows: every one" in run(fleet.url, "audit").stdout
    bill = lines(run(fleet.url, "bill", "--by", "key", "--json"))
    assert [(x["key"], x["requests"], x["completion_tokens"]) for x in bill] == [("alice", len(rows), tokens)]
    # A million tokens in cost 1 EUR and out 2: 12 millionths for each of them.
    assert round(float(bill[0]["charge"]) * 1e6) == 12 * tokens and round(float(bill[0]["cost"]) * 1e6) == 6 * tokens
    assert lines(run(fleet.url, "usage", "--json"))[0]["requests"] == len(rows)


def test_a_database_that_does_not_answer(fleet):
    """Requests go on, rows are kept and arrive later; and a server that is told to stop does."""
    a = fleet.serve()
    clients = fleet.load(a, 1)
    wait_for("rows", lambda: written(a) > 5)
    fleet.postgres.pause()
    before = answers(clients)
    wait_for("failures", lambda: a.metric("gaufre_ledger_failures_total") > 0)
    assert answers(clients) > before
    fleet.postgres.resume()
    clients[0].is_stopping = True
    clients[0].join()
    wait_for("all are written", lambda: a.metric("gaufre_ledger_rows_pending") == 0)
    assert clients[0].answered == {r: n for r, (p, n) in fleet.rows().items()}
    run(fleet.url, "audit")
    fleet.postgres.pause()
    assert a.stop() == 0
    assert "in PostgreSQL" in a.read_log() and "no answer" in a.read_log()


class Cutter:
    """In front of PostgreSQL: lets everything through, and the answers to some commits it keeps for itself and hangs up."""

    def __init__(self, postgres, folder):
        self.folder, self.to, self.n_cut, self.is_cutting = str(folder), f"{postgres.folder}/.s.PGSQL.5432", 0, False
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(f"{self.folder}/.s.PGSQL.5432")
        self.socket.listen(32)
        threading.Thread(target=self.run, daemon=True).start()

    def url(self, url):
        return url.split("?")[0] + "?host=" + urllib.parse.quote(self.folder, safe="")

    def run(self):
        while True:
            client = self.socket.accept()[0]
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.to)
        try:
            while True:
                for s in select.select([client, server], [], [])[0]:
                    data = s.recv(65536)
                    if not data:
                        return
                    (server if s is client else client).sendall(data)
                    if s is client and self.is_cutting and b"COMMIT\0" in data:
                        self.is_cutting = False  # one; it is done there when its answer is here
                        assert b"COMMIT\0" in server.recv(65536)
                        self.n_cut += 1
                        return
        except OSError:
            pass  # one of them hung up
        finally:
            client.close()
            server.close()


def test_answers_to_commits_are_lost(fleet):
    """What was committed is known by its ids when it is tried again: nothing is there twice, and no sum grew."""
    with tempfile.TemporaryDirectory(prefix="gaufre-cut-") as folder:  # a socket's path is short
        cutter = Cutter(fleet.postgres, folder)
        direct, fleet.url = fleet.url, cutter.url(fleet.url)
        a = fleet.serve()
        clients = fleet.load(a)
        for i in range(5):
            before = written(a)
            cutter.is_cutting = True
            wait_for("cut", lambda: cutter.n_cut > i)
            wait_for("rows", lambda: written(a) > before)
        for c in clients:
            c.is_stopping = True
            c.join()
            assert c.statuses == {200}
        assert a.stop() == 0
        fleet.url = direct
        assert fleet.rows().keys() == {r for c in clients for r in c.answered}
        assert "cannot be written" in a.read_log() and "not booked" not in a.read_log()
        run(direct, "audit")


def test_who_holds_the_lock_is_waited_for(fleet):
    a = fleet.serve()
    clients = fleet.load(a, 1)
    wait_for("rows", lambda: written(a) > 0)
    other = subprocess.Popen([f"{fleet.postgres.bin}/psql", "-q", fleet.url], stdin=subprocess.PIPE, text=True,
                             stdout=subprocess.DEVNULL)
    other.stdin.write("BEGIN; SELECT pg_advisory_xact_lock(7449369116517138433);\n")
    other.stdin.flush()
    wait_for("a commit that could not be", lambda: a.metric("gaufre_ledger_failures_total") > 0)
    other.stdin.close()
    other.wait()
    clients[0].is_stopping = True
    clients[0].join()
    wait_for("all are written", lambda: a.metric("gaufre_ledger_rows_pending") == 0)
    assert clients[0].answered.keys() == fleet.rows().keys()
    assert "lock timeout" in a.read_log()


def test_commands_and_copies(fleet, tmp_path):
    a = fleet.serve()
    clients = fleet.load(a, 1)
    wait_for("rows", lambda: written(a) > 10)
    # What a command does while a server writes.
    one = next(iter(fleet.rows()))
    run(fleet.url, "ledger", "resolve", one, "--charge", "7", "--cost", "3")
    invoice = tmp_path / "invoice.csv"
    invoice.write_text(f"request_id,amount,currency\n{one},3.5,EUR\nnone,1,EUR\n")
    found = {x["request_id"]: x for x in lines(run(fleet.url, "ledger", "reconcile", invoice, "--supplier", "far", "--json", code=1))}
    assert found[one]["why"] == "price" and found[one]["difference"] == "0.50" and found["none"]["why"] == "not ours"
    assert lines(run(fleet.url, "ledger", "pending", "--json")) == []
    clients[0].is_stopping = True
    clients[0].join()
    assert a.stop() == 0
    n = len(fleet.rows())
    assert n == answers(clients) + 1
    assert "pg_dump" in run(fleet.url, "ledger", "backup", tmp_path / "copy", code=1).stderr
    dump = tmp_path / "dump.sql"
    dump.write_text(fleet.postgres.run("pg_dump", "--schema=gaufre_ledger", fleet.url))
    other = fleet.postgres.database()
    assert "nothing is booked there" in run(other, "audit", code=1).stderr
    subprocess.run([f"{fleet.postgres.bin}/psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump, other], check=True, capture_output=True)
    assert f"{n} rows" in run(other, "audit").stdout
    assert "0 rows" in run(other, "ledger", "prune", "--before", "2020-01-01").stdout
    assert lines(run(other, "usage", "--json")) == lines(run(fleet.url, "usage", "--json"))
    # Not as it was written.
    fleet.postgres.sql(fleet.url, f"UPDATE gaufre_ledger.usage SET completion_tokens = 0 WHERE request_id = '{one}'")
    assert one in run(fleet.url, "audit", code=1).stderr


def test_an_address_is_not_shown(tmp_path):
    """In which a password may be."""
    url = "postgresql://me:secret@127.0.0.1:1/none"
    (tmp_path / "c.yaml").write_text(CONFIG.format(url="http://127.0.0.1:1"))
    for args in (["serve", "--check"], ["serve"]):
        done = subprocess.run([find_gaufre(), *args, "-c", tmp_path / "c.yaml", "--port", "0", "--ledger", url], capture_output=True,
                              text=True, check=False, env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
        assert done.returncode == (0 if "--check" in args else 1)
        assert "in PostgreSQL" in done.stdout + done.stderr and "secret" not in done.stdout + done.stderr
    for args in (["audit"], ["bill"], ["usage"], ["ledger", "pending"]):
        done = run(url, *args, code=1)
        assert "in PostgreSQL" in done.stderr and "secret" not in done.stderr


def test_a_database_in_another_encoding(postgres):
    postgres.run("createdb", "-h", postgres.folder, "-U", "gaufre", "-E", "LATIN1", "-T", "template0", "--locale", "C", "latin")
    assert "UTF8" in run(postgres.url("latin"), "usage", code=1).stderr


@pytest.mark.parametrize("name", ["books_test_answer_log", "books_test_books", "books_test_entry", "books_test_invoice", "books_test_power_log"])
def test_units(postgres, name):
    """The ledger's own tests, on PostgreSQL."""
    program = pathlib.Path(find_gaufre()).resolve().parents[2] / "tests" / name
    done = subprocess.run([program], env={**os.environ, "GAUFRE_TEST_POSTGRES": postgres.database()}, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
