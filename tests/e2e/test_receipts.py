"""Energy and cost on each answer: in its usage, in its headers and in the ledger, alike; of an engine of this process and of
suppliers, which state their energy, or have contracted it, or say nothing."""
import json
import sqlite3
from decimal import Decimal

import openai
import pytest

from mock_upstream import CHAT, Mock, words
from serving import MODEL, Server, wait_for

pytestmark = pytest.mark.sanitize

USAGE = CHAT["usage"]  # 11 tokens of a prompt and 4 of an answer
STATED = {"joules": 2.5, "boundary": "it", "method": "rapl", "uncertainty": 0.05}
CONTRACTED = {"joules": 0.62, "wh": 0.000172222, "boundary": "facility", "method": "contracted", "uncertainty": 0.1}
COST = {"amount": 0.0000062, "currency": "EUR"}  # 11 of 0.2 and 4 of 1.0 a million
PRICES = """currency: EUR
prices:
  - {model: m, input: 0.20, output: 1.00}
"""
AGREED = "    input_joules: 0.02\n    output_joules: 0.1\n    energy_uncertainty: 100\n"


def body_of(**usage):
    return {**CHAT, "usage": {**USAGE, **usage}}


def stream_of(**usage):
    events = words()
    last = json.loads(events[-1])
    last["usage"].update(usage)
    return [*events[:-1], json.dumps(last)]


def answer(body, events):
    def script(a):
        if a.request.json.get("stream"):
            a.stream(events)
        else:
            a.reply(200, body)
    return script


@pytest.fixture
def door(tmp_path):
    """door(script, agreed, settings): a server in front of that supplier."""
    servers = []

    def make(script, agreed=AGREED, more=PRICES):
        (tmp_path / "c.yaml").write_text(f"suppliers:\n  - name: far\n    base_url: {Mock(script).url}\n    models: [m]\n{agreed}{more}")
        servers.append(Server(str(tmp_path), "-c", tmp_path / "c.yaml", models=[]))
        return servers[-1]

    yield make
    for s in servers:
        assert s.stop() == 0, s.read_log()[-4000:]


def ask(server, **more):
    return server.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}], **more})


def chunks(server, path="/v1/chat/completions", **more):
    """All chunks of a stream; exactly one has usage."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True, **more}
    status, _, text = server.request("POST", path, asked)
    assert status == 200
    frames = text.decode().split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    found = [json.loads(x[6:]) for x in frames[:-2] if not x.startswith(":")]  # but heartbeats, on a slow machine
    assert sum("usage" in x for x in found) == 1
    return found


def row_of(server, n=1):
    """The last of n rows."""
    db = sqlite3.connect(server.ledger)
    db.row_factory = sqlite3.Row
    wait_for("booked", lambda: server.balance().get("default", {}).get("requests", 0) == n)
    return db.execute("SELECT * FROM usage ORDER BY seq DESC LIMIT 1").fetchone()


def test_contracted_energy_and_cost_are_told(door):
    server = door(answer(CHAT, words()))
    status, heads, body = ask(server)
    assert status == 200 and body["choices"] == CHAT["choices"] and body["x_extra"] == CHAT["x_extra"]
    assert body["usage"] == {**USAGE, "energy": CONTRACTED, "cost": COST}
    assert heads["x-gaufre-energy-joules"] == "0.62" and heads["x-gaufre-cost"] == "0.0000062 EUR"
    assert (heads["x-gaufre-energy-boundary"], heads["x-gaufre-energy-method"], heads["x-gaufre-energy-uncertainty"]) == (
        "facility", "contracted", "0.1")
    row = row_of(server)
    assert (row["energy_uj"], row["energy_boundary"], row["energy_method"], row["energy_uncertainty"]) == (620000, 2, 6, 100)
    assert row["charge_nano"] == 6200
    assert row["carbon_location_ug"] == row["carbon_market_ug"] == -1 and row["site"] == ""
    for options in ({}, {"stream_options": {"include_usage": True}}):
        found = chunks(server, **options)
        usage = found[-1]["usage"]
        assert usage["energy"] == CONTRACTED and usage["cost"] == COST
        assert len(found[-1]["choices"]) == (0 if options else 1)
    assert row_of(server, 3)["energy_uj"] == 620000


@pytest.mark.parametrize("stated, joules", [
    ({"usage": {"energy": STATED}}, (2.5, "it", 0.05)),
    ({"usage": {"energy": {"wh": 0.001}}}, (3.6, "accelerator", 1.0)),
    ({"energy": {"energy_joules": 1.5, "energy_kwh": 9}}, (1.5, "accelerator", 1.0)),
    ({"usage": {"energy": {"joules": -1}}}, (0.62, "facility", 0.1)),
    ({"usage": {"energy": {"joules": "many"}}}, (0.62, "facility", 0.1)),
    ({"usage": {"energy": {"joules": 1e300}}}, (0.62, "facility", 0.1)),
    ({"usage": {"energy": 5}}, (0.62, "facility", 0.1)),
])
def test_what_a_supplier_states_wins(door, stated, joules):
    body = {**body_of(**stated.get("usage", {})), **{k: v for k, v in stated.items() if k != "usage"}}
    server = door(answer(body, stream_of(**stated.get("usage", {}))))
    energy = ask(server)[2]["usage"]["energy"]
    assert (energy["joules"], energy["boundary"], energy["uncertainty"]) == joules
    assert energy["method"] == ("contracted" if joules[0] == 0.62 else "stated")
    row = row_of(server)
    assert row["energy_uj"] == joules[0] * 1e6 and row["energy_method"] == (6 if joules[0] == 0.62 else 5)
    if "usage" in stated:
        assert chunks(server)[-1]["usage"]["energy"] == energy


def test_what_is_not_known_is_absent(door):
    """And what a supplier says of cost is not its tenant's to know, in a cloud with money of its own."""
    server = door(answer(body_of(cost=0.5), stream_of(cost={"amount": 7})), agreed="", more="currency: EUR\n")
    status, heads, body = ask(server)
    assert status == 200 and body["usage"] == USAGE and not any("energy" in h or "cost" in h for h in heads)
    assert "cost" not in chunks(server)[-1]["usage"]
    row = row_of(server, 2)
    assert (row["energy_uj"], row["energy_method"], row["charge_nano"]) == (0, 0, -1)


