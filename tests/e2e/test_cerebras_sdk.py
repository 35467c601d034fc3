"""The official Cerebras client for Python, unchanged."""
import cerebras.cloud.sdk as cerebras
import pytest

from serving import MODEL, SLOW

ASK = [{"role": "user", "content": "What is a wafer?"}]


@pytest.fixture(scope="module")
def client(server):
    return cerebras.Cerebras(base_url=server.url, api_key="any", max_retries=0, timeout=120 * SLOW)


def test_chat(client):
    a = client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=8,
                                       temperature=0)
    assert a.choices[0].message.content and a.choices[0].finish_reason == "length"
    assert a.usage.completion_tokens == 8
    t = a.time_info
    assert t.prompt_time > 0 and t.completion_time > 0
    assert t.total_time >= t.prompt_time


def test_batch_is_a_tier(client):
    a = client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=1, service_tier="batch")
    assert a.service_tier == "batch"


def test_stream(client):
    chunks = list(client.chat.completions.create(model=MODEL, messages=ASK, stream=True,
                                                 max_completion_tokens=8, temperature=0))
    assert "".join(c.choices[0].delta.content or "" for c in chunks)
    assert chunks[-1].usage.completion_tokens == 8
    assert chunks[-1].time_info.total_time > 0


def test_completions(client):
    a = client.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=4,
                                  temperature=0)
    assert a.choices[0].text


def test_models(client):
    assert client.models.list().data[0].id == MODEL


def test_errors(client):
    with pytest.raises(cerebras.NotFoundError) as e:
        client.chat.completions.create(model="nobody", messages=ASK)
    assert "nobody" in str(e.value)
    with pytest.raises(cerebras.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=[])
