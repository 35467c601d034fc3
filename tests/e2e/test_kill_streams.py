"""Servers are killed at random instants while stored streams are made, followed, left, deleted, booked and handed over in
upgrades; the clients come back until they have all of it. Every stream is token for token what it would have been, and is
booked once."""
import json
import os
import random
import re
import signal
import socket
import sqlite3
import threading
import time

from serving import SLOW, wait_for
from test_survive import ASK, DRAWN, choices, events
from test_upgrade import Replaced, is_running

KILLS = int(os.environ.get("GAUFRE_KILLS", "4"))  # make soak: 1,000
CLIENTS = 5
KINDS = [{"temperature": 0}, DRAWN, {"n": 2, "seed": 3}, {**DRAWN, "stop": [" of the", "e t"], "max_tokens": 30}]


class World:
    """The server that is there now, and its lives so far."""

    def __init__(self, folder):
        self.folder, self.ledger, self.server = folder, os.path.join(folder, "ledger.db"), None
        self.failures, self.deleted = [], 0

    def start(self):
        self.server = Replaced(self.folder, "--threads", 1, "--context", 512, "--kv-memory", "64M", "--stored-alone", "1h",
                               ledger=self.ledger)

    def pids(self):
        return [self.server.process.pid, *self.server.pids]

    def kill(self, pids):
        for pid in pids:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        if self.server.process.pid in pids:
            self.server.process.wait()
        for pid in pids:
            wait_for("its end", lambda p=pid: not is_running(p))


class Client(threading.Thread):
    """Asks for stored streams; cut or not, each is read to its end."""

    def __init__(self, world, wanted, seed):
        super().__init__(daemon=True)
        self.world, self.wanted, self.random, self.is_over, self.whole = world, wanted, random.Random(seed), False, {}
        self.id = None

    def run(self):
        try:
            while not self.is_over:
                self.one(self.random.randrange(len(KINDS)))
        except Exception as e:
            self.world.failures.append(repr(e))
            raise

    def one(self, kind):
        """One answer: from its request, or again from its id, until it is whole or deleted."""
        data = answer = request = None
        while True:
            try:
                head, new = self.read(kind, answer, data)
            except (OSError, ConnectionError):
                time.sleep(.02)
                continue
            if answer is None and head:
                answer = re.search(rb"x-gaufre-stored: (\S+)", head)[1].decode()
                request = re.search(rb"x-request-id: (\S+)", head)[1].decode()
                data = b""
            if answer is None:
                if self.is_over:
                    return  # nobody has heard of it
                continue
            data += new
            if events(data)[-1:] and events(data)[-1][1] == "[DONE]":
                break
            if not self.is_over and self.random.random() < .02:
                self.delete(answer)
                return
        told = choices(data)
        assert told == self.wanted[kind], (kind, answer, told)
        n = [i for i, _ in events(data)]
        assert n == list(range(1, len(n) + 1)), n
        self.whole[request] = kind

    def read(self, kind, answer, data):
        """Some events, or all that come: (head, whole events)."""
        body = json.dumps({**ASK, "max_tokens": 14, **KINDS[kind]}).encode()
        at = events(data)[-1:] if data else []
        heads = [f"Last-Event-ID: {answer}/{at[0][0]}"] if at else []
        path = "/v1/chat/completions" + (f"/{answer}?stream=true" if answer else "")
        with socket.create_connection(("127.0.0.1", self.world.server.port), timeout=60 * SLOW) as c:
            c.sendall("\r\n".join([f"{'GET' if answer else 'POST'} {path} HTTP/1.0", "Host: localhost",
                                   *([] if answer else [f"Content-Length: {len(body)}"]), *heads, "", ""]).encode()
                      + (b"" if answer else body))
            text, most = b"", self.random.choice([1, 3, 10, 10 ** 6, 10 ** 6])
            while text.count(b"\n\n") < most:
                try:
                    more = c.recv(1 if most < 100 else 65536)
                except OSError:
                    break
                if not more:
                    break
                text += more
        head, found, text = text.partition(b"\r\n\r\n")
        if not found:
            raise ConnectionError
        if not re.match(rb"HTTP/1\.[01] 200 ", head):
            if re.match(rb"HTTP/1\.[01] (429|503) ", head):
                raise ConnectionError
            raise AssertionError((answer, head, text))
        return head, text[:text.rfind(b"\n\n") + 2] if b"\n\n" in text else b""

    def delete(self, answer):
        while True:
            try:
                status = self.world.server.request("DELETE", f"/v1/chat/completions/{answer}")[0]
                break
            except OSError:
                time.sleep(.02)
        assert status in (200, 404), status  # 404: it was done, and the word of it was lost
        self.world.deleted += 1


def children(pid):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(name))
        except OSError:
            pass
    return found


def one_life(world, chance):
    """Until something is killed: the server as it is, or in an upgrade the old process, the new one, or both."""
    how = chance.randrange(4)
    time.sleep(chance.uniform(0, .8))
    if how == 0:
        world.kill(world.pids())
        world.start()
        return
    at = chance.uniform(0, 1.5)
    old = world.pids()
    upgrade = threading.Thread(target=world.server.upgrade)
    upgrade.start()
    time.sleep(at)
    if how == 1:  # the old one, as far as the upgrade has come; a new one that loads goes on
        begun = [p for o in old for p in children(o)]
        world.kill(old)
    upgrade.join()
    if how == 1:
        world.server.pids = (*world.server.pids, *(p for p in begun if p not in world.pids()))
    new = [p for p in world.pids() if p not in old]
    if how == 2:
        world.kill(new or old)
    if how == 3:
        world.kill(world.pids())
    if not any(is_running(p) for p in world.pids()) or (how == 2 and new) or not new:
        world.kill(world.pids())
        world.start()


def test_killed_at_any_instant_while_streams_run(tmp_path):
    world = World(str(tmp_path))
    world.start()
    wanted = [choices(world.server.request("POST", "/v1/chat/completions", {**ASK, "max_tokens": 14, **k})[2]) for k in KINDS]
    clients = [Client(world, wanted, seed) for seed in range(CLIENTS)]
    try:
        live(world, clients)
    finally:
        world.kill(world.pids())
    judge(world, clients)


def n_whole(clients):
    return sum(len(c.whole) for c in clients)


def live(world, clients):
    for c in clients:
        c.start()
    for seed in range(KILLS):
        if seed % 2:  # else perhaps before anybody had an answer
            had = n_whole(clients)
            wait_for("an answer", lambda: n_whole(clients) > had or world.failures)
        one_life(world, random.Random(seed))
        assert not world.failures, world.failures
    for c in clients:
        c.is_over = True
    for c in clients:
        c.join(timeout=120 * SLOW)
        assert not c.is_alive(), world.server.read_log()[-2000:]
    assert not world.failures, world.failures
    wait_for("all have ended", world.server.idle)
    world.server.stop_all()


def judge(world, clients):
    whole = {r: k for c in clients for r, k in c.whole.items()}
    assert len(whole) > KILLS // 2, "hardly anything was read: this proves nothing"
    with sqlite3.connect(f"file:{world.ledger}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT request_id, completion_tokens FROM usage").fetchall()
    assert len({r for r, _ in rows}) == len(rows)
    booked = dict(rows)
    by_kind = {}
    for r, kind in whole.items():
        by_kind.setdefault(kind, set()).add(booked[r])  # a KeyError: it was not booked
    assert all(len(n) == 1 for n in by_kind.values()), by_kind
