"""Stop strings: what is returned ends before them, and so do its tokens, streamed or not."""
import json

import pytest

from serving import MODEL

pytestmark = pytest.mark.sanitize
PROMPT = "One, two, three, four,"


def complete(server, **more):
    status, _, answer = server.post("/v1/completions", {"model": MODEL, "prompt": PROMPT, "max_tokens": 40,
                                                        "temperature": 0, "logprobs": 1, "return_token_ids": True, **more})
    assert status == 200, answer
    return answer["choices"][0]


def chunks(server, path, body):
    status, _, text = server.request("POST", path, {"model": MODEL, "stream": True, **body})
    assert status == 200, text
    return [json.loads(line[6:]) for line in text.decode().splitlines()
            if line.startswith("data: {")]


def test_tokens_end_where_the_text_ends(server):
    full = complete(server)
    text, tokens = full["text"], full["logprobs"]["tokens"]
    assert "".join(tokens) == text and len(tokens) == 40
    cut = 0
    for at, n in ((6, 7), (9, 12), (20, 3), (31, 20)):  # across tokens, and from the middle of one
        stop = text[at:at + n]
        short = complete(server, stop=stop)
        assert short["text"] == text[:text.index(stop)]
        assert short["finish_reason"] == "stop"
        got = short["logprobs"]
        k = len(got["tokens"])
        assert got["tokens"] == tokens[:k] and short["token_ids"] == full["token_ids"][:k]
        assert got["token_logprobs"] == full["logprobs"]["token_logprobs"][:k]
        starts = [len("".join(tokens[:i])) for i in range(41)]
        assert k == sum(s < len(short["text"]) for s in starts[:40])  # those that begin before the end
        cut += short["text"] != "".join(got["tokens"])

        streamed = [c["choices"][0] for c in chunks(server, "/v1/completions", {
            "prompt": PROMPT, "max_tokens": 40, "temperature": 0, "logprobs": 1, "return_token_ids": True,
            "stop": stop}) if c["choices"]]
        assert "".join(c["text"] for c in streamed) == short["text"]
        assert [t for c in streamed if c["logprobs"] for t in c["logprobs"]["tokens"]] == got["tokens"]
        assert [t for c in streamed for t in c.get("token_ids", [])] == short["token_ids"]
    assert cut > 0
    # What only might have become one is all there.
    assert complete(server, stop=text[-9:] + "!") == full


def test_chat_streams_the_same(server):
    ask = {"messages": [{"role": "user", "content": "Tell me a long story about a cat."}], "max_tokens": 40, "temperature": 0, "logprobs": True}
    _, _, full = server.post("/v1/chat/completions", {"model": MODEL, **ask})
    text = full["choices"][0]["message"]["content"]
    assert len(text) > 19
    ask["stop"] = [text[12:19], "<|im_start|>"]
    _, _, short = server.post("/v1/chat/completions", {"model": MODEL, **ask})
    short = short["choices"][0]
    assert short["message"]["content"] == text[:text.index(ask["stop"][0])]
    streamed = [c["choices"][0] for c in chunks(server, "/v1/chat/completions", ask) if c["choices"]]
    assert "".join(c["delta"].get("content", "") for c in streamed) == short["message"]["content"]
    assert [t for c in streamed if c["logprobs"] for t in c["logprobs"]["content"]] == short["logprobs"]["content"]
