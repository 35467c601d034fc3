"""`gaufre log`: a row of each request, by every filter, also while the server runs; from SQLite and from PostgreSQL."""
import json
import os
import signal
import subprocess

import pytest

from finding import find_gaufre
from mock_upstream import CHAT, Mock, words
from postgres import postgres  # noqa: F401  fixture
from serving import Server, wait_for

pytestmark = pytest.mark.sanitize


def answer(a):
    if a.request.json["messages"][0]["content"] == "fail":
        a.reply(500, {"error": {"message": "broken"}})
    elif a.request.json.get("stream"):
        a.stream(words())
    else:
        a.reply(200, CHAT)


@pytest.fixture
def far():
    mock = Mock(answer)
    yield mock
    mock.close()


def start(folder, mock, where, *flags):
    (folder / "c.yaml").write_text(f"suppliers: [{{name: far, base_url: '{mock.url}', models: [m, m2]}}]\n")
    return Server(str(folder), "-c", folder / "c.yaml", "--request-log", where, *flags, models=[])


def ask(server, content="hi", model="m", key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return server.request("POST", "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": content}]},
                          headers)


def log(where, *flags):
    return subprocess.run([find_gaufre(), "log", "-l", str(where), *flags], capture_output=True, text=True)


def rows(where, *flags):
    done = log(where, "--json", *flags)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def stop(server):
    assert server.stop() == 0, server.read_log()


def check(folder, mock, where):
    keys = folder / "keys"
    key = subprocess.run([find_gaufre(), "key", "new", keys, "k1", "--tenant", "acme"], check=True, capture_output=True,
                         text=True).stdout.strip()
    server = start(folder, mock, where, "--keys", keys)
    assert ask(server, key=key)[0] == 200
    assert ask(server, model="m2", key=key)[0] == 200
    assert ask(server, "fail", key=key)[0] >= 500
    assert ask(server, model="none", key=key)[0] == 404
    assert ask(server, key="wrong")[0] == 401
    assert server.get("/v1/models", {"Authorization": f"Bearer {key}"})[0] == 200  # of no interest
    wait_for("five rows", lambda: len(rows(where)) == 5)
    stop(server)
    all_rows = rows(where)
    assert [r["status"] for r in all_rows[:2]] == [200, 200]
    assert [r["tenant"] for r in all_rows] == ["acme"] * 4 + [""]
    assert all_rows[0]["supplier"] == "far/m" and all_rows[0]["key_id"] == "k1"
    usage = CHAT["usage"]
    assert all_rows[0]["prompt_tokens"] == usage["prompt_tokens"]
    assert all_rows[0]["completion_tokens"] == usage["completion_tokens"]
    assert [r["model"] for r in rows(where, "--model", "m2")] == ["m2"]
    assert len(rows(where, "--failed")) == 3
    assert [r["status"] for r in rows(where, "--status", "5xx")] == [all_rows[2]["status"]]
    assert [r["status"] for r in rows(where, "--status", "401")] == [401]
    assert [r["id"] for r in rows(where, "-n", "2")] == [r["id"] for r in all_rows[-2:]]
    assert rows(where, "--tenant", "nobody") == []
    assert rows(where, "--slower", "3600") == []
    one = log(where, "--id", all_rows[0]["id"])
    assert one.returncode == 0 and "far/m" in one.stdout
    assert log(where, "--id", "none").returncode == 1
    text = log(where).stdout
    assert text.count("\n") == 6 and text.startswith("at ")
    assert "hi" not in [w for r in all_rows for w in map(str, r.values())]  # no texts


def test_in_a_file(tmp_path, far):
    check(tmp_path, far, tmp_path / "requests.db")
    assert os.stat(tmp_path / "requests.db").st_mode & 0o77 == 0


def test_in_postgresql(tmp_path, far, postgres):  # noqa: F811
    where = postgres.database()
    check(tmp_path, far, where)
    assert "password" not in log(where).stderr


def test_follow(tmp_path, far):
    where = tmp_path / "requests.db"
    server = start(tmp_path, far, where)
    assert ask(server)[0] == 200
    wait_for("a row", lambda: len(rows(where)) == 1)
    with subprocess.Popen([find_gaufre(), "log", "-l", str(where), "-f", "--json", "--model", "m2"], stdout=subprocess.PIPE,
                          text=True) as p:
        for _ in range(3):
            assert ask(server, model="m2")[0] == 200
            assert ask(server)[0] == 200
            assert json.loads(p.stdout.readline())["model"] == "m2"
        p.send_signal(signal.SIGINT)
        assert p.wait() == 0
        assert p.stdout.read() == ""
    stop(server)


