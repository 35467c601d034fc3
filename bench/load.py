#!/usr/bin/env python3
"""Streaming completion requests at a server, and how long their tokens took.

  bench/load.py URL --clients 16 --requests 64          closed loop: each client asks again when it is answered
  bench/load.py URL --rate 2 --seconds 20               open loop: Poisson arrivals, whatever the server does

Works with any server that has an OpenAI-compatible POST /v1/completions with streaming and token ids as prompt.
Times: TTFT from when the request was to be sent (open loop: its arrival, so a client that is late counts) to the
first text; TPOT is the time from the first to the last text over the tokens after the first. Goodput counts the
requests that kept both limits (--ttft, --tpot). Requests not answered --drain seconds after the last arrival are
cut off and count as failed.

One thread around epoll, which looks at nothing but the border of each read: it shares the CPUs with the server that
it measures. Standard library only.
"""
import argparse
import errno
import json
import random
import re
import select
import socket
import sys
import time
import urllib.parse

from stats import percentile

TEXT = re.compile(rb'"(?:text|content|reasoning)": ?"(?!")')
USAGE = re.compile(rb'"completion_tokens": ?(\d+)')
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class Request:
    """One request: bytes to send at `due` seconds after the start, and what came of it."""

    def __init__(self, data, due=None):
        self.data, self.due = data, due
        self.first = self.last = self.end = None
        self.read, self.raw = [], b"" # while it runs; all of it
        self.events = self.tokens = self.status = 0
        self.error = None

    @property
    def ok(self):
        return self.error is None and self.status == 200 and self.first is not None

    @property
    def ttft(self):
        return self.first - self.due if self.first is not None else None

    @property
    def tpot(self):
        return (self.last - self.first) / (self.tokens - 1) if self.ok and self.tokens > 1 else None


def http_post(host, port, path, body):
    data = json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n").encode() + data


def completion(host, port, model, prompt, max_tokens, seed=0, temperature=0.8):
    """A streamed completion of exactly max_tokens; the sampling that every side gets."""
    return http_post(host, port, "/v1/completions", {
        "model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": temperature, "top_k": 40,
        "top_p": 0.95, "min_p": 0.0, "seed": seed, "stream": True, "ignore_eos": True, "min_tokens": max_tokens,
        "stream_options": {"include_usage": True}})


