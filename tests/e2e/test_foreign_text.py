"""Names, files, servers and models may say what they like: a terminal is only ever shown text."""
import json
import os
import pathlib
import pty
import re
import subprocess

import pytest

from finding import find_gaufre
from serving import MODEL, model_path, wait_for

# ESC, BEL, C1 in one byte and in two, a turned direction, a byte that is no text, a cut character.
NASTY = b"evil\x1b]0;pwned\x07\x9b31m\xc2\x9b2J\xe2\x80\xae\xff\xe2\x82"


def harmless(data, lines=True):
    """UTF-8 without control characters; returns it as text."""
    text = data.decode()
    for c in text:
        assert c == "\n" and lines or not (ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0
                                           or 0x202a <= ord(c) <= 0x202e), (c, text)
    return text


def gaufre(*args, home, terminal=False, **more):
    """(exit code, stdout, stderr) in bytes; with `terminal`, stdout is one."""
    env = {**os.environ, "GAUFRE_HOME": str(home), "TERM": "dumb"}
    if not terminal:
        r = subprocess.run([find_gaufre(), *args], capture_output=True, env=env, timeout=300,
                           stdin=subprocess.DEVNULL, **more)
        return r.returncode, r.stdout, r.stderr
    master, slave = pty.openpty()
    p = subprocess.Popen([find_gaufre(), *args], stdout=slave, stderr=subprocess.PIPE, env=env,
                         stdin=subprocess.DEVNULL)
    os.close(slave)
    out = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        out += piece
    os.close(master)
    err = p.stderr.read()
    return p.wait(300), out.replace(b"\r\n", b"\n"), err


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A model whose file name and whose name inside are hostile; of its weights only the size."""
    folder = tmp_path_factory.mktemp("evil")
    source = pathlib.Path(model_path())
    path = os.fsencode(folder) + b"/" + NASTY + b".gguf"
    with open(source, "rb") as f:
        head = bytearray(f.read(8 << 20))
    at = head.index(b"general.name") + len(b"general.name") + 4  # past the type
    n = int.from_bytes(head[at:at + 8], "little")
    head[at + 8:at + 8 + n] = (NASTY * n)[:n]
    with open(path, "wb") as f:
        f.write(head)
        f.truncate(source.stat().st_size)
    return path


def test_show(evil, tmp_path):
    code, out, err = gaufre(b"show", evil, home=tmp_path)
    assert code == 0, err
    assert r"evil\x1b]0;pwned\x07\x9b31m\u009b2J\u202e\xff\xe2\x82.gguf" in harmless(out)
    code, out, err = gaufre(b"show", b"--json", evil, home=tmp_path)
    assert code == 0, err
    found = json.loads(harmless(out))
    assert found["path"].endswith("2J\u202e\ufffd\ufffd\ufffd.gguf") and "pwned" in found["name"]


def test_errors(evil, tmp_path):
    for args in ([b"show", evil + b"x"], [b"rm", NASTY], [b"run", NASTY, b"x"], [NASTY],
                 [b"list", b"--" + NASTY], [b"pull", b"hf:a/" + NASTY], [b"usage", b"-l", NASTY],
                 [b"serve", NASTY], [b"serve", b"--config", NASTY], [b"serve", b"--port", NASTY],
                 [b"key", b"new", NASTY + b"/x", b"id"], [b"show", b"--cpu", NASTY, evil],
                 [b"completion", NASTY]):
        code, out, err = gaufre(*args, home=tmp_path)
        assert code != 0 and b"\x1b" not in out and "evil" in harmless(err), (args, err)


def test_settings_files(tmp_path):
    config = tmp_path / "c.yaml"
    for text in (b'"\\e[31m\\u202e": 1\n', b'port: "\\e[31m"\n', b"models: [a]\ncors_origin: \"\\e\"\n"):
        config.write_bytes(text)
        code, _, err = gaufre("serve", "--config", config, home=tmp_path)
        assert code != 0 and "c.yaml" in harmless(err) or "cors_origin" in harmless(err)
    config.write_bytes(b'host: "localhost"\nmodels:\n  - model: %s\n    id: a\n    aliases: ["b\xc2\x9bc"]\n'
                       % os.fsencode(model_path()))
    _, out, err = gaufre("serve", "--check", "--config", config, home=tmp_path)
    harmless(out), harmless(err)


def test_list(tmp_path):
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    rows = {"models": [{"name": "evil", "title": "\x1b[2J\x9b\u202e", "licence": "\x07", "bytes": 1,
                        "sha256": "0" * 64, "description": "\x1b", "sources": [{"url": "http://127.0.0.1:9/x"}]}]}
    (home / "catalogue.json").write_text(json.dumps(rows))
    os.link(model_path(), os.fsencode(home) + b"/models/" + NASTY + b".gguf") \
        if os.stat(model_path()).st_dev == os.stat(home).st_dev else None
    for args in (["list"], ["list", "--names"], ["list", "--json"]):
        code, out, err = gaufre(*args, home=home)
        harmless(out), harmless(err)
        if args[-1] == "--json" and code == 0:
            json.loads(out)


def test_answers_on_a_terminal_and_in_a_file(tmp_path):
    """A model whose spaces are ESC: the two letters of its byte alphabet are swapped in vocabulary and merges."""
    data = bytearray(pathlib.Path(model_path()).read_bytes())
    end = data.index(b"token_embd.weight")  # of the metadata
    space, escape = "\u0120".encode(), "\u011b".encode()
    data[:end] = re.sub(space + b"|" + escape, lambda m: escape if m[0] == space else space, data[:end])
    path = tmp_path / "escaping.gguf"
    path.write_bytes(data)
    args = ("run", "--raw", "--temperature", "0", "-n", "12", "-q", path, "Once\x1bupon\x1ba\x1btime")
    code, out, err = gaufre(*args, home=tmp_path)
    assert code == 0 and out.count(b"\x1b") >= 3, (out, err)  # data, as it is
    code, shown, err = gaufre(*args, home=tmp_path, terminal=True)
    assert code == 0 and harmless(shown) == out.decode().replace("\x1b", r"\x1b"), (shown, err)
    code, out, err = gaufre(*args, "--json", home=tmp_path, terminal=True)
    assert code == 0 and "\x1b" in json.loads(harmless(out))["content"], err


def test_tokenize(tmp_path):
    code, out, err = gaufre(b"tokenize", model_path().encode(), NASTY, home=tmp_path)
    assert code == 0, err
    assert "\\x1b" in harmless(out)


def test_logs(start, tmp_path):
    for form in ("text", "json"):
        s = start("--log-format", form, "--log-prompts")
        host = {"X-Client-Request-Id": "a\xff\x9b b"}
        s.chat("\x1b[31m\u202e\x9b", max_tokens=1, headers=host)
        s.post("/v1/chat/completions", b'{"model":"\\u001b[31m\\u009b","messages":[{"role":"user","content":"x"}]}')
        s.post("/v1/chat/completions", b'{"messages":[{"content":"top secret"x"}]}')
        s.get("/v1/%1b%9b\x7f".replace("\x7f", ""), {"Origin": "http://\xff\x9b"})
        wait_for("logged", lambda: s.read_log().count("request") >= 5)
        assert s.stop() == 0
        log = open(s.log_path, "rb").read()
        for line in harmless(log).splitlines():
            assert "top secret" not in line
            if form == "json" and not line.startswith("gaufre "):
                json.loads(line)
