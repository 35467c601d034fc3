"""A real supplier that is no gaufre: llama.cpp's server. It is used where bench/peers.sh llama-server has built it, or where
GAUFRE_LLAMA_SERVER names the program; `make test` does not build it."""
import json
import os
import pathlib
import socket
import subprocess
import urllib.request

import pytest
from openai import APIStatusError, OpenAI

from serving import Server, model_path, wait_for

CACHE = pathlib.Path(os.environ.get("GAUFRE_TEST_CACHE") or
                     os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "gaufre-test"))
ASK = [{"role": "user", "content": "What is a wafer? Answer in one sentence."}]


def find_program():
    named = os.environ.get("GAUFRE_LLAMA_SERVER")
    path = pathlib.Path(named) if named else CACHE / "peers/llama/bin/llama-server"
    if not path.exists():
        pytest.skip("no llama-server on this machine")
    return path


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """The address of llama-server, with 2 places of 1024 tokens."""
    program = find_program()
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    log = open(tmp_path_factory.mktemp("llama") / "log", "wb")
    process = subprocess.Popen([program, "-m", model_path(), "--host", "127.0.0.1", "--port", str(port), "-t", "2", "-c", "2048",
                                "-np", "2", "--jinja", "--no-warmup"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               env={**os.environ, "LD_LIBRARY_PATH": str(program.parent)})
    url = f"http://127.0.0.1:{port}"

    def is_up():
        assert process.poll() is None, pathlib.Path(log.name).read_text(errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(url + "/health", timeout=5) as r:
                return r.status == 200
        except OSError:
            return False

    wait_for("llama-server", is_up)
    yield url
    process.kill()
    process.wait()
    log.close()


@pytest.fixture(scope="module")
def here(there, tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    (folder / "gaufre.yaml").write_text(f"suppliers:\n  - name: llama\n    base_url: {there}/v1\n    models: [far=any]\n    context: 1024\n")
    s = Server(str(folder), "-c", folder / "gaufre.yaml", models=[])
    yield s
    assert s.stop() == 0, s.read_log()[-4000:]


@pytest.fixture(scope="module")
def client(here):
    return OpenAI(base_url=here.url + "/v1", api_key="none", max_retries=0, timeout=600)


def booked(here):
    b = here.balance().get("default", {})
    return b.get("prompt_tokens", 0), b.get("completion_tokens", 0)


def test_whole_and_streamed(here, client):
    """The same text both ways, and the ledger has what llama-server says was used."""
    asked = {"model": "far", "messages": ASK, "max_tokens": 24, "temperature": 0, "seed": 1}
    before = booked(here)
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text and text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason == "length"
    used = chunks[-1].usage
    assert used.completion_tokens == whole.usage.completion_tokens == 24 and used.prompt_tokens == whole.usage.prompt_tokens
    want = (before[0] + 2 * used.prompt_tokens, before[1] + 48)
    wait_for("booked", lambda: booked(here) == want)


def test_a_stream_without_usage_is_counted(here, client):
    """To a client that does not ask for the usage it comes with the last choice, in no chunk of its own; and it is booked."""
    before = booked(here)
    chunks = list(client.chat.completions.create(model="far", messages=ASK, max_tokens=8, temperature=0, stream=True))
    assert all(c.choices for c in chunks) and chunks[-1].usage.completion_tokens == 8
    wait_for("booked", lambda: booked(here)[1] == before[1] + 8)


def test_what_only_it_can_do(client):
    """Its own fields arrive there and come back: a grammar, and timings beside the answer."""
    answer = client.chat.completions.create(model="far", messages=ASK, max_tokens=8, temperature=0,
                                            extra_body={"grammar": 'root ::= "yes" | "no"'})
    assert answer.choices[0].message.content in ("yes", "no")
    assert answer.model_extra["timings"]["predicted_n"] > 0
    answer = client.chat.completions.create(
        model="far", messages=ASK, max_tokens=60, temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {
            "type": "object", "properties": {"round": {"type": "boolean"}}, "required": ["round"], "additionalProperties": False}}})
    assert isinstance(json.loads(answer.choices[0].message.content)["round"], bool)
    answer = client.chat.completions.create(model="far", messages=ASK, max_tokens=3, temperature=0, logprobs=True, top_logprobs=2)
    assert len(answer.choices[0].logprobs.content) == 3 and len(answer.choices[0].logprobs.content[0].top_logprobs) == 2


def test_completions(client):
    answer = client.completions.create(model="far", prompt="One, two, three,", max_tokens=6, temperature=0)
    assert answer.choices[0].text and answer.usage.completion_tokens == 6


def test_too_long_is_the_clients_fault(here, client):
    with pytest.raises(APIStatusError) as e:
        client.chat.completions.create(model="far", messages=[{"role": "user", "content": "word " * 3000}], max_tokens=4)
    assert e.value.status_code == 400, e.value.body
    assert here.metric("gaufre_supplier_breaker", state="open") == 0


def test_a_client_that_leaves(here, there, client):
    """Its place there is free again soon, and what was delivered is booked."""
    before = booked(here)
    got = client.chat.completions.create(model="far", messages=ASK, max_tokens=900, temperature=0, stream=True)
    for n, _ in enumerate(got):
        if n == 5:
            break
    got.close()

    def is_idle():
        with urllib.request.urlopen(there + "/slots", timeout=60) as r:
            return not any(s["is_processing"] for s in json.load(r))
    wait_for("idle", is_idle)
    wait_for("booked", lambda: before[1] < booked(here)[1] < before[1] + 900)
