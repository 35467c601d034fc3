"""The admin API is what its OpenAPI document says: Schemathesis makes the requests."""
import json
import subprocess
import sys

from test_admin import one  # noqa: F401  fixture
from test_contracts_served import TEXT as CONTRACT


def test_as_its_description_says(one, tmp_path):
    """Schemathesis makes requests from the OpenAPI document: nothing breaks, and every answer is one that it tells of."""
    doc = json.loads(one.cloud.server.get("/admin/v1/openapi.json")[2])
    for operation in doc["paths"].values():  # what a pattern cannot tell: whether a time zone or a network exists
        for o in operation.values():
            members = o.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {}).get("properties", {})
            if "budget_zone" in members:
                members["budget_zone"]["anyOf"][0]["enum"] = ["Europe/Berlin", "UTC"]
                members["labels"]["anyOf"][0]["maxProperties"] = 2
                members["networks"]["anyOf"][0]["items"] = {"enum": ["10.0.0.0/8", "::1", "192.168.0.1"]}
                for money in ("budget", "budget_per_day", "budget_per_week", "budget_per_month"):
                    members[money]["anyOf"][0]["pattern"] = "^[0-9]{1,9}(\\.[0-9]{1,9})?EUR$"
            if "text" in members:  # a contract, whose versions follow each other
                members["text"]["enum"] = [CONTRACT]
                members["effective"] = {"type": "null"}
    # An admin's own key must live on, and time must not be spent on reloads.
    del doc["paths"]["/admin/v1/reload"]
    del doc["paths"]["/admin/v1/overview/events"]  # it has no end
    del doc["paths"]["/admin/v1/drain"]  # nor may the server come to its own
    del doc["paths"]["/admin/v1/answers"]  # wants the bytes of another server
    (tmp_path / "openapi.json").write_text(json.dumps(doc))
    (tmp_path / "schemathesis.toml").write_text("[phases.coverage]\nunexpected-methods = [\"PUT\"]\n")
    r = subprocess.run([sys.executable, "-m", "schemathesis.cli", "run", str(tmp_path / "openapi.json"), "--url", one.cloud.server.url,
                        "-H", f"Authorization: Bearer {one.key}", "--checks", "all", "--max-examples", "5", "--no-color",
                        "--seed", "1", "--workers", "1"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stdout[-6000:] + r.stderr[-2000:]
    assert "Tested: 41" in r.stdout
