"""A machine of the test's own: systemd as the first process of new namespaces, in a root that is this machine's with
every change kept aside (an overlay), so that packages can be installed and services started. It wants root, and a
kernel that lets it; otherwise the test is skipped and says why."""
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

from serving import SLOW, wait_for

BOOT = r"""
set -eu
side=$1
mount -t tmpfs -o mode=755 tmpfs "$side"
mkdir "$side/up" "$side/work" "$side/root"
mount -t overlay -o "lowerdir=/,upperdir=$side/up,workdir=$side/work" overlay "$side/root"
cd "$side/root"
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys
if ! mount -t cgroup2 cgroup2 sys/fs/cgroup 2>/dev/null || [ -d /sys/fs/cgroup/systemd ]; then
    umount sys/fs/cgroup 2>/dev/null || true
    mount -t tmpfs tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mkdir -p oldroot
pivot_root . oldroot
umount -l /oldroot
# Nothing of this machine's own services: only what the test starts.
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 /lib/systemd/systemd --system \
    --log-target=null --show-status=no --unit=basic.target
"""
UNSHARE = ["unshare", "-m", "-p", "-u", "-i", "-C", "-f", "--kill-child", "--propagation", "private"]


class Booted:
    def __init__(self):
        for tool in ("unshare", "nsenter", "systemctl", "deb-systemd-helper"):
            if not shutil.which(tool):
                pytest.skip(f"no {tool}")
        if os.geteuid() or not os.path.exists("/lib/systemd/systemd"):
            pytest.skip("wants root and systemd")
        self.side = tempfile.mkdtemp(prefix="gaufre-booted-")
        self.log = open(os.path.join(self.side + ".log"), "wb")
        self.process = subprocess.Popen([*UNSHARE, "bash", "-c", BOOT, "boot", self.side], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        self.pid = None
        try:
            wait_for("booted", self.is_up, 20)
        except AssertionError:
            with open(self.log.name, errors="replace") as f:
                why = f.read()[-300:] or "systemd did not come up in namespaces of its own"
            self.close()
            pytest.skip(f"cannot boot a machine here: {why}")

    def first(self):
        """The first process of the namespaces, seen from outside."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path, encoding="ascii") as f:
            return int(f.read().split()[0])

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError("it ended")
        try:
            self.pid = self.first()
            with open(f"/proc/{self.pid}/comm", encoding="ascii") as f:
                if f.read().strip() != "systemd":
                    return False
        except (OSError, IndexError):
            return False
        return self.run("systemctl", "is-system-running", code=None).stdout.strip() in ("running", "degraded")

    def run(self, *args, code=0, stdin=None):
        done = subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-C", "-r", "-w", "env", "-i",
                               "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
                               *map(str, args)], capture_output=True, text=True, timeout=120 * SLOW, input=stdin)
        assert code is None or done.returncode == code, (args, done.stdout, done.stderr)
        return done

    def path(self, inside):
        return f"/proc/{self.pid}/root{inside}"

    def exists(self, inside):
        return self.run("test", "-e", inside, code=None).returncode == 0

    def write(self, inside, text):
        self.run("sh", "-c", f"cat > {inside}", stdin=text)

    def bring(self, outside, inside):
        with open(outside, "rb") as f:
            subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-r", "-w", "sh", "-c", f"cat > {inside}"], stdin=f,
                           check=True, timeout=120 * SLOW)

    def close(self):
        if self.pid and self.process.poll() is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.kill()
        self.process.wait()
        self.log.close()
        os.unlink(self.log.name)
        os.rmdir(self.side)


@pytest.fixture
def booted():
    machine = Booted()
    yield machine
    machine.close()
