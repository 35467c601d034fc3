"""Who is measured: gaufre, llama.cpp (with and without AMX) and ik_llama.cpp, each in its best settings for a CPU.

A side has name, prefill(), decode(), batch() -> {case: tokens/s}, and serve() -> a running Server. All take the
model's file and use the same number of threads.
"""
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request


class Failed(Exception):
    """A side gave no figure; how: what the report says of it."""
    how = "fails"


class Crashed(Failed):
    how = "crashes"


def ended(code, text):
    """The exception for a process that ended so."""
    if code is not None and code < 0:
        return Crashed(f"{text}: killed by {signal.Signals(-code).name}")
    return Failed(text if code is None else f"{text}: exit {code}")


def run(cmd, env=None, timeout=1800, talk=False):
    """What the command prints; with talk, what it prints on stderr."""
    try:
        p = subprocess.run(cmd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except (subprocess.TimeoutExpired, OSError) as e:
        raise Failed(f"{' '.join(cmd)}: {e}") from None
    if p.returncode:
        raise ended(p.returncode, f"{' '.join(cmd)}: {p.stderr[-1500:]}")
    return p.stderr if talk else p.stdout


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server process on a port of this machine. `model` is the id that requests name."""

    def __init__(self, cmd, port, model, env=None):
        self.port, self.model, self.begin = port, model, time.monotonic()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(cmd, env=env, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT)
        self.ready_s = None

    def wait_ready(self, timeout=180):
        """Seconds from the start of the process to the first 200 of /health."""
        while time.monotonic() - self.begin < timeout:
            if self.process.poll() is not None:
                raise self.failed("the server ended")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
                    s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if s.recv(64).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                        self.ready_s = time.monotonic() - self.begin
                        return self.ready_s
            except OSError:
                pass
            time.sleep(0.002)
        raise Failed(f"the server was not ready in {timeout} s: {self.tail()}")

    def post(self, path, body, timeout=600):
        r = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(),
                                   {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(r, timeout=timeout) as reply:
                return json.load(reply)
        except (OSError, ValueError) as e:
            raise self.failed(f"POST {path}: {e}") from None

    def failed(self, text):
        """The exception for a request without an answer: did the server end, and how? A crash may be seen by its client
        before it is by us."""
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            pass
        return ended(self.process.poll(), f"{text}: {self.tail(600)}")

    def resident_mib(self):
        try:
            with open(f"/proc/{self.process.pid}/status") as f:
                return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) / 1024
        except (OSError, TypeError):  # it ended; a zombie has no memory
            raise self.failed("the server ended") from None

    def tail(self, n=1500):
        self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, self.log.tell() - n))
        return self.log.read().decode(errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Gaufre:
    name = "gaufre"

    def __init__(self, binary, threads, reps, cpu="auto"):
        self.binary, self.threads, self.reps, self.cpu = binary, threads, reps, cpu
        self.reports = {}  # model file -> the last report of its machine and shapes

    def version(self):
        return run([self.binary, "--version"]).strip()

    def bench(self, model, threads=None, flags=(), **lists):
        cmd = [self.binary, "bench", model, "--report", "--threads", str(threads or self.threads), "--reps",
               str(self.reps), "--cpu", self.cpu, *flags]
        for option in ("prefill", "decode", "depth", "batch"):
            values = lists.get(option, [0] if option in ("prefill", "decode") else None)
            if values is not None:
                cmd += [f"--{option}", ",".join(map(str, values))]
        report = json.loads(run(cmd))
        self.reports[model] = report
        return report["rows"]

    def prefill(self, model, sizes):
        return {r["n"]: r for r in self.bench(model, prefill=sizes)}

    def decode(self, model, n, depths, threads=None):
        return {r["depth"]: r for r in self.bench(model, decode=[n], depth=depths, threads=threads)}

    def batch(self, model, n, depth, batches, same_prompt=False):
        rows = self.bench(model, flags=["--same-prompt"] if same_prompt else [], decode=[n], depth=[depth], batch=batches)
        return {r["batch"]: r for r in rows}

    def serve(self, model, slots, context, extra=()):
        port = free_port()
        name = os.path.basename(model).removesuffix(".gguf")
        return Server([self.binary, "serve", model, "--port", str(port), "--ledger", "off", "--log-level", "warn",
                       "--threads", str(self.threads), "--batch", str(max(slots, 1)), "--kv-memory",
                       str(self.kv_memory(model, slots, context)), *extra], port, name)

    def kv_memory(self, model, slots, context):
        """As much as the peers get: every slot its context; 0 (what is free) where the model is not known yet."""
        report = self.reports.get(model)
        return slots * context * report["model"]["kv_token_bytes"] * 5 // 4 if report and slots > 1 else 0


class Llama:
    """llama.cpp; folder has bin/llama-bench and so on. amx: the folder of another libggml to put before it."""

    bench_flags = ["-fa", "1"]
    no_warmup = ["--no-warmup"]

    def __init__(self, name, folder, threads, reps, before=None):
        self.name, self.folder, self.threads, self.reps = name, folder, threads, reps
        path = ([before + "/bin"] if before else []) + [folder + "/bin"]
        self.env = dict(os.environ, LD_LIBRARY_PATH=":".join(path))

    def tool(self, name):
        return f"{self.folder}/bin/{name}"

    def has(self, name):
        return os.access(self.tool(name), os.X_OK)

    def version(self):
        return self.name

    def bench(self, model, args, threads=None, env=None):
        out = run([self.tool("llama-bench"), "-m", model, "-t", str(threads or self.threads), "-r", str(self.reps),
                   "-o", "json", *self.bench_flags, *args], env=dict(self.env, **(env or {})))
        return json.loads(out[out.index("["):])

    def prefill(self, model, sizes):
        """llama-bench warms up each size with a whole run of it. Where one run is all that is wanted, because the model
        is large, a short prompt before the others does that."""
        warm = [64] if self.reps == 1 and 64 not in sizes else []
        rows = self.bench(model, ["-n", "0", "-p", ",".join(map(str, warm + sizes))] + (self.no_warmup if warm else []))
        return {r["n_prompt"]: statistics.median(r["samples_ts"]) for r in rows if r["n_prompt"] in sizes}

    def decode(self, model, n, depths, threads=None, env=None):
        rows = self.bench(model, ["-p", "0", "-n", str(n), "-d", ",".join(map(str, depths))], threads, env)
        return {r["n_depth"]: statistics.median(r["samples_ts"]) for r in rows}

    def batch_args(self, model, n, depth, batches, same_prompt):
        return [self.tool("llama-batched-bench"), "-m", model, "-t", str(self.threads), "-c",
                str(max(batches) * (depth + n)), "-b", "2048", "-ub", "512", "-npp", str(depth), "-ntg", str(n),
                "-npl", ",".join(map(str, batches)), *(["-pps"] if same_prompt else [])]

    def batch(self, model, n, depth, batches, same_prompt=False):
        out = run(self.batch_args(model, n, depth, batches, same_prompt) + ["-fa", "on", "--output-format", "jsonl"], self.env)
        rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return {r["pl"]: r["speed_tg"] for r in rows}

    def serve_flags_for(self, slots):
        return ["-fa", "on", "--no-ui", "--no-warmup"]

    def serve(self, model, slots, context):
        port = free_port()
        return Server([self.tool("llama-server"), "-m", model, "--host", "127.0.0.1", "--port", str(port), "-t",
                       str(self.threads), "-c", str(slots * context), "-np", str(slots), *self.serve_flags_for(slots)],
                      port, "model", self.env)


class Ik(Llama):
    """ik_llama.cpp: repacks at run time, asks for huge pages; its llama-bench has depth as -gp prompt,generated."""

    bench_flags = ["-fa", "1", "-rtr", "1", "-thp", "1"]
    no_warmup = ["-w", "0"]

    def decode(self, model, n, depths, threads=None, env=None):
        args = ["-p", "0", "-n", str(n) if 0 in depths else "0"]
        for d in depths:
            if d:
                args += ["-gp", f"{d},{n}"]
        rows = self.bench(model, args, threads, env)
        return {r["n_prompt"]: statistics.median(r["samples_ts"]) for r in rows}

    # Its flash attention stops at an assertion (S > 0) when a batch mixes sequences that do not begin with the same
    # prompt; so servers with several slots, and batches but those of one prompt, go without it.

    def batch(self, model, n, depth, batches, same_prompt=False):
        rows = {}
        out = run(self.batch_args(model, n, depth, batches, same_prompt) +
                  ["-rtr", "-thp", "-fa", "on" if same_prompt else "off"], self.env, talk=True)
        for line in out.splitlines():
            if re.match(r"\|\s*\d", line):
                f = [x.strip() for x in line.split("|")[1:-1]]
                rows[int(f[2])] = float(f[7])
        return rows

    def serve_flags_for(self, slots):
        return ["-rtr", "-thp", "-fa", "on" if slots == 1 else "off"]
