"""What clients of every kind put on the wire: the server answers clearly and goes on."""
import gzip
import json
import socket
import subprocess
import time

import pytest

from serving import MODEL, SLOW, wait_for

pytestmark = pytest.mark.sanitize
CHAT = "/v1/chat/completions"


def body(**more):
    return {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2,
            "temperature": 0, **more}


def raw(server, text, wait=True):
    """Bytes as given; what came until the server closed."""
    with server.connect() as s:
        s.sendall(text if isinstance(text, bytes) else text.encode())
        out = b""
        while wait:
            try:
                got = s.recv(65536)
            except ConnectionResetError:
                break
            if not got:
                break
            out += got
        return out


def head(length, extra=""):
    return (f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Connection: close\r\nContent-Length: {length}\r\n{extra}\r\n")


def test_curl(server):
    out = subprocess.run(["curl", "-sS", "--fail-with-body", server.url + CHAT, "-H",
                          "Content-Type: application/json", "-d", json.dumps(body())],
                         capture_output=True, text=True, check=True).stdout
    assert json.loads(out)["choices"][0]["message"]["content"]
    out = subprocess.run(["curl", "-sSN", server.url + CHAT, "-d", json.dumps(body(stream=True))],
                         capture_output=True, text=True, check=True).stdout
    assert out.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/tokenize", "/detokenize",
                                  "/apply-template"])
def test_compressed_bodies_are_refused(server, path):
    status, _, a = server.post(path, gzip.compress(json.dumps(body()).encode()),
                               {"Content-Encoding": "gzip"})
    assert status == 415 and a["error"]["code"] == "unsupported_media_type", a


def test_null_for_every_optional_field(server):
    fields = ["stream", "stream_options", "max_completion_tokens", "min_tokens", "top_p", "n", "seed",
              "stop", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs",
              "top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "response_format",
              "prediction", "reasoning_effort", "service_tier", "user", "top_k", "min_p"]
    status, _, a = server.post(CHAT, body(**{f: None for f in fields}))
    assert status == 200, a


def test_unknown_fields_are_ignored(server):
    status, _, a = server.post(CHAT, body(thinking={"type": "disabled"}, maxTokens=4, x=[{}]))
    assert status == 200, a