def test_bytes_pass_as_they_are_when_it_is_off(door):
    server = door(answer(body_of(cost=0.5, energy=STATED), stream_of(energy=STATED)), more=PRICES + "usage_extras: off\n")
    status, heads, body = ask(server)
    assert status == 200 and body == body_of(cost=0.5, energy=STATED)
    assert "x-gaufre-cost" not in heads and chunks(server)[-1]["usage"]["energy"] == STATED
    assert row_of(server, 2)["energy_uj"] == 2500000  # it is booked all the same


def test_strict_compat_tells_nothing_more(door):
    server = door(answer(CHAT, words()), more=PRICES + "strict_compat: true\n")
    assert ask(server)[2]["usage"] == USAGE
    assert row_of(server)["energy_uj"] == 620000


def test_usage_in_any_order_and_shape(door):
    """Members of the usage object that is spliced are kept as they were written."""
    odd = '{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}],\n"usage" : { "cost" : 1 ,"prompt_tokens":11,' \
          '"\\u0065nergy":{"joules":1},"x":"}{\\"", "completion_tokens" :4 }, "after":[1]}'
    server = door(lambda a: a.reply(200, odd))
    body = ask(server)[2]
    assert body["after"] == [1] and body["usage"] == {
        "prompt_tokens": 11, "x": "}{\"", "completion_tokens": 4, "cost": COST,
        "energy": {"joules": 1.0, "wh": 0.000277778, "boundary": "accelerator", "method": "stated", "uncertainty": 1.0}}


def test_python_sdk_reads_it(door):
    server = door(answer(CHAT, words()))
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0)
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    whole = client.chat.completions.create(**asked)
    assert whole.usage.total_tokens == 15 and whole.usage.energy["joules"] == 0.62 and whole.usage.cost["currency"] == "EUR"
    last = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))[-1]
    assert last.usage.total_tokens == 15 and last.usage.energy == CONTRACTED


def test_two_front_doors(door, tmp_path):
    """Of a second gaufre behind the first the energy comes through as stated, and the cost is the first one's."""
    far = door(answer(CHAT, words()))
    near = tmp_path / "near"
    near.mkdir()
    (near / "c.yaml").write_text(f"suppliers:\n  - name: second\n    base_url: {far.url}/v1\n    models: [m]\n"
                                 "currency: USD\nprices: [{per_request: 2}]\n")
    server = Server(str(near), "-c", near / "c.yaml", models=[])
    try:
        usage = ask(server)[2]["usage"]
        assert usage["cost"] == {"amount": 2.0, "currency": "USD"}
        assert usage["energy"] == {**CONTRACTED, "method": "stated"}
        assert chunks(server)[-1]["usage"]["energy"] == usage["energy"]
    finally:
        assert server.stop() == 0


def test_an_engine_tells_energy_and_cost(start, tmp_path):
    (tmp_path / "c.yaml").write_text("currency: EUR\nprices: [{input: 0.10, output: 0.40}]\n")
    server = start("-c", tmp_path / "c.yaml")
    for path, ask_ in (("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
                       ("/v1/completions", {"prompt": ["Once", "Twice"]})):
        status, heads, body = server.post(path, {"model": MODEL, "max_tokens": 3, **ask_})
        usage = body["usage"]
        due = Decimal(usage["prompt_tokens"]) * 100 + Decimal(usage["completion_tokens"]) * 400
        assert status == 200 and Decimal(str(usage["cost"]["amount"])) == due / 10**9
        assert Decimal(heads["x-gaufre-cost"].split()[0]) == due / 10**9
        assert usage["energy"]["joules"] > 0 and usage["energy"]["method"] == "model"
        last = chunks(server, path, model=MODEL, max_tokens=3, **ask_)[-1]
        assert last["usage"]["cost"] == usage["cost"] and last["usage"]["energy"]["joules"] > 0
    row = row_of(server, 4)  # of the last stream
    assert round(last["usage"]["energy"]["joules"] * 1e6) == row["energy_uj"] > 0 and row["energy_method"] == 4
