#!/usr/bin/env python3
"""Ask a server that has just been started one question and show that it answers.

selfcheck.py URL PID [PROMPT]

Waits until the server, process PID, is ready. When it does not answer as it should, says so and
ends it: a server that fails its self-check must not look as if it were up.
"""
import http.client
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# Requests to this machine go past any proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def alive(pid):
    try:
        os.kill(pid, 0)
        return True
    except OSError:
        return False


def get(url):
    with OPENER.open(url, timeout=10) as r:
        return json.load(r)


def wait_ready(url, pid):
    """True when it is; False when it ended first and has said why."""
    while alive(pid):
        try:
            OPENER.open(url + "/ready", timeout=5).close()
            return True
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            time.sleep(0.05)
    return False


def events(response):
    for line in response:
        if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
            yield json.loads(line[6:])


def ask(url, model, prompt):
    """Streams the answer to the terminal, drawn as recommended for the model, the same each time; returns the last usage
    and the seconds of generation."""
    body = {"model": model["id"], "messages": [{"role": "user", "content": prompt}], "stream": True, "seed": 1,
            "max_completion_tokens": 64, "stream_options": {"include_usage": True}, **model.get("recommended_sampling", {})}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    usage, times = {}, {}
    with OPENER.open(request, timeout=300) as r:
        for event in events(r):
            if "error" in event:
                raise ValueError(event["error"])
            for choice in event.get("choices", []):
                sys.stdout.write(choice["delta"].get("content") or "")
                sys.stdout.flush()
            usage = event.get("usage") or usage
            times = event.get("time_info") or times
    print()
    return usage, times


def check(url, prompt):
    model = get(url + "/v1/models")["data"][0]
    print(f"\n> {prompt}\n")
    began = time.monotonic()
    usage, times = ask(url, model, prompt)
    n = usage.get("completion_tokens", 0)
    if not n:
        raise ValueError("no token came")
    seconds = times.get("completion_time") or time.monotonic() - began
    print(f"\n{n} tokens, {n / max(seconds, 1e-6):.0f} tokens/s "
          f"(prompt of {usage['prompt_tokens']} tokens in "
          f"{1000 * times.get('prompt_time', 0):.0f} ms)\n")
    body = json.dumps({"model": model["id"], "messages": [{"role": "user", "content": "Hello!"}]})
    print(f"Call it:  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
          f"            -d '{body}'\n\n"
          f"or point an OpenAI client at {url}/v1, or open {url}/ (ctrl-C stops the server)")


def main():
    url, pid = sys.argv[1], int(sys.argv[2])
    prompt = (sys.argv[3:] or [""])[0] or "Explain in one sentence what a computer does."
    if not wait_ready(url, pid):
        sys.exit(1)
    try:
        check(url, prompt)
    except (OSError, ValueError, KeyError, http.client.HTTPException) as e:
        print(f"the self-check failed: {e}", file=sys.stderr)
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
        sys.exit(1)


main()
