"""Drafts change how fast an answer comes, and nothing else: text, log-probabilities, usage, books."""
import json

import pytest

from serving import MODEL

pytestmark = pytest.mark.sanitize
COPY = ("Repeat the following text word for word:\n\nThe sea forgets, he used to say, but the light "
        "remembers. The sea forgets, he used to say, but the light remembers.")


def ask(server, text, **more):
    status, _, answer = server.post("/v1/chat/completions",
                                    {"model": MODEL, "messages": [{"role": "user", "content": text}],
                                     "max_tokens": 48, "temperature": 0, "logprobs": True,
                                     "top_logprobs": 2, **more}, {"x-client-request-id": "asked"})
    assert status == 200, answer
    return answer


def details(answer):
    return answer["usage"]["completion_tokens_details"]


def test_same_answer(start):
    drafting, plain = start("--threads", 1), start("--threads", 1, "--speculation", "off")
    for text, more in ((COPY, {}), (COPY, {"temperature": 0.9, "seed": 3}), ("Tell me about tea.", {})):
        a, b = ask(drafting, text, **more), ask(plain, text, **more)
        assert a["choices"] == b["choices"]
        a["usage"].pop("energy", None), b["usage"].pop("energy", None)  # what it took differs: that is why one drafts
        assert a["usage"] == b["usage"]
    assert plain.metric("vllm:spec_decode_num_draft_tokens_total") == 0
    drafted = drafting.metric("vllm:spec_decode_num_draft_tokens_total")
    accepted = drafting.metric("vllm:spec_decode_num_accepted_tokens_total")
    assert drafted >= accepted and drafted > 0


def test_prediction(start):
    # What drafts pay depends on what steps cost, so on the machine; the first draft of a server, before a longer step
    # was measured, does not.
    plain = ask(start("--speculation", "off"), COPY)
    server = start()
    right = plain["choices"][0]["message"]["content"]
    booked = 0
    for i, content in enumerate((right, [{"type": "text", "text": right}], right[:20] + "?" + right[20:], "xyz" * 50)):
        answer = ask(server, COPY, prediction={"type": "content", "content": content})
        assert answer["choices"] == plain["choices"]
        d, usage = details(answer), answer["usage"]
        assert usage["completion_tokens"] == (plain["usage"]["completion_tokens"]
                                              + d["rejected_prediction_tokens"])
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        row = json.loads(server.get("/v1/engine/requests/asked")[2])
        assert row["generated_tokens"] == plain["usage"]["completion_tokens"]
        assert row["draft_tokens"] >= row["draft_accepted"] >= d["accepted_prediction_tokens"]
        if i == 0:
            assert d["accepted_prediction_tokens"] > 0
        booked += usage["completion_tokens"]
    assert server.stop() == 0
    assert server.balance()["default"]["completion_tokens"] == booked
