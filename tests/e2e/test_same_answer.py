"""The same conversation gives the same bits: warm, after a restart, after others sent its words as a prompt."""
import pytest

from serving import MODEL

QUESTION = {"role": "user", "content": "What is tea made of, and where does it come from?"}


def ask(server, *messages):
    status, _, answer = server.post("/v1/chat/completions", {"model": MODEL, "messages": messages, "max_tokens": 48,
                                                             "temperature": 0, "logprobs": True, "top_logprobs": 2})
    assert status == 200, answer
    return answer


def said(answer):
    return {"role": "assistant", "content": answer["choices"][0]["message"]["content"]}


def send_as_prompt(server, *messages):
    """The tokens of a conversation, by somebody who completes text."""
    _, _, rendered = server.post("/apply-template", {"messages": messages, "add_generation_prompt": False})
    _, _, tokens = server.post("/tokenize", {"content": rendered["prompt"], "parse_special": True})
    status, _, answer = server.post("/v1/completions", {"model": MODEL, "prompt": tokens["tokens"], "max_tokens": 1})
    assert status == 200, answer
    return answer


# bf16 computes prompts and answers in two ways, which AMX makes fast and every CPU can do.
@pytest.mark.parametrize("numbers", ["bf16", "q8"])
def test_conversation(start, numbers):
    first, again = start("--class", numbers), start("--class", numbers)
    answer = ask(first, QUESTION)
    turn = QUESTION, said(answer), {"role": "user", "content": "And coffee?"}
    warm = ask(first, *turn)
    # What the model said is not computed again, but for the page that was not full.
    n = answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert warm["usage"]["prompt_tokens_details"]["cached_tokens"] == (n - 1) // 32 * 32
    send_as_prompt(first, QUESTION, said(answer))
    assert ask(first, QUESTION)["choices"] == answer["choices"]

    send_as_prompt(again, QUESTION, said(answer))
    cold = ask(again, *turn)
    assert cold["choices"] == warm["choices"]
    assert ask(again, QUESTION)["choices"] == answer["choices"]
