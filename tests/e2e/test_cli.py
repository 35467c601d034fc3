"""What every command has in common: help, usage errors, exit codes, stdout against stderr."""
import os
import pty
import pwd
import re
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
    assert cli("help", "pull").stdout == cli("pull", "--help").stdout
    r = cli("help", "pul")
    assert r.returncode == 2 and r.stdout == "" and "did you mean 'pull'" in r.stderr


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


def numbers(cli, command, folder):
    """{option: (low, high, default as printed or None)} of the options that take a number."""
    text = re.sub(r"\n {20,}", " ", cli(command, "--help").stdout)
    found = {}
    for option, help_ in re.findall(r"^ +(?:-., )?--([a-z-]+) [A-Z,]+ (.*)$", text, re.M):
        said = re.search(rf"--{option} wants a (?:whole )?number from (\S+) to (\S+), not 'x'",
                         cli(command, f"--{option}=x", "--help", cwd=folder).stderr)
        if said:
            default = re.search(r"\(default: (\S+)\)$", help_)
            found[option] = (said[1], said[2], default and default[1])
    return found


def test_numbers_have_bounds_that_are_reached(cli, tmp_path):
    seen = {}
    for command in commands(cli):
        for option, (low, high, default) in numbers(cli, command, tmp_path).items():
            seen[(command, option)] = (low, high)
            assert float(low) < float(high), (command, option)
            assert default in (None, "model") or float(low) <= float(default) <= float(high), (command, option)
            values = [f"--{option}={v}" for v in (low, high, default) if v is not None]
            r = cli(command, *values, "--help")
            assert r.returncode == 0, (command, values, r.stderr)
            for beyond in (int(float(low)) - 1, int(high) + 1):
                assert cli(command, f"--{option}={beyond}", "--help").returncode == 2, (command, option, beyond)
    assert seen[("run", "seed")] == ("-1", str(2 ** 63 - 1))
    assert seen[("run", "temperature")] == ("0", "2") and ("bench", "reps") in seen


def test_more_stops_than_there_is_room_for(cli):
    r = cli("run", "nothing", *["--stop=x"] * 17)
    assert r.returncode == 2 and "--stop may be given 16 times at most" in r.stderr


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


def complete(cli, env, words, cwd=None):
    script = cli("completion", "bash").stdout
    line = " ".join(f"'{w}'" for w in words)
    program = (f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _gaufre\n"
               'printf "%s\\n" "${COMPREPLY[@]}"\n')
    r = subprocess.run(["bash", "-c", program], env=env, text=True, capture_output=True,
                       check=True, cwd=cwd)
    return [line for line in r.stdout.split("\n") if line]


def complete_fish(cli, env, words, cwd):
    program = cli("completion", "fish").stdout + f"\ncomplete -C '{' '.join(words)}'\n"
    r = subprocess.run(["fish", "--no-config", "-c", program], env=env, text=True,
                       capture_output=True, check=True, cwd=cwd)
    return [line.split("\t")[0] for line in r.stdout.split("\n") if line]


def test_bash_completes(cli, env, gaufre, tmp_path):
    (tmp_path / "gaufre").symlink_to(gaufre)
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    assert "pull" in complete(cli, env, ["gaufre", "pu"])
    assert complete(cli, env, ["gaufre", "list", "--js"]) == ["--json"]
    assert complete(cli, env, ["gaufre", "pull", "smol"]) == ["smollm2-135m"]
    assert complete(cli, env, ["gaufre", "completion", "fi"]) == ["fish"]
    assert complete(cli, env, ["gaufre", "key", "n"]) == ["new"]
    (tmp_path / "my file").touch()
    assert complete(cli, env, ["gaufre", "key", "new", "my"], tmp_path) == ["my file"]
    assert complete(cli, env, ["gaufre", "run", "my"], tmp_path) == ["my file"]
    # --name=value is three words to the shell
    assert complete(cli, env, ["gaufre", "serve", "--log-format", "="]) == ["text", "json"]
    assert complete(cli, env, ["gaufre", "serve", "--log-format", "=", "j"]) == ["json"]