def test_texts_of_who_agreed(tmp_path, far):
    """Only they, redacted, whole answers and streams; and they can be exported and forgotten."""
    where, store = tmp_path / "requests.db", tmp_path / "accounts.db"

    def gaufre(*flags):
        return subprocess.run([find_gaufre(), *flags], check=True, capture_output=True, text=True).stdout.strip()

    gaufre("tenant", "new", "open", "--keep-texts", "3", "-a", store)
    gaufre("tenant", "new", "closed", "-a", store)
    key = {t: gaufre("key", "new", f"key-{t}", "--tenant", t, "-a", store) for t in ("open", "closed")}
    server = start(tmp_path, far, where, "--accounts", store, "--redact", "email,ACME-[0-9]+")
    assert ask(server, "mail ann@example.org about ACME-77", key=key["open"])[0] == 200
    assert ask(server, "nobody's business", key=key["closed"])[0] == 200
    status, _, body = server.request(
        "POST", "/v1/chat/completions", {"model": "m", "stream": True, "messages": [{"role": "user", "content": "again"}]},
        {"Authorization": f"Bearer {key['open']}"})
    assert status == 200 and body
    wait_for("three rows", lambda: len(rows(where)) == 3)
    wait_for("memory is given back", lambda: server.metric("gaufre_answer_bytes") == 0)
    stop(server)
    kept = rows(where, "--texts")
    assert [bool(r["request"]) for r in kept] == [True, False, True]
    assert kept[0]["request"]["messages"][0]["content"] == "mail [email] about [redacted]"
    assert kept[0]["answer"][0]["content"] == CHAT["choices"][0]["message"]["content"]
    assert b"ann@example" not in where.read_bytes() and b"business" not in where.read_bytes()
    exported = [json.loads(line) for line in log(where, "--export", "messages").stdout.splitlines()]
    assert [[m["role"] for m in line["messages"]] for line in exported] == [["user", "assistant"]] * len(exported)
    assert exported[0]["metadata"]["id"] == kept[0]["id"]
    evals = [json.loads(line) for line in log(where, "--export", "evals").stdout.splitlines()]
    assert evals[0]["ideal"] == kept[0]["answer"][0]["content"] and evals[0]["input"][0]["role"] == "user"
    assert log(where, "--forget-texts").returncode == 2
    done = log(where, "--forget-texts", "--tenant", "open")
    assert done.returncode == 0 and "2 requests" in done.stderr
    assert [r["request"] for r in rows(where, "--texts")] == [None] * 3


def test_rules_are_checked(tmp_path, far):
    (tmp_path / "c.yaml").write_text(f"suppliers: [{{name: far, base_url: '{far.url}', models: [m]}}]\nredact: [email, '(open']\n")
    done = subprocess.run([find_gaufre(), "serve", "-c", tmp_path / "c.yaml", "--check"], capture_output=True, text=True,
                          env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
    assert done.returncode == 2 and "redact" in done.stderr and "(open" in done.stderr


def test_names_of_others_are_plain(tmp_path, far):
    where = tmp_path / "requests.db"
    server = start(tmp_path, far, where)
    ask(server, model="\u202e\x1b]0;title\x07")
    wait_for("a row", lambda: len(rows(where)) == 1)
    stop(server)
    for flags in ([], ["--json"], ["--id", rows(where)[0]["id"]]):
        text = log(where, *flags).stdout
        assert "\x1b" not in text and "\u202e" not in text and "\x07" not in text


def test_without_one(tmp_path):
    env = {**os.environ, "GAUFRE_HOME": str(tmp_path)}
    done = subprocess.run([find_gaufre(), "log"], capture_output=True, text=True, env=env)
    assert done.returncode == 1 and "--request-log on" in done.stderr
    for flags in (["--status", "9xx"], ["--status", "42"], ["--since", "yesterday"]):
        assert subprocess.run([find_gaufre(), "log", *flags], capture_output=True, env=env).returncode == 2


def test_in_gaufres_home(tmp_path, far):
    server = start(tmp_path, far, "on")
    assert ask(server)[0] == 200
    env = {**os.environ, "GAUFRE_HOME": str(tmp_path)}
    wait_for("a row", lambda: subprocess.run([find_gaufre(), "log", "--json"], capture_output=True, env=env).stdout)
    stop(server)
