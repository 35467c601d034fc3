"""An independent judge: llmock is a supplier that breaks streams and refuses at random, and says at its end how its client
coped. It counts tries: a stream that ended without a finish_reason must be asked for again, and what is wrong must not. A relay
cannot try again after the first content, but it says that the stream broke; so an ordinary client, which tries again where the
official SDK raises, is without fault through gaufre, and is not in front of llmock itself."""
import fcntl
import json
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import openai
import pytest

from finding import ROOT
from serving import SLOW, Server, wait_for

FOLDER = ROOT / "build/judge"
WANTED = ROOT / "tests/e2e/judge.txt"
TRIES = 8
# llmock's shortest answer has six chunks, the last with its finish_reason: cut there it lacks only [DONE], and is whole.
# llmock takes it for cut all the same.
WHOLE = "A stream was cut after 6 chunk(s)"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def llmock():
    """The program, in an environment of its own, exactly as judge.txt says."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = FOLDER / "installed.txt"
        if not done.exists() or done.read_bytes() != WANTED.read_bytes():
            subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER / "venv"], check=True)
            pip = subprocess.run([FOLDER / "venv/bin/pip", "install", "-q", "--disable-pip-version-check", "-r", WANTED],
                                 capture_output=True, text=True, check=False)
            if pip.returncode:
                pytest.skip(f"llmock could not be installed: {pip.stderr.strip()[-200:]}")
            done.write_bytes(WANTED.read_bytes())
    return FOLDER / "venv/bin/llmock"


class Judge:
    def __init__(self, program, folder, *faults):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(folder / "llmock.log", "wb")
        self.process = subprocess.Popen([program, "serve", "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning",
                                         "--report", *faults], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for("the judge", self.is_up)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=60 * SLOW) as r:
            return r.read().decode()

    def is_up(self):
        try:
            return self.get("/_llmock/verdict")
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def judged(llmock, tmp_path):
    """judged(*faults) -> (judge, url of llmock, url of a gaufre before it)."""
    made = []

    def make(*faults):
        judge = Judge(llmock, tmp_path, *faults)
        made.append(judge)
        (tmp_path / "c.yaml").write_text(f"suppliers:\n  - name: judge\n    base_url: {judge.url}/v1\n    models: [gpt-4o]\n"
                                         "    silence_timeout: 500ms\n")
        made.append(Server(str(tmp_path), "-c", tmp_path / "c.yaml", models=[]))
        return judge, made[1].url

    yield make
    for m in made:
        m.close() if isinstance(m, Judge) else m.stop()


def converse(url, n):
    """n questions, each asked again with growing pauses while the SDK raises what may pass; how many were answered whole,
    and how many were accepted without an end."""
    client = openai.OpenAI(base_url=url + "/v1", api_key="sk-judge", max_retries=TRIES, timeout=30 * SLOW)
    whole = unended = 0
    for i in range(n):
        for k in range(TRIES):
            finish = None
            try:
                for c in client.chat.completions.create(model="gpt-4o", stream=True, messages=[{"role": "user", "content": f"question {i}"}]):
                    finish = (c.choices and c.choices[0].finish_reason) or finish
                whole += finish is not None
                unended += finish is None
                break
            except openai.APIError as e:
                # A supplier that was slow once more may be rested for a while: 503, which passes, too. Who gives up
                # then has not tried again after a cut.
                assert not isinstance(e, openai.APIStatusError) or e.status_code >= 429, e
                time.sleep(0.4 * 2 ** k * random.uniform(1, 1.2))  # not before a busy judge has noted the cut
    return whole, unended


def verdict(judge):
    print(judge.get("/_llmock/verdict?format=text"))
    return json.loads(judge.get("/_llmock/verdict"))


def test_no_verdict_on_a_relay(judged):
    judge, url = judged("--stream-fault", "truncate=0.2", "--stream-fault", "disconnect=0.1", "--stream-fault", "stall=0.05",
                        "--stream-stall-seconds", "600", "--error-rate", "429=0.05", "--error-rate", "503=0.05")
    whole, unended = converse(url, 40)
    v = verdict(judge)
    found = [f for f in v["findings"] if f["code"] != "truncated_stream_accepted" or not f["title"].startswith(WHOLE)]
    assert v["faults_injected"] > 0 and unended == 0, v
    assert {f["code"] for f in found} <= {"no_backoff"}, v  # pauses are the client's, and random
    assert whole >= 38


def test_the_judge_is_no_friend(judged):
    """The same client before llmock itself accepts what was cut: the SDK raises nothing there."""
    judge, _ = judged("--stream-fault", "truncate=0.5")
    converse(judge.url, 20)
    assert "truncated_stream_accepted" in {f["code"] for f in verdict(judge)["findings"]}
