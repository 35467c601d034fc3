"""HTTP/2: streams side by side on one connection, one of them cancelled; limits, drains and upgrades as with HTTP/1."""
import asyncio
import json
import shutil
import signal
import ssl
import subprocess

import h2.connection
import h2.errors
import h2.events
import httpx
import openai
import pytest

from serving import MODEL, SLOW, Server, wait_for
from test_tls import make_pair
from test_upgrade import Replaced

pytestmark = pytest.mark.sanitize

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "Count to ten."}], "temperature": 0}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("pair"), "h2")


@pytest.fixture
def server(tmp_path, pair):
    s = Server(str(tmp_path), "--tls-cert", pair[0], "--tls-key", pair[1], ca=pair[0])
    yield s
    assert s.stop() == 0, s.read_log()[-4000:]


def client_of(server, pair, **more):
    return httpx.AsyncClient(http1=False, http2=True, verify=ssl.create_default_context(cafile=pair[0]), base_url=server.url,
                             timeout=240 * SLOW, **more)


def sdk_of(server, http, key="none"):
    return openai.AsyncOpenAI(base_url=server.url + "/v1", api_key=key, http_client=http, max_retries=0)


async def say(sdk, n=16, **more):
    """The text of a stream."""
    said = ""
    async for chunk in await sdk.chat.completions.create(**ASK, max_tokens=n, stream=True, **more):
        said += chunk.choices[0].delta.content or "" if chunk.choices else ""
    return said


async def begin(sdk, n):
    """A stream, after its first token."""
    stream = await sdk.chat.completions.create(**ASK, max_tokens=n, stream=True)
    await anext(stream)
    return stream


def test_streams_side_by_side_on_one_connection(server, pair):
    async def go():
        async with client_of(server, pair) as http:
            sdk = sdk_of(server, http)
            alone = await say(sdk)
            assert await asyncio.gather(*(say(sdk) for _ in range(12))) == [alone] * 12
            whole = await sdk.chat.completions.create(**ASK, max_tokens=16)
            assert whole.choices[0].message.content == alone
            answer = await http.get("/health")
            assert answer.http_version == "HTTP/2" and answer.status_code == 200
    asyncio.run(go())
    assert server.metric("gaufre_http2_connections_total") == 1
    assert server.metric("gaufre_http2_resets_total") == 0


class Raw:
    """A connection of the protocol's library alone, as httpx does not reset a stream that it stops reading."""

    def __init__(self, server):
        self.socket = server.connect()
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.text, self.ended = {}, set()

    def ask(self, n):
        i = self.h2.get_next_available_stream_id()
        self.h2.send_headers(i, [(":method", "POST"), (":scheme", "http"), (":path", "/v1/chat/completions"),
                                 (":authority", "localhost"), ("content-type", "application/json")])
        self.h2.increment_flow_control_window(1 << 24, i)
        self.h2.send_data(i, json.dumps({**ASK, "max_tokens": n, "stream": True, "ignore_eos": True}).encode(), end_stream=True)
        self.text[i] = b""
        return i

    def read_until(self, is_there):
        while not is_there():
            self.socket.sendall(self.h2.data_to_send())
            for event in self.h2.receive_data(self.socket.recv(65536)):
                if isinstance(event, h2.events.DataReceived):
                    self.text[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self.ended.add(event.stream_id)

    def cancel(self, i):
        self.h2.reset_stream(i, h2.errors.ErrorCodes.CANCEL)
        self.socket.sendall(self.h2.data_to_send())


def test_one_of_them_is_cancelled(start):
    s = start()
    raw = Raw(s)
    long, short = raw.ask(5000), [raw.ask(20) for _ in range(3)]
    raw.read_until(lambda: all(raw.text.values()))
    wait_for("the requests to be seen", lambda: s.metric("vllm:num_requests_running") >= 1)
    raw.cancel(long)
    raw.read_until(lambda: raw.ended == set(short))
    assert all(raw.text[i].endswith(b"data: [DONE]\n\n") for i in short)
    wait_for("the cancelled request's end", s.idle)
    again = raw.ask(3)
    raw.read_until(lambda: again in raw.ended)
    assert s.metric("gaufre_http2_resets_total") == 1
    assert s.metric("gaufre_clients_gone_total") == 1
    wait_for("five requests to be booked", lambda: s.balance().get("default", {}).get("requests") == 5)


def test_bodies_and_refusals(server, pair):
    big = {**ASK, "max_tokens": 1, "metadata": {"filler": "y" * (4 << 20)}}

    async def go():
        async with client_of(server, pair) as http:
            assert (await http.post("/v1/chat/completions", json=big)).status_code in (200, 400)
            # One that is refused before it was read, and what follows on the same connection.
            answer = await http.post("/v1/chat/completions", content=b" " * (33 << 20))
            assert answer.status_code == 413, answer.text
            answer = await http.post("/v1/none", content=b"x" * (1 << 20))
            assert answer.status_code == 404
            answer = await http.head("/health")
            assert answer.status_code == 200 and not answer.content and int(answer.headers["content-length"]) > 0
            answer = await http.get("/v1/models", headers={"x": "y" * 60000})
            assert answer.status_code == 200
            answer = await http.get("/" + "a" * 9000)
            assert answer.status_code == 414 and answer.json()["message"]
            answer = await http.get("/health", headers={"cookie": "a=1"})
            assert answer.http_version == "HTTP/2"
    asyncio.run(go())
    assert server.metric("gaufre_http2_connections_total") == 1


def test_curl(server, pair, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({**ASK, "max_tokens": 4, "metadata": {"filler": "y" * 300000}}))
    for more in ([], ["-H", "Expect: 100-continue"], ["-H", "Expect:"]):
        out = subprocess.run(["curl", "-sS", "--http2", "--cacert", pair[0], "-H", "Content-Type: application/json",
                              "-d", f"@{body}", "-w", "%{http_version} %{http_code}", "-o", tmp_path / "answer", *more,
                              server.url + "/v1/chat/completions"], check=True, capture_output=True, text=True).stdout
        assert out == "2 200", (tmp_path / "answer").read_text()
    out = subprocess.run(["curl", "-sS", "--http1.1", "--cacert", pair[0], "-w", "%{http_version}", server.url + "/health"],
                         check=True, capture_output=True, text=True).stdout
    assert out.endswith("1.1")


def test_without_tls_and_switched_off(start):
    def ask(server):
        done = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}",
                               server.url + "/health"], capture_output=True, text=True)
        return done.stdout[-5:]

    assert ask(start()) == "2 200"
    off = start("--http2", "off")
    assert ask(off) != "2 200"
    assert off.metric("gaufre_http2_connections_total") == 0


