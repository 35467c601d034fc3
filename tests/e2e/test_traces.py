"""Traces: what a request's spans say, whose children they are, and that nothing waits for who takes them."""
import base64
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from mock_upstream import Mock
from serving import MODEL, Server, wait_for

pytestmark = pytest.mark.sanitize
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLIENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
SECRET = "a secret of the collector"
PROMPT = "the words of a prompt that nobody else may see"


def accepts(a):
    a.reply(200, {})


def value(v):
    kind = v.WhichOneof("value")
    return [value(x) for x in v.array_value.values] if kind == "array_value" else getattr(v, kind)


def attributes(list_):
    keys = [a.key for a in list_]
    assert len(set(keys)) == len(keys)
    return {a.key: value(a.value) for a in list_}


class Seen:
    """A span as the schema reads it."""

    def __init__(self, resource, s):
        self.resource, self.name, self.kind, self.status = resource, s.name, s.kind, s.status
        self.trace, self.id, self.parent = s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex()
        self.state, self.flags, self.attrs = s.trace_state, s.flags, attributes(s.attributes)
        self.start, self.end = s.start_time_unix_nano, s.end_time_unix_nano
        assert len(s.trace_id) == 16 and len(s.span_id) == 8 and len(s.parent_span_id) in (0, 8)
        assert self.flags & 1 and 0 < self.start <= self.end


def strict(body):
    """The spans of an export, read by OTLP's own schema: unknown fields and wrong types are errors. In OTLP's JSON ids are
    hexadecimal, where protobuf's has base64."""
    d = json.loads(body)
    for s in (s for rs in d["resourceSpans"] for ss in rs["scopeSpans"] for s in ss["spans"]):
        for k in ("traceId", "spanId", "parentSpanId"):
            if k in s:
                assert re.fullmatch("[0-9a-f]+", s[k])
                s[k] = base64.b64encode(bytes.fromhex(s[k])).decode()
    for rs in json_format.Parse(json.dumps(d), ExportTraceServiceRequest()).resource_spans:
        resource = attributes(rs.resource.attributes)
        assert resource["service.instance.id"] and resource["service.version"]
        for ss in rs.scope_spans:
            assert ss.scope.name == "gaufre"
            for s in ss.spans:
                yield Seen(resource, s)


class Collector(Mock):
    def __init__(self, script=accepts):
        super().__init__(script)
        self.url = f"http://127.0.0.1:{self.port}"

    def spans(self):
        for r in list(self.requests):
            assert r.method == "POST" and r.headers["content-type"] == "application/json"
            assert PROMPT not in r.body.decode() and SECRET not in r.body.decode()
        return [s for r in list(self.requests) for s in strict(r.body)]

    def tree(self, n):
        """n spans, by name; children lie within their parents."""
        wait_for(f"{n} spans", lambda: len(self.spans()) >= n)
        spans = self.spans()
        assert len(spans) == n, [s.name for s in spans]
        by_id = {s.id: s for s in spans}
        assert len(by_id) == n
        for s in spans:
            if s.parent in by_id and by_id[s.parent].resource == s.resource:
                assert by_id[s.parent].start <= s.start and s.end <= by_id[s.parent].end, (s.name, by_id[s.parent].name)
        return spans


def root(spans):
    (r,) = [s for s in spans if s.kind == Span.SPAN_KIND_SERVER]
    return r


def children(spans, of):
    return sorted((s for s in spans if s.parent == of.id), key=lambda s: s.start)


@pytest.fixture
def made(tmp_path):
    """front(collector, mocks, ...): a server whose model "far" is each mock's; other(...): anything to be stopped."""
    things = []

    class Made:
        def keep(self, thing):
            things.append(thing)
            return thing

        def front(self, collector, *urls, settings="", flags=(), env=None, models=()):
            folder = tmp_path / f"front{len(things)}"
            folder.mkdir()
            (folder / "c.yaml").write_text(settings + "suppliers:\n" + "".join(
                f"  - {{name: m{i}, base_url: '{u}', models: [far={MODEL}]}}\n" for i, u in enumerate(urls)) +
                "routes: [{route: order}]\n")
            flags = ("--traces", collector.url, *flags) if collector else flags
            return self.keep(Server(str(folder), "-c", folder / "c.yaml", *flags, models=list(models), env=env))

    yield Made()
    for t in things:
        if isinstance(t, Server):
            if t.process.poll() is None:
                assert t.stop() == 0, t.read_log()
            assert SECRET not in t.read_log() and PROMPT not in t.read_log()
    for t in things:
        if not isinstance(t, Server):
            t.close()


def ask(server, headers=None, model="far", **more):
    return server.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": PROMPT}], **more},
                       headers or {})


