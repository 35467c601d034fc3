"""A real PostgreSQL of the test's own, on a private socket."""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse

import pytest


def tools():
    """The folder of initdb and postgres, or None."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return os.path.dirname(found[-1]) if found else None


class Postgres:
    def __init__(self):
        self.bin = tools()
        if not self.bin:
            pytest.skip("PostgreSQL is not installed")
        # It refuses to run as root, and its socket's path must be short.
        self.user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        self.folder = tempfile.mkdtemp(prefix="gaufre-pg-")
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        data = f"{self.folder}/data"
        self.run("initdb", "-D", data, "-A", "trust", "-U", "gaufre", "-E", "UTF8", "--no-sync")
        self.process = subprocess.Popen(
            [f"{self.bin}/postgres", "-D", data, "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.as_user())
        self.run("pg_isready", "-h", self.folder, "-t", "60", tries=600)
        self.n = 0

    def as_user(self):
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "cwd": self.folder,
                "env": {"PATH": os.environ["PATH"], "HOME": self.folder}} if self.user else {}

    def run(self, tool, *args, tries=1):
        for i in range(tries):
            r = subprocess.run([f"{self.bin}/{tool}", *args], capture_output=True, text=True, check=False, **self.as_user())
            if r.returncode == 0:
                return r.stdout
            time.sleep(0.1)
        raise AssertionError(r.stdout + r.stderr)

    def sql(self, url, text):
        return self.run("psql", "-At", "-c", text, url)

    def database(self):
        """The URL of a new database."""
        self.n += 1
        name = f"d{self.n}"
        self.run("createdb", "-h", self.folder, "-U", "gaufre", name)
        return self.url(name)

    def url(self, name):
        return f"postgresql://gaufre@/{name}?host={urllib.parse.quote(self.folder, safe='')}"

    def restart(self):
        self.process.send_signal(signal.SIGINT)  # at once, whoever is connected
        self.process.wait(60)
        self.process = subprocess.Popen(
            [f"{self.bin}/postgres", "-D", f"{self.folder}/data", "-k", self.folder, "-c", "listen_addresses=", "-c",
             "fsync=off"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.as_user())
        self.run("pg_isready", "-h", self.folder, "-t", "60", tries=600)

    def signal_all(self, number):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            children = f.read().split()
        for pid in (self.process.pid, *map(int, children)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def pause(self):
        """It takes connections and does not answer."""
        self.signal_all(signal.SIGSTOP)

    def resume(self):
        self.signal_all(signal.SIGCONT)

    def close(self):
        self.process.send_signal(signal.SIGINT)  # at once, whoever is connected
        self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres():
    p = Postgres()
    yield p
    p.close()