def test_limits_hold_for_each_request(start):
    s = start("--concurrency", "2")

    async def go():
        async with httpx.AsyncClient(http1=False, http2=True, base_url=s.url, timeout=240 * SLOW) as http:
            sdk = sdk_of(s, http)
            running = [await begin(sdk, 200) for _ in range(2)]
            with pytest.raises(openai.RateLimitError):
                await say(sdk)
            for stream in running:
                async for _ in stream:
                    pass
            assert await say(sdk)
    asyncio.run(go())


def test_a_stop_lets_streams_end(start):
    s = start()

    async def go():
        async with httpx.AsyncClient(http1=False, http2=True, base_url=s.url, timeout=240 * SLOW) as http:
            sdk = sdk_of(s, http)
            alone = await say(sdk, 200)
            streams = [asyncio.create_task(say(sdk, 200)) for _ in range(4)]
            first = await begin(sdk, 200)
            s.process.send_signal(signal.SIGTERM)
            assert await asyncio.gather(*streams) == [alone] * 4
            async for _ in first:
                pass
    asyncio.run(go())
    assert s.process.wait(60 * SLOW) == 0
    assert "drained left=0" in s.read_log()


def test_an_upgrade_refuses_nobody(tmp_path):
    s = Replaced(str(tmp_path), "--kv-memory", "128M", "--idle-timeout", "1h", "--stall-timeout", "1h")

    # One request at a time on a connection of its own, with a pause in which the goodbye can come: httpx takes one that
    # comes beside a request for the end of it.
    async def client(said, is_over):
        async with httpx.AsyncClient(http1=False, http2=True, base_url=s.url, timeout=240 * SLOW) as http:
            while not is_over.is_set():
                said.append(await say(sdk_of(s, http), 3))
                await asyncio.sleep(0.8)

    async def go():
        loop, is_over, said = asyncio.get_running_loop(), asyncio.Event(), [[], []]
        async with httpx.AsyncClient(http1=False, http2=True, base_url=s.url, timeout=240 * SLOW) as http:
            asking = [asyncio.create_task(client(x, is_over)) for x in said]
            streams = [asyncio.create_task(say(sdk_of(s, http), 120)) for _ in range(4)]
            done = await loop.run_in_executor(None, s.upgrade)
            assert done.returncode == 0, done.stderr + s.read_log()
            wait_ended = asyncio.create_task(asyncio.sleep(2.5))  # past the time after which the old process says goodbye
            assert len(set(await asyncio.gather(*streams))) == 1
            await wait_ended
            seen = [len(x) for x in said]
            while not all(len(x) > n + 2 for x, n in zip(said, seen)):
                assert not any(t.done() for t in asking), [t.exception() for t in asking if t.done()]
                await asyncio.sleep(0.02)
            is_over.set()
            await asyncio.gather(*asking)
            return 4 + sum(map(len, said))
    n = asyncio.run(go())
    wait_for("the end of the old process", lambda: s.process.poll() is not None)
    s.stop_all()
    assert s.balance()["default"]["requests"] == n


@pytest.mark.skipif(not shutil.which("h2load"), reason="h2load is in Debian's package nghttp2-client")
def test_h2load(start):
    s = start()
    out = subprocess.run(["h2load", "-n", "2000", "-c", "4", "-m", "100", s.url + "/health"], check=True,
                         capture_output=True, text=True).stdout
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in out, out