def random_prompt(rng, n, n_vocab):
    """Token ids: as long as said for every tokenizer, no two prompts alike, no control tokens at the low end."""
    low = min(1000, n_vocab // 2)
    return [rng.randrange(low, min(n_vocab, 40000)) for _ in range(n)]


def poisson(rng, rate, seconds):
    """Arrival times in [0, seconds)."""
    times, t = [], rng.expovariate(rate)
    while t < seconds:
        times.append(t)
        t += rng.expovariate(rate)
    return times


class Loop:
    """Drives requests to their ends. Times are seconds since start()."""

    def __init__(self, host, port):
        self.address = (host, port)
        self.poll = select.epoll()
        self.open = {}  # file number -> (socket, request, bytes sent)
        self.begin = time.monotonic()

    def now(self):
        return time.monotonic() - self.begin

    def send(self, request):
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = s.connect_ex(self.address)
        if error not in (0, errno.EINPROGRESS):
            request.error, request.end = "cannot connect", self.now()
            s.close()
            return
        self.open[s.fileno()] = [s, request, 0]
        self.poll.register(s.fileno(), select.EPOLLOUT)

    def finish(self, number, error=None):
        s, request, _ = self.open.pop(number)
        self.poll.unregister(number)
        s.close()
        request.raw = data = b"".join(request.read)
        request.read = []
        status = STATUS.match(data)
        request.status = int(status[1]) if status else 0
        usage = USAGE.findall(data)
        request.tokens = int(usage[-1]) if usage else request.events
        request.end = self.now()
        request.error = error or (None if request.status == 200 else data[-300:].decode(errors="replace"))
        return request

    def step(self, seconds):
        """Wait at most that long for something to happen; returns the requests that ended."""
        done = []
        for number, what in self.poll.poll(max(0.0, seconds)):
            entry = self.open[number]
            s, request, sent = entry
            try:
                if what & select.EPOLLOUT:
                    entry[2] += s.send(request.data[sent:])
                    if entry[2] == len(request.data):
                        self.poll.modify(number, select.EPOLLIN)
                else:
                    data = s.recv(65536)
                    if not data:
                        done.append(self.finish(number, None if request.first is not None else "no text came"))
                        continue
                    n = len(TEXT.findall(data))
                    if n:
                        request.events += n
                        request.last = self.now()
                        if request.first is None:
                            request.first = request.last
                    request.read.append(data)
                    if data.endswith((b"data: [DONE]\n\n", b"0\r\n\r\n")):
                        done.append(self.finish(number))
            except BlockingIOError:
                pass
            except OSError as e:
                done.append(self.finish(number, str(e)))
        return done

    def cut(self):
        return [self.finish(number, "not answered in time") for number in list(self.open)]


def closed_loop(host, port, make, clients, requests, timeout=600):
    """`clients` at once, `requests` in all; make(i) gives the bytes of request i."""
    waiting = [Request(make(i)) for i in reversed(range(requests))]
    loop, done = Loop(host, port), []
    while len(done) < requests and loop.now() < timeout:
        while waiting and len(loop.open) < clients:
            r = waiting.pop()
            r.due = loop.now()
            loop.send(r)
            if r.end is not None:
                done.append(r)
        done += loop.step(1.0)
    return done + loop.cut()


def open_loop(host, port, make, arrivals, drain=20):
    """Requests at the given times (seconds from the start), cut off `drain` seconds after the last."""
    waiting = [Request(make(i), t) for i, t in enumerate(sorted(arrivals))]
    waiting.reverse()
    last = waiting[0].due if waiting else 0
    loop, done = Loop(host, port), []
    while (waiting or loop.open) and loop.now() < last + drain:
        while waiting and waiting[-1].due <= loop.now():
            r = waiting.pop()
            loop.send(r)
            if r.end is not None:
                done.append(r)
        until = waiting[-1].due - loop.now() if waiting else 1.0
        done += loop.step(min(until, 1.0))
    return done + loop.cut()


def summary(requests, ttft_limit, tpot_limit):
    """Percentiles in seconds, output tokens a second, requests a second that kept both limits."""
    good = [r for r in requests if r.ok]
    kept = [r for r in good if r.ttft <= ttft_limit and (r.tpot is None or r.tpot <= tpot_limit)]
    ends = [r.end for r in requests if r.end is not None]
    begin = min((r.due for r in requests), default=0.0)
    wall = max(ends) - begin if ends else 0.0
    out = {"requests": len(requests), "failed": len(requests) - len(good), "seconds": wall,
           "output_tokens": sum(r.tokens for r in requests),
           "output_tps": sum(r.tokens for r in requests) / wall if wall else 0.0,
           "goodput_rps": len(kept) / wall if wall else 0.0,
           "goodput_share": len(kept) / len(requests) if requests else 0.0}
    for name, values in (("ttft", [r.ttft for r in good]), ("tpot", [r.tpot for r in good if r.tpot is not None])):
        for p in (50, 95, 99):
            out[f"{name}_p{p}"] = percentile(values, p)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("url", help="http://HOST:PORT")
    p.add_argument("--model", default="default")
    p.add_argument("--clients", type=int, help="closed loop with so many clients")
    p.add_argument("--requests", type=int, default=64, help="closed loop: requests in all")
    p.add_argument("--rate", type=float, help="open loop: arrivals a second")
    p.add_argument("--seconds", type=float, default=20, help="open loop: for how long they arrive")
    p.add_argument("--drain", type=float, default=20)
    p.add_argument("--prompt", type=int, default=128, help="tokens of each prompt")
    p.add_argument("--tokens", type=int, default=128, help="tokens of each answer")
    p.add_argument("--vocab", type=int, default=32000, help="token ids are drawn below this")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--ttft", type=float, default=1.0, help="limit of goodput, seconds")
    p.add_argument("--tpot", type=float, default=0.1)
    a = p.parse_args()
    if (a.clients is None) == (a.rate is None):
        p.error("either --clients or --rate")
    at = urllib.parse.urlsplit(a.url)

    def make(i):
        return completion(at.hostname, at.port, a.model,
                          random_prompt(random.Random(f"{a.seed}/{i}"), a.prompt, a.vocab), a.tokens, i)

    if a.clients:
        done = closed_loop(at.hostname, at.port, make, a.clients, a.requests)
    else:
        done = open_loop(at.hostname, at.port, make, poisson(random.Random(a.seed), a.rate, a.seconds), a.drain)
    json.dump(summary(done, a.ttft, a.tpot), sys.stdout, indent=1)
    print()
    for r in done:
        if r.error:
            print(f"load: {r.error[:200]}", file=sys.stderr)
            break


if __name__ == "__main__":
    main()
