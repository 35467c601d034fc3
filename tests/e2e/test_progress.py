"""Comments in a stream that waits: how many go before it, how much of its prompt is computed. They change no event."""
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import cerebras.cloud.sdk as cerebras
import openai


import pytest

from serving import MODEL, SLOW, wait_for
from test_places import Slow, place, waiting  # noqa: F401
from test_sdk_js import node  # noqa: F401

pytestmark = pytest.mark.sanitize
SAY = {"model": MODEL, "messages": [{"role": "user", "content": "Count to ten."}], "temperature": 0, "max_tokens": 6,
       "stream": True}


class Stream:
    """A stream that is read as it comes."""

    def __init__(self, server, heads=(), **more):
        data = json.dumps({**SAY, **more}).encode()
        self.socket = server.connect()
        self.socket.settimeout(60 * SLOW)
        self.socket.sendall("\r\n".join(["POST /v1/chat/completions HTTP/1.0", "Host: localhost",
                                         f"Content-Length: {len(data)}", *heads, "", ""]).encode() + data)
        self.data = b""

    def until(self, text):
        while text not in self.data:
            more = self.socket.recv(4096)
            assert more, self.data
            self.data += more
        return self

    def rest(self):
        while more := self.socket.recv(65536):
            self.data += more
        return self.data.split(b"\r\n\r\n", 1)[1].decode()

    def leave(self):
        self.socket.close()


def comments(text):
    return [x for x in text.split("\n\n") if x.startswith(":")]


def events(text):
    """Without what differs from request to request."""
    frames = [x for x in text.split("\n\n") if x and not x.startswith(":")]
    assert all(x.startswith("data: ") or x.startswith("id: ") for x in frames), frames
    data = [x[x.index("data: ") + 6:] for x in frames]
    assert data[-1] == "[DONE]"
    return [json.loads(x)["choices"] for x in data[:-1]]


def test_places_in_the_queue(start):
    s = start("--batch", 1, "--progress", "100ms")
    long = Stream(s, max_tokens=8000, ignore_eos=True).until(b"content\":\"")
    first = Stream(s).until(b": waiting, 0 before it\n\n")
    second = Stream(s).until(b": waiting, 1 before it\n\n")
    third = Stream(s, store=True).until(b": waiting, 2 before it\n\n")
    whole = {}
    answer = threading.Thread(target=lambda: whole.update(s.chat("Count to ten.", temperature=0, max_tokens=6)[2]))
    answer.start()
    wait_for("four wait", lambda: s.metric("vllm:num_requests_waiting") == 4)
    first.leave()
    second.until(b": waiting, 0 before it\n\n")
    third.until(b": waiting, 1 before it\n\n")
    long.leave()
    texts = [second.rest(), third.rest()]
    answer.join()
    calm = Stream(s).rest()
    assert comments(calm) == []
    assert [events(t) for t in texts] == [events(calm)] * 2
    said = "".join(e[0]["delta"].get("content", "") for e in events(calm) if e)
    assert whole["choices"][0]["message"]["content"] == said
    ids = re.findall(r"id: (\S+)/(\d+)\n", texts[1])
    assert [int(n) for _, n in ids] == list(range(1, len(ids) + 1))
    status, _, again = s.get(f"/v1/chat/completions/{ids[0][0]}?stream=true")
    assert status == 200 and b": waiting" not in again
    assert again.decode() == "\n\n".join(x for x in texts[1].split("\n\n") if not x.startswith(":"))


def test_a_long_prompt(start):
    s = start("--chunk", 32, "--progress", "100ms", "--prefix-cache", "off")
    ask = {"messages": [{"role": "user", "content": "tell me more " * 300}]}
    text = Stream(s, **ask).rest()
    told = [re.fullmatch(r": prompt (\d+) of (\d+) tokens", x) for x in comments(text)]
    assert told and all(told), comments(text)
    done, of = [int(m[1]) for m in told], {int(m[2]) for m in told}
    assert done == sorted(set(done)) and len(of) == 1 and done[-1] < max(of) and max(of) > 900
    assert text.index(": prompt") > text.index('"role":"assistant"')
    frames = text.split("\n\n")  # the role, then these, then the answer
    assert [x[0] for x in frames[:len(told) + 2]] == ["d", *":" * len(told), "d"]


def test_the_line_of_a_supplier(place):
    slow = Slow()
    s = place(slow, more="heartbeat: 100ms\nprogress: 100ms\n")
    streams = []
    for i in range(3):
        streams.append(Stream(s, model="m"))
        waiting(s, i) if i else wait_for("the first is there", lambda: slow.n == 1)
    streams[1].until(b": waiting, 0 before it\n\n")
    streams[2].until(b": waiting, 1 before it\n\n")
    slow.go.release()
    streams[2].until(b": waiting, 0 before it\n\n")
    for _ in range(2):
        slow.go.release()
    texts = [x.rest() for x in streams]
    assert not [c for c in comments(texts[0]) if c != ": ping"]
    assert events(texts[0]) == events(texts[1]) == events(texts[2])


def test_none_where_they_are_not_wanted(start):
    s = start("--batch", 1, "--progress", 0, "--heartbeat", "100ms")
    long = Stream(s, max_tokens=8000, ignore_eos=True).until(b"content\":\"")
    waits = Stream(s).until(b": ping\n\n: ping\n\n")
    long.leave()
    assert set(comments(waits.rest())) == {": ping"}


def test_clients_do_not_notice(start, node):  # noqa: F811
    """The official ones, while they wait."""
    s = start("--batch", 1, "--progress", "100ms")
    long = Stream(s, max_tokens=8000, ignore_eos=True).until(b"content\":\"")
    keys = {"api_key": "any", "max_retries": 0, "timeout": 120 * SLOW}
    clients = [openai.OpenAI(base_url=f"{s.url}/v1", **keys), cerebras.Cerebras(base_url=s.url, warm_tcp_connection=False, **keys)]

    def python(c):
        return "".join(e.choices[0].delta.content or "" for e in c.chat.completions.create(**SAY) if e.choices)

    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(python, c) for c in clients]
        asked += [pool.submit(lambda k=k: node(k, s.url, "chat", SAY)["text"]) for k in ("openai", "cerebras")]
        wait_for("all wait", lambda: s.metric("vllm:num_requests_waiting") == len(asked))
        own = Stream(s).until(b": waiting, 4 before it\n\n")
        long.leave()
        texts = [a.result() for a in asked]
    said = "".join(e[0]["delta"].get("content", "") for e in events(own.rest()) if e)
    assert said and texts == [said] * 4
