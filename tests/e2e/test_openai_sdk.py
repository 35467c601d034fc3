"""The official OpenAI client for Python, unchanged."""
import asyncio
import json

import httpx
import openai
import pytest

from serving import MODEL, SLOW

ASK = [{"role": "user", "content": "What is a wafer? Answer in one sentence."}]


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=120 * SLOW)


def test_chat(client):
    a = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=12, temperature=0)
    assert a.object == "chat.completion" and a.id.startswith("chatcmpl-") and a.model == MODEL
    choice = a.choices[0]
    assert choice.message.role == "assistant" and choice.message.content.strip()
    assert choice.finish_reason == "length"
    assert a.usage.completion_tokens == 12
    assert a.usage.total_tokens == a.usage.prompt_tokens + 12
    assert a._request_id.startswith("req_")


def test_batch_is_a_tier(client):
    a = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=1, service_tier="batch")
    assert a.service_tier == "batch"


def test_stream_is_the_same_answer(client):
    whole = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24, temperature=0)
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24,
                                                 temperature=0, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({c.id for c in chunks}) == 1
    text = "".join(c.choices[0].delta.content or "" for c in chunks)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["length"]
    assert [c.usage.completion_tokens for c in chunks if c.usage] == [24]


def test_stream_helper_accumulates(client):
    with client.chat.completions.stream(model=MODEL, messages=ASK, max_tokens=300, stop=["."],
                                        temperature=0) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.role == "assistant"
    assert final.choices[0].message.content


def test_include_usage(client):
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=4, stream=True,
                                                 stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 4
    assert all(c.usage is None for c in chunks[:-1])


def test_n_choices_stream(client):
    texts, ends = ["", ""], [None, None]
    for c in client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8, n=2, seed=7,
                                            stream=True):
        for choice in c.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert all(texts) and texts[0] != texts[1] and all(ends)
    whole = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=8, n=2, seed=7)
    assert [c.message.content for c in whole.choices] == texts


def test_logprobs(client):
    a = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=6, temperature=0,
                                       logprobs=True, top_logprobs=3)
    tokens = a.choices[0].logprobs.content
    assert len(tokens) == 6
    assert "".join(t.token for t in tokens) == a.choices[0].message.content
    for t in tokens:
        assert len(t.top_logprobs) == 3 and t.logprob <= 0
        assert t.top_logprobs[0].token == t.token  # greedy
        assert bytes(t.bytes).decode() == t.token


def test_stop_string(client):
    whole = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24, temperature=0)
    text = whole.choices[0].message.content
    stop = text[len(text) // 2:len(text) // 2 + 4]  # wherever that falls between tokens
    for stream in (False, True):
        a = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24, temperature=0,
                                           stop=[stop], stream=stream)
        if stream:
            chunks = list(a)
            got = "".join(c.choices[0].delta.content or "" for c in chunks)
            end = chunks[-1].choices[0].finish_reason
        else:
            got, end = a.choices[0].message.content, a.choices[0].finish_reason
        assert got == text[:text.index(stop)] and end == "stop"


def test_seed_repeats(client):
    def ask(seed):
        return client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=16, seed=seed,
                                              temperature=1.2).choices[0].message.content
    assert ask(5) == ask(5) != ask(6)


def test_completions(client):
    a = client.completions.create(model=MODEL, prompt=["One two three", "The capital of France is"],
                                  max_tokens=5, temperature=0, n=1)
    assert [c.index for c in a.choices] == [0, 1]
    assert all(c.text for c in a.choices)
    text = "".join(c.choices[0].text for c in client.completions.create(
        model=MODEL, prompt="The capital of France is", max_tokens=5, temperature=0, stream=True))
    assert text == a.choices[1].text


def test_echo_logprobs_scores_a_text(client):
    """As evaluation harnesses use it."""
    prompt = "The capital of France is Paris."
    a = client.completions.create(model=MODEL, prompt=prompt, max_tokens=0, echo=True, logprobs=1)
    c = a.choices[0]
    assert c.text == prompt and "".join(c.logprobs.tokens) == prompt
    assert c.logprobs.token_logprobs[0] is None
    assert all(p <= 0 for p in c.logprobs.token_logprobs[1:])
    assert c.logprobs.text_offset == [prompt.index(t, o) for t, o in
                                      zip(c.logprobs.tokens, c.logprobs.text_offset)]
    assert a.usage.completion_tokens == 0


def test_token_prompt(client, server):
    ids = server.post("/tokenize", {"content": "One two three"})[2]["tokens"]
    by_ids = client.completions.create(model=MODEL, prompt=ids, max_tokens=5, temperature=0)
    by_text = client.completions.create(model=MODEL, prompt="One two three", max_tokens=5,
                                        temperature=0)
    assert by_ids.choices[0].text == by_text.choices[0].text


def test_models(client):
    models = client.models.list().data
    assert [m.id for m in models] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_errors(client):
    with pytest.raises(openai.NotFoundError) as e:
        client.chat.completions.create(model="nobody", messages=ASK)
    assert e.value.code == "model_not_found" and "nobody" in e.value.message
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=MODEL, messages=ASK, temperature=5)
    assert "temperature" in e.value.message
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=MODEL, messages=ASK, stream=True, max_tokens=100000)
    assert e.value.code == "context_length_exceeded"
    assert "maximum context length is 8192 tokens" in e.value.message
    assert "Please reduce the length of the messages or completion" in e.value.message
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=MODEL, messages=ASK,
                                       response_format={"type": "json_object"})
    assert "response_format" in e.value.message
    assert e.value.request_id.startswith("req_")


def test_multi_turn_uses_the_prefix_cache(client):
    turns = [{"role": "system", "content": "You are terse. " * 30}] + ASK
    first = client.chat.completions.create(model=MODEL, messages=turns, max_tokens=4, temperature=0)
    turns += [{"role": "assistant", "content": first.choices[0].message.content},
              {"role": "user", "content": "And a waffle?"}]
    second = client.chat.completions.create(model=MODEL, messages=turns, max_tokens=4, temperature=0)
    assert second.usage.prompt_tokens_details.cached_tokens > 64


def test_unicode(client, server):
    text = "Ünïcödé — 日本語 🧇 \u0000 end"
    ids = server.post("/tokenize", {"content": text.replace("\u0000", "")})[2]["tokens"]
    assert server.post("/detokenize", {"tokens": ids})[2]["content"] == text.replace("\u0000", "")
    a = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Repeat: 🧇🧇🧇"}], max_tokens=24,
        temperature=0, stream=True)
    for c in a:
        (c.choices[0].delta.content or "").encode()  # whole characters only


def test_many_at_once(server):
    async def main():
        limits = httpx.Limits(max_connections=100)
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0,
                                      timeout=200,
                                      http_client=httpx.AsyncClient(limits=limits)) as client:
            async def one(i):
                out = []
                stream = await client.chat.completions.create(
                    model=MODEL, messages=ASK, max_tokens=8, temperature=0, stream=True)
                async for c in stream:
                    out.append(c.choices[0].delta.content or "")
                return "".join(out), chunk_end(c)
            return await asyncio.gather(*(one(i) for i in range(64)))

    def chunk_end(c):
        return c.choices[0].finish_reason, json.dumps(c.usage.completion_tokens)

    answers = asyncio.run(main())
    assert len(answers) == 64
    assert len(set(answers)) == 1  # the same in whatever company
    assert answers[0][1] == ("length", "8")