BAD = [
    (b"", "wrong_api_format"),
    (b"{", "wrong_api_format"),
    (b"[]", "wrong_api_format"),
    (b"\xff\xfe{}", "wrong_api_format"),
    (b'{"model":"m","messages":[{"role":"user","content":"\xc3\x28"}]}', "wrong_api_format"),
    (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', "wrong_api_format"),
    (b'{"model":"m","model":"m","messages":[]}', "wrong_api_format"),
    (b'{"messages":[{"role":"user","content":"x"}]}', "wrong_api_format"),
    (b'{"model":"m","messages":"x"}', "wrong_api_format"),
    (b'{"a":' * 5000, "wrong_api_format"),
    (b'{"model":"m","messages":[{"role":"wizard","content":"x"}]}', "wrong_api_format"),
    (b'{"model":"m","max_tokens":99999999999999999999,"messages":[]}', "wrong_api_format"),
]


@pytest.mark.parametrize("text,code", BAD, ids=range(len(BAD)))
def test_bad_bodies(server, text, code):
    status, heads, a = server.post(CHAT, text)
    assert status == 400 and a["code"] == code and a["error"]["code"] == code, a
    assert a["message"] == a["error"]["message"] != ""
    assert heads["content-type"] == "application/json" and heads["x-request-id"]


def test_bad_utf8_names_the_place(server):
    _, _, a = server.post(CHAT, b'{"model":"\xff"}')
    assert "UTF-8" in a["message"] or "utf" in a["message"].lower(), a


def test_duplicate_headers(server):
    for name in ("Content-Length: 2", "Host: y", "Authorization: Bearer a\r\nAuthorization: Bearer b"):
        out = raw(server, head(2, name + "\r\n") + "{}")
        assert out.startswith(b"HTTP/1.1 400 "), out


def test_smuggling(server):
    out = raw(server, f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 400 "), out


def test_huge_body_is_refused_by_its_head(server):
    out = raw(server, head(33 << 20))
    assert out.startswith(b"HTTP/1.1 413 ") and b"request_too_large" in out


def test_huge_chunked_body(server):
    with server.connect() as s:
        s.sendall((f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
        piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        out = b""
        try:
            for _ in range(40):
                s.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            out = s.recv(65536)
        except ConnectionResetError:
            pass
        assert not out or out.startswith(b"HTTP/1.1 413 "), out
    assert server.get("/health")[0] == 200


def test_chunked_body(server):
    text = json.dumps(body()).encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(text[i:i + 7]), text[i:i + 7])
                      for i in range(0, len(text), 7))
    out = raw(server, f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n".encode() + pieces + b"0\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200 "), out


def test_expect_continue(server):
    text = json.dumps(body()).encode()
    with server.connect() as s:
        s.sendall(head(len(text), "Expect: 100-continue\r\n").encode())
        assert s.recv(65536).startswith(b"HTTP/1.1 100 ")
        s.sendall(text)
        assert b"HTTP/1.1 200 " in s.recv(65536)


def test_a_big_prompt_is_refused_with_both_numbers(server):
    status, _, a = server.chat("word " * 20000)
    assert status == 400 and a["code"] == "context_length_exceeded"
    assert "8192" in a["message"] and "Please reduce the length" in a["message"]


def test_routes(server):
    assert server.get("/v1/nothing")[0] == 404
    assert json.loads(server.get("/v1/nothing")[2])["code"] == "unknown_url"
    status, heads, _ = server.request("DELETE", CHAT)
    assert status == 405 and "POST" in heads["allow"]
    assert server.request("HEAD", "/v1/models")[0] == 200
    status, heads, text = server.request("OPTIONS", CHAT)
    assert status == 204 and text == b"" and "access-control-allow-origin" not in heads
    assert server.get("/v1/tcp_warming")[2] == b"{}"
    assert server.get("/v1/v1/models?api-version=1")[0] == 200


FOREIGN = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
           {"Host": "evil.example"}]


def test_pages_of_elsewhere_run_and_read_nothing(server):
    """What a browser sends without asking first: text/plain, images, scripts, rebound names."""
    for heads in FOREIGN:
        before = server.metric("gaufre_requests_total")
        status, answer, text = server.post(CHAT, body(), {**heads, "Content-Type": "text/plain"})
        assert status == 403 and text["code"] == "forbidden", text
        assert "setting" in text["message"] and "access-control-allow-origin" not in answer
        for path in ("/", "/metrics", "/v1/models", "/v1/engine/events", "/health"):
            assert server.get(path, heads)[0] == 403, (heads, path)
        assert server.metric("gaufre_requests_total") == before
    assert "evil.example' may not call this server" in server.read_log()


def test_pages_that_may_call(start):
    s = start("--cors-origin", "http://localhost:3000", "--allowed-hosts", "gaufre.lan")
    page = {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site", "Host": "gaufre.lan"}
    status, heads, text = s.post(CHAT, body(), page)
    assert status == 200 and heads["access-control-allow-origin"] == page["Origin"], text
    assert s.request("OPTIONS", CHAT, headers=page)[0] == 204
    assert s.post(CHAT, body(), {**page, "Origin": "http://localhost:3001"})[0] == 403
    assert s.post(CHAT, body(), {**page, "Host": "gaufre.example"})[0] == 403
    assert s.post(CHAT, body())[0] == 200


def test_page_files(server):
    status, heads, text = server.get("/")
    assert status == 200 and heads["content-type"] == "text/html; charset=utf-8"
    assert b"<!doctype html>" in text[:20] and "content-encoding" not in heads
    assert "default-src 'none'" in heads["content-security-policy"]
    for name, value in {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
                        "cross-origin-opener-policy": "same-origin", "cache-control": "no-cache",
                        "vary": "accept-encoding"}.items():
        assert heads[name] == value, name
    for path in ("/", "/lib/marked.js", "/app.js", "/lib/highlight.js"):
        _, heads, text = server.get(path)
        status, packed, zipped = server.get(path, {"accept-encoding": "br, gzip;q=0.5"})
        assert packed["content-encoding"] == "gzip" and gzip.decompress(zipped) == text
        assert heads["etag"] != packed["etag"] and len(zipped) < len(text)
        status, again, none = server.get(path, {"accept-encoding": "gzip",
                                                "if-none-match": f'"x", {packed["etag"]}'})
        assert (status, none, again["etag"]) == (304, b"", packed["etag"])
        assert server.get(path, {"if-none-match": packed["etag"]})[0] == 200
        status, told, none = server.request("HEAD", path)
        assert (status, none, told["content-length"]) == (200, b"", str(len(text)))
    assert server.get("/lib/marked.js")[1]["content-type"] == "text/javascript; charset=utf-8"
    assert server.get("/lib/marked.js", {"accept-encoding": "gzip;q=0"})[2].startswith(b"/**")
    status, heads, _ = server.request("POST", "/lib/marked.js", b"{}")
    assert status == 405 and heads["allow"].startswith("GET, HEAD")
    assert server.get("/lib/nothing.js")[0] == 404


def test_text_tools(server):
    text = "<|im_start|>hello  world\n"
    plain = server.post("/tokenize", {"content": text})[2]["tokens"]
    special = server.post("/tokenize", {"content": text, "parse_special": True})[2]["tokens"]
    assert len(special) < len(plain)  # text from users never becomes a control token by itself
    assert server.post("/detokenize", {"tokens": plain})[2]["content"] == text
    prompt = server.post("/apply-template",
                         {"messages": [{"role": "user", "content": "hi"}]})[2]["prompt"]
    assert prompt.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")


def same_prompt(server, model):
    """The text of a chat, as a prompt with its control tokens, is the chat to the token."""
    chat = {"model": model, "messages": [{"role": "system", "content": "Be kind."},
                                         {"role": "user", "content": " Hello  there\n"},
                                         {"role": "assistant", "tool_calls": [], "content": None},
                                         {"role": "user", "content": "née 🙂?"}]}
    rest = {"max_tokens": 1, "temperature": 0, "return_token_ids": True}
    status, _, made = server.post("/apply-template", chat)
    assert status == 200, made
    text = made["prompt"]
    want = server.post(CHAT, {**chat, **rest})[2]
    plain = {"model": model, "prompt": text, **rest}
    got = server.post("/v1/completions", {**plain, "parse_special": True})[2]
    ids = got["choices"][0]["prompt_token_ids"]
    assert ids == want["choices"][0]["prompt_token_ids"]
    as_text = server.post("/v1/completions", plain)[2]
    assert len(as_text["choices"][0]["prompt_token_ids"]) > len(ids)


def test_a_templates_text_is_its_prompt(server):
    same_prompt(server, MODEL)


def test_a_templates_text_is_its_prompt_with_bos(start, gemma3, tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text("{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n"
                        "{{ m.content }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n")
    server = start("--chat-template", template, models=[str(gemma3)])
    same_prompt(server, "gemma3-270m")


def test_pipelined_requests_are_answered_in_order(server):
    out = raw(server, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                      "GET /v1/tcp_warming HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert out.count(b"HTTP/1.1 200 OK") == 2 and out.index(b'"ok"') < out.rindex(b"{}")


def test_slow_head_is_cut(start):
    s = start("--header-timeout", "500ms")
    out = raw(s, "GET / HTTP/1.1\r\nHost: localhost")
    assert out == b"" or out.startswith(b"HTTP/1.1 408 ")
    assert s.get("/health")[0] == 200


def test_slow_body_is_cut(start):
    s = start("--body-timeout", "500ms")
    out = raw(s, head(100) + "{")
    assert out.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in out
    assert s.idle()


def test_heartbeat_while_the_prompt_is_computed(start):
    s = start("--heartbeat", "100ms", "--chunk", "64")
    text = json.dumps(body(stream=True, max_tokens=1,
                           messages=[{"role": "user", "content": "tell me more " * 1500}]))
    out = raw(s, head(len(text)) + text)
    assert b": ping\n\n" in out and out.index(b'"role":"assistant"') < out.index(b": ping")
    assert b"[DONE]" in out


def test_reader_that_stalls_is_cut(start):
    s = start("--stall-timeout", "1s")
    text = json.dumps(body(stream=True, max_tokens=4000, ignore_eos=True, n=16, logprobs=True,
                           top_logprobs=20))
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.connect(("127.0.0.1", s.port))
    c.sendall((head(len(text)) + text).encode())
    wait_for("running", lambda: s.metric("vllm:num_requests_running") > 0)
    wait_for("cut", lambda: s.idle() and s.metric("gaufre_clients_gone_total") > 0, 120)
    c.close()
    assert s.chat("hi", max_tokens=2)[0] == 200


def test_gone_at_every_moment(server):
    """Clients that leave after every few bytes of what they send and of what they get."""
    text = head(len(json.dumps(body(stream=True)))) + json.dumps(body(stream=True))
    for cut in range(0, len(text), max(1, int(9 * SLOW))):
        with server.connect() as s:
            s.sendall(text[:cut].encode())
    for n in range(1, 40, 4):
        with server.connect() as s:
            s.sendall(text.encode())
            s.recv(n * 50)
    wait_for("idle", server.idle)
    time.sleep(0)
    assert server.chat("hi", max_tokens=2)[0] == 200
