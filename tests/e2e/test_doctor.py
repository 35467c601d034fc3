"""gaufre doctor on machines that were made up: each check finds what is wrong there, and nothing where all is well."""
import json
import os
import re
import shutil
import subprocess

import pytest

from finding import ROOT, find_gaufre
from serving import model_path

pytestmark = pytest.mark.sanitize
CPU = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
HUGE = "/sys/kernel/mm/transparent_hugepage/"
LIMITS = "Limit                     Soft Limit           Hard Limit           Units\n" \
         "Max open files            1024                 {}               files\n"
WELL = {
    "/proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu avx avx2 avx512f avx512vl avx512_vnni\n",
    "/proc/self/cgroup": "0::/\n",
    "/proc/self/limits": LIMITS.format(1048576),
    "/proc/sys/vm/overcommit_memory": "0\n",
    "/proc/sys/net/core/somaxconn": "4096\n",
    HUGE + "enabled": "always [madvise] never\n",
    HUGE + "defrag": "always defer defer+madvise [madvise] never\n",
    CPU.format(0): "performance\n",
    CPU.format(1): "schedutil\n",
    "/sys/devices/system/node/node0/cpulist": "0-1\n",
    "/sys/fs/cgroup/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/memory.max": "max\n",
    "/sys/class/powercap/intel-rapl:0/energy_uj": "123\n",
    "/run/systemd/timesync/synchronized": "",
}


class Doctor:
    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.n = 0

    def __call__(self, tree=None, config=None, code=0):
        """What it says of a machine with these files: by check."""
        args = [find_gaufre(), "doctor", "--json"]
        if tree is not None:
            self.n += 1
            root = self.folder / f"root{self.n}"
            root.mkdir()
            for path, text in tree.items():
                if text is not None:
                    at = root / path[1:]
                    at.parent.mkdir(parents=True, exist_ok=True)
                    at.write_bytes(text if isinstance(text, bytes) else text.encode())
            args += ["--root", str(root)]
        if config is not None:
            path = self.folder / "c.yaml"
            path.write_text(config)
            args += ["-c", str(path)]
        done = subprocess.run(args, capture_output=True, text=True, timeout=600, env={**os.environ, "GAUFRE_HOME": str(self.home)})
        assert done.returncode == code, done.stdout + done.stderr
        said = {row["check"]: row for row in map(json.loads, done.stdout.splitlines())}
        for row in said.values():
            assert ("do" in row and "worth" in row) == (row["state"] in ("advice", "must")), row
        return said


@pytest.fixture
def doctor(tmp_path):
    return Doctor(tmp_path)


# Of the disk below the test nothing is known: a tmpfs or a slow one is advice in both.
OF_THE_REAL_DISK = ("disk", "flush", "memory_limit")


def test_all_well(doctor):
    said = doctor(WELL, f"models: [{{model: {model_path()}, kv_memory: 16M, context: 512}}]\nledger: {doctor.home}/ledger.db\n")
    assert {c: r["state"] for c, r in said.items() if c not in OF_THE_REAL_DISK} == {
        "configuration": "ok", "models": "ok", "cpu": "ok", "cpu_quota": "ok", "huge_pages": "ok", "governor": "ok",
        "numa": "ok", "overcommit": "ok", "open_files": "ok", "backlog": "ok", "clock": "ok", "certificates": "skip",
        "secrets": "skip", "rapl": "ok"}
    assert said["cpu"]["found"] == "AVX-512 VNNI kernels"
    assert not [f for f in os.listdir(doctor.home) if f.startswith("doctor")]


def test_nothing_is_known_and_nothing_is_alarming(doctor):
    """A container that shows neither /proc nor /sys."""
    said = doctor({})
    assert {r["state"] for c, r in said.items() if c not in OF_THE_REAL_DISK} <= {"skip", "ok"}


