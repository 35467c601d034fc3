"""What the end-to-end tests share: the program under test and how to run it."""
import os
import signal
import subprocess

import pytest

from finding import find_gaufre, model_file
from serving import server, start  # noqa: F401  fixtures


def pytest_configure(config):
    # A shell starts what runs in its background with ctrl-C ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "sanitize: run again with the sanitizer builds")


@pytest.fixture(scope="session")
def gaufre():
    """Path of the program."""
    return find_gaufre()


@pytest.fixture
def home(tmp_path):
    """An empty GAUFRE_HOME."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def env(home):
    """An environment in which nothing of this machine's settings is left."""
    keep = {k: v for k, v in os.environ.items()
            if k in ("PATH", "LANG", "TMPDIR") or k.endswith("SAN_OPTIONS")}
    return keep | {"HOME": str(home), "GAUFRE_HOME": str(home), "PIP_CONFIG_FILE": "/dev/null",
                   "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
                   "HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture
def cli(gaufre, env):
    """cli("list", "--json") -> CompletedProcess with text output."""

    def run(*args, timeout=300, **more):
        more.setdefault("env", env)
        if "input" not in more:
            more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([gaufre, *map(str, args)], capture_output=True, text=True,
                              timeout=timeout, check=False, **more)

    return run


@pytest.fixture(scope="session")
def smollm2():
    return model_file("smollm2-135m")


@pytest.fixture(scope="session")
def gemma3():
    return model_file("gemma3-270m")
