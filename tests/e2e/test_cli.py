"""What every command has in common: help, usage errors, exit codes, stdout against stderr."""
import shutil
import subprocess

import pytest


def commands(cli):
    text = cli("--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in text.splitlines()]


def test_help_and_version(cli):
    r = cli("--help")
    assert r.returncode == 0 and "Commands:" in r.stdout and r.stderr == ""
    r = cli("--version")
    assert r.returncode == 0 and r.stdout.startswith("gaufre ") and r.stdout.count("\n") == 1
    r = cli()
    assert r.returncode == 2 and r.stdout == "" and "Commands:" in r.stderr


def test_every_command_helps_and_refuses_what_it_does_not_know(cli):
    names = commands(cli)
    assert {"pull", "list", "rm", "completion"} <= set(names)
    for name in names:
        r = cli(name, "--help")
        assert r.returncode == 0 and r.stderr == "", name
        assert r.stdout.startswith(f"Usage: gaufre {name} [OPTIONS]"), name
        assert "--help" in r.stdout
        assert all(len(line) <= 100 for line in r.stdout.splitlines()), name
        r = cli(name, "--no-such-option")
        assert r.returncode == 2 and r.stdout == "", name
        assert f"gaufre {name}: unknown option --no-such-option" in r.stderr


@pytest.mark.parametrize("wrong, right", [("lsit", "list"), ("pul", "pull"), ("remove", None)])
def test_unknown_command(cli, wrong, right):
    r = cli(wrong)
    assert r.returncode == 2 and r.stdout == "" and f"no command '{wrong}'" in r.stderr
    assert (f"did you mean '{right}'" in r.stderr) == (right is not None)


def test_too_many_and_too_few_arguments(cli):
    assert cli("pull").returncode == 2
    r = cli("list", "extra")
    assert r.returncode == 2 and "'extra'" in r.stderr


def test_output_that_cannot_be_written(cli, gaufre, env):
    with open("/dev/full", "w", encoding="ascii") as full:
        r = subprocess.run([gaufre, "--help"], env=env, stdout=full, stderr=subprocess.PIPE,
                           text=True, check=False)
    assert r.returncode == 1 and "cannot write" in r.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_parses(cli, shell):
    r = cli("completion", shell)
    assert r.returncode == 0 and "pull" in r.stdout
    program = shutil.which(shell)
    if not program:
        pytest.skip(f"{shell} is not here")
    check = subprocess.run([program, "-n"], input=r.stdout, text=True, capture_output=True,
                           check=False)
    assert check.returncode == 0, check.stderr


def complete(cli, env, words):
    script = cli("completion", "bash").stdout
    line = " ".join(f"'{w}'" for w in words)
    program = (f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _gaufre\n"
               'printf "%s\\n" "${COMPREPLY[@]}"\n')
    r = subprocess.run(["bash", "-c", program], env=env, text=True, capture_output=True,
                       check=True)
    return r.stdout.split()


def test_bash_completes(cli, env, gaufre, tmp_path):
    (tmp_path / "gaufre").symlink_to(gaufre)
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    assert "pull" in complete(cli, env, ["gaufre", "pu"])
    assert complete(cli, env, ["gaufre", "list", "--js"]) == ["--json"]
    assert complete(cli, env, ["gaufre", "pull", "smol"]) == ["smollm2-135m"]
    assert complete(cli, env, ["gaufre", "completion", "fi"]) == ["fish"]
