"""README's tour and example, line by line as they stand there."""
import os
import pathlib
import pty
import re
import shutil
import subprocess

import pytest

from finding import find_gaufre, model_file
from serving import SLOW

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What measures for a minute or more is asked for less: the line itself stays as it is.
LESS = {"bench": " -r 1 -p 16 -n 4"}


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", README, re.S)


def steps():
    """(command, what is typed into it, what it shows) of the console blocks."""
    out = []
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            out.append((line[2:], [], []))
        elif line.startswith(">>> "):
            out[-1][1].append(line[4:])
        else:
            out[-1][2].append(line)
    return out


@pytest.fixture
def clone(tmp_path, env):
    """A folder that looks like a clone that was built, and a home that has the model."""
    program = tmp_path / "build/release/src/cmd/gaufre"
    program.parent.mkdir(parents=True)
    program.symlink_to(find_gaufre())
    models = pathlib.Path(env["GAUFRE_HOME"]) / "models"
    models.mkdir()
    (models / "smollm2-135m.gguf").symlink_to(model_file("smollm2-135m"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    return tmp_path


def run(line, typed, clone, env):
    """One line in a shell on a terminal; (exit code, all that it showed)."""
    master, slave = pty.openpty()
    with subprocess.Popen(["bash", "-c", line], cwd=clone, env=env, stdin=slave,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
        os.close(slave)
        for text in typed:
            os.write(master, text.encode() + b"\n")
        os.write(master, b"\x04")
        out = p.communicate(timeout=300 * SLOW)[0]
        os.close(master)
    return p.returncode, out


def comparable(line):
    """Without what depends on the machine's memory."""
    return line[:15] if line.startswith(("context", "memory")) else line


def expect_excerpt(shown, lines):
    """`shown` is in `lines`, in this order; nothing is left out but where it says "..."."""
    at, gap = 0, False
    for text in map(comparable, shown):
        if text == "...":
            gap = True
            continue
        while gap and at < len(lines) and comparable(lines[at]) != text:
            at += 1
        assert at < len(lines) and comparable(lines[at]) == text, (text, lines)
        at, gap = at + 1, False


def test_tour(clone, env):
    assert len(steps()) >= 8
    before = ""
    for command, typed, shown in steps():
        line = re.sub(r"\s+#.*", "", command)
        if re.match(r"\w+=", line):  # for the lines that follow
            before += line + "\n"
            continue
        verb = line.split()[1]
        code, out = run(before + line + LESS.get(verb, ""), typed, clone, env)
        assert code == 0, (line, out)
        if typed:  # the model's words are its own
            assert shown[0] in out and "tokens/s" in out, (line, out)
        elif shown:
            expect_excerpt([text for text in shown if text], out.splitlines())


def test_python_example(server):
    """The example of a client, but for the port."""
    code, = blocks("python")
    assert "127.0.0.1:8080" in code
    r = subprocess.run([os.sys.executable, "-c", code.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")],
                       capture_output=True, text=True, check=False, timeout=300 * SLOW)
    assert r.returncode == 0 and r.stdout.strip(), r.stderr


def test_make_knows_what_is_named():
    """Targets of make that the documents name are there."""
    rules = set(re.findall(r"^([a-z ]+):", (ROOT / "Makefile").read_text(), re.M))
    targets = {t for rule in rules for t in rule.split()}
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        named = set(re.findall(r"`(?:sudo )?make ([a-z]+)\b|^make ([a-z]+)\b", path.read_text(), re.M))
        missing = {a or b for a, b in named} - targets
        assert not missing, (path.name, missing)
