"""Tenants, teams and keys that the configuration names, their keys by reference; swapped with it."""
import signal

import pytest

from serving import wait_for
from test_accounts import CONFIG, Cloud

pytestmark = pytest.mark.sanitize
KEYS = {"ALICE_KEY": "a-key-of-alice-0123456789", "BOB_KEY": "a-key-of-bob-0123456789"}
LISTS = """tenants:
  - name: acme
    requests_per_hour: 5
    models: [m]
    labels: [env=prod]
teams:
  - {name: blue, tenant: acme, requests_per_hour: 3}
api_keys:
  - {name: alice, tenant: acme, team: blue, env: ALICE_KEY}
  - {name: carol, file: FILE, tiers: [flex]}
"""


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "carol").write_text("a-key-of-carol-0123456789\n")
    c = Cloud(tmp_path, None)
    c.config = tmp_path / "c.yaml"
    c.base = CONFIG.format(far=c.far.url, near=c.near.url)
    c.lists = LISTS.replace("FILE", str(tmp_path / "carol"))
    c.config.write_text(c.base + c.lists)
    yield c
    c.stop()


def swap(cloud, text):
    before = cloud.server.read_log().count("configuration ")
    cloud.config.write_text(cloud.base + text)
    cloud.server.process.send_signal(signal.SIGHUP)
    wait_for("swapped", lambda: cloud.server.read_log().count("configuration ") > before)
    return cloud.server.read_log().splitlines()[-1]


def test_walk_through(cloud):
    cloud.serve()
    assert [cloud.ask(KEYS["ALICE_KEY"]) for _ in range(4)] == [200, 200, 200, 429]  # the team's
    assert cloud.ask("a-key-of-carol-0123456789") == 200
    assert cloud.ask("a-key-of-carol-0123456789", model="n") == 200
    assert cloud.ask("gf-other") == 401
    # Swapped whole: bob comes, carol goes, and what the tenant used stays used.
    more = cloud.lists.replace("requests_per_hour: 3", "requests_per_hour: 30").replace(
        "  - {name: carol", "  - {name: bob, tenant: acme, env: BOB_KEY}\n  #")
    assert "in force" in swap(cloud, more)
    assert cloud.ask("a-key-of-carol-0123456789") == 401
    assert cloud.ask(KEYS["BOB_KEY"], model="n") == 403
    assert [cloud.ask(KEYS["BOB_KEY"]) for _ in range(3)].count(429) >= 2
    # What cannot be read changes nothing, and the line is told.
    for bad, says in ((more.replace("env: BOB_KEY", "env: NO_KEY"), "NO_KEY"),
                      (more.replace("env: BOB_KEY", "env: ALICE_KEY"), "same key"), (more.replace("models: [m]", "models: [m m]"), "models"),
                      (more.replace("team: blue", "team: red"), "red"), (more.replace("tenant: acme, env", "tenant: acne, env"), "acne"),
                      (more.replace("requests_per_hour: 5", "requests_per_hour: few"), "few"),
                      (more.replace("requests_per_hour: 5", "requests: 5"), "requests"), (more.split("api_keys")[0], "api_keys")):
        line = swap(cloud, bad)
        assert "not reloaded" in line and says in line, line
    assert cloud.ask(KEYS["ALICE_KEY"]) in (200, 429)


def test_check_shows_them(cloud):
    out = cloud.cli("serve", "--check", "-c", cloud.config)
    assert "tenant     acme: requests_per_hour=5 models=m labels=env=prod" in out and "key        alice of acme/blue" in out
    assert not any(k in out for k in KEYS.values())


def test_beside_a_store(cloud):
    """A key's id is one source's; of a tenant that both know the store's settings count."""
    cloud.cli("tenant", "new", "acme", "--requests-per-hour", 1)
    key = cloud.cli("key", "new", "dave", "--tenant", "acme")
    cloud.serve()
    assert cloud.ask(KEYS["ALICE_KEY"]) == 200
    assert cloud.ask(key) == 429
    other = cloud.cli("key", "new", "alice", "--tenant", "acme")
    wait_for("told", lambda: "account not usable" in cloud.server.read_log())
    assert cloud.ask(other) == 401 and cloud.ask(KEYS["ALICE_KEY"]) == 429


def test_the_others_word_counts_again(cloud):
    """A tenant that the configuration names no more has the limits of the keys file."""
    path = cloud.folder / "keys"
    key = cloud.cli("key", "new", path, "erin", "-t", "shop")
    with open(path, "a") as f:
        f.write("tenant shop requests_per_hour=4\n")
    cloud.config.write_text(cloud.base + cloud.lists.replace("teams:", "  - {name: shop, requests_per_hour: 1}\nteams:"))
    cloud.serve("--keys", path)
    assert [cloud.ask(key) for _ in range(2)] == [200, 429]
    assert "in force" in swap(cloud, cloud.lists)
    assert [cloud.ask(key) for _ in range(4)] == [200, 200, 200, 429]