def test_a_relayed_request(made):
    collector, mock = made.keep(Collector()), made.keep(Mock())
    server = made.front(collector, mock.url, env={
        "OTEL_SERVICE_NAME": "door", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test%20bench,service.name=no",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={SECRET.replace(' ', '%20')},x-other=1"})
    status, heads, _ = ask(server, {**CLIENT, "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}, max_tokens=50)
    assert status == 200
    spans = collector.tree(2)
    top = root(spans)
    assert top.resource["service.name"] == "door" and top.resource["deployment.environment.name"] == "test bench"
    assert collector.requests[0].headers["x-collector-key"] == SECRET and collector.requests[0].path == "/v1/traces"
    assert (top.trace, top.parent, top.name) == (TRACE, PARENT, "chat far")
    assert top.state == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE" and top.status.code == Status.STATUS_CODE_UNSET
    assert top.attrs["gen_ai.operation.name"] == "chat" and top.attrs["gen_ai.request.model"] == "far"
    assert top.attrs["http.response.status_code"] == 200 and top.attrs["gen_ai.request.max_tokens"] == 50
    assert top.attrs["gaufre.request.id"] == heads["x-request-id"] and top.attrs["gaufre.tenant"] == "default"
    assert not [k for k in top.attrs if k.startswith("gen_ai.usage")]  # a sum over all spans counts no token twice
    (there,) = children(spans, top)
    assert there.kind == Span.SPAN_KIND_CLIENT and there.attrs["gen_ai.provider.name"] == "m0"
    assert there.attrs["gen_ai.usage.input_tokens"] == 11 and there.attrs["gen_ai.usage.output_tokens"] == 4
    assert there.attrs["gen_ai.usage.cache_read.input_tokens"] == 3
    assert there.attrs["gen_ai.response.finish_reasons"] == ["stop"]
    assert there.attrs["gaufre.supplier"] == "m0/far"
    sent = mock.requests[0].headers
    assert sent["traceparent"] == f"00-{TRACE}-{there.id}-01"
    assert sent["tracestate"] == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    assert server.metric("gaufre_trace_spans_total", result="sent") == 2


def test_tries_are_children(made):
    """The first supplier fails: its try has the error, the second one's the tokens."""
    collector = made.keep(Collector())
    bad, good = made.keep(Mock(lambda a: a.reply(500, {"error": {"message": PROMPT}}))), made.keep(Mock())
    server = made.front(collector, bad.url, good.url)
    status, _, body = server.request("POST", "/v1/chat/completions", {
        "model": "far", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}, CLIENT)
    assert status == 200 and b"[DONE]" in body
    spans = collector.tree(3)
    top = root(spans)
    first, second = children(spans, top)
    assert first.attrs["error.type"] == "SUPPLIER" and first.status.code == Status.STATUS_CODE_ERROR
    assert "gen_ai.usage.input_tokens" not in first.attrs and first.attrs["gaufre.supplier"] == "m0/far"
    assert second.status.code == Status.STATUS_CODE_UNSET and second.attrs["gen_ai.usage.output_tokens"] == 4
    assert 0 <= second.attrs["gen_ai.response.time_to_first_chunk"] <= (second.end - second.start) / 1e9
    assert first.end <= second.start
    assert [m.requests[0].headers["traceparent"].split("-")[2] for m in (bad, good)] == [first.id, second.id]


def test_errors(made):
    collector, bad = made.keep(Collector()), made.keep(Mock(lambda a: a.reply(500, {"error": {"message": "x"}})))
    server = made.front(collector, bad.url)
    assert ask(server)[0] == 502
    assert ask(server, model="none")[0] == 404
    assert ask(server, temperature=99)[0] == 400
    spans = collector.tree(4)
    by_status = {s.attrs["http.response.status_code"]: s for s in spans if s.kind == Span.SPAN_KIND_SERVER}
    assert by_status[502].status.code == Status.STATUS_CODE_ERROR and by_status[502].attrs["error.type"] == "SUPPLIER"
    for status, name in ((404, "NO_MODEL"), (400, "SCHEMA")):  # the client's fault is no error of the server's
        assert by_status[status].status.code == Status.STATUS_CODE_UNSET and by_status[status].attrs["error.type"] == name
    assert len({s.trace for s in by_status.values()}) == 3 and not [s for s in by_status.values() if s.parent]


def test_an_engine_behind_a_front_door(made, tmp_path):
    """gaufre before gaufre: one trace, the engine's queue, prefill and decode under the try that the front door made."""
    collector = made.keep(Collector())
    folder = tmp_path / "engine"
    folder.mkdir()
    engine = made.keep(Server(str(folder), "--traces", collector.url + "/v1/traces", env={"OTEL_SERVICE_NAME": "engine"}))
    door = made.front(collector, engine.url + "/v1", env={"OTEL_SERVICE_NAME": "door"})
    assert ask(door, CLIENT, max_tokens=5)[0] == 200
    spans = collector.tree(7)
    assert {s.trace for s in spans} == {TRACE}
    (outer,) = [s for s in spans if s.parent == PARENT]
    (there,) = children(spans, outer)
    (inner,) = children(spans, there)
    (here,) = children(spans, inner)
    assert [outer.resource["service.name"], inner.resource["service.name"]] == ["door", "engine"]
    assert [s.kind for s in (outer, there, inner, here)] == [
        Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL]
    phases = children(spans, here)
    assert [s.name for s in phases] == ["queue", "prefill", "decode"]
    assert phases[0].end == phases[1].start and phases[1].end == phases[2].start
    assert here.attrs["gen_ai.provider.name"] == "gaufre" and here.attrs["gen_ai.usage.output_tokens"] == 5
    assert there.attrs["gen_ai.usage.input_tokens"] == here.attrs["gen_ai.usage.input_tokens"] > 5
    assert here.attrs["gen_ai.response.finish_reasons"] == ["length"]


def test_who_is_traced(made):
    """A parent's decision is followed, or by trace_parent: ratio it is not; what is not recorded is passed on as such."""
    collector, mock = made.keep(Collector()), made.keep(Mock())
    server = made.front(collector, mock.url, settings="trace_ratio: 0\n")
    assert ask(server)[0] == 200 and ask(server, {"traceparent": f"00-{TRACE}-{PARENT}-00"})[0] == 200
    assert ask(server, CLIENT)[0] == 200
    assert len(collector.tree(2)) == 2
    none, no, yes = (r.headers["traceparent"] for r in mock.requests)
    assert re.fullmatch(f"00-{TRACE}-(?!{PARENT})[0-9a-f]{{16}}-00", no)
    assert re.fullmatch(f"00-(?!{TRACE})[0-9a-f]{{32}}-[0-9a-f]{{16}}-02", none)
    assert yes.startswith(f"00-{TRACE}-") and yes.endswith("-01")
    server = made.front(collector, mock.url, flags=("--trace-ratio", "0", "--trace-parent", "ratio"))
    assert ask(server, CLIENT)[0] == 200 and mock.requests[-1].headers["traceparent"].endswith("-00")
    assert server.stop() == 0 and len(collector.spans()) == 2


def test_malformed_ones_are_none(made):
    collector, mock = made.keep(Collector()), made.keep(Mock())
    server = made.front(collector, mock.url)
    bad = [f"00-{TRACE}-{PARENT}", f"00-{TRACE.upper()}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01",
           f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{PARENT}-01-x", f"00-{TRACE}-{PARENT}-01, 00-{TRACE}-{PARENT}-01", "x" * 4000]
    for b in bad:
        assert ask(server, {"traceparent": b, "tracestate": "a=b"})[0] == 200
    assert ask(server, {**CLIENT, "tracestate": "a=b,a=c"})[0] == 200  # one key twice: not passed on
    spans = collector.tree(2 * len(bad) + 2)
    assert len([s for s in spans if s.trace == TRACE]) == 2 and not [s for s in spans if s.state]
    assert not [r for r in mock.requests if "tracestate" in r.headers]


def test_without_traces_headers_are_passed_on(made):
    """Nobody sends spans: what the client says is its suppliers' to know, as it came."""
    mock = made.keep(Mock())
    server = made.front(None, mock.url)
    assert ask(server, {**CLIENT, "tracestate": "a=b, c=d"})[0] == 200 and ask(server)[0] == 200
    assert mock.requests[0].headers["traceparent"] == CLIENT["traceparent"]
    assert mock.requests[0].headers["tracestate"] == "a=b, c=d"
    assert "traceparent" not in mock.requests[1].headers
    assert server.metric("gaufre_trace_spans_total") == 0


def test_a_collector_that_comes_back(made):
    """503, a cut and then well: the same spans, once, and requests have not waited."""
    left = [lambda a: a.reply(503, {}), lambda a: a.cut(), accepts]
    collector, mock = made.keep(Collector(left)), made.keep(Mock())
    server = made.front(collector, mock.url)
    assert ask(server, CLIENT)[0] == 200
    wait_for("sent", lambda: server.metric("gaufre_trace_spans_total", result="sent") == 2)
    bodies = [r.body for r in collector.requests]
    assert len(bodies) == 3 and len(set(bodies)) == 1
    assert server.metric("gaufre_trace_spans_total", result="dropped") == 0
    assert "traces not sent" in server.read_log() and "traces sent again" in server.read_log()


def test_a_collector_that_refuses(made):
    collector, mock = made.keep(Collector(lambda a: a.reply(400, {"message": "no"}))), made.keep(Mock())
    server = made.front(collector, mock.url)
    assert ask(server, CLIENT)[0] == 200
    wait_for("dropped", lambda: server.metric("gaufre_trace_spans_total", result="dropped") == 2)
    assert len(collector.requests) == 1  # for good: not asked again


def test_a_collector_that_takes_a_part(made):
    collector = made.keep(Collector(lambda a: a.reply(200, {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "no"}})))
    server = made.front(collector, made.keep(Mock()).url)
    assert ask(server, CLIENT)[0] == 200
    wait_for("told", lambda: server.metric("gaufre_trace_spans_total", result="dropped") == 1)
    assert server.metric("gaufre_trace_spans_total", result="sent") == 1 and len(collector.requests) == 1


def pump(a, b):
    try:
        while (data := a.recv(65536)):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def behind_tls(mock, folder):
    """An address whose TLS ends here, before the mock, and the file of its certificate."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "2", "-subj", "/CN=collector", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(raw):
        try:
            outer, inner = context.wrap_socket(raw, server_side=True), socket.create_connection(("127.0.0.1", mock.port))
        except OSError:
            return raw.close()
        threading.Thread(target=pump, args=(inner, outer), daemon=True).start()
        return pump(outer, inner)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"https://127.0.0.1:{listener.getsockname()[1]}", cert


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_a_collector_behind_tls(made, tmp_path):
    """Its certificate is checked: with its authority spans come, without it nothing is sent."""
    collector, mock = made.keep(Collector()), made.keep(Mock())
    url, cert = behind_tls(collector, tmp_path)
    server = made.front(None, mock.url, flags=("--traces", url, "--traces-ca-file", cert))
    assert ask(server, CLIENT)[0] == 200
    assert len(collector.tree(2)) == 2
    server = made.front(None, mock.url, flags=("--traces", url))
    assert ask(server, CLIENT)[0] == 200
    assert server.stop() == 0 and "traces not sent" in server.read_log() and len(collector.spans()) == 2


def test_nothing_waits_for_a_collector_that_hangs(made):
    """It takes nothing: the ring fills, what finds no room is dropped and counted, and every request is answered."""
    go = threading.Event()
    collector, mock = made.keep(Collector(lambda a: (go.wait(600), a.reply(200, {})))), made.keep(Mock())
    server = made.front(collector, mock.url, flags=("--drain-timeout", "2s"))
    n, state = 0, ",".join(f"k{i}={'b' * 250}" for i in range(7))  # spans of some size
    while not server.metric("gaufre_trace_spans_total", result="dropped") and n < 5000:
        for _ in range(50):
            assert ask(server, {"tracestate": state, **CLIENT})[0] == 200
        n += 50
    assert n < 5000 and "traces dropped" in server.read_log()
    assert server.stop() == 0  # its drain is over: the spans are dropped
    go.set()


def test_the_last_spans_are_sent_at_the_end(made):
    collector, mock = made.keep(Collector()), made.keep(Mock())
    server = made.front(collector, mock.url, flags=("--io-threads", "3"))
    for _ in range(5):
        assert ask(server, CLIENT)[0] == 200
    assert server.stop() == 0
    assert len(collector.spans()) == 10


@pytest.mark.parametrize("flags, what", [
    (("--traces", "ftp://x"), "traces"), (("--trace-ratio", "1.5"), "trace_ratio"), (("--trace-ratio", "nan"), "trace_ratio"),
    (("--traces", "http://127.0.0.1:1", "--traces-headers-env", "BAD"), "BAD"),
    (("--traces", "http://127.0.0.1:1", "--traces-ca-file", "/nowhere"), "/nowhere")])
def test_wrong_settings(cli, env, tmp_path, flags, what):
    (tmp_path / "c.yaml").write_text("suppliers: [{name: a, base_url: 'http://127.0.0.1:1', models: [m]}]\n")
    r = cli("serve", "-c", tmp_path / "c.yaml", "--check", *flags, env={**env, "BAD": SECRET})
    assert r.returncode and what in r.stderr and SECRET not in r.stderr


def test_check_says_where_they_go(cli, env, tmp_path):
    (tmp_path / "c.yaml").write_text("suppliers: [{name: a, base_url: 'http://127.0.0.1:1', models: [m]}]\n")
    r = cli("serve", "-c", tmp_path / "c.yaml", "--check", env={
        **env, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"})
    assert r.returncode == 0 and re.search(r"^traces +http://127.0.0.1:4318/v1/traces, 1 header, 1 of", r.stdout, re.M), r.stderr
    r = cli("serve", "-c", tmp_path / "c.yaml", "--check", "--traces", "off", env={
        **env, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/"})
    assert r.returncode == 0 and "4318" not in r.stdout