def test_values_complete_to_what_help_says(cli, env, tmp_path):
    """Words where it lists words, files where it says FILE, else nothing; in every shell."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a-file").touch()
    fish, zsh = shutil.which("fish"), cli("completion", "zsh").stdout
    seen = set()
    for name in commands(cli):
        section = zsh.split(f"\n    {name})\n")[1].split("\n        ;;")[0]
        for letter, option, value in re.findall(r"^  (?:-(\w), |    )--([\w-]+) (\S+)",
                                                cli(name, "--help").stdout, re.M):
            if option == "help" or not re.fullmatch(r"[A-Z,]+|[\w|-]+\|[\w|-]+", value):
                continue
            words = value.split("|") if "|" in value else ["a-file"] if value == "FILE" else []
            seen.add(value)
            for spelling in ["--" + option] + (["-" + letter] if letter else []):
                line = ["gaufre", name, spelling, ""]
                assert complete(cli, env, line, folder) == words, line
                kind = (":value:(%s)" % " ".join(words) if "|" in value else
                        ":file:_files" if value == "FILE" else f":{value}:")
                start = f"{spelling}=[" if spelling[1] == "-" else f"{spelling}+["
                entry = [e for e in section.split("\n") if e.strip(" '*").startswith(start)]
                assert len(entry) == 1 and kind in entry[0], (line, entry)
            if fish and words:
                got = complete_fish(cli, env, ["gaufre", name, "--" + option, ""], folder)
                assert sorted(got) == sorted(words), (name, option)
    assert {"text|json", "FILE", "N"} <= seen


@pytest.mark.parametrize("name, model_id", [
    ("my model.gguf", "my-model"), ("it's (1) \"x\" \\y\t.GGUF", "it's-(1)--x---y-"),
    ("größe-模型.gguf", "größe-模型"), ("n" * 240 + ".gguf", "n" * 200), ("-dash.gguf", "-dash"),
])
def test_serve_takes_the_file_names_that_run_takes(cli, smollm2, tmp_path, name, model_id):
    (tmp_path / name).symlink_to(smollm2)
    for args in (["--", name], [tmp_path / name]):
        r = cli("serve", "--check", *args, cwd=tmp_path)
        assert r.returncode == 0 and f"model      {model_id}: " in r.stdout, r.stderr
        r = cli("show", *args, cwd=tmp_path)
        assert r.returncode == 0, r.stderr


@pytest.mark.parametrize("host, url, who", [
    ("::1", "http://[::1]:80", "this machine only"),
    ("[::1]", "http://[::1]:80", "this machine only"),
    ("127.0.0.1", "http://127.0.0.1:80", "this machine only"),
    ("[::]", "http://[::]:80", "reachable from other machines"),
])
def test_serve_prints_addresses_that_can_be_opened(cli, smollm2, host, url, who):
    r = cli("serve", "--check", "--insecure-no-keys", "--host", host, "--port", 80, smollm2)
    assert r.returncode == 0 and f"listen     {url} ({who})" in r.stdout, r.stderr


@pytest.mark.parametrize("host", ["", "[::1", "[127.0.0.1]", "[]"])
def test_serve_says_that_a_host_is_none(cli, smollm2, host):
    r = cli("serve", "--check", "--host", host, smollm2)
    assert r.returncode == 2 and f"'{host}' is no name or address" in r.stderr, r.stderr


@pytest.mark.parametrize("text", [
    "prot: 1\n", "port: x\n", "a: [\n", "{}: 1\n", "- a\n", "\t\n", "models: small\n", "\xff",
    "models: [a, a]\n", "models: []\n", "host: 0.0.0.0\nmodels: [a]\n", None,
    "models: [" + "a, " * 2000 + "a]\n", "[" * 100 + "]" * 100 + "\n"], ids=lambda t: repr(t)[:20])
def test_wrong_settings_are_wrong_usage(cli, tmp_path, text):
    """Exit code 2, as for wrong flags (docs/operations.md)."""
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    r = cli("serve", "--check", "--config", path)
    assert (r.returncode, r.stdout) == (2, ""), r.stderr
    assert r.stderr.startswith("gaufre serve: ")


@pytest.mark.parametrize("n, words", [(1, "1 token,"), (2, "2 tokens,")])
def test_chat_on_a_terminal(gaufre, env, smollm2, n, words):
    master, slave = pty.openpty()
    with subprocess.Popen([gaufre, "run", "-n", str(n), smollm2], env=env, stdin=slave,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        os.close(slave)
        os.write(master, b"Count to ten.\n")
        for line in iter(p.stderr.readline, b""):
            if b"tokens/s" in line:
                break
        os.write(master, b"\x04")
        assert p.wait(300) == 0
        os.close(master)
    assert f"+ {words}" in line.decode(), line


def test_seeds_repeat_answers(cli, smollm2):
    for seed in (0, 7, (1 << 63) - 1):
        answers = {cli("run", "-n", 12, "--seed", seed, smollm2, "Name a river.").stdout
                   for _ in range(2)}
        assert len(answers) == 1 and answers != {""}
    assert cli("run", "--seed", 1 << 63, smollm2, "x").returncode == 2


def test_usage_before_anything_was_used(cli, home, tmp_path):
    r = cli("usage")
    assert r.returncode == 0 and "nothing is booked yet" in r.stderr
    assert r.stdout.split()[0] == "tenant" and r.stdout.count("\n") == 1
    assert cli("usage", "--json").stdout == ""
    assert list(home.iterdir()) == []
    r = cli("usage", "--ledger", tmp_path / "nowhere.db")
    assert r.returncode == 1 and r.stdout == "" and "nowhere.db" in r.stderr


@pytest.mark.parametrize("command", [
    ["--help"], ["list"], ["list", "--json"], ["completion", "bash"], ["serve", "--settings"],
    ["usage"], ["show"], ["show", "--json"], ["tokenize"], ["run", "-n", "1"],
    ["run", "--json", "-n", "1"], ["serve", "--check"]], ids=" ".join)
@pytest.mark.parametrize("to", [">/dev/full", ">&-"])
def test_lost_output_is_a_failure(gaufre, env, smollm2, command, to):
    words = [gaufre, *command]
    if command[0] in ("show", "tokenize", "run") or "--check" in command:
        words += [smollm2] + (["hi"] if command[0] in ("tokenize", "run") else [])
    line = " ".join(f"'{w}'" for w in words)
    r = subprocess.run(["bash", "-c", f"{line} {to} </dev/null"], env=env, capture_output=True,
                       text=True, check=False)
    assert r.returncode == 1 and "cannot write the output" in r.stderr


def test_a_key_that_nobody_saw_is_told(gaufre, env, tmp_path):
    r = subprocess.run(["bash", "-c", f"'{gaufre}' key new '{tmp_path}/keys' x >/dev/full"], env=env,
                       capture_output=True, text=True, check=False)
    assert r.returncode == 1 and f"take 'x' out of {tmp_path}/keys" in r.stderr


def test_reader_that_leaves(gaufre, env, smollm2):
    """As other programs: killed by SIGPIPE, without a word."""
    line = f"('{gaufre}' run -n 3000 --temperature 0 '{smollm2}' hi; echo $? >&2) | head -c 1"
    r = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=False,
                       stdin=subprocess.DEVNULL)
    assert r.stderr == "141\n"


def test_home_of_a_process_without_one(gaufre, env):
    """HOME unset (cron, a service): the user's folder as the system knows it."""
    for name in ("HOME", "GAUFRE_HOME", "XDG_DATA_HOME"):
        env.pop(name, None)
    r = subprocess.run([gaufre, "usage", "--json"], env=env, capture_output=True, text=True,
                       check=False)
    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert r.returncode == 0
    assert r.stderr == "" or f"{home}/.local/share/gaufre/ledger.db" in r.stderr


def test_home_with_blanks(cli, env, smollm2, tmp_path):
    env["GAUFRE_HOME"] = str(tmp_path / "a b" / "c 'd'")
    models = tmp_path / "a b" / "c 'd'" / "models"
    models.mkdir(parents=True)
    (models / "smollm2-135m.gguf").symlink_to(smollm2)
    assert cli("pull", "smollm2-135m").stdout == f"{models}/smollm2-135m.gguf\n"
    assert cli("run", "-n", "1", "smollm2-135m", "hi").returncode == 0
    assert "smollm2-135m" in cli("list", "--local").stdout
