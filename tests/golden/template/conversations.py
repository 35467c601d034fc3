"""Conversations of every shape that a chat API lets through."""

import itertools

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city, \"now\" or later.\nTwo lines & <tags>.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City & country, e.g. Zürich, CH"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1, "maximum": 14.5},
                "tags": {"type": "array", "items": {"type": "string"}, "nullable": True},
                "where": {
                    "type": "object",
                    "properties": {
                        "lat": {"type": "number"},
                        "lon": {"type": ["number", "null"]},
                    },
                    "required": ["lat"],
                    "additionalProperties": False,
                },
                "any": {"anyOf": [{"type": "string"}, {"type": "integer"}], "title": "Any"},
            },
            "required": ["city"],
        },
        "return": {"type": "object", "description": "what comes back"},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "Time", "parameters": {}}}
BARE = {"type": "function", "function": {"name": "bare"}}
NO_ARGS = {
    "type": "function",
    "function": {
        "name": "ping",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
        "strict": True,
    },
}
INTERPRETER = {"type": "code_interpreter"}
TOOLS = [WEATHER, NO_ARGS]


def user(text="What is the weather?"):
    return {"role": "user", "content": text}


def system(text="You are a careful assistant."):
    return {"role": "system", "content": text}


def said(text="Sunny.", **more):
    return {"role": "assistant", "content": text, **more}


def call(name="get_weather", arguments=None, id="call_00001"):
    arguments = {"city": "Zürich", "days": 2} if arguments is None else arguments
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(text='{"t": 21.5}', id="call_00001", **more):
    return {"role": "tool", "tool_call_id": id, "content": text, **more}


CONVERSATIONS = {
    "one": [user()],
    "system": [system(), user()],
    "developer": [{"role": "developer", "content": "Be brief."}, user()],
    "empty list": [],
    "system only": [system()],
    "turns": [user("Hi"), said("Hello!"), user("How are you?"), said("Fine."), user("Good.")],
    "system turns": [system(), user("Hi"), said("Hello!"), user("Bye")],
    "ends with assistant": [system(), user("Hi"), said("Hello, I")],
    "late system": [user("Hi"), said("Hello!"), system("Now rhyme."), user("Go on")],
    "two systems": [system("A"), system("B"), user("Hi")],
    "two users": [user("Hi"), user("Anyone?")],
    "two assistants": [user("Hi"), said("Hello"), said("again")],
    "assistant first": [said("Welcome."), user("Hi")],
    "unknown role": [{"role": "critic", "content": "Hm."}, user("Hi")],
    "no role": [{"content": "Hm."}],
    "blanks": [system("  \n You are. \n\n"), user(" \t Hi \n"), said("\n\nYo  "), user("\u00a0x\u3000")],
    "empty texts": [system(""), user(""), said(""), user("")],
    "null": [user("Hi"), said(None), user("Well?")],
    "absent": [user("Hi"), {"role": "assistant"}, user("Well?")],
    "unicode": [
        system("Grüße, 你好, مرحبا, עברית"),
        user("emoji 👩‍👩‍👧‍👦 🇨🇭, combining e\u0301, ẞß, \u2028 line, \x00".replace("\x00", "")),
        said("naïve — “quotes” ‘single’ … 🙂"),
        user("x\u200by\ufeffz"),
    ],
    "markup": [
        system("<b>&amp;</b> {{ x }} {% if %} {# no #}"),
        user("a 'b' \"c\" \\n \\ back`tick` $1 %s {0} <|im_start|> [INST] </s>"),
        said("```json\n{\"a\": [1, 2]}\n```"),
        user("line\nline\r\nline\ttab"),
    ],
    "thinks": [
        user("2+2?"),
        said("<think>\nEasy: 4.\n</think>\n\nFour."),
        user("3+3?"),
        said("<think></think>Six."),
        user("Sure?"),
    ],
    "reasoning": [
        user("2+2?"),
        said("Four.", reasoning_content="Easy, it is 4.\n"),
        user("3+3?"),
        said("Six.", reasoning_content=""),
        user("And?"),
    ],
    "reasoning, other names": [
        user("2+2?"),
        said("Four.", reasoning="Easy.", thinking="Easy too.", thought="e"),
        user("3+3?"),
        said("Six."),
    ],
    "reasoning ends": [user("2+2?"), said("Four.", reasoning_content="Easy.")],
    "parts": [
        {"role": "system", "content": [{"type": "text", "text": "You are."}]},
        {"role": "user", "content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "you"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "user", "content": [{"type": "text", "text": "<|eot_id|>"}]},
    ],
    "image": [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": "x"},
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "data:"}},
            ],
        }
    ],
    "one call": [user(), said(None, tool_calls=[call()])],
    "call and result": [user(), said(None, tool_calls=[call()]), result()],
    "call, result, answer": [
        system(),
        user(),
        said("", tool_calls=[call()]),
        result(),
        said("21.5 degrees."),
        user("Thanks"),
    ],
    "text with a call": [user(), said("Let me see.", tool_calls=[call()]), result(name="get_weather")],
    "arguments as text": [
        user(),
        said(None, tool_calls=[call(arguments='{"city": "Bern", "days": 1}')]),
        result(),
    ],
    "arguments odd": [
        user(),
        said(None, tool_calls=[call(arguments={"s": "it's \"q\"\n", "n": None, "t": True, "f": 1.5,
                                               "big": 1e20, "l": [1, [2]], "d": {"k": {}}, "u": "é"})]),
        result('{"ok": false}'),
    ],
    "no arguments": [user(), said(None, tool_calls=[call(arguments={})]), result("")],
    "arguments broken": [user(), said(None, tool_calls=[call(arguments="{city:")]), result("x")],
    "two calls": [
        user(),
        said(None, tool_calls=[call(), call("clock", {}, "call_00002")]),
        result(),
        result("12:00", "call_00002"),
        said("Done."),
        user("More"),
    ],
    "two rounds": [
        user(),
        said("First.", tool_calls=[call(id="abc123def")], reasoning_content="I need weather."),
        result(id="abc123def"),
        said("Then.", tool_calls=[call("clock", {"tz": "UTC"}, "abc123deg")], reasoning_content="And time."),
        result("noon", "abc123deg"),
    ],
    "short id": [user(), said(None, tool_calls=[call(id="c1")]), result(id="c1")],
    "nine letters": [user(), said(None, tool_calls=[call(id="abcdefghi")]), result(id="abcdefghi"), said("ok")],
    "no id": [
        user(),
        said(None, tool_calls=[{"type": "function", "function": {"name": "clock", "arguments": {}}}]),
        {"role": "tool", "name": "clock", "content": "noon"},
    ],
    "result alone": [user(), result()],
    "result parts": [
        user(),
        said(None, tool_calls=[call()]),
        {"role": "tool", "tool_call_id": "call_00001", "content": [{"type": "text", "text": "21"}]},
    ],
    "result object": [user(), said(None, tool_calls=[call()]), result({"t": [21, 22.5, None]})],
    "interpreter": [user(), said(None, tool_calls=[call("python", {"code": "print(1)\n"})]), result("1")],
    "ipython": [user(), {"role": "ipython", "content": "out"}, said("ok")],
    "function role": [user(), {"role": "function", "name": "clock", "content": "noon"}],
    "switches in text": [system("/no_think Be good."), user("Hi /think"), said("x"), user("y /nothink")],
    "names": [{"role": "user", "name": "Ann", "content": "Hi"}, said("Hello", name="Bot"), user("So")],
    "lists everywhere": [user(), said("x", tool_calls=[]), user("y"), said("z", tool_calls=None)],
}

