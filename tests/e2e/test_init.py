"""gaufre init: a configuration that works at once, whose every commented line is the default, and its schema."""
import json
import pathlib
import re

import jsonschema
import pytest
import yaml

from finding import model_file


class Yaml12(yaml.SafeLoader):
    """As editors read it (YAML 1.2): on and off are words, and so is a day."""


Yaml12.yaml_implicit_resolvers = {k: [r for r in v if r[0].rsplit(":", 1)[1] not in ("bool", "timestamp")]
                                  for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


@pytest.fixture
def schema(cli):
    return json.loads(cli("init", "--schema").stdout)


def test_writes_once(cli, tmp_path):
    path = tmp_path / "gaufre.yaml"
    done = cli("init", cwd=tmp_path)
    assert done.returncode == 0 and str(path.name) in done.stderr
    first = path.read_text()
    again = cli("init", cwd=tmp_path)
    assert again.returncode == 1 and "--force" in again.stderr
    path.write_text("mine")
    assert cli("init", cwd=tmp_path).returncode == 1 and path.read_text() == "mine"
    assert cli("init", "--force", cwd=tmp_path).returncode == 0 and path.read_text() == first
    assert cli("init", "-").stdout == first


def uncommented(text):
    """Every setting as it stands in the comments; those without a default stay out."""
    lines = [re.sub(r"^( *)#(\w+:)", r"\1\2", line) for line in text.splitlines()]
    return "\n".join(line for line in lines if not re.match(r' *\w+: *(""|\[\])?$', line) or line == "models:") + "\n"


def test_its_lines_are_the_defaults(cli, tmp_path, schema):
    model = model_file("smollm2-135m")
    text = cli("init", "--model", model, "-").stdout
    plans = []
    for name, content in (("as_written.yaml", text), ("all.yaml", uncommented(text))):
        path = tmp_path / name
        path.write_text(content)
        jsonschema.validate(yaml.load(content, Yaml12), schema)
        done = cli("serve", "--check", "-c", path)
        assert done.returncode == 0, done.stderr
        plans.append(re.sub(r"available .*", "", done.stdout))
    assert plans[0] == plans[1]
    assert len(yaml.safe_load(uncommented(text))) > 30


def test_schema_knows_every_setting(cli, schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    named = set(re.findall(r"^\| `(\w+)`", cli("serve", "--settings").stdout, re.M))
    assert named <= set(schema["properties"])
    for bad in ({"prot": 1}, {"port": 70000}, {"log_level": "loud"}, {"models": [{"id": "x"}]}, {"queue": "many"},
                {"models": [{"model": "m", "contxt": 1}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_schema_is_served(cli, start, schema):
    server = start()
    status, heads, body = server.get("/config.schema.json")
    assert status == 200 and heads["content-type"] == "application/schema+json"
    assert json.loads(body) == schema


EXAMPLES = sorted((pathlib.Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[p.name for p in EXAMPLES])
def test_examples(cli, tmp_path, env, schema, path):
    """What examples/ has is loaded and checked; only the model's name becomes a file, and the keys are made."""
    text = path.read_text()
    jsonschema.validate(yaml.load(text, Yaml12), schema)
    (tmp_path / "c.yaml").write_text(re.sub(r"smollm2-135m$", str(model_file("smollm2-135m")), text, flags=re.M))
    (tmp_path / "keys").write_text(f"salt {'00' * 32}\n")
    secrets = {"CEREBRAS_API_KEY": "sk-a", "OTHER_API_KEY": "sk-b", "OPS_SECRET": f"whsec_{'A' * 32}"}
    done = cli("serve", "-c", "c.yaml", "--check", cwd=tmp_path, env=env | secrets)
    assert done.returncode == 0, done.stderr
    assert "sk-a" not in done.stdout + done.stderr
    for s in yaml.safe_load(text).get("suppliers", []):
        assert f"supplier   {s['name']}: {s['base_url']}, with a key" in done.stdout
    if "prices" in text:
        assert cli("serve", "-c", "c.yaml", "--check", cwd=tmp_path).returncode != 0  # without the variables