@pytest.mark.parametrize("check,change,found,do", [
    ("cpu", {"/proc/cpuinfo": "flags\t: fpu sse2 avx2x xavx2\n"}, "no AVX2", "cpu host"),
    ("huge_pages", {HUGE + "enabled": "always madvise [never]\n"}, "never", "echo madvise > " + HUGE + "enabled"),
    ("huge_pages", {HUGE + "defrag": "always madvise [never]\n"}, "defrag: never", HUGE + "defrag"),
    ("governor", {CPU.format(1): "powersave\n"}, "powersave on 1 of 2 CPUs", "cpupower frequency-set -g performance"),
    ("numa", {"/sys/devices/system/node/node1/cpulist": "2-3\n"}, "2 nodes", "numactl"),
    ("overcommit", {"/proc/sys/vm/overcommit_memory": "2\n"}, "no more memory", "sysctl -w vm.overcommit_memory=0"),
    ("open_files", {"/proc/self/limits": LIMITS.format(1024)}, "at most 1024", "LimitNOFILE=4224"),
    ("backlog", {"/proc/sys/net/core/somaxconn": "128\n"}, "128", "net.core.somaxconn"),
    # A limit of any group above holds.
    ("cpu_quota", {"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/cpu.max": "50000 100000\n",
                   "/sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, "0.50 CPUs", "threads: 1"),
    ("cpu_quota", {"/proc/self/cgroup": "3:cpu,cpuacct:/x\n", "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "70000\n"},
     "0.70 CPUs", "threads: 1"),
    ("memory_limit", {"/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/memory.max": "104857600\n"},
     "allows 100.0 MiB", "kv_memory"),
    ("memory_limit", {"/proc/self/cgroup": "9:memory:/a\n", "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "104857600\n"},
     "allows 100.0 MiB", "kv_memory"),
])
def test_it_works_but_would_work_better(doctor, check, change, found, do):
    said = doctor({**WELL, **change})[check]
    assert said["state"] == "advice" and found in said["found"] and do in said["do"], said


@pytest.mark.parametrize("energy,tree,state,found", [
    ("kind: rapl", {}, "must", "does not start"),
    ("kind: auto", {}, "skip", "computed from CPU time"),
    ("kind: 'off'", WELL, "skip", "from elsewhere"),
    ("kind: feed, url: 'http://127.0.0.1:1/', path: a", {}, "skip", "gaufre energy -c "),
    ("kind: rapl", WELL, "ok", "can be read"),
    ("kind: rapl, root: /other", {"/other/intel-rapl:0/energy_uj": "5\n"}, "ok", "can be read"),
])
def test_the_meter_that_is_configured(doctor, energy, tree, state, found):
    said = doctor(tree, f"suppliers: [{{name: s, base_url: 'http://127.0.0.1:1/v1', models: [m]}}]\nenergy: {{{energy}}}\n",
                  code=int(state == "must"))
    assert said["rapl"]["state"] == state and found in said["rapl"]["found"], said["rapl"]
    assert said["models"]["found"] == "the configuration names no models"


def test_what_a_wrong_configuration_names_is_not_known(doctor):
    said = doctor({}, "models: [", code=1)
    for check in ("models", "certificates", "secrets"):
        assert said[check]["state"] == "skip" and "before the configuration is in order" in said[check]["found"]


@pytest.mark.parametrize("text", [b"", b"\0\0\0", b"[", b"]madvise[", b"x" * 100000, b"max", b"1 0", b"-1", b"nan nan",
                                  b"::::", b"0::" + b"/a" * 4000, b"99999999999999999999999 1", b"flags", b"\xff\xfe"])
def test_files_of_any_content(doctor, text):
    doctor({path: text for path in WELL})


def test_limits_that_are_none(doctor):
    said = doctor({**WELL, "/proc/self/cgroup": "0::/not/shown/here\n", "/sys/fs/cgroup/memory.max": "9223372036854771712\n",
                   "/sys/fs/cgroup/cpu.max": None})
    assert said["memory_limit"]["state"] == "ok" and said["cpu_quota"]["state"] == "ok"


def own_group():
    """The folder of this process's group for memory, where one can make others: version 1 or 2."""
    for line in open("/proc/self/cgroup", encoding="ascii").read().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return f"/sys/fs/cgroup/memory{path}", "memory.limit_in_bytes"
        if not controllers and os.path.exists(f"/sys/fs/cgroup{path}/memory.max"):
            return f"/sys/fs/cgroup{path}", "memory.max"
    pytest.skip("no group for memory here")


def test_the_limit_of_a_group_below_is_counted_with(tmp_path):
    """As of a systemd service with MemoryMax: the limit is not at the root that the process sees."""
    above, limit = own_group()
    group = f"{above}/gaufre-test-{os.getpid()}"
    try:
        os.mkdir(group)
    except OSError as e:
        pytest.skip(f"no group can be made here: {e}")
    try:
        try:
            with open(f"{group}/{limit}", "w", encoding="ascii") as f:
                f.write("3000000000")
        except OSError as e:
            pytest.skip(f"no group for memory can be made here: {e}")
        done = subprocess.run(["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', group, find_gaufre(), "serve", "--check",
                               "--kv-memory", "64M", model_path()], capture_output=True, text=True, timeout=600,
                              env={**os.environ, "GAUFRE_HOME": str(tmp_path)})
        if "cgroup.procs" in done.stderr:
            pytest.skip(done.stderr)
        available = float(re.search(r"available (\S+) MiB", done.stdout).group(1))
        assert available < 3000000000 / 2**20, done.stdout
    finally:
        os.rmdir(group)


def test_threads_that_fit_the_quota(doctor):
    said = doctor({**WELL, "/sys/fs/cgroup/cpu.max": "150000 100000\n"},
                  f"threads: 1\nmodels: [{{model: {model_path()}, kv_memory: 16M, context: 512}}]\n")
    assert said["cpu_quota"]["state"] == "ok"


def test_a_wrong_configuration(doctor):
    said = doctor(WELL, "prot: 1\n", code=1)
    assert said["configuration"]["state"] == "must" and "c.yaml:1" in said["configuration"]["found"]
    assert "--check" in said["configuration"]["do"] and said["models"]["state"] == "skip"


def test_a_model_that_does_not_fit(doctor):
    said = doctor(WELL, f"models: [{{model: {model_path()}, kv_memory: 100000G}}]\n", code=1)
    assert said["models"]["state"] == "must" and "KV cache" in said["models"]["found"]


def certificate(folder, name, days):
    for args in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test",
                  "-keyout", folder / "key.pem", "-out", folder / "request.pem"],
                 ["x509", "-req", "-in", folder / "request.pem", "-signkey", folder / "key.pem", "-days", str(days),
                  "-out", folder / name]):
        subprocess.run(["openssl", *args], check=True, capture_output=True)
    return folder / name


@pytest.mark.parametrize("days,state,found", [(400, "ok", "good for"), (5, "advice", "ends in"), (-1, "must", "ended"),
                                              (None, "must", "holds no certificate")])
def test_certificates(doctor, tmp_path, days, state, found):
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    good = certificate(tmp_path, "good.pem", 4000)
    other = tmp_path / "other.pem"
    if days is None:
        other.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    else:  # a bundle is as good as the first of it that ends
        certificate(tmp_path, "other.pem", days)
        other.write_bytes(good.read_bytes() + other.read_bytes())
    config = "".join(f"  - {{name: {n}, base_url: 'https://x.example/v1', models: [{n}], ca_file: {p}}}\n"
                     for n, p in (("one", good), ("two", other)))
    (tmp_path / "c.yaml").write_text("suppliers:\n" + config)
    code = 1 if state == "must" else 0
    said = doctor(WELL, "suppliers:\n" + config, code=code)["certificates"]
    assert said["state"] == state and found in said["found"], said
    assert state == "ok" or "two" in said["found"]


def test_the_servers_own_certificate(doctor, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    own = certificate(tmp_path, "server.pem", 5)
    said = doctor(WELL, "suppliers: [{name: far, base_url: 'https://x.example/v1', models: [m]}]\n"
                  f"tls_cert: {own}\ntls_key: {tmp_path / 'key.pem'}\n")["certificates"]
    assert said["state"] == "advice" and said["found"].startswith(f"tls_cert {own}: ends in"), said


def test_a_key_that_others_can_read(doctor, tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-secret\n")
    config = f"suppliers: [{{name: far, base_url: 'https://x.example/v1', models: [m], key_file: {key}}}]\n"
    for mode, state in ((0o644, "advice"), (0o640, "ok")):
        key.chmod(mode)
        said = doctor(WELL, config)["secrets"]
        assert said["state"] == state and "sk-secret" not in json.dumps(said)


def test_a_home_that_cannot_be_written(doctor):
    if not os.geteuid():
        doctor.home = "/sys/kernel"  # not for root either
    else:
        doctor.home.chmod(0o500)
    assert doctor(WELL, code=1)["flush"]["state"] == "must"


def test_this_machine(doctor):
    """Whatever it is: it ends, and speaks of each check once."""
    done = subprocess.run([find_gaufre(), "doctor"], capture_output=True, text=True, timeout=600,
                          env={**os.environ, "GAUFRE_HOME": str(doctor.home)})
    assert done.returncode in (0, 1) and done.stdout.count("\n") >= 16 and "must change" in done.stderr


def test_the_manual_knows_each_check(doctor):
    text = (ROOT / "docs/operations.md").read_text()
    assert [c for c in doctor(WELL) if f"| `{c}` |" not in text] == []
