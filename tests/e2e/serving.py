"""A real server on a free port, and what its end-to-end tests share."""
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from finding import find_gaufre, model_file

MODEL = "smollm2-135m"
# What a wait is multiplied by: it ends tests that hang, and must not end one that shares its CPUs with others. Sanitizer
# builds are several times slower; tools/test.sh says which they are by these.
SLOW = 20 if {"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ) else 5


def model_path(name=MODEL):
    return str(model_file(name))


def wait_for(what, check, seconds=60):
    """Poll for what another process will do; the limit only ends a test that has failed."""
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"never: {what}")


class Server:
    def __init__(self, folder, *flags, models=None, wait=True, env=None, ledger=None, ca=None):
        self.folder = folder
        self.tls = ca and ssl.create_default_context(cafile=ca)
        self.log_path = os.path.join(folder, "server.log")
        self.ledger = ledger or os.path.join(folder, "ledger.db")
        args = [find_gaufre(), "serve", *(models if models is not None else [model_path()]),
                "--port", "0", "--ledger", self.ledger, *map(str, flags)]
        if not any(f == "--kv-memory" for f in flags):
            args += ["--kv-memory", "512M"]
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT,
                                        env={**os.environ, "GAUFRE_HOME": folder, **(env or {})})
        found = wait_for("listening", lambda: re.search(r"listening.*port\W+(\d+)", self.read_log())
                         or self.process.poll() is not None)
        assert not isinstance(found, bool), self.read_log()
        self.port = int(found.group(1))
        self.url = f"http{'s' if ca else ''}://127.0.0.1:{self.port}"
        if wait:
            self.wait_ready()

    def read_log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, self.read_log()
            return self.get("/health")[0] == 200
        wait_for("ready", ready)

    def request(self, method, path, body=None, headers=None):
        """(status, headers, bytes), whatever the status."""
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        r = urllib.request.Request(self.url + path, data=data, method=method,
                                   headers={"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(r, timeout=120 * SLOW, context=self.tls) as a:
                return a.status, a.headers, a.read()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.headers, e.read()

    def get(self, path, headers=None):
        return self.request("GET", path, headers=headers)

    def post(self, path, body, headers=None):
        status, heads, text = self.request("POST", path, body, headers)
        return status, heads, json.loads(text)

    def chat(self, content, **more):
        headers = more.pop("headers", None)
        body = {"model": MODEL, "messages": [{"role": "user", "content": content}], **more}
        return self.post("/v1/chat/completions", body, headers)

    def metric(self, name, **labels):
        """Sum of the series of that name that have these labels."""
        total = 0
        for line in self.get("/metrics")[2].decode().splitlines():
            m = re.fullmatch(r"([^{ ]+)(?:\{(.*)\})? (\S+)", line)
            if not m or m.group(1) != name:
                continue
            have = dict(re.findall(r'(\w+)="([^"]*)"', m.group(2) or ""))
            if all(have.get(k) == v for k, v in labels.items()):
                total += float(m.group(3))
        return total

    def idle(self):
        return (self.metric("vllm:num_requests_running") == 0
                and self.metric("vllm:num_requests_waiting") == 0)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60 * SLOW)

    def balance(self):
        out = subprocess.run([find_gaufre(), "usage", "--ledger", self.ledger, "--json"], check=True,
                             capture_output=True, text=True).stdout
        return {b["tenant"]: b for b in map(json.loads, out.splitlines())}

    def stop(self, seconds=60):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds * SLOW)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.log.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    s = Server(str(tmp_path_factory.mktemp("server")))
    yield s
    assert s.stop() == 0, s.read_log()[-4000:]


@pytest.fixture
def start(tmp_path):
    """start(*flags): a server of the test's own."""
    servers = []

    def make(*flags, **more):
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(str(folder), *flags, **more))
        return servers[-1]

    yield make
    for s in servers:
        if s.process.poll() is None:
            s.process.kill()
            s.process.wait()
        s.log.close()
