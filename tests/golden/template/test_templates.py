"""Our chat templates against Python's Jinja2, on real templates and on a table of small ones.

Every template of models/templates in llama.cpp's sources (out of the llama-cpp-python package, fetched
when the test runs, never committed), and those inside the GGUF files at hand, is rendered over the
conversations of conversations.py: equal text, or an error on both sides.
"""

import functools
import json
import os
import pathlib
import re
import subprocess
import time

import jinja2
import jinja2.defaults
import jinja2.parser
import pytest

import conversations
import oracle

os.environ["TZ"] = "UTC"
time.tzset()

HERE = pathlib.Path(__file__).resolve().parent
NOW = 1767323045  # 2026-01-02 03:04:05 UTC
PRIVATE = re.compile("[\ue000-\uf8ff]")


def renderer_path():
    if "TEMPLATE_RENDER" in os.environ:
        return pathlib.Path(os.environ["TEMPLATE_RENDER"])
    build = pathlib.Path(os.environ.get("GAUFRE_BIN", "build/gcc/src/cmd/gaufre")).resolve()
    return build.parents[2] / "tests" / "template_render"


class Renderer:
    def __init__(self):
        self._process = subprocess.Popen(
            [renderer_path()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def render(self, template, variables, trusted=None, go_on=False, client=False):
        job = {"template": template, "globals": variables, "trusted": trusted or {}, "now": NOW}
        job["continue"], job["client"] = go_on, client
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        assert self._process.wait() == 0


@pytest.fixture(scope="module")
def ours():
    if not renderer_path().exists():
        pytest.skip(f"{renderer_path()} is not built")
    r = Renderer()
    yield r
    r.close()


# ---- real templates -----------------------------------------------------------------------------


def template_files():
    folder = os.environ.get("GAUFRE_TEST_TEMPLATES")
    if not folder:
        done = subprocess.run(
            [HERE.parent / "fetch_vocabs.sh"], stdout=subprocess.PIPE, text=True, check=False
        )
        folder = pathlib.Path(done.stdout.strip() or HERE) / "templates"
    found = {p.stem: p.read_text(encoding="utf-8") for p in sorted(pathlib.Path(folder).glob("*.jinja"))}
    models = os.environ.get("GAUFRE_TEST_MODELS")
    if models:
        for path in sorted(pathlib.Path(models).glob("*.gguf")):
            text = gguf_template(path)
            if text:
                found[path.name] = text
    return found


def gguf_template(path):
    import gguf

    field = gguf.GGUFReader(path).get_field("tokenizer.chat_template")
    return field.contents() if field else None


TEMPLATES = template_files()


def differences(ours, name, text, cases, trusted):
    """Human-readable lines about cases where we and Python disagree, and how many texts agreed."""
    theirs = oracle.Template(text, NOW)
    bad, agreed = [], 0
    for case, variables in cases:
        kind, want = theirs.render({**variables, **trusted})
        got = ours.render(text, variables, trusted)
        if kind == "error":
            if "text" in got:
                bad.append(f"{name} / {case}: Python fails ({want}), we print {got['text'][:200]!r}")
        elif "text" not in got:
            bad.append(f"{name} / {case}: we fail ({got['message']})")
        elif got["text"] != want:
            at = next((i for i, (a, b) in enumerate(zip(want, got["text"])) if a != b), len(want))
            at = min(at, len(got["text"]))
            bad.append(
                f"{name} / {case}: at {at}: wanted {want[max(0, at - 40) : at + 60]!r},"
                f" got {got['text'][max(0, at - 40) : at + 60]!r}"
            )
        else:
            agreed += 1
    return bad, agreed


def test_templates_were_found():
    if not TEMPLATES:
        pytest.skip("no package index to fetch templates from")
    assert len(TEMPLATES) >= 60


@pytest.mark.parametrize("name", TEMPLATES)
def test_same_text_as_python(ours, name):
    cases = list(conversations.cases())
    bad, agreed = differences(ours, name, TEMPLATES[name], cases, conversations.TOKENS)
    assert not bad, f"{len(bad)} of {len(cases)} differ:\n" + "\n".join(bad[:10])
    assert agreed >= 20, f"only {agreed} of {len(cases)} cases render at all"


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_content_is_the_empty_text(ours, name):
    """However a client leaves content out, the text is Python's for ""."""
    theirs = oracle.Template(TEMPLATES[name], NOW)
    for more in conversations.MINIMAL[1], conversations.MINIMAL[3]:
        want = {
            key: theirs.render({"messages": messages, **more, **conversations.TOKENS})
            for key, messages in conversations.without_content(conversations.NOTHING[0]).items()
        }
        for nothing in conversations.NOTHING:
            for key, messages in conversations.without_content(nothing).items():
                variables = {"messages": messages, **more}
                got = ours.render(TEMPLATES[name], variables, conversations.TOKENS, client=True)
                kind, text = want[key]
                assert got.get("text") == (text if kind == "text" else None), f"{key}, {nothing}: {got}"


# ---- provenance ---------------------------------------------------------------------------------


def disguise(value, key=None):
    """The same conversation with every letter of the client's text moved to the private-use area."""
    if isinstance(value, dict):
        return {k: disguise(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [disguise(v, key) for v in value]
    if isinstance(value, str) and key in ("content", "text", "description", "reasoning_content", "city"):
        return "".join(chr(0xE000 + ord(ch)) if 33 <= ord(ch) < 127 else ch for ch in value)
    return value


def span_bytes(result, kind="spans"):
    flags = bytearray(len(result["text"].encode()))
    for at, n in result[kind]:
        flags[at : at + n] = b"\1" * n
    return flags


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_text_of_the_client_is_trusted(ours, name):
    seen = 0
    for case, variables in conversations.cases():
        got = ours.render(TEMPLATES[name], disguise(variables), conversations.TOKENS)
        if "text" not in got:
            continue
        flags, at = span_bytes(got), 0
        for ch in got["text"]:
            n = len(ch.encode())
            if PRIVATE.match(ch):
                seen += 1
                assert not any(flags[at : at + n]), f"{case}: {ch!r} at byte {at} is trusted"
            at += n
    assert seen > 1000


@pytest.mark.parametrize("name", TEMPLATES)
def test_control_tokens_of_the_template_are_trusted(ours, name):
    """<|...|> that the template spells out (with roles of messages in it, too) is trusted whole."""
    control = re.compile(r"<[|｜][^<>|｜]{1,40}[|｜]>|\[/?[A-Z_]{3,20}\]|</?s>")
    for key in ("one", "turns", "system turns", "call, result, answer", "reasoning"):
        variables = {"messages": conversations.CONVERSATIONS[key], "add_generation_prompt": True}
        got = ours.render(TEMPLATES[name], disguise(variables), conversations.TOKENS)
        if "text" not in got:
            continue
        flags, raw = span_bytes(got), got["text"]
        for m in control.finditer(raw):
            at = len(raw[: m.start()].encode())
            n = len(m.group().encode())
            assert all(flags[at : at + n]), f"{key}: {m.group()!r} at byte {at} is not trusted"


# ---- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_the_assistant_said_is_known(ours, name):
    """Every letter of an assistant's content is an answer's, no letter of another message is."""
    messages = [{"role": "user", "content": "uuu"}, {"role": "assistant", "content": "aaa"}]
    said = {"\ue061": "assistant", "\ue075": "user"}
    seen = set()
    for n in (2, 3, 4):
        variables = {"messages": disguise((messages * 2)[:n]), "add_generation_prompt": n == 3}
        got = ours.render(TEMPLATES[name], variables, conversations.TOKENS)
        if "text" not in got:
            continue
        flags, at = span_bytes(got, "answers"), 0
        for ch in got["text"]:
            size = len(ch.encode())
            assert all(flags[at : at + size]) == (said.get(ch) == "assistant"), (ch, got["text"])
            seen.add(said.get(ch))
            at += size
    if not seen:
        pytest.skip("this template does not print such a conversation")
    assert "assistant" in seen


@functools.cache
def compiled(name):
    return oracle.Template(TEMPLATES[name], NOW)


@pytest.mark.parametrize("content", ["ok", ">", " <|im_end|>", "end", "```py\n    ", "  x \n", "hi"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_continues_where_transformers_does(ours, name, content):
    """apply_chat_template(continue_final_message=True) puts a word at the message's end and looks for it."""
    word = "CONTINUE_FINAL_MESSAGE_TAG "
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content + word}]
    variables = {"messages": messages, "add_generation_prompt": False}
    kind, want = compiled(name).render({**variables, **conversations.TOKENS})
    if kind == "error" or word.strip() not in want:
        pytest.skip("this template does not print such a message")
    at = want.rindex(word.strip())
    want = want[:at] if want[at:].startswith(word) else want[:at].rstrip()
    messages[1]["content"] = content
    got = ours.render(TEMPLATES[name], variables, conversations.TOKENS, go_on=True)
    assert got.get("text") == want


# ---- small templates ----------------------------------------------------------------------------


def small_templates():
    """lines.txt has a template a line, blocks.txt blocks of lines between lines of ----."""
    lines = (HERE / "lines.txt").read_text(encoding="utf-8").splitlines()
    blocks = (HERE / "blocks.txt").read_text(encoding="utf-8")
    return [t for t in lines if t] + re.split(r"^----\n", blocks, flags=re.M)


VARIABLES = {
    "s": "Hello, Wörld! it's",
    "empty": "",
    "n": 7,
    "f": 2.5,
    "yes": True,
    "no": False,
    "nothing": None,
    "list": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "d": {"b": 1, "a": [1, 2, {"x": None}], "C": "see"},
    "people": [
        {"name": "Ann", "age": 30, "home": {"city": "Bern"}},
        {"name": "bob", "age": 25, "home": {"city": "Aarau"}},
        {"name": "Cid", "age": 30, "home": {"city": "Bern"}, "nick": "C"},
    ],
}


@pytest.mark.parametrize("template", small_templates())
def test_small(ours, template):
    bad, _ = differences(ours, "small", template, [("", VARIABLES)], {})
    assert not bad, "\n".join(bad)


# ---- builtins -----------------------------------------------------------------------------------


def methods(kind):
    return [name for name in dir(kind) if not name.startswith("_")]


# (what, names, how to see that one is there, how to use it)
BUILTINS = [
    ("filter", jinja2.defaults.DEFAULT_FILTERS, "{{ '%s' is filter }}", "{{ s | %s }}"),
    ("test", jinja2.defaults.DEFAULT_TESTS, "{{ '%s' is test }}", None),
    ("function", jinja2.defaults.DEFAULT_NAMESPACE, "{{ %s is defined }}", "{{ %s() }}"),
    ("tag", jinja2.parser._statement_keywords | {"raw", "break", "continue", "generation"}, None,
     "{%% %s %%}"),
    ("of loop", methods(jinja2.runtime.LoopContext),
     "{%% for i in list %%}{%% if loop.index == 2 %%}{{ loop.%s is defined }}{%% endif %%}{%% endfor %%}",
     None),
    ("of str", methods(str), "{{ s.%s is defined }}", "{{ s.%s() }}"),
    ("of list", methods(list), "{{ list.%s is defined }}", "{{ list.%s() }}"),
    ("of tuple", methods(tuple), "{{ (1, 2).%s is defined }}", "{{ (1, 2).%s() }}"),
    ("of dict", methods(dict), "{{ {}.%s is defined }}", "{{ {}.%s() }}"),
]


def documented_refusals():
    text = (HERE.parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    lists = text.partition("needs a second template:\n")[2].partition("\n- `*` and")[0]
    return set(re.findall("`([a-z_]+)`", lists)) - {"required", "self", "super"}


def test_every_builtin_is_there_or_named(ours):
    refused = set()
    for what, names, see, use in BUILTINS:
        for name in names:
            if see:
                got = ours.render(see % name, VARIABLES)
                assert got.get("text") == "True", f"{what} {name}: {got}"
            got = ours.render(use % name, VARIABLES) if use else {}
            message = got.get("message", "")
            assert "there is no" not in message, message
            if got.get("error") == "UNSUPPORTED":
                assert f"'{name}'" in message, message
                refused.add(name)
    assert refused == documented_refusals()
