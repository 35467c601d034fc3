"""Python's Jinja2 under the settings that Hugging Face uses for chat templates."""

import datetime
import json

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks what the assistant said; for the text only its scope matters."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    @staticmethod
    def _body(caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def _environment(cls, now):
    def strftime_now(format):
        return datetime.datetime.fromtimestamp(now).strftime(format)

    env = cls(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.filters["from_json"] = json.loads  # some templates expect it of their engine
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


class Template:
    def __init__(self, text, now):
        # Some templates of models change lists, which the immutable sandbox refuses; ours lets them,
        # so those are compared with the mutable sandbox.
        self._strict = _environment(jinja2.sandbox.ImmutableSandboxedEnvironment, now)
        self._loose = _environment(jinja2.sandbox.SandboxedEnvironment, now)
        self._text = text
        self._compiled = {}

    def _get(self, env):
        if env not in self._compiled:
            self._compiled[env] = env.from_string(self._text)
        return self._compiled[env]

    def render(self, variables):
        """("text", text) or ("error", why)."""
        try:
            try:
                return "text", self._get(self._strict).render(**variables)
            except jinja2.exceptions.SecurityError:
                return "text", self._get(self._loose).render(**json.loads(json.dumps(variables)))
        except Exception as e:  # whatever Python raises, a client would get an error
            return "error", f"{type(e).__name__}: {e}"