# How clients say that a message has no content. The reference gets the first.
NOTHING = [{"content": ""}, {"content": None}, {}, {"content": []}]


def without_content(nothing):
    """Conversations as clients send them, every role's content left out in one of these ways."""
    return {
        "calls": [
            system(),
            user(),
            {"role": "assistant", "tool_calls": [call()], **nothing},
            result(),
            said("21.5 degrees."),
            user("And there?"),
            {"role": "assistant", "tool_calls": [call(id="call_00002")], **nothing},
            result(id="call_00002"),
        ],
        "empty results": [
            user(),
            {"role": "assistant", "tool_calls": [call()], **nothing},
            {"role": "tool", "tool_call_id": "call_00001", **nothing},
            said("Nothing came back."),
            user("Why?"),
        ],
        "nobody speaks": [
            {"role": "system", **nothing},
            {"role": "user", **nothing},
            {"role": "assistant", **nothing},
            user("Hello?"),
        ],
    }


# Variables beside the messages. Each set goes with every conversation.
MINIMAL = [
    {},
    {"add_generation_prompt": True},
    {"add_generation_prompt": True, "tools": None, "documents": None},
    {"add_generation_prompt": True, "tools": TOOLS},
    {"tools": [WEATHER, CLOCK, BARE], "functions": "[]", "datetime": "now"},
]
# Switches of single families, with a few of the conversations.
SWITCHES = [
    {"tools": []},
    {"tools": [INTERPRETER, WEATHER]},
    {"builtin_tools": ["wolfram_alpha", "code_interpreter"], "tools": [WEATHER]},
    {"tools_in_user_message": False, "tools": TOOLS},
    {"custom_tools": TOOLS},
    {"enable_thinking": False},
    {"enable_thinking": True},
    {"thinking": True},
    {"thinking": False, "tools": TOOLS},
    {"thinking_budget": 512, "enable_thinking": True},
    {"thinking_mode": "disabled"},
    {"reasoning_effort": "high"},
    {"reasoning_effort": "low", "tools": TOOLS},
    {"reasoning_effort": "none"},
    {"reasoning_effort": "weird"},
    {"reasoning": False},
    {"documents": [{"title": "T1", "text": "Body one"}, {"title": "T2", "text": "Body\ntwo", "doc_id": 7}]},
    {"date_string": "01 Jan 2026", "today": "2026-01-01", "current_date": "2026-01-01"},
    {"model_identity": "You are Test.", "preserve_thinking": True, "clear_thinking": False},
    {"keep_past_thinking": True, "preserve_reasoning": True, "drop_thinking": False},
    {"add_default_system_prompt": False, "system_prompt": "SP", "xml_tools": TOOLS},
    {"python_tools": ["t"], "json_tools": TOOLS},
    {"json_schema": {"type": "object"}, "response_format": {"type": "json_object"}, "tools": TOOLS},
    {"controls": {"length": "short", "originality": "abstractive"}, "citations": True},
    {"safety_mode": "STRICT", "citation_quality": "off", "grounding": "enabled"},
    {"functions": '[{"name": "f"}]', "datetime": "now", "add_vision_id": True},
    {"image_prompts": ["<image1>"], "num_images": 1, "interleave_user_messages": True},
]
SWITCHED = ["system turns", "thinks", "reasoning", "call, result, answer", "two rounds", "image"]

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def cases():
    """(name, variables) of every case; special tokens apart."""
    for (name, messages), (i, more) in itertools.product(CONVERSATIONS.items(), enumerate(MINIMAL)):
        yield f"{name} / {i}", {"messages": messages, **more}
    for name, (i, more) in itertools.product(SWITCHED, enumerate(SWITCHES)):
        yield f"{name} / switch {i}", {
            "messages": CONVERSATIONS[name],
            "add_generation_prompt": i % 2 == 0,
            **more,
        }
