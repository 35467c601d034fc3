"""A real Slurm of a test's own: munged, slurmctld and several slurmd on this host, as the user that runs the tests."""
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from serving import wait_for

PROGRAMS = ("munged", "slurmctld", "slurmd", "scontrol", "squeue", "sbatch")
# Where Debian puts what only root runs.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing():
    """The programs of Debian's packages that are not here, as a sentence; empty: all are."""
    gone = [p for p in PROGRAMS if not shutil.which(p, path=PATH)]
    return f"not installed (tools/setup.sh slurm): {', '.join(gone)}" if gone else ""


def free_ports(n):
    taken = [socket.socket() for _ in range(n)]
    for s in taken:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in taken]
    for s in taken:
        s.close()
    return ports


class Slurm:
    """Nodes node1 to nodeN, one CPU each, in the partition `idle`."""

    def __init__(self, n=3):
        # Paths of sockets have 107 characters at most, and a job whose socket cannot be made never runs.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.nodes = [f"node{i + 1}" for i in range(n)]
        self.conf = self.folder / "slurm.conf"
        self.env = {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.conf)}
        self.running = {}
        for d in ("munge", "state", "log"):
            (self.folder / d).mkdir()
        self.munge = self.folder / "munge"
        key = self.munge / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        self.socket = self.munge / "socket"

    def _configure(self):
        host = socket.gethostname().split(".")[0]
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        ports = free_ports(len(self.nodes) + 1)
        at = self.folder
        lines = ["ClusterName=test", f"SlurmctldHost={host}(127.0.0.1)", f"SlurmctldPort={ports[0]}", f"SlurmUser={user}", f"SlurmdUser={user}",
                 # A job that was put back waits as long as its credential holds, or it would start twice.
                 "AuthType=auth/munge", f"AuthInfo=socket={self.socket},cred_expire=5", "CredType=cred/munge",
                 f"StateSaveLocation={at}/state", f"SlurmdSpoolDir={at}/spool-%n",
                 f"SlurmctldPidFile={at}/slurmctld.pid", f"SlurmdPidFile={at}/slurmd-%n.pid",
                 f"SlurmctldLogFile={at}/log/slurmctld.log", f"SlurmdLogFile={at}/log/slurmd-%n.log",
                 "ProctrackType=proctrack/pgid", "TaskPlugin=task/none", "JobAcctGatherType=jobacct_gather/none",
                 "AccountingStorageType=accounting_storage/none", "MpiDefault=none", "SwitchType=switch/none",
                 "SchedulerType=sched/backfill", "SchedulerParameters=sched_interval=1,bf_interval=1",
                 "SelectType=select/cons_tres", "SelectTypeParameters=CR_CPU", "SlurmdParameters=config_overrides",
                 "ReturnToService=2", "KillWait=1", "SlurmctldTimeout=60", "SlurmdTimeout=60"]
        lines += [f"NodeName={n} NodeHostname={host} NodeAddr=127.0.0.1 Port={p} CPUs=1 RealMemory=100 State=UNKNOWN"
                  for n, p in zip(self.nodes, ports[1:])]
        lines += [f"PartitionName=idle Nodes={','.join(self.nodes)} Default=YES MaxTime=INFINITE State=UP PriorityTier=1"]
        self.conf.write_text("\n".join(lines) + "\n")

    def _spawn(self, name, *command):
        with open(self.folder / "log" / f"{name}.out", "ab") as out:
            self.running[name] = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)

    def start(self):
        for _ in range(3):  # a port may be another's by the time that it is used
            self._configure()
            self._spawn("munged", "munged", "--foreground", "--force", f"--socket={self.socket}", f"--key-file={self.munge}/key",
                        f"--log-file={self.munge}/log", f"--pid-file={self.munge}/pid", f"--seed-file={self.munge}/seed", "--num-threads=2")
            wait_for("munged", self.socket.exists)
            self.start_controller()
            for n in self.nodes:
                self._spawn(n, "slurmd", "-D", "-N", n, "-f", str(self.conf))
            if self._is_up():
                return self
            self._end_all()
            shutil.rmtree(self.folder / "state")
            (self.folder / "state").mkdir()
        raise AssertionError(self.log())

    def _is_up(self):
        for _ in range(600):
            if any(p.poll() is not None for p in self.running.values()):
                return False
            if all(s.startswith("IDLE") and "*" not in s for s in self.states().values()):
                return True
            time.sleep(0.2)
        return False

    def start_controller(self):
        self._spawn("slurmctld", "slurmctld", "-D", "-f", str(self.conf))

    def kill_controller(self):
        p = self.running.pop("slurmctld")
        p.send_signal(signal.SIGKILL)
        p.wait()

    def run(self, *command, ok=True):
        r = subprocess.run(command, env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
        assert not ok or r.returncode == 0, r.stdout + r.stderr
        return r.stdout

    def states(self):
        """{node: its state}, as Slurm says it."""
        rows = self.run("scontrol", "--oneliner", "show", "node", ok=False).splitlines()
        found = {r.split("NodeName=")[1].split()[0]: r.split(" State=")[1].split()[0] for r in rows if "NodeName=" in r}
        return {n: found.get(n, "?") for n in self.nodes}

    def drain(self, *nodes, reason="gaufre serves"):
        self.run("scontrol", "update", f"nodename={','.join(nodes)}", "state=drain", f"reason={reason}")

    def submit(self, *options, script="exec sleep 600"):
        text = self.run("sbatch", "--parsable", f"--output={self.folder}/job-%j.out", *options, "--wrap", script)
        return int(text.split(";")[0])

    def job(self, number):
        """(state, node, how often it was put back)"""
        text = self.run("scontrol", "--oneliner", "show", "job", str(number))
        fields = dict(w.split("=", 1) for w in text.split() if "=" in w)
        return fields["JobState"], fields.get("NodeList", ""), int(fields["Restarts"])

    def runs(self, number, seconds=120):
        """Wait until it runs; gently, as each look is a request to the controller, which has more to do."""
        def look():
            time.sleep(0.5)
            return self.job(number)[0] == "RUNNING"
        wait_for(f"job {number} runs", look, seconds)

    def log(self):
        return "".join(f"--- {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in sorted((self.folder / "log").iterdir()))

    def _end_all(self):
        for name in ("slurmctld", *self.nodes, "munged"):
            p = self.running.pop(name, None)
            if not p:
                continue
            p.terminate()
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def stop(self):
        try:  # what runs would outlive its slurmd
            self.run("scancel", "--full", "--signal=KILL", f"--user={os.geteuid()}", ok=False)
        except subprocess.TimeoutExpired:
            pass
        self._end_all()
        shutil.rmtree(self.folder, ignore_errors=True)
